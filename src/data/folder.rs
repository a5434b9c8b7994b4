//! Pairs from a folder.
//!
//! Every file is decoded once, when the folder is opened: a broken one is found before hours are spent on training, and
//! all broken ones are named together. What that decoding yields is kept in memory as far as it fits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use super::file::{decode_whole, format_name};
use super::layout::{Found, PARTS, Source, find};
use super::picture::CHANNELS;
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
    /// decoded, from several threads. The decoded training pairs are kept as far as they fit in `cache_bytes`.
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
        let place = |part: &str| if part.is_empty() { "in it".to_owned() } else { format!("in {part}/") };
        let mut parts = vec![(place(train.0), train.1.len(), "to learn from")];
        if !held_out.1.is_empty() {
            parts.push((place(held_out.0), held_out.1.len(), "held out"));
        }
        parts.extend(rest.iter().map(|(part, sources)| (place(part), sources.len(), "for evaluate")));
        parts.retain(|(_, count, _)| *count > 0);

        let mut reading =
            Reading { options, progress, total, done: 0.into(), seen: Seen::default(), bad: found.unclear };
        let train = reading.folder(train.1, cache_bytes, false);
        // Of the held-out pairs a few are looked at now and then: they are only checked.
        let held_out = reading.folder(held_out.1, 0, true);
        for (_, sources) in rest {
            reading.folder(sources, 0, true);
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
        let mut reading =
            Reading { options, progress: &|_, _| {}, total, done: 0.into(), seen: Seen::default(), bad: found.unclear };
        let folder = reading.folder(sources, CACHE_BYTES, true);
        refuse(dir, &reading.bad, total)?;
        Ok((name, folder))
    }

    /// What the pair at `index` is called: the name of its file, or of A's.
    pub fn name(&self, index: usize) -> String {
        let file = &self.sources[index].files()[0];
        file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Pairs for Folder {
    fn len(&self) -> usize {
        self.sources.len()
    }

    fn pair(&self, _epoch: u64, index: usize) -> Result<Pair> {
        match &self.cached[index] {
            Some(pair) => Ok(pair.clone()),
            None => Ok(decode(&self.sources[index], &self.options, self.is_cut)?.pair),
        }
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
    seen: Seen,
    bad: Vec<String>,
}

impl Reading<'_> {
    /// Decodes all `sources` and keeps what fits in `cache_bytes`.
    fn folder(&mut self, sources: Vec<Source>, cache_bytes: usize, is_cut: bool) -> Folder {
        let kept = AtomicUsize::new(0);
        let read = |source: &Source| {
            let read = decode(source, self.options, is_cut).map(|decoded| {
                let bytes = size_of::<u16>() * (decoded.pair.input.samples.len() + decoded.pair.target.samples.len());
                // Which ones are kept is up to the threads, and changes no pair.
                let is_kept = kept.fetch_add(bytes, Ordering::Relaxed) + bytes <= cache_bytes;
                (is_kept.then_some(decoded.pair), decoded.files)
            });
            (self.progress)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total);
            read
        };
        let read: Vec<_> = sources.par_iter().map(read).collect();
        let (mut cached, mut fingerprint) = (Vec::new(), Fnv::new());
        for (source, read) in sources.iter().zip(read) {
            match read {
                Ok((pair, files)) => {
                    cached.push(pair);
                    self.seen.pair(files.sides);
                    for (path, (kind, hash)) in source.files().iter().zip(files.of_each) {
                        self.seen.file(kind);
                        fingerprint.write(path.file_name().unwrap_or_default().as_encoded_bytes());
                        fingerprint.write_u64(hash);
                    }
                }
                Err(error) => self.bad.push(format!("{error:#}")),
            }
        }
        Folder { sources, cached, options: *self.options, is_cut, fingerprint: fingerprint.0 }
    }
}

struct Decoded {
    pair: Pair,
    files: Files,
}

