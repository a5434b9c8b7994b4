//! `pixtape import`: the generator of a PyTorch program as a file that `translate` takes.
//!
//! The file is read without executing anything in it (`torch`), the generator recognised by the names and shapes of its tensors
//! (`recognise`), and its weights taken over as they are, or with the stored statistics of its batch norms folded into them
//! (`weights`).

mod archive;
mod pickle;
mod recognise;
mod torch;
mod weights;

use anyhow::{Context, Result, ensure};

use crate::checkpoint::{About, Origin, TensorSpec, Tensors, save};
use crate::cli::ImportArgs;
use crate::config::is_same_place;
use crate::files::make_folder_of;
use crate::memory::require;
use crate::nn::{Spec, UNet};
use crate::progress::tell;
use torch::TorchFile;

/// Imports the file that `args` names.
///
/// # Errors
/// When it is none of PyTorch, asks for more than tensors, is damaged, or holds no generator that is known; or the result cannot
/// be written.
pub fn run(args: &ImportArgs) -> Result<()> {
    let ImportArgs { file: path, out, direction, running_stats } = args;
    ensure!(
        !is_same_place(path, out),
        "{} would be overwritten by its own import: choose another --out",
        path.display()
    );
    let mut file = TorchFile::open(path)?;
    let dicts = std::mem::take(&mut file.dicts);
    let context = || format!("cannot import {}", path.display());
    let found = recognise::generator(&dicts, *running_stats).with_context(context)?;
    require_memory(found.unet).with_context(context)?;
    let read = |name: &str| -> Result<Option<Vec<f32>>> {
        found.tensor(name).map(|(name, tensor)| file.read(&name, tensor)).transpose()
    };
    let (generator, tensors) = match running_stats {
        false => (found.unet, weights::as_they_are(found.unet, read)?),
        true => weights::folded(found.unet, read).with_context(context)?,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let about = About { generator, origin: Origin::Import { file: name, direction: *direction } };
    for (spec, values) in &tensors {
        let is_finite = values.iter().all(|value| value.is_finite());
        ensure!(is_finite, "cannot import {}: {} has values that are no finite numbers", path.display(), spec.name);
    }
    let count: usize = tensors.iter().map(|(_, values)| values.len()).sum();
    make_folder_of(out)?;
    save(out, &about, &Imported(tensors))?;
    tell(format_args!("{}: {}", path.display(), found.describe()))?;
    tell(format_args!("{}", weights::describe(found.unet.norm, *running_stats)))?;
    tell(format_args!("Imported {count} parameters into {}, for pairs {}", out.display(), direction.describe()))?;
    Ok(())
}

/// Asserts that there is memory for the weights of `unet`, all of which are held before anything is written, and beside them for
/// what the largest is read from and copied to.
fn require_memory(unet: UNet) -> Result<()> {
    let counts = unet.specs().iter().map(Spec::count).collect::<Vec<_>>();
    let largest = counts.iter().max().copied().unwrap_or(0);
    let bytes = size_of::<f32>() * (counts.iter().sum::<usize>() + 3 * largest);
    require(bytes as u64, "holding its weights", || "free memory, or import it on another machine".to_owned())
}

/// The tensors on their way into the new file.
struct Imported(Vec<(TensorSpec, Vec<f32>)>);

impl Tensors for Imported {
    fn specs(&self) -> Vec<TensorSpec> {
        self.0.iter().map(|(spec, _)| spec.clone()).collect()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        Ok(self.0[index].1.clone())
    }
}
