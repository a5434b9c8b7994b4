//! Unpacking of an untrusted `.tar.gz`: only plain files and folders below the new folder are made.

use std::{
    cell::Cell,
    error, fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Read, Write},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, ensure};
use flate2::bufread::MultiGzDecoder;
use tar::{Entry, EntryType};

use crate::base::bytes::{ByteSize, MIB};
use crate::base::progress::Progress;
use crate::base::words::shortened;

/// File systems give out space in blocks of mostly this many bytes; an empty file, or a folder, takes one as well.
const BLOCK: u64 = 4096;

/// Most bytes in front of the contents of an entry: its names, which are read into memory as a whole.
const HEADERS: u64 = MIB;

/// The error for an archive that is damaged or refused for its contents, with the reason: another attempt with the same
/// bytes would fail as well.
#[derive(Debug)]
pub struct Damaged(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Damaged {}

/// Unpacks the `.tar.gz` file `archive` into the empty folder `to`, where the files may take `most` bytes of disk
/// space. Returns the number of pictures among them. After an error, the files unpacked so far remain.
///
/// # Errors
/// [`Damaged`] when the archive is cut short or is no `.tar.gz`, holds no pictures, or has an entry that is refused
/// (the error names it), such as a link, a device or a path that leads out of `to`. Another error when the files take
/// more than `most`, or a file cannot be read or written.
pub fn unpack(archive: &Path, to: &Path, most: ByteSize) -> Result<usize> {
    let cannot = || format!("cannot read {}", archive.display());
    let file = File::open(archive).with_context(cannot)?;
    let size = file.metadata().with_context(cannot)?.len();
    let watched = Watched { file, progress: Progress::for_bytes("Unpacking", 0, size) };
    let bound = Bound { read: Rc::default(), end: Rc::default() };
    let stream =
        Bounded { inner: MultiGzDecoder::new(io::BufReader::with_capacity(1 << 18, watched)), bound: bound.clone() };
    let unpacked = entries(stream, &bound, to, most);
    if unpacked.is_err() && bound.is_reached() {
        // This holds whatever error the archive reader made of the bound.
        ensure!(bound.end.get() < most.0, too_large(most));
        return Err(Damaged(format!("an entry has a name of more than {}", ByteSize(HEADERS))).into());
    }
    unpacked
}

fn entries(stream: impl Read, bound: &Bound, to: &Path, most: ByteSize) -> Result<usize> {
    let mut packed = tar::Archive::new(stream);
    let (mut pictures, mut taken) = (0, 0_u64);
    let mut entries = packed.entries().map_err(damage)?;
    loop {
        bound.end.set(bound.read.get().saturating_add(HEADERS).min(most.0));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damage)?;
        bound.end.set(most.0);
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let Some(below) = path_below(&entry)? else { continue };
        taken = taken.saturating_add(entry.size().div_ceil(BLOCK).max(1).saturating_mul(BLOCK));
        ensure!(taken <= most.0, too_large(most));
        let path = to.join(below);
        if kind.is_dir() {
            let made = fs::create_dir_all(&path);
            made.map_err(|error| cannot_make(error, &entry, || format!("cannot make the folder {}", path.display())))?;
        } else {
            write(&mut entry, &path)?;
            pictures += usize::from(is_picture(&path));
        }
    }
    // The checksum of the archive follows its last entry.
    bound.end.set(most.0);
    read_the_end(packed.into_inner())?;
    if pictures == 0 {
        return Err(Damaged("it holds no pictures".into()).into());
    }
    Ok(pictures)
}

fn too_large(most: ByteSize) -> String {
    format!("it unpacks to more than {most}; where you trust it, --max-unpacked SIZE raises the bound")
}

/// Path of an entry below the new folder; `None` for that folder itself.
fn path_below<R: Read>(entry: &Entry<R>) -> Result<Option<PathBuf>> {
    let path = entry.path().map_err(damage)?;
    let name = path.to_string_lossy();
    let refuse = |why: &str| Damaged(format!("nothing of it is kept: its entry {} {why}", shortened(&name)));
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
        EntryType::Symlink | EntryType::Link => return Err(refuse("is a link").into()),
        _ => return Err(refuse("is neither a file nor a folder").into()),
    }
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => below.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refuse("leads out of its folder").into());
            }
        }
    }
    Ok((!below.as_os_str().is_empty()).then_some(below))
}

/// Writes an entry to a new file at `path`. If there is a file, it comes from an earlier entry of the same name, and
/// the archive is refused.
fn write<R: Read>(entry: &mut Entry<R>, path: &Path) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| cannot_make(error, entry, cannot))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = BufWriter::new(file.map_err(|error| cannot_make(error, entry, cannot))?);
    let mut buffer = [0; 1 << 14];
    loop {
        match entry.read(&mut buffer).map_err(damage)? {
            0 => return file.flush().with_context(cannot),
            read => file.write_all(&buffer[..read]).with_context(cannot)?,
        }
    }
}

/// The error of an entry that cannot be made: the archive's own, where its names are at fault.
fn cannot_make<R: Read>(error: io::Error, entry: &Entry<R>, otherwise: impl Fn() -> String) -> anyhow::Error {
    let why = match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "twice, or in what is a file",
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => "under a name that no file can have",
        _ => return anyhow::Error::from(error).context(otherwise()),
    };
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    Damaged(format!("it has the entry {} {why}", shortened(&name))).into()
}

/// Reads the bytes behind the last entry: zeros, and the checksum. Entries of a second archive there would be lost.
fn read_the_end(mut packed: impl Read) -> Result<()> {
    let mut buffer = [0; 1 << 14];
    loop {
        match packed.read(&mut buffer).map_err(damage)? {
            0 => return Ok(()),
            read if buffer[..read].iter().any(|byte| *byte != 0) => {
                return Err(Damaged("something follows behind its end, another archive perhaps".into()).into());
            }
            _ => {}
        }
    }
}

fn is_picture(path: &Path) -> bool {
    image::ImageFormat::from_path(path).is_ok()
}

fn damage(error: io::Error) -> Damaged {
    Damaged(match error.kind() {
        ErrorKind::UnexpectedEof => "it is cut short".into(),
        _ => format!("it is no whole .tar.gz: {error}"),
    })
}

/// A file whose reading advances a progress display.
struct Watched {
    file: File,
    progress: Progress,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

/// The position in a stream, and the end up to which it may be read.
#[derive(Clone)]
struct Bound {
    read: Rc<Cell<u64>>,
    end: Rc<Cell<u64>>,
}

impl Bound {
    fn is_reached(&self) -> bool {
        self.read.get() >= self.end.get()
    }
}

/// A stream that fails at its bound.
struct Bounded<R> {
    inner: R,
    bound: Bound,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bound.is_reached() {
            return Err(io::Error::other("the bound is reached"));
        }
        let left = usize::try_from(self.bound.end.get() - self.bound.read.get()).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.inner.read(&mut buffer[..length])?;
        self.bound.read.set(self.bound.read.get() + read as u64);
        Ok(read)
    }
}
