//! Recipes and their options: all of them train and can be resumed, and impossible combinations are refused with the
//! reason.

use super::scene::{Scene, TINY, tiny_for};

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

/// Each option at least once.
#[test]
fn every_option_trains() {
    let scene = Scene::new();
    for (number, (options, has_gan, has_pixel)) in [
        ("--recipe isola", true, true),
        ("--recipe block-ck", true, true),
        ("--gan-loss none", false, true),
        ("--pixel-loss none --conditional false", true, false),
        ("--generator encoder-decoder --receptive-field 1", true, true),
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
        ("--recipe isola --receptive-field 16 --scales 3 --lambda-feature 10 --accumulate 2", true, true),
        ("--scales 2 --lambda-feature 10 --pixel-loss ssim", true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run{number}");
        // One level more than the smallest network, so that every recipe has dropout at some level.
        let tiny = tiny_for(options).replace("--image-size 32", "--image-size 64");
        scene.run(&format!("train {tiny} {options} --steps 2 --out {run}"));
        let rows = losses(&scene, &run);
        assert_eq!(rows.len(), 2, "{options}");
        for [d, adv, pixel] in &rows {
            for (cell, there) in [(d, has_gan), (adv, has_gan), (pixel, has_pixel)] {
                assert_eq!((finite(cell), cell.is_empty()), (there, !there), "{options}: {cell:?}");
            }
        }
        // The second step starts from the update of the first.
        assert_ne!(rows[0], rows[1], "{options}");
    }
}

/// Each of the paper's ablations is one command of the guide.
#[test]
fn the_ablations_train() {
    let scene = Scene::new();
    let pairs: Vec<String> = (0..10).map(|number| format!("data/{number}.png")).collect();
    scene.draw_pairs(&pairs.iter().map(String::as_str).collect::<Vec<_>>());
    let guide = include_str!("../../docs/guide.md");
    let (_, section) = guide.split_once("### The paper's ablations").expect("the section");
    let section = section.split("\n#").next().unwrap_or_default();
    let mut flags: Vec<&str> =
        section.split('`').filter_map(|text| text.strip_prefix("pixtape train --recipe isola --data DIR")).collect();
    for (number, flags) in flags.iter().enumerate() {
        let narrow = if flags.contains("--gan-loss none") { "--ngf 2" } else { "--ngf 2 --ndf 2" };
        scene.run(&format!("train --recipe isola --data data{flags} {narrow} --steps 1 --out run{number}"));
    }
    flags.sort_unstable();
    let expected = [
        "",
        " --conditional false",
        " --gan-loss none",
        " --generator encoder-decoder --batch 10",
        " --generator encoder-decoder --gan-loss none --batch 10",
        " --pixel-loss none",
        " --pixel-loss none --conditional false",
        " --receptive-field 1",
        " --receptive-field 16",
        " --receptive-field 286",
    ];
    assert_eq!(flags, expected);
}

/// The rate of the second epoch on is one that no f32 weight feels.
#[test]
fn weights_move_at_the_rate_of_the_schedule() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    let schedule = "--lr-schedule step --lr-step-epochs 1 --lr-factor 1e-30";
    scene.run(&format!("train --data data {TINY} {schedule} --epochs 3 --save-every 1 --keep 3 --out run"));
    scene.run(&format!("train --data data {TINY} --lr 1e-30 --steps 1 --out still"));
    let [still, first, second, third] =
        [("still", 1), ("run", 1), ("run", 2), ("run", 3)].map(|(run, step)| scene.checkpoint(run, step));
    assert!(first.weights() != still.weights());
    assert!(first.weights() == second.weights() && second.weights() == third.weights());
}

