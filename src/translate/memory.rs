//! The memory that a translation takes, known before it begins.

use anyhow::Result;

use super::jobs::Job;
use super::{Cut, Model};
use crate::bytes::ByteSize;
use crate::data::Size;
use crate::memory::require;

/// Asserts that there is memory for the largest of `jobs`, with `batch` tiles at once.
///
/// # Errors
/// When there is not, with what would take less.
pub fn check(model: &Model, cut: &Cut, jobs: &[Job], batch: usize) -> Result<()> {
    let Some(largest) = jobs.iter().max_by_key(|job| job.size.pixels()) else { return Ok(()) };
    let input = largest.input.display();
    let how = match cut {
        Cut::Whole { .. } => "as a whole".to_owned(),
        Cut::Tiled { tile, .. } => format!("in tiles of {}", tile.sides()),
    };
    let what = format!("translating {input} of {} {how}", largest.size.sides());
    let needed = bytes(model, cut, largest.size, batch).saturating_add(waiting_pages(model, jobs));
    require(needed, what, || cure(model, cut, largest.size, batch))
}

/// Bytes of the translated pages of a file, which wait for its last one, and of the file made of them.
fn waiting_pages(model: &Model, jobs: &[Job]) -> u64 {
    let [_, channels] = model.channels();
    let of_page = |job: &Job| (size_of::<u16>() * job.size.pixels() * channels * job.outputs.len()) as u64;
    let files = jobs.chunk_by(|a, b| a.input == b.input).filter(|pages| pages[0].is_page());
    files.map(|pages| 2 * pages.iter().map(of_page).sum::<u64>()).max().unwrap_or(0)
}

/// Advice that takes less memory for a picture of size `picture`.
fn cure(model: &Model, cut: &Cut, picture: Size, batch: usize) -> String {
    let free = "free memory, or cut the picture into parts";
    match *cut {
        Cut::Whole { multiple } => {
            let tile = super::padded(model.training_size(), multiple);
            let tiled = Cut::Tiled { tile, overlap: [tile.width / 4, tile.height / 4] };
            let [whole, tiled] = [cut, &tiled].map(|cut| bytes(model, cut, picture, batch));
            match tiled < whole {
                true => format!("--tile {tile} takes {}", ByteSize(tiled)),
                false => free.to_owned(),
            }
        }
        Cut::Tiled { .. } if batch > 1 => format!("take a smaller --tile or --batch; or {free}"),
        Cut::Tiled { .. } => format!("take a smaller --tile; or {free}"),
    }
}

/// Bytes of memory at most while a picture of size `picture` is translated.
fn bytes(model: &Model, cut: &Cut, picture: Size, batch: usize) -> u64 {
    let [inputs, outputs] = model.channels();
    let (tile, tiles) = (cut.tile(picture), cut.tiles(picture).count());
    // Results of which tiles are still missing: those of one picture, and of those that share a batch with it.
    let canvases = 1 + (batch - 1).div_ceil(tiles);
    let samples = size_of::<u16>() * picture.pixels();
    let floats = size_of::<f32>() * tile.pixels();
    let before = floats * inputs * (batch + 1);
    let after = floats * outputs * batch + samples * outputs;
    let kept = samples * inputs + canvases * 2 * samples * outputs;
    let running = model.program_bytes(tile, batch) + (kept + before.max(after)) as u64;
    // Another size of tile is recorded with the weights of the one before.
    running.max(2 * model.weight_bytes())
}
