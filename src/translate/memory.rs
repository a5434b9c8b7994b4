//! The memory that a translation takes, known before it begins.

use std::collections::HashMap;

use anyhow::Result;

use super::jobs::Job;
use super::{Model, Tiling};
use crate::base::bytes::ByteSize;
use crate::base::memory::require;
use crate::data::Size;

/// Bytes that are in memory while a format that is written by rows is written.
const WRITTEN: usize = 8 << 20;

/// Checks that there is host memory to translate each one of `jobs`, with `batch` tiles in a batch.
///
/// # Errors
/// When there is too little; the error names settings that take less.
pub fn check(model: &Model, cut: &Tiling, jobs: &[Job], batch: usize) -> Result<()> {
    // The generator is recorded once for each size.
    let mut programs = HashMap::new();
    let needed = jobs.iter().map(|job| {
        let Size { width, height } = cut.tile(job.shape.size);
        let program = *programs.entry((width, height)).or_insert_with(|| program_bytes(model, cut, job, batch));
        (program + other_bytes(model, cut, job, batch), job)
    });
    let Some((needed, largest)) = needed.max_by_key(|(bytes, _)| *bytes) else { return Ok(()) };
    let input = largest.input.display();
    let how = match cut {
        Tiling::Whole { .. } => "as a whole".to_owned(),
        Tiling::Tiled { tile, .. } => format!("in tiles of {}", tile.sides()),
    };
    let what = format!("translating {input} of {} {how}", largest.shape.size.sides());
    require(needed, what, || cure(model, cut, largest, batch))
}

/// Advice that takes less memory for `job`.
fn cure(model: &Model, cut: &Tiling, job: &Job, batch: usize) -> String {
    let by_rows = if job.format.is_by_rows() { "" } else { "; or --format png, which is written by rows" };
    let free = format!("free memory, or cut the picture into parts{by_rows}");
    match *cut {
        Tiling::Whole { multiple } => {
            let tile = super::padded(model.training_size(), multiple);
            let tiled = Tiling::Tiled { tile, overlap: [tile.width / 4, tile.height / 4] };
            let bytes = |cut| program_bytes(model, cut, job, batch) + other_bytes(model, cut, job, batch);
            let [whole, tiled] = [cut, &tiled].map(bytes);
            match tiled < whole {
                true => format!("--tile {tile} takes {}", ByteSize(tiled)),
                false => free,
            }
        }
        Tiling::Tiled { .. } if batch > 1 => format!("take a smaller --tile or --batch; or {free}"),
        Tiling::Tiled { .. } => format!("take a smaller --tile; or {free}"),
    }
}

/// Bytes of host memory of the recorded generator. To record it for another size takes the weights twice.
fn program_bytes(model: &Model, cut: &Tiling, job: &Job, batch: usize) -> u64 {
    model.program_bytes(cut.tile(job.shape.size), batch).max(2 * model.weight_bytes())
}

/// Bytes of host memory at most while `job` is translated, beside those of the recorded generator.
fn other_bytes(model: &Model, cut: &Tiling, job: &Job, batch: usize) -> u64 {
    let [inputs, outputs] = model.channels();
    let tile = cut.tile(job.shape.size);
    // The rows that are in memory at once: of the input as they are read, with up to 4 channels, and as they are cut.
    let Size { width, height } = job.shape.size;
    let pixels = tile.height.min(height) * width;
    let (sample, float) = (size_of::<u16>(), size_of::<f32>());
    let window = sample * pixels * (inputs + 4);
    // Sums, and the samples that they become.
    let blended = (float + sample) * pixels * outputs;
    // All samples, their bytes, and the encoded file.
    let file = if job.format.is_by_rows() { WRITTEN } else { (sample + 2) * width * height * outputs };
    let before = float * tile.pixels() * inputs * (batch + 1);
    let after = float * tile.pixels() * outputs * batch + file;
    job.held_bytes + (window + blended + before.max(after)) as u64
}
