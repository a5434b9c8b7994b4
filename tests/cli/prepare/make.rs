use image::{GrayImage, Luma, Rgb, RgbImage, imageops::crop_imm};

use super::super::scene::{Scene, TINY};
use super::refused;

/// A photograph with areas, lines, and colours that change with the position.
fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let bright = if (x / 12 + y / 9) % 2 == 0 { 1 } else { 3 };
        Rgb([(x * 255 / width / bright) as u8, (y * 255 / height / bright) as u8, (160 / bright) as u8])
    })
}

fn halves(scene: &Scene, name: &str) -> [RgbImage; 2] {
    let pair = scene.picture(name);
    let (width, height) = (pair.width() / 2, pair.height());
    [0, width].map(|left| crop_imm(&pair, left, 0, width, height).to_image())
}

#[test]
fn every_kind_derives_a_from_the_photo_in_b() {
    let scene = Scene::new();
    scene.draw("photos/a.png", &photo(64, 64));
    scene.draw("photos/train/b.jpg", &photo(100, 70));
    for format in ["tiff", "webp", "bmp"] {
        scene.draw(&format!("photos/{format}.{format}"), &photo(64, 64));
    }
    let make = |kind: &str| {
        let said = scene.run(&format!("data make {kind} photos --out {kind} --size 64"));
        assert!(said.stdout.starts_with("Made ") && said.stdout.contains("pairs of 64 in"), "{}", said.stdout);
        assert_eq!(scene.names(kind), ["a.png", "bmp.png", "tiff.png", "train", "webp.png"]);
        for lossless in ["bmp", "tiff", "webp"] {
            assert_eq!(halves(&scene, &format!("{kind}/{lossless}.png"))[1], photo(64, 64));
        }
        let [a, b] = halves(&scene, &format!("{kind}/a.png"));
        assert_eq!(b, photo(64, 64));
        assert_eq!(scene.picture(&format!("{kind}/train/b.png")).dimensions(), (128, 64));
        a
    };
    let is_gray = |picture: &RgbImage| picture.pixels().all(|Rgb([r, g, b])| r == g && g == b);

    let gray = make("colorize");
    assert!(is_gray(&gray) && gray.pixels().any(|pixel| !matches!(pixel.0[0], 0 | 255)));
    let edges = make("edges");
    assert!(edges.pixels().all(|pixel| [[0; 3], [255; 3]].contains(&pixel.0)));
    let black = edges.pixels().filter(|pixel| pixel.0 == [0; 3]).count();
    assert!((200..2000).contains(&black), "{black} of 4096 pixels are edges");
    let low = make("upscale");
    assert!(!is_gray(&low) && low != photo(64, 64));
    let holed = make("inpaint");
    assert!(holed.pixels().zip(photo(64, 64).pixels()).all(|(a, b)| a == b || a.0 == [127; 3]));
    assert_ne!(holed, photo(64, 64));

    // The pairs can be trained on.
    scene.run(&format!("train --data colorize {TINY} --steps 1 --out run"));
}

#[test]
fn options_change_what_they_say() {
    let scene = Scene::new();
    scene.draw("photos/a.png", &photo(200, 100));
    let make = |line: &str, out: &str| {
        scene.run(&format!("data make {line} photos --out {out}"));
        halves(&scene, &format!("{out}/a.png"))
    };
    let [four, whole] = make("upscale --size 96x48", "four");
    assert_eq!(whole.dimensions(), (96, 48));
    let [eight, _] = make("upscale --size 96x48 --factor 8", "eight");
    let error = |low: &RgbImage| -> u64 {
        low.as_raw().iter().zip(whole.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    assert!(error(&eight) > error(&four));
    let [one, _] = make("inpaint --size 64", "one");
    let [two, _] = make("inpaint --size 64 --seed 2", "two");
    let [again, _] = make("inpaint --size 64", "again");
    assert!(one == again && one != two);
}

#[test]
fn small_photographs_are_left_out_and_named() {
    let scene = Scene::new();
    scene.draw("photos/large.png", &photo(80, 70));
    scene.draw("photos/low.png", &photo(80, 60));
    scene.draw("photos/narrow.png", &photo(60, 80));
    scene.write("photos/animation.gif", "not looked at");
    let said = scene.run("data make colorize photos --out pairs --size 64");
    assert!(said.stdout.starts_with("Made 1 pair of 64"), "{}", said.stdout);
    assert!(
        said.stderr.contains("Left out: photos/animation.gif: not a PNG, JPEG, TIFF, WebP or BMP"),
        "{}",
        said.stderr
    );
    let words = "2 of 3 photographs are smaller than --size 64 and left out: photos/low.png, photos/narrow.png";
    assert!(said.stderr.contains(words), "{}", said.stderr);
    assert_eq!(scene.names("pairs"), ["large.png"]);
    // 256 by default.
    refused(&scene, "data make colorize photos --out none", &["all of 3 photographs are smaller than --size 256"]);
}

#[test]
fn photographs_are_turned_as_their_camera_says() {
    let scene = Scene::new();
    scene.draw("photos/a.jpg", &RgbImage::from_fn(64, 32, |x, _| Rgb([if x < 32 { 250 } else { 5 }; 3])));
    let jpeg = std::fs::read(scene.path("photos/a.jpg")).unwrap();
    // An EXIF segment with one entry: orientation 6, a quarter turn clockwise.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let payload = [b"Exif\0\0".as_slice(), tiff].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    let turned = [&jpeg[..2], &[0xFF, 0xE1], &length, &payload, &jpeg[2..]].concat();
    scene.write("photos/a.jpg", turned);
    scene.run("data make colorize photos --out pairs --size 32x64");
    let [_, b] = halves(&scene, "pairs/a.png");
    assert!(b.get_pixel(16, 5).0[0] > 200 && b.get_pixel(16, 60).0[0] < 60, "the bright left is on top");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let scene = Scene::new();
    scene.draw("photos/a.png", &photo(70, 70));
    scene.draw("photos/a.jpg", &photo(70, 70));
    scene.write("photos/text.png", "no picture");
    let words = ["2 problems", "photos/a.jpg and photos/a.png have one name", "photos/text.png"];
    refused(&scene, "data make edges photos --out pairs", &words);
    refused(&scene, "data make edges nowhere --out pairs", &["there is no folder nowhere"]);
    refused(&scene, "data make edges photos --out pairs --factor 2", &["--factor is for `upscale`"]);
    refused(&scene, "data make upscale photos --out pairs --factor 3", &["--factor 3 does not divide --size 256"]);
    refused(&scene, "data make edges photos --out photos", &["photos is already there"]);

    // Cut short behind its header.
    scene.draw("cut/a.png", &photo(70, 70));
    let bytes = std::fs::read(scene.path("cut/a.png")).unwrap();
    scene.write("cut/a.png", &bytes[..bytes.len() / 2]);
    GrayImage::from_pixel(70, 70, Luma([3])).save(scene.path("cut/b.png")).unwrap();
    refused(&scene, "data make colorize cut --out pairs --size 64", &["1 of 2 photographs", "cut/a.png"]);
}
