//! The pairs of one split of a data set, read from their files.
//!
//! Every file is decoded once, when the folder is opened: a broken one is found before hours are spent on training, and
//! all broken ones are named together. Decoded pairs are kept in memory as far as they fit.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use crate::base::files;
use crate::data::decoding::Picture;
use crate::data::decoding::file::{self, Decoded};
use crate::data::feeding::report::{FileProperties, Side};
use crate::data::feeding::{Fit, Preprocess, seam};
use crate::data::finding::layout::Source;
use crate::data::pairs::{Direction, Fnv, Pair, Pairs};
use crate::data::size::Size;

/// Bytes of memory for decoded pairs: 1 GiB, which holds 1365 RGB pairs of 256x256. Pairs that do not fit are decoded
/// again in every epoch.
pub const CACHE_BYTES: usize = 1 << 30;

/// Options that decide which pairs the files of a folder become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairOptions {
    pub direction: Direction,
    /// Channels of the input and of the target, in this order.
    pub channels: [usize; 2],
    pub fit: Fit,
    /// Fraction of the training pairs that is held out if the data set has no split `val` or `test`; 0 holds out none.
    pub val_split: f64,
    /// Seed of the choice of the held-out pairs.
    pub seed: u64,
    /// True if an earlier run has accepted the pairs: their layout and shapes are not checked again.
    pub accepted_before: bool,
}

/// The pairs of one split of a data set, ordered by the bytes of the names of their files.
pub struct Folder {
    pub(super) sources: Vec<Source>,
    /// Decoded pairs, one for each source if it fits in memory.
    cached: Vec<Option<Pair>>,
    /// The size of each pair's pictures.
    sizes: Vec<Size>,
    options: PairOptions,
    /// True if pairs are cropped to the image size.
    is_cropped: bool,
    fingerprint: u64,
}

impl PairOptions {
    /// Returns options for RGB pairs from A to B, resized to `image` without a crop; none are held out.
    pub fn rgb(image: Size) -> PairOptions {
        let fit = Fit::resize(image);
        PairOptions {
            direction: Direction::AToB,
            channels: [3, 3],
            fit,
            val_split: 0.0,
            seed: 1,
            accepted_before: false,
        }
    }
}

impl PairOptions {
    /// Returns the channels that the networks see of A and of B, in this order: `channels`, exchanged if B is the
    /// input.
    pub fn channels_of_sides(&self) -> [usize; 2] {
        let [input, target] = self.channels;
        match self.direction {
            Direction::AToB => [input, target],
            Direction::BToA => [target, input],
        }
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
                let _turn = file::turn(source.files())?;
                prepare(decode(source)?.0, &self.options, self.is_cropped).with_context(|| source.to_string())
            }
        }
    }

    fn fixed_sizes(&self) -> Option<Vec<Size>> {
        Some(self.sizes.clone())
    }

    /// Name of the file of the pair, or of that of A.
    fn name(&self, index: usize) -> String {
        self.sources[index].files()[0].file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A hash of the names and contents of the files, in order.
    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The reading of folders, one after the other, with what is learned about their files.
pub(super) struct Reading<'a> {
    options: &'a PairOptions,
    progress: &'a (dyn Fn(usize, usize) + Sync),
    total: usize,
    done: AtomicUsize,
    cache_bytes: usize,
    /// Bytes of the pairs decoded so far.
    decoded_bytes: AtomicUsize,
    pub(super) properties: FileProperties,
    pub(super) bad: Vec<String>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        options: &'a PairOptions,
        progress: &'a (dyn Fn(usize, usize) + Sync),
        total: usize,
        cache_bytes: usize,
        bad: Vec<String>,
    ) -> Reading<'a> {
        let (done, decoded_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let properties = FileProperties::new(options.channels_of_sides());
        Reading { options, progress, total, done, cache_bytes, decoded_bytes, properties, bad }
    }

    /// Decodes all `sources` and keeps what still fits.
    pub(super) fn folder(&mut self, sources: Vec<Source>, is_cropped: bool) -> Folder {
        let read = |source: &Source| {
            let turn = file::turn(source.files());
            let read = turn.and_then(|_turn| {
                let (sides, files) = decode(source)?;
                let pair = prepare(sides, self.options, is_cropped).with_context(|| source.to_string()).map(|pair| {
                    let bytes = size_of::<u16>() * (pair.input.samples.len() + pair.target.samples.len());
                    // The order of the threads decides which pairs are kept, and does not change them.
                    let is_kept = self.decoded_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.cache_bytes;
                    (pair.input.size, is_kept.then_some(pair))
                });
                Ok((pair, files))
            });
            (self.progress)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total);
            read
        };
        let read: Vec<_> = sources.par_iter().map(read).collect();
        let (mut cached, mut sizes, mut fingerprint) = (Vec::new(), Vec::new(), Fnv::new());
        for (source, read) in sources.iter().zip(read) {
            let pair = read.and_then(|(pair, files)| {
                self.properties.pair(files.sides);
                self.properties.values(files.values);
                files.is_seam_missing.into_iter().for_each(|is_missing| self.properties.seams.add(is_missing));
                for (path, (kind, hash)) in source.files().iter().zip(files.of_each) {
                    self.properties.file(kind);
                    fingerprint.write(path.file_name().unwrap_or_default().as_encoded_bytes());
                    fingerprint.write_u64(hash);
                }
                pair
            });
            match pair {
                Ok((size, pair)) => {
                    sizes.push(size);
                    cached.push(pair);
                }
                Err(error) => self.bad.push(format!("{error:#}")),
            }
        }
        Folder { sources, cached, sizes, options: *self.options, is_cropped, fingerprint: fingerprint.0 }
    }
}

