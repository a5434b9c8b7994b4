//! The inputs of `pixtape translate`: the files of a folder that are taken, and reports on all others.

use std::fs;

use image::ImageFormat;

use super::scene::{Scene, TINY, half, pair};

fn trained() -> Scene {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    scene
}

/// The bytes of a small picture.
fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    half(0, 0).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn contents_decide_which_files_of_a_folder_are_taken_and_the_rest_is_named() {
    let scene = trained();
    scene.draw("in/0.png", &half(0, 0));
    scene.write("in/1.jfif", encoded(ImageFormat::Jpeg));
    scene.write("in/2", encoded(ImageFormat::Png));
    scene.write("in/3.image", encoded(ImageFormat::Bmp));
    scene.write("in/4.gif", "GIF89a");
    scene.write("in/5.ppm", "P6\n1 1\n255\nabc");
    scene.write("in/notes.txt", "no picture");
    scene.write("in/.hidden", "");
    scene.draw("in/sub/6.png", &half(0, 0));
    let said = scene.run("translate run in --out out");
    assert!(said.stdout.contains("Translated 4 images"), "{}", said.stdout);
    assert_eq!(scene.names("out"), ["0.png", "1.jpg", "2.png", "3.bmp"]);
    assert_eq!(
        said.stderr,
        "Left out 4 files, 1 folder (a GIF, which is not read: convert it to PNG: in/4.gif; a PPM, PGM or PBM, which \
         is not read: convert it to PNG: in/5.ppm; a folder that is not looked into: in/sub; hidden: in/.hidden; not a \
         PNG, JPEG, TIFF, WebP or BMP: in/notes.txt)\n"
    );
    // Files that are named directly must be pictures.
    let error = scene.refused("translate run in/2 in/4.gif --out elsewhere");
    assert!(error.contains("1 of 2 inputs cannot be translated") && error.contains("in/4.gif: not a PNG"), "{error}");
    // The output of an earlier command beside the inputs is not an input.
    scene.run("translate run in/0.png --out in/out");
    assert!(!scene.run("translate run in --out in/out").stderr.contains("in/out"));
}

#[test]
fn a_folder_of_folders_is_refused_with_those_that_are_there() {
    let scene = trained();
    scene.draw("in/aachen/0.png", &half(0, 0));
    scene.draw("in/bonn/0.png", &half(0, 0));
    let error = scene.refused("translate run in --out out");
    assert!(error.contains("no images in in itself, and its folders are not looked into: name them"), "{error}");
    assert!(error.contains("in/aachen, in/bonn") && error.contains("each with an --out of its own"), "{error}");
    scene.write("text/notes.txt", "");
    let error = scene.refused("translate run in/bonn text --out out");
    assert!(error.contains("no images in text: looked for .png") && error.contains("text/notes.txt"), "{error}");
    fs::create_dir(scene.path("empty")).unwrap();
    assert!(scene.refused("translate run empty --out out").contains("no images in empty: it is empty"));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_named_and_never_opened() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    let scene = trained();
    scene.draw("in/0.png", &half(0, 0));
    symlink("/dev/zero", scene.path("in/endless.png")).unwrap();
    let _socket = UnixListener::bind(scene.path("in/socket.png")).unwrap();
    assert!(Command::new("mkfifo").arg(scene.path("in/fifo.png")).status().unwrap().success());
    let said = scene.run("translate run in --out out");
    assert_eq!(scene.names("out"), ["0.png"]);
    for named in ["a device: in/endless.png", "a socket: in/socket.png", "a FIFO: in/fifo.png"] {
        assert!(said.stderr.contains(named), "{}", said.stderr);
    }
    for (name, kind) in [("endless", "a device"), ("socket", "a socket"), ("fifo", "a FIFO")] {
        let refused = scene.command(&format!("translate run in/{name}.png --out new")).assert().code(1);
        let error = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(error.contains(&format!("in/{name}.png: it is {kind} and no file")), "{error}");
    }
    for name in ["endless", "socket", "fifo"] {
        fs::remove_file(scene.path(&format!("in/{name}.png"))).unwrap();
    }
}

#[test]
fn side_by_side_files_without_the_flag_are_warned_of() {
    let scene = trained();
    scene.draw("in/pair.png", &pair(0, 64, 32));
    scene.draw("in/large.png", &pair(1, 96, 48));
    scene.draw("in/single.png", &half(0, 0));
    let said = scene.run("translate run in --out out");
    let warning =
        "warning: 2 of 3 inputs look like pairs, twice as wide as the 32x32 that was trained on (in/large.png: 96x48)";
    assert!(said.stderr.starts_with(warning) && said.stderr.contains("give --pairs"), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1);
    assert_eq!(scene.run("translate run in/pair.png --pairs --out halves").stderr, "");
    assert_eq!(scene.run("translate run in/single.png --out single").stderr, "");
    // Imported weights are taken to be trained at their published size, a square.
    let file = format!("{}/tests/fixtures/import/pytorch-gan.pth", env!("CARGO_MANIFEST_DIR"));
    scene.run(&format!("import {file} --out imported.safetensors"));
    let said = scene.run("translate imported.safetensors in --out imported");
    assert!(said.stderr.contains("2 of 3 inputs look like pairs, twice as wide as the 256x256"), "{}", said.stderr);
}
