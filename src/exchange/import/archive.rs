//! The formats in which PyTorch's tensors lie in a file: two of `torch.save`, and safetensors.
//!
//! `torch.save` writes a pickle that describes the tensors, and beside it their storages. Since PyTorch 1.6 that is a
//! zip archive, with the pickle as `NAME/data.pkl` and each storage, uncompressed, as `NAME/data/KEY`. Before (and
//! today with `_use_new_zipfile_serialization=False`) it is five pickles in a row, of which the fourth describes the
//! tensors and the fifth lists the keys of the storages, which follow. In safetensors a header of JSON describes the
//! tensors, whose values follow.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Value};
use super::torch::{Contents, contents, may_name, safetensors_contents};
use crate::base::files;
use crate::base::words::shortened;
use crate::checkpoint::{foreign, read_header};

/// Length in bytes of the longest pickle that is read as a description of tensors. That of the authors' `unet_256`,
/// with its optimiser, is 100 KB.
const LONGEST_PICKLE: u64 = 16 << 20;

/// The number in the first of the five pickles of the older format.
const MAGIC_NUMBER: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// An open file of tensors, from which their storages are read by key. A storage is PyTorch's flat buffer of elements,
/// of which a tensor is a view.
#[derive(Debug)]
pub enum Archive {
    /// An archive of `torch.save` with an entry for each storage.
    Zip {
        zip: ZipArchive<File>,
        /// Name of the folder that all entries are in.
        folder: String,
    },
    /// Storages one after the other in the file: the older format of `torch.save`, or safetensors.
    Contiguous {
        file: File,
        /// Offset in the file and length of each storage, in bytes, by key.
        storages: HashMap<String, (u64, u64)>,
    },
}

/// Opens a file of tensors in any of the three formats (zip archive or older format of `torch.save`, safetensors) and
/// lists its tensors. Reads none of their values and executes nothing in the file.
///
/// # Errors
/// When the file has another format, is cut short or damaged, or its pickle refers to Python functions or classes other
/// than those of tensors ([`may_name`]).
pub fn open(path: &Path) -> Result<(Archive, Contents)> {
    let mut file = files::open(path)?;
    let length = file.metadata()?.len();
    let start = files::read_prefix(&mut file, foreign::START)?;
    file.seek(SeekFrom::Start(0))?;
    match &*start {
        start if foreign::is_safetensors(start) => open_safetensors(file, length),
        [b'P', b'K', 3, 4, ..] => open_zip(file, length),
        [0x80, 2..=5, ..] => open_legacy(file, length),
        _ => match foreign::describe_format(&start, path) {
            Some(kind) => bail!("it is not a file that torch.save has written, nor one of safetensors, but {kind}"),
            None => bail!(
                "it is not a file that torch.save has written, neither a zip archive nor a pickle, and not one of \
                 safetensors"
            ),
        },
    }
}

fn open_safetensors(mut file: File, length: u64) -> Result<(Archive, Contents)> {
    let (header, start) = read_header(&mut file, length)?;
    let (contents, ranges) = safetensors_contents(&header)?;
    let extent = |[from, to]: [usize; 2]| (start + from as u64, (to - from) as u64);
    let storages = ranges.into_iter().map(|(name, ends)| (name, extent(ends))).collect();
    Ok((Archive::Contiguous { file, storages }, contents))
}

fn open_zip(mut file: File, length: u64) -> Result<(Archive, Contents)> {
    let has_an_end = has_an_end(&mut file, length)?;
    ensure!(has_an_end, "it is cut short, a zip archive without its end: get it again");
    let mut zip = ZipArchive::new(file).context("it is a zip archive, but a damaged one")?;
    let names = zip.file_names().collect::<Result<Vec<_>, _>>().context("its entries cannot be listed")?;
    let in_folder =
        |name: &str| Some(name.strip_suffix("/data.pkl")?.to_owned()).filter(|folder| !folder.contains('/'));
    let folder = names.iter().find_map(|name| in_folder(name));
    let folder = folder.context("it is a zip archive without a data.pkl, so not one of torch.save")?;
    ensure!(
        zip.index_for_name(&format!("{folder}/constants.pkl")).is_none(),
        "it is a TorchScript program: save the state_dict() of the module that it was made from"
    );
    if zip.index_for_name(&format!("{folder}/byteorder")).is_some() {
        let order = read_entry(&mut zip, &format!("{folder}/byteorder"), 16)?;
        ensure!(order == b"little", "its numbers are not little-endian");
    }
    let description = read_entry(&mut zip, &format!("{folder}/data.pkl"), LONGEST_PICKLE)?;
    let contents = contents(&pickle::read(&description, may_name)?)?;
    Ok((Archive::Zip { zip, folder }, contents))
}

