use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Luma, Rgb, Rgba};
use tiff::encoder::colortype::{CMYK8, Gray16, RGB8, RGB16};
use tiff::encoder::{Compression, Predictor, TiffEncoder};

use tiff::decoder::Decoder;

use super::fixture::{DOUBLE, LONG, Order, Page as Made, SHORT, build};
use super::*;
use crate::data::decoding::file::{self, Decoded};
use crate::data::decoding::rows::InMemoryRows;
use crate::data::decoding::{Depth, FileFormat, Picture, Rows};
use crate::data::fixture::encoded;

const ORDERS: [Order; 4] = [
    Order { is_big_endian: false, is_big: false },
    Order { is_big_endian: true, is_big: false },
    Order { is_big_endian: false, is_big: true },
    Order { is_big_endian: true, is_big: true },
];

/// The picture of a file decoded as a whole, after a check that rows give the same.
fn decoded(bytes: &[u8]) -> Decoded {
    let found = file::decode(bytes).expect("a kind that is read");
    let page = &super::pages(&mut Cursor::new(bytes)).expect("it is whole")[0];
    if !found.is_turned {
        let mut rows = TiffRows::open(Cursor::new(bytes), page).expect("a kind that is read");
        let (shape, mut samples, mut left) = (rows.shape(), Vec::new(), found.picture.size.height);
        for count in [1, 2, 3, 5].into_iter().cycle() {
            let count = count.min(left);
            samples.extend(rows.next(count).expect("it is whole").samples);
            left -= count;
            if left == 0 {
                break;
            }
        }
        assert_eq!(shape.rows(samples), found.picture);
    }
    found
}

fn refused(page: Made) -> String {
    let found = file::decode(&build(Order::default(), &[page])).map(drop);
    format!("{:#}", found.expect_err("a kind that is not read"))
}

/// `count` bytes, each different from its neighbours.
fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 167 + i / 7 * 31) as u8).collect()
}

/// The picture as the image crate decodes it, the reference for kinds that it reads.
fn by_image(bytes: &[u8]) -> Picture {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("in memory");
    let mut decoder = reader.into_decoder().expect("the image crate reads it");
    let orientation = decoder.orientation().expect("the image crate reads it");
    let mut image = DynamicImage::from_decoder(decoder).expect("the image crate reads it");
    image.apply_orientation(orientation);
    Picture::from_image(image).expect("8 or 16 bits")
}

#[test]
fn kinds_that_the_image_crate_reads_become_the_same_samples() {
    let mut files = Vec::new();
    let ramp: Vec<u8> = noise(3 * 20 * 30);
    let deep: Vec<u16> = ramp.iter().map(|&byte| u16::from(byte) * 251 + 3).collect();
    let compressions =
        [Compression::Uncompressed, Compression::Lzw, Compression::Deflate(Default::default()), Compression::Packbits];
    for compression in compressions {
        for predictor in [Predictor::None, Predictor::Horizontal] {
            let mut file = Cursor::new(Vec::new());
            let encoder = TiffEncoder::new(&mut file).expect("in memory");
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            encoder.write_image::<RGB8>(20, 30, &ramp).expect("in memory");
            files.push(file.into_inner());
            let mut file = Cursor::new(Vec::new());
            let encoder = TiffEncoder::new(&mut file).expect("in memory");
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            encoder.write_image::<RGB16>(20, 30, &deep).expect("in memory");
            files.push(file.into_inner());
        }
    }
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file).expect("in memory").write_image::<CMYK8>(15, 30, &ramp).expect("in memory");
    files.push(file.into_inner());
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file).expect("in memory").write_image::<Gray16>(60, 30, &deep).expect("in memory");
    files.push(file.into_inner());
    for is_big_endian in [false, true] {
        let order = Order { is_big_endian, is_big: false };
        // White is 0, of 8 and of 1 bit; planes; tiles that reach beyond the picture; a turned picture; several strips.
        files.push(build(order, &[Made::new(8, 4, 8, 1, 0, noise(32))]));
        files.push(build(order, &[Made::new(13, 4, 1, 1, 0, noise(8))]));
        files.push(build(order, &[Made::new(13, 4, 1, 1, 1, noise(8)).with(274, SHORT, &[6])]));
        let planes =
            Made { chunks: noise(96).chunks(32).map(<[u8]>::to_vec).collect(), ..Made::new(8, 4, 8, 3, 2, vec![]) };
        files.push(build(order, &[planes.with(284, SHORT, &[2])]));
        let tiles = Made {
            chunks: noise(4 * 256 * 3).chunks(768).map(<[u8]>::to_vec).collect(),
            is_tiled: true,
            ..Made::new(20, 18, 8, 3, 2, vec![])
        };
        files.push(build(order, &[tiles.with(322, SHORT, &[16]).with(323, SHORT, &[16])]));
        // Each plane in strips of its own; tiles of single bits.
        let planes = Made {
            chunks: noise(3 * 720).chunks(240).map(<[u8]>::to_vec).collect(),
            ..Made::new(20, 18, 16, 3, 2, vec![])
        };
        files.push(build(order, &[planes.with(284, SHORT, &[2]).with(278, SHORT, &[6])]));
        let tiles = Made {
            chunks: noise(4 * 32).chunks(32).map(<[u8]>::to_vec).collect(),
            is_tiled: true,
            ..Made::new(20, 18, 1, 1, 1, vec![])
        };
        files.push(build(order, &[tiles.with(322, SHORT, &[16]).with(323, SHORT, &[16])]));
        files.push(build(order, &[Made::new(4, 4, 16, 4, 2, noise(128)).with(338, SHORT, &[2])]));
        let strips =
            Made { chunks: noise(30).chunks(10).map(<[u8]>::to_vec).collect(), ..Made::new(5, 5, 8, 1, 1, vec![]) };
        files.push(build(order, &[strips.with(278, SHORT, &[2])]));
    }
    for (number, bytes) in files.iter().enumerate() {
        // The last strip of the last kind is longer than its row needs, as some programs write it.
        assert!(decoded(bytes).picture == by_image(bytes), "file {number}");
    }
}

