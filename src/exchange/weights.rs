//! The weights in a safetensors file: those of a checkpoint, or tensors alone under the names that PyTorch gives them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::import::{self, TorchFile, TorchTensor};
use crate::checkpoint::{About, Origin, Reader, TensorSpec};

/// The weights in an open safetensors file: a checkpoint, an import, or tensors alone, as `export` or another program
/// writes them. In all cases tensors are asked for by their names in a checkpoint, `generator.*` and `discriminator.*`.
#[derive(Debug)]
pub enum Weights {
    /// A file whose tensors have these names.
    Checkpoint(Reader),
    /// A file whose tensors have other names, by which its networks were recognised.
    Unprefixed(Box<Unprefixed>),
}

/// A file of weights under the names that PyTorch gives them, without the prefixes of a checkpoint, and the networks
/// that were recognised in it.
#[derive(Debug)]
pub struct Unprefixed {
    path: PathBuf,
    file: TorchFile,
    /// Tensors by their names in a checkpoint, each with its name in the file.
    tensors: BTreeMap<String, (String, TorchTensor)>,
    /// The generator, if there is one: its description, and a line on its recognition unless `export` described it in
    /// the header.
    generator: Option<(About, Option<String>)>,
}

impl Weights {
    /// Opens a file for its generator, which is recognised by names and shapes unless the file is a checkpoint or an
    /// import.
    ///
    /// # Errors
    /// When it is no safetensors file, or holds no known generator.
    pub fn open_generator(path: &Path) -> Result<Weights> {
        let reader = Reader::open(path)?;
        if reader.is_checkpoint() {
            return Ok(Weights::Checkpoint(reader));
        }
        let open = || -> Result<Unprefixed> {
            let mut unprefixed = Unprefixed::open(path)?;
            unprefixed.take_generator()?;
            Ok(unprefixed)
        };
        Ok(Weights::Unprefixed(Box::new(open().with_context(|| format!("cannot use {}", path.display()))?)))
    }

    /// Opens a file for its networks: a generator, a discriminator, or both.
    ///
    /// # Errors
    /// When it is no safetensors file, or holds no known network.
    pub fn open_networks(path: &Path) -> Result<Weights> {
        let reader = Reader::open(path)?;
        let is_of_network =
            |spec: &TensorSpec| ["generator.", "discriminator."].iter().any(|prefix| spec.name.starts_with(prefix));
        if reader.is_checkpoint() || reader.specs().iter().any(is_of_network) {
            return Ok(Weights::Checkpoint(reader));
        }
        let open = || -> Result<Unprefixed> {
            let mut unprefixed = Unprefixed::open(path)?;
            unprefixed.take_discriminator();
            if unprefixed.tensors.is_empty() || import::has_generator(&unprefixed.file.dicts) {
                unprefixed.take_generator()?;
            }
            Ok(unprefixed)
        };
        Ok(Weights::Unprefixed(Box::new(open().with_context(|| format!("cannot use {}", path.display()))?)))
    }

    /// Returns the architecture of the generator and the origin of the weights: from the header, or, for weights of
    /// another program, as recognised.
    ///
    /// # Errors
    /// When the header of a checkpoint is missing, damaged or of another format version, or the file has no generator.
    pub fn about(&self) -> Result<About> {
        match self {
            Weights::Checkpoint(reader) => reader.about(),
            Weights::Unprefixed(unprefixed) => match &unprefixed.generator {
                Some((about, _)) => Ok(about.clone()),
                None => Err(anyhow!("{}: holds no generator", unprefixed.path.display())),
            },
        }
    }

    /// Returns a line that says what the generator of another program was recognised as, and which direction is assumed
    /// for it. `None` for weights of this program, and without a generator.
    pub fn note(&self) -> Option<String> {
        let Weights::Unprefixed(unprefixed) = self else { return None };
        let (About { generator, origin }, Some(recognised)) = unprefixed.generator.as_ref()? else { return None };
        let Origin::Import { direction, .. } = origin else { return None };
        let norms = import::describe_norms(generator.norm);
        let (path, direction) = (unprefixed.path.display(), direction.describe());
        Some(format!("{path}: {recognised}; {norms}; for pairs {direction}, which `import --direction` can change"))
    }

    /// Returns names and shapes of all tensors.
    pub fn specs(&self) -> Vec<TensorSpec> {
        match self {
            Weights::Checkpoint(reader) => reader.specs(),
            Weights::Unprefixed(unprefixed) => {
                let spec = |(name, (_, tensor)): (&String, &(String, TorchTensor))| TensorSpec {
                    name: name.clone(),
                    shape: tensor.shape.clone(),
                };
                unprefixed.tensors.iter().map(spec).collect()
            }
        }
    }

    /// Reads the values of the tensor `name`, row-major, converted to f32.
    ///
    /// # Errors
    /// When there is no such tensor, it does not have `expected_shape`, or it cannot be read.
    pub fn tensor(&mut self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        match self {
            Weights::Checkpoint(reader) => reader.tensor(name, expected_shape),
            Weights::Unprefixed(unprefixed) => unprefixed.tensor(name, expected_shape),
        }
    }
}

impl Unprefixed {
    fn open(path: &Path) -> Result<Unprefixed> {
        Ok(Unprefixed {
            path: path.to_owned(),
            file: TorchFile::open(path)?,
            tensors: BTreeMap::new(),
            generator: None,
        })
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
