//! `pixtape export`: a network for PyTorch, or the generator for any runtime that reads ONNX.

mod onnx;
mod protobuf;

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use prost::Message;

use crate::checkpoint::{About, Reader, TensorSpec, Tensors, resolve, save_weights};
use crate::cli::{ExportArgs, Network};
use crate::config::is_same_place;
use crate::files::{make_folder_of, write_whole};
use crate::memory::require;
use crate::nn::{Norm, Recipe, Spec};
use crate::progress::tell;

/// Exports the checkpoint that `args` name.
///
/// # Errors
/// When it cannot be used, lacks the network that is asked for, or the result cannot be written.
pub fn run(args: &ExportArgs) -> Result<()> {
    let checkpoint = resolve(&args.model)?;
    let mut reader = Reader::open(&checkpoint)?;
    let about = reader.about()?;
    for out in [&args.safetensors, &args.onnx].into_iter().flatten() {
        ensure!(!is_same_place(out, &checkpoint), "{} is what is exported: choose another file", out.display());
    }
    if let (Some(weights), Some(graph)) = (&args.safetensors, &args.onnx) {
        ensure!(weights != graph, "--safetensors and --onnx both write {}: choose another file", graph.display());
    }
    for out in [&args.safetensors, &args.onnx].into_iter().flatten() {
        make_folder_of(out)?;
    }
    if let Some(out) = &args.onnx {
        to_onnx(&mut reader, &about, out)?;
        let side = 1_usize << about.generator.depth;
        tell(format_args!("Exported {}, dropout off, to {}", about.describe(), out.display()))?;
        tell(format_args!(
            "Input \"input\" and output \"output\": [batch, channels, height, width], f32 from -1 to 1, sides multiples of {side}"
        ))?;
    }
    if let Some(out) = &args.safetensors {
        let count = to_safetensors(reader, &about, args.network, out)?;
        tell(format_args!("Exported {count} tensors, {}, to {}", about.describe(), out.display()))?;
        if args.network == Network::Generator {
            tell(format_args!("They fit {}", fits(&about)))?;
        }
    }
    Ok(())
}

fn to_onnx(reader: &mut Reader, about: &About, out: &Path) -> Result<()> {
    let counts = about.generator.specs().iter().map(Spec::count).collect::<Vec<_>>();
    // All weights in the graph, and beside them the largest on its way there; later the bytes of the file.
    let (all, largest) = (counts.iter().sum::<usize>(), counts.iter().max().copied().unwrap_or(0));
    let values = all + all.max(3 * largest);
    let what = "an ONNX file of these weights";
    require((size_of::<f32>() * values) as u64, what, || "free memory, or export with --safetensors".to_owned())?;
    let read = |name: &str, shape: &[usize]| reader.tensor(&format!("generator.{name}"), shape);
    let model = onnx::model(about.generator, about.to_strings()?, read)?;
    write_whole(out, &model.encode_to_vec())
}

/// Writes the tensors of one network under PyTorch's bare names, and returns how many they are.
fn to_safetensors(reader: Reader, about: &About, network: Network, out: &Path) -> Result<usize> {
    let prefix = match network {
        Network::Generator => "generator.",
        Network::Discriminator => "discriminator.",
    };
    let bare = |spec: TensorSpec| Some(TensorSpec { name: spec.name.strip_prefix(prefix)?.to_owned(), ..spec });
    let specs: Vec<TensorSpec> = reader.specs().into_iter().filter_map(bare).collect();
    if specs.is_empty() {
        bail!("there is no {} in these weights", prefix.trim_end_matches('.'));
    }
    let count = specs.len();
    save_weights(out, about, &Bare { reader: RefCell::new(reader), prefix, specs })?;
    Ok(count)
}

/// The tensors of a checkpoint under one prefix, without it.
struct Bare {
    reader: RefCell<Reader>,
    prefix: &'static str,
    specs: Vec<TensorSpec>,
}

impl Tensors for Bare {
    fn specs(&self) -> Vec<TensorSpec> {
        self.specs.clone()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        let TensorSpec { name, shape } = &self.specs[index];
        self.reader.borrow_mut().tensor(&format!("{}{name}", self.prefix), shape)
    }
}

/// The class that takes an exported generator with `load_state_dict`.
fn fits(about: &About) -> &'static str {
    match (about.generator.recipe, about.generator.norm) {
        (Recipe::PytorchGan, Norm::Instance) => "GeneratorUNet with load_state_dict(strict=True)",
        (Recipe::BlockCk, Norm::Instance) => "the generator with BlockCK blocks with load_state_dict(strict=True)",
        (Recipe::Isola, Norm::Instance) => {
            "the authors' UnetGenerator with instance norm with load_state_dict(strict=True)"
        }
        (_, Norm::InstanceAffine) => {
            "the class with InstanceNorm2d(affine=True) with load_state_dict(strict=True), and with BatchNorm2d, in train \
             mode at batch 1, with strict=False: there are no running statistics"
        }
        (_, Norm::None) => "the class without norms (Identity in their places) and with a bias in every convolution",
    }
}
