//! Training on the user's pairs: selection, order, direction and augmentation.
//!
//! With [`FROZEN`] networks the pixel loss of a step is a function of the pair that the step saw, so the column of
//! pixel losses tells which pairs were seen.

use std::collections::BTreeSet;

use image::{ImageBuffer, Luma, Rgb, RgbImage};

use super::scene::{FROZEN, Scene, TINY, pair};

const RED: Rgb<u8> = Rgb([200, 20, 20]);
const BLUE: Rgb<u8> = Rgb([20, 20, 220]);

fn pixel_losses(scene: &Scene, run: &str, line: &str) -> Vec<String> {
    scene.run(&format!("train {TINY} {FROZEN} --out {run} {line}"));
    scene.column(run, 4)
}

#[test]
fn training_pairs_come_from_train_and_samples_from_what_is_held_out() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/train/a.png", "data/train/b.png", "other/a.png"]);
    let held_out = |name: &str, left, right| {
        scene.draw(name, &RgbImage::from_fn(64, 32, |x, _| if x < 32 { left } else { right }));
    };
    held_out("data/test/x.png", RED, BLUE);
    let said = scene.run(&format!("train --data data {TINY} --batch 2 --steps 2 --out run"));
    // Two pairs of training fill one batch.
    assert_eq!(scene.column("run", 0), ["1", "2"]);
    assert!(!said.stderr.contains("leaves out"), "{}", said.stderr);
    let corners = |run: &str| {
        let grid = scene.picture(&format!("{run}/samples/step-00000002.png"));
        // One row, as there is one held-out pair.
        assert_eq!(grid.dimensions(), (3 * 128 + 8, 128));
        [*grid.get_pixel(0, 0), *grid.get_pixel(391, 0)]
    };
    assert_eq!(corners("run"), [RED, BLUE]);

    // The other way round.
    scene.run(&format!("train --data data --direction b-to-a {TINY} --steps 2 --out back"));
    assert_eq!(corners("back"), [BLUE, RED]);

    // Samples come from val/ where there is one, and from the training pairs where nothing is held out.
    held_out("data/val/y.png", BLUE, BLUE);
    scene.run(&format!("train --data data {TINY} --steps 2 --out val"));
    assert_eq!(corners("val"), [BLUE, BLUE]);
    scene.run(&format!("train --data other {TINY} --steps 2 --out flat"));
    assert_eq!(corners("flat")[0], *pair(2, 64, 32).get_pixel(0, 0));
}

#[test]
fn the_direction_decides_what_is_learned() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    // The same picture with its halves swapped.
    let swapped = RgbImage::from_fn(64, 32, |x, y| *pair(0, 64, 32).get_pixel((x + 32) % 64, y));
    scene.draw("swapped/a.png", &swapped);
    let learn = |run: &str, line: &str| pixel_losses(&scene, run, &format!("{line} --steps 2 --augment none"));
    let forth = learn("forth", "--data data");
    let back = learn("back", "--data data --direction b-to-a");
    assert_eq!(back, learn("back-swapped", "--data swapped"));
    assert_ne!(forth, back);
}

#[test]
fn without_shuffle_pairs_are_seen_in_the_order_of_their_names() {
    let scene = Scene::new();
    // Drawn in another order than that of the names.
    scene.draw_pairs(&["data/c.png", "data/a.png", "data/B.png", "data/d.png"]);
    let one_by_one: Vec<String> = ["B", "a", "c", "d"]
        .into_iter()
        .map(|name| {
            scene.draw(&format!("only-{name}/it.png"), &scene.picture(&format!("data/{name}.png")));
            let line = format!("--data only-{name} --augment none --steps 1");
            pixel_losses(&scene, &format!("run-{name}"), &line).remove(0)
        })
        .collect();
    assert_eq!(one_by_one.iter().collect::<BTreeSet<_>>().len(), 4, "the pairs are told apart");

    let in_order = pixel_losses(&scene, "in-order", "--data data --augment none --shuffle false --epochs 2");
    assert_eq!(in_order, [one_by_one.clone(), one_by_one.clone()].concat());

    // Shuffling shows each pair once in every epoch, in orders that differ.
    let shuffled = pixel_losses(&scene, "shuffled", "--data data --augment none --epochs 4");
    let epochs: Vec<&[String]> = shuffled.chunks(4).collect();
    let all: BTreeSet<&String> = one_by_one.iter().collect();
    assert!(epochs.iter().all(|epoch| epoch.iter().collect::<BTreeSet<_>>() == all));
    assert!(epochs.iter().any(|epoch| *epoch != epochs[0]));
}

