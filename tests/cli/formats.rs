//! Kinds of picture files: those that are read, the reports on them, and the properties that `translate` keeps.

use std::fs;
use std::io::Cursor;

use image::{ColorType, ImageBuffer, Luma, Rgba, RgbaImage};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use super::scene::{Scene, TINY, half, pair};
use super::tiff::{DOUBLE, Order, Page, SHORT, build};

/// A run that translates, after one step on the built-in facades.
fn trained(flags: &str) -> Scene {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out run {flags}"));
    scene
}

/// A page of 32x32 with samples that differ from page to page.
fn page(samples: usize, photometric: u64, number: usize) -> Page {
    let strip = (0..32 * 32 * samples).map(|i| (i * (7 + number) + i / 97) as u8).collect();
    Page::new(32, 32, 8, samples as u64, photometric, strip)
}

fn one(page: Page) -> Vec<u8> {
    build(Order::default(), &[page])
}

#[test]
fn a_narrow_range_is_told_and_warned_of() {
    let scene = Scene::new();
    for (side, least, scale) in [("A", 1000, 1), ("B", 0, 64)] {
        fs::create_dir_all(scene.path("data").join(side)).unwrap();
        let image = ImageBuffer::from_fn(32, 32, |x, y| Luma([(least + scale * (x * 32 + y)) as u16]));
        image.save(scene.path(&format!("data/{side}/x.png"))).unwrap();
    }
    let said = scene.run("data check data").stdout;
    assert!(said.contains("\nValues    A 1000 to 2023 of 0 to 65535, B 0 to 65472 of 0 to 65535\n"), "{said}");
    assert!(said.contains("Warning   A uses 1.6 % of its range (1000 to 2023 of 0 to 65535)"), "{said}");
    assert!(!said.contains("Warning   B"), "{said}");
    let said = scene.run(&format!("train --data data {TINY} --steps 1 --out run")).stderr;
    assert!(said.contains("Warning   A uses 1.6 % of its range"), "{said}");
}

#[test]
fn a_fourth_band_reaches_the_network_and_is_no_alpha() {
    let scene = Scene::new();
    scene.write("data/A/x.tif", one(page(4, 2, 0)));
    scene.draw("data/B/x.png", &half(0, 0));
    let said = scene.run("data check data").stdout;
    assert!(said.contains("8-bit RGB with a fourth band TIFF (1)"), "{said}");
    assert!(said.contains("Bands     the last band of 1 picture of A is dropped: 4 channels keep it"), "{said}");
    scene.run(&format!("train --data data {TINY} --in-channels 4 --augment none --steps 1 --out run"));
    // The sample shows the three colours, none of them faded by the fourth band.
    let sample = scene.picture("run/samples/step-00000001.png");
    let expected = [0, 7, 14].map(|value| value as u8);
    assert_eq!(sample.get_pixel(0, 0).0, expected);

    let other = page(4, 2, 0);
    let mut strip = other.chunks[0].clone();
    strip.iter_mut().skip(3).step_by(4).for_each(|sample| *sample = 255 - *sample);
    scene.write("in/x.tif", one(other.clone()));
    scene.write("in/y.tif", one(Page { chunks: vec![strip], ..other }));
    scene.run("translate run in --out out --dropout off");
    assert!(fs::read(scene.path("out/x.tif")).unwrap() != fs::read(scene.path("out/y.tif")).unwrap());
}

#[test]
fn channels_that_no_file_has_are_a_warning() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    let said = scene.run(&format!("train --data data {TINY} --in-channels 4 --steps 1 --out run")).stderr;
    let warning = "Warning   no picture of A has a fourth channel: there the networks see the greatest value, opaque, \
                   everywhere";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn hidden_colours_that_are_used_are_said() {
    let scene = trained("");
    let image =
        RgbaImage::from_fn(64, 32, |x, y| Rgba([(x * 4) as u8, (y * 8) as u8, 9, if x < 16 { 0 } else { 255 }]));
    fs::create_dir(scene.path("data")).unwrap();
    image.save(scene.path("data/x.png")).unwrap();
    let said = scene.run("data check data").stdout;
    let expected =
        "Alpha     dropped from 1 picture of A; 50.0 % of the pixels are not opaque, their hidden colours are used";
    assert!(said.contains(expected), "{said}");
    let said = scene.run("translate run data/x.png --out out").stderr;
    assert!(said.contains("Left out of data/x.png: its alpha, which the model does not take"), "{said}");
}

