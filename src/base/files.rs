//! Regular files, read in full and replaced as a whole. Devices, FIFOs, sockets and folders are refused.

use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, bail, ensure};
use same_file::Handle;

use crate::base::progress::say;

/// Suffix of the name of a file or folder that is still being written. The finished one is renamed to the name without
/// it.
pub const UNFINISHED: &str = ".unfinished";

/// Maximum number of symbolic links that are followed from one name to the next, the same as on Linux.
const MOST_LINKS: usize = 40;

/// Opens a regular file for reading; symbolic links are followed. Anything else is refused before it is opened: a FIFO
/// would wait for a writer, and reading a device may never end.
///
/// # Errors
/// When nothing is at `path`, it is not a regular file, or it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let refuse = |kind: FileType| io::Error::other(format!("it is {} and no file", describe_file_type(kind)));
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        return Err(refuse(kind));
    }
    let file = File::open(path)?;
    // The file may have been replaced after its kind was looked up by name.
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(refuse(kind)) }
}

/// Reads the first `most` bytes of a file, or all bytes of a shorter one, in as many reads as that takes.
///
/// # Errors
/// When it cannot be read.
pub fn read_prefix(file: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(most).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads all bytes of a regular file.
///
/// # Errors
/// As [`open`], or when it cannot be read or does not fit in memory.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a regular file as UTF-8 text.
///
/// # Errors
/// As [`read`], or when it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// Returns a file type in words, with an article: `a file`, `a folder`, `a FIFO`. A symbolic link is
/// `a link to nothing`: the callers follow links, so only a dangling one is left.
pub fn describe_file_type(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_symlink() => "a link to nothing",
        () if kind.is_file() => "a file",
        () => "something else",
    }
}

/// Returns the path of the regular file that writing to `path` would create or replace: `path` itself, or the target of
/// its symbolic links, which need not exist.
///
/// # Errors
/// When something other than a regular file is there, or the links lead in a circle or cannot be read.
pub fn target(path: &Path) -> Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(found) = fs::symlink_metadata(&target) else { return Ok(target) };
        let kind = found.file_type();
        if kind.is_file() {
            return Ok(target);
        }
        if !kind.is_symlink() {
            bail!(
                "{} is {}, which is not replaced: remove it, or name a file",
                path.display(),
                describe_file_type(kind)
            );
        }
        let next = fs::read_link(&target).with_context(|| format!("cannot follow the link {}", target.display()))?;
        // Relative to the folder that holds the link; an absolute one replaces it.
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    bail!("{} is a link that leads in a circle", path.display())
}

/// True if both paths exist and lead to the same file or folder.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// True if writing to `a` and writing to `b` would create or replace the same file.
///
/// # Errors
/// When something other than a regular file is at `a` or `b`, or their links lead in a circle or cannot be read.
pub fn is_one_target(a: &Path, b: &Path) -> Result<bool> {
    Ok(whole_target(a)? == whole_target(b)?)
}

/// Returns the [`target`] of `path` as an absolute path, without links, `.` or `..` in its folder if that exists, so
/// that two paths to one file compare as equal.
///
/// # Errors
/// When something other than a regular file is at `path`, its links lead in a circle or cannot be read, or it is empty.
pub fn whole_target(path: &Path) -> Result<PathBuf> {
    let target = std::path::absolute(target(path)?)?;
    let folder = target.parent().and_then(|folder| folder.canonicalize().ok());
    Ok(folder.zip(target.file_name()).map_or_else(|| target.clone(), |(folder, name)| folder.join(name)))
}

/// Checks that `path` is a folder or can become one: the first of `path`, its parent and so on that exists has to be a
/// folder or a link to one. Creates nothing.
///
/// # Errors
/// Naming the file, or the link to nothing, that is in the way.
pub fn ensure_folder(path: &Path) -> Result<()> {
    for above in path.ancestors() {
        let Ok(found) = fs::symlink_metadata(above) else { continue };
        let what = match fs::metadata(above) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(found) => format!("{} is {} and no folder", above.display(), describe_file_type(found.file_type())),
            Err(_) => format!("{} is {}", above.display(), describe_file_type(found.file_type())),
        };
        ensure!(above != path, "{what}");
        bail!("cannot make the folder {}: {what}", path.display());
    }
    Ok(())
}