/// The image crate panics at these files.
#[test]
fn tiles_of_planes_hold_what_tiles_of_pixels_hold() {
    for is_big_endian in [false, true] {
        let order = Order { is_big_endian, is_big: false };
        let made = |chunks: Vec<Vec<u8>>, planes| {
            let page = Made { chunks, is_tiled: true, ..Made::new(20, 18, 16, 3, 2, vec![]) };
            let page = page.with(322, SHORT, &[16]).with(323, SHORT, &[16]).with(284, SHORT, &[planes]);
            decoded(&build(order, &[page])).picture
        };
        let of_planes: Vec<Vec<u8>> = noise(12 * 512).chunks(512).map(<[u8]>::to_vec).collect();
        let interleaved = |tile: usize| {
            let [r, g, b] = [0, 4, 8].map(|plane| of_planes[plane + tile].chunks(2));
            r.zip(g).zip(b).flat_map(|((r, g), b)| [r, g, b].concat()).collect()
        };
        let of_pixels: Vec<Vec<u8>> = (0..4).map(interleaved).collect();
        assert_eq!(made(of_planes.clone(), 2), made(of_pixels, 1));
    }
}

#[test]
fn bigtiff_and_both_byte_orders_hold_the_same_picture() {
    for order in ORDERS {
        let samples: Vec<u16> = (0..12).map(|i| i * 5000 + 7).collect();
        let bytes = |word: &u16| if order.is_big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        let strip = samples.iter().flat_map(bytes).collect();
        let found = decoded(&build(order, &[Made::new(4, 1, 16, 3, 2, strip)]));
        assert_eq!((found.picture.samples, found.depth, found.format), (samples, Depth::Sixteen, FileFormat::Tiff));
    }
}

