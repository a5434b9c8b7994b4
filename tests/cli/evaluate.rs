//! `pixtape evaluate`: the distances that it prints are those of the pictures that `translate` makes.

use image::RgbImage;
use image::imageops::crop_imm;
use serde_json::Value;

use super::scene::{Said, Scene, TINY};

fn number(said: &Said, name: &str) -> f64 {
    let line = said.stdout.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// L1 on the scale of [-1, 1], and PSNR, of two pictures in bytes.
fn distances(a: &RgbImage, b: &RgbImage) -> [f64; 2] {
    assert_eq!(a.dimensions(), b.dimensions());
    let differences: Vec<f64> =
        a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)) / 127.5).collect();
    let mean = |term: fn(f64) -> f64| differences.iter().map(|&d| term(d)).sum::<f64>() / differences.len() as f64;
    [mean(|d| d), 10.0 * (4.0 / mean(|d| d * d)).log10()]
}

#[test]
fn the_distances_are_those_of_the_translated_pictures() {
    for (direction, target) in [("a-to-b", 1), ("b-to-a", 0)] {
        let scene = Scene::new();
        let pairs =
            ["train/a", "train/b", "val/v", "test/x", "test/y", "test/z"].map(|name| format!("data/{name}.png"));
        scene.draw_pairs(&pairs.each_ref().map(|name| &**name));
        scene.run(&format!("train --data data --direction {direction} {TINY} --lr 0.01 --steps 10 --out run"));
        for dropout in ["--dropout off", "--dropout on --seed 3"] {
            let said = scene.run(&format!("evaluate run --data data {dropout}"));
            assert!(said.stdout.starts_with("3 pairs (test/) of data"), "{}", said.stdout);
            scene.run(&format!("translate run data/test --pairs --out out {dropout}"));
            // A byte is at most half a step of 1 / 127.5 away from its value, and so is the root of the mean square.
            let rounding = 0.5 / 127.5;
            let mut sums = [0.0; 3];
            for name in ["x", "y", "z"] {
                let half =
                    crop_imm(&scene.picture(&format!("data/test/{name}.png")), target * 32, 0, 32, 32).to_image();
                let [l1, psnr] = distances(&scene.picture(&format!("out/{name}.png")), &half);
                let root = 2.0 * 10f64.powf(-psnr / 20.0);
                let psnr_rounding = -20.0 * (1.0 - rounding / root).log10();
                sums = [sums[0] + l1, sums[1] + psnr, sums[2] + psnr_rounding];
            }
            let [l1, psnr, psnr_rounding] = sums.map(|sum| sum / 3.0);
            // The tolerance includes half a unit of the last digit that is printed.
            let is_close = |name, value: f64, tolerance: f64| (number(&said, name) - value).abs() <= tolerance;
            assert!(is_close("L1", l1, rounding + 0.51e-4), "{direction} {dropout}: {} and {l1}", said.stdout);
            let psnr_is_close = is_close("PSNR", psnr, psnr_rounding + 0.51e-2);
            assert!(psnr_is_close, "{direction} {dropout}: {} and {psnr}", said.stdout);
        }
    }
}

