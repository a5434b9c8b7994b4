//! `pixtape data fetch`: from the archive of a public data set to a folder to train on.
//!
//! The archive is downloaded, checked and unpacked, in this order. A download that was stopped is resumed, unpacking
//! begins anew, and the folder gets its name at the end.

mod archives;
mod download;
mod record;
mod unpack;

use std::path::PathBuf;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Read,
    path::{Component, Path},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

pub use archives::table;

use super::{ensure_free, new_folder};
use crate::base::bytes::{ByteSize, MIB};
use crate::base::files::with_ending;
use crate::base::progress::{Progress, tell};
use crate::data::finding::layout;
use crate::data::list;
use archives::DataSet;
use download::{Partial, download};
use record::{Record, Records};
use unpack::{Damaged, unpack};

/// A request to `data fetch`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: Option<String>,
    pub out: PathBuf,
    pub url: Option<String>,
    pub sha256: Option<String>,
    pub max_download: Option<ByteSize>,
    pub max_unpacked: Option<ByteSize>,
}

/// The most bytes of the download of a data set that is not in the list.
const MAX_DOWNLOAD: ByteSize = ByteSize(20 * 1024 * MIB);

/// Downloads the data set `request.name`, checks its SHA-256 and unpacks it into the folder of that name in
/// `request.out`. Without a name, prints the list of data sets.
///
/// # Errors
/// When the name is unknown or no name for a folder, the folder exists already, the download fails, its SHA-256 is not
/// that of `--sha256` or of the first download, or the archive cannot be unpacked.
pub fn run(request: &Request) -> Result<()> {
    let Some(name) = &request.name else {
        return table().lines().try_for_each(tell);
    };
    let known = DataSet::named(name);
    let url = match (&request.url, known) {
        (Some(url), _) => url.clone(),
        (None, Some(archive)) => archive.url(),
        (None, None) => bail!("there is no data set `{name}`: the names are {}", DataSet::names()),
    };
    let is_plain = Path::new(name).components().eq([Component::Normal(name.as_ref())]) && !name.starts_with('.');
    ensure!(is_plain, "`{name}` is no name for a folder");
    let pinned = request.sha256.as_deref().map(digest_of).transpose()?;
    let folder = request.out.join(name);
    ensure_free(&folder)?;
    let records = Records::open(&request.out)?;
    let partial = Partial::new(request.out.join(format!("{name}.tar.gz.part")));
    let max_download = request.max_download.unwrap_or_else(|| known.map_or(MAX_DOWNLOAD, DataSet::max_download));
    download(&url, &partial, name, max_download)?;
    let found = Record { url, bytes: file_size(partial.path())?, sha256: sha256_of(partial.path())? };
    check(&found, pinned.as_deref(), records.get(name), &records, partial.path())?;

    let ten_times = ByteSize(found.bytes.saturating_mul(10).saturating_add(1024 * MIB));
    let max_unpacked = request.max_unpacked.unwrap_or_else(|| known.map_or(ten_times, DataSet::max_unpacked));
    let pictures = new_folder(&folder, |unfinished| {
        let pictures = unpack(partial.path(), unfinished, max_unpacked)?;
        without_outer_folder(unfinished)?;
        records.set(name, found.clone())?;
        Ok(pictures)
    });
    if pictures.as_ref().is_err_and(|error| error.is::<Damaged>()) {
        // A damaged archive is of no use later either.
        partial.remove()?;
    }
    let pictures = pictures.with_context(|| match partial.path().exists() {
        true => format!("the archive from {}, kept as {}", found.url, partial.path().display()),
        false => format!("the archive from {}", found.url),
    })?;
    partial.remove()?;

    let mut splits = Vec::new();
    for split in ["train", "val", "test"] {
        match list(&folder.join(split))?.len() {
            0 => {}
            files => splits.push(format!("{files} in {split}/")),
        }
    }
    let splits = if splits.is_empty() { format!("{pictures} pictures") } else { splits.join(", ") };
    tell(format_args!("Fetched {name} into {}: {splits}", folder.display()))?;
    tell(format_args!("  SHA-256 {}", found.sha256))?;
    let direction = known.map_or(String::new(), |archive| format!(" --direction {}", archive.direction));
    tell(format_args!("  pixtape train --data {}{direction}", folder.display()))?;
    Ok(())
}

/// Moves the pairs in `dir` up into it if all of them lie in one folder there, as in many archives.
fn without_outer_folder(dir: &Path) -> Result<()> {
    let cannot = || format!("cannot arrange what was unpacked into {}", dir.display());
    let names = |dir: &Path| -> Result<Vec<OsString>> {
        let entries = fs::read_dir(dir).with_context(cannot)?;
        entries.map(|entry| Ok(entry.with_context(cannot)?.file_name())).collect()
    };
    let [outer] = &*names(dir)? else { return Ok(()) };
    if layout::find(dir).is_ok() || layout::find(&dir.join(outer)).is_err() {
        return Ok(());
    }
    // The outer folder is moved aside first, because a folder in it may have its name.
    let aside = with_ending(&dir.join(outer), ".outer");
    fs::rename(dir.join(outer), &aside).with_context(cannot)?;
    for name in names(&aside)? {
        fs::rename(aside.join(&name), dir.join(&name)).with_context(cannot)?;
    }
    fs::remove_dir(&aside).with_context(cannot)
}

/// `text` as a SHA-256 in the usual form: 64 lower-case hexadecimal digits.
fn digest_of(text: &str) -> Result<String> {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(is_digest, "--sha256 {text}: a SHA-256 is 64 hexadecimal digits");
    Ok(text.to_ascii_lowercase())
}

/// Asserts that the archive has the SHA-256 that was asked for, else that of the first download.
fn check(
    found: &Record,
    pinned: Option<&str>,
    recorded: Option<&Record>,
    records: &Records,
    archive: &Path,
) -> Result<()> {
    let (url, sum, archive) = (&found.url, &found.sha256, archive.display());
    let kept = format!("it is kept as {archive}; delete that file to download it anew");
    match (pinned, recorded) {
        (Some(pinned), _) => {
            ensure!(
                pinned == *sum,
                "the archive from {url} has the SHA-256 {sum}, not {pinned} as --sha256 asks: {kept}"
            )
        }
        (None, Some(first)) => ensure!(
            first.sha256 == *sum,
            "the archive from {url} has the SHA-256 {sum}, but {} says {} of the first time: it was changed since, or \
             on its way. Where you trust it, fetch with --sha256 {sum}; {kept}",
            records.path().display(),
            first.sha256
        ),
        (None, None) => {}
    }
    Ok(())
}

fn file_size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len())
}

fn sha256_of(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let progress = Progress::for_bytes("Checking", 0, file_size(path)?);
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).with_context(cannot)? {
            0 => break,
            read => {
                sum.update(&buffer[..read]);
                progress.advance(read as u64);
            }
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