/// What the files of a pair are like.
struct Files {
    /// The sizes of A and B.
    sides: [Size; 2],
    /// Of each file its kind and a hash.
    of_each: Vec<(String, u64)>,
}

/// The pair in its file or files: ready to be cropped, or cut to the image size.
fn decode(source: &Source, options: &PairOptions, is_cut: bool) -> Result<Decoded> {
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
    let sizes = sides.each_ref().map(|picture| picture.size);
    let [a, b] = sides;
    let [input, target] = match options.direction {
        Direction::AToB => [a, b],
        Direction::BToA => [b, a],
    };
    let name = || source.files().iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ");
    let fit = if is_cut { options.fit.whole() } else { options.fit };
    let prepare = |picture: Picture, channels: usize| fit.apply(picture.with_channels(channels)).with_context(name);
    let mut pair = Pair { input: prepare(input, options.channels[0])?, target: prepare(target, options.channels[1])? };
    if pair.input.size != pair.target.size {
        bail!(
            "{}: one is {} and the other {}; only --preprocess resize-and-crop makes them one size",
            name(),
            pair.input.size.sides(),
            pair.target.size.sides()
        );
    }
    if is_cut {
        pair = Pair { input: fit.middle(&pair.input), target: fit.middle(&pair.target) };
    }
    Ok(Decoded { pair, files: Files { sides: sizes, of_each } })
}