#[test]
fn every_page_is_translated_and_training_refuses_pages() {
    let scene = trained("");
    let pages = [0, 1, 2].map(|number| page(3, 2, number));
    scene.write("in/stack.tif", build(Order::default(), &pages));
    scene.run("translate run in/stack.tif --out out --dropout off");
    let stack = fs::read(scene.path("out/stack.tif")).unwrap();
    let mut stack = Decoder::new(Cursor::new(&stack)).unwrap();
    for (number, page) in pages.into_iter().enumerate() {
        let name = format!("page{number}.tif");
        scene.write(&name, one(page));
        scene.run(&format!("translate run {name} --out out --dropout off"));
        let single = fs::read(scene.path("out").join(&name)).unwrap();
        let single = Decoder::new(Cursor::new(&single)).unwrap().read_image().unwrap();
        assert_eq!(format!("{:?}", stack.read_image().unwrap()), format!("{single:?}"), "page {number}");
        assert_eq!(stack.more_images(), number < 2);
        if stack.more_images() {
            stack.next_image().unwrap();
        }
    }
    // Each sample is a file of all pages.
    scene.run("translate run in/stack.tif --out samples --samples 2 --tile --batch 2");
    assert_eq!(scene.names("samples"), ["stack-1.tif", "stack-2.tif"]);
    for name in ["samples/stack-1.tif", "samples/stack-2.tif"] {
        let stack = fs::read(scene.path(name)).unwrap();
        let mut stack = Decoder::new(Cursor::new(&stack)).unwrap();
        let pages = (0..3).take_while(|_| stack.next_image().is_ok()).count();
        assert_eq!(pages, 2, "{name} has that many behind the first");
    }
    scene.run("translate run in/stack.tif --out png --dropout off --format png");
    assert_eq!(scene.names("png"), ["stack-page-1.png", "stack-page-2.png", "stack-page-3.png"]);

    scene.write("data/A/x.tif", fs::read(scene.path("in/stack.tif")).unwrap());
    scene.draw("data/B/x.png", &half(0, 0));
    let expected = "x.tif: it has 3 pages, of which one would be used: split it into files of one page";
    for line in ["train --data data --steps 1 --out no", "data pair --a data/A --b data/B --out no"] {
        let error = scene.refused(line);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn georeference_and_resolution_are_carried_over_where_they_fit() {
    let scene = trained("");
    let scale = [10.0_f64, 10.0, 0.0].map(f64::to_bits);
    let keys = [1, 1, 0, 1, 3072, 0, 1, 32633];
    let geo = || page(3, 2, 0).with(33550, DOUBLE, &scale).with(34735, SHORT, &keys).with(282, 5, &[300, 1]);
    let order = Order { is_big_endian: true, is_big: true };
    scene.write("geo.tif", build(order, &[geo()]));
    scene.write("turned.tif", one(geo().with(274, SHORT, &[6])));
    let tags = |name: &str| {
        let bytes = fs::read(scene.path(name)).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&bytes)).unwrap();
        let scale = decoder.find_tag(Tag::from_u16_exhaustive(33550)).unwrap().map(|tag| tag.into_f64_vec().unwrap());
        let keys = decoder.find_tag(Tag::from_u16_exhaustive(34735)).unwrap().map(|tag| tag.into_u16_vec().unwrap());
        (scale, keys, decoder.get_tag_u32_vec(Tag::XResolution).unwrap())
    };
    assert_eq!(scene.run("translate run geo.tif --out out").stderr, "");
    let keys = keys.map(|key| key as u16).to_vec();
    assert_eq!(tags("out/geo.tif"), (Some(vec![10.0, 10.0, 0.0]), Some(keys), vec![300, 1]));
    for (line, name, words) in [
        ("geo.tif --out pairs --pairs", "pairs/geo.tif", "as half of the picture is translated"),
        ("turned.tif --out turned", "turned/turned.tif", "as the picture is turned upright"),
        ("geo.tif --out png --format png", "", "which only a TIFF holds"),
    ] {
        let said = scene.run(&format!("translate run {line}")).stderr;
        assert!(said.contains("the georeference (GeoTIFF), ") && said.contains(words), "{said}");
        assert!(name.is_empty() || tags(name).0.is_none(), "{name}");
    }
}

