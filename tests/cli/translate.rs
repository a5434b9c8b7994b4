//! `pixtape translate`: pictures of any size, given the run alone.

use std::fs;

use image::imageops::crop_imm;
use image::{ColorType, DynamicImage, ImageFormat, RgbImage};

use super::scene::{Scene, checkpoint, half, pair};

/// A folder with a run that was trained until different inputs give different pictures, and without its data.
fn trained(flags: &str) -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    let network = "--image-size 32 --ngf 4 --ndf 2 --threads 1";
    scene.run(&format!("train --data data {network} --lr 0.02 --steps 20 --save-every 10 --out run {flags}"));
    fs::remove_dir_all(scene.path("data")).unwrap();
    scene
}

#[test]
fn every_picture_comes_back_in_its_own_size_and_format() {
    let scene = trained("");
    let sizes = [("odd.png", 37, 53), ("photo.JPG", 96, 40), ("dot.png", 1, 1), ("two.dots.jpeg", 32, 32)];
    for (name, width, height) in sizes {
        scene.draw(&format!("in/{name}"), &pair(1, width, height));
    }
    scene.write("in/notes.txt", "no picture");
    scene.draw("single.png", &pair(2, 70, 31));
    let said = scene.run("translate run in single.png --out deep/out --threads 1");
    assert_eq!(scene.names("deep/out"), ["dot.png", "odd.png", "photo.JPG", "single.png", "two.dots.jpeg"]);
    let size = |name: &str| scene.picture(&format!("deep/out/{name}")).dimensions();
    assert_eq!(
        ["odd.png", "photo.JPG", "dot.png", "two.dots.jpeg", "single.png"].map(size),
        [(37, 53), (96, 40), (1, 1), (32, 32), (70, 31)]
    );
    assert!(said.stdout.contains("5 images into deep/out") && said.stdout.contains("step 20"), "{}", said.stdout);
    assert_eq!(said.stderr, "Left out 1 file (not a PNG, JPEG, TIFF, WebP or BMP: in/notes.txt)\n");
}

/// The padding repeats the last row and column, so the same picture padded by hand gives the same result.
#[test]
fn sizes_are_padded_at_the_edges_and_cropped_back() {
    let scene = trained("");
    let small = pair(3, 37, 30);
    scene.draw("small.png", &small);
    let padded = RgbImage::from_fn(64, 32, |x, y| *small.get_pixel(x.min(36), y.min(29)));
    scene.draw("padded.png", &padded);
    // Pictures one at a time: the dropout of a picture depends on its number.
    scene.run("translate run small.png --out out");
    scene.run("translate run padded.png --out out");
    let cropped = crop_imm(&scene.picture("out/padded.png"), 0, 0, 37, 30).to_image();
    assert!(scene.picture("out/small.png") == cropped);
}

#[test]
fn a_run_means_its_newest_checkpoint_and_a_file_itself() {
    let scene = trained("");
    scene.draw("x.png", &half(0, 0));
    let translate = |model: &str, out: &str| {
        scene.run(&format!("translate {model} x.png --out {out}"));
        scene.picture(&format!("{out}/x.png"))
    };
    let newest = translate("run", "a");
    assert!(newest == translate(&checkpoint("run", 20), "b"));
    assert!(newest != translate(&checkpoint("run", 10), "c"));

    // The output depends on the input.
    scene.draw("x.png", &half(1, 1));
    assert!(newest != translate("run", "d"));
}

#[test]
fn dropout_is_noise_of_the_seed_and_can_be_off() {
    let scene = trained("");
    scene.draw("in/x.png", &half(0, 0));
    scene.draw("in/y.png", &half(0, 0));
    let translate = |flags: &str, out: &str| {
        scene.run(&format!("translate run in --out {out} {flags}"));
        ["x", "y"].map(|name| scene.picture(&format!("{out}/{name}.png")))
    };
    let [x, y] = translate("--dropout off", "off");
    assert!(x == y);
    assert!([x.clone(), y] == translate("--dropout off --seed 2", "off-2"));
    let noisy = translate("--seed 7", "on");
    assert!(noisy[0] != x && noisy[0] != noisy[1], "pictures have draws of their own");
    assert!(noisy == translate("--dropout on --seed 7", "again"));
    let other = translate("--seed 8", "other");
    assert!(noisy[0] != other[0] && noisy[1] != other[1]);
}

#[test]
fn pairs_are_cut_to_the_half_that_the_run_takes() {
    for (direction, input) in [("a-to-b", 0), ("b-to-a", 1)] {
        let scene = trained(&format!("--direction {direction}"));
        scene.draw("pairs/x.png", &pair(1, 64, 32));
        scene.draw("halves/x.png", &half(1, input));
        scene.run("translate run pairs --pairs --out from-pairs");
        scene.run("translate run halves --out from-halves");
        let translated = scene.picture("from-pairs/x.png");
        assert_eq!(translated.dimensions(), (32, 32));
        assert!(translated == scene.picture("from-halves/x.png"), "{direction}");
    }
}

