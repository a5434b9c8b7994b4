//! Recipes and their options: every one trains, goes on, and what cannot be is refused with the reason.

use super::scene::{Scene, TINY};

/// The columns d, adv and pixel of a run's rows.
fn losses(scene: &Scene, run: &str) -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(scene.path(run).join("losses.csv")).expect("losses.csv");
    let rows = text.lines().skip(1).map(|row| {
        let cells: Vec<String> = row.split(',').map(str::to_owned).collect();
        [cells[2].clone(), cells[3].clone(), cells[4].clone()]
    });
    rows.collect()
}

fn finite(cell: &str) -> bool {
    cell.parse::<f32>().is_ok_and(f32::is_finite)
}

/// The ablations of the paper, as the README gives them, and one of every other option.
#[test]
fn every_option_trains() {
    let scene = Scene::new();
    for (number, (options, has_gan, has_pixel)) in [
        ("--recipe isola", true, true),
        ("--recipe block-ck", true, true),
        ("--recipe isola --gan-loss none", false, true),
        ("--recipe isola --pixel-loss none --conditional false", true, false),
        ("--recipe isola --pixel-loss none", true, false),
        ("--recipe isola --conditional false", true, true),
        ("--recipe isola --generator encoder-decoder", true, true),
        ("--recipe isola --receptive-field 1", true, true),
        ("--recipe isola --receptive-field 16 --gan-loss lsgan", true, true),
        (
            "--recipe isola --norm instance-affine --last-layer resize --step-order discriminator-first-fresh",
            true,
            true,
        ),
        ("--recipe block-ck --norm none --receptive-field 34 --halve-d false --init orthogonal", true, true),
        ("--recipe pytorch-gan --block-order act-conv-norm-dropout --pixel-loss l2 --init kaiming", true, true),
        ("--depth 3 --accumulate 2 --step-order discriminator-first --init xavier --init-gain 1", true, true),
        ("--in-channels 1 --out-channels 2 --dropout-at up --lambda-gan 0.5", true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run{number}");
        scene.run(&format!("train {TINY} {options} --steps 2 --out {run}"));
        let rows = losses(&scene, &run);
        assert_eq!(rows.len(), 2, "{options}");
        for [d, adv, pixel] in &rows {
            for (cell, there) in [(d, has_gan), (adv, has_gan), (pixel, has_pixel)] {
                assert_eq!((finite(cell), cell.is_empty()), (there, !there), "{options}: {cell:?}");
            }
        }
        // The second step has felt the first.
        assert_ne!(rows[0], rows[1], "{options}");
    }
}

#[test]
fn a_resumed_run_of_every_recipe_is_the_uninterrupted_one() {
    let scene = Scene::new();
    for recipe in ["isola --lr-schedule step --lr-step-epochs 1", "block-ck --accumulate 2 --norm instance-affine"] {
        let name = recipe.split(' ').next().expect("a name");
        let flags = format!("{TINY} --recipe {recipe}");
        scene.run(&format!("train {flags} --steps 4 --out whole-{name}"));
        scene.run(&format!("train {flags} --steps 2 --out half-{name}"));
        scene.run(&format!("train --resume half-{name} --steps 4"));
        assert_eq!(losses(&scene, &format!("whole-{name}")), losses(&scene, &format!("half-{name}")));
        let weights = |run: &str| {
            let file = scene.path(run).join("checkpoints/step-00000004.safetensors");
            let bytes = std::fs::read(file).expect("a checkpoint");
            let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
            let mut tensors: Vec<(String, Vec<u8>)> =
                tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
            tensors.sort();
            tensors
        };
        assert!(weights(&format!("whole-{name}")) == weights(&format!("half-{name}")), "{recipe}: the weights");
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let scene = Scene::new();
    for (options, words) in [
        ("--gan-loss none --pixel-loss none", "without any loss nothing is learned"),
        ("--lambda-gan 0 --lambda-pixel 0", "no loss of the generator has any weight"),
        ("--gan-loss none --lambda-pixel 0", "no loss of the generator has any weight"),
        ("--receptive-field 286", "nothing left to judge of 32x32 pixels"),
        ("--depth 6", "can be halved 5 times"),
        ("--depth 1", "must be at least 2"),
        ("--lr-patience 3", "--lr-schedule constant does not use it"),
        ("--lr-schedule step --lr-factor 1.5", "must be above 0 and below 1"),
        ("--lr-schedule linear --lr-step-epochs 3", "--lr-schedule linear does not use it"),
        ("--init-gain 0", "must be above 0"),
        ("--gan-loss none --receptive-field 16", "--receptive-field: --gan-loss none has no discriminator"),
        ("--gan-loss none --conditional false", "--conditional: --gan-loss none has no discriminator"),
        ("--pixel-loss none --lambda-pixel 10", "--lambda-pixel: --pixel-loss none has nothing to weigh"),
        ("--dropout 0 --dropout-at up", "--dropout-at: --dropout 0 drops nothing out"),
        ("--resize-filter bilinear", "--resize-filter: nothing is resized"),
        ("--init kaiming --init-gain 1", "--init-gain: --init kaiming has a scale of its own"),
        ("--accumulate 0", "must be at least 1"),
        ("--in-channels 5", "5"),
    ] {
        let error = scene.refused(&format!("train {TINY} --steps 1 --out run {options}"));
        assert!(error.contains(words), "{options}: {error}");
        assert!(!scene.path("run").exists(), "{options} left a folder");
    }
}
