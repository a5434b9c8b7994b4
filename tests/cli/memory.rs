//! Memory and threads: too little is refused before the work begins, running out is an error, and lists are bounded.

use std::fs;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};

use super::scene::{Scene, TINY, pair};
use super::tiff::{Order, Page, SHORT, build};

/// The smallest runs that read pictures.
const TRAIN: &str = "train --data data --steps 1 --image-size 32 --ngf 2 --ndf 2 --threads 1 --out run";

/// Runs a command with an address space of `kilobytes`.
fn limited(scene: &Scene, kilobytes: usize, line: &str) -> Output {
    let limited = format!(r#"ulimit -v {kilobytes}; exec "$@""#);
    Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(assert_cmd::cargo::cargo_bin!("pixtape"))
        .args(line.split_whitespace())
        .current_dir(scene.path(""))
        .env("CUDA_VISIBLE_DEVICES", "")
        // Otherwise the C library reserves 64 MiB of address space for each thread.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn megabytes(number: usize) -> usize {
    number * 1024
}

/// A picture of one colour: a small file whatever its size.
fn plain(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([30, 120, 210]))
}

#[test]
fn memory_that_runs_out_anywhere_is_one_error() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    scene.draw("large.png", &plain(1500, 1000));
    let import = format!("import {}/tests/fixtures/import/", env!("CARGO_MANIFEST_DIR"));
    let commands = [
        TRAIN.replace("--ngf 2", "--ngf 16"),
        "translate a large.png --threads 2 --out translated".to_owned(),
        "evaluate a --data data".to_owned(),
        "export a --onnx a.onnx".to_owned(),
        "data make edges data --size 32 --out made".to_owned(),
        format!("{import}{} --out b.safetensors", any_import()),
    ];
    // Limits from where the loader maps the program, and fails to map its libraries, to more than any command takes.
    let limits = (0..).map(|step| (megabytes(8) as f64 * 1.28_f64.powi(step)) as usize);
    let limits: Vec<usize> = limits
        .skip_while(|&kilobytes| limited(&scene, kilobytes, "--version").status.code().is_none())
        .take(15)
        .collect();
    let (mut refused, mut done) = (0, 0);
    for line in &commands {
        for &kilobytes in &limits {
            for made in ["run", "translated", "made"] {
                let _ = fs::remove_dir_all(scene.path(made));
            }
            let output = limited(&scene, kilobytes, line);
            let text = errors(&output);
            let lines = text.lines().filter(|line| line.starts_with("error: ")).count();
            match output.status.code() {
                Some(0) => done += 1,
                // The dynamic loader fails with its own message.
                Some(127) => {}
                code => {
                    assert_eq!((code, lines), (Some(1), 1), "{line} with {kilobytes} kB: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 15 && done >= 15, "{refused} refused, {done} done");
}

/// The name of a file of PyTorch.
fn any_import() -> String {
    let files = fs::read_dir(format!("{}/tests/fixtures/import", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".pth"));
    names.sort();
    names.remove(0)
}

#[test]
fn what_is_too_large_for_the_machine_is_refused_with_numbers_and_the_cure() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    scene.draw("large.png", &plain(3000, 2000));
    let output = limited(&scene, megabytes(400), "translate a large.png --threads 1 --out out");
    let text = errors(&output);
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    for words in
        ["error: translating large.png of 3000x2000 as a whole takes ", "`ulimit -v` leaves ", "--tile 32 takes "]
    {
        assert!(text.contains(words), "{words} is missing: {text}");
    }
    assert!(!scene.path("out").exists());
    let output = limited(&scene, megabytes(400), "translate a large.png --tile 256 --threads 1 --out out");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));

    let large = "train --image-size 512 --batch 8 --ngf 32 --ndf 32 --threads 1 --out run";
    let output = limited(&scene, megabytes(500), large);
    let text = errors(&output);
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    for words in ["error: training at 512 with --batch 8 and --ngf 32 takes ", "`ulimit -v` leaves ", "smaller --batch"]
    {
        assert!(text.contains(words), "{words} is missing: {text}");
    }
    assert!(!scene.path("run").exists());
}

/// Both pictures have 34 MiB of samples, and 69 MiB of floats.
#[test]
fn in_tiles_a_picture_takes_the_memory_of_a_strip() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    let picture = RgbImage::from_fn(3000, 2000, |x, y| Rgb([x as u8, y as u8, ((x * y) >> 8) as u8]));
    scene.draw("in/x.png", &picture);
    scene.draw("in/y.tif", &picture);
    let tiled = "translate a in --tile 64 --threads 1 --out";
    let output = limited(&scene, megabytes(90), &format!("{tiled} strips"));
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    // The same in one piece, with a lower bound on pictures, and in a format without rows.
    scene.run(&format!("{tiled} pieces --format bmp"));
    for (strips, piece) in [("x.png", "x.bmp"), ("y.tif", "y.bmp")] {
        let [strips, piece] = [format!("strips/{strips}"), format!("pieces/{piece}")].map(|path| scene.picture(&path));
        assert!(strips == piece, "{}", piece.width());
    }
    let bounded = |line: &str| scene.command(line).env("PIXTAPE_MAX_PICTURE", "1").output().unwrap();
    let output = bounded(&format!("{tiled} bounded"));
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let text = errors(&bounded("translate a in --threads 1 --out no"));
    for words in ["in/x.png: it is too large: 18 MiB when decoded, of 1 at most", "in/y.tif: ", "or give --tile"] {
        assert!(text.contains(words), "{words} is missing: {text}");
    }
    // A result that is written as a whole.
    let text = errors(&limited(&scene, megabytes(90), &format!("{tiled} no --format bmp")));
    assert!(text.contains("or --format png, which is written by rows"), "{text}");
    assert!(!scene.path("no").exists());
}

