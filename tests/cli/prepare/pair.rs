use image::{ColorType, DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

use super::super::scene::{Scene, TINY};
use super::refused;

fn save(scene: &Scene, name: &str, picture: impl Into<DynamicImage>) {
    scene.write(name, "");
    picture.into().save(scene.path(name)).unwrap();
}

fn plain(width: u32, height: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(colour))
}

#[test]
fn pictures_of_one_name_become_a_pair_in_the_same_part() {
    let scene = Scene::new();
    for (part, number) in [("train", 1), ("train", 2), ("val", 3), ("test", 4)] {
        scene.draw(&format!("photos/{part}/{number}.jpg"), &plain(32, 32, [200, 10, 10]));
        scene.draw(&format!("labels/{part}/{number}.png"), &plain(32, 32, [10, 10, number]));
    }
    scene.write("labels/notes.txt", "no picture");
    scene.write("photos/train/more/9.png", "not looked at");
    scene.write("photos/val/3.gif", "not looked at");
    let said = scene.run("data pair --a photos --b labels --out pairs");
    let left_out = [
        "Left out: photos/val/3.gif: not a PNG, JPEG, TIFF, WebP or BMP",
        "Left out: photos/train/more: a folder that is not looked into",
        "Left out: labels/notes.txt: not a PNG, JPEG, TIFF, WebP or BMP",
    ];
    assert_eq!(said.stderr.lines().collect::<Vec<_>>(), left_out);
    assert_eq!(said.stdout, "Joined 4 pairs into pairs: 2 in train/, 1 in val/, 1 in test/\n");
    assert_eq!(scene.names("."), ["labels", "pairs", "photos"]);
    assert_eq!(scene.names("pairs"), ["test", "train", "val"]);
    assert_eq!(scene.names("pairs/train"), ["1.png", "2.png"]);
    let pair = scene.picture("pairs/test/4.png");
    assert_eq!(pair.dimensions(), (64, 32));
    assert!(pair.get_pixel(31, 31).0[0] > 150);
    assert_eq!(pair.get_pixel(32, 0).0, [10, 10, 4]);
    // The pairs can be trained on.
    scene.run(&format!("train --data pairs {TINY} --steps 1 --out run"));
}

#[test]
fn sixteen_bits_and_colours_of_either_side_are_kept() {
    let scene = Scene::new();
    save(&scene, "a/x.png", ImageBuffer::from_fn(4, 4, |x, y| Luma([(x * 4000 + y) as u16])));
    save(&scene, "b/x.png", plain(4, 4, [1, 2, 3]));
    save(&scene, "a/y.png", GrayImage::from_pixel(4, 4, Luma([5])));
    save(&scene, "b/y.png", GrayImage::from_pixel(4, 4, Luma([6])));
    scene.run("data pair --a a --b b --out pairs");
    let deep = image::open(scene.path("pairs/x.png")).unwrap();
    assert_eq!(deep.color(), ColorType::Rgb16);
    let deep = deep.into_rgb16();
    assert_eq!(deep.get_pixel(3, 2).0, [12002; 3]);
    assert_eq!(deep.get_pixel(4, 0).0, [257, 514, 771]);
    assert_eq!(image::open(scene.path("pairs/y.png")).unwrap().color(), ColorType::L8);
}

#[test]
fn all_that_does_not_match_is_named_at_once() {
    let scene = Scene::new();
    for name in ["a/alone.png", "a/two.png", "a/two.jpg", "a/size.png", "a/train/part.png", "a/good.png"] {
        scene.draw(name, &plain(8, 8, [9; 3]));
    }
    for name in ["b/two.png", "b/other.png", "b/val/part.png", "b/good.png"] {
        scene.draw(name, &plain(8, 8, [9; 3]));
    }
    scene.draw("b/size.png", &plain(8, 9, [9; 3]));
    let expected = [
        "6 problems",
        "a/train/part.png has no partner in b/train",
        "b/val/part.png has no partner in a/val",
        "a/two.jpg and a/two.png have one name",
        "a/size.png is 8x8 and b/size.png is 8x9",
        "a/alone.png has no partner in b",
        "and 1 more",
    ];
    refused(&scene, "data pair --a a --b b --out pairs", &expected);

    refused(&scene, "data pair --a a --b nowhere --out pairs", &["there is no folder nowhere"]);
    scene.write("empty/notes.txt", "");
    refused(&scene, "data pair --a a --b empty --out pairs", &["no images in empty"]);
}

#[test]
fn a_picture_that_cannot_be_read_leaves_no_half_of_a_folder() {
    let scene = Scene::new();
    for name in ["a/1.png", "b/1.png", "a/2.png", "b/2.png", "a/3.png", "b/3.png"] {
        scene.draw(name, &RgbImage::from_fn(40, 40, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])));
    }
    for name in ["a/2.png", "b/3.png"] {
        // The header is good, the rest is missing.
        let bytes = std::fs::read(scene.path(name)).unwrap();
        scene.write(name, &bytes[..bytes.len() / 2]);
    }
    refused(&scene, "data pair --a a --b b --out pairs", &["2 of 3 pairs", "a/2.png", "b/3.png", "nothing is written"]);
    // Files that exist are not lost.
    scene.write("pairs/mine.txt", "");
    refused(&scene, "data pair --a a --b b --out pairs", &["pairs is already there"]);
    refused(&scene, "data pair --a a --b b --out pairs/mine.txt", &["mine.txt is already there"]);
}

#[test]
fn b_is_resized_when_asked_for() {
    let scene = Scene::new();
    scene.draw("a/x.png", &plain(8, 6, [200, 0, 0]));
    scene.draw("b/x.png", &plain(20, 15, [0, 0, 200]));
    // An empty folder is used.
    std::fs::create_dir(scene.path("pairs")).unwrap();
    scene.run("data pair --a a --b b --out pairs/ --resize");
    let pair = scene.picture("pairs/x.png");
    assert_eq!(pair.dimensions(), (16, 6));
    assert_eq!(pair.get_pixel(15, 5).0, [0, 0, 200]);
    assert_eq!(scene.names("pairs"), ["x.png"]);
    assert_eq!(scene.names("."), ["a", "b", "pairs"]);
}
