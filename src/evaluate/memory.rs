//! The memory that an evaluation takes, known before it begins.

use anyhow::Result;

use crate::base::memory::{require, spare};
use crate::data::Size;
use crate::translate::Model;

/// Checks that there is host memory to evaluate `model` on pairs of `size`, one at a time. Returns the number of bytes
/// that the cache of decoded pairs may take: `cache`, or half of the memory that the evaluation leaves if that is less.
///
/// # Errors
/// When there is too little memory for the evaluation without a cache.
pub fn check(model: &Model, size: Size, cache: usize) -> Result<usize> {
    let [inputs, outputs] = model.channels();
    // Input and target as 16-bit samples, input, output and target as floats, and a picture for the page.
    let pair = (size_of::<u16>() + size_of::<f32>()) * (inputs + 2 * outputs);
    let bytes = (model.program_bytes(size, 1) + (size.pixels() * pair) as u64).max(2 * model.weight_bytes());
    require(bytes, format_args!("measuring pairs of {size}"), || "free memory, or use a smaller network".to_owned())?;
    Ok(spare(cache, bytes))
}
