//! The weights in a file: those of a checkpoint, or bare tensors under the names that PyTorch gives them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::import::{self, TorchFile, TorchTensor};
use crate::checkpoint::{About, Origin, Reader, TensorSpec};

/// The weights of a checkpoint or an import, or of a bare safetensors file that `export` or another program has
/// written. Tensors are called as in a checkpoint, `generator.*` and `discriminator.*`.
#[derive(Debug)]
pub enum Weights {
    Checkpoint(Reader),
    Bare(Box<Bare>),
}

/// Weights in a file that is no checkpoint.
#[derive(Debug)]
pub struct Bare {
    path: PathBuf,
    file: TorchFile,
    /// Tensors by their names in a checkpoint, each with its name in the file.
    tensors: BTreeMap<String, (String, TorchTensor)>,
    /// The generator, if there is one: its description, and a line on its recognition unless `export` described it in
    /// the header.
    generator: Option<(About, Option<String>)>,
}

impl Weights {
    /// Opens a file for the generator in it.
    ///
    /// # Errors
    /// When it is no safetensors file, or holds no generator that is known.
    pub fn open_generator(path: &Path) -> Result<Weights> {
        let reader = Reader::open(path)?;
        if reader.is_checkpoint() {
            return Ok(Weights::Checkpoint(reader));
        }
        let open = || -> Result<Bare> {
            let mut bare = Bare::open(path)?;
            bare.take_generator()?;
            Ok(bare)
        };
        Ok(Weights::Bare(Box::new(open().with_context(|| format!("cannot use {}", path.display()))?)))
    }

    /// Opens a file for the networks in it, one or both.
    ///
    /// # Errors
    /// When it is no safetensors file, or holds no network that is known.
    pub fn open_networks(path: &Path) -> Result<Weights> {
        let reader = Reader::open(path)?;
        let is_of_network =
            |spec: &TensorSpec| ["generator.", "discriminator."].iter().any(|prefix| spec.name.starts_with(prefix));
        if reader.is_checkpoint() || reader.specs().iter().any(is_of_network) {
            return Ok(Weights::Checkpoint(reader));
        }
        let open = || -> Result<Bare> {
            let mut bare = Bare::open(path)?;
            bare.take_discriminator();
            if bare.tensors.is_empty() || import::has_generator(&bare.file.dicts) {
                bare.take_generator()?;
            }
            Ok(bare)
        };
        Ok(Weights::Bare(Box::new(open().with_context(|| format!("cannot use {}", path.display()))?)))
    }

    /// The description in the header of the file.
    ///
    /// # Errors
    /// When it is a checkpoint of another format, or has no generator.
    pub fn about(&self) -> Result<About> {
        match self {
            Weights::Checkpoint(reader) => reader.about(),
            Weights::Bare(bare) => match &bare.generator {
                Some((about, _)) => Ok(about.clone()),
                None => Err(anyhow!("{}: holds no generator", bare.path.display())),
            },
        }
    }

    /// A line that says what weights of another program are taken for; `None` for weights of this program.
    pub fn note(&self) -> Option<String> {
        let Weights::Bare(bare) = self else { return None };
        let (About { generator, origin }, Some(recognised)) = bare.generator.as_ref()? else { return None };
        let Origin::Import { direction, .. } = origin else { return None };
        let norms = import::describe_norms(generator.norm);
        let (path, direction) = (bare.path.display(), direction.describe());
        Some(format!("{path}: {recognised}; {norms}; for pairs {direction}, which `import --direction` can change"))
    }

    /// Names and shapes of all tensors.
    pub fn specs(&self) -> Vec<TensorSpec> {
        match self {
            Weights::Checkpoint(reader) => reader.specs(),
            Weights::Bare(bare) => {
                let spec = |(name, (_, tensor)): (&String, &(String, TorchTensor))| TensorSpec {
                    name: name.clone(),
                    shape: tensor.shape.clone(),
                };
                bare.tensors.iter().map(spec).collect()
            }
        }
    }

    /// The values of one tensor, row-major, in f32.
    ///
    /// # Errors
    /// When it is not there, has another shape, or cannot be read.
    pub fn tensor(&mut self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        match self {
            Weights::Checkpoint(reader) => reader.tensor(name, expected_shape),
            Weights::Bare(bare) => bare.tensor(name, expected_shape),
        }
    }
}

impl Bare {
    fn open(path: &Path) -> Result<Bare> {
        Ok(Bare { path: path.to_owned(), file: TorchFile::open(path)?, tensors: BTreeMap::new(), generator: None })
    }

    fn take_generator(&mut self) -> Result<()> {
        let (found, exported) = import::generator(&self.file.dicts, &self.file.about, false)?;
        for spec in found.unet.specs() {
            if let Some((name, tensor)) = found.tensor(&spec.name) {
                self.tensors.insert(format!("generator.{}", spec.name), (name, tensor.clone()));
            }
        }
        self.generator = Some(match exported {
            Some(about) => (about, None),
            None => (import::about(found.unet, &self.path, None), Some(found.describe())),
        });
        Ok(())
    }

    fn take_discriminator(&mut self) {
        for (name, in_file, tensor) in import::discriminator(&self.file.dicts) {
            self.tensors.insert(format!("discriminator.{name}"), (in_file, tensor.clone()));
        }
    }

    fn tensor(&mut self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        let path = self.path.display();
        let (in_file, tensor) = self
            .tensors
            .get(name)
            .ok_or_else(|| anyhow!("{path}: tensor {name} is missing (expected with shape {expected_shape:?})"))?;
        let shape = &tensor.shape;
        ensure!(shape == expected_shape, "{path}: tensor {name} has shape {shape:?}, expected {expected_shape:?}");
        let values = self.file.read(in_file, tensor)?;
        let is_finite = values.iter().all(|value| value.is_finite());
        ensure!(is_finite, "{path}: tensor {name} has values that are no finite numbers");
        Ok(values)
    }
}
