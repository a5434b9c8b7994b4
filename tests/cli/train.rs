//! A new run: its folder, its output, and that equal settings make equal runs.

use std::fs;

use pixtape::config::TrainConfig;

use super::scene::{Scene, TINY, checkpoint};

#[test]
fn a_run_folder_holds_settings_losses_samples_and_checkpoints() {
    let scene = Scene::new();
    let said =
        scene.run(&format!("train {TINY} --steps 7 --out run --save-every 2 --sample-every 3 --keep 2 --seed 5"));
    let names = ["checkpoints", "config.toml", "losses.csv", "metrics.csv", "report.html", "samples", "tensorboard"];
    assert_eq!(scene.names("run"), names);

    let config = TrainConfig::from_toml(&fs::read_to_string(scene.path("run/config.toml")).unwrap()).unwrap();
    assert_eq!((config.steps, config.epochs, config.ngf, config.seed), (Some(7), None, 2, 5));
    assert_eq!(config.out, std::path::Path::new("run"));
    // Settings that were not given are written as well.
    assert_eq!((config.lr, config.lambda_pixel), (2e-4, 100.0));

    let rows = scene.rows("run");
    assert_eq!(rows.len(), 7);
    for (number, row) in rows.iter().enumerate() {
        let values: Vec<f32> = row.split(',').map(|value| value.parse().unwrap()).collect();
        assert_eq!(values[..2], [1.0, number as f32 + 1.0]);
        assert!(values[2..].len() == 6 && values[2..].iter().all(|value| value.is_finite() && *value > 0.0), "{row}");
        // The pictures are in [-1, 1].
        assert!(values[4] < 2.0, "{row}");
    }

    // Before the first step, every third, and at the end.
    let samples = scene.names("run/samples");
    assert_eq!(samples, [0, 3, 6, 7].map(|step| format!("step-{step:08}.png")));
    for sample in &samples {
        // Four rows of three pictures, enlarged from 32 to 128, four pixels apart.
        let grid = scene.picture(&format!("run/samples/{sample}"));
        assert_eq!(grid.dimensions(), (3 * 128 + 2 * 4, 4 * 128 + 3 * 4));
    }
    let [first, last] = [0, 7].map(|step| scene.picture(&format!("run/samples/step-{step:08}.png")));
    let column = |grid: &image::RgbImage, index: u32| {
        image::imageops::crop_imm(grid, index * 132, 0, 128, grid.height()).to_image().into_raw()
    };
    assert_eq!([column(&first, 0), column(&first, 2)], [column(&last, 0), column(&last, 2)]);
    assert_ne!(column(&first, 1), column(&last, 1), "training has changed nothing");

    let kept = [6, 7].map(|step| format!("step-{step:08}.safetensors"));
    assert_eq!(scene.names("run/checkpoints"), kept);
    let checkpoint = scene.checkpoint("run", 7);
    assert_eq!(checkpoint.about["pixtape.step"], "7");
    assert_eq!(checkpoint.about["pixtape.config"], config.to_toml().unwrap());

    // Off a terminal, progress is plain lines on stderr.
    let line = said.stderr.lines().last().unwrap();
    assert!(line.starts_with("epoch 1/1  step 7/7  "), "{line}");
    assert!(["it/s", "ETA", "d ", "adv ", "pixel "].iter().all(|word| line.contains(word)), "{line}");
    assert!(!said.stderr.contains(['\r', '\x1b']), "{:?}", said.stderr);
    // Stdout names the files to look at.
    assert!(said.stdout.contains("run/samples") && said.stdout.contains("step-00000007.png"), "{}", said.stdout);
    assert!(said.stdout.contains("pixtape translate run "), "{}", said.stdout);
}

#[test]
fn the_same_seed_and_threads_give_the_same_bits_and_another_seed_others() {
    let scene = Scene::new();
    for (run, seed) in [("a", 3), ("b", 3), ("c", 4)] {
        scene.run(&format!("train {TINY} --batch 2 --steps 6 --out {run} --seed {seed}"));
    }
    scene.assert_same_run("a", "b", 6);
    let sample = |run: &str| fs::read(scene.path(run).join("samples/step-00000006.png")).unwrap();
    assert_eq!(sample("a"), sample("b"));
    let pixel = |run: &str| scene.column(run, 4);
    assert!(pixel("a").iter().zip(pixel("c")).all(|(a, c)| *a != c));
    assert_ne!(scene.checkpoint("a", 6).tensors, scene.checkpoint("c", 6).tensors);
}

#[test]
fn two_threads_are_as_repeatable_as_one() {
    let scene = Scene::new();
    for run in ["a", "b"] {
        scene.run(&format!("train --image-size 32 --ngf 8 --ndf 8 --threads 2 --batch 3 --steps 4 --out {run}"));
    }
    scene.assert_same_run("a", "b", 4);
}

/// Looking at a run must not change it.
#[test]
fn samples_and_checkpoints_leave_no_trace_in_the_numbers() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 6 --out often --sample-every 1 --save-every 1"));
    scene.run(&format!("train {TINY} --steps 6 --out seldom"));
    scene.assert_same_run("often", "seldom", 6);
}

