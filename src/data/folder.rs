//! Pairs from a folder.
//!
//! Every file is decoded once, when the folder is opened: a broken one is found before hours are spent on training, and
//! all broken ones are named together. What that decoding yields is kept in memory as far as it fits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::file::decode_whole;
use super::layout::{Found, PARTS, Source, find};
use super::picture::{CHANNELS, Depth};
use super::report::{Report, Seen};
use super::{Direction, Fit, Fnv, Pair, Pairs, Picture, Size};
use crate::philox::{Purpose, Stream};

/// How much memory the decoded pictures may take: 1 GiB, which holds 1365 RGB pairs of 256x256. What does not fit is decoded
/// again in every epoch.
pub const CACHE_BYTES: usize = 1 << 30;

/// How the files of a folder become pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairOptions {
    pub direction: Direction,
    /// Of the input and of the target.
    pub channels: [usize; 2],
    pub fit: Fit,
    /// Share of the pairs that is held out where no folder does it.
    pub val_split: f64,
    /// What decides which pairs these are.
    pub seed: u64,
}

/// The splits of one data set.
pub struct Dataset {
    pub train: Folder,
    /// Never trained on: what to look at progress with. Every pair has the image size.
    pub held_out: Option<Folder>,
    pub report: Report,
}

/// One split: its pairs, in the order of the bytes of their file names.
pub struct Folder {
    sources: Vec<Source>,
    /// One for each source, where it fits in memory.
    cached: Vec<Option<Pair>>,
    options: PairOptions,
    /// Whether pairs are cut to the image size.
    is_cut: bool,
    fingerprint: u64,
}

impl PairOptions {
    /// RGB pairs from A to B, resized to `image`.
    pub fn rgb(image: Size) -> PairOptions {
        let fit = Fit::resize(image);
        PairOptions { direction: Direction::AToB, channels: [3, 3], fit, val_split: 0.0, seed: 1 }
    }
}