#[test]
fn what_has_to_be_decoded_as_a_whole_is_refused_by_name() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    scene.draw("in/plain.jpg", &plain(3000, 2000));
    // One strip, and one that has to be turned by a quarter.
    let strip = |photometric| Page::new(3000, 2000, 8, 3, photometric, vec![90; 18_000_000]);
    scene.write("in/strip.tif", build(Order::default(), &[strip(2)]));
    scene.write("in/turned.tif", build(Order::default(), &[strip(2).with(274, SHORT, &[6])]));
    let output = limited(&scene, megabytes(60), "translate a in --tile 32 --threads 1 --out out");
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for (name, mebibytes) in [("plain.jpg", 69), ("strip.tif", 103), ("turned.tif", 172)] {
        let expected = format!("in/{name}: working on it takes {mebibytes} MiB of memory, and `ulimit -v` leaves ");
        assert!(text.contains(&expected), "{expected} is missing: {text}");
    }
    assert!(!scene.path("out").exists());
}

/// A command that is not refused has to succeed: the memory that was computed suffices, beside some 60 MiB for the
/// program itself.
#[test]
fn the_memory_that_a_command_is_said_to_take_is_enough_for_it() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    scene.draw("middle.png", &plain(1000, 800));
    scene.draw("large.png", &plain(6000, 1000));
    let commands = [
        "translate a middle.png --threads 1 --out out",
        "translate a middle.png --threads 1 --out out --format bmp",
        "translate a large.png --tile 512 --threads 1 --out out",
        "train --image-size 256 --ngf 8 --ndf 8 --batch 2 --steps 1 --threads 1 --out run",
    ];
    for line in commands {
        let text = errors(&limited(&scene, megabytes(60), line));
        let told =
            text.split_once(" takes ").and_then(|(_, rest)| rest.split_once(" MiB of memory")).unwrap_or_default();
        let told: usize = told.0.parse().unwrap_or_else(|_| panic!("{line}: {text}"));
        let output = limited(&scene, megabytes(told + 60), line);
        assert_eq!(output.status.code(), Some(0), "{line} with {told} MiB: {}", errors(&output));
    }
}

#[test]
fn the_environment_starts_no_threads_and_many_are_no_hang() {
    let mut scene = Scene::new();
    scene.set("RAYON_NUM_THREADS", "999999");
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    scene.run("data check data");
    scene.run("data make edges data --size 32 --out made");
    scene.run(TRAIN);
    scene.run("evaluate run --data data");
    scene.run(&TRAIN.replace("--threads 1", "--threads 1024").replace("run", "many"));
}

/// Decoded they are 144 MB each. Two at once, with the copies that are made of them, do not fit.
#[test]
fn large_pictures_are_worked_on_one_after_the_other() {
    let scene = Scene::new();
    scene.draw("data/1.png", &plain(8000, 6000));
    fs::copy(scene.path("data/1.png"), scene.path("data/2.png")).unwrap();
    assert!(fs::metadata(scene.path("data/1.png")).unwrap().len() < 10_000_000);
    let output = limited(&scene, megabytes(900), "data check data");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let output = limited(&scene, megabytes(500), "data check data");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("working on data/1.png takes ") && text.contains("`ulimit -v` leaves "), "{text}");
}

#[test]
fn thousands_of_bad_files_are_twenty_lines_and_a_count() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out a"));
    for number in 0..3000 {
        scene.write(&format!("bad/{number}.png"), "no picture");
        scene.write(&format!("other/{number}.png"), "no picture");
    }
    let commands = [
        "train --data bad --out run",
        "evaluate a --data bad",
        "data pair --a bad --b other --out pairs",
        "data pair --a bad --b a/samples --out pairs",
        "data make edges bad --size 32 --out made",
        "translate a bad --out out",
    ];
    for line in commands {
        let text = scene.refused(line);
        assert!(text.lines().count() <= 22 && text.contains("more"), "{line}: {text}");
    }
    let output = scene.command("data check bad").assert().code(1).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() <= 30 && text.contains("Unusable  and 2980 more"), "{text}");
}

#[test]
fn thousands_of_files_that_are_left_out_are_twenty_lines_and_a_count() {
    let scene = Scene::new();
    scene.draw("photos/large.png", &pair(0, 64, 64));
    for number in 0..1000 {
        scene.write(&format!("photos/{number}.txt"), "no picture");
    }
    for number in 0..100 {
        scene.draw(&format!("photos/small{number}.png"), &pair(number % 8, 8, 8));
    }
    let text = scene.run("data make edges photos --size 32 --out made").stderr;
    assert!(text.lines().count() <= 22, "{text}");
    assert!(
        text.contains("Left out: and 980 more") && text.contains("small") && text.contains("and 80 more"),
        "{text}"
    );
}
