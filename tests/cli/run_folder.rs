//! The folder of a run: foreign files are never overwritten, one process at a time works in it, and a run that was
//! killed early does not block it.

use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use super::scene::{Scene, TINY, checkpoint, wait_until};

/// More steps than any test waits for.
const ENDLESS: &str = "--steps 100000000";

fn ended(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_folder_with_what_no_run_wrote_is_refused_and_left_alone() {
    let scene = Scene::new();
    let train = |out: &str| format!("train {TINY} --steps 1 --out {out}");
    for (number, (file, named)) in [
        ("report.html", "report.html"),
        ("losses.csv", "losses.csv"),
        ("config.toml", "config.toml"),
        ("samples/step-00000000.png", "samples/step-00000000.png"),
        ("checkpoints/notes.txt", "checkpoints/notes.txt"),
        ("draft.unfinished", "draft.unfinished"),
        ("photos/a.png", "photos/"),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("out-{number}");
        scene.write(&format!("{out}/{file}"), "theirs");
        let error = scene.refused(&train(&out));
        for word in ["--out", &out, named, "choose another folder"] {
            assert!(error.contains(word), "{error}");
        }
    }
    for name in ["a", "b", "c", "d", "e"] {
        scene.write(&format!("many/{name}"), "theirs");
    }
    assert!(scene.refused(&train("many")).contains("a, b, c, and 2 more"));
    // A foreign best checkpoint counts as a run.
    scene.write("best/checkpoints/best.safetensors", "theirs");
    assert!(scene.refused(&train("best")).contains("already holds a run"));

    fs::create_dir(scene.path("empty")).unwrap();
    scene.run(&train("empty"));
    assert_eq!(scene.rows("empty").len(), 1);
}

/// FIFOs and other things in the folder of a new run, in place of its files, and behind --config.
#[cfg(unix)]
#[test]
fn settings_that_cannot_be_read_are_named_and_stay() {
    use std::os::unix::fs::symlink;
    let scene = Scene::new();
    let losses = "epoch,step,d,adv,pixel\n1,1,0.5,0.5,0.5\n";
    let config_path = |out: &str| {
        scene.write(&format!("{out}/losses.csv"), losses);
        scene.path(out).join("config.toml")
    };
    fs::create_dir(config_path("folder")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(config_path("fifo")).status().unwrap();
    assert!(made.success());
    symlink("config.toml", config_path("circle")).unwrap();
    fs::write(config_path("latin"), b"data = \"caf\xe9\"").unwrap();
    fs::write(config_path("cut"), "data = ").unwrap();
    let theirs = "holds what no run of pixtape wrote: config.toml";
    let cases = [
        ("folder", theirs, "it is a folder and no file"),
        ("fifo", theirs, "it is a FIFO and no file"),
        ("circle", "cannot read circle/config.toml: ", "symbolic links"),
        ("latin", theirs, "it is not text in UTF-8"),
        ("cut", theirs, "line 1"),
    ];
    for (out, of_run, of_file) in cases {
        let error = scene.refused(&format!("train {TINY} --steps 1 --out {out}"));
        assert!(error.starts_with("error: --out: ") && error.contains(of_run), "{error}");
        let error = scene.refused(&format!("train --config {out}/config.toml --steps 1 --out new"));
        assert!(error.contains(&format!("{out}/config.toml")) && error.contains(of_file), "{error}");
    }
}

/// After a kill at any moment the same command starts the run over, or there is a checkpoint to resume from.
#[test]
fn a_run_that_was_killed_at_its_beginning_can_be_started_again() {
    let scene = Scene::new();
    let mut begun = 0;
    for attempt in 0..12 {
        let out = format!("run-{attempt}");
        // Without the best checkpoint of an early epoch.
        let line = format!("train {TINY} --batch 100 --validate-every 1000000 --steps 2 --out {out}");
        let mut child = scene.start(&line.replace("--steps 2", ENDLESS));
        // The kill comes when a file of the beginning appears, or after some time.
        let folder = scene.path(&out);
        match attempt % 4 {
            0 => wait_until("the folder", || folder.exists()),
            1 => wait_until("the settings", || folder.join("config.toml").exists()),
            2 => wait_until("the losses", || folder.join("losses.csv").exists()),
            _ => sleep(Duration::from_millis(20 * attempt)),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let is_begun =
            folder.exists() && fs::read_dir(&folder).unwrap().any(|e| e.unwrap().file_name() != "pixtape.lock");
        begun += usize::from(is_begun);
        if is_begun {
            let error = scene.refused(&format!("train --resume {out}"));
            let words = ["no checkpoint to go on from", "the same `pixtape train` command", "starts it over"];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let said = scene.run(&line);
        assert_eq!(said.stderr.contains("it starts over"), is_begun, "{}", said.stderr);
        assert_eq!(scene.rows(&out).len(), 2);
        assert!(!scene.names(&out).iter().any(|name| name.contains("unfinished") || name.contains("lock")));
    }
    assert!(begun >= 6, "{begun}");
    scene.assert_same_run("run-0", "run-2", 2);
}

#[test]
fn a_run_that_starts_over_keeps_the_losses_it_had() {
    let scene = Scene::new();
    let mut child = scene.start(&format!(
        "train {TINY} {ENDLESS} --save-every 1000000 --validate-every 1000000 --sample-every 3 --out run"
    ));
    wait_until("a few steps", || scene.path("run/samples/step-00000006.png").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // Rows wait in memory until the report is written, with the samples at the latest.
    let before = fs::read_to_string(scene.path("run/losses.csv")).unwrap();
    assert!(before.lines().count() > 3, "{before}");
    let said = scene.run(&format!("train {TINY} --batch 100 --steps 1 --out run"));
    assert!(said.stderr.contains("starts over") && said.stderr.contains("losses-kept-1.csv"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(scene.path("run/losses-kept-1.csv")).unwrap(), before);
    assert_eq!(scene.names("run/samples"), ["step-00000000.png", "step-00000001.png"]);
    assert_eq!(scene.rows("run").len(), 1);
}

#[test]
fn a_damaged_newest_checkpoint_names_the_one_to_go_on_from() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 3 --save-every 1 --out run"));
    scene.run(&format!("train {TINY} --steps 4 --out whole"));
    let newest = checkpoint("run", 3);
    let bytes = fs::read(scene.path(&newest)).unwrap();
    scene.write(&newest, &bytes[..bytes.len() / 2]);
    let error = scene.refused("train --resume run --steps 4");
    let words = "with that file moved away the run goes on from step-00000002.safetensors";
    assert!(error.contains("step-00000003.safetensors") && error.contains(words), "{error}");
    fs::rename(scene.path(&newest), scene.path("moved")).unwrap();
    scene.run("train --resume run --steps 4");
    scene.assert_same_run("run", "whole", 4);
}

/// Killed after its first validation and before its first checkpoint by step, a run has its best one.
#[test]
fn a_run_with_only_its_best_checkpoint_goes_on_from_that() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --batch 200 --steps 2 --out run"));
    scene.run(&format!("train {TINY} --batch 200 --steps 4 --out whole"));
    fs::remove_file(scene.path(&checkpoint("run", 2))).unwrap();
    let said = scene.run("train --resume run --steps 4");
    assert!(said.stderr.contains("going on after step 2"), "{}", said.stderr);
    scene.assert_same_run("run", "whole", 4);
}

#[test]
fn of_two_processes_on_one_run_the_second_is_refused_and_no_row_is_lost() {
    let scene = Scene::new();
    let steps =
        |run: &str| fs::read_to_string(scene.path(run).join("losses.csv")).map_or(0, |text| text.lines().count());
    // A new run, and one that goes on.
    for line in [format!("train {TINY} {ENDLESS} --save-every 3 --out run"), format!("train --resume run {ENDLESS}")] {
        let before = steps("run");
        let mut first = scene.start(&line);
        wait_until("a checkpoint", || steps("run") > before + 3 && scene.names("run/checkpoints").len() > 1);
        for second in ["train --resume run".to_owned(), format!("train {TINY} --steps 1 --out run")] {
            let (is_success, error) = ended(scene.start(&second));
            assert!(!is_success, "{second}");
            let is_told = error.contains("another pixtape is at work in run") || error.contains("already holds a run");
            assert!(is_told && error.lines().count() == 1, "{second}: {error}");
        }
        first.kill().unwrap();
        first.wait().unwrap();
    }
    // The lock has gone with its process.
    let said = scene.run("train --resume run --steps 1");
    assert!(!said.stderr.contains("kept"), "{}", said.stderr);
    let last = steps("run") as u64 - 1;
    scene.run(&format!("train --resume run --steps {}", last + 2));
    scene.run(&format!("train {TINY} --steps {} --out whole", last + 2));
    scene.assert_same_run("run", "whole", last + 2);
    assert!(!scene.names("run").contains(&"pixtape.lock".to_owned()));
}

#[test]
fn of_two_that_begin_at_one_moment_one_wins() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --batch 100 --steps 1 --out run"));
    for line in [format!("train {TINY} {ENDLESS} --out new"), format!("train --resume run {ENDLESS}")] {
        let mut both = [scene.start(&line), scene.start(&line)];
        let mut lost = None;
        wait_until("one to give up", || {
            lost = both.iter_mut().position(|child| child.try_wait().unwrap().is_some());
            lost.is_some()
        });
        let [a, b] = both;
        let (loser, mut winner) = if lost == Some(0) { (a, b) } else { (b, a) };
        let (is_success, error) = ended(loser);
        assert!(!is_success && error.lines().count() == 1, "{error}");
        sleep(Duration::from_millis(50));
        assert!(winner.try_wait().unwrap().is_none(), "the other one goes on");
        winner.kill().unwrap();
        winner.wait().unwrap();
    }
}

#[test]
fn what_failed_writes_left_is_cleaned_up_and_nothing_of_others() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --batch 100 --steps 1 --out run"));
    let left = [
        "losses.csv.unfinished",
        "metrics.csv.unfinished",
        "report.html.unfinished",
        "config.toml.unfinished",
        "samples/step-00000009.png.unfinished",
        "checkpoints/step-00000009.safetensors.unfinished",
    ];
    let theirs = ["notes.unfinished", "samples/mine.unfinished", "checkpoints/mine.unfinished"];
    for name in left.iter().chain(&theirs) {
        scene.write(&format!("run/{name}"), "half");
    }
    scene.write("run/config.toml", "");
    scene.run("train --resume run --steps 2");
    for name in left {
        assert!(!scene.path("run").join(name).exists(), "{name}");
    }
    for name in theirs {
        assert_eq!(fs::read(scene.path("run").join(name)).unwrap(), b"half", "{name}");
    }
    assert!(fs::read_to_string(scene.path("run/config.toml")).unwrap().contains("steps = 2"));

    // Folders of a run that a full disk has ended at its first file.
    for folder in ["samples", "checkpoints"] {
        fs::create_dir_all(scene.path("full").join(folder)).unwrap();
    }
    scene.write("full/config.toml", "");
    let said = scene.run(&format!("train {TINY} --batch 100 --steps 1 --out full"));
    assert!(said.stderr.contains("starts over"), "{}", said.stderr);
    assert!(fs::read_to_string(scene.path("full/config.toml")).unwrap().contains("ngf = 2"));
}