#[test]
fn nothing_is_written_unless_all_can_be() {
    let scene = trained("");
    scene.draw("in/a.png", &half(0, 0));
    scene.draw("in/b.png", &half(1, 0));

    scene.draw("other/a.jpg", &half(0, 0));
    let error = scene.refused("translate run in other --format png --out out");
    assert!(["in/a.png", "other/a.jpg", "out/a.png"].iter().all(|name| error.contains(name)), "{error}");
    assert!(scene.refused("translate run in --out in").contains("overwritten"));
    // An input must not be overwritten by a sample of another one.
    scene.draw("samples/a.png", &half(0, 0));
    scene.draw("samples/a-2.png", &half(0, 0));
    let error = scene.refused("translate run samples --samples 2 --out samples");
    assert!(error.contains("a-2.png would be overwritten by the translation of samples/a.png"), "{error}");

    let bytes = fs::read(scene.path("in/a.png")).unwrap();
    scene.write("in/cut.png", &bytes[..bytes.len() / 2]);
    scene.write("in/text.png", "no picture");
    let error = scene.refused("translate run in --out out");
    assert!(error.contains("2 of 4 inputs"), "{error}");
    assert!(error.contains("in/cut.png: ") && error.contains("in/text.png: not a PNG"), "{error}");
    fs::remove_file(scene.path("in/cut.png")).unwrap();
    fs::remove_file(scene.path("in/text.png")).unwrap();

    scene.draw("in/odd.png", &pair(0, 33, 32));
    let error = scene.refused("translate run in --pairs --out out");
    assert!(error.contains("in/odd.png") && error.contains("33"), "{error}");

    scene.write("empty/notes.txt", "");
    assert!(scene.refused("translate run empty --out out").contains("no images in empty"));
    assert!(scene.refused("translate run nowhere.png --out out").contains("nowhere.png"));
    scene.write("file", "");
    assert!(scene.refused("translate run in --out file/out").contains("file/out"));
}

#[test]
fn a_model_that_cannot_be_used_is_named() {
    let scene = trained("");
    scene.draw("x.png", &half(0, 0));
    assert!(scene.refused("translate nowhere x.png --out out").contains("nowhere does not exist"));
    assert!(scene.refused("translate x.png x.png --out out").contains("not a safetensors file"));
    assert!(scene.refused("translate . x.png --out out").contains("no checkpoint in"));

    let name = "generator.down3.model.0.weight";
    let mut model = scene.checkpoint("run", 20);
    let (shape, _) = model.tensors.get_mut(name).unwrap();
    assert_eq!(*shape, [16, 8, 4, 4]);
    *shape = vec![8, 16, 4, 4];
    model.write(&scene.path("misshapen"));
    let error = scene.refused("translate misshapen x.png --out out");
    assert!(error.contains(name) && error.contains("[8, 16, 4, 4]") && error.contains("[16, 8, 4, 4]"), "{error}");
    model.tensors.remove(name);
    model.write(&scene.path("incomplete"));
    let error = scene.refused("translate incomplete x.png --out out");
    assert!(error.contains(&format!("{name} is missing")) && error.contains("[16, 8, 4, 4]"), "{error}");
    model.about.insert("pixtape.format-version".into(), "3".into());
    model.write(&scene.path("future"));
    let error = scene.refused("translate future x.png --out out");
    assert!(error.contains("format 3") && error.contains("format 2"), "{error}");
}

fn format_of(scene: &Scene, name: &str) -> ImageFormat {
    image::guess_format(&fs::read(scene.path(name)).unwrap()).unwrap()
}

fn decoded(scene: &Scene, name: &str) -> DynamicImage {
    let bytes = fs::read(scene.path(name)).unwrap();
    image::load_from_memory_with_format(&bytes, image::guess_format(&bytes).unwrap()).unwrap()
}