#[test]
fn kinds_that_are_not_read_are_named_with_what_to_do() {
    let scene = trained("");
    scene.write("in/six.tif", one(page(6, 1, 0)));
    scene.write("in/float.tif", one(Page::new(1, 1, 32, 1, 1, vec![0; 4]).with(339, SHORT, &[3])));
    let error = scene.refused("translate run in --out out");
    assert!(
        error.contains("six.tif: it has 6 samples a pixel; up to 4 are read: save the bands that matter"),
        "{error}"
    );
    assert!(error.contains("float.tif: its samples are 32-bit floats") && error.contains("scale them"), "{error}");
}

#[test]
fn the_bound_on_a_picture_is_a_variable() {
    let mut scene = trained("");
    scene.draw("x.png", &image::RgbImage::new(700, 700));
    scene.set("PIXTAPE_MAX_PICTURE", "1");
    let error = scene.refused("translate run x.png --out out");
    assert!(error.contains("x.png: it is too large: 2 MiB when decoded, of 1 at most"), "{error}");
    assert!(error.contains("set PIXTAPE_MAX_PICTURE=2"), "{error}");
    scene.set("PIXTAPE_MAX_PICTURE", "many");
    let error = scene.refused("translate run x.png --out out");
    assert!(error.contains("PIXTAPE_MAX_PICTURE=many: write a number of MiB"), "{error}");
    scene.set("PIXTAPE_MAX_PICTURE", "2");
    scene.run("translate run x.png --out out");
}

#[test]
fn the_bound_on_a_picture_holds_for_every_format() {
    let mut scene = Scene::new();
    let endings = ["png", "jpg", "webp", "bmp", "tif"];
    // The samples are 3.4 MiB, independent of the file's size.
    endings.iter().for_each(|ending| scene.draw(&format!("data/{ending}.{ending}"), &pair(0, 1536, 768)));
    scene.set("PIXTAPE_MAX_PICTURE", "3");
    let error = scene.refused(&format!("train --data data {TINY} --steps 1 --out run"));
    assert!(error.starts_with("error: 5 of 5 pairs in "), "{error}");
    for ending in endings {
        let line = error.lines().find(|line| line.contains(&format!("data/{ending}.{ending}: "))).unwrap_or_default();
        for words in ["it is too large: 4 MiB when decoded, of 3 at most", "set PIXTAPE_MAX_PICTURE=4"] {
            assert!(line.contains(words), "{ending}: {error}");
        }
    }
    scene.set("PIXTAPE_MAX_PICTURE", "4");
    let said = scene.run("data check data").stdout;
    assert!(said.contains("\nSizes     768x768 (5)\n") && said.contains("\nEverything can be used\n"), "{said}");
}

#[test]
fn damage_in_the_middle_of_a_jpeg_is_refused() {
    let scene = trained("");
    scene.draw("x.jpg", &pair(0, 256, 128));
    let mut bytes = fs::read(scene.path("x.jpg")).unwrap();
    let middle = bytes.len() / 2;
    bytes.drain(middle..middle + bytes.len() / 4);
    scene.write("x.jpg", bytes);
    let error = scene.refused("translate run x.jpg --out out");
    assert!(error.contains("x.jpg: the JPEG file is damaged"), "{error}");
}

#[test]
fn grey_with_alpha_is_written_as_a_tiff() {
    let scene = trained("--in-channels 1 --out-channels 2");
    scene.draw("x.png", &half(0, 0));
    scene.run("translate run x.png --out out --format tiff --dropout off");
    scene.run("translate run x.png --out out --format png --dropout off");
    let png = image::open(scene.path("out/x.png")).unwrap();
    assert_eq!(png.color(), ColorType::La8);
    let tiff = fs::read(scene.path("out/x.tif")).unwrap();
    let mut tiff = Decoder::new(Cursor::new(&tiff)).unwrap();
    assert_eq!(tiff.get_tag_u32_vec(Tag::ExtraSamples).unwrap(), [2]);
    assert_eq!(format!("{:?}", tiff.read_image().unwrap()), format!("U8({:?})", png.into_luma_alpha8().into_raw()));
}
