//! Files of earlier versions keep working: runs, checkpoints and imports of commit f0f07b7, in
//! `tests/fixtures/f0f07b7`. Files of newer versions are refused by the names of their unknown settings.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scene::{Checkpoint, Scene, TINY, checkpoint};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/f0f07b7").join(name)
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

fn scene() -> Scene {
    let scene = Scene::new();
    for name in ["pairs", "run", "facades", "imported.safetensors"] {
        copy(&fixture(name), &scene.path(name));
    }
    scene
}

/// Asserts that a table begins with the columns of another, with equal numbers up to the effect of the order of sums on
/// this CPU.
#[track_caller]
fn assert_close(table: &str, expected: &str) {
    assert_eq!(table.lines().count(), expected.lines().count(), "{table}");
    for (row, expected_row) in table.lines().zip(expected.lines()) {
        for (cell, expected) in row.split(',').zip(expected_row.split(',')) {
            let is_close = match (cell.parse::<f64>(), expected.parse::<f64>()) {
                // Rounding errors of 1e-7 grow with each step; another setting is seen in the second digit.
                (Ok(cell), Ok(expected)) => (cell - expected).abs() <= 1e-3 * expected.abs().max(0.01),
                _ => cell == expected,
            };
            assert!(is_close, "{row} and {expected_row}");
        }
    }
}

#[test]
fn runs_of_f0f07b7_go_on_as_they_did_then() {
    let scene = scene();
    let read = |name: &str| fs::read_to_string(scene.path(name)).unwrap();
    let expected = |name: &str| fs::read_to_string(fixture(name)).unwrap();
    let before = read("run/losses.csv");
    let said = scene.run("train --resume run --data pairs --steps 9");
    assert!(said.stderr.contains("going on after step 5") && !said.stderr.contains("kept"), "{}", said.stderr);
    // Rows of earlier steps are unchanged, and new columns are empty in them.
    let now = read("run/losses.csv");
    assert_eq!(now.lines().next(), Some("epoch,step,d,adv,pixel,g,d_real,d_fake"));
    for (row, before) in now.lines().zip(before.lines()).skip(1) {
        assert_eq!(row, format!("{before},,,"));
    }
    let [total, d, adv, pixel, real, fake] = [5, 2, 3, 4, 6, 7]
        .map(|index| -> f64 { now.lines().last().unwrap().split(',').nth(index).unwrap().parse().unwrap() });
    // Tolerance for sums in f32.
    assert!((total - (adv + 100.0 * pixel)).abs() <= 1e-6 * total && (d - 0.5 * (real + fake)).abs() <= 1e-6 * d);
    assert_close(&read("run/losses.csv"), &expected("run-to-9-losses.csv"));
    assert_close(&read("run/metrics.csv"), &expected("run-to-9-metrics.csv"));

    scene.run("train --resume facades --steps 7");
    assert_close(&read("facades/losses.csv"), &expected("facades-to-7-losses.csv"));

    // The settings of the old run start a new run as well.
    scene.run("train --config run/config.toml --data pairs --steps 9 --out again");
    assert_close(&read("again/losses.csv"), &expected("run-to-9-losses.csv"));
    // The numbers would differ under other settings.
    assert_ne!(scene.column("run", 4)[4..], scene.column("facades", 4)[2..]);
}

#[test]
fn checkpoints_and_imports_of_f0f07b7_translate_and_evaluate_as_they_did_then() {
    let scene = scene();
    for (model, metrics) in
        [("run", [0.419007, 12.770417, -0.043464]), ("imported.safetensors", [0.460319, 11.552226, -0.074111])]
    {
        scene.run(&format!("translate {model} pairs/val/f.png --pairs --dropout off --out out"));
        let name = model.strip_suffix(".safetensors").unwrap_or(model);
        let expected = image::open(fixture(&format!("{name}-translates-f.png"))).unwrap().into_rgb8();
        let found = scene.picture("out/f.png");
        assert_eq!(found.dimensions(), expected.dimensions());
        let furthest = found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        // A value near the middle between two bytes may be rounded either way.
        assert!(furthest <= Some(1), "{model}: {furthest:?}");

        let said = scene.run(&format!("evaluate {model} --data pairs --dropout off --json"));
        let json: Value = serde_json::from_str(&said.stdout).unwrap();
        for (metric, expected) in ["l1", "psnr", "ssim"].into_iter().zip(metrics) {
            let found = json["summary"][metric]["mean"].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(0.1), "{model}: {metric} {found} {expected}");
        }
    }
}

#[test]
fn settings_of_a_newer_program_are_refused_by_name() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --batch 100 --steps 1 --out run"));
    let file = scene.path(&checkpoint("run", 1));
    for (key, before, after, words) in [
        ("pixtape.config", "lr = ", "sharpness = 2\nwarmth = \"low\"\nlr = ", ["sharpness", "warmth"]),
        ("pixtape.generator", "width = ", "sharpness = 2\nwarmth = 1\nwidth = ", ["sharpness", "warmth"]),
        ("pixtape.config", "\"bicubic\"", "\"sharpest\"", ["sharpest", "bicubic"]),
    ] {
        let whole = fs::read(&file).unwrap();
        let mut newer = Checkpoint::read(&file);
        let text = newer.about[key].replacen(before, after, 1);
        assert_ne!(text, newer.about[key]);
        newer.about.insert(key.to_owned(), text);
        newer.write(&file);
        for line in ["train --resume run", "translate run run/samples --out out", "export run --onnx x.onnx"] {
            let error = scene.refused(line);
            for word in words.into_iter().chain(["step-00000001.safetensors", key, "use the pixtape that wrote them"]) {
                assert!(error.contains(word), "{line}: {word}: {error}");
            }
        }
        fs::write(&file, whole).unwrap();
    }

    // A settings file with an unknown key is distinguished from the settings of a newer version.
    let settings = fs::read_to_string(scene.path("run/config.toml")).unwrap();
    for (text, is_newer) in [(format!("sharpness = 2\n{settings}"), true), ("lr = 1.0\nsharpness = 2\n".into(), false)]
    {
        scene.write("settings.toml", text);
        let error = scene.refused("train --config settings.toml --out new");
        assert!(error.contains("settings.toml, line ") && error.contains("sharpness"), "{error}");
        assert_eq!(error.contains("a newer pixtape"), is_newer, "{error}");
    }
}