#[test]
fn palettes_few_bits_and_bands_of_equal_rights_become_their_colours() {
    // Two bits of grey, rows of whole bytes.
    let found = decoded(&build(Order::default(), &[Made::new(5, 2, 2, 1, 1, vec![0b0001_1011, 0b1100_0000, 0, 0x40])]));
    let expected = [0, 85, 170, 255, 255, 0, 0, 0, 0, 85].map(|byte| byte * 257);
    assert_eq!(found.picture.samples, expected);
    // Indices of 8 bits; 16-bit colours, 8-bit ones, and such with an empty lower half.
    for (scale, depth, expected) in
        [(257, Depth::Eight, 257), (1, Depth::Eight, 257), (256, Depth::Eight, 257), (200, Depth::Sixteen, 200)]
    {
        let map: Vec<u64> = (0..3)
            .flat_map(|channel| {
                (0..256).map(move |i| (255 - i) * scale * u64::from(channel == 1) + i * scale * u64::from(channel == 0))
            })
            .collect();
        let found = decoded(&build(Order::default(), &[Made::new(2, 1, 8, 1, 3, vec![0, 200]).with(320, SHORT, &map)]));
        assert_eq!(found.picture.samples, [0, 255 * expected, 0, 200 * expected, 55 * expected, 0], "{scale}");
        assert_eq!(found.depth, depth, "{scale}");
    }
    let bands = decoded(&build(
        Order::default(),
        &[Made::new(2, 1, 8, 3, 1, vec![1, 2, 3, 4, 5, 6]).with(338, SHORT, &[0, 0])],
    ));
    assert_eq!((bands.kind().as_str(), bands.picture.channels), ("8-bit RGB TIFF", 3));
    assert_eq!(bands.picture.samples, [1, 2, 3, 4, 5, 6].map(|byte| byte * 257));
}

#[test]
fn the_last_channel_is_alpha_or_a_band_as_the_file_says() {
    let made = |samples, photometric, extra: &[u64]| {
        let page = Made::new(1, 1, 8, samples, photometric, vec![10, 20, 30, 40][..samples as usize].to_vec());
        let page = if extra.is_empty() { page } else { page.with(338, SHORT, extra) };
        decoded(&build(Order::default(), &[page]))
    };
    for (samples, photometric, extra, kind) in [
        (4, 2, &[2][..], "8-bit RGB with alpha TIFF"),
        (4, 2, &[0], "8-bit RGB with a fourth band TIFF"),
        (4, 2, &[], "8-bit RGB with a fourth band TIFF"),
        (4, 1, &[0, 0, 0], "8-bit RGB with a fourth band TIFF"),
        (4, 1, &[0, 0, 2], "8-bit RGB with alpha TIFF"),
        (2, 1, &[2], "8-bit grey with alpha TIFF"),
        (2, 1, &[0], "8-bit grey with a second band TIFF"),
    ] {
        let found = made(samples, photometric, extra);
        assert_eq!(found.kind(), kind);
        assert_eq!(
            found.picture.samples,
            [10, 20, 30, 40][..samples as usize].iter().map(|byte| byte * 257).collect::<Vec<_>>()
        );
        assert_eq!(found.picture.has_alpha(), kind.contains("alpha"), "{kind}");
        assert_eq!(found.picture.clone().with_channels(3).channels, 3);
    }
    // A band is not taken for transparency.
    let band = made(4, 2, &[0]).picture;
    assert_eq!(band.to_rgb8().into_raw(), [10, 20, 30]);
}

#[test]
fn premultiplied_colours_are_divided_by_alpha() {
    // Half of white, a quarter of a dark grey, nothing, and a colour above its alpha.
    let page = Made::new(4, 1, 8, 2, 1, vec![128, 128, 10, 64, 0, 0, 200, 100]).with(338, SHORT, &[1]);
    let found = decoded(&build(Order::default(), &[page]));
    assert_eq!(found.picture.samples, [65535, 128 * 257, 10240, 64 * 257, 0, 0, 65535, 100 * 257]);
    assert_eq!(found.kind(), "8-bit grey with alpha (divided out) TIFF");
}

