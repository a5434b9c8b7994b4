//! The program with `--device cuda`, as its users run it: the same files as on the CPU, but for what f32 rounds in
//! another order.

use super::driver::on_device;
use crate::cli::scene::{Scene, TINY, checkpoint};

/// Seven pairs in batches of two: epochs end in the middle of a run, and all that is random takes part.
const SETTINGS: &str =
    "--data data --batch 2 --dropout 0.5 --augment jitter --shuffle true --seed 11 --sample-every 100";

fn scene() -> Scene {
    let scene = Scene::on_cuda();
    scene.draw_pairs(
        &["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("data/{name}.png")).each_ref().map(|s| &**s),
    );
    scene
}

/// The tolerance of losses over eight steps, relative to a loss: three times what PyTorch's own f32 strays by in ten
/// (`training::traces`, 64x64).
const LOSSES: f64 = 3e-5;

/// The tolerance of one weight over eight steps: the farthest of 20,000, in eight runs on the CPU whose starting
/// weights differed in the last place, strayed by 3.7e-5, and this is ten times that. It is also what a weight can
/// stray by in one step that goes the other way, twice the learning rate: where a gradient is nearly zero, Adam follows
/// the sign of what rounding left of it.
const FARTHEST_WEIGHT: f64 = 4e-4;

/// The tolerance of the weights in the mean: in those runs at most 1.2e-8. They travel 3.5e-4, a thousand times this;
/// some fifteen of them may stray as far as one can.
const MEAN_WEIGHT: f64 = 3e-7;

fn assert_alike(scene: &Scene, a: &str, b: &str, steps: u64) {
    let losses = |run: &str| -> Vec<f64> {
        let numbers = |row: &String| row.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
        scene.rows(run).iter().flat_map(numbers).collect()
    };
    let (ours, theirs) = (losses(a), losses(b));
    assert_eq!(ours.len() as u64, 8 * steps);
    assert_eq!(theirs.len() as u64, 8 * steps);
    for (a_loss, b_loss) in ours.iter().zip(&theirs) {
        assert!((a_loss - b_loss).abs() <= LOSSES * b_loss.abs(), "{a} and {b}: {a_loss} and {b_loss}");
    }
    let [ours, theirs] = [a, b].map(|run| scene.checkpoint(run, steps));
    let weights = |name: &&String| name.starts_with("generator.") || name.starts_with("discriminator.");
    assert!(ours.tensors.keys().eq(theirs.tensors.keys()));
    let (mut sum, mut count) = (0.0, 0.0);
    for name in ours.tensors.keys().filter(weights) {
        for (x, y) in ours.values(name).into_iter().zip(theirs.values(name)) {
            let off = f64::from((x - y).abs());
            assert!(off <= FARTHEST_WEIGHT, "{a} and {b}: {name} has {x} and {y}");
            sum += off;
            count += 1.0;
        }
    }
    assert!(count > 1e4 && sum / count <= MEAN_WEIGHT, "{a} and {b}: weights are {:e} apart in the mean", sum / count);
    for step in [0, steps] {
        let [a, b] = [a, b].map(|run| format!("{run}/samples/step-{step:08}.png"));
        assert_pictures_alike(scene, &a, &b);
    }
}

/// A number that lies between two bytes may be rounded to either.
fn assert_pictures_alike(scene: &Scene, a: &str, b: &str) {
    let (ours, theirs) = (scene.picture(a), scene.picture(b));
    assert_eq!(ours.dimensions(), theirs.dimensions());
    let farthest = ours.as_raw().iter().zip(theirs.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(farthest <= Some(1), "{a} and {b}: {farthest:?} levels apart");
}

#[test]
fn a_run_goes_on_on_any_device() {
    on_device(|| {
        let scene = scene();
        let run = |out: &str, flags: &str| scene.run(&format!("train {SETTINGS} {TINY} --out {out} {flags}"));
        run("cpu", "--steps 8 --device cpu");
        let said = run("cuda", "--steps 8 --device cuda");
        assert!(said.stderr.contains("cuda:0, "), "{}", said.stderr);
        assert_alike(&scene, "cuda", "cpu", 8);

        run("launched", "--steps 8 --device cuda --cuda-graph false");
        scene.assert_same_run("launched", "cuda", 8);

        // From a device to itself it is the same run to the bit, from one to another the same but for rounding.
        for (from, to) in [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")] {
            let name = format!("{from}-{to}");
            run(&name, &format!("--steps 3 --device {from}"));
            scene.run(&format!("train --resume {name} --steps 8 --device {to}"));
            match from == to {
                true => scene.assert_same_run(&name, "cuda", 8),
                false => assert_alike(&scene, &name, "cpu", 8),
            }
        }
    });
}

#[test]
fn a_trained_generator_makes_the_same_pictures() {
    on_device(|| {
        let scene = scene();
        scene.run(&format!("train {SETTINGS} {TINY} --steps 4 --device cpu --out run"));
        let model = checkpoint("run", 4);
        for dropout in ["--dropout off", "--dropout on --seed 3"] {
            for device in ["cpu", "cuda"] {
                scene.run(&format!("translate {model} data --pairs --out {device} --device {device} {dropout}"));
            }
            let names = scene.names("cuda");
            assert_eq!(names.len(), 7);
            for name in names {
                assert_pictures_alike(&scene, &format!("cuda/{name}"), &format!("cpu/{name}"));
            }
            // One unit in the last digit that is printed: rounding may fall on the other side.
            for (metric, tolerance) in [("L1", 1.01e-4), ("PSNR", 1.01e-2)] {
                let [on_cpu, on_cuda] = ["cpu", "cuda"].map(|device| {
                    let said = scene.run(&format!("evaluate {model} --data data --device {device} {dropout}"));
                    let mut words = said.stdout.split_whitespace().skip_while(|word| *word != metric);
                    words.nth(1).and_then(|word| word.parse::<f64>().ok()).expect("a number behind its name")
                });
                assert!((on_cpu - on_cuda).abs() <= tolerance, "{metric}: {on_cpu} and {on_cuda}");
            }
        }
    });
}
