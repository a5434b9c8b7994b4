//! The splits of a data set: pairs to train on, pairs held out, and pairs to evaluate on.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::base::words;
use crate::data::feeding::folder::Reading;
use crate::data::feeding::{Folder, PairOptions, Report, halves};
use crate::data::finding::layout::{Found, SPLITS, Source, find};
use crate::engine::philox::{Purpose, Stream};

/// A data set opened for training: the training pairs, the held-out pairs, and a report on the files of both.
pub struct Dataset {
    pub train: Folder,
    /// Pairs that are never trained on, to measure progress with, resized and cropped to the image size. `None` if no
    /// pairs are held out.
    pub held_out: Option<Folder>,
    pub report: Report,
}

impl Dataset {
    /// Finds the pairs in `dir` and decodes them. Training pairs are those of the split `train`, or if there is none,
    /// those that lie in `dir` itself. Held out are the pairs of the split `val`, else `test`, else the fraction
    /// `val_split` of the training pairs.
    ///
    /// `progress` is called with the number of decoded pairs and the number of all, from several threads. Decoded pairs
    /// are kept in memory up to `cache_bytes` bytes, the training pairs first; the others are decoded again when they
    /// are asked for.
    ///
    /// # Errors
    /// When there are no training pairs, it is unclear which files are pairs, side-by-side files have halves of an
    /// unlikely shape, or `val_split` is above 0 beside a split `val` or `test` or for a single pair. When some files
    /// cannot be used: the error names all of them.
    pub fn open(
        dir: &Path,
        options: &PairOptions,
        cache_bytes: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Dataset> {
        let found = find(dir)?;
        let mut splits = Splits::new(dir, &found, options)?;
        // Pairs that only `evaluate` uses are not read.
        splits.rest.clear();
        splits.refuse_doubtful(dir, &found, options)?;
        let total = splits.train.1.len() + splits.held_out.1.len() + found.unclear.len();
        let (dataset, bad) = splits.read(dir, found, options, cache_bytes, progress);
        refuse(dir, bad, total)?;
        Ok(dataset)
    }

    /// Decodes all pairs of `dir`, those for evaluation too, with `progress` as in [`Dataset::open`]. Returns a report,
    /// and a line for each fault of a pair for which [`Dataset::open`] or [`Folder::to_evaluate`] would refuse the
    /// folder.
    ///
    /// # Errors
    /// As [`Dataset::open`], but not for single pairs.
    pub fn check(
        dir: &Path,
        options: &PairOptions,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Report, Vec<String>)> {
        let found = find(dir)?;
        let splits = Splits::new(dir, &found, options)?;
        splits.refuse_doubtful(dir, &found, options)?;
        let (dataset, bad) = splits.read(dir, found, options, 0, progress);
        Ok((dataset.report, bad))
    }
}

/// The splits of a data set by their use, each with its name.
struct Splits {
    train: (&'static str, Vec<Source>),
    held_out: (&'static str, Vec<Source>),
    rest: Vec<(&'static str, Vec<Source>)>,
}

impl Splits {
    fn new(dir: &Path, found: &Found, options: &PairOptions) -> Result<Splits> {
        let named = |split: &'static str| (split, found.split(split).to_vec());
        let first = |names: [&'static str; 2]| names.into_iter().map(named).find(|(_, sources)| !sources.is_empty());
        let mut train = first(["train", ""]).unwrap_or_default();
        ensure!(
            !train.1.is_empty() || !found.unclear.is_empty(),
            "no pairs to train on in {}: there are some in val/ or test/, but none in train/ nor beside it",
            dir.display()
        );
        let mut held_out = first(["val", "test"]).unwrap_or_default();
        let mut rest = Vec::new();
        if held_out.0 == "val" {
            rest.push(named("test"));
        }
        if options.val_split > 0.0 {
            let val_split = options.val_split;
            ensure!(
                held_out.1.is_empty(),
                "--val-split {val_split}: {} holds out {}/ already; leave it out",
                dir.display(),
                held_out.0
            );
            ensure!(
                train.1.len() != 1,
                "--val-split {val_split}: 1 pair cannot be divided; leave it out, or add pairs"
            );
            (train.1, held_out.1) = divide(train.1, options);
            held_out.0 = train.0;
        }
        Ok(Splits { train, held_out, rest })
    }

    fn refuse_doubtful(&self, dir: &Path, found: &Found, options: &PairOptions) -> Result<()> {
        let all = [&self.train, &self.held_out].into_iter().chain(&self.rest);
        refuse_doubtful(dir, found, all.flat_map(|(_, sources)| sources), options, halves::ASK_FOR_THE_SHAPE)
    }

    /// Decodes all pairs. Faults are returned as lines.
    fn read(
        self,
        dir: &Path,
        found: Found,
        options: &PairOptions,
        cache_bytes: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> (Dataset, Vec<String>) {
        let Splits { train, held_out, rest } = self;
        let total = [&train, &held_out].into_iter().chain(&rest).map(|(_, sources)| sources.len()).sum();
        let mut splits = vec![(in_split(train.0), train.1.len(), "to learn from")];
        if !held_out.1.is_empty() {
            splits.push((in_split(held_out.0), held_out.1.len(), "held out"));
        }
        splits.extend(rest.iter().map(|(split, sources)| (in_split(split), sources.len(), "for evaluate")));
        splits.retain(|(_, count, _)| *count > 0);

        let mut reading = Reading::new(options, progress, total, cache_bytes, found.unclear);
        let train = reading.folder(train.1, false);
        let held_out = reading.folder(held_out.1, true);
        for (_, sources) in rest {
            reading.folder(sources, true);
        }
        let Reading { properties, bad, .. } = reading;
        let report = Report {
            dir: dir.to_path_buf(),
            layout: found.layout,
            is_folded: found.is_folded,
            direction: options.direction,
            splits,
            properties,
            skipped: found.skipped,
        };
        let held_out = (!held_out.sources.is_empty()).then_some(held_out);
        (Dataset { train, held_out, report }, bad)
    }
}

/// The folder of a split in words, such as ` in train/`, to follow the number of its pairs.
fn in_split(split: &str) -> String {
    if split.is_empty() { String::new() } else { format!(" in {split}/") }
}

/// Refuses files that do not look like pairs, unless an earlier run has accepted them.
fn refuse_doubtful<'a>(
    dir: &Path,
    found: &Found,
    sources: impl IntoIterator<Item = &'a Source>,
    options: &PairOptions,
    else_do: &str,
) -> Result<()> {
    if options.accepted_before {
        return Ok(());
    }
    found.ensure_certain()?;
    halves::check(dir, sources, halves::expected_shape(&options.fit), else_do)
}

/// The pairs to train on and the held-out ones: at least one each, both in their given order.
fn divide(sources: Vec<Source>, options: &PairOptions) -> (Vec<Source>, Vec<Source>) {
    let count = ((sources.len() as f64 * options.val_split).round() as usize).clamp(1, sources.len().max(2) - 1);
    let mut order: Vec<usize> = (0..sources.len()).collect();
    Stream::new(options.seed, Purpose::Split, 0).shuffle(&mut order);
    let mut is_held_out = vec![false; sources.len()];
    order.iter().take(count).for_each(|&index| is_held_out[index] = true);
    let (held_out, train): (Vec<_>, Vec<_>) =
        sources.into_iter().zip(is_held_out).partition(|(_, is_held_out)| *is_held_out);
    let sources = |half: Vec<(Source, bool)>| half.into_iter().map(|(source, _)| source).collect();
    (sources(train), sources(held_out))
}

fn refuse(dir: &Path, bad: Vec<String>, total: usize) -> Result<()> {
    let summary = format!("{} of {total} pairs in {} cannot be used, repair or remove them", bad.len(), dir.display());
    words::refuse(bad, summary)
}

/// The pairs to evaluate a trained network on, and a report on their files.
pub struct ToEvaluate {
    /// The split in words, such as `test/` or `all`, to be used in a sentence.
    pub split: String,
    pub pairs: Folder,
    pub report: Report,
}

impl Folder {
    /// Finds and decodes the pairs of `dir` to evaluate a trained network on: those of the split `test`, else `val`,
    /// else `train`, else those that lie in `dir` itself. Of the last two only the held-out pairs are taken if
    /// `val_split` is above 0. Every pair is resized and cropped to the image size. Decoded pairs are kept in memory up
    /// to `cache_bytes` bytes.
    ///
    /// # Errors
    /// When there are none, it is unclear which files are pairs, or side-by-side files have halves of an unlikely
    /// shape. When some files cannot be used: the error names all of them.
    pub fn to_evaluate(dir: &Path, options: &PairOptions, cache_bytes: usize) -> Result<ToEvaluate> {
        let found = find(dir)?;
        let name = ["test", "val", "train", ""].into_iter().find(|split| !found.split(split).is_empty());
        let name = name.or(SPLITS.last().copied()).unwrap_or_default();
        let mut sources = found.split(name).to_vec();
        let mut split = if name.is_empty() { "all".to_owned() } else { format!("{name}/") };
        let mut purpose = "to measure";
        if options.val_split > 0.0 && sources.len() > 1 && !["test", "val"].contains(&name) {
            (_, sources) = divide(sources, options);
            split = format!("the {} of {split} held out in training", options.val_split);
            purpose = "held out in training, to measure";
        }
        refuse_doubtful(dir, &found, &sources, options, "")?;
        let total = sources.len() + found.unclear.len();
        // A network is evaluated as it was trained, and it may have been trained on pairs of two shapes.
        let options = PairOptions { accepted_before: true, ..*options };
        let mut reading = Reading::new(&options, &|_, _| {}, total, cache_bytes, found.unclear);
        let pairs = reading.folder(sources, true);
        let Reading { properties, bad, .. } = reading;
        refuse(dir, bad, total)?;
        let report = Report {
            dir: dir.to_path_buf(),
            layout: found.layout,
            is_folded: found.is_folded,
            direction: options.direction,
            splits: vec![(in_split(name), pairs.sources.len(), purpose)],
            properties,
            skipped: found.skipped,
        };
        Ok(ToEvaluate { split, pairs, report })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::data::feeding::CACHE_BYTES;
    use crate::data::fixture::{folder, names, open, options, refused};

    #[test]
    fn what_is_held_out_is_never_trained_on() {
        let dir = folder(&["train/x.png", "test/y.png"]);
        let found = open(&dir, &options()).expect("two splits");
        assert_eq!(
            (names(&found.train), found.held_out.as_ref().map(names)),
            (vec!["x.png".into()], Some(vec!["y.png".into()]))
        );
        let both = open(&folder(&["train/x.png", "test/y.png", "val/z.png"]), &options()).expect("three splits");
        assert_eq!(
            (names(&both.train), both.held_out.as_ref().map(names)),
            (vec!["x.png".into()], Some(vec!["z.png".into()]))
        );
        // No pair of a flat folder is held out unless asked for.
        assert!(open(&folder(&["x.png", "y.png"]), &options()).expect("two pairs").held_out.is_none());
        refused(&folder(&["test/y.png"]), &options(), &["no pairs to train on", "none in train/"]);
    }

    #[test]
    fn a_share_is_held_out_by_the_seed_in_the_order_of_the_names() {
        let all: Vec<String> = (0..40).map(|number| format!("{number:02}.png")).collect();
        let dir = folder(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let divided = |val_split, seed| {
            let found = open(&dir, &PairOptions { val_split, seed, ..options() }).expect("40 pairs");
            let (train, held_out) = (names(&found.train), found.held_out.as_ref().map(names).unwrap_or_default());
            let mut both = [train.clone(), held_out.clone()].concat();
            both.sort_unstable();
            assert_eq!(both, all, "each pair is in one of the two");
            assert!(train.is_sorted() && held_out.is_sorted());
            held_out
        };
        assert_eq!(divided(0.25, 1).len(), 10);
        assert_eq!(divided(0.25, 1), divided(0.25, 1));
        assert_ne!(divided(0.25, 1), divided(0.25, 2));
        // One pair at least on either side.
        assert_eq!((divided(0.001, 1).len(), divided(0.999, 1).len()), (1, 39));

        let held_out = PairOptions { val_split: 0.25, ..options() };
        let evaluated = Folder::to_evaluate(dir.path(), &held_out, CACHE_BYTES).expect("ten pairs");
        assert_eq!((names(&evaluated.pairs), evaluated.split.contains("held out")), (divided(0.25, 1), true));

        refused(&folder(&["a.png"]), &held_out, &["--val-split 0.25", "1 pair"]);
        refused(&folder(&["train/a.png", "test/b.png"]), &held_out, &["--val-split 0.25", "test/ already"]);
    }

    #[test]
    fn says_what_is_missing() {
        refused(
            &folder(&["only.png/in-a-folder-that-looks-like-a-file.png"]),
            &options(),
            &["no images in", ".png, .jpg, .jpeg, .tif", "A/ and B/"],
        );
        let nowhere = Path::new("no/such/folder");
        let error = Dataset::open(nowhere, &options(), 0, &|_, _| {}).err();
        assert!(error.is_some_and(|error| error.to_string().contains("there is no folder")));
    }

    #[test]
    fn progress_counts_every_pair_of_every_part() {
        let dir = folder(&["train/a.png", "train/b.png", "test/c.png"]);
        let calls = Mutex::new(Vec::new());
        let note = |done, total| calls.lock().expect("nobody panicked").push((done, total));
        Dataset::open(dir.path(), &options(), CACHE_BYTES, &note).expect("three pairs");
        let mut calls = calls.into_inner().expect("nobody panicked");
        calls.sort_unstable();
        assert_eq!(calls, [(1, 3), (2, 3), (3, 3)]);
    }
}
