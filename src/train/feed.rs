//! The pictures of each step on their way to the device. Either all pairs stay in GPU memory and a step is told which
//! crops of them it shows, or crops are cut by the host and copied step by step.

use std::sync::Arc;

use anyhow::Result;
use rayon::prelude::*;

use super::memory;
use super::trainer::Trainer;
use crate::base::bytes::ByteSize;
use crate::base::progress::Progress;
use crate::data::{Batch, Draws, Loader, LoaderConfig, Pair, Pairs, Position, Size, Window};
use crate::engine::samples::Crop;

/// Number of pairs that are decoded in parallel for the upload; it bounds the host memory that this takes.
pub const CHUNK: usize = 16;

/// The source of the pictures of all steps, in their order.
pub struct Feed {
    source: Source,
    /// The way of the pictures to a GPU, in words; `None` on the CPU.
    note: Option<String>,
}

enum Source {
    /// Crops are made by the host.
    Host(Loader),
    /// All pairs are in GPU memory: their sizes, and the number of the next step since the start of training.
    Resident { draws: Draws, sizes: Vec<Size>, next: u64 },
}

/// The pictures of a step.
pub enum StepPictures {
    Host(Batch),
    Resident(Vec<Crop>),
}

impl Feed {
    /// Begins with the step at position `from`. Uploads all of `pairs` to the GPU of `trainer` if it has one, the pairs
    /// are the same in every epoch, and its memory suffices.
    ///
    /// # Errors
    /// When the pairs are too few for a step, one of them can no longer be read, the threads that make batches cannot
    /// be started, or the device has failed.
    pub fn start(trainer: &mut Trainer, pairs: Arc<dyn Pairs>, config: LoaderConfig, from: Position) -> Result<Feed> {
        let (resident, note) = match (trainer.free_and_total_memory()?, pairs.fixed_sizes()) {
            (None, _) => (None, None),
            (Some(_), None) => {
                (None, Some("Each step copies its pictures to the GPU: the pairs are new in every epoch".to_owned()))
            }
            (Some(memory), Some(sizes)) => {
                let (fits, note) = residence(trainer.bytes_of_pairs(&sizes), memory::for_resident_pairs(memory));
                (fits.then_some(sizes), Some(note))
            }
        };
        let source = match resident {
            Some(sizes) => {
                let draws = Draws::new(pairs.len(), config)?;
                upload(trainer, &*pairs, &sizes)?;
                Source::Resident { next: draws.number(from), draws, sizes }
            }
            None => Source::Host(Loader::start(pairs, config, from)?),
        };
        Ok(Feed { source, note })
    }

    /// The way of the pictures to a GPU, in words; `None` on the CPU.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The draws of each step: its pairs and their crops.
    pub fn draws(&self) -> &Draws {
        match &self.source {
            Source::Host(loader) => loader.draws(),
            Source::Resident { draws, .. } => draws,
        }
    }

    /// Returns the pictures of the next step, and waits for them if need be.
    ///
    /// # Errors
    /// When a pair of this step can no longer be read. No later step should be asked for then.
    pub fn next(&mut self) -> Result<StepPictures> {
        match &mut self.source {
            Source::Host(loader) => loader.next().map(StepPictures::Host),
            Source::Resident { draws, sizes, next } => {
                let crops = draws.step(*next).into_iter().map(|draw| {
                    let pair = draw.index;
                    let Window { left, top, flip } = draw.window(sizes[pair]);
                    Crop { pair, left, top, mirrored: flip }
                });
                let crops = crops.collect();
                *next += 1;
                Ok(StepPictures::Resident(crops))
            }
        }
    }

    /// Takes pictures that are no longer needed, so that later ones can use their memory.
    pub fn recycle(&self, pictures: StepPictures) {
        if let (Source::Host(loader), StepPictures::Host(batch)) = (&self.source, pictures) {
            loader.recycle(batch);
        }
    }
}

/// True if pairs of `bytes` bytes stay in the memory of a GPU, which has `room` bytes for them; and the line that says
/// so.
fn residence(bytes: usize, room: usize) -> (bool, String) {
    let [size, left] = [bytes, room].map(|bytes| ByteSize(bytes as u64));
    match bytes <= room {
        true => (true, format!("All training pairs stay in GPU memory, in {size}")),
        false => (
            false,
            format!(
                "Each step copies its pictures to the GPU: all training pairs take {size}, and its memory has {left} \
                 for them"
            ),
        ),
    }
}

/// Copies all pairs, of these sizes, to the GPU.
fn upload(trainer: &mut Trainer, pairs: &dyn Pairs, sizes: &[Size]) -> Result<()> {
    trainer.keep_pairs(sizes)?;
    let progress = Progress::for_jobs("Uploading pairs", sizes.len() as u64);
    let all: Vec<usize> = (0..sizes.len()).collect();
    for some in all.chunks(CHUNK) {
        let read: Result<Vec<Pair>> = some.par_iter().map(|&index| pairs.pair(0, index)).collect();
        for (pair, &index) in read?.iter().zip(some) {
            trainer.write_pair(index, pair)?;
        }
        progress.advance(some.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_leave_a_sixteenth_of_the_memory_stay_on_the_gpu() {
        const GIB: usize = 1 << 30;
        let room = |free| memory::for_resident_pairs([free, 32 * GIB]);
        assert_eq!(
            residence(10 * GIB, room(12 * GIB)),
            (true, "All training pairs stay in GPU memory, in 10.0 GiB".into())
        );
        let (is_resident, line) = residence(10 * GIB + 1, room(12 * GIB));
        assert!(!is_resident);
        assert!(line.ends_with("all training pairs take 10.0 GiB, and its memory has 10.0 GiB for them"), "{line}");
        assert!(!residence(1, room(2 * GIB)).0 && !residence(1, room(0)).0);
    }
}
