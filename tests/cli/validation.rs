//! Held-out pairs: results after an epoch, the best checkpoint, and the reports of the run.

use std::fs;

use serde_json::Value;

use super::scene::{Checkpoint, Scene, TINY, checkpoint};

/// Three pairs to learn from, two that are held out.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/train/a.png", "data/train/b.png", "data/train/c.png", "data/val/d.png", "data/val/e.png"]);
    scene
}

/// The rows of `metrics.csv` as numbers.
fn metrics(scene: &Scene, run: &str) -> Vec<[f64; 5]> {
    let text = fs::read_to_string(scene.path(&format!("{run}/metrics.csv"))).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("epoch,step,l1,psnr,ssim"));
    let row = |line: &str| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        cells.try_into().unwrap()
    };
    lines.map(row).collect()
}

/// The means that `evaluate` finds.
fn evaluate(scene: &Scene, model: &str) -> [f64; 3] {
    let said = scene.run(&format!("evaluate {model} --data data --threads 1 --json"));
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    ["l1", "psnr", "ssim"].map(|metric| json["summary"][metric]["mean"].as_f64().unwrap())
}

fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        // The generator is recorded alone in one case and in a training step in the other: the same sums in f32.
        assert!((a - b).abs() <= 1e-5 * b.abs(), "{a} and {b}");
    }
}

#[test]
fn each_epoch_is_measured_and_the_best_state_is_kept() {
    let scene = scene();
    // A rate at which not every epoch is better than the one before.
    let said = scene.run(&format!(
        "train --data data {TINY} --dropout 0 --lr 0.05 --epochs 6 --save-every 4 --keep 1 --best-by ssim --out run"
    ));
    let rows = metrics(&scene, "run");
    assert_eq!(
        rows.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6].map(|n| {
            let n = f64::from(n);
            (n, 3.0 * n)
        })
    );
    assert_close(&evaluate(&scene, "run"), &rows[5][2..]);
    // Ties go to the earliest, but no two epochs are the same here.
    let best = rows.iter().max_by(|a, b| a[4].total_cmp(&b[4])).unwrap();
    assert_close(&evaluate(&scene, "run/checkpoints/best.safetensors"), &best[2..]);
    assert_eq!(scene.names("run/checkpoints"), ["best.safetensors", "step-00000018.safetensors"]);
    assert_eq!(said.stderr.lines().filter(|line| line.contains("held out: L1 ")).count(), 6, "{}", said.stderr);
    assert!(said.stdout.contains(&format!("SSIM {:.4} on held-out pairs, after epoch {}", best[4], best[0])));
    // Another metric, and fewer validations.
    scene.run(&format!(
        "train --data data {TINY} --dropout 0 --lr 0.05 --epochs 5 --validate-every 2 --best-by psnr --out seldom"
    ));
    let seldom = metrics(&scene, "seldom");
    assert_eq!(seldom, [rows[1], rows[3]]);
    let best = seldom.iter().max_by(|a, b| a[3].total_cmp(&b[3])).unwrap();
    assert_close(&evaluate(&scene, "seldom/checkpoints/best.safetensors"), &best[2..]);
}

/// The results are part of the checkpoint, so they continue without a difference.
#[test]
fn a_resumed_run_has_the_metrics_of_the_uninterrupted_one() {
    let scene = scene();
    let run = |steps: u64, out: &str| {
        scene.run(&format!(
            "train --data data {TINY} --lr 0.05 --dropout 0.5 --steps {steps} --save-every 5 --out {out}"
        ))
    };
    run(12, "a");
    let whole = fs::read_to_string(scene.path("a/metrics.csv")).unwrap();
    assert_eq!(whole.lines().count(), 5);
    // Stopped in the middle of an epoch, and at the end of one.
    for (out, steps) in [("b", 7), ("c", 6)] {
        run(steps, out);
        scene.run(&format!("train --resume {out} --steps 12"));
        scene.assert_same_run("a", out, 12);
        assert_eq!(fs::read_to_string(scene.path(&format!("{out}/metrics.csv"))).unwrap(), whole);
        let history = |run: &str| scene.checkpoint(run, 12).about["pixtape.history"].clone();
        assert_eq!(history("a"), history(out));
        let best = |run: &str| Checkpoint::read(&scene.path(&format!("{run}/checkpoints/best.safetensors")));
        best("a").assert_same(&best(out));
    }
    // A killed run leaves rows of epochs that the checkpoint does not know.
    run(9, "d");
    fs::remove_file(scene.path(&checkpoint("d", 9))).unwrap();
    scene.run("train --resume d --steps 5");
    assert_eq!(metrics(&scene, "d").len(), 1);
    scene.run("train --resume d --steps 12");
    assert_eq!(fs::read_to_string(scene.path("d/metrics.csv")).unwrap(), whole);
}

