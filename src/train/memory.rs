//! The memory that a run takes, known before it begins.

use anyhow::Result;

use super::feed;
use super::samples::ROWS;
use super::validation::CHUNK;
use crate::base::memory::{require, spare};
use crate::config::TrainConfig;
use crate::data::feeding::loader::max_batches_in_memory;
use crate::engine::device::DeviceId;
use crate::gan::TrainingStep;

/// Checks that there is enough memory for a run with these settings on `device`. Returns the number of bytes that
/// decoded pairs may take beside it: `cache`, or half of what is left if that is less.
///
/// # Errors
/// When there is too little memory; the error names the settings that need less. Also when the training step cannot be
/// recorded.
pub fn check(config: &TrainConfig, device: DeviceId, cache: usize) -> Result<usize> {
    let bytes = bytes(config, device)?;
    let batch = match config.batch {
        1 => "",
        _ => "a smaller --batch (with more --accumulate in its place), ",
    };
    let what = format!("training at {} with --batch {} and --ngf {}", config.image_size, config.batch, config.ngf);
    require(bytes, what, || format!("take {batch}a smaller --image-size, or a smaller --ngf and --ndf"))?;
    Ok(spare(cache, bytes))
}

/// The most memory of a run in bytes, without the decoded pairs that are kept.
fn bytes(config: &TrainConfig, device: DeviceId) -> Result<u64> {
    let recorded = TrainingStep::record(&config.objective())?;
    let specs = recorded.networks.iter().flat_map(|network| &network.parameters.specs);
    let largest = specs.map(|spec| spec.count()).max();
    // Copies of a tensor on its way into a checkpoint, and out of one.
    let tensor = 3 * size_of::<f32>() * largest.unwrap_or(0);
    let (image, load) = (config.image_size.pixels(), config.load_size.pixels());
    let channels = config.in_channels + config.out_channels;
    let pair = size_of::<u16>() * channels;
    let batches = max_batches_in_memory() * (config.pairs_per_step() * image + load) * pair;
    let grids = ROWS * image * (pair + 3 * 3 * 2);
    // While held-out pairs are measured.
    let measured = CHUNK * image * (pair + size_of::<f32>() * 2 * config.out_channels);
    // Before the first step, if all pairs are uploaded to a GPU.
    let uploaded = match device {
        DeviceId::Cpu => 0,
        DeviceId::Cuda(_) => feed::CHUNK * load * pair,
    };
    let pictures = (batches + grids + measured).max(uploaded);
    Ok(device.program_bytes(recorded.program, config.device_options()) + (tensor + pictures) as u64)
}

/// Returns the number of bytes that resident pairs may take of a GPU's memory, of which `free` bytes are free beside
/// the training step, and `total` there are. A sixteenth of all stays free for what the driver allocates later, such as
/// CUDA graphs, and for other programs.
pub fn for_resident_pairs([free, total]: [usize; 2]) -> usize {
    free.saturating_sub(total / 16)
}