/// Creates the parent folder of `path`, and those above it, if they are missing.
///
/// # Errors
/// When it cannot be created.
pub fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Returns `path` with `ending` appended to the file name: `a/b.png` and `.part` give `a/b.png.part`.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Writes `bytes` to the file at `path` atomically: to a file beside it, which is then renamed, so that neither a kill
/// nor a full disk leaves half a file.
///
/// # Errors
/// When the file cannot be written, another process is writing it, or something other than a regular file is at `path`
/// ([`target`]).
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = replace(path, |mut file| Ok(file.write_all(bytes)?));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Creates or replaces the file at `path` atomically: `write` fills a new file beside it, of the same name with
/// [`UNFINISHED`], which is then renamed. Returns the path of the replaced file: `path`, or the [`target`] of its
/// links. If `write` or renaming fails, the old file is unchanged and the new one removed.
///
/// # Errors
/// Those of `write`, or when the new file cannot be created, another process is writing it, or something other than a
/// regular file is at `path` or has the name of the new file.
pub fn replace(path: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<PathBuf> {
    let target = target(path)?;
    let unfinished = with_ending(&target, UNFINISHED);
    // The remains of a killed process are written over. A link would lead elsewhere.
    if let Ok(found) = fs::symlink_metadata(&unfinished)
        && !found.is_file()
    {
        let kind = if found.is_symlink() { "a link" } else { describe_file_type(found.file_type()) };
        bail!("{} is {kind}, which is in the way", unfinished.display());
    }
    let locked = lock(&unfinished)?;
    let locked =
        locked.with_context(|| format!("another pixtape is writing {}: wait for it to end", unfinished.display()))?;
    locked.as_file().set_len(0)?;
    let written = write(locked.as_file()).and_then(|()| Ok(fs::rename(&unfinished, &target)?));
    if let Err(error) = written {
        // The first error is the one to report; this one has the same cause.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(target)
}

/// Takes an exclusive lock on the file at `path`, created if it is missing, until the returned handle is dropped or the
/// process ends. Returns `None`, without waiting, if it is locked already, or if another process removed or replaced it
/// in the meantime. On a file system that has no locks, returns a handle without one, after a warning on stderr.
///
/// # Errors
/// When the file cannot be created or locked.
pub fn lock(path: &Path) -> io::Result<Option<Handle>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let lock = Handle::from_file(file)?;
    match lock.as_file().try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // Some network file systems refuse locks; the file then counts as locked.
        Err(TryLockError::Error(error)) if has_no_locks(&error) => {
            static SAID: Once = Once::new();
            let path = path.display();
            let line = format!("{path}: this file system has no locks: see to it that no other pixtape works there");
            SAID.call_once(|| say(&line));
        }
        locked => locked?,
    }
    // The process that had the lock may have removed the file before it was locked here: the lock is then on a file
    // that has no name any more.
    let is_in_place = Handle::from_path(path).is_ok_and(|found| found == lock);
    Ok(is_in_place.then_some(lock))
}

/// True if a file system refuses locks as such: some network file systems, NFS without its lock daemon among them.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ENOLCK) {
        return true;
    }
    error.kind() == ErrorKind::Unsupported
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink("/dev/zero", at("endless")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!((read_text(&at("file")).unwrap(), read(&at("link")).unwrap()), ("text".into(), b"text".into()));
        for (path, kind) in [(at("endless"), "a device"), (at("socket"), "a socket"), (at(""), "a folder")] {
            assert_eq!(read(&path).unwrap_err().to_string(), format!("it is {kind} and no file"));
        }
        assert_eq!(open(&at("nowhere")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    /// A file on a network or a pipe may give a byte at a time.
    #[test]
    fn the_start_of_a_file_is_read_in_full_however_little_a_read_gives() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = buffer.len().min(1);
                self.0.read(&mut buffer[..most])
            }
        }
        assert_eq!(read_prefix(Slow(b"PK\x03\x04 and more"), 4).unwrap(), b"PK\x03\x04");
        assert_eq!(read_prefix(Slow(b"PK"), 4).unwrap(), b"PK");
    }

    #[test]
    fn what_is_in_the_way_of_a_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("folder", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for free in ["new", "folder", "folder/new/below", "link", "link/new"] {
            ensure_folder(&at(free)).unwrap();
        }
        for (path, words) in [("file", "file is a file"), ("dangling", "dangling is a link to nothing")] {
            for below in [at(path), at(path).join("new")] {
                let error = ensure_folder(&below).unwrap_err().to_string();
                assert!(error.contains(words) && error.contains(&below.display().to_string()), "{error}");
            }
        }
    }

    #[test]
    fn two_names_of_one_target_are_told_apart_from_two_targets() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        symlink("folder/new", at("link")).unwrap();
        for (a, b, is_one) in [
            ("x", "folder/../x", true),
            ("link", "folder/new", true),
            ("x", "y", false),
            ("x", "folder/x", false),
            ("no/x", "no/x", true),
        ] {
            assert_eq!(is_one_target(&at(a), &at(b)).unwrap(), is_one, "{a} {b}");
        }
    }

    #[test]
    fn what_a_kill_left_is_written_anew_and_what_is_no_file_is_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("it.unfinished"), "longer than what comes").unwrap();
        write_atomically(&at("it"), b"new").unwrap();
        assert_eq!((fs::read(at("it")).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (b"new".into(), 1));
        fs::write(at("theirs"), "theirs").unwrap();
        symlink("theirs", at("it.unfinished")).unwrap();
        let error = format!("{:#}", write_atomically(&at("it"), b"newer").unwrap_err());
        assert!(error.contains("it.unfinished is a link, which is in the way"), "{error}");
        assert_eq!((fs::read(at("it")).unwrap(), fs::read(at("theirs")).unwrap()), (b"new".into(), b"theirs".into()));
    }

    #[test]
    fn of_two_that_write_one_file_the_second_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("it"), "old").unwrap();
        let first = |mut file: &File| {
            file.write_all(b"the first")?;
            let error = format!("{:#}", write_atomically(&at("it"), b"the second").unwrap_err());
            assert!(error.contains("another pixtape is writing") && error.contains("it.unfinished"), "{error}");
            assert_eq!(fs::read(at("it"))?, b"old");
            Ok(())
        };
        replace(&at("it"), first).unwrap();
        assert_eq!((fs::read(at("it")).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (b"the first".into(), 1));
        write_atomically(&at("it"), b"the second").unwrap();
        assert_eq!(fs::read(at("it")).unwrap(), b"the second");
    }

    #[test]
    fn a_link_is_followed_and_what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("file"), "old").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("folder/new", at("forward")).unwrap();
        symlink("circle", at("circle")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        for (link, file) in [("link", "file"), ("forward", "folder/new")] {
            write_atomically(&at(link), b"new").unwrap();
            assert!(at(link).is_symlink());
            assert_eq!(fs::read(at(file)).unwrap(), b"new");
        }
        for (path, words) in
            [(at("device"), "is a device"), (at("folder"), "is a folder"), (at("circle"), "leads in a circle")]
        {
            let error = format!("{:#}", write_atomically(&path, b"new").unwrap_err());
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6);
    }
}
