//! Pairs from a folder of side-by-side pictures.
//!
//! Every file is decoded once, when the folder is opened: a broken one is found before hours are spent on training, and
//! all broken ones are named together. What that decoding yields is kept in memory when it fits.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use super::{Direction, Fnv, Pair, Pairs, Picture, ResizeFilter, Size, file::decode_whole};

/// How much memory the decoded pictures may take: 1 GiB, which holds 1365 pairs of 256x256. A larger data set is decoded
/// again in every epoch.
pub const CACHE_BYTES: usize = 1 << 30;

/// Of the pictures on either side.
const CHANNELS: usize = 3;

/// The splits of one data set.
pub struct Dataset {
    pub train: Folder,
    /// Never trained on: what to look at progress with.
    pub held_out: Option<Folder>,
}

/// One split: its pairs at the load size, in the order of the bytes of their file names.
pub struct Folder {
    files: Vec<PathBuf>,
    /// One for each file, or none at all when they do not fit in memory.
    cached: Vec<Pair>,
    direction: Direction,
    load_size: Size,
    fingerprint: u64,
}

impl Dataset {
    /// Opens `dir`. Training pairs are the pictures in `dir/train`, or in `dir` itself when there are none; those in `dir/val`,
    /// else in `dir/test`, are held out. `progress` is told how many of how many files are decoded, from several threads. The
    /// decoded training pictures are kept if they take at most `cache_bytes`.
    ///
    /// # Errors
    /// When there are no pictures to train on, or naming every file that is not a good pair.
    pub fn open(
        dir: &Path,
        direction: Direction,
        load_size: Size,
        cache_bytes: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Dataset> {
        ensure_folder(dir)?;
        let mut train = list(&dir.join("train"))?;
        if train.is_empty() {
            train = list(dir)?;
        }
        ensure!(
            !train.is_empty(),
            "no images in {}: looked for .png, .jpg and .jpeg in it and in train/",
            dir.display()
        );
        let mut held_out = list(&dir.join("val"))?;
        if held_out.is_empty() {
            held_out = list(&dir.join("test"))?;
        }
        // Of the held-out pictures a few are looked at now and then: they are only checked.
        let splits = [(train, cache_bytes), (held_out, 0)];
        let [train, held_out] = open(dir, splits, direction, load_size, progress)?;
        Ok(Dataset { train, held_out: (!held_out.files.is_empty()).then_some(held_out) })
    }
}

impl Folder {
    /// Opens the pairs in `dir` that a finished network is measured on, and says which these are: `dir/test`, else `dir/val`,
    /// else `dir/train`, else those in `dir` itself. The other ones are not looked at.
    ///
    /// # Errors
    /// When there are none, or naming every file that is not a good pair.
    pub fn to_evaluate(dir: &Path, direction: Direction, load_size: Size) -> Result<(&'static str, Folder)> {
        ensure_folder(dir)?;
        for (name, below) in [("test/", "test"), ("val/", "val"), ("train/", "train"), ("all", "")] {
            let files = list(&dir.join(below))?;
            if !files.is_empty() {
                let [folder] = open(dir, [(files, CACHE_BYTES)], direction, load_size, &|_, _| {})?;
                return Ok((name, folder));
            }
        }
        bail!("no images in {}: looked for .png, .jpg and .jpeg in it and in test/, val/ and train/", dir.display())
    }
}

impl Pairs for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn pair(&self, _epoch: u64, index: usize) -> Result<Pair> {
        match self.cached.get(index) {
            Some(pair) => Ok(pair.clone()),
            None => Ok(decode(&self.files[index], self.direction, self.load_size)?.0),
        }
    }

    /// Of the names and contents of the files, in order.
    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

fn ensure_folder(dir: &Path) -> Result<()> {
    ensure!(dir.exists(), "there is no folder {}: check the path of the data", dir.display());
    ensure!(dir.is_dir(), "{} is a file: give the folder that holds the pictures", dir.display());
    Ok(())
}

/// Decodes the files of each split, all of them below `dir`, and keeps what takes at most the split's bytes.
fn open<const N: usize>(
    dir: &Path,
    splits: [(Vec<PathBuf>, usize); N],
    direction: Direction,
    load_size: Size,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<[Folder; N]> {
    let total = splits.iter().map(|(files, _)| files.len()).sum::<usize>();
    let done = AtomicUsize::new(0);
    let mut bad = Vec::new();
    let folders = splits.map(|(files, cache_bytes)| {
        let keep = load_size.pixels().saturating_mul(2 * CHANNELS * size_of::<u16>()).saturating_mul(files.len())
            <= cache_bytes;
        let decode = |path: &PathBuf| {
            let decoded = decode(path, direction, load_size).map(|(pair, hash)| (keep.then_some(pair), hash));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            decoded
        };
        let decoded: Vec<_> = files.par_iter().map(decode).collect();
        let (mut cached, mut fingerprint) = (Vec::new(), Fnv::new());
        for (path, decoded) in files.iter().zip(decoded) {
            match decoded {
                Ok((pair, hash)) => {
                    cached.extend(pair);
                    fingerprint.write(path.file_name().unwrap_or_default().as_encoded_bytes());
                    fingerprint.write_u64(hash);
                }
                Err(error) => bad.push(format!("{error:#}")),
            }
        }
        Folder { files, cached, direction, load_size, fingerprint: fingerprint.0 }
    });
    if !bad.is_empty() {
        let bad_of = format!("{} of {total} images in {}", bad.len(), dir.display());
        bail!("{bad_of} cannot be used, repair or remove them:\n  {}", bad.join("\n  "));
    }
    Ok(folders)
}

/// The pictures directly in `dir`, in the order of the bytes of their names; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list the folder {}", dir.display());
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let extension = Path::new(&name).extension().unwrap_or_default();
        let picture = ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known));
        if picture && !hidden && !dir.join(&name).is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

/// The pair in a file, at the load size, and a hash of the file.
fn decode(path: &Path, direction: Direction, load_size: Size) -> Result<(Pair, u64)> {
    let picture = || path.display().to_string();
    let bytes = fs::read(path).with_context(picture)?;
    let mut hash = Fnv::new();
    hash.write(&bytes);
    let image = decode_whole(&bytes).and_then(Picture::from_image).with_context(picture)?;
    let Size { width, height } = image.size;
    ensure!(width % 2 == 0, "{}: {width}x{height} is no side-by-side pair, its width is odd", path.display());
    let half = |left| {
        let half = image.crop(left, 0, Size { width: width / 2, height });
        half.with_channels(CHANNELS).resize(load_size, ResizeFilter::Bicubic)
    };
    let (a, b) = (half(0), half(width / 2));
    let pair = match direction {
        Direction::AToB => Pair { input: a, target: b },
        Direction::BToA => Pair { input: b, target: a },
    };
    Ok((pair, hash.0))
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
