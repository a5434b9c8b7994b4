//! A run that goes on is the run that was never stopped, bit for bit.

use std::fs;

use pixtape::config::TrainConfig;
use pixtape::gan::Precision;

use super::scene::{Scene, TINY, checkpoint};

/// Seven pairs in batches of two are epochs of three steps: a run of 12 crosses three ends of an epoch, with everything
/// random switched on.
const RESTLESS: &str = "--data data --batch 2 --dropout 0.5 --augment jitter --shuffle true --lr 0.002 --seed 11";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(
        &["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("data/{name}.png")).each_ref().map(|s| &**s),
    );
    scene
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 12 --out a"));
    // Stopped in the middle of an epoch.
    scene.run(&format!("train {RESTLESS} {TINY} --steps 7 --save-every 3 --out b"));
    assert_eq!(scene.rows("b"), scene.rows("a")[..7]);
    let said = scene.run("train --resume b --steps 12");
    assert!(said.stderr.contains("going on after step 7"), "{}", said.stderr);
    scene.assert_same_run("a", "b", 12);

    // Stopped at the end of an epoch, and twice.
    scene.run(&format!("train {RESTLESS} {TINY} --steps 6 --out c"));
    scene.run("train --resume c --steps 8");
    scene.run("train --resume c --steps 12");
    scene.assert_same_run("a", "c", 12);

    // The comparison would fail for a run whose draws start over.
    assert_ne!(scene.column("a", 4)[..3], scene.column("a", 4)[3..6]);
}

/// A run in bf16 repeats itself too. Its checkpoints are of f32, so that it may go on in the other precision, and each
/// precision translates them.
#[test]
fn a_run_in_bf16_goes_on_bit_for_bit_or_in_f32() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --precision bf16 --steps 8 --out a"));
    scene.run(&format!("train {RESTLESS} {TINY} --precision bf16 --steps 5 --out b"));
    scene.run("train --resume b --steps 8");
    scene.assert_same_run("a", "b", 8);
    scene.run(&format!("train {RESTLESS} {TINY} --steps 8 --out c"));
    assert_ne!(scene.rows("a"), scene.rows("c"), "8 bits round");

    scene.run(&format!("train {RESTLESS} {TINY} --precision bf16 --steps 5 --out d"));
    scene.run("train --resume d --steps 8 --precision f32");
    assert_eq!(scene.rows("d")[..5], scene.rows("a")[..5]);
    assert_ne!(scene.rows("d")[5..], scene.rows("a")[5..], "the rest is of another precision");
    let config = fs::read_to_string(scene.path("d/config.toml")).unwrap();
    assert_eq!(TrainConfig::from_toml(&config).unwrap().precision, Precision::F32);

    for precision in ["f32", "bf16"] {
        let translate = format!("translate a data --pairs --dropout off --precision {precision} --out {precision}");
        let said = scene.run(&translate).stdout;
        assert_eq!(said.contains("in bf16"), precision == "bf16", "{said}");
    }
    let pixels = |folder: &str| image::open(scene.path(&format!("{folder}/a.png"))).unwrap().to_rgb8().into_raw();
    let difference = pixels("f32").iter().zip(pixels("bf16")).map(|(&a, b)| a.abs_diff(b)).max();
    assert!(difference.is_some_and(|levels| levels <= 4), "{difference:?} levels of 255");
}

#[test]
fn the_built_in_facades_go_on_too() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --batch 150 --steps 5 --out a"));
    // Two batches of 150 in an epoch of 400.
    assert_eq!(scene.column("a", 0), ["1", "1", "2", "2", "3"]);
    scene.run(&format!("train {TINY} --batch 150 --steps 3 --out b"));
    scene.run("train --resume b --steps 5");
    scene.assert_same_run("a", "b", 5);
}

/// A killed run has rows of steps that its last checkpoint does not know.
#[test]
fn rows_past_the_checkpoint_are_cut_back() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 12 --out a"));
    scene.run(&format!("train {RESTLESS} {TINY} --steps 9 --save-every 5 --keep 5 --out b"));
    fs::remove_file(scene.path(&checkpoint("b", 9))).unwrap();
    let mut log = fs::read_to_string(scene.path("b/losses.csv")).unwrap();
    log.push_str("4,10,9.9,9.9,9.9\n4,11,0.");
    scene.write("b/losses.csv", log);
    let said = scene.run("train --resume b --steps 12");
    assert!(said.stderr.contains("going on after step 5"), "{}", said.stderr);
    scene.assert_same_run("a", "b", 12);
}

