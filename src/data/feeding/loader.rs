//! Batches, made ahead of time on threads of their own so that the network never waits for a picture.
//!
//! Batch number `n` since the start of training is a pure function of the data, the configuration and `n` ([`Draws`]).
//! So the workers need no coordination: with `w` of them, worker `k` makes the batches `k, k + w, k + 2w, ...` and the
//! reader asks each in turn.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow};

use crate::base::memory::require_stacks;
use crate::data::feeding::{Draws, LoaderConfig, Pictures, Position};
use crate::data::pairs::Pairs;

/// The pictures of one training step, and the position of that step: epoch and step within it, both from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub epoch: u64,
    pub step_in_epoch: usize,
    pub pictures: Pictures,
}

/// An endless sequence of batches, epoch after epoch, made ahead of time on threads of its own. Dropping it ends these
/// threads.
pub struct Loader {
    workers: Vec<Worker>,
    /// Index of the worker whose batch comes next.
    turn: usize,
    draws: Draws,
    spent: Spent,
}

struct Worker {
    batches: Receiver<Result<Batch>>,
    thread: JoinHandle<()>,
}

/// Batches that the reader is done with, whose memory is used again.
type Spent = Arc<Mutex<Vec<Batch>>>;

/// Inputs of a worker: the pairs, and which of them each step shows.
struct Source {
    pairs: Arc<dyn Pairs>,
    config: LoaderConfig,
    draws: Draws,
    spent: Spent,
}

/// Number of threads that make batches: half of the machine, since the other half computes, and at most four, which is
/// enough.
fn workers() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get() / 2).clamp(1, 4)
}

/// Returns the largest number of batches in memory at a time: two for each thread that makes them (one in the making,
/// one that waits), one at the reader, and one whose memory is to be used again.
pub fn max_batches_in_memory() -> usize {
    2 * workers() + 2
}

impl Loader {
    /// Starts the threads that make batches of `pairs`. The first batch is that of position `from`.
    ///
    /// # Errors
    /// When `config.pairs_per_step` is 0, `pairs` are too few for one batch, or the threads cannot be started.
    pub fn start(pairs: Arc<dyn Pairs>, config: LoaderConfig, from: Position) -> Result<Loader> {
        let draws = Draws::new(pairs.len(), config)?;
        let count = workers();
        require_stacks(count)?;
        let first = draws.number(from);
        let spent = Spent::default();
        let workers = (0..count)
            .map(|k| {
                let (pairs, draws, spent) = (Arc::clone(&pairs), draws.clone(), Arc::clone(&spent));
                let mut source = Source { pairs, config, draws, spent };
                // One batch waits in the channel while the worker makes the next one.
                let (sender, batches) = sync_channel(1);
                let run = move || source.run(first + k as u64, count, &sender);
                let thread = thread::Builder::new().name(format!("data {k}")).spawn(run);
                Ok(Worker { batches, thread: thread.context("cannot start a thread to load the data")? })
            })
            .collect::<Result<_>>()?;
        Ok(Loader { workers, turn: 0, draws, spent })
    }

    /// The draws of each batch: its pairs and their crops.
    pub fn draws(&self) -> &Draws {
        &self.draws
    }

    /// Returns the next batch and waits for it if need be.
    ///
    /// # Errors
    /// When a pair of this batch could not be loaded, or making the batch panicked. It then stays missing, so that no
    /// later batch should be asked for.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to offer an end")]
    pub fn next(&mut self) -> Result<Batch> {
        let worker = &self.workers[self.turn];
        self.turn = (self.turn + 1) % self.workers.len();
        worker.batches.recv().unwrap_or_else(|_| Err(anyhow!("the data loader has stopped at an earlier error")))
    }

    /// Takes a batch that is no longer needed, so that a later one can use its memory.
    pub fn recycle(&self, batch: Batch) {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let (channels, threads): (Vec<_>, Vec<_>) = self.workers.drain(..).map(|w| (w.batches, w.thread)).unzip();
        // A worker ends when it finds its channel closed.
        drop(channels);
        for thread in threads {
            // Panics of a worker are caught and returned as errors; when the loader is dropped, they are ignored.
            let _ = thread.join();
        }
    }
}