#[test]
fn json_has_a_row_for_every_pair_and_the_page_shows_them() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/test/x.png", "data/test/y & z.png", "data/test/w.png", "data/a.png"]);
    scene.run(&format!("train --data data {TINY} --lr 0.01 --steps 3 --out run"));
    let said = scene.run("evaluate run --data data --dropout off --threads 1 --json --out page/of/run");
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    let written = std::fs::read_to_string(scene.path("page/of/run/evaluation.json")).unwrap();
    assert_eq!(said.stdout.trim_end(), written);
    let said_of = |key: &str| json[key].as_str().unwrap();
    assert_eq!(["split", "model", "data", "direction"].map(said_of), ["test/", "run", "data", "a-to-b"]);

    let images = json["images"].as_array().unwrap();
    let names: Vec<&str> = images.iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["w.png", "x.png", "y & z.png"]);
    for metric in ["l1", "psnr", "ssim"] {
        let values: Vec<f64> = images.iter().map(|image| image[metric].as_f64().unwrap()).collect();
        let mean = values.iter().sum::<f64>() / 3.0;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        let summary = |key: &str| json["summary"][metric][key].as_f64().unwrap();
        assert!((summary("mean") - mean).abs() <= 1e-12, "{metric}: {mean}");
        assert!((summary("deviation") - deviation).abs() <= 1e-12, "{metric}: {deviation}");
        assert_eq!(summary("min"), values.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(summary("max"), values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }

    // The page shows the pictures that `translate` makes.
    scene.run("translate run data/test --pairs --out out --dropout off");
    for (number, name) in ["w", "x", "y & z"].iter().enumerate() {
        let at = |kind: &str| scene.picture(&format!("page/of/run/images/0000{}-{kind}.png", number + 1));
        let pair = scene.picture(&format!("data/test/{name}.png"));
        let half = |left| crop_imm(&pair, left, 0, 32, 32).to_image();
        assert!(at("input") == half(0) && at("target") == half(32), "{name}");
        assert!(at("output") == scene.picture(&format!("out/{name}.png")), "{name}");
    }
    let html = std::fs::read_to_string(scene.path("page/of/run/index.html")).unwrap();
    assert!(html.contains("y &amp; z.png") && html.contains("images/00003-output.png"), "{html}");
    assert_eq!(scene.names("page/of/run"), ["evaluation.json", "images", "index.html"]);
}

#[test]
fn a_page_takes_the_place_of_an_earlier_one_and_of_nothing_else() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    let evaluate = |data: &str, out: &str| format!("evaluate run --data {data} --out {out}");

    scene.run(&evaluate("data", "page"));
    scene.write("page/images/00001-mine.png", "mine");
    scene.write("page/notes.txt", "mine");
    std::fs::remove_file(scene.path("data/b.png")).unwrap();
    scene.run(&evaluate("data", "page"));
    let of_one = ["00001-input.png", "00001-output.png", "00001-target.png"];
    assert_eq!(scene.names("page/images"), [of_one[0], "00001-mine.png", of_one[1], of_one[2]]);
    assert_eq!(scene.names("page"), ["evaluation.json", "images", "index.html", "notes.txt"]);

    // An evaluation that was stopped has no numbers yet.
    scene.write("stopped/images/00001-output.png", "");
    scene.write("stopped/images/00007-input.png.unfinished", "");
    std::fs::create_dir(scene.path("empty")).unwrap();
    for out in ["stopped", "empty"] {
        scene.run(&evaluate("data", out));
        assert_eq!(scene.names(&format!("{out}/images")), of_one);
    }

    scene.write("site/index.html", "mine");
    scene.write("photos/images/holiday.png", "mine");
    for out in ["site", "photos", "run"] {
        let error = scene.refused(&evaluate("data", out));
        assert!(error.contains(&format!("--out {out} holds something else than an evaluation")), "{error}");
    }
    assert!(scene.refused(&evaluate("data", "site/index.html")).contains("is a file"));
    // Pairs with the names of an evaluation's pictures, even in the folder of one.
    scene.draw_pairs(&["pairs/images/00001-input.png"]);
    scene.write("pairs/evaluation.json", "{}");
    for out in ["pairs", "pairs/images", "pairs/images/../"] {
        let error = scene.refused(&evaluate("pairs/images", out));
        assert!(error.contains("holds the pairs themselves"), "{error}");
    }
}

#[test]
fn training_brings_the_pictures_closer() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    scene
        .run(&format!("train --data data {TINY} --dropout 0 --lr 0.01 --steps 60 --save-every 1 --keep 100 --out run"));
    let before = scene.run(&format!("evaluate {} --data data", super::scene::checkpoint("run", 1)));
    let after = scene.run("evaluate run --data data");
    assert!(after.stdout.contains("2 pairs (all)"), "{}", after.stdout);
    assert!(number(&after, "L1") < 0.8 * number(&before, "L1"), "{} {}", before.stdout, after.stdout);
    assert!(number(&after, "PSNR") > number(&before, "PSNR") + 1.0, "{} {}", before.stdout, after.stdout);
}

#[test]
fn what_is_held_out_is_found_and_dropout_is_said() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out run"));
    let first = |data: &str| {
        let said = scene.run(&format!("evaluate run --data {data} --seed 4"));
        assert!(said.stdout.contains("dropout on (seed 4)"), "{}", said.stdout);
        said.stdout.lines().next().unwrap().to_owned()
    };
    scene.draw_pairs(&["val/train/a.png", "val/val/a.png", "val/val/b.png", "held-out/test/c.png"]);
    assert_eq!(first("val"), "2 pairs (val/) of val, from A to B, at 32");
    // A folder that holds nothing to train on.
    assert_eq!(first("held-out"), "1 pair (test/) of held-out, from A to B, at 32");
}

#[test]
fn bad_data_is_refused() {
    let scene = Scene::new();
    scene.run(&format!("train {TINY} --steps 1 --out run"));
    assert!(scene.refused("evaluate run --data nowhere").contains("nowhere"));
    scene.write("empty/notes.txt", "");
    assert!(scene.refused("evaluate run --data empty").contains("no images in empty"));
    scene.write("bad/test/text.png", "no picture");
    scene.draw_pairs(&["bad/train/a.png"]);
    assert!(scene.refused("evaluate run --data bad").contains("text.png: not a PNG"));
    assert!(scene.refused("evaluate nowhere --data bad").contains("nowhere does not exist"));
}