/// True if a zip archive has the record that ends it. A comment of up to 64 KiB may follow that record.
fn has_an_end(file: &mut File, length: u64) -> Result<bool> {
    const RECORD: u64 = 22;
    file.seek(SeekFrom::Start(length.saturating_sub(RECORD + u64::from(u16::MAX))))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(end.windows(4).any(|four| four == b"PK\x05\x06"))
}

/// A whole entry of at most `limit` bytes, whose checksum is right.
fn read_entry(zip: &mut ZipArchive<File>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let entry = zip.by_name(name).with_context(|| format!("its entry {} cannot be read", shortened(name)))?;
    // torch.save compresses nothing.
    ensure!(entry.compression() == CompressionMethod::Stored, "its entry {} is compressed", shortened(name));
    ensure!(
        entry.size() <= limit,
        "its entry {} is longer than any tensor or description of tensors in it",
        shortened(name)
    );
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes).with_context(|| format!("its entry {} is damaged", shortened(name)))?;
    Ok(bytes)
}

fn open_legacy(mut file: File, length: u64) -> Result<(Archive, Contents)> {
    let mut start = Vec::new();
    file.by_ref().take(LONGEST_PICKLE).read_to_end(&mut start)?;
    let mut at = 0;
    let mut next = || -> Result<pickle::Pickle<'_>> {
        let pickle = pickle::read(&start[at..], may_name)?;
        at += pickle.length;
        Ok(pickle)
    };
    ensure!(next()?.root == Value::Int(MAGIC_NUMBER), "it is a pickle, but not one of torch.save");
    let _protocol = next()?;
    let system = next()?;
    let little = (Value::Text("little_endian"), Value::Bool(true));
    ensure!(system.dict(system.root).is_some_and(|about| about.contains(&little)), "its numbers are not little-endian");
    let contents = contents(&next()?)?;
    let keys = next()?;
    let Some(pickle::Object::List(keys)) = keys.object(keys.root) else { bail!("it lacks the list of its storages") };

    let mut offset = at as u64;
    let mut storages = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else { bail!("the list of its storages is damaged") };
        let size = contents
            .element_sizes
            .get(*key)
            .with_context(|| format!("nothing describes its storage {}", shortened(key)))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut count).context("it is cut short: get it again")?;
        let bytes = u64::from_le_bytes(count).checked_mul(*size as u64);
        offset += 8;
        let end = bytes.and_then(|bytes| offset.checked_add(bytes)).filter(|end| *end <= length);
        let end = end.with_context(|| {
            format!("it is cut short: its storage {} goes on beyond its end, get it again", shortened(key))
        })?;
        storages.insert((*key).to_owned(), (offset, end - offset));
        offset = end;
    }
    Ok((Archive::Contiguous { file, storages }, contents))
}

impl Archive {
    /// Reads all bytes of the storage `key`.
    ///
    /// # Errors
    /// When there is no such storage, it has fewer than `needed` bytes, or it cannot be read.
    pub fn storage(&mut self, key: &str, needed: u64) -> Result<Vec<u8>> {
        let bytes = match self {
            Archive::Zip { zip, folder } => {
                // Nothing is compressed, so no entry is longer than the file.
                let limit = zip.by_name(&format!("{folder}/data/{key}")).map(|entry| entry.compressed_size());
                let limit = limit.with_context(|| format!("it lacks the storage {}", shortened(key)))?;
                read_entry(zip, &format!("{folder}/data/{key}"), limit)?
            }
            Archive::Contiguous { file, storages } => {
                let (start, length) =
                    *storages.get(key).with_context(|| format!("it lacks the storage {}", shortened(key)))?;
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = Vec::new();
                file.take(length).read_to_end(&mut bytes)?;
                bytes
            }
        };
        ensure!(
            bytes.len() as u64 >= needed,
            "its storage {} has {} bytes, and {needed} are needed",
            shortened(key),
            bytes.len()
        );
        Ok(bytes)
    }
}