impl Source {
    /// Makes batch `first` and every `stride`-th after it, until the channel closes or a pair fails.
    fn run(&mut self, first: u64, stride: usize, sender: &SyncSender<Result<Batch>>) {
        for number in (first..).step_by(stride) {
            let made = catch_unwind(AssertUnwindSafe(|| self.make(number)))
                .unwrap_or_else(|panic| Err(anyhow!("the data loader panicked: {}", words(&*panic))));
            let failed = made.is_err();
            if sender.send(made).is_err() || failed {
                return;
            }
        }
    }

    /// Makes batch `number` since the start of training.
    fn make(&mut self, number: u64) -> Result<Batch> {
        let Position { epoch, step_in_epoch } = self.draws.position(number);
        let mut pictures = self.blank();
        for draw in self.draws.step(number) {
            let index = draw.index;
            let pair = self.pairs.pair(epoch, index);
            let pair = pair.with_context(|| format!("pair {index} of epoch {epoch} failed"))?;
            pictures.push(&pair, draw.window(pair.input.size), self.config.image_size);
        }
        Ok(Batch { epoch, step_in_epoch, pictures })
    }

    fn blank(&self) -> Pictures {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut pictures = spent.map(|batch| batch.pictures).unwrap_or_default();
        pictures.clear();
        pictures
    }
}