/// The picture in a file, what kind of file it is, and a hash of it.
fn read(path: &Path) -> Result<(Picture, String, u64)> {
    let bytes = fs::read(path)?;
    let mut hash = Fnv::new();
    hash.write(&bytes);
    let image = decode_whole(&bytes)?;
    let color = image.color();
    let bits = 8 * color.bytes_per_pixel() / color.channel_count();
    let picture = Picture::from_image(image)?;
    let channels = CHANNELS[picture.channels - 1];
    Ok((picture, format!("{bits}-bit {channels} {}", format_name(&bytes)), hash.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba};
    use tempfile::TempDir;

    use super::*;

    const LEFT: [u8; 3] = [200, 30, 40];
    const RIGHT: [u8; 3] = [10, 60, 220];

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

    fn open(dir: &TempDir, cache_bytes: usize) -> Result<Dataset> {
        Dataset::open(dir.path(), Direction::AToB, Size::square(8), cache_bytes, &|_, _| {})
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.files.iter().filter_map(|path| path.file_name()?.to_str()).collect()
    }

    #[test]
    fn the_direction_says_which_half_is_the_input() {
        let dir = folder(&["a.png"]);
        for (direction, input, target) in [(Direction::AToB, LEFT, RIGHT), (Direction::BToA, RIGHT, LEFT)] {
            let found =
                Dataset::open(dir.path(), direction, Size::square(8), CACHE_BYTES, &|_, _| {}).expect("one pair");
            let pair = found.train.pair(0, 0).expect("the pair is good");
            assert!(pair.input.to_rgb8().pixels().all(|pixel| pixel.0 == input));
            assert!(pair.target.to_rgb8().pixels().all(|pixel| pixel.0 == target));
        }
    }

    #[test]
    fn finds_flat_and_split_folders_in_byte_order_and_ignores_the_rest() {
        let dir = folder(&["b.png", "B.JPG", "a10.jpeg", "a9.png", ".hidden.png", "sub.png/inner.png"]);
        fs::write(dir.path().join("notes.txt"), "no picture").expect("a file for the test");
        let flat = open(&dir, CACHE_BYTES).expect("four pairs");
        assert_eq!(names(&flat.train), ["B.JPG", "a10.jpeg", "a9.png", "b.png"]);
        assert!(flat.held_out.is_none());

        let split = open(&folder(&["train/x.png", "test/y.png", "loose.png"]), CACHE_BYTES).expect("two splits");
        assert_eq!(names(&split.train), ["x.png"]);
        assert_eq!(split.held_out.as_ref().map(names), Some(vec!["y.png"]));
        let both = open(&folder(&["train/x.png", "test/y.png", "val/z.png"]), CACHE_BYTES).expect("three splits");
        assert_eq!(both.held_out.as_ref().map(names), Some(vec!["z.png"]));
    }

    #[test]
    fn says_what_is_missing() {
        let dir = folder(&["only.png/in-a-folder-that-looks-like-a-file.png"]);
        let error = open(&dir, CACHE_BYTES).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("no images in") && error.contains(".png, .jpg and .jpeg"), "{error}");
        let nowhere = dir.path().join("nowhere");
        let error = Dataset::open(&nowhere, Direction::AToB, Size::square(8), 0, &|_, _| {}).err();
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
        let error = open(&dir, CACHE_BYTES).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.starts_with("4 of 5 images in"), "{error}");
        for words in [
            "cut.png: ",
            "cut.jpg: the JPEG file is cut short",
            "odd.png: 15x8 is no side-by-side pair",
            "text.jpg: not a PNG",
        ] {
            assert!(error.contains(words), "{words} is missing: {error}");
        }
    }

    #[test]
    fn a_data_set_beyond_the_cache_gives_the_same_pairs() {
        let dir = folder(&["a.png", "b.jpg"]);
        let pairs_take = 2 * 2 * 8 * 8 * 3 * 2;
        let (cached, decoded) =
            (open(&dir, pairs_take).expect("two pairs"), open(&dir, pairs_take - 1).expect("two pairs"));
        assert_eq!((cached.train.cached.len(), decoded.train.cached.len()), (2, 0));
        for index in 0..2 {
            let of = |found: &Dataset| found.train.pair(0, index).expect("the pair is good");
            assert_eq!(of(&cached), of(&decoded));
        }
        fs::remove_file(dir.path().join("a.png")).expect("it is there");
        let error = format!("{:#}", decoded.train.pair(0, 0).expect_err("the file is gone"));
        assert!(error.contains("a.png"), "{error}");
    }

    #[test]
    fn other_pixel_formats_become_rgb() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let at = |name| dir.path().join(name);
        GrayImage::from_pixel(16, 8, Luma([77])).save(at("1.png")).expect("a picture for the test");
        ImageBuffer::from_pixel(16, 8, Luma([77_u16 * 257])).save(at("2.png")).expect("a picture for the test");
        ImageBuffer::from_pixel(16, 8, Rgba([77_u8, 77, 77, 9])).save(at("3.png")).expect("a picture for the test");
        let found = open(&dir, CACHE_BYTES).expect("three pairs");
        for index in 0..3 {
            let pair = found.train.pair(0, index).expect("the pair is good");
            assert!(pair.input.samples.iter().all(|&sample| sample == 77 * 257), "file {index}");
        }
    }

    #[test]
    fn the_fingerprint_tells_names_and_contents_and_nothing_else() {
        let print = |dir: &TempDir| open(dir, CACHE_BYTES).expect("good pairs").train.fingerprint();
        let base = folder(&["a.png", "b.png"]);
        assert_eq!(print(&base), print(&folder(&["train/a.png", "train/b.png", "test/c.png"])));
        assert_ne!(print(&base), print(&folder(&["a.png", "c.png"])));
        side_by_side(18, 8).save(base.path().join("b.png")).expect("a picture for the test");
        assert_ne!(print(&base), print(&folder(&["a.png", "b.png"])));
    }

    #[test]
    fn progress_counts_every_file_of_every_split() {
        let dir = folder(&["train/a.png", "train/b.png", "test/c.png"]);
        let calls = Mutex::new(Vec::new());
        let note = |done, total| calls.lock().expect("nobody panicked").push((done, total));
        Dataset::open(dir.path(), Direction::AToB, Size::square(4), CACHE_BYTES, &note).expect("three pairs");
        let mut calls = calls.into_inner().expect("nobody panicked");
        calls.sort_unstable();
        assert_eq!(calls, [(1, 3), (2, 3), (3, 3)]);
    }
}