/// Properties of the files of a pair.
struct Files {
    /// The sizes of A and B.
    sides: [Size; 2],
    /// The values in A and B.
    values: [Side; 2],
    /// True if the halves of one file look like a single picture; `None` for two files.
    is_seam_missing: Option<bool>,
    /// Kind and hash of each file.
    of_each: Vec<(String, u64)>,
}

/// A and B as they are in their file or files.
fn decode(source: &Source) -> Result<([Picture; 2], Files)> {
    let mut of_each = Vec::new();
    let mut read = |path: &PathBuf| -> Result<Decoded> {
        let (decoded, hash) = read(path).with_context(|| path.display().to_string())?;
        of_each.push((decoded.kind(), hash));
        Ok(decoded)
    };
    let mut is_seam_missing = None;
    let (sides, depths) = match source {
        Source::Halves(path) => {
            let Decoded { picture, depth, .. } = read(path)?;
            let halves = picture.halves().with_context(|| path.display().to_string())?;
            is_seam_missing = Some(seam::is_missing(&picture));
            (halves, [depth; 2])
        }
        Source::Files([a, b]) => {
            let (a, b) = (read(a)?, read(b)?);
            ([a.picture, b.picture], [a.depth, b.depth])
        }
    };
    let values = [0, 1].map(|side| Side::new(&sides[side], depths[side]));
    let files = Files { sides: sides.each_ref().map(|picture| picture.size), values, is_seam_missing, of_each };
    Ok((sides, files))
}

/// The pair of A and B: ready to be cropped, or cropped to the image size.
fn prepare([a, b]: [Picture; 2], options: &PairOptions, is_cropped: bool) -> Result<Pair> {
    let squeezes_both = options.fit.preprocess == Preprocess::ResizeAndCrop;
    ensure!(
        options.accepted_before || !squeezes_both || a.size.has_aspect_ratio_of(b.size),
        "A is {} and B {}, more than 1 % apart in shape: resized to one size, they would no longer lie on each other; \
         crop them to one shape, as --preprocess scale-width-and-crop does around the middle",
        a.size.sides(),
        b.size.sides()
    );
    let [input, target] = match options.direction {
        Direction::AToB => [a, b],
        Direction::BToA => [b, a],
    };
    let fit = if is_cropped { options.fit.for_centre_crop() } else { options.fit };
    let input = fit.apply(input.with_channels(options.channels[0]))?;
    let target = fit.apply(target.with_channels(options.channels[1]))?;
    let [input, target] = match options.fit.preprocess {
        Preprocess::ScaleWidthAndCrop => to_one_height([input, target]),
        _ => [input, target],
    };
    ensure!(
        input.size == target.size,
        "one is {} and the other {}; {}",
        input.size.sides(),
        target.size.sides(),
        match input.size.has_aspect_ratio_of(target.size) {
            true => "only --preprocess resize-and-crop makes pictures of one shape one size",
            false => "only --preprocess scale-width-and-crop takes pictures of two shapes",
        }
    );
    Ok(match is_cropped {
        true => Pair { input: fit.middle(&input), target: fit.middle(&target) },
        false => Pair { input, target },
    })
}

/// Two pictures of one width, the higher one cropped around its middle to the height of the other.
fn to_one_height(pair: [Picture; 2]) -> [Picture; 2] {
    let height = pair[0].size.height.min(pair[1].size.height);
    pair.map(|picture| match picture.size.height - height {
        0 => picture,
        more => picture.crop(0, more / 2, Size { height, ..picture.size }),
    })
}