/// Message of a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decoding::Picture;
    use crate::data::pairs::{Augment, Pair};
    use crate::data::size::Size;

    /// Pairs whose pictures encode epoch, index and column, and that fail if a test wants them to.
    struct Numbers {
        len: usize,
        bad: Option<usize>,
        panics: bool,
    }

    impl Pairs for Numbers {
        fn len(&self) -> usize {
            self.len
        }

        fn pair(&self, epoch: u64, index: usize) -> Result<Pair> {
            if self.bad == Some(index) {
                assert!(!self.panics, "this one is cursed");
                return Err(anyhow!("this one is broken"));
            }
            let samples = (0..100).flat_map(|i| [epoch as u16, index as u16, i]).collect();
            let input = Picture::new(Size::square(10), 3, samples);
            Ok(Pair { target: input.clone(), input })
        }

        fn fingerprint(&self) -> u64 {
            0
        }
    }

    const CONFIG: LoaderConfig = LoaderConfig {
        image_size: Size { width: 8, height: 8 },
        pairs_per_step: 3,
        augment: Augment::Jitter,
        shuffle: true,
        seed: 7,
    };

    fn start(len: usize, config: LoaderConfig, from: Position) -> Loader {
        Loader::start(Arc::new(Numbers { len, bad: None, panics: false }), config, from)
            .expect("the data fills a batch")
    }

    fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
        (0..count).map(|_| loader.next().expect("every pair is good")).collect()
    }

    /// The indices of the pairs in a batch, read back from its first pixels.
    fn indices(batch: &Batch) -> Vec<usize> {
        batch.pictures.inputs.samples.chunks_exact(8 * 8 * 3).map(|image| usize::from(image[1])).collect()
    }

    #[test]
    fn a_run_that_starts_anywhere_sees_what_the_whole_run_saw() {
        let whole = take(&mut start(11, CONFIG, Position::default()), 12);
        for skip in [1, 2, 3, 5, 7] {
            let from = Position { epoch: skip / 3, step_in_epoch: skip as usize % 3 };
            let rest = take(&mut start(11, CONFIG, from), 12 - skip as usize);
            assert_eq!((rest[0].epoch, rest[0].step_in_epoch), (from.epoch, from.step_in_epoch));
            assert!(rest == whole[skip as usize..], "from {from:?}");
        }
    }

    /// 16-bit pictures whose samples name their pixel: grey on one side, with four channels on the other.
    struct Mixed;

    impl Pairs for Mixed {
        fn len(&self) -> usize {
            5
        }

        fn pair(&self, _: u64, index: usize) -> Result<Pair> {
            // Every pair has a size of its own.
            let size = Size { width: 9 + index, height: 12 - index };
            let picture = |channels: usize| {
                let samples = (0..size.pixels() * channels).map(|i| (i / channels * 300 + index) as u16).collect();
                Picture::new(size, channels, samples)
            };
            Ok(Pair { input: picture(1), target: picture(4) })
        }

        fn fingerprint(&self) -> u64 {
            0
        }
    }

    #[test]
    fn both_sides_of_a_pair_are_cropped_and_mirrored_alike_whatever_they_are() {
        let mut loader = Loader::start(Arc::new(Mixed), CONFIG, Position::default()).expect("the data fills a batch");
        let (mut flips, mut windows) = (0, std::collections::HashSet::new());
        for batch in take(&mut loader, 40) {
            let pictures = batch.pictures;
            assert_eq!((pictures.inputs.shape, pictures.targets.shape), ([3, 8, 8, 1], [3, 8, 8, 4]));
            let mut seen = [vec![f32::NAN; 3 * 64], vec![f32::NAN; 3 * 64 * 4]];
            pictures.inputs().normalize(&mut seen[0]);
            pictures.targets().normalize(&mut seen[1]);
            assert!(seen[0].iter().zip(seen[1].chunks_exact(4)).all(|(input, target)| target == [*input; 4]));
            flips += pictures.flips.iter().filter(|flip| **flip).count();
            windows.extend(pictures.inputs.samples.chunks_exact(64).map(|image| image[0]));
        }
        // Of 120 draws half are mirrored, within four deviations; the pairs have 50 windows, of which 46 are expected.
        assert!((38..=82).contains(&flips) && windows.len() > 35, "{flips} mirrored, {} windows", windows.len());
    }

    #[test]
    fn recycled_memory_changes_nothing() {
        let whole = take(&mut start(11, CONFIG, Position::default()), 20);
        let mut loader = start(11, CONFIG, Position::default());
        for expected in &whole {
            let batch = loader.next().expect("every pair is good");
            assert!(batch == *expected);
            loader.recycle(batch);
        }
    }

    #[test]
    fn an_epoch_shows_each_pair_once_in_an_order_of_its_own() {
        let mut loader = start(12, CONFIG, Position::default());
        assert_eq!((loader.draws().steps_per_epoch(), loader.draws().left_over()), (4, 0));
        let mut orders: Vec<Vec<usize>> =
            (0..3).map(|_| take(&mut loader, 4).iter().flat_map(indices).collect()).collect();
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        for order in &mut orders {
            order.sort_unstable();
            assert_eq!(*order, (0..12).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_shuffle_the_order_is_that_of_the_source_and_left_over_pairs_are_left_out() {
        let mut loader = start(8, LoaderConfig { shuffle: false, ..CONFIG }, Position::default());
        assert_eq!((loader.draws().steps_per_epoch(), loader.draws().left_over()), (2, 2));
        let batches = take(&mut loader, 3);
        assert_eq!(batches.iter().map(indices).collect::<Vec<_>>(), [[0, 1, 2], [3, 4, 5], [0, 1, 2]]);
        assert_eq!(batches.iter().map(|b| b.epoch).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn errors_and_panics_reach_the_reader_at_their_index() {
        for (panics, words) in [(false, "this one is broken"), (true, "this one is cursed")] {
            let config = LoaderConfig { shuffle: false, ..CONFIG };
            let pairs = Arc::new(Numbers { len: 12, bad: Some(7), panics });
            let mut loader = Loader::start(pairs, config, Position::default()).expect("the data fills a batch");
            take(&mut loader, 2);
            let error = format!("{:#}", loader.next().expect_err("pair 7 is bad"));
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn dropping_the_loader_ends_its_threads() {
        let pairs: Arc<dyn Pairs> = Arc::new(Numbers { len: 12, bad: None, panics: false });
        let mut loader =
            Loader::start(Arc::clone(&pairs), CONFIG, Position::default()).expect("the data fills a batch");
        take(&mut loader, 1);
        drop(loader);
        assert_eq!(Arc::strong_count(&pairs), 1);
    }

    #[test]
    fn refuses_a_batch_that_cannot_be_filled() {
        for (len, pairs_per_step, words) in [(2, 3, "2 pairs do not fill one step of 3"), (2, 0, "a step of 0")] {
            let pairs = Arc::new(Numbers { len, bad: None, panics: false });
            let started = Loader::start(pairs, LoaderConfig { pairs_per_step, ..CONFIG }, Position::default());
            let error = started.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{error}");
        }
    }
}
