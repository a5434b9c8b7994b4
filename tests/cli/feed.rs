//! Pictures on their way to a GPU, and losses on their way back: a run is the same with pairs that stay in GPU memory
//! and with copies, and its table is complete wherever it is looked at.

#[cfg(unix)]
use std::process::Command;

use super::scene::{Scene, TINY, checkpoint, wait_until};

/// Seven pairs in batches of two, cropped out of pictures that take 22 MiB together.
const RESTLESS: &str = "--data data --batch 2 --dropout 0.5 --augment jitter --load-size 520 --lr 0.002 --seed 11 \
                        --device cuda";

/// Memory of a GPU that holds the networks of [`TINY`], and not the pairs beside them.
const LITTLE: &str = "16777216";

const RESIDENT: &str = "All training pairs stay in GPU memory, in 22 MiB";

fn scene() -> Scene {
    let scene = Scene::simulated();
    let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("data/{name}.png"));
    scene.draw_pairs(&names.each_ref().map(|name| &**name));
    scene
}

#[test]
fn a_run_on_pairs_in_gpu_memory_is_that_with_copies_and_says_which() {
    let mut scene = scene();
    let resident = scene.run(&format!("train {RESTLESS} {TINY} --steps 8 --out a"));
    assert!(resident.stderr.contains(RESIDENT), "{}", resident.stderr);
    // Stopped in the middle of an epoch.
    scene.run(&format!("train {RESTLESS} {TINY} --steps 4 --out b"));
    scene.run(&format!("train {RESTLESS} {TINY} --steps 4 --out c"));
    scene.run("train --resume b --steps 8");
    scene.assert_same_run("a", "b", 8);

    scene.set("CUDASIM_MEMORY", LITTLE);
    let copied = scene.run("train --resume c --steps 8");
    let line = copied.stderr.lines().find(|line| line.starts_with("Each step copies its pictures to the GPU")).unwrap();
    assert!(line.contains("all training pairs take 22 MiB, and its memory has "), "{line}");
    assert!(!copied.stderr.contains("stay in GPU memory"), "{}", copied.stderr);
    scene.assert_same_run("a", "c", 8);
}

#[test]
fn pairs_that_are_new_in_every_epoch_are_copied() {
    let said = Scene::simulated().run(&format!("train {TINY} --device cuda --steps 1 --out a")).stderr;
    assert!(said.contains("Each step copies its pictures to the GPU: the pairs are new in every epoch"), "{said}");
    // The CPU has one way.
    let said = Scene::new().run(&format!("train {TINY} --device cpu --steps 1 --out a")).stderr;
    assert!(!said.contains("GPU"), "{said}");
}

/// Nothing but the checkpoints asks for the losses here, until the run is asked to end.
#[cfg(unix)]
#[test]
fn losses_are_complete_at_a_checkpoint_and_after_ctrl_c() {
    let scene = scene();
    let line = format!("train {RESTLESS} {TINY} --sample-every 1000000 --save-every 5 --keep 100");
    let mut child = scene.start_with_signals(&format!("{line} --steps 100000000 --out run"));
    for step in [5, 10] {
        wait_until("a checkpoint", || scene.path(&checkpoint("run", step)).exists());
        assert!(scene.rows("run").len() as u64 >= step);
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let steps = scene.rows("run").len() as u64;
    assert!(scene.path(&checkpoint("run", steps)).exists(), "{steps} rows");
    assert_eq!(scene.column("run", 1), (1..=steps).map(|step| step.to_string()).collect::<Vec<_>>());
    scene.run(&format!("{line} --steps {steps} --out whole"));
    scene.assert_same_run("run", "whole", steps);
}

/// The GPU has gone on by then, but what is said and written is about the step itself.
#[test]
fn a_loss_that_is_not_finite_is_named_by_its_step() {
    let scene = scene();
    let line = format!("train {RESTLESS} {TINY} --sample-every 1000000 --steps 40 --out run").replace("0.002", "1e18");
    let error = scene.command(&line).assert().code(1);
    let error = String::from_utf8_lossy(&error.get_output().stderr).into_owned();
    let rows = scene.rows("run");
    let is_finite = |row: &String| {
        row.split(',').filter(|cell| !cell.is_empty()).all(|cell| cell.parse::<f64>().is_ok_and(f64::is_finite))
    };
    let (last, before) = rows.split_last().unwrap();
    assert!(!is_finite(last) && before.iter().all(is_finite), "{rows:?}");
    assert!(rows.len() < 40, "the last step would wait in any case");
    assert!(error.contains(&format!("error: a loss of step {} is not a finite number", rows.len())), "{error}");
    assert!(error.contains("no checkpoint had been saved yet"), "{error}");
}