#[test]
fn runs_without_a_name_are_numbered() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.run(&format!("train {TINY} --steps 1"));
    }
    assert_eq!(scene.names("runs"), ["facades-builtin-1", "facades-builtin-2"]);
}

#[test]
fn a_settings_file_is_overridden_by_the_command_line() {
    let scene = Scene::new();
    let text =
        "image-size = 32\nngf = 2\nndf = 2\nthreads = 1\nsteps = 9\nbatch = 2\nout = \"from-file\"\nlr = 0.001\n";
    scene.write("settings.toml", text);
    scene.run("train --config settings.toml --steps 3 --out from-line");
    assert!(!scene.path("from-file").exists());
    assert_eq!(scene.rows("from-line").len(), 3);
    let config = fs::read_to_string(scene.path("from-line/config.toml")).unwrap();
    let config = TrainConfig::from_toml(&config).unwrap();
    assert_eq!((config.steps, config.batch, config.lr), (Some(3), 2, 1e-3));

    // The settings of a run make the same run again.
    scene.run("train --config from-line/config.toml --out again");
    scene.assert_same_run("from-line", "again", 3);
}

#[test]
fn epochs_end_a_run_as_steps_do() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png", "data/c.png"]);
    scene.run(&format!("train --data data {TINY} --epochs 2 --out by-epochs"));
    assert_eq!(scene.column("by-epochs", 0), ["1", "1", "1", "2", "2", "2"]);
    // The limit that is reached first ends the run.
    scene.run(&format!("train --data data {TINY} --epochs 2 --steps 4 --out by-steps"));
    assert_eq!(scene.column("by-steps", 1), ["1", "2", "3", "4"]);
    assert!(scene.path(&checkpoint("by-steps", 4)).exists());
}

#[test]
fn start_from_takes_the_weights_of_another_run_and_nothing_else() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 4 --out a --lr 0.01"));
    let from = checkpoint("a", 4);
    scene.run(&format!("train {TINY} --steps 1 --out b --lr 1e-30 --seed 9 --start-from {from}"));
    let (a, b) = (scene.checkpoint("a", 4), scene.checkpoint("b", 1));
    let names: Vec<&String> = a.weights().into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name.starts_with("generator.")));
    assert!(names.iter().any(|name| name.starts_with("discriminator.")));
    for name in names {
        let is_same = a.values(name).iter().zip(b.values(name)).all(|(a, b)| (a - b).abs() <= 1e-20);
        assert!(is_same, "{name}");
    }
    assert_eq!(b.about["pixtape.step"], "1");
    assert_ne!(scene.rows("a")[0], scene.rows("b")[0]);
}

/// `pixtape train 2>&1 | head -1` closes stderr long before the end of the run.
#[test]
fn a_reader_that_has_gone_does_not_end_the_training() {
    let scene = Scene::new();
    let mut child = scene.start(&format!("train {TINY} --steps 5 --out run"));
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert_eq!(scene.rows("run").len(), 5);
    assert!(scene.path(&checkpoint("run", 5)).exists());
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint_before() {
    let scene = Scene::new();
    let said = |line: &str| {
        let output = scene.command(line).assert().code(1).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    let stderr = said(&format!("train {TINY} --steps 9 --save-every 1 --lr 1e30 --out wild"));
    let error = stderr.lines().last().unwrap();
    let steps = scene.rows("wild").len() as u64;
    assert!(steps > 1 && steps < 9, "{steps} steps");
    assert!(error.starts_with(&format!("error: a loss of step {steps} is not a finite number")), "{error}");
    assert!(error.contains(&format!("the checkpoint of step {} is kept", steps - 1)), "{error}");
    assert!(scene.path(&checkpoint("wild", steps - 1)).exists());
    assert!(!scene.path(&checkpoint("wild", steps)).exists());
    // Probabilities that are NaN are not taken for zero or one.
    let stderr = said(&format!("train {TINY} --recipe block-ck --pixel-loss none --steps 40 --lr 1e30 --out wilder"));
    assert!(stderr.lines().last().unwrap().starts_with("error: a loss of step"), "{stderr}");
    // The page of the run reports the end too.
    let report = |run: &str| std::fs::read_to_string(scene.path(run).join("report.html")).unwrap();
    let page = report("wild");
    assert!(page.contains("class=\"state failed\"") && page.contains(error.trim_start_matches("error: ")), "{page}");
    assert!(page.contains("--resume wild"), "{page}");

    // Weights that are not finite from the start.
    let mut weights = scene.checkpoint("wild", steps - 1);
    let (_, bytes) = weights.tensors.get_mut("generator.down1.model.0.weight").unwrap();
    bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    weights.write(&scene.path("broken.safetensors"));
    let stderr = said(&format!("train {TINY} --steps 9 --start-from broken.safetensors --out broken"));
    let error = stderr.lines().last().unwrap();
    assert!(error.starts_with("error: a loss of step 1 is not") && error.contains("no checkpoint"), "{error}");
    assert_eq!(scene.names("broken/checkpoints"), [""; 0]);
    assert!(report("broken").contains("no checkpoint to go on from") && !report("broken").contains("--resume"));
}
