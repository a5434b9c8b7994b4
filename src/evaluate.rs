//! `pixtape evaluate`: how close a trained generator comes to pictures that it has not seen.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::cli::EvaluateArgs;
use crate::data::{Folder, Pairs};
use crate::device::cpu::with_threads;
use crate::metrics::{l1, psnr};
use crate::translate::Model;

/// Translates the inputs of a test set and prints the mean distance to its targets.
///
/// # Errors
/// When the checkpoint or the data cannot be used.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let mut model = Model::open(&args.model, &args.generator)?;
    let (direction, size) = (model.direction(), model.image_size());
    let (split, pairs) = Folder::to_evaluate(&args.data, direction, size)?;
    let sums = with_threads(args.generator.threads, || -> Result<[f64; 2]> {
        let mut sums = [0.0; 2];
        let mut input = vec![0.0; size.pixels() * 3];
        let mut target = input.clone();
        for index in 0..pairs.len() {
            let pair = pairs.pair(0, index)?;
            pair.input.to_f32(&mut input);
            pair.target.to_f32(&mut target);
            let output = model.generate(&input, size, index as u64)?;
            sums[0] += l1(&output, &target);
            sums[1] += psnr(&output, &target);
        }
        Ok(sums)
    })??;
    let [l1, psnr] = sums.map(|sum| sum / pairs.len() as f64);
    let mut out = stdout();
    let count = if pairs.len() == 1 { "1 pair".to_owned() } else { format!("{} pairs", pairs.len()) };
    writeln!(out, "{count} ({split}) of {} at {size}", args.data.display())?;
    writeln!(out, "{}", model.describe())?;
    writeln!(out, "L1    {l1:.4}  (mean absolute error, on a scale from -1 to 1)")?;
    writeln!(out, "PSNR  {psnr:.2} dB  (mean over the pairs)")?;
    Ok(())
}
