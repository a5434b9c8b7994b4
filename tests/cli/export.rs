//! `pixtape export`: the contents of its files. `tools/check-onnx` checks that onnxruntime computes the same, and
//! `tools/reference/check_exchange.py` that PyTorch takes the weights.

use super::scene::{Checkpoint, Scene, TINY};

fn trained(flags: &str) -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run {flags}"));
    scene
}

#[test]
fn weights_go_out_under_pytorchs_bare_names() {
    let scene = trained("");
    let whole = scene.checkpoint("run", 1);
    for network in ["generator", "discriminator"] {
        let said = scene.run(&format!("export run --safetensors {network}.safetensors --network {network}"));
        assert!(said.stdout.contains("weights of step 1"), "{}", said.stdout);
        let bare = Checkpoint::read(&scene.path(&format!("{network}.safetensors")));
        let prefix = format!("{network}.");
        let expected: Vec<&str> = whole.tensors.keys().filter_map(|name| name.strip_prefix(&prefix)).collect();
        assert!(expected.len() > 5 && bare.tensors.keys().eq(&expected), "{expected:?}");
        for (name, tensor) in &bare.tensors {
            assert!(*tensor == whole.tensors[&format!("{prefix}{name}")], "{name} differs");
        }
        assert_eq!(bare.about["pixtape.generator"], whole.about["pixtape.generator"]);
    }
    // Without the rest of a checkpoint there is no run to go on with.
    let error = scene.refused("train --resume generator.safetensors");
    assert!(error.contains("give the folder of a run"), "{error}");
}

#[test]
fn an_imported_generator_comes_out_as_it_was() {
    let scene = Scene::new();
    let file = format!("{}/tests/fixtures/import/isola-batch.pth", env!("CARGO_MANIFEST_DIR"));
    scene.run(&format!("import {file} --out it.safetensors"));
    let said = scene.run("export it.safetensors --safetensors bare.safetensors --onnx it.onnx");
    assert!(said.stdout.contains("weights imported from isola-batch.pth"), "{}", said.stdout);
    assert!(said.stdout.contains("BatchNorm2d, in train mode at batch 1, with strict=False"), "{}", said.stdout);
    let (imported, bare) =
        (Checkpoint::read(&scene.path("it.safetensors")), Checkpoint::read(&scene.path("bare.safetensors")));
    assert_eq!(bare.tensors.len(), imported.tensors.len());
    for (name, tensor) in &bare.tensors {
        assert!(*tensor == imported.tensors[&format!("generator.{name}")], "{name} differs");
    }
    let error = scene.refused("export it.safetensors --safetensors x.safetensors --network discriminator");
    assert!(error.contains("--network discriminator: these weights have none of that name, but generator"), "{error}");
    assert!(scene.refused("export it.safetensors --onnx it.safetensors").contains("is what is exported"));
}

#[test]
fn a_file_has_to_be_asked_for() {
    let scene = trained("");
    scene.command("export run").assert().code(2);
    scene.command("export run --onnx x.onnx --network discriminator").assert().code(2);
    let error = scene.refused("export run --onnx x --safetensors x");
    assert!(error.contains("--safetensors and --onnx both write x"), "{error}");
    scene.run("export run --onnx new/folder/x.onnx --safetensors other/x.safetensors");
    assert_eq!(
        (scene.names("new/folder"), scene.names("other")),
        (vec!["x.onnx".into()], vec!["x.safetensors".into()])
    );
}
