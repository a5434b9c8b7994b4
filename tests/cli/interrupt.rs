//! Kills, Ctrl-C and a full disk: after each, at any moment, the newest checkpoint is whole and the run can be resumed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::scene::{Checkpoint, PATIENCE, Scene, TINY, checkpoint, pair, wait_until};

/// A checkpoint of 10 MB: written in ten pieces and synced, which takes long enough to be hit in the middle.
const HEAVY: &str = "--image-size 32 --ngf 16 --ndf 16 --threads 1 --keep 2";

/// More steps than any test waits for.
const ENDLESS: &str = "--steps 100000000";

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The size of the unfinished checkpoint of a step after `step`.
fn unfinished(scene: &Scene, run: &str, step: u64) -> Option<u64> {
    let folder = scene.path(run).join("checkpoints");
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("step-")?.strip_suffix(".safetensors.unfinished")?.parse::<u64>().ok()?;
        (number > step).then(|| entry.metadata().ok()).flatten().map(|about| about.len())
    })
}

/// The steps of the finished checkpoints, which must all be whole.
fn whole_checkpoints(scene: &Scene, run: &str) -> Vec<u64> {
    let finished = scene.names(&format!("{run}/checkpoints")).into_iter().filter(|name| !name.ends_with("unfinished"));
    finished
        .map(|name| {
            let step = name[5..13].parse().unwrap();
            let whole = Checkpoint::read(&scene.path(&checkpoint(run, step)));
            assert_eq!(whole.about["pixtape.step"], step.to_string());
            step
        })
        .collect()
}

#[test]
fn a_kill_in_the_middle_of_saving_costs_nothing() {
    let scene = Scene::new();
    scene.run(&format!("train {HEAVY} --steps 1 --out size"));
    let whole = fs::metadata(scene.path(&checkpoint("size", 1))).unwrap().len();
    assert!(whole > 5_000_000, "{whole}");

    let mut line = format!("train {HEAVY} {ENDLESS} --save-every 1 --out killed");
    let mut newest = 0;
    let mut torn = 0;
    // Kills at the beginning of the file, in the middle, and at its end, before it is renamed. A kill that comes too
    // late for its moment counts as another kill.
    let moments = [0, whole / 4, whole / 2, whole];
    for attempt in 0..40 {
        let moment = moments[attempt % moments.len()];
        let mut child = scene.start(&line);
        // The kill needs an earlier checkpoint of this start.
        wait_until("the first checkpoint", || checkpoint_exists(&scene, "killed", newest + 1));
        wait_until("a save", || unfinished(&scene, "killed", newest + 1).is_some_and(|size| size >= moment));
        child.kill().unwrap();
        child.wait().unwrap();

        let left_over = unfinished(&scene, "killed", 0);
        torn += usize::from(left_over.is_some_and(|size| size < whole));
        let found = whole_checkpoints(&scene, "killed");
        assert!(*found.last().unwrap() > newest, "{found:?} after {newest}");
        newest = *found.last().unwrap();
        line = format!("train --resume killed {ENDLESS}");
        if attempt >= 3 && torn >= 2 {
            break;
        }
    }
    assert!(torn >= 2, "no kill came in the middle of a file");

    let steps = newest + 2;
    scene.run(&format!("train --resume killed --steps {steps} --save-every 1000"));
    scene.run(&format!("train {HEAVY} --steps {steps} --out whole"));
    scene.assert_same_run("killed", "whole", steps);
    // The remains of kills are removed.
    assert_eq!(unfinished(&scene, "killed", 0), None);
}

fn checkpoint_exists(scene: &Scene, run: &str, step: u64) -> bool {
    // The checkpoint may have been pruned already: a newer one will do.
    let Ok(entries) = fs::read_dir(scene.path(run).join("checkpoints")) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let number = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".safetensors"));
        number.is_some_and(|number| number.parse::<u64>().unwrap() >= step)
    })
}

fn outcome(mut child: Child) -> (Output, String) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output, stdout)
}

#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    for name in ["INT", "TERM", "HUP"] {
        let scene = Scene::new();
        let child = scene.start_with_signals(&format!("train {TINY} {ENDLESS} --sample-every 3 --out run"));
        wait_until("the third step", || scene.path("run/samples/step-00000003.png").exists());
        signal(&child, name);
        let (output, stdout) = outcome(child);
        assert_eq!(output.status.code(), Some(0), "{output:?}");

        let steps = scene.rows("run").len() as u64;
        assert!(steps >= 3);
        assert_eq!(whole_checkpoints(&scene, "run"), [steps]);
        assert!(stdout.starts_with(&format!("Stopped after step {steps} of ")), "{stdout}");
        // The picture that the message names exists.
        let picture = format!("step-{steps:08}.png");
        assert!(stdout.contains(&picture) && scene.path("run/samples").join(picture).exists(), "{stdout}");

        // The command that the message gives, with another end of the run.
        let (_, go_on) = stdout.lines().next().unwrap().split_once("pixtape ").unwrap();
        scene.run(&format!("{go_on} --steps {}", steps + 3));
        scene.run(&format!("train {TINY} --steps {} --out whole", steps + 3));
        scene.assert_same_run("run", "whole", steps + 3);
    }
}