#[test]
fn format_and_bits_are_those_of_the_input() {
    let scene = trained("");
    let shallow = DynamicImage::from(half(1, 0));
    let deep = DynamicImage::from(shallow.to_rgb16());
    fs::create_dir(scene.path("in")).unwrap();
    let draw = |name: &str, image: &DynamicImage, format| image.save_with_format(scene.path(name), format).unwrap();
    let kinds = [
        ("png.png", &shallow, ImageFormat::Png, ColorType::Rgb8),
        ("deep.png", &deep, ImageFormat::Png, ColorType::Rgb16),
        ("tiff.TIFF", &shallow, ImageFormat::Tiff, ColorType::Rgb8),
        ("deeptiff.tif", &deep, ImageFormat::Tiff, ColorType::Rgb16),
        ("webp.webp", &shallow, ImageFormat::WebP, ColorType::Rgb8),
        ("bmp.bmp", &shallow, ImageFormat::Bmp, ColorType::Rgb8),
        ("jpeg.jpg", &shallow, ImageFormat::Jpeg, ColorType::Rgb8),
    ];
    for (name, image, format, _) in kinds {
        draw(&format!("in/{name}"), image, format);
    }
    // A grey picture of 16 bits under the ending of another format: the contents decide.
    draw("in/liar.jpg", &deep.to_luma16().into(), ImageFormat::Png);
    scene.run("translate run in --out out --dropout off");
    let expected = decoded(&scene, "out/png.png").to_rgb8();
    for (name, _, format, color) in kinds {
        let name = format!("out/{name}");
        assert_eq!((format_of(&scene, &name), decoded(&scene, &name).color()), (format, color), "{name}");
        // The 16-bit files hold the same picture; to_rgb8 rounds as the program does.
        assert!(format == ImageFormat::Jpeg || decoded(&scene, &name).to_rgb8() == expected, "{name}");
    }
    assert_eq!(
        (format_of(&scene, "out/liar.png"), decoded(&scene, "out/liar.png").color()),
        (ImageFormat::Png, ColorType::Rgb16)
    );
    let samples = decoded(&scene, "out/deep.png").into_rgb16().into_raw();
    assert!(samples.iter().any(|sample| sample % 257 != 0), "8 bits were spread over 16");
    assert!(decoded(&scene, "out/deeptiff.tif").into_rgb16().into_raw() == samples);

    // Another format keeps as many bits as it can.
    scene.run("translate run in/deep.png --out other --dropout off --format tiff");
    assert!(decoded(&scene, "other/deep.tif").into_rgb16().into_raw() == samples);
    scene.run("translate run in/deep.png in/jpeg.jpg --out other --dropout off --format webp");
    assert_eq!(format_of(&scene, "other/jpeg.webp"), ImageFormat::WebP);
    assert!(decoded(&scene, "other/deep.webp").to_rgb8() == expected);
}

#[test]
fn channels_are_the_generators_and_a_format_that_cannot_hold_them_is_refused() {
    let scene = trained("--in-channels 1 --out-channels 4");
    scene.draw("in/x.jpg", &half(0, 0));
    scene.draw("in/y.png", &half(0, 0));
    let error = scene.refused("translate run in --out out");
    assert!(
        error.contains("1 of 2 inputs") && error.contains("in/x.jpg: a JPEG cannot hold RGB with alpha"),
        "{error}"
    );
    assert!(error.contains("choose --format png"), "{error}");
    scene.run("translate run in --out out --format png");
    assert_eq!(["x", "y"].map(|name| decoded(&scene, &format!("out/{name}.png")).color()), [ColorType::Rgba8; 2]);
}

#[test]
fn tiles_without_overlap_are_the_pictures_of_their_own() {
    let scene = trained("");
    let whole = pair(1, 64, 64);
    scene.draw("whole.png", &whole);
    scene.run("translate run whole.png --tile 32 --overlap 0 --dropout off --out out");
    let tiled = scene.picture("out/whole.png");
    for (x, y) in [(0, 0), (32, 0), (0, 32), (32, 32)] {
        let cut = |picture: &RgbImage| crop_imm(picture, x, y, 32, 32).to_image();
        scene.draw("part.png", &cut(&whole));
        scene.run("translate run part.png --dropout off --out out");
        assert!(cut(&tiled) == scene.picture("out/part.png"), "the tile at {x}, {y}");
    }
}