#[test]
fn augmentation_varies_a_pair_as_much_as_it_says() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    let different = |augment: &str| {
        let losses = pixel_losses(&scene, augment, &format!("--data data --steps 24 --augment {augment}"));
        losses.into_iter().collect::<BTreeSet<_>>().len()
    };
    assert_eq!(different("none"), 1);
    assert_eq!(different("flip"), 2);
    // 36x36 cut to 32x32 at one of 25 offsets, mirrored or not.
    let jittered = different("jitter");
    assert!(jittered > 8, "{jittered} of 50 variants in 24 draws");
}

/// The same pictures side by side, in two folders, and as files of one stem.
#[test]
fn every_layout_is_the_same_data() {
    let scene = Scene::new();
    for (number, name) in ["x", "y"].into_iter().enumerate() {
        let whole = pair(number as u32, 64, 32);
        let [a, b] = [0, 32].map(|left| image::imageops::crop_imm(&whole, left, 0, 32, 32).to_image());
        scene.draw(&format!("halves/train/{name}.png"), &whole);
        scene.draw(&format!("outer/A/train/{name}.tif"), &a);
        scene.draw(&format!("outer/B/train/{name}.bmp"), &b);
        scene.draw(&format!("inner/train/A/{name}.webp"), &a);
        scene.draw(&format!("inner/train/B/{name}.png"), &b);
        // A PNG under any ending: a JPEG would change the picture.
        scene.draw("a.png", &a);
        scene.write(&format!("stems/{name}.jpg"), std::fs::read(scene.path("a.png")).unwrap());
        scene.draw(&format!("stems/{name}.png"), &b);
    }
    for direction in ["a-to-b", "b-to-a"] {
        let learn = |data: &str| {
            let line = format!("--data {data} --direction {direction} --steps 4 --augment jitter");
            pixel_losses(&scene, &format!("{data}-{direction}"), &line)
        };
        let expected = learn("halves");
        for data in ["outer", "inner", "stems"] {
            assert_eq!(learn(data), expected, "{data} {direction}");
        }
    }
}

#[test]
fn grey_of_16_bits_is_learned_into_colour_and_translated() {
    let scene = Scene::new();
    for name in ["x", "y"] {
        // All values are in the lowest 256 of 65536 levels: black if only 8 bits are kept.
        let deep = ImageBuffer::from_fn(32, 32, |x, y| Luma([(x * 8 + y) as u16]));
        deep.save({
            scene.write(&format!("data/A/{name}.png"), "");
            scene.path(&format!("data/A/{name}.png"))
        })
        .unwrap();
        scene.draw(&format!("data/B/{name}.png"), &pair(1, 32, 32));
    }
    let said = scene.run(&format!("train --data data {TINY} --in-channels 1 --lr 0.01 --steps 3 --out run"));
    assert!(
        said.stderr.contains("16-bit grey PNG (2)") && said.stderr.contains("1 channel in, 3 out"),
        "{}",
        said.stderr
    );
    let checkpoint = scene.checkpoint("run", 3);
    assert_eq!(checkpoint.tensors["generator.down1.model.0.weight"].0, [2, 1, 4, 4]);
    assert_eq!(checkpoint.tensors["discriminator.model.0.weight"].0, [2, 4, 4, 4]);
    scene.run("translate run data/A --out out");
    assert_eq!(image::open(scene.path("out/x.png")).unwrap().color(), image::ColorType::Rgb16);
    assert!(scene.run("evaluate run --data data").stdout.starts_with("2 pairs (all)"));

    // The other way round.
    scene.run(&format!("train --data data {TINY} --direction b-to-a --out-channels 1 --steps 2 --out back"));
    scene.run("translate back data/B --out back-out");
    assert_eq!(image::open(scene.path("back-out/x.png")).unwrap().color(), image::ColorType::L8);
}

#[test]
fn a_share_is_held_out_of_a_flat_folder() {
    let scene = Scene::new();
    let names: Vec<String> = (0..6).map(|number| format!("data/{number}.png")).collect();
    scene.draw_pairs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let said = scene.run(&format!("train --data data {TINY} --val-split 0.34 --epochs 1 --out run"));
    assert!(said.stderr.contains("4 pairs to learn from, 2 pairs held out"), "{}", said.stderr);
    assert_eq!(scene.rows("run").len(), 4);
    let said = scene.run("evaluate run --data data");
    assert!(said.stdout.starts_with("2 pairs (the 0.34 of all held out in training)"), "{}", said.stdout);
    // Another folder is measured whole.
    scene.draw_pairs(&["other/a.png", "other/b.png", "other/c.png"]);
    assert!(scene.run("evaluate run --data other").stdout.starts_with("3 pairs (all)"));
}

