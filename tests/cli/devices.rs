//! `pixtape devices`, and devices that cannot be used: each is refused in one line that says what is missing.
//!
//! Machines without a GPU, with an old driver or with little memory are simulated.

use super::scene::{Scene, TINY};

/// Asserts that training on `device` is refused in one line that holds all `words`.
#[track_caller]
fn refused(scene: &Scene, device: &str, words: &[&str]) {
    let error = scene.refused(&format!("train {TINY} --steps 3 --out runs/new --device {device}"));
    for word in words {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
}

#[test]
fn without_a_gpu_there_is_the_cpu() {
    let scene = Scene::new();
    let said = scene.run("devices").stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("cpu ") && lines[0].ends_with("<- auto"), "{said}");
    assert!(lines.len() == 2 && lines[1].starts_with("cuda    none: "), "{said}");
    // The line depends on whether this machine has a driver; its GPUs are hidden from these tests.
    assert!(lines[1].contains("no NVIDIA driver") || lines[1].contains("finds no GPU"), "{said}");

    let said = scene.run(&format!("train {TINY} --steps 1 --out run --device auto"));
    assert!(said.stderr.contains("the CPU with 1 thread") && said.stderr.contains("NVIDIA driver"), "{}", said.stderr);
}

/// `PIXTAPE_CPU` forces an instruction set; the first line of a run names it, and the numbers are the same.
#[test]
fn instruction_sets_can_be_forced() {
    let mut scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 3 --out fastest --device cpu"));
    scene.set("PIXTAPE_CPU", "portable");
    let said = scene.run(&format!("train {TINY} --steps 3 --out portable --device cpu"));
    assert!(said.stderr.contains("the CPU with 1 thread and portable instructions"), "{}", said.stderr);
    scene.assert_same_run("fastest", "portable", 3);

    scene.set("PIXTAPE_CPU", "sse9");
    refused(&scene, "cpu", &["PIXTAPE_CPU is \"sse9\"", "one of portable, avx2, avx512"]);
}

#[test]
fn bf16_is_for_the_cpu() {
    let scene = Scene::simulated();
    let error = scene.refused(&format!("train {TINY} --steps 1 --out run --device cuda --precision bf16"));
    assert!(error.contains("--precision bf16: only the CPU computes in bf16 so far"), "{error}");
    assert!(error.contains("cuda:0") && error.contains("--device cpu"), "{error}");
}

#[test]
fn a_simulated_gpu_is_named_as_one_and_never_chosen() {
    let scene = Scene::simulated();
    let said = scene.run("devices").stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("cpu ") && lines[0].ends_with("<- auto"), "{said}");
    assert!(lines.len() == 2 && lines[1].starts_with("cuda:0  ") && lines[1].contains("simulated"), "{said}");
    assert!(lines[1].contains("MB") && lines[1].contains("compute capability "), "{said}");

    let said = scene.run(&format!("train {TINY} --steps 1 --out run --device auto"));
    assert!(said.stderr.contains("the CPU with 1 thread"), "{}", said.stderr);
}

#[test]
fn gpus_that_are_not_there_are_refused() {
    let mut scene = Scene::simulated();
    refused(&scene, "cuda:7", &["--device cuda:7", "cuda:0 alone", "--device cpu"]);
    scene.set("CUDASIM_DEVICES", "0");
    refused(&scene, "cuda", &["--device cuda", "finds no GPU", "--device cpu"]);
    let said = scene.run("devices").stdout;
    assert!(said.contains("cuda    none: the NVIDIA driver finds no GPU"), "{said}");
}

#[test]
fn an_old_driver_is_refused() {
    let mut scene = Scene::simulated();
    scene.set("CUDASIM_DRIVER_VERSION", "11080");
    refused(&scene, "cuda", &["--device cuda", "too old", "CUDA 11.8", "12.0", "update the driver"]);
    assert!(scene.run("devices").stdout.contains("too old"));
    scene.set("CUDASIM_DRIVER_VERSION", "12000");
    assert!(scene.run("devices").stdout.contains("cuda:0  "));
}

#[test]
fn too_little_memory_is_refused_with_both_numbers() {
    let mut scene = Scene::simulated();
    scene.set("CUDASIM_MEMORY", (2 << 20).to_string());
    let error = scene.refused("train --image-size 64 --steps 3 --out runs/new --device cuda");
    assert!(error.contains("not enough GPU memory") && error.contains("of 2 MB are free"), "{error}");
    let asked: usize = error.split("memory: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // MB for two networks of ngf and ndf 16, each with gradients and two moments, and for their activations.
    assert!((10..100).contains(&asked), "{error}");
    assert!(error.contains("a smaller batch or picture needs less"), "{error}");
}
