//! `pixtape import`: the generator of a PyTorch program, or one that `export` has written, as a file that `translate`
//! takes.
//!
//! The file is read without executing anything in it (`torch`), the generator recognised by the names and shapes of its
//! tensors (`recognise`), and its weights taken over as they are, or with the stored statistics of its batch norms
//! folded into them (`weights`).

mod archive;
mod pickle;
mod recognise;
mod torch;
mod weights;

use std::collections::HashMap;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::base::files::{is_same_file, make_folder_of, target};
use crate::base::memory::require;
use crate::base::progress::tell;
use crate::checkpoint::{About, Origin, TensorSpec, Tensors, save};
use crate::data::Direction;
use crate::gan::{Norm, ParameterSpec, UNet};
use recognise::FoundGenerator;
pub(super) use recognise::{discriminator, has_generator};
use torch::StateDict;
pub(super) use torch::{TorchFile, TorchTensor};

/// The arguments of `pixtape import`; each field has the name of its flag or argument.
#[derive(Clone, Debug)]
pub struct Request {
    pub file: PathBuf,
    pub out: PathBuf,
    pub direction: Option<Direction>,
    pub running_stats: bool,
}

/// Imports the generator in the file of PyTorch or `export` that `request` names, into a file that is used like a
/// checkpoint. Prints what it was recognised as.
///
/// # Errors
/// When the file has another format, is damaged, refers to Python functions or classes other than those of tensors, or
/// holds no known generator; or the result cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let Request { file: path, out, direction, running_stats } = request;
    ensure!(
        !is_same_file(path, out),
        "{} would be overwritten by its own import: choose another --out",
        path.display()
    );
    target(out)?;
    let context = || format!("cannot import {}", path.display());
    let mut file = TorchFile::open(path).with_context(context)?;
    ensure!(
        !About::is_checkpoint(&file.about),
        "{} is a checkpoint or an import of pixtape already: translate, evaluate, export and train --start-from take \
         it as it is",
        path.display()
    );
    let dicts = mem::take(&mut file.dicts);
    let (found, exported) = generator(&dicts, &file.about, *running_stats).with_context(context)?;
    require_memory(found.unet).with_context(context)?;
    let read = |name: &str| -> Result<Option<Vec<f32>>> {
        found.tensor(name).map(|(name, tensor)| file.read(&name, tensor)).transpose()
    };
    let (unet, tensors) = match running_stats {
        false => (found.unet, weights::unchanged(found.unet, read).with_context(context)?),
        true => weights::folded(found.unet, read).with_context(context)?,
    };
    let direction = direction.or_else(|| exported.as_ref().map(About::direction));
    let about = about(unet, path, direction);
    for (spec, values) in &tensors {
        let is_finite = values.iter().all(|value| value.is_finite());
        ensure!(is_finite, "cannot import {}: {} has values that are no finite numbers", path.display(), spec.name);
    }
    let count: usize = tensors.iter().map(|(_, values)| values.len()).sum();
    make_folder_of(out)?;
    save(out, &about, &Imported(tensors))?;
    tell(format_args!("{}: {}", path.display(), found.describe()))?;
    tell(format_args!("{}", weights::describe_norms(found.unet.norm, *running_stats)))?;
    let direction = about.direction().describe();
    tell(format_args!("Imported {count} parameters into {}, for pairs {direction}", out.display()))?;
    Ok(())
}

/// Checks that there is memory for the weights of `unet`, all of which are held before anything is written, and for
/// copies of the largest tensor.
fn require_memory(unet: UNet) -> Result<()> {
    let counts = unet.specs().iter().map(ParameterSpec::count).collect::<Vec<_>>();
    let largest = counts.iter().max().copied().unwrap_or(0);
    let bytes = size_of::<f32>() * (counts.iter().sum::<usize>() + 3 * largest);
    require(bytes as u64, "holding its weights", || "free memory, or import it on another machine".to_owned())
}

/// Finds the generator among the state dicts of a file, and its metadata in the file's header if `export` has written
/// it. `running_stats` as in [`recognise::generator`].
///
/// # Errors
/// When there is no known generator, or not the one that the header describes.
pub(super) fn generator<'a>(
    dicts: &'a [StateDict],
    header: &HashMap<String, String>,
    running_stats: bool,
) -> Result<(FoundGenerator<'a>, Option<About>)> {
    if let Some(about) = About::from_weights_strings(header)?
        && let Some(found) = recognise::exported(dicts, about.generator, running_stats)?
    {
        return Ok((found, Some(about)));
    }
    Ok((recognise::generator(dicts, running_stats)?, None))
}

/// Returns the metadata of a generator that was found in the file at `path`. The default `direction` is from A to B.
pub(super) fn about(generator: UNet, path: &Path, direction: Option<Direction>) -> About {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    About { generator, origin: Origin::Import { file, direction: direction.unwrap_or(Direction::AToB) } }
}

/// Returns a phrase about the mean and variance that the norms of an imported generator use.
pub(super) fn describe_norms(norm: Norm) -> String {
    weights::describe_norms(norm, false).replace("Norms: ", "its norms use ")
}

/// The tensors to be saved, with their values.
struct Imported(Vec<(TensorSpec, Vec<f32>)>);

impl Tensors for Imported {
    fn specs(&self) -> Vec<TensorSpec> {
        self.0.iter().map(|(spec, _)| spec.clone()).collect()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        Ok(self.0[index].1.clone())
    }
}
