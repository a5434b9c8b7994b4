//! `pixtape export`: a network for PyTorch, or the generator for any runtime that reads ONNX.

mod classes;
mod onnx;
mod protobuf;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use prost::Message;

use super::Weights;
use crate::base::files::{is_one_target, is_same_file, make_folder_of, target, write_atomically};
use crate::base::memory::require;
use crate::base::progress::tell;
use crate::checkpoint::{About, Origin, TensorSpec, Tensors, resolve, save_weights};
use crate::gan::{Architecture, Objective, ParameterSpec};

/// The arguments of `pixtape export`; each field has the name of its flag or argument.
#[derive(Clone, Debug)]
pub struct Request {
    pub model: PathBuf,
    pub safetensors: Option<PathBuf>,
    pub onnx: Option<PathBuf>,
    /// The name of the network whose weights `safetensors` gets, such as `generator`.
    pub network: String,
}

/// Exports the checkpoint that `request` names: the weights of one network as safetensors, the generator as an ONNX
/// graph, or both. Prints what it has written.
///
/// # Errors
/// When the checkpoint cannot be used or lacks the network, or a file cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let outs = [&request.safetensors, &request.onnx].into_iter().flatten();
    outs.clone().try_for_each(|out| target(out).map(drop))?;
    let checkpoint = resolve(&request.model)?;
    let mut weights = Weights::open_generator(&checkpoint)?;
    let about = weights.about()?;
    for out in outs.clone() {
        ensure!(!is_same_file(out, &checkpoint), "{} is what is exported: choose another file", out.display());
    }
    if let (Some(tensors), Some(graph)) = (&request.safetensors, &request.onnx) {
        ensure!(
            !is_one_target(tensors, graph)?,
            "--safetensors and --onnx both write {}: choose another file",
            graph.display()
        );
    }
    outs.clone().try_for_each(|out| make_folder_of(out))?;
    if let Some(out) = &request.onnx {
        to_onnx(&mut weights, &about, out)?;
        let side = 1_usize << about.generator.depth;
        tell(format_args!("Exported {}, dropout off, to {}", about.describe(), out.display()))?;
        tell(format_args!(
            "Input \"input\" and output \"output\": [batch, channels, height, width], f32 from -1 to 1, sides \
             multiples of {side}"
        ))?;
    }
    if let Some(out) = &request.safetensors {
        let count = to_safetensors(weights, &about, &request.network, out)?;
        tell(format_args!("Exported {count} tensors, {}, to {}", about.describe(), out.display()))?;
        let networks = match &about.origin {
            Origin::Run(meta) => meta.config.objective().networks(),
            Origin::Import { .. } => Vec::new(),
        };
        let network = networks.iter().find(|network| network.name == request.network);
        tell(match network.map(|network| (network.architecture, network.input)) {
            Some((Architecture::PatchGan(patchgan), input)) => classes::for_discriminator(&patchgan, input),
            _ => classes::for_generator(&about.generator),
        })?;
    }
    Ok(())
}

fn to_onnx(weights: &mut Weights, about: &About, out: &Path) -> Result<()> {
    let counts = about.generator.specs().iter().map(ParameterSpec::count).collect::<Vec<_>>();
    // Memory for all weights in the graph, and beside them for copies of the largest; later for the bytes of the file.
    let (all, largest) = (counts.iter().sum::<usize>(), counts.iter().max().copied().unwrap_or(0));
    let values = all + all.max(3 * largest);
    let what = "an ONNX file of these weights";
    require((size_of::<f32>() * values) as u64, what, || "free memory, or export with --safetensors".to_owned())?;
    let read = |name: &str, shape: &[usize]| weights.tensor(&format!("generator.{name}"), shape);
    let model = onnx::model(about.generator, about.to_strings()?, read)?;
    write_atomically(out, &model.encode_to_vec())
}

/// Writes the tensors of one network under PyTorch's bare names, and returns their number.
fn to_safetensors(weights: Weights, about: &About, network: &str, out: &Path) -> Result<usize> {
    let prefix = format!("{network}.");
    let bare = |spec: TensorSpec| Some(TensorSpec { name: spec.name.strip_prefix(&prefix)?.to_owned(), ..spec });
    let specs: Vec<TensorSpec> = weights.specs().into_iter().filter_map(bare).collect();
    if specs.is_empty() {
        let networks: BTreeSet<String> = weights.specs().into_iter().filter_map(network_of).collect();
        bail!(
            "--network {network}: these weights have none of that name, but {}",
            networks.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    let count = specs.len();
    save_weights(out, about, &UnprefixedTensors { weights: RefCell::new(weights), prefix, specs })?;
    Ok(count)
}

/// The network that a tensor belongs to; `None` for an optimiser moment.
fn network_of(spec: TensorSpec) -> Option<String> {
    let (network, _) = spec.name.split_once('.')?;
    (network != "adam").then(|| network.to_owned())
}

/// The tensors under one prefix, named without the prefix.
struct UnprefixedTensors {
    weights: RefCell<Weights>,
    prefix: String,
    specs: Vec<TensorSpec>,
}

impl Tensors for UnprefixedTensors {
    fn specs(&self) -> Vec<TensorSpec> {
        self.specs.clone()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        let TensorSpec { name, shape } = &self.specs[index];
        self.weights.borrow_mut().tensor(&format!("{}{name}", self.prefix), shape)
    }
}
