//! Weights without a run: those that `export` and other programs write, in every command that takes weights; and files
//! that are given as weights and are none.

use std::fs;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::scene::{Checkpoint, Scene, TINY, checkpoint, half};

/// A run that has learned something from one pair, and a picture to translate.
fn trained(flags: &str) -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    scene.draw("x.png", &half(0, 0));
    scene.run(&format!("train --data data {TINY} --lr 0.02 --steps 5 --out run {flags}"));
    scene
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/import/{name}.pth", env!("CARGO_MANIFEST_DIR"))
}

/// A tensor as it lies in a file: type, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Writes a safetensors file of tensors alone.
fn write_tensors(scene: &Scene, name: &str, tensors: &[(String, Stored)]) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    scene.write(name, safetensors::serialize(views, None).unwrap());
}

/// The generator of a checkpoint as another program would save it, in a number type, under a prefix.
fn bare(checkpoint: &Checkpoint, prefix: &str, dtype: Dtype) -> Vec<(String, Stored)> {
    let tensor = |name: &String| {
        let bytes = checkpoint.values(name).into_iter().flat_map(|value| match dtype {
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::F64 => f64::from(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        });
        let bare = name.strip_prefix("generator.")?;
        Some((format!("{prefix}{bare}"), (dtype, checkpoint.tensors[name].0.clone(), bytes.collect())))
    };
    checkpoint.tensors.keys().filter_map(tensor).collect()
}

#[test]
fn what_export_writes_is_taken_by_every_command_that_takes_weights() {
    // The second network is unpublished: its header describes it.
    for flags in ["--direction b-to-a", "--recipe isola --receptive-field 16 --norm none --dropout-at both-ways"] {
        let scene = trained(flags);
        let translated = |model: &str, out: &str| {
            let said = scene.run(&format!("translate {model} x.png --seed 3 --out {out}"));
            assert_eq!(said.stderr, "", "nothing has to be guessed");
            scene.picture(&format!("{out}/x.png"))
        };
        let expected = translated("run", "of-run");
        scene.run("export run --safetensors g.safetensors");
        scene.run("export run --safetensors d.safetensors --network discriminator");
        assert!(translated("g.safetensors", "of-export") == expected);
        let said = scene.run("import g.safetensors --out imported.safetensors");
        assert!(translated("imported.safetensors", "of-import") == expected);
        let direction = if flags.contains("b-to-a") { "for pairs from B to A" } else { "for pairs from A to B" };
        assert!(said.stdout.contains(direction), "{}", said.stdout);
        let said = scene.run("import g.safetensors --out other.safetensors --direction a-to-b");
        assert!(said.stdout.contains("for pairs from A to B"), "{}", said.stdout);
        // The results are those of the run.
        let table = |model: &str| scene.run(&format!("evaluate {model} --data data --threads 1")).stdout;
        assert_eq!(table("g.safetensors"), table("run"));
        assert!(scene.run("inspect g.safetensors").stdout.starts_with("g.safetensors: weights of step 5, recipe "));
        scene.run("export g.safetensors --safetensors again.safetensors --onnx again.onnx");
        let again = Checkpoint::read(&scene.path("again.safetensors"));
        assert!(again.tensors == Checkpoint::read(&scene.path("g.safetensors")).tensors);

        let whole = scene.checkpoint("run", 5);
        for (file, network) in [("g", "generator."), ("d", "discriminator.")] {
            let start = format!("--lr 1e-30 --steps 1 --seed 7 --start-from {file}.safetensors --out from-{file}");
            let said = scene.run(&format!("train --data data {TINY} {flags} {start}"));
            let started = format!("Started with the {} of ", network.trim_end_matches('.'));
            assert!(said.stderr.starts_with(&started), "{}", said.stderr);
            let started = scene.checkpoint(&format!("from-{file}"), 1);
            for (name, tensor) in started.weights() {
                let is_weight = name.ends_with("0.weight");
                match name.starts_with(network) {
                    // A step of 1e-30 changes no number but a zero.
                    true => assert!(
                        started.values(name).iter().zip(whole.values(name)).all(|(a, b)| (a - b).abs() <= 1e-29),
                        "{name} differs"
                    ),
                    false => assert!(!is_weight || *tensor != whole.tensors[name], "{name} is not random"),
                }
            }
        }
    }
}

#[test]
fn weights_of_another_program_are_taken_by_their_names_whatever_their_type() {
    let scene = trained("");
    let whole = scene.checkpoint("run", 5);
    scene.run("translate run x.png --dropout off --out expected");
    for (dtype, prefix) in [(Dtype::F32, ""), (Dtype::F64, "module."), (Dtype::F16, ""), (Dtype::BF16, "netG.")] {
        let mut tensors = bare(&whole, prefix, dtype);
        tensors.push((format!("{prefix}down2.model.1.num_batches_tracked"), (Dtype::I64, vec![], vec![7; 8])));
        write_tensors(&scene, "theirs.safetensors", &tensors);
        let said = scene.run("translate theirs.safetensors x.png --dropout off --out out");
        let note = "theirs.safetensors: generator of pytorch-gan, 3 to 3 channels, ngf 2, depth 5";
        assert!(said.stderr.starts_with(note), "{}", said.stderr);
        assert!(
            said.stderr.contains("for pairs from A to B, which `import --direction` can change"),
            "{}",
            said.stderr
        );
        scene.run("import theirs.safetensors --out imported.safetensors");
        scene.run("translate imported.safetensors x.png --dropout off --out of-import");
        assert!(scene.picture("out/x.png") == scene.picture("of-import/x.png"), "{dtype:?}");
        let imported = Checkpoint::read(&scene.path("imported.safetensors"));
        let rounded: fn(f32) -> f32 = match dtype {
            Dtype::F16 => |value| f16::from_f32(value).to_f32(),
            Dtype::BF16 => |value| bf16::from_f32(value).to_f32(),
            _ => |value| value,
        };
        for name in imported.tensors.keys() {
            let expected: Vec<f32> = whole.values(name).into_iter().map(rounded).collect();
            assert_eq!(imported.values(name), expected, "{name} in {dtype:?}");
        }
        if matches!(dtype, Dtype::F32 | Dtype::F64) {
            assert!(scene.picture("out/x.png") == scene.picture("expected/x.png"), "{dtype:?}");
        }
        scene.run(&format!(
            "train --data data {TINY} --lr 1e-30 --steps 1 --start-from theirs.safetensors --out from-{dtype:?}"
        ));
        let started = scene.checkpoint(&format!("from-{dtype:?}"), 1);
        assert!(imported.tensors.iter().all(|(name, tensor)| started.tensors[name] == *tensor), "{dtype:?}");
    }
}

#[test]
fn errors_say_which_network_a_file_holds() {
    let scene = trained("");
    scene.run("export run --safetensors g.safetensors");
    scene.run("export run --safetensors d.safetensors --network discriminator");
    for command in [
        "translate d.safetensors x.png --out out",
        "evaluate d.safetensors --data data",
        "export d.safetensors --onnx d.onnx",
        "import d.safetensors --out out.safetensors",
    ] {
        let error = scene.refused(command);
        assert!(error.contains("d.safetensors: it holds a discriminator and no generator"), "{error}");
        assert!(error.contains("without --network discriminator"), "{error}");
    }
    let start = |flags: &str| {
        let tiny = TINY.replace("--ndf 2", "");
        scene.refused(&format!("train --data data {tiny} --steps 1 --out new --start-from {flags}"))
    };
    let error = start("d.safetensors --gan-loss none");
    assert!(error.contains("no tensor of the networks of this run, which are called generator.*"), "{error}");
    let error = start("d.safetensors --ndf 3");
    assert!(error.contains("discriminator.model.0.weight has shape [2, 6, 4, 4], expected [3, 6, 4, 4]"), "{error}");
    // Loading a part of a larger network would lose the rest.
    scene.run(&format!("train --data data {TINY} --norm instance-affine --steps 1 --out affine"));
    scene.run("export affine --safetensors affine.safetensors");
    for file in ["affine.safetensors", &checkpoint("affine", 1)] {
        let error = start(&format!("{file} --ndf 2"));
        assert!(error.contains("has generator.down2.model.1.") && error.contains("such as --norm"), "{error}");
    }

    let tensor: Stored = (Dtype::F32, vec![1], vec![0; 4]);
    write_tensors(&scene, "other.safetensors", &[("fc.bias".to_owned(), tensor.clone())]);
    for error in [scene.refused("translate other.safetensors x.png --out out"), start("other.safetensors --ndf 2")] {
        assert!(error.contains("holds no generator that pixtape knows") && error.contains("fc.bias"), "{error}");
    }
    write_tensors(&scene, "eight.safetensors", &[("fc.bias".to_owned(), (Dtype::F8_E4M3, vec![1], vec![0]))]);
    let error = scene.refused("import eight.safetensors --out out.safetensors");
    assert!(error.contains("its tensor fc.bias is of type F8_E4M3, which is not read"), "{error}");

    let mut nan = bare(&scene.checkpoint("run", 5), "", Dtype::F32);
    nan[0].1.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    write_tensors(&scene, "nan.safetensors", &nan);
    let refused = scene.command("translate nan.safetensors x.png --out out").assert().code(1);
    let error = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(error.contains("nan.safetensors: tensor generator.") && error.contains("no finite numbers"), "{error}");
    assert!(!scene.path("out").exists());
}

#[test]
fn a_checkpoint_or_an_import_is_not_imported_again() {
    let scene = trained("");
    scene.run(&format!("import {} --out imported.safetensors", fixture("pytorch-gan")));
    for file in [&checkpoint("run", 5), "imported.safetensors"] {
        let error = scene.refused(&format!("import {file} --out again.safetensors"));
        assert!(error.contains("is a checkpoint or an import of pixtape already: translate, evaluate"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_weights_is_named_for_what_it_is() {
    let scene = trained("");
    scene.write("html.pth", "<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>");
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 217704720\n";
    scene.write("lfs.pth", lfs);
    scene.write("empty.pth", "");
    scene.write("text.pth", "Invalid username or password.");
    for (file, words) in [
        ("html.pth", ["but a web page", "open its address in a browser"]),
        ("lfs.pth", ["but a Git LFS pointer, which stands for a file of 217704720 bytes", "`git lfs pull`"]),
        ("empty.pth", ["but an empty file", "get it again"]),
        ("text.pth", ["but text, which begins with \"Invalid username", "get the file of the weights itself"]),
    ] {
        for command in [
            format!("import {file} --out out.safetensors"),
            format!("translate {file} x.png --out out"),
            format!("evaluate {file} --data data"),
            format!("inspect {file}"),
            format!("export {file} --onnx out.onnx"),
            format!("train --data data {TINY} --steps 1 --out new --start-from {file}"),
        ] {
            let error = scene.refused(&command);
            assert!(words.iter().all(|word| error.contains(word)) && error.contains(file), "{command}: {error}");
        }
    }
    fs::copy(fixture("isola-batch"), scene.path("net.pth")).unwrap();
    for command in ["translate net.pth x.png --out out", "train --steps 1 --out new --start-from net.pth"] {
        let error = scene.refused(command);
        assert!(error.contains("import it first, `pixtape import ") && error.contains("net.safetensors`"), "{error}");
    }
}

#[test]
fn a_download_that_was_cut_short_is_told_where_it_can_be() {
    let scene = trained("");
    scene.run("export run --safetensors g.safetensors");
    let cut = |from: &str, name: &str| {
        let bytes = fs::read(from).unwrap();
        scene.write(name, &bytes[..bytes.len() * 2 / 3]);
    };
    cut(&fixture("isola-batch"), "zip.pth");
    cut(&fixture("block-ck"), "legacy.pth");
    cut(scene.path("g.safetensors").to_str().unwrap(), "cut.safetensors");
    for file in ["zip.pth", "legacy.pth", "cut.safetensors"] {
        let error = scene.refused(&format!("import {file} --out out.safetensors"));
        assert!(error.contains("cut short") && error.contains("get it again"), "{error}");
    }
}

#[test]
fn what_export_says_of_pytorchs_classes_is_true_for_the_network_at_hand() {
    let says = |flags: &str, network: &str| {
        let scene = trained(flags);
        scene.run(&format!("export run --safetensors out.safetensors --network {network}")).stdout
    };
    let said = says("", "generator");
    let expected = "No published class takes them: they are those of GeneratorUNet(in_channels=3, out_channels=3), but \
                    for ngf 2 (the class has 64), a depth of 5 (the class has 8); a copy changed in that takes \
                    them with load_state_dict(strict=True)";
    assert!(said.contains(expected), "{said}");
    let isola = "--recipe isola --receptive-field 34 --norm instance-affine";
    let said = says(isola, "generator");
    let affine = "norm_layer=lambda c: nn.InstanceNorm2d(c, affine=True)) with load_state_dict(strict=True)";
    let expected = format!("They fit the authors' UnetGenerator(3, 3, num_downs=5, ngf=2, {affine}");
    assert!(said.contains(&expected), "{said}");
    let said = says(isola, "discriminator");
    let expected = format!("They fit the authors' NLayerDiscriminator(6, ndf=2, n_layers=2, {affine}");
    assert!(said.contains(&expected), "{said}");
    let said = says("", "discriminator");
    assert!(said.contains("those of Discriminator(in_channels=3) of pytorch-gan, but for ndf 2"), "{said}");
}

#[test]
fn export_without_a_target_asks_for_either() {
    let scene = Scene::new();
    let asked = scene.command("export run").assert().code(2);
    let error = String::from_utf8(asked.get_output().stderr.clone()).unwrap();
    assert!(error.contains("--onnx <FILE>") && error.contains("--safetensors <FILE>"), "{error}");
}

#[test]
fn names_in_a_file_neither_flood_nor_command_a_terminal() {
    let scene = trained("");
    let tensor: Stored = (Dtype::F32, vec![1], vec![0; 4]);
    let name = |letter: &str| format!("\u{1b}[31m{}", letter.repeat(900));
    let tensors: Vec<(String, Stored)> = ["a", "b", "c", "d", "e"].map(|letter| (name(letter), tensor.clone())).into();
    write_tensors(&scene, "long.safetensors", &tensors);
    for command in ["translate long.safetensors x.png --out out", "import long.safetensors --out out.safetensors"] {
        let error = scene.refused(command);
        assert!(error.contains("\\u{1b}[31maaaa") && error.contains("aaa…, \\u{1b}"), "{error}");
        assert!(error.len() < 1000, "{} bytes: {error}", error.len());
    }
    let mut more = bare(&scene.checkpoint("run", 5), "", Dtype::F32);
    more.push((name("z"), tensor));
    write_tensors(&scene, "more.safetensors", &more);
    let error = scene.refused("translate more.safetensors x.png --out out");
    assert!(error.contains("zzz…, which such a generator does not have") && error.len() < 1000, "{error}");
}

#[cfg(unix)]
#[test]
fn only_files_are_replaced_and_that_is_known_before_the_work() {
    use std::os::unix::fs::symlink;

    let scene = trained("");
    fs::create_dir(scene.path("folder")).unwrap();
    symlink("/dev/null", scene.path("null")).unwrap();
    symlink("real.safetensors", scene.path("link")).unwrap();
    for (target, kind) in [("null", "null is a device"), ("folder", "folder is a folder")] {
        for command in [
            format!("import {} --out {target}", fixture("pytorch-gan")),
            // The output is checked before the input is read.
            format!("import nowhere.pth --out {target}"),
            format!("export run --safetensors {target}"),
            format!("export run --onnx {target}"),
            format!("export run --onnx new/first.onnx --safetensors {target}"),
        ] {
            let error = scene.refused(&command);
            assert!(
                error.contains(kind) && error.contains("not replaced: remove it, or name a file"),
                "{command}: {error}"
            );
        }
    }
    scene.run("export run --safetensors link");
    assert!(scene.path("link").is_symlink() && scene.path("real.safetensors").is_file());
}
