//! `pixtape inspect`: the tables of recipes, runs and imported weights.

use super::scene::{Scene, TINY};

/// The cells of the first line that begins with `name`.
fn row<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).split_whitespace().collect()
}

#[test]
fn a_recipe_is_shown_at_its_published_size() {
    let scene = Scene::new();
    let said = scene.run("inspect isola").stdout;
    // conv_fprop, norm_act, norm_act: weights and biases of 4x4x3x64; 128x128 pixels of 3136 - 64 products.
    let first = row(&said, "model.model.0");
    assert_eq!(&first[4..], ["128x128x64", "3,136", "50,331,648", "12.6", "MB", "4"]);
    assert_eq!(row(&said, "model.11")[2..4], ["30x30x1", "8,193"]);
    assert_eq!(row(&said, "model.11").last(), Some(&"70"), "{said}");
    let totals: Vec<&str> = said.lines().filter(|line| line.starts_with("all")).collect();
    assert!(totals[0].contains(" 54,409,603 ") && totals[1].contains(" 2,767,809 "), "{said}");
    // The four flat buffers of both networks stay, and the three pictures.
    let adam = row(&said, "adam");
    assert_eq!(adam[1..], ["2", "914.8", "MB"], "{said}");
    assert!(said.contains("917.2 MB stay from step to step"), "{said}");
    // A device that updates weights as it computes their gradients has no flat buffers of gradients: a quarter of the
    // 914.8 MB. In one that activates in the epilogues of convolutions, inputs of activations take no memory: at most
    // the 4.2 MB of the generator's first layer and the 8.4 MB of the discriminator's.
    let bytes = |what: &str| -> f64 {
        let line = said.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} is not in {said}"));
        line.split_whitespace().find_map(|word| word.parse().ok()).expect("a size")
    };
    let gone = bytes("in one arena") - bytes("as a device executes it");
    let gradients = 914.8 / 4.0;
    assert!((gradients - 0.1..=gradients + 4.2 + 8.4).contains(&gone), "{gone} MB");

    let map = scene.run("inspect block-ck").stdout;
    assert_eq!(row(&map, "model.11")[3..5], ["70x70x1", "8,193"]);
    assert_eq!(row(&map, "model.11").last(), Some(&"46"), "{map}");
}

#[test]
fn a_run_lists_its_steps_and_buffers() {
    let scene = Scene::new();
    scene.run(&format!("train {} --steps 1 --out run", TINY.replace("--ndf 2", "--gan-loss none")));
    let said = scene.run("inspect run --steps --memory").stdout;
    let title = said.lines().next().expect("a title");
    assert!(title.ends_with("step-00000001.safetensors: weights of step 1, recipe pytorch-gan"), "{title}");
    assert!(!said.contains("Discriminator"), "{said}");
    let recorded = said.lines().find(|line| line.starts_with("Recorded: ")).expect("a line");
    let numbers: Vec<usize> = recorded.split(' ').filter_map(|word| word.parse().ok()).collect();
    let (main, on_demand) = (numbers[0], numbers[2]);
    let listed = |kernel: &str| said.lines().filter(|line| line.split_whitespace().nth(1) == Some(kernel)).count();
    assert_eq!(listed("adam"), 1);
    assert_eq!(listed("l1_loss"), 1);
    let steps =
        said.lines().filter(|line| line.split_whitespace().next().is_some_and(|word| word.parse::<usize>().is_ok()));
    assert!(steps.count() > main + on_demand, "steps and buffers: {said}");
    for what in ["parameters of the generator", "second moments of the generator", "targets", "preview"] {
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn what_is_neither_run_nor_recipe_is_refused() {
    let error = Scene::new().refused("inspect isolla");
    assert!(error.contains("isolla is no recipe (pytorch-gan, block-ck, isola)"), "{error}");
}
