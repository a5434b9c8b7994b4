//! The output of a command replaces a regular file, or is a new one. Devices, FIFOs and folders are refused before any
//! work; links are followed.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::scene::{Scene, TINY};

/// A trained run, pictures to work on, and things that are no files.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    let made = Command::new("mkfifo").arg(scene.path("fifo")).status().unwrap();
    assert!(made.success());
    symlink("/dev/null", scene.path("device")).unwrap();
    symlink("nowhere/at/all", scene.path("dangling")).unwrap();
    fs::create_dir(scene.path("folder")).unwrap();
    scene
}

fn import() -> String {
    format!("import {}/tests/fixtures/import/block-ck.pth", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn files_are_not_written_over_devices_fifos_and_folders() {
    let scene = scene();
    for (target, kind) in [("fifo", "a FIFO"), ("device", "a device"), ("folder", "a folder")] {
        for line in ["export run --onnx", "export run --safetensors", &format!("{} --out", import())] {
            let error = scene.refused(&format!("{line} {target}"));
            let words = format!("{target} is {kind}, which is not replaced: remove it, or name a file");
            assert!(error.contains(&words), "{line}: {error}");
        }
        // The output is checked before the input is read: there is no such run.
        let error = scene.refused(&format!("export nowhere --onnx {target}"));
        assert!(error.contains(kind), "{error}");
        let error = scene.refused(&format!("import nowhere.pth --out {target}"));
        assert!(error.contains(kind), "{error}");
    }
    assert!(scene.path("device").is_symlink());
}

#[test]
fn folders_are_not_made_of_devices_fifos_and_files() {
    let scene = scene();
    for (target, words) in [
        ("fifo", "fifo is a FIFO and no folder"),
        ("device", "device is a device and no folder"),
        ("data/a.png", "a.png is a file and no folder"),
        ("dangling", "dangling is a link to nothing"),
        ("fifo/below", "fifo is a FIFO and no folder"),
    ] {
        for line in [
            "translate run data",
            "translate run nowhere.png",
            "evaluate run --data data",
            &format!("train {TINY} --steps 1"),
        ] {
            let error = scene.refused(&format!("{line} --out {target}"));
            assert!(error.contains("--out") && error.contains(words), "{line}: {error}");
        }
    }
}

#[test]
fn no_picture_is_written_where_one_has_no_place() {
    let scene = scene();
    fs::create_dir_all(scene.path("out/b.png")).unwrap();
    let error = scene.refused("translate run data --out out");
    assert!(error.contains("out/b.png is a folder, which is not replaced"), "{error}");

    scene.run("evaluate run --data data --out page");
    for name in ["index.html", "evaluation.json", "images/00001-input.png"] {
        let file = scene.path("page").join(name);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        symlink("/dev/null", &file).unwrap();
        let error = scene.refused("evaluate run --data data --out page");
        assert!(error.contains(name) && error.contains("is a device"), "{error}");
        fs::remove_file(&file).unwrap();
        fs::write(&file, whole).unwrap();
    }
    scene.run("evaluate run --data data --out page");
}

#[test]
fn links_are_followed_also_to_tell_one_file_from_another() {
    let scene = scene();
    scene.write("elsewhere/old.onnx", "old");
    symlink("elsewhere/old.onnx", scene.path("link.onnx")).unwrap();
    symlink("elsewhere/new.safetensors", scene.path("link.safetensors")).unwrap();
    scene.run("export run --onnx link.onnx --safetensors link.safetensors");
    assert!(scene.path("link.onnx").is_symlink() && scene.path("link.safetensors").is_symlink());
    assert!(fs::metadata(scene.path("elsewhere/old.onnx")).unwrap().len() > 1000);
    assert!(scene.path("elsewhere/new.safetensors").is_file());
    assert_eq!(scene.names("elsewhere"), ["new.safetensors", "old.onnx"]);

    // Two names of one file that is not there yet, and of one that is exported.
    symlink("both", scene.path("other")).unwrap();
    for (onnx, safetensors) in [("both", "other"), ("both", "./both"), ("folder/../both", "both")] {
        let error = scene.refused(&format!("export run --onnx {onnx} --safetensors {safetensors}"));
        assert!(error.contains("both write"), "{error}");
    }
    symlink("run/checkpoints/step-00000001.safetensors", scene.path("itself")).unwrap();
    assert!(scene.refused("export run --safetensors itself").contains("is what is exported"));

    // Outputs of two inputs that are one file by a link.
    fs::create_dir(scene.path("out")).unwrap();
    symlink("b.png", scene.path("out/a.png")).unwrap();
    let error = scene.refused("translate run data --out out");
    assert!(error.contains("would both be written"), "{error}");
}

/// The files of a resumed run may be links as well.
#[test]
fn files_of_a_run_may_be_links() {
    let scene = scene();
    for name in ["losses.csv", "config.toml", "report.html"] {
        fs::rename(scene.path("run").join(name), scene.path("folder").join(name)).unwrap();
        symlink(scene.path("folder").join(name), scene.path("run").join(name)).unwrap();
    }
    scene.run("train --resume run --steps 2");
    assert_eq!(scene.rows("folder").len(), 2);
    assert!(["losses.csv", "config.toml", "report.html"].iter().all(|name| scene.path("run").join(name).is_symlink()));
    assert!(fs::read_to_string(scene.path("folder/config.toml")).unwrap().contains("steps = 2"));
}