#[test]
fn tiles_of_any_picture_are_blended() {
    let scene = trained("");
    for (name, width, height) in [("tile", 32, 32), ("small", 20, 9), ("large", 101, 70), ("thin", 90, 5)] {
        scene.draw(&format!("in/{name}.png"), &pair(2, width, height));
    }
    // The training size, and a quarter of it. All of one size, they keep their order: the first number is that of
    // `large`.
    let said = scene.run("translate run in --out tiled --tile");
    assert!(said.stdout.contains("4 images into tiled, in tiles of 32x32 that overlap by 8, "), "{}", said.stdout);
    for name in ["tile", "small", "large", "thin"] {
        let name = format!("{name}.png");
        assert_eq!(
            scene.picture(&format!("tiled/{name}")).dimensions(),
            scene.picture(&format!("in/{name}")).dimensions()
        );
    }
    // One tile is the whole picture to the last bit, dropout included.
    for name in ["tile", "small"] {
        scene.run(&format!("translate run in/{name}.png --out one --tile 32x32"));
        scene.run(&format!("translate run in/{name}.png --out whole"));
        assert!(scene.picture(&format!("one/{name}.png")) == scene.picture(&format!("whole/{name}.png")), "{name}");
    }
    // Each tile has dropout masks of its own: equal tiles give different results.
    scene.draw("equal.png", &RgbImage::from_pixel(64, 32, image::Rgb([9, 99, 199])));
    scene.run("translate run equal.png --tile --overlap 0 --out out");
    let equal = scene.picture("out/equal.png");
    assert!(crop_imm(&equal, 0, 0, 32, 32).to_image() != crop_imm(&equal, 32, 0, 32, 32).to_image());

    // The overlap is a quarter of each side, for any shape of tile.
    let said = scene.run("translate run in --out long --tile 32x160");
    assert!(said.stdout.contains("in tiles of 32x160 that overlap by 8x40, "), "{}", said.stdout);

    let error = scene.refused("translate run in --out out --tile 64x40");
    assert!(error.contains("--tile 64x40") && error.contains("multiples of 32") && error.contains("is 64"), "{error}");
    let error = scene.refused("translate run in --out out --tile 64x32 --overlap 32");
    assert!(error.contains("--overlap 32: must be less") && error.contains(", 32"), "{error}");
}

/// The pictures have sizes, tiles and dropout of their own, and 16 bits to show every difference.
#[test]
fn a_batch_changes_no_bit() {
    for device in ["cpu", "cuda"] {
        let mut scene = trained("");
        if device == "cuda" {
            scene = scene.with_cuda();
        }
        fs::create_dir(scene.path("in")).unwrap();
        for (name, number, width) in [("a", 0, 32), ("b", 1, 60), ("c", 2, 32), ("d", 3, 31), ("e", 4, 33)] {
            let image = DynamicImage::from(pair(number, width, 30)).to_rgb16();
            image.save(scene.path(&format!("in/{name}.png"))).unwrap();
        }
        let translate = |flags: &str, out: &str| {
            scene.run(&format!("translate run in --out {out} --device {device} --threads 1 {flags}"));
            scene
                .names(out)
                .iter()
                .map(|name| fs::read(scene.path(&format!("{out}/{name}"))).unwrap())
                .collect::<Vec<_>>()
        };
        let one = translate("", "one");
        assert!(one == translate("--batch 2", "two"), "{device}");
        assert!(one == translate("--batch 100", "all"), "{device}");
        let tiled = translate("--tile --samples 2", "tiled-one");
        assert_eq!(tiled.len(), 10);
        assert!(tiled == translate("--tile --samples 2 --batch 3", "tiled-three"), "{device}");
    }
}

#[test]
fn samples_are_draws_of_one_picture() {
    let scene = trained("");
    scene.draw("x.png", &half(0, 0));
    let samples = |count: usize, out: &str| {
        let said = scene.run(&format!("translate run x.png --out {out} --seed 5 --samples {count}"));
        let expected: Vec<String> = (1..=count).map(|sample| format!("x-{sample}.png")).collect();
        assert_eq!(scene.names(out), expected);
        assert!(
            said.stdout.contains(&format!("{count} samples of each")) && said.stdout.contains("seed 5"),
            "{}",
            said.stdout
        );
        expected.iter().map(|name| scene.picture(&format!("{out}/{name}"))).collect::<Vec<_>>()
    };
    let three = samples(3, "three");
    assert!(three[0] != three[1] && three[1] != three[2] && three[0] != three[2]);
    assert!(three == samples(5, "five")[..3]);
    scene.run("translate run x.png --out plain --seed 5");
    assert!(scene.picture("plain/x.png") == three[0]);

    let error = scene.refused("translate run x.png --out out --samples 2 --dropout off");
    assert!(error.contains("--samples 2") && error.contains("--dropout on"), "{error}");
    let scene = trained("--dropout 0");
    scene.draw("x.png", &half(0, 0));
    let error = scene.refused("translate run x.png --out out --samples 2");
    assert!(error.contains("--samples 2") && error.contains("no dropout"), "{error}");
}

/// The weights come from the checkpoint for the first size, and from the previous program for the others.
#[test]
fn pictures_of_several_sizes_do_not_depend_on_each_other() {
    let scene = trained("");
    let sizes = [("a", 64, 32), ("b", 32, 32), ("c", 64, 32), ("d", 96, 64)];
    for (name, width, height) in sizes {
        scene.draw(&format!("in/{name}.png"), &pair(1, width, height));
    }
    scene.run("translate run in --out together --dropout off");
    for (name, ..) in sizes {
        scene.run(&format!("translate run in/{name}.png --out alone --dropout off"));
        assert!(
            scene.picture(&format!("together/{name}.png")) == scene.picture(&format!("alone/{name}.png")),
            "{name}"
        );
    }
}
