//! `pixtape import`: files as PyTorch writes them, and outputs of their networks in PyTorch.

use std::fs;
use std::path::Path;

use pixtape::data::Size;
use pixtape::gan::Precision;
use pixtape::translate::{GeneratorOptions, Model};

use super::scene::{Checkpoint, Scene, half};
use crate::support::compare::{Tolerance, assert_close};
use crate::support::fixture::Fixture;
use crate::support::values::{from_nchw, image_values};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/import/{name}.pth", env!("CARGO_MANIFEST_DIR"))
}

/// The output for the fixtures' picture, `[32, 32, 3]`, without dropout.
fn output(model: &Path) -> Vec<f64> {
    let options = GeneratorOptions {
        dropout: false,
        seed: 1,
        precision: Precision::F32,
        device: "cpu".parse().expect("a device"),
        threads: 1,
    };
    let mut model = Model::open(model, &options).unwrap();
    let x: Vec<f32> = image_values("x", [1, 32, 32, 3], 1.0).into_iter().map(|x| x as f32).collect();
    model.generate(x, Size { width: 32, height: 32 }, 0).unwrap().into_iter().map(f64::from).collect()
}

#[test]
fn imported_generators_compute_what_pytorch_does() {
    let expected = Fixture::new(include_bytes!("../fixtures/import/expected.safetensors"));
    let scene = Scene::new();
    for (name, flags, what, says) in [
        ("isola-batch", "", "isola-batch.y", "isola, 3 to 3 channels, ngf 2, depth 5, found under module"),
        ("isola-batch", "--running-stats", "isola-batch.running.y", "folded into the convolutions"),
        ("pytorch-gan", "", "pytorch-gan.y", "Norms: the statistics of each image\n"),
        ("pytorch-gan-batch", "", "pytorch-gan-batch.y", "with gain and bias"),
        ("pytorch-gan-batch", "--running-stats", "pytorch-gan-batch.running.y", "generator of pytorch-gan"),
        ("block-ck", "", "block-ck.y", "found under generator"),
    ] {
        let said = scene.run(&format!("import {} --out model.safetensors {flags}", fixture(name)));
        assert!(said.stdout.contains(says), "{}", said.stdout);
        let (y, shape) = expected.tensor(what);
        let y = from_nchw(&y, [shape[0], shape[2], shape[3], shape[1]]);
        // The spread is the error of one correct f32 implementation; this one sums in other orders.
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 3.0 * expected.f32_spread(what) };
        assert_close(what, &output(&scene.path("model.safetensors")), &y, tolerance);
    }
}

#[test]
fn an_imported_file_translates_like_a_checkpoint() {
    let scene = Scene::new();
    scene.run(&format!("import {} --out models/isola.safetensors", fixture("isola-batch")));
    scene.draw("x.png", &half(0, 0));
    let said = scene.run("translate models/isola.safetensors x.png --out out --threads 1");
    assert!(said.stdout.contains("weights imported from isola-batch.pth"), "{}", said.stdout);
    assert_eq!(scene.picture("out/x.png").dimensions(), (32, 32));
    // An import is no run.
    let error = scene.refused("train --resume models/isola.safetensors");
    assert!(error.contains("give the folder of a run"), "{error}");

    let about = Checkpoint::read(&scene.path("models/isola.safetensors")).about;
    assert_eq!(about["pixtape.imported-from"], "isola-batch.pth");
    assert!(about["pixtape.generator"].contains("norm = \"instance-affine\""), "{}", about["pixtape.generator"]);
}

/// Weights of a run, imported as if PyTorch had written them, have the results of the run in either direction.
#[test]
fn the_direction_of_an_import_is_that_of_its_pairs() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    let import = |flags: &str| scene.run(&format!("import {} --out {flags}", fixture("pytorch-gan")));
    assert!(import("ab.safetensors").stdout.contains("for pairs from A to B"));
    assert!(import("ba.safetensors --direction b-to-a").stdout.contains("for pairs from B to A"));
    let network = "--direction b-to-a --image-size 32 --ngf 2 --ndf 2 --threads 1 --lr 1e-30 --steps 1";
    scene.run(&format!("train --data data {network} --preprocess none --start-from ba.safetensors --out run"));
    let translated = |model: &str| {
        scene.run(&format!("translate {model} data --pairs --dropout off --out {model}-out"));
        ["a", "b"].map(|name| scene.picture(&format!("{model}-out/{name}.png")))
    };
    let [run, ba, ab] = ["run", "ba.safetensors", "ab.safetensors"].map(translated);
    assert!(run == ba && run != ab);
    // Pictures of other sizes than the run's are resized: only the direction is of interest here.
    let title = |model: &str| scene.run(&format!("evaluate {model} --data data --dropout off")).stdout;
    assert!(title("ba.safetensors").starts_with("2 pairs (all) of data, from B to A, at 256\n"));
    assert!(title("ab.safetensors").starts_with("2 pairs (all) of data, from A to B, at 256\n"));
}

#[test]
fn training_can_start_from_an_imported_generator() {
    let scene = Scene::new();
    scene.run(&format!("import {} --out isola.safetensors", fixture("isola-batch")));
    scene.draw_pairs(&["data/a.png"]);
    let network =
        "--recipe isola --norm instance-affine --image-size 32 --ngf 2 --ndf 2 --receptive-field 16 --threads 1";
    scene.run(&format!("train --data data {network} --lr 1e-30 --steps 1 --start-from isola.safetensors --out run"));
    let (imported, trained) = (Checkpoint::read(&scene.path("isola.safetensors")), scene.checkpoint("run", 1));
    for (name, tensor) in &imported.tensors {
        assert!(*tensor == trained.tensors[name], "{name} differs");
    }
    assert_eq!(imported.about["pixtape.generator"], trained.about["pixtape.generator"]);
}

#[test]
fn what_cannot_be_imported_is_refused() {
    let scene = Scene::new();
    let refused = |file: &str, flags: &str| scene.refused(&format!("import {file} --out x.safetensors {flags}"));
    let error = refused(&fixture("discriminator"), "");
    assert!(error.contains("discriminator.pth: it holds a discriminator and no generator"), "{error}");
    let error = refused(&fixture("pytorch-gan"), "--running-stats");
    assert!(error.contains("it stores no statistics at down2.model.1: leave --running-stats out"), "{error}");

    scene.write("evil.pth", b"\x80\x02cposix\nsystem\nX\x05\x00\x00\x00touchX\x00\x00\x00\x00\x86R.");
    let error = refused("evil.pth", "");
    assert!(
        error.contains("it asks for posix.system, which no tensor needs: refused, nothing was executed"),
        "{error}"
    );
    scene.draw("picture.pth.png", &half(0, 0));
    assert!(refused("picture.pth.png", "").contains("not a file that torch.save has written"));
    assert!(refused("none.pth", "").contains("cannot import none.pth"));

    // The last number in the file.
    let mut bytes = fs::read(fixture("pytorch-gan")).unwrap();
    bytes.last_chunk_mut().map(|last| *last = f32::NAN.to_le_bytes()).unwrap();
    scene.write("nan.pth", bytes);
    let error = refused("nan.pth", "");
    assert!(error.contains("cannot import nan.pth: generator.") && error.contains("no finite numbers"), "{error}");

    fs::copy(fixture("isola-batch"), scene.path("it.pth")).unwrap();
    let error = scene.refused("import it.pth --out it.pth");
    assert!(error.contains("would be overwritten by its own import"), "{error}");
}
