//! Validation: L1, PSNR and SSIM of the generator's outputs for held-out pairs, after an epoch.

use anyhow::Result;
use rayon::prelude::*;

use super::interrupt;
use super::trainer::Trainer;
use crate::data::{Pair, Pairs};
use crate::metrics::Metrics;

/// Number of pairs that are decoded, and then measured, in parallel; it bounds the memory of a validation.
pub const CHUNK: usize = 16;

/// Runs the generator on the inputs of `pairs`, which have the image size, with dropout as in training, and returns the
/// means of L1, PSNR and SSIM between outputs and targets. Returns `None` if a signal asks the run to end before all
/// pairs are done. `progress` is called with the number of pairs done so far.
///
/// # Errors
/// When a pair can no longer be read, or the device has failed.
pub fn validate(trainer: &mut Trainer, pairs: &dyn Pairs, mut progress: impl FnMut(usize)) -> Result<Option<Metrics>> {
    let all: Vec<usize> = (0..pairs.len()).collect();
    let mut metrics = Vec::with_capacity(all.len());
    for some in all.chunks(CHUNK) {
        let read: Result<Vec<Pair>> = some.par_iter().map(|&index| pairs.pair(0, index)).collect();
        let mut translated = Vec::with_capacity(some.len());
        for (pair, index) in read?.into_iter().zip(some) {
            if interrupt::asked() {
                return Ok(None);
            }
            translated.push((trainer.generate(&pair.input)?, pair.target));
            progress(index + 1);
        }
        let measured = translated.par_iter().map(|(output, target)| {
            Metrics::between(output, &target.to_f32(), [target.size.height, target.size.width, target.channels])
        });
        metrics.par_extend(measured);
    }
    Ok(Some(Metrics::mean(&metrics)))
}