/// A step of these takes seconds, so the second Ctrl-C comes before the run can end in order.
const SLOW: &str = "--image-size 64 --ngf 32 --ndf 32 --batch 96 --threads 1";

#[test]
fn a_second_ctrl_c_ends_the_run_at_once() {
    let scene = Scene::new();
    let child = scene.start_with_signals(&format!("train {SLOW} {ENDLESS} --out run"));
    wait_until("the first sample", || scene.path("run/samples/step-00000000.png").exists());
    signal(&child, "INT");
    // Two signals at the same moment are one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal(&child, "INT");
    let (output, stdout) = outcome(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(stdout, "");
    assert_eq!(whole_checkpoints(&scene, "run"), [0; 0]);
}

/// `nohup` ignores SIGHUP, and a script that runs a command in the background SIGINT. Neither ends the run then;
/// SIGTERM does.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let scene = Scene::new();
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" HUP INT; exec "$@""#, "sh"]).arg(assert_cmd::cargo::cargo_bin!("pixtape"));
    command.args(format!("train {TINY} {ENDLESS} --sample-every 3 --out run").split_whitespace());
    let mut child = command.current_dir(scene.path("")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let wait_for_samples = || {
        let before = scene.names("run/samples").len();
        wait_until("more samples", || scene.names("run/samples").len() > before + 1);
    };
    wait_until("the first sample", || scene.path("run/samples/step-00000003.png").exists());
    for name in ["HUP", "INT", "HUP", "INT"] {
        signal(&child, name);
        wait_for_samples();
        assert!(child.try_wait().unwrap().is_none(), "SIG{name} has ended it");
    }
    signal(&child, "TERM");
    let (output, stdout) = outcome(child);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout.starts_with("Stopped after step "), "{stdout}");
}

/// Before the first step there is little to save, but the command in the message must work.
#[test]
fn ctrl_c_before_the_first_step_can_be_gone_on_from() {
    let scene = Scene::new();
    // Ctrl-C is caught before the first line is written; the samples that come next take longer than the signal.
    let mut child =
        scene.start_with_signals(&format!("train --image-size 256 --ngf 8 --ndf 8 --threads 1 {ENDLESS} --out run"));
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("Training run"), "{line}");
    signal(&child, "INT");
    let (output, stdout) = outcome(child);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let steps = scene.rows("run").len() as u64;
    assert_eq!(whole_checkpoints(&scene, "run"), [steps]);
    assert!(stdout.contains("pixtape train --resume run"), "{stdout}");
    scene.run(&format!("train --resume run --steps {}", steps + 1));
    assert_eq!(scene.rows("run").len() as u64, steps + 1);
}

/// Runs a command that may write no file of more than about `kilobytes`, which stands for a disk that is full. Returns
/// its last line on stderr.
fn fails_on_a_full_disk(scene: &Scene, kilobytes: u32, line: &str) -> String {
    // The unit of `ulimit -f` is 512 or 1024 bytes, depending on the shell.
    let limited = format!(r#"trap "" XFSZ; ulimit -f {kilobytes}; exec "$@""#);
    let output = Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(assert_cmd::cargo::cargo_bin!("pixtape"))
        .args(line.split_whitespace())
        .current_dir(scene.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn a_save_that_fails_leaves_the_checkpoint_before() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 2 --out run"));
    let error = fails_on_a_full_disk(&scene, 100, "train --resume run --steps 4");
    assert!(error.starts_with("error: cannot save the checkpoint run/checkpoints/step-00000004"), "{error}");
    assert_eq!(scene.names("run/checkpoints"), ["step-00000002.safetensors"]);

    scene.run("train --resume run --steps 4");
    scene.run(&format!("train {TINY} --steps 4 --out whole"));
    scene.assert_same_run("run", "whole", 4);
}

#[test]
fn a_picture_that_cannot_be_finished_is_not_left_half_written() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 2 --out run"));
    scene.draw("x.png", &pair(1, 300, 200));
    let error = fails_on_a_full_disk(&scene, 1, "translate run x.png --out out");
    assert!(error.starts_with("error: cannot write out/x.png: "), "{error}");
    assert_eq!(scene.names("out"), [""; 0]);

    // The limit is above the size of the settings, and below that of a sample grid.
    let error = fails_on_a_full_disk(&scene, 4, "train --resume run --steps 3 --sample-every 1");
    assert!(error.starts_with("error: cannot write run/samples/step-00000003.png: "), "{error}");
    assert_eq!(scene.names("run/samples"), ["step-00000000.png", "step-00000002.png"]);
}
