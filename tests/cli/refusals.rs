//! Bad input to `pixtape train`: one clear line, exit status 1, and nothing written.

use std::fs;

use super::scene::{Scene, TINY, checkpoint, pair};

/// Asserts that a run with `flags` is refused in one line that holds all `words`.
#[track_caller]
fn refused(scene: &Scene, flags: &str, words: &[&str]) {
    let error = scene.refused(&format!("train {TINY} --steps 3 --out runs/new {flags}"));
    for word in words {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
}

#[test]
fn folders_without_pictures() {
    let scene = Scene::new();
    scene.write("empty/notes.txt", "no picture");
    scene.write("file.png", "no folder");
    refused(&scene, "--data nowhere", &["--data", "nowhere"]);
    refused(&scene, "--data empty", &["no images in", "empty", ".png, .jpg, .jpeg, .tif", "A/ and B/"]);
    refused(&scene, "--data file.png", &["file.png is a file"]);
}

#[test]
fn files_that_are_no_pairs_are_named_all_together() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/train/good.png", "data/train/cut.png", "data/test/cut.jpg"]);
    for cut in ["data/train/cut.png", "data/test/cut.jpg"] {
        let bytes = fs::read(scene.path(cut)).unwrap();
        scene.write(cut, &bytes[..bytes.len() - bytes.len() / 3]);
    }
    scene.write("data/train/text.jpg", "no picture");
    scene.write("data/train/nothing.png", "");
    scene.draw("data/train/odd.png", &pair(0, 65, 32));
    let bad = ["cut.png: ", "cut.jpg: ", "text.jpg: not a PNG, JPEG, TIFF", "nothing.png: ", "odd.png: 65x32"];
    refused(&scene, "--data data", &bad);
    refused(&scene, "--data data", &["5 of 6 pairs", "width is odd"]);
}

#[test]
fn sizes_that_do_not_fit_name_those_that_do() {
    let scene = Scene::new();
    let size = |size: &str, words: &[&str]| {
        let tiny = TINY.replace("--image-size 32", &format!("--image-size {size}"));
        let error = scene.refused(&format!("train {tiny} --steps 3 --out runs/new"));
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    size("200", &["--image-size", "size 200", "128 and 256"]);
    size("256x200", &["256x128 and 256"]);
    size("16", &["size 16 is too small", "32"]);
    refused(&scene, "--load-size 64", &["--load-size 64", "jitter"]);
    refused(&scene, "--load-size 30 --augment jitter", &["--load-size 30", "32"]);
}

#[test]
fn values_out_of_range_and_what_this_version_cannot_do() {
    let scene = Scene::new();
    refused(&scene, "--device cuda", &["--device cuda", "NVIDIA driver", "--device cpu"]);
    refused(&scene, "--batch 0", &["--batch 0"]);
    refused(&scene, "--lr 0", &["--lr 0"]);
    refused(&scene, "--lr -1", &["--lr -1"]);
    refused(&scene, "--dropout 1", &["--dropout 1"]);
    refused(&scene, "--keep 0", &["--keep 0"]);
    refused(&scene, "--batch 401", &["400 pairs", "one step of 401"]);
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    refused(&scene, "--data data --batch 3", &["2 pairs", "one step of 3"]);
    refused(&scene, "--in-channels 5", &["--in-channels 5", "at most 4"]);
    refused(&scene, "--val-split 0.5", &["--val-split 0.5", "--data"]);
    refused(&scene, "--preprocess crop", &["--preprocess crop", "--data"]);
    refused(&scene, "--data data --preprocess none --augment jitter", &["--augment jitter", "--preprocess none"]);
}

#[test]
fn settings_files_with_mistakes() {
    let scene = Scene::new();
    refused(&scene, "--config nowhere.toml", &["nowhere.toml"]);
    for (text, words) in [
        ("batch = 1\nlearning-rate = 0.1\n", ["settings.toml, line 2", "learning-rate"]),
        ("lr = \"fast\"\n", ["settings.toml, line 1", "fast"]),
        ("augment = \"sideways\"\n", ["settings.toml, line 1", "sideways"]),
        ("this is no TOML", ["settings.toml, line 1", ""]),
    ] {
        scene.write("settings.toml", text);
        refused(&scene, "--config settings.toml", &words);
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let scene = Scene::new();
    scene.write("file", "not a folder");
    let error = scene.refused(&format!("train {TINY} --steps 3 --out file/run"));
    assert!(error.contains("cannot write the run folder file/run"), "{error}");
    let error = scene.refused(&format!("train {TINY} --steps 3 --out file"));
    assert!(error.contains("cannot write the run folder file"), "{error}");
}

#[test]
fn weights_that_do_not_fit_are_named_with_both_shapes() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    refused(&scene, "--start-from nowhere", &["--start-from", "nowhere"]);
    scene.write("text.safetensors", "no tensors");
    refused(&scene, "--start-from text.safetensors", &["text.safetensors", "not a safetensors file"]);
    let bytes = fs::read(scene.path(&checkpoint("a", 1))).unwrap();
    scene.write("cut.safetensors", &bytes[..bytes.len() - 5]);
    refused(&scene, "--start-from cut.safetensors", &["cut.safetensors", "cut short"]);

    // Weights of wider networks.
    scene.run(&format!("train {} --steps 1 --out wide", TINY.replace("--ngf 2", "--ngf 3")));
    let wide = checkpoint("wide", 1);
    refused(
        &scene,
        &format!("--start-from {wide}"),
        &["generator.down1.model.0.weight", "[3, 3, 4, 4]", "[2, 3, 4, 4]"],
    );

    let name = "discriminator.model.5.weight";
    let mut weights = scene.checkpoint("a", 1);
    weights.tensors.get_mut(name).unwrap().0 = vec![4, 8, 4, 4];
    weights.write(&scene.path("misshapen"));
    refused(&scene, "--start-from misshapen", &[name, "[4, 8, 4, 4]", "[8, 4, 4, 4]"]);
    weights.tensors.remove(name);
    weights.write(&scene.path("incomplete"));
    refused(&scene, "--start-from incomplete", &[&format!("{name} is missing"), "[8, 4, 4, 4]"]);
}

#[test]
fn checkpoints_that_cannot_be_gone_on_from() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    let file = scene.path(&checkpoint("a", 1));
    let whole = fs::read(&file).unwrap();
    let refused = |words: &[&str]| {
        let error = scene.refused("train --resume a --steps 3");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        fs::write(&file, &whole).unwrap();
    };
    let changed = |change: &dyn Fn(&mut super::scene::Checkpoint)| {
        let mut checkpoint = scene.checkpoint("a", 1);
        change(&mut checkpoint);
        checkpoint.write(&file);
    };
    changed(&|c| drop(c.about.insert("pixtape.format-version".into(), "7".into())));
    refused(&["step-00000001.safetensors", "format 7", "format 2"]);
    changed(&|c| drop(c.tensors.remove("adam.second.generator.final.2.bias")));
    refused(&["adam.second.generator.final.2.bias is missing", "[3]"]);
    changed(&|c| c.tensors.get_mut("generator.up2.model.0.weight").unwrap().0 = vec![8, 32, 4, 4]);
    refused(&["generator.up2.model.0.weight", "[8, 32, 4, 4]", "[32, 8, 4, 4]"]);
    changed(&|c| c.about.clear());
    refused(&["not a pixtape checkpoint"]);
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused(&["cut short"]);
    // The unchanged settings can be resumed.
    scene.run("train --resume a --steps 3");
}
