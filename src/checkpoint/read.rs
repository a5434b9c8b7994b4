//! Reading a safetensors file one tensor at a time. Only the header is read on opening.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::{Dtype, tensor::Metadata};

use super::foreign::{self, is_safetensors};
use super::{About, Origin, RunState, TensorSpec};
use crate::base::files;

/// An open safetensors file, a checkpoint or one of weights alone. Its header is in memory; tensors are read when they
/// are asked for.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Offset of the first tensor in the file, in bytes.
    start: u64,
}

impl Reader {
    /// Opens a safetensors file and reads its header, but no tensor.
    ///
    /// # Errors
    /// When it cannot be read, is not a safetensors file, or does not have the length that its header says.
    pub fn open(path: &Path) -> Result<Reader> {
        let open = || -> Result<Reader> {
            let mut file = files::open(path)?;
            let length = file.metadata()?.len();
            let beginning = files::read_prefix(&mut file, foreign::START)?;
            if !is_safetensors(&beginning) {
                let kind = foreign::describe_format(&beginning, path).map(|kind| format!(" but {kind}"));
                bail!("{NO_SAFETENSORS}{}", kind.unwrap_or_default());
            }
            let (header, start) = read_header(&mut file, length)?;
            Ok(Reader { path: path.to_path_buf(), file, header, start })
        };
        open().with_context(|| format!("cannot read {}", path.display()))
    }

    /// True for a checkpoint or an import, of any format version; false for weights alone.
    pub(crate) fn is_checkpoint(&self) -> bool {
        self.header.metadata().as_ref().is_some_and(About::is_checkpoint)
    }

    /// Returns the metadata of a checkpoint or an import.
    ///
    /// # Errors
    /// When the file is neither, is of another format version, or its header is damaged.
    pub fn about(&self) -> Result<About> {
        let none = Default::default();
        About::from_strings(self.header.metadata().as_ref().unwrap_or(&none))
            .with_context(|| self.path.display().to_string())
    }

    /// Returns the position, settings and validation results of the run that saved the file.
    ///
    /// # Errors
    /// When the file is no checkpoint of a run, is of another format version, or its header is damaged.
    pub fn meta(&self) -> Result<RunState> {
        match self.about()?.origin {
            Origin::Run(meta) => Ok(*meta),
            Origin::Import { .. } => bail!("{}: holds imported weights and no run", self.path.display()),
        }
    }

    /// Returns names and shapes of all tensors, in the order of their values in the file.
    pub fn specs(&self) -> Vec<TensorSpec> {
        let shape = |name: &str| self.header.info(name).map(|info| info.shape.clone()).unwrap_or_default();
        self.header.offset_keys().into_iter().map(|name| TensorSpec { shape: shape(&name), name }).collect()
    }

    /// Reads the values of the tensor `name`, row-major.
    ///
    /// # Errors
    /// When there is no such tensor, it is not f32 of `expected_shape`, or the file cannot be read.
    pub fn tensor(&mut self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        let file = self.path.display();
        let info = self
            .header
            .info(name)
            .ok_or_else(|| anyhow!("{file}: tensor {name} is missing (expected with shape {expected_shape:?})"))?;
        ensure!(
            info.shape == expected_shape,
            "{file}: tensor {name} has shape {:?}, expected {expected_shape:?}",
            info.shape
        );
        ensure!(info.dtype == Dtype::F32, "{file}: tensor {name} is of type {}, expected F32", info.dtype);

        // The header was checked against the length of the file, so this is no more than the file holds.
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.start + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .with_context(|| format!("{file}: cannot read tensor {name}"))?;
        Ok(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
    }
}

const NO_SAFETENSORS: &str = "it is not a safetensors file";

/// Reads the header of a file of `length` bytes for which [`is_safetensors`] is true. Returns it with the offset of its
/// end, in bytes.
///
/// # Errors
/// When the file is damaged or cut short.
pub(crate) fn read_header(file: &mut File, length: u64) -> Result<(Metadata, u64)> {
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut size).context(NO_SAFETENSORS)?;
    let size = u64::from_le_bytes(size);
    let start = size + 8;
    ensure!(
        start <= length,
        "it is cut short: its header alone needs {start} bytes, and the file has {length}: get it again"
    );
    let mut json = vec![0; size as usize];
    file.read_exact(&mut json)?;
    let header: Metadata = serde_json::from_slice(&json).context(NO_SAFETENSORS)?;
    let expected = start.saturating_add(header.data_len() as u64);
    ensure!(
        length == expected,
        "it is {}: its header asks for {expected} bytes, and the file has {length}: get it again",
        if length < expected { "cut short" } else { "damaged" }
    );
    Ok((header, start))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{fixture, save};
    use super::*;

    fn saved(folder: &Path) -> PathBuf {
        let path = folder.join("checkpoint");
        save(&path, &About::from_run(fixture::meta(5)), &fixture::TwoTensors).unwrap();
        path
    }

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::open(&saved(folder.path())).unwrap();
        assert_eq!(reader.meta().unwrap(), fixture::meta(5));
        let specs = reader.specs();
        assert_eq!(specs, super::super::Tensors::specs(&fixture::TwoTensors));
        for (index, spec) in specs.iter().enumerate().rev() {
            let values = reader.tensor(&spec.name, &spec.shape).unwrap();
            assert_eq!(fixture::bits(&values), fixture::bits(&fixture::values(index)));
        }
    }

    #[test]
    fn a_missing_or_misshapen_tensor_is_named_with_both_shapes() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::open(&saved(folder.path())).unwrap();
        let error = reader.tensor("generator.c.weight", &[7]).unwrap_err().to_string();
        assert!(error.contains("generator.c.weight is missing") && error.contains("[7]"), "{error}");
        let error = reader.tensor("generator.b.weight", &[3, 2]).unwrap_err().to_string();
        assert!(error.contains("generator.b.weight has shape [2, 3], expected [3, 2]"), "{error}");
    }

    #[test]
    fn other_number_formats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half");
        let view = safetensors::tensor::TensorView::new(Dtype::F16, vec![2], &[0; 4]).unwrap();
        safetensors::serialize_to_file([("x", view)], None, &path).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.tensor("x", &[2]).unwrap_err().to_string().contains("of type F16"));
        // Tensors alone are no checkpoint.
        assert!(format!("{:#}", reader.meta().unwrap_err()).contains("not a pixtape checkpoint"));
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path());
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = format!("{:#}", Reader::open(&path).unwrap_err());
            let expected = if length < 8 { "not a safetensors file" } else { "cut short" };
            assert!(error.contains(expected), "{length} bytes: {error}");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(format!("{:#}", Reader::open(&path).unwrap_err()).contains("damaged"));
    }

    #[test]
    fn what_is_no_safetensors_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let garbled = [&8u64.to_le_bytes()[..], b"not json"].concat();
        for bytes in [&b"\x89PNG\r\n\x1a\n and so on"[..], &garbled] {
            fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", Reader::open(&path).unwrap_err());
            assert!(error.contains("not a safetensors file"), "{error}");
        }
        assert!(Reader::open(folder.path()).is_err());
    }
}