/// After two validations without progress between them the rate is one that no f32 weight feels, also when the second
/// is only known from a checkpoint.
#[test]
fn a_plateau_lowers_the_rate_of_every_later_epoch() {
    let scene = scene();
    let schedule = "--lr 1e-5 --lr-schedule plateau --lr-patience 0 --lr-factor 1e-30 --dropout 0";
    let run = |epochs: u64, out: &str| {
        scene.run(&format!("train --data data {TINY} {schedule} --epochs {epochs} --save-every 3 --keep 9 --out {out}"))
    };
    run(4, "whole");
    let rows = metrics(&scene, "whole");
    assert!(rows[1][2] > 0.99 * rows[0][2], "this test needs an L1 that stands still: {rows:?}");
    let [first, second, third, last] = [1, 2, 3, 4].map(|epoch| scene.checkpoint("whole", 3 * epoch));
    assert!(first.weights() != second.weights());
    assert!(second.weights() == third.weights() && third.weights() == last.weights());
    run(2, "parts");
    scene.run("train --resume parts --epochs 4");
    scene.assert_same_run("whole", "parts", 12);
}

/// A run may be ended in the middle of a validation; what its checkpoint then lacks is measured before anything else.
#[test]
fn a_validation_that_was_cut_short_is_done_when_the_run_goes_on() {
    let scene = scene();
    let end = |out: &str| format!("train --data data {TINY} --lr 0.05 --dropout 0.5 --steps 6 --out {out}");
    scene.run(&end("a"));
    let path = scene.path(&checkpoint("a", 6));
    let mut cut = Checkpoint::read(&path);
    let mut history: Vec<Value> = serde_json::from_str(&cut.about["pixtape.history"]).unwrap();
    assert_eq!(history.len(), 2);
    history.pop();
    cut.about.insert("pixtape.history".into(), serde_json::to_string(&history).unwrap());
    let whole = fs::read_to_string(scene.path("a/metrics.csv")).unwrap();
    cut.write(&path);
    scene.run("train --resume a");
    assert_eq!(fs::read_to_string(scene.path("a/metrics.csv")).unwrap(), whole);
    let history: Vec<Value> = serde_json::from_str(&scene.checkpoint("a", 6).about["pixtape.history"]).unwrap();
    assert_eq!(history.len(), 2);
}

/// A checkpoint with results that are NaN could not be read again.
#[test]
fn results_that_are_no_numbers_end_the_run_before_a_checkpoint_has_them() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/train/a.png", "data/val/b.png"]);
    // The first update makes weights that are finite and too large to compute with.
    let line = format!("train --data data {TINY} --device cpu --lr 1e30 --epochs 3 --save-every 1 --out run");
    let stderr = scene.command(&line).assert().code(1).get_output().stderr.clone();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains("error: the L1 of the held-out pairs after step 1 is not a finite number"), "{stderr}");
    assert_eq!(scene.names("run/checkpoints"), [""; 0]);
}

#[test]
fn without_held_out_pairs_one_line_says_what_to_do() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    let said = scene.run(&format!("train --data data {TINY} --epochs 1 --out run"));
    assert_eq!(said.stderr.lines().filter(|line| line.contains("--val-split")).count(), 1, "{}", said.stderr);
    assert!(!scene.path("run/metrics.csv").exists() && !scene.path("run/checkpoints/best.safetensors").exists());
    let error = scene.refused(&format!("train --data data {TINY} --lr-schedule plateau --epochs 1 --out other"));
    assert!(error.contains("plateau needs held-out pairs") && error.contains("--val-split"), "{error}");
    // A fraction of the training pairs can be held out instead.
    scene.run(&format!("train --data data {TINY} --val-split 0.5 --epochs 2 --out split"));
    assert_eq!(metrics(&scene, "split").len(), 2);
}

#[test]
fn another_metric_is_another_run() {
    let scene = scene();
    scene.run(&format!("train --data data {TINY} --steps 3 --out a"));
    let error = scene.refused("train --resume a --best-by psnr --steps 5");
    assert!(error.contains("--best-by psnr") && error.contains("--best-by l1"), "{error}");
}

#[test]
fn the_report_shows_the_whole_run_also_after_it_went_on() {
    let scene = scene();
    let report = || fs::read_to_string(scene.path("run/report.html")).unwrap();
    scene.run(&format!("train --data data {TINY} --steps 4 --sample-every 2 --out run"));
    let first = report();
    // Before the first step, and every second.
    assert_eq!(first.matches("data:image/jpeg;base64,").count(), 3);
    assert_eq!(first.matches("<figure class=\"chart\"").count(), 9);
    assert!(first.contains("finished") && first.contains("checkpoints/best.safetensors"));
    scene.run("train --resume run --steps 8");
    let second = report();
    assert_eq!(second.matches("data:image/jpeg;base64,").count(), 5);
    assert!(second.contains("8 / 8") && second.contains("step 2\""), "{second}");
    // A point for each step: those before the resume are there too.
    let points = |html: &str| {
        let line = html.split("<polyline class=\"faint\" points=\"").nth(1).unwrap();
        line.split('"').next().unwrap().split_whitespace().count()
    };
    assert_eq!((points(&first), points(&second)), (4, 8));
    // Two event files: TensorBoard puts them together.
    assert_eq!(scene.names("run/tensorboard").len(), 2);
}