/// The picture in a file, and a hash of the file.
fn read(path: &Path) -> Result<(Decoded, u64)> {
    let bytes = files::read(path)?;
    let mut hash = Fnv::new();
    hash.write(&bytes);
    Ok((file::decode(&bytes)?, hash.0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, RgbImage, Rgba, codecs::png::PngEncoder};
    use tempfile::TempDir;

    use super::*;
    use crate::data::feeding::{Dataset, ResizeFilter};
    use crate::data::fixture::{LEFT, RIGHT, folder, open, options, refused, side_by_side};

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
        assert_eq!(report.properties.kinds.values().sum::<usize>(), 1);
    }

    #[test]
    fn sizes_that_the_preprocessing_cannot_take_are_named() {
        let dir = folder(&["small.png", "other.png"]);
        side_by_side(40, 30).save(dir.path().join("other.png")).expect("a picture for the test");
        let fit = |preprocess| PairOptions { fit: Fit { preprocess, ..Fit::resize(Size::square(16)) }, ..options() };
        refused(&dir, &fit(Preprocess::Crop), &["1 of 2 pairs", "small.png: 8x8 is too small for --preprocess crop"]);
        refused(&dir, &fit(Preprocess::None), &["2 of 2 pairs", "other.png: 20x30 is not the image size 16x16"]);
        refused(&dir, &fit(Preprocess::ScaleWidth), &["1 of 2 pairs", "other.png: 20x30 is 16x24 at the width"]);

        // Two files of a pair may differ in size where they are resized, and nowhere else; in shape they may not.
        let dir = tempfile::tempdir().expect("a folder for the test");
        let draw = |side: &str, width, height| {
            fs::create_dir_all(dir.path().join(side)).expect("a folder for the test");
            RgbImage::new(width, height).save(dir.path().join(side).join("x.png")).expect("a picture");
        };
        draw("A", 20, 20);
        draw("B", 24, 24);
        refused(&dir, &fit(Preprocess::Crop), &["A/x.png and", "B/x.png: one is 20x20 and the other 24x24"]);
        let found = open(&dir, &fit(Preprocess::ResizeAndCrop)).expect("any size");
        assert_eq!(found.report.properties.sizes.keys().collect::<Vec<_>>(), [&[(20, 20), (24, 24)]]);
        draw("B", 24, 20);
        let resized = fit(Preprocess::ResizeAndCrop);
        refused(&dir, &resized, &["A/x.png and", "B/x.png: A is 20x20 and B 24x20, more than 1 % apart in shape"]);
        refused(
            &dir,
            &fit(Preprocess::Crop),
            &["20x20 and the other 24x20; only --preprocess scale-width-and-crop takes"],
        );
        // The middle of the higher one is what both show, where the width is scaled and the rest cropped.
        let row = |y: u32| Rgb([10 * y as u8; 3]);
        RgbImage::from_fn(16, 20, |_, y| row(y)).save(dir.path().join("A/x.png")).expect("a picture");
        RgbImage::from_fn(16, 16, |_, y| row(y + 2)).save(dir.path().join("B/x.png")).expect("a picture");
        let pair = open(&dir, &fit(Preprocess::ScaleWidthAndCrop)).expect("cropped").train.pair(0, 0).expect("a pair");
        assert_eq!(pair.input, pair.target);
        draw("A", 20, 20);
        draw("B", 24, 20);
        // A run that took them goes on, and is measured on them.
        open(&dir, &PairOptions { accepted_before: true, ..resized }).expect("they were taken once");
        Folder::to_evaluate(dir.path(), &resized, 0).expect("measured as they were learned from");
    }

    #[test]
    fn training_pairs_are_ready_to_be_cropped_and_held_out_ones_are_cut() {
        let dir = folder(&["train/a.png", "val/b.png", "test/c.png"]);
        let fit = Fit {
            preprocess: Preprocess::ResizeAndCrop,
            load_size: Size::square(12),
            image_size: Size::square(10),
            resize_filter: ResizeFilter::Bilinear,
        };
        let options = PairOptions { fit, ..options() };
        let found = open(&dir, &options).expect("three splits");
        let size = |folder: &Folder| folder.pair(0, 0).expect("a good pair").target.size;
        assert_eq!(size(&found.train), Size::square(12));
        assert_eq!(found.held_out.as_ref().map(size), Some(Size::square(10)));
        assert_eq!(size(&Folder::to_evaluate(dir.path(), &options, 0).expect("a pair").pairs), Size::square(10));
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
            let kinds: Vec<&str> = found.report.properties.kinds.keys().map(String::as_str).collect();
            let expected = ["16-bit grey PNG", "8-bit RGB WebP", "8-bit RGB with a fourth band TIFF", "8-bit grey PNG"];
            assert_eq!(kinds, expected);
        }
    }

    /// A pair whose levels an 8-bit copy would lose.
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