#[test]
fn what_changes_no_number_may_change() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 6 --out a --sample-every 400"));
    scene.run(&format!("train {RESTLESS} {TINY} --steps 3 --out b"));
    // The folder may have moved, and the same value given again is no conflict.
    fs::rename(scene.path("b"), scene.path("moved")).unwrap();
    scene.run("train --resume moved --epochs 2 --sample-every 2 --save-every 1 --keep 1 --device cpu --lr 0.002");
    scene.assert_same_run("a", "moved", 6);
    assert_eq!(scene.names("moved/checkpoints"), ["step-00000006.safetensors"]);
    assert!(scene.path("moved/samples/step-00000004.png").exists());
    let config = fs::read_to_string(scene.path("moved/config.toml")).unwrap();
    let config = TrainConfig::from_toml(&config).unwrap();
    assert_eq!((config.steps, config.epochs, config.keep), (None, Some(2), 1));
}

#[test]
fn a_run_that_is_at_its_end_stays_as_it_is() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 3 --out a"));
    let before = (scene.rows("a"), fs::read(scene.path(&checkpoint("a", 3))).unwrap());
    scene.run("train --resume a");
    assert_eq!(before, (scene.rows("a"), fs::read(scene.path(&checkpoint("a", 3))).unwrap()));
}

#[test]
fn another_setting_or_other_data_is_refused() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 3 --out a"));
    for (flags, words) in [
        ("--lr 0.1", ["--lr 0.1", "--lr 0.002"]),
        ("--batch 3", ["--batch 3", "--batch 2"]),
        ("--dropout 0", ["--dropout 0", "--dropout 0.5"]),
        ("--seed 12", ["--seed 12", "--seed 11"]),
        ("--image-size 64", ["--image-size 64", "--image-size 32"]),
        ("--out elsewhere", ["--out elsewhere", "--out a"]),
    ] {
        let error = scene.refused(&format!("train --resume a --steps 5 {flags}"));
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    let picture = scene.picture("data/d.png");
    for (name, number) in [("data/d.png", 9), ("data/h.png", 7)] {
        scene.draw(name, &super::scene::pair(number, 64, 32));
        let error = scene.refused("train --resume a --steps 5");
        assert!(error.contains("training images") && error.contains("same files"), "{error}");
        scene.draw("data/d.png", &picture);
    }
    fs::remove_file(scene.path("data/h.png")).unwrap();
    scene.run("train --resume a --steps 5");
}

#[test]
fn the_same_images_may_lie_elsewhere() {
    let scene = scene();
    scene.run(&format!("train {RESTLESS} {TINY} --steps 12 --out whole"));
    scene.run(&format!("train {RESTLESS} {TINY} --steps 5 --out a"));
    fs::rename(scene.path("data"), scene.path("moved")).unwrap();
    let data = scene.path("data").canonicalize().unwrap_or_else(|_| scene.path("data"));
    let error = scene.refused("train --resume a --steps 12");
    for word in ["which is not there", "--data", &data.display().to_string()] {
        assert!(error.contains(word), "{error}");
    }
    let said = scene.run("train --resume a --steps 9 --data moved");
    assert!(said.stderr.contains("on ") && said.stderr.contains("moved"), "{}", said.stderr);
    let moved = scene.path("moved").canonicalize().unwrap();
    let config = |text: &str| TrainConfig::from_toml(text).unwrap().data;
    assert_eq!(config(&fs::read_to_string(scene.path("a/config.toml")).unwrap()).as_ref(), Some(&moved));
    assert_eq!(config(&scene.checkpoint("a", 9).about["pixtape.config"]).as_ref(), Some(&moved));
    // The run remembers the new folder from then on.
    scene.run("train --resume a --steps 12");
    scene.assert_same_run("a", "whole", 12);

    // Others are refused, with both folders.
    scene.draw_pairs(&["other/a.png", "other/b.png"]);
    let error = scene.refused("train --resume a --steps 14 --data other");
    for word in ["--data", "other", &moved.display().to_string(), "same files"] {
        assert!(error.contains(word), "{error}");
    }
    scene.run(&format!("train {TINY} --batch 100 --steps 1 --out facades"));
    let error = scene.refused("train --resume facades --steps 2 --data other");
    assert!(error.contains("--data") && error.contains("built-in facades"), "{error}");
}

#[test]
fn what_is_no_run_is_refused() {
    let scene = scene();
    assert!(scene.refused("train --resume nowhere").contains("nowhere does not exist"));
    assert!(scene.refused("train --resume data").contains("no checkpoint in data"));
    scene.run(&format!("train {RESTLESS} {TINY} --steps 3 --out a"));
    let file = checkpoint("a", 3);
    assert!(scene.refused(&format!("train --resume {file}")).contains("give the folder of a run"));
    assert!(scene.refused(&format!("train {TINY} --steps 3 --out a")).contains("--resume a"));
}
