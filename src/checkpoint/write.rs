//! Writing one checkpoint, tensor by tensor, so that a kill at any moment leaves no half file under its name.
//!
//! `safetensors::serialize_to_file` streams as well, but renames before the data is on the disk; with its `Metadata`
//! for the header, the rest of the format is a length and the bytes.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use safetensors::{Dtype, tensor::Metadata, tensor::TensorInfo};

use super::{About, TensorSpec};
use crate::base::files;

/// The tensors of a file to be saved. Their values are asked for one tensor at a time, so that they are never in memory
/// all together.
pub trait Tensors {
    /// Returns names and shapes of all tensors, in the order of the file. Names are unique.
    fn specs(&self) -> Vec<TensorSpec>;

    /// Returns the values of the tensor at `index` of [`specs`](Tensors::specs), row-major. Called once for each while
    /// saving.
    ///
    /// # Errors
    /// When the values cannot be read, such as from a device that has failed.
    fn read(&self, index: usize) -> Result<Vec<f32>>;
}

/// Writes a checkpoint to `path` atomically: an old file of that name is replaced once the new one is safely on the
/// disk.
///
/// # Errors
/// When the file cannot be written (no space, no permission), or `tensors` fail or give a wrong number of values. The
/// old file is then unchanged and the unfinished one removed.
pub fn save(path: &Path, about: &About, tensors: &dyn Tensors) -> Result<()> {
    let saved = about.to_strings().and_then(|strings| replace(path, strings, tensors));
    saved.with_context(|| format!("cannot save the checkpoint {}", path.display()))
}

/// Writes weights for other programs to `path` atomically, as [`save`] does. The header has the keys of a checkpoint
/// but not the format version, so the file does not count as one.
///
/// # Errors
/// When the file cannot be written, or `tensors` fail or give a wrong number of values. The old file is then unchanged.
pub fn save_weights(path: &Path, about: &About, tensors: &dyn Tensors) -> Result<()> {
    let strings = about.to_weights_strings();
    let saved = strings.and_then(|strings| replace(path, strings, tensors));
    saved.with_context(|| format!("cannot write {}", path.display()))
}

fn replace(path: &Path, strings: HashMap<String, String>, tensors: &dyn Tensors) -> Result<()> {
    let target = files::replace(path, |file| write_file(file, strings, tensors))?;
    Ok(sync_folder_of(&target)?)
}

fn write_file(file: &File, strings: HashMap<String, String>, tensors: &dyn Tensors) -> Result<()> {
    let specs = tensors.specs();
    let header = header(strings, &specs)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (index, spec) in specs.iter().enumerate() {
        let values = tensors.read(index)?;
        let expected: usize = spec.shape.iter().product();
        ensure!(
            values.len() == expected,
            "tensor {}: {} values for the shape {:?}, which needs {expected}",
            spec.name,
            values.len(),
            spec.shape
        );
        write_values(&mut file, &values)?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

/// The JSON header. Its keys are sorted, so that equal states are equal files.
fn header(strings: HashMap<String, String>, specs: &[TensorSpec]) -> Result<Vec<u8>> {
    let mut end = 0;
    let infos = specs.iter().map(|spec| {
        let start = end;
        end += spec.shape.iter().product::<usize>() * size_of::<f32>();
        (spec.name.clone(), TensorInfo { dtype: Dtype::F32, shape: spec.shape.clone(), data_offsets: (start, end) })
    });
    let metadata = Metadata::new(Some(strings), infos.collect())?;
    // A JSON value keeps its keys in order, the hash maps in `Metadata` do not.
    let mut header = serde_json::to_vec(&serde_json::to_value(&metadata)?)?;
    // Readers that map the file into memory want the tensors aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn write_values(file: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = [0; 1 << 14];
    for chunk in values.chunks(bytes.len() / size_of::<f32>()) {
        let bytes = &mut bytes[..size_of_val(chunk)];
        for (slot, value) in bytes.as_chunks_mut().0.iter_mut().zip(chunk) {
            *slot = value.to_le_bytes();
        }
        file.write_all(bytes)?;
    }
    Ok(())
}

/// Forces a rename to the disk, which is done by syncing the folder. Only Unix has a way to do so.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::fixture;
    use super::*;

    #[test]
    fn other_programs_can_read_the_file_and_equal_states_are_equal_files() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            let path = folder.path().join(name);
            save(&path, &About::from_run(fixture::meta(5)), &fixture::TwoTensors).unwrap();
            fs::read(path).unwrap()
        });
        assert_eq!(a, b);
        let file = safetensors::SafeTensors::deserialize(&a).unwrap();
        let tensor = file.tensor("generator.b.weight").unwrap();
        assert_eq!(tensor.shape(), [2, 3]);
        assert_eq!(tensor.data()[..4], 1f32.to_le_bytes());
        assert_eq!(tensor.data().as_ptr().addr() % 4, a.as_ptr().addr() % 4);
    }

    #[test]
    fn a_failed_save_leaves_the_old_file_and_no_other() {
        struct Short;
        impl Tensors for Short {
            fn specs(&self) -> Vec<TensorSpec> {
                vec![TensorSpec { name: "x".into(), shape: vec![3] }]
            }
            fn read(&self, _: usize) -> Result<Vec<f32>> {
                Ok(vec![0.0; 2])
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        fs::write(&path, "old").unwrap();
        let error = format!("{:#}", save(&path, &About::from_run(fixture::meta(5)), &Short).unwrap_err());
        assert!(error.contains("tensor x: 2 values"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let error = format!(
            "{:#}",
            save(Path::new("no/such/file"), &About::from_run(fixture::meta(5)), &fixture::TwoTensors).unwrap_err()
        );
        assert!(error.starts_with("cannot save the checkpoint no/such/file: "), "{error}");
    }
}