#[test]
fn signed_samples_are_read_where_none_is_negative() {
    let page = |samples: [i16; 2]| {
        let strip = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        Made::new(2, 1, 16, 1, 1, strip).with(339, SHORT, &[2])
    };
    assert_eq!(decoded(&build(Order::default(), &[page([0, 1234])])).picture.samples, [0, 1234]);
    assert!(refused(page([5, -300])).contains("signed and some are below 0, such as -300"));
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let rgb = || Made::new(2, 1, 8, 3, 2, noise(6));
    let cases = [
        (Made::new(1, 1, 8, 6, 1, noise(6)), "6 samples a pixel; up to 4 are read"),
        (Made::new(1, 1, 32, 1, 1, noise(4)).with(339, SHORT, &[3]), "32-bit floats"),
        (Made::new(1, 1, 32, 1, 1, noise(4)), "32-bit integers"),
        (Made::new(2, 1, 12, 1, 1, noise(3)), "12 bits"),
        (Made::new(2, 1, 4, 3, 2, noise(3)), "3 samples have 4 bits each"),
        (rgb().with(258, SHORT, &[8, 8, 4]), "different numbers of bits"),
        (rgb().with(262, SHORT, &[6]), "YCbCr"),
        (rgb().with(262, SHORT, &[8]), "L*a*b*"),
        (rgb().with(262, SHORT, &[32803]), "camera's sensor"),
        (rgb().with(259, SHORT, &[34712]), "JPEG 2000"),
        (rgb().with(259, SHORT, &[34887]), "LERC"),
        (rgb().with(266, SHORT, &[2]), "FillOrder"),
        (rgb().with(257, LONG, &[900]), "ends too early"),
    ];
    for (page, words) in cases {
        let error = refused(page);
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn thumbnails_and_masks_are_no_pages() {
    let page = |grey: u8| Made::new(1, 1, 8, 1, 1, vec![grey]);
    let pages = |pages: &[Made]| {
        let file = build(Order::default(), pages);
        super::pages(&mut Cursor::new(&file)).expect("a list of directories").len()
    };
    let thumbnail = page(1).with(254, LONG, &[1]);
    let mask = page(2).with(254, LONG, &[4]);
    let old_thumbnail = page(3).with(255, SHORT, &[2]);
    assert_eq!(pages(&[page(1), page(2), page(3)]), 3);
    assert_eq!(pages(&[page(1), thumbnail.clone(), mask.clone(), old_thumbnail, page(2).with(254, LONG, &[2])]), 2);
    assert_eq!(pages(&[thumbnail.clone(), mask.clone()]), 1);
    // The picture is found, also behind its thumbnail.
    let file = build(Order::default(), &[thumbnail, mask, page(9)]);
    assert_eq!(decoded(&file).picture.samples, [9 * 257]);
    let stack = build(Order::default(), &[page(1), page(2)]);
    let error = file::decode(&stack).map(drop).expect_err("two pages").to_string();
    assert!(error.contains("2 pages, of which one would be used: split it"), "{error}");
}

#[test]
fn directories_in_a_circle_and_beyond_the_end_are_refused() {
    let file = build(Order::default(), &[Made::new(1, 1, 8, 1, 1, vec![1])]);
    let mut circle = file.clone();
    let (first, link) = (file[4..8].to_vec(), file.len() - 4);
    circle[link..].copy_from_slice(&first);
    let error = |bytes: Vec<u8>| file::decode(&bytes).map(drop).expect_err("it is damaged").to_string();
    assert!(error(circle).contains("circle"));
    let mut beyond = file.clone();
    beyond[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(beyond).contains("beyond its end"));
    for length in 0..file.len() {
        assert!(file::decode(&file[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_size_that_lies_is_refused_before_it_takes_memory() {
    let lying = [
        Made::new(60_000, 60_000, 8, 3, 2, noise(6)),
        Made::new(u64::from(u32::MAX), u64::from(u32::MAX), 16, 4, 2, noise(6)),
        // Tiles of which each alone is larger than any picture.
        Made { is_tiled: true, ..Made::new(2, 1, 8, 3, 2, noise(6)) }.with(322, LONG, &[1 << 30]).with(
            323,
            LONG,
            &[1 << 30],
        ),
    ];
    for page in lying {
        let error = refused(page);
        assert!(
            error.contains("MiB when decoded, of 512 at most") && error.contains("PIXTAPE_MAX_PICTURE="),
            "{error}"
        );
    }
}

#[test]
fn georeference_and_resolution_are_written_byte_for_byte() {
    let scale = [10.0_f64, 10.0, 0.0].map(f64::to_bits);
    for order in ORDERS {
        let page = Made::new(2, 1, 8, 1, 1, vec![1, 2])
            .with(282, 5, &[300, 7])
            .with(283, 5, &[301, 9])
            .with(296, SHORT, &[3])
            .with(33550, DOUBLE, &scale)
            .with(34735, SHORT, &[1, 1, 0, 1, 3072, 0, 1, 32633])
            .with(34737, 2, &b"WGS 84|\0".map(u64::from))
            .with(42113, 2, &[48, 0]);
        let found = decoded(&build(order, &[page]));
        assert!(found.carried.is_georeferenced() && found.carried.has_band_tags);
        let written = encoded(FileFormat::Tiff, &found.picture, found.depth, &found.carried).expect("a small file");
        let mut reader = Decoder::new(Cursor::new(&written)).expect("a TIFF");
        let tag = tiff::tags::Tag::from_u16_exhaustive;
        assert_eq!(reader.get_tag_f64_vec(tag(33550)).expect("a tag"), [10.0, 10.0, 0.0]);
        assert_eq!(reader.get_tag_u16_vec(tag(34735)).expect("a tag"), [1, 1, 0, 1, 3072, 0, 1, 32633]);
        assert_eq!(reader.get_tag_ascii_string(tag(34737)).expect("a tag"), "WGS 84|");
        assert_eq!(reader.get_tag_u32_vec(tag(282)).expect("a tag"), [300, 7]);
        assert_eq!(reader.get_tag_u32_vec(tag(283)).expect("a tag"), [301, 9]);
        assert_eq!(reader.get_tag_u32(tag(296)).expect("a tag"), 3);
        assert!(reader.find_tag(tag(42113)).expect("tags").is_none());
        // The half of a picture keeps its resolution alone.
        let half = found.carried.clone().without_georeference();
        assert!(!half.is_georeferenced() && half != CarriedTags::default());
        let again = decoded(&written);
        assert_eq!((again.picture, again.carried.is_georeferenced()), (found.picture, true));
    }
}

/// The writer is forced into the form of files of more than 4 GiB.
#[test]
fn pages_come_back_from_a_bigtiff_of_ours() {
    let picture = |first| Picture::new(Size { width: 3, height: 2 }, 3, (first..first + 18).collect());
    let mut file = Cursor::new(Vec::new());
    let mut writer = TiffWriter::new(&mut file, 5 << 30).expect("in memory");
    for first in [100, 9000] {
        let mut rows = InMemoryRows::new(picture(first));
        writer.page(&mut rows, Depth::Sixteen, &CarriedTags::default()).expect("in memory");
    }
    let file = file.into_inner();
    let pages = super::pages(&mut Cursor::new(&file)).expect("two directories");
    assert!(pages.len() == 2 && pages[0].header.is_bigtiff);
    for (page, first) in pages.iter().zip([100, 9000]) {
        let mut rows = TiffRows::open(Cursor::new(&file), page).expect("a kind that is read");
        assert_eq!(rows.next(2).expect("it is whole"), picture(first));
    }
}

fn plain(picture: &Picture, depth: Depth) -> Vec<u8> {
    encoded(FileFormat::Tiff, picture, depth, &CarriedTags::default()).expect("a small file")
}

#[test]
fn every_picture_comes_back_from_a_tiff_of_ours_and_plain_ones_are_written_as_before() {
    for channels in 1..=4 {
        for has_extra_band in [false, channels % 2 == 0] {
            for (depth, step) in [(Depth::Eight, 257), (Depth::Sixteen, 211)] {
                let samples = (0..6 * channels as u16).map(|i| i * step).collect();
                let picture = Picture { size: Size { width: 3, height: 2 }, channels, has_extra_band, samples };
                let file = plain(&picture, depth);
                let found = decoded(&file);
                assert_eq!((found.picture, found.depth), (picture, depth));
            }
        }
    }
    let rgb: DynamicImage = ImageBuffer::from_fn(7, 5, |x, y| Rgb([x as u8, y as u8, 9])).into();
    let grey: DynamicImage = ImageBuffer::from_fn(7, 5, |x, y| Luma([(x * 900 + y) as u16])).into();
    for image in [rgb, grey] {
        let mut expected = Cursor::new(Vec::new());
        image.write_to(&mut expected, image::ImageFormat::Tiff).expect("in memory");
        let (picture, depth) = (Picture::from_image(image.clone()).expect("8 or 16 bits"), Depth::from_image(&image));
        assert!(plain(&picture, depth) == expected.into_inner());
    }
    let alpha: DynamicImage = ImageBuffer::from_pixel(1, 1, Rgba([1_u8, 2, 3, 4])).into();
    let picture = Picture::from_image(alpha).expect("8 bits");
    assert!(decoded(&plain(&picture, Depth::Eight)).picture.has_alpha());
}