#[test]
fn check_tells_what_train_would_find_and_refuse() {
    let scene = Scene::new();
    scene.draw("data/train/a.png", &pair(0, 64, 32));
    scene.draw("data/train/b.png", &pair(1, 80, 32));
    scene.draw("data/test/c.jpg", &pair(2, 64, 32));
    scene.write("data/train/notes.txt", "");
    let said = scene.run("data check data --direction b-to-a");
    let expected = [
        "Found     pairs side by side, the left half (A) is the target, the right (B) the input",
        "Pairs     2 pairs in train/ to learn from, 1 pair in test/ held out",
        "Sizes     32x32 (2), 40x32 (1)",
        "Files     8-bit RGB PNG (2), 8-bit RGB JPEG (1)",
        "Skipped   1 file (not a PNG, JPEG, TIFF, WebP or BMP: train/notes.txt)",
        "Prepared  resized to 256x256 (bicubic), mirrored half of the time",
        "Everything can be used",
    ];
    let (values, others): (Vec<&str>, Vec<&str>) =
        said.stdout.lines().partition(|line| line.starts_with("Values    A "));
    assert_eq!((values.len(), others), (1, expected.to_vec()));

    let failed = |line: &str| {
        let output = scene.command(line).assert().code(1).get_output().clone();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    assert!(scene.run("data check data --preprocess crop --image-size 32").stdout.contains("Everything can be used"));
    let [stdout, stderr] = failed("data check data --preprocess none --image-size 32");
    assert!(stdout.contains("Unusable  ") && stdout.contains("b.png: 40x32 is not the image size 32x32"), "{stdout}");
    assert!(stderr.starts_with("error: 1 pair in data cannot be used"), "{stderr}");
    // A folder of another name than those of splits.
    scene.draw("data/valid/d.png", &pair(3, 64, 32));
    let said = scene.run("data check data");
    let skipped = "Skipped   1 file, 1 folder (a folder that is not looked into: valid; not a PNG, JPEG, TIFF, WebP or \
                   BMP: train/notes.txt)";
    assert!(said.stdout.lines().any(|line| line == skipped), "{}", said.stdout);

    let error = scene.refused("data check data --load-size 300");
    assert!(error.contains("--load-size 300: only with --preprocess scale-width-and-crop"), "{error}");
    scene.run("data check data --load-size 360 --preprocess scale-width-and-crop");

    // All bad files are named in one error, a line each.
    scene.draw("bad/odd.png", &pair(0, 65, 32));
    scene.write("bad/text.png", "no picture");
    let error = scene.refused(&format!("train --data bad {TINY} --steps 1 --out run"));
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines.len() == 3 && lines[0].ends_with("bad cannot be used, repair or remove them:"), "{error}");
    assert!(lines[1].ends_with("its width is odd") && lines[2].contains("text.png: not a PNG"), "{error}");
    assert!(scene.refused("data check nowhere").contains("nowhere"));
    scene.write("empty/notes.txt", "");
    assert!(scene.refused("data check empty").contains("no images in"));
}

#[test]
fn pictures_of_any_size_are_resized() {
    let scene = Scene::new();
    scene.draw("data/wide.png", &pair(0, 150, 40));
    scene.draw("data/tall.png", &pair(1, 102, 91));
    scene.run(&format!("train --data data {TINY} --augment jitter --load-size 40x36 --steps 4 --out run"));
    assert_eq!(scene.rows("run").len(), 4);

    // Sides need not be equal.
    let tiny = TINY.replace("--image-size 32", "--image-size 64x32");
    scene.draw("wide/a.png", &pair(0, 150, 40));
    scene.draw("wide/b.png", &pair(1, 100, 40));
    scene.run(&format!("train --data wide {tiny} --steps 1 --out oblong"));
    let grid = scene.picture("oblong/samples/step-00000001.png");
    assert_eq!(grid.dimensions(), (3 * 256 + 8, 2 * 128 + 4));
}

#[test]
fn pairs_that_do_not_fill_a_batch_are_said() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png", "data/c.png", "data/d.png", "data/e.png"]);
    let said = scene.run(&format!("train --data data {TINY} --batch 2 --epochs 2 --out run"));
    assert_eq!(scene.column("run", 0), ["1", "1", "2", "2"]);
    let line = said.stderr.lines().find(|line| line.contains("leaves out")).unwrap();
    assert!(line.contains("leaves out 1 pair, drawn anew each time") && line.contains("steps of 2"), "{line}");

    // Pairs that are left over are the same ones in every epoch in file-name order, and a message says so.
    let said = scene.run(&format!("train --data data {TINY} --batch 3 --shuffle false --epochs 2 --out in-order"));
    let line = said.stderr.lines().find(|line| line.contains("leaves out")).unwrap();
    assert!(line.contains("leaves out 2 pairs, the last in order"), "{line}");
}