#[test]
fn past_its_decay_a_run_says_that_the_rate_stays() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    let said = scene.run(&format!("train --data data {TINY} --lr 1e-4 --lr-schedule cosine --epochs 2 --out run"));
    assert!(!said.stderr.contains("learning rate"), "{}", said.stderr);
    let report = || std::fs::read_to_string(scene.path("run/report.html")).expect("the report");
    assert!(report().contains("# train longer, at the rate that its schedule ended with\n"), "{}", report());
    let said = scene.run("train --resume run --epochs 3");
    // 1e-4 x (1 + cos(pi / 2)) / 2
    assert!(
        said.stderr.contains("stays at the 5.00e-5 that its schedule ended with, after epoch 2;"),
        "{}",
        said.stderr
    );
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
        ("--lambda-gan 0 --lambda-pixel 0", "--lambda-gan 0 --lambda-feature 0 --lambda-pixel 0: no loss of the"),
        ("--gan-loss none --lambda-pixel 0", "error: --lambda-pixel 0: no loss of the generator has any weight"),
        ("--pixel-loss none --lambda-gan 0", "error: --lambda-gan 0 --lambda-feature 0: no loss of the generator"),
        ("--receptive-field 286", "leaves no patch of 32x32 pixels"),
        ("--depth 6", "can be halved 5 times"),
        ("--depth 1", "must be at least 2"),
        ("--lr-patience 3", "--lr-schedule constant does not use it"),
        ("--lr-schedule step --lr-factor 1.5", "must be above 0 and below 1"),
        ("--lr-schedule linear --lr-step-epochs 3", "--lr-schedule linear does not use it"),
        ("--init-gain 0", "must be above 0"),
        ("--gan-loss none --receptive-field 16", "--receptive-field: --gan-loss none has no discriminator"),
        ("--ndf 8 --gan-loss none", "--ndf: --gan-loss none has no discriminator"),
        ("--gan-loss none --scales 2", "--scales: --gan-loss none has no discriminator"),
        ("--gan-loss none --lambda-feature 1", "--lambda-feature: --gan-loss none has no discriminator"),
        ("--scales 4", "--scales 4: must be at most 3"),
        ("--scales 2", "--receptive-field 94 --scales 2: a discriminator of this receptive field leaves no patch"),
        ("--gan-loss none --conditional false", "--conditional: --gan-loss none has no discriminator"),
        ("--pixel-loss none --lambda-pixel 10", "--lambda-pixel: --pixel-loss none has nothing to weigh"),
        ("--dropout 0 --dropout-at up", "--dropout-at: no level drops out with --dropout 0"),
        ("--depth 3 --dropout-at up", "--dropout-at: no level drops out with --dropout 0 or this depth"),
        ("--depth 3 --dropout 0.7", "--dropout: no level of this depth drops out"),
        ("--resize-filter bilinear", "--resize-filter: nothing is resized"),
        ("--init kaiming --init-gain 1", "--init-gain: --init kaiming has a scale of its own"),
        ("--accumulate 0", "must be at least 1"),
        ("--in-channels 5", "5"),
    ] {
        let error = scene.refused(&format!("train {} --steps 1 --out run {options}", tiny_for(options)));
        assert!(error.contains(words), "{options}: {error}");
        assert!(!scene.path("run").exists(), "{options} left a folder");
    }
}

/// Discriminators at several scales and feature matching go through everything that a run has, by their names alone.
#[test]
fn further_networks_and_terms_are_listed_everywhere() {
    let scene = Scene::new();
    let flags = "--recipe isola --receptive-field 16 --scales 2 --lambda-feature 10";
    scene.run(&format!("train {TINY} {flags} --save-every 2 --steps 4 --out whole"));
    let said = scene.run(&format!("train {TINY} {flags} --steps 2 --out run"));
    assert!(said.stderr.lines().last().unwrap().contains("  feature "), "{}", said.stderr);
    scene.run("train --resume run --steps 4");
    scene.assert_same_run("run", "whole", 4);
    let text = std::fs::read_to_string(scene.path("run/losses.csv")).unwrap();
    assert!(text.starts_with("epoch,step,d,adv,pixel,g,d_real,d_fake,feature\n"), "{text}");
    let row: Vec<f64> = text.lines().last().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
    let [adv, pixel, total, feature] = [3, 4, 5, 8].map(|index| row[index]);
    // Sums of f32.
    assert!((total - (adv + 100.0 * pixel + 10.0 * feature)).abs() <= 1e-6 * total && feature > 0.0, "{row:?}");
    let report = std::fs::read_to_string(scene.path("run/report.html")).unwrap();
    assert!(report.contains("<b>Feature</b>"), "{report}");

    let second = "discriminator2.model.0.weight";
    let checkpoint = scene.checkpoint("run", 4);
    assert!(
        checkpoint.tensors.contains_key(second) && checkpoint.tensors.contains_key(&format!("adam.second.{second}"))
    );
    let said = scene.run("inspect run");
    assert!(said.stdout.contains("Discriminator2, for one condition and its picture of 16"), "{}", said.stdout);
    let said = scene.run("export run --safetensors d2.safetensors --network discriminator2");
    assert!(said.stdout.contains("the authors' NLayerDiscriminator(6"), "{}", said.stdout);
    let error = scene.refused("export run --safetensors d3.safetensors --network discriminator3");
    assert!(error.contains("none of that name, but discriminator, discriminator2, generator"), "{error}");
}
