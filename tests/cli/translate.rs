//! `pixtape translate`: any picture of any size, with nothing but the run.

use std::fs;

use image::RgbImage;
use image::imageops::crop_imm;

use super::scene::{Scene, checkpoint, half, pair};

/// A folder with a run that has learned enough to answer different inputs with different pictures, and whose data is gone.
fn trained(flags: &str) -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    let network = "--image-size 32 --ngf 4 --ndf 2 --threads 1";
    scene.run(&format!("train --data data {network} --lr 0.02 --steps 20 --save-every 10 --out run {flags}"));
    fs::remove_dir_all(scene.path("data")).unwrap();
    scene
}

#[test]
fn every_picture_comes_back_in_its_own_size_as_a_png() {
    let scene = trained("");
    let sizes = [("odd.png", 37, 53), ("photo.JPG", 96, 40), ("dot.png", 1, 1), ("two.dots.jpeg", 32, 32)];
    for (name, width, height) in sizes {
        scene.draw(&format!("in/{name}"), &pair(1, width, height));
    }
    scene.write("in/notes.txt", "no picture");
    scene.draw("single.png", &pair(2, 70, 31));
    let said = scene.run("translate run in single.png --out deep/out --threads 1");
    assert_eq!(scene.names("deep/out"), ["dot.png", "odd.png", "photo.png", "single.png", "two.dots.png"]);
    let size = |name: &str| scene.picture(&format!("deep/out/{name}.png")).dimensions();
    assert_eq!(
        ["odd", "photo", "dot", "two.dots", "single"].map(size),
        [(37, 53), (96, 40), (1, 1), (32, 32), (70, 31)]
    );
    assert!(said.stdout.contains("5 images into deep/out") && said.stdout.contains("step 20"), "{}", said.stdout);
    assert_eq!(said.stderr, "");
}

/// The padding repeats the last row and column, so the same picture padded by hand gives the same result.
#[test]
fn sizes_are_padded_at_the_edges_and_cropped_back() {
    let scene = trained("");
    let small = pair(3, 37, 30);
    scene.draw("small.png", &small);
    let padded = RgbImage::from_fn(64, 32, |x, y| *small.get_pixel(x.min(36), y.min(29)));
    scene.draw("padded.png", &padded);
    // One at a time: the draws of the dropout depend on the number of the picture.
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

    // It answers what it is shown.
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
    let error = scene.refused("translate run in other --out out");
    assert!(["in/a.png", "other/a.jpg", "out/a.png"].iter().all(|name| error.contains(name)), "{error}");
    assert!(scene.refused("translate run in --out in").contains("overwritten"));

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