impl Dataset {
    /// Opens `dir`. Training pairs are those of its part `train`, or of `dir` itself when there are none; those of the part
    /// `val`, else `test`, are held out, else a share of the training pairs. `progress` is told how many of how many pairs are
    /// decoded, from several threads. What is decoded is kept as far as it fits in `cache_bytes`, the training pairs first.
    ///
    /// # Errors
    /// When there are no pairs to train on, or naming every file that cannot be used.
    pub fn open(
        dir: &Path,
        options: &PairOptions,
        cache_bytes: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Dataset> {
        let found = find(dir)?;
        let mut parts = Parts::of(dir, &found, options)?;
        // What only `evaluate` would look at is not read.
        parts.rest.clear();
        let total = parts.train.1.len() + parts.held_out.1.len() + found.unclear.len();
        let (dataset, bad) = parts.read(dir, found, options, cache_bytes, progress);
        refuse(dir, &bad, total)?;
        Ok(dataset)
    }

    /// Looks at all pairs of `dir`, trained on or not, and returns what was found and a line for everything that keeps
    /// [`Dataset::open`] or [`Folder::to_evaluate`] from using it.
    ///
    /// # Errors
    /// When there are no pairs.
    pub fn check(
        dir: &Path,
        options: &PairOptions,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Report, Vec<String>)> {
        let found = find(dir)?;
        let parts = Parts::of(dir, &found, options)?;
        let (dataset, bad) = parts.read(dir, found, options, 0, progress);
        Ok((dataset.report, bad))
    }
}

/// What each pair of a data set is for.
struct Parts {
    train: (&'static str, Vec<Source>),
    held_out: (&'static str, Vec<Source>),
    rest: Vec<(&'static str, Vec<Source>)>,
}

impl Parts {
    fn of(dir: &Path, found: &Found, options: &PairOptions) -> Result<Parts> {
        let named = |part: &'static str| (part, found.part(part).to_vec());
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
            let share = options.val_split;
            ensure!(
                held_out.1.is_empty(),
                "--val-split {share}: {} holds out {}/ already; leave it out",
                dir.display(),
                held_out.0
            );
            ensure!(train.1.len() != 1, "--val-split {share}: 1 pair cannot be divided; leave it out, or add pairs");
            (train.1, held_out.1) = divide(train.1, options);
            held_out.0 = train.0;
        }
        Ok(Parts { train, held_out, rest })
    }

    /// Decodes all pairs. What is wrong comes back as lines.
    fn read(
        self,
        dir: &Path,
        found: Found,
        options: &PairOptions,
        cache_bytes: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> (Dataset, Vec<String>) {
        let Parts { train, held_out, rest } = self;
        let total = [&train, &held_out].into_iter().chain(&rest).map(|(_, sources)| sources.len()).sum();
        let place = |part: &str| if part.is_empty() { String::new() } else { format!(" in {part}/") };
        let mut parts = vec![(place(train.0), train.1.len(), "to learn from")];
        if !held_out.1.is_empty() {
            parts.push((place(held_out.0), held_out.1.len(), "held out"));
        }
        parts.extend(rest.iter().map(|(part, sources)| (place(part), sources.len(), "for evaluate")));
        parts.retain(|(_, count, _)| *count > 0);

        let mut reading = Reading::new(options, progress, total, cache_bytes, found.unclear);
        let train = reading.folder(train.1, false);
        let held_out = reading.folder(held_out.1, true);
        for (_, sources) in rest {
            reading.folder(sources, true);
        }
        let Reading { seen, bad, .. } = reading;
        let report = Report {
            dir: dir.to_path_buf(),
            layout: found.layout,
            direction: options.direction,
            parts,
            seen,
            skipped: found.skipped,
        };
        let held_out = (!held_out.sources.is_empty()).then_some(held_out);
        (Dataset { train, held_out, report }, bad)
    }
}

/// What is learned from and what is held out: at least one pair each, both in the order that they had.
fn divide(sources: Vec<Source>, options: &PairOptions) -> (Vec<Source>, Vec<Source>) {
    let count = ((sources.len() as f64 * options.val_split).round() as usize).clamp(1, sources.len().max(2) - 1);
    let mut order: Vec<usize> = (0..sources.len()).collect();
    Stream::new(options.seed, Purpose::Split, 0).shuffle(&mut order);
    let mut is_held_out = vec![false; sources.len()];
    order.iter().take(count).for_each(|&index| is_held_out[index] = true);
    let (held_out, train): (Vec<_>, Vec<_>) =
        sources.into_iter().zip(is_held_out).partition(|(_, is_held_out)| *is_held_out);
    let sources = |of: Vec<(Source, bool)>| of.into_iter().map(|(source, _)| source).collect();
    (sources(train), sources(held_out))
}

fn refuse(dir: &Path, bad: &[String], total: usize) -> Result<()> {
    ensure!(
        bad.is_empty(),
        "{} of {total} pairs in {} cannot be used, repair or remove them:\n  {}",
        bad.len(),
        dir.display(),
        bad.join("\n  ")
    );
    Ok(())
}

impl Folder {
    /// Opens the pairs of `dir` that a finished network is measured on, and says which these are: those of the part `test`, else
    /// `val`, else `train`, else those of `dir` itself; of these the held-out share, if `options` hold out any. The other ones are
    /// not looked at. Every pair has the image size.
    ///
    /// # Errors
    /// When there are none, or naming every file that cannot be used.
    pub fn to_evaluate(dir: &Path, options: &PairOptions) -> Result<(String, Folder)> {
        let found = find(dir)?;
        let name = ["test", "val", "train", ""].into_iter().find(|part| !found.part(part).is_empty());
        let part = name.or(PARTS.last().copied()).unwrap_or_default();
        let mut sources = found.part(part).to_vec();
        let mut name = if part.is_empty() { "all".to_owned() } else { format!("{part}/") };
        if options.val_split > 0.0 && sources.len() > 1 && !["test", "val"].contains(&part) {
            (_, sources) = divide(sources, options);
            name = format!("the {} of {name} held out in training", options.val_split);
        }
        let total = sources.len() + found.unclear.len();
        let mut reading = Reading::new(options, &|_, _| {}, total, CACHE_BYTES, found.unclear);
        let folder = reading.folder(sources, true);
        refuse(dir, &reading.bad, total)?;
        Ok((name, folder))
    }
}

impl Pairs for Folder {
    fn len(&self) -> usize {
        self.sources.len()
    }

    fn pair(&self, _epoch: u64, index: usize) -> Result<Pair> {
        match &self.cached[index] {
            Some(pair) => Ok(pair.clone()),
            None => {
                let source = &self.sources[index];
                prepare(decode(source)?.0, &self.options, self.is_cut).with_context(|| source.to_string())
            }
        }
    }

    /// Its file's, or that of its A.
    fn name(&self, index: usize) -> String {
        self.sources[index].files()[0].file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Of the names and contents of the files, in order.
    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The reading of some folders, one after the other.
struct Reading<'a> {
    options: &'a PairOptions,
    progress: &'a (dyn Fn(usize, usize) + Sync),
    total: usize,
    done: AtomicUsize,
    cache_bytes: usize,
    /// Bytes of the pairs decoded so far.
    decoded_bytes: AtomicUsize,
    seen: Seen,
    bad: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(
        options: &'a PairOptions,
        progress: &'a (dyn Fn(usize, usize) + Sync),
        total: usize,
        cache_bytes: usize,
        bad: Vec<String>,
    ) -> Reading<'a> {
        let (done, decoded_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Reading { options, progress, total, done, cache_bytes, decoded_bytes, seen: Seen::default(), bad }
    }

    /// Decodes all `sources` and keeps what still fits.
    fn folder(&mut self, sources: Vec<Source>, is_cut: bool) -> Folder {
        let read = |source: &Source| {
            let read = decode(source).map(|(sides, files)| {
                let pair = prepare(sides, self.options, is_cut).with_context(|| source.to_string()).map(|pair| {
                    let bytes = size_of::<u16>() * (pair.input.samples.len() + pair.target.samples.len());
                    // Which ones are kept is up to the threads, and changes no pair.
                    let is_kept = self.decoded_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.cache_bytes;
                    is_kept.then_some(pair)
                });
                (pair, files)
            });
            (self.progress)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total);
            read
        };
        let read: Vec<_> = sources.par_iter().map(read).collect();
        let (mut cached, mut fingerprint) = (Vec::new(), Fnv::new());
        for (source, read) in sources.iter().zip(read) {
            let pair = read.and_then(|(pair, files)| {
                self.seen.pair(files.sides);
                for (path, (kind, hash)) in source.files().iter().zip(files.of_each) {
                    self.seen.file(kind);
                    fingerprint.write(path.file_name().unwrap_or_default().as_encoded_bytes());
                    fingerprint.write_u64(hash);
                }
                pair
            });
            match pair {
                Ok(pair) => cached.push(pair),
                Err(error) => self.bad.push(format!("{error:#}")),
            }
        }
        Folder { sources, cached, options: *self.options, is_cut, fingerprint: fingerprint.0 }
    }
}

/// What the files of a pair are like.
struct Files {
    /// The sizes of A and B.
    sides: [Size; 2],
    /// Of each file its kind and a hash.
    of_each: Vec<(String, u64)>,
}

/// A and B as they are in their file or files.
fn decode(source: &Source) -> Result<([Picture; 2], Files)> {
    let mut of_each = Vec::new();
    let mut read = |path: &PathBuf| -> Result<Picture> {
        let (picture, kind, hash) = read(path).with_context(|| path.display().to_string())?;
        of_each.push((kind, hash));
        Ok(picture)
    };
    let sides = match source {
        Source::Halves(path) => {
            let whole = read(path)?;
            let Size { width, height } = whole.size;
            ensure!(width % 2 == 0, "{}: {width}x{height} is no side-by-side pair, its width is odd", path.display());
            let half = Size { width: width / 2, height };
            [whole.crop(0, 0, half), whole.crop(width / 2, 0, half)]
        }
        Source::Files([a, b]) => [read(a)?, read(b)?],
    };
    let files = Files { sides: sides.each_ref().map(|picture| picture.size), of_each };
    Ok((sides, files))
}

/// The pair of A and B: ready to be cropped, or cut to the image size.
fn prepare([a, b]: [Picture; 2], options: &PairOptions, is_cut: bool) -> Result<Pair> {
    let [input, target] = match options.direction {
        Direction::AToB => [a, b],
        Direction::BToA => [b, a],
    };
    let fit = if is_cut { options.fit.whole() } else { options.fit };
    let input = fit.apply(input.with_channels(options.channels[0]))?;
    let target = fit.apply(target.with_channels(options.channels[1]))?;
    ensure!(
        input.size == target.size,
        "one is {} and the other {}; only --preprocess resize-and-crop makes them one size",
        input.size.sides(),
        target.size.sides()
    );
    Ok(match is_cut {
        true => Pair { input: fit.middle(&input), target: fit.middle(&target) },
        false => Pair { input, target },
    })
}

/// The picture in a file, what kind of file it is, and a hash of it.
fn read(path: &Path) -> Result<(Picture, String, u64)> {
    let bytes = fs::read(path)?;
    let mut hash = Fnv::new();
    hash.write(&bytes);
    let (format, image) = decode_whole(&bytes)?;
    let bits = match Depth::of(&image) {
        Depth::Eight => 8,
        Depth::Sixteen => 16,
    };
    let picture = Picture::from_image(image)?;
    let channels = CHANNELS[picture.channels - 1];
    Ok((picture, format!("{bits}-bit {channels} {}", format.name()), hash.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use image::{GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, RgbImage, Rgba, codecs::png::PngEncoder};
    use tempfile::TempDir;

    use super::*;
    use crate::data::{Preprocess, ResizeFilter};

    const LEFT: [u8; 3] = [200, 30, 40];
    const RIGHT: [u8; 3] = [10, 60, 220];

    fn options() -> PairOptions {
        PairOptions::rgb(Size::square(8))
    }

    fn side_by_side(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { LEFT } else { RIGHT }))
    }

    /// A folder with a pair at each of `paths`.
    fn folder(paths: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().expect("a folder for the test");
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder for the test");
            side_by_side(16, 8).save(path).expect("a picture for the test");
        }
        dir
    }

    fn open(dir: &TempDir, options: &PairOptions) -> Result<Dataset> {
        Dataset::open(dir.path(), options, CACHE_BYTES, &|_, _| {})
    }

    fn names(folder: &Folder) -> Vec<String> {
        (0..folder.len()).map(|index| folder.name(index)).collect()
    }

    #[track_caller]
    fn refused(dir: &TempDir, options: &PairOptions, words: &[&str]) {
        let error = open(dir, options).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn the_direction_says_which_side_is_the_input() {
        let dir = folder(&["a.png"]);
        for (direction, input, target) in [(Direction::AToB, LEFT, RIGHT), (Direction::BToA, RIGHT, LEFT)] {
            let found = open(&dir, &PairOptions { direction, ..options() }).expect("one pair");
            let pair = found.train.pair(0, 0).expect("the pair is good");
            assert!(pair.input.to_rgb8().pixels().all(|pixel| pixel.0 == input));
            assert!(pair.target.to_rgb8().pixels().all(|pixel| pixel.0 == target));
        }
    }

    #[test]
    fn the_two_files_of_a_pair_are_its_sides() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        for (side, color) in [("A", LEFT), ("B", RIGHT)] {
            fs::create_dir(dir.path().join(side)).expect("a folder for the test");
            RgbImage::from_pixel(8, 8, Rgb(color)).save(dir.path().join(side).join("x.png")).expect("a picture");
        }
        let found = open(&dir, &options()).expect("one pair");
        let pair = found.train.pair(0, 0).expect("the pair is good");
        assert!(pair.input.to_rgb8().pixels().all(|pixel| pixel.0 == LEFT));
        assert!(pair.target.to_rgb8().pixels().all(|pixel| pixel.0 == RIGHT));
        let print = found.train.fingerprint();
        // Both files count.
        for side in ["A", "B"] {
            let path = dir.path().join(side).join("x.png");
            let before = fs::read(&path).expect("it was just written");
            RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(&path).expect("a picture");
            assert_ne!(open(&dir, &options()).expect("one pair").train.fingerprint(), print, "{side}");
            fs::write(&path, before).expect("a file");
        }
        assert_eq!(open(&dir, &options()).expect("one pair").train.fingerprint(), print);
    }

    #[test]
    fn what_is_held_out_is_never_trained_on() {
        let dir = folder(&["train/x.png", "test/y.png"]);
        let found = open(&dir, &options()).expect("two parts");
        assert_eq!(
            (names(&found.train), found.held_out.as_ref().map(names)),
            (vec!["x.png".into()], Some(vec!["y.png".into()]))
        );
        let both = open(&folder(&["train/x.png", "test/y.png", "val/z.png"]), &options()).expect("three parts");
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
        let (name, evaluated) = Folder::to_evaluate(dir.path(), &held_out).expect("ten pairs");
        assert_eq!((names(&evaluated), name.contains("held out")), (divided(0.25, 1), true));

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
    fn names_every_bad_file_at_once() {
        let dir = folder(&["train/good.png", "val/cut.png", "train/cut.jpg"]);
        for cut in ["val/cut.png", "train/cut.jpg"] {
            let path = dir.path().join(cut);
            let bytes = fs::read(&path).expect("it was just written");
            fs::write(&path, &bytes[..bytes.len() - 20]).expect("a file for the test");
        }
        side_by_side(15, 8).save(dir.path().join("train/odd.png")).expect("a picture for the test");
        fs::write(dir.path().join("train/text.jpg"), "no picture").expect("a file for the test");
        let words = [
            "4 of 5 pairs in",
            "cut.png: ",
            "cut.jpg: the JPEG file is cut short",
            "odd.png: 15x8 is no side-by-side pair",
            "text.jpg: not a PNG",
        ];
        refused(&dir, &options(), &words);
        let (report, bad) = Dataset::check(dir.path(), &options(), &|_, _| {}).expect("there are pairs");
        assert!(bad.len() == 4 && words[1..].iter().all(|word| bad.iter().any(|line| line.contains(word))), "{bad:?}");
        assert_eq!(report.seen.kinds.values().sum::<usize>(), 1);
    }

    #[test]
    fn sizes_that_the_preprocessing_cannot_take_are_named() {
        let dir = folder(&["small.png", "other.png"]);
        side_by_side(40, 30).save(dir.path().join("other.png")).expect("a picture for the test");
        let fit = |preprocess| PairOptions { fit: Fit { preprocess, ..Fit::resize(Size::square(16)) }, ..options() };
        refused(&dir, &fit(Preprocess::Crop), &["1 of 2 pairs", "small.png: 8x8 is too small for --preprocess crop"]);
        refused(&dir, &fit(Preprocess::None), &["2 of 2 pairs", "other.png: 20x30 is not the image size 16x16"]);
        refused(&dir, &fit(Preprocess::ScaleWidth), &["1 of 2 pairs", "other.png: 20x30 is 16x24 at the width"]);

        // Two files of a pair may differ in size where they are resized, and nowhere else.
        let dir = tempfile::tempdir().expect("a folder for the test");
        for (side, width) in [("A", 20), ("B", 24)] {
            fs::create_dir(dir.path().join(side)).expect("a folder for the test");
            RgbImage::new(width, 20).save(dir.path().join(side).join("x.png")).expect("a picture");
        }
        refused(&dir, &fit(Preprocess::Crop), &["A/x.png and", "B/x.png: one is 20x20 and the other 24x20"]);
        let found = open(&dir, &fit(Preprocess::ResizeAndCrop)).expect("any size");
        assert_eq!(found.report.seen.sizes.keys().collect::<Vec<_>>(), [&[(20, 20), (24, 20)]]);
    }

    #[test]
    fn training_pairs_are_ready_to_be_cropped_and_held_out_ones_are_cut() {
        let dir = folder(&["train/a.png", "val/b.png", "test/c.png"]);
        let fit = Fit {
            preprocess: Preprocess::ResizeAndCrop,
            load: Size::square(12),
            image: Size::square(10),
            filter: ResizeFilter::Bilinear,
        };
        let options = PairOptions { fit, ..options() };
        let found = open(&dir, &options).expect("three parts");
        let size = |folder: &Folder| folder.pair(0, 0).expect("a good pair").target.size;
        assert_eq!(size(&found.train), Size::square(12));
        assert_eq!(found.held_out.as_ref().map(size), Some(Size::square(10)));
        assert_eq!(size(&Folder::to_evaluate(dir.path(), &options).expect("a pair").1), Size::square(10));
    }

    #[test]
    fn a_data_set_beyond_the_cache_gives_the_same_pairs() {
        let dir = folder(&["a.png", "b.jpg", "c.png"]);
        let pair_takes = 2 * 8 * 8 * 3 * size_of::<u16>();
        let open = |bytes| Dataset::open(dir.path(), &options(), bytes, &|_, _| {}).expect("three pairs").train;
        let (all, some, none) = (open(3 * pair_takes), open(2 * pair_takes), open(pair_takes - 1));
        let kept = |folder: &Folder| folder.cached.iter().flatten().count();
        assert_eq!([&all, &some, &none].map(kept), [3, 2, 0]);
        for index in 0..3 {
            let of = |folder: &Folder| folder.pair(0, index).expect("the pair is good");
            assert!(of(&all) == of(&none) && of(&all) == of(&some));
        }
        fs::remove_file(dir.path().join("a.png")).expect("it is there");
        let error = format!("{:#}", none.pair(0, 0).expect_err("the file is gone"));
        assert!(error.contains("a.png"), "{error}");
    }

    #[test]
    fn other_pixel_formats_become_the_channels_asked_for() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let at = |name| dir.path().join(name);
        GrayImage::from_pixel(16, 8, Luma([77])).save(at("1.png")).expect("a picture for the test");
        ImageBuffer::from_pixel(16, 8, Luma([77_u16 * 257])).save(at("2.png")).expect("a picture for the test");
        ImageBuffer::from_pixel(16, 8, Rgba([77_u8, 77, 77, 9])).save(at("3.tif")).expect("a picture for the test");
        ImageBuffer::from_pixel(16, 8, Rgb([77_u8; 3])).save(at("4.webp")).expect("a picture for the test");
        for channels in [[3, 3], [1, 3], [3, 1], [2, 4]] {
            let found = open(&dir, &PairOptions { channels, ..options() }).expect("four pairs");
            for index in 0..4 {
                let Pair { input, target } = found.train.pair(0, index).expect("the pair is good");
                assert_eq!([input.channels, target.channels], channels);
                let alpha = if index == 2 { 9 * 257 } else { u16::MAX };
                for picture in [input, target] {
                    let is_right = |(i, sample): (usize, &u16)| match (picture.channels, i % picture.channels) {
                        (2, 1) | (4, 3) => *sample == alpha,
                        _ => *sample == 77 * 257,
                    };
                    assert!(picture.samples.iter().enumerate().all(is_right), "file {index}, {channels:?}");
                }
            }
            let kinds: Vec<&str> = found.report.seen.kinds.keys().map(String::as_str).collect();
            let expected = ["16-bit grey PNG", "8-bit RGB WebP", "8-bit RGB with alpha TIFF", "8-bit grey PNG"];
            assert_eq!(kinds, expected);
        }
    }

    /// What an 8-bit copy would have lost, which elsewhere comes out black.
    #[test]
    fn a_16_bit_pair_keeps_its_depth() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let depth = |x: u32, y: u32| (1000 + 16 * y + x) as u16;
        let path = dir.path().join("x.tif");
        ImageBuffer::from_fn(16, 8, |x, y| Luma([depth(x, y)])).save(path).expect("a picture for the test");
        let found = open(&dir, &PairOptions { channels: [1, 1], ..options() }).expect("a pair");
        let Pair { input, target } = found.train.pair(0, 0).expect("the pair is good");
        for (i, (input, target)) in input.samples.into_iter().zip(target.samples).enumerate() {
            let (x, y) = (i as u32 % 8, i as u32 / 8);
            assert_eq!((input, target), (depth(x, y), depth(x + 8, y)));
        }
    }

    #[test]
    fn the_fingerprint_tells_names_and_contents_and_nothing_else() {
        let print = |dir: &TempDir| open(dir, &options()).expect("good pairs").train.fingerprint();
        let base = folder(&["a.png", "b.png"]);
        assert_eq!(print(&base), print(&folder(&["train/a.png", "train/b.png", "test/c.png"])));
        assert_ne!(print(&base), print(&folder(&["a.png", "c.png"])));
        side_by_side(18, 8).save(base.path().join("b.png")).expect("a picture for the test");
        assert_ne!(print(&base), print(&folder(&["a.png", "b.png"])));
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

    /// A camera stores its photo on its side and notes so; the labels drawn on top of it stand upright.
    #[test]
    fn pictures_stand_upright_before_they_are_paired() {
        let dir = folder(&[]);
        let save = |name: &str, image: &RgbImage, exif: Option<&[u8]>| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder for the test");
            let mut encoder = PngEncoder::new(fs::File::create(path).expect("a file for the test"));
            if let Some(exif) = exif {
                encoder.set_exif_metadata(exif.to_vec()).expect("a PNG holds EXIF data");
            }
            image.write_with_encoder(encoder).expect("a picture for the test");
        };
        let upright = RgbImage::from_fn(8, 16, |x, y| Rgb([x as u8, y as u8, 9]));
        // A quarter turn clockwise is asked for.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        save("A/x.png", &image::imageops::rotate270(&upright), Some(exif));
        save("B/x.png", &upright, None);
        let image = Size { width: 8, height: 16 };
        let options = PairOptions { fit: Fit { preprocess: Preprocess::None, ..Fit::resize(image) }, ..options() };
        let pair = open(&dir, &options).expect("both are 8x16").train.pair(0, 0).expect("it is there");
        assert_eq!((&pair.input, &pair.target), (&Picture::from(&upright), &Picture::from(&upright)));
    }
}
