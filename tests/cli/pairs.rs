//! Training on one's own pairs: which files are seen, in which order, which way round and how varied.
//!
//! With [`FROZEN`] networks the pixel loss of a step is a function of the pair that the step saw, so the column of pixel losses
//! tells which pairs were seen.

use std::collections::BTreeSet;

use image::{Rgb, RgbImage};

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

    // With shuffle every epoch shows each pair once, in orders that differ.
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
    // 36x36 cut to 32x32 in one of 25 places, mirrored or not.
    let jittered = different("jitter");
    assert!(jittered > 8, "{jittered} of 50 variants in 24 draws");
}

#[test]
fn pictures_of_any_size_are_resized() {
    let scene = Scene::new();
    scene.draw("data/wide.png", &pair(0, 150, 40));
    scene.draw("data/tall.png", &pair(1, 22, 91));
    scene.run(&format!("train --data data {TINY} --augment jitter --load-size 40x36 --steps 4 --out run"));
    assert_eq!(scene.rows("run").len(), 4);

    // Sides need not be equal.
    let tiny = TINY.replace("--image-size 32", "--image-size 64x32");
    scene.run(&format!("train --data data {tiny} --steps 1 --out oblong"));
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
    assert!(line.contains("leaves out 1 pair, drawn anew each time") && line.contains("batches of 2"), "{line}");

    // In file-name order these are the same ones in every epoch, and that is said too.
    let said = scene.run(&format!("train --data data {TINY} --batch 3 --shuffle false --epochs 2 --out in-order"));
    let line = said.stderr.lines().find(|line| line.contains("leaves out")).unwrap();
    assert!(line.contains("leaves out 2 pairs, the last in order"), "{line}");
}
