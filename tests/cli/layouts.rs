//! Pairs as users lay them out: by suffix, in folders of many names, under names that differ in case; and single
//! pictures, which are no pairs.

use std::fs;

use image::imageops::{crop_imm, replace};
use image::{Rgb, RgbImage};

use super::scene::{Said, Scene, TINY, checkpoint, half, pair};

/// Draws both pictures of each of `names`; `path` makes the path of a side out of the name and 0 or 1.
fn draw(scene: &Scene, names: &[&str], path: impl Fn(&str, usize) -> String) {
    for (number, name) in names.iter().enumerate() {
        for side in 0..2 {
            scene.draw(&path(name, side), &half(number as u32, side as u32));
        }
    }
}

fn line<'a>(said: &'a Said, start: &str) -> &'a str {
    let both = said.stdout.lines().chain(said.stderr.lines());
    let found = both.into_iter().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line {start}: {} {}", said.stdout, said.stderr))
}

/// Asserts that a run on `data` equals one on side-by-side files of the same pictures, and that the layout is reported
/// as `said`.
fn assert_same_as_side_by_side(scene: &Scene, data: &str, said: &str) {
    scene.draw_pairs(&["whole/0.png", "whole/1.png"]);
    let learn = |data: &str, run: &str| {
        let said =
            scene.run(&format!("train --data {data} {TINY} --shuffle false --augment none --steps 2 --out {run}"));
        (scene.rows(run), said)
    };
    let (expected, _) = learn("whole", &format!("run-whole-{}", data.replace('/', "-")));
    let (rows, train) = learn(data, &format!("run-{}", data.replace('/', "-")));
    assert_eq!(rows, expected, "{data}");
    for found in [&train, &scene.run(&format!("data check {data}"))] {
        assert_eq!(line(found, "Found"), format!("Found     pairs {said}"), "{data}");
    }
}

#[test]
fn files_told_apart_by_a_suffix_are_pairs() {
    let scene = Scene::new();
    for (data, a, b) in
        [("upper", "_A.png", "_B.png"), ("words", "_input.png", "_target.bmp"), ("dash", "-photo.tif", "-label.png")]
    {
        draw(&scene, &["0", "1"], |name, side| format!("{data}/{name}{}", [a, b][side]));
        let (a, b) = (a.split('.').next().unwrap(), b.split('.').next().unwrap());
        let said = format!("by suffix in one folder, …{a} (A) is the input, …{b} (B) the target");
        assert_same_as_side_by_side(&scene, data, &said);
    }
    // Unknown words are ordered by their bytes; here that of the target is the greater one, and `--direction` reverses
    // the pair.
    draw(&scene, &["0", "1"], |name, side| format!("unknown/train/{name}_{}.png", ["day", "night"][side]));
    draw(&scene, &["0", "1"], |name, side| format!("unknown/test/{name}_{}.png", ["day", "night"][side]));
    let said = scene.run("data check unknown --direction b-to-a");
    assert_eq!(
        line(&said, "Found"),
        "Found     pairs by suffix in one folder, …_day (A) is the target, …_night (B) the input"
    );
    assert_eq!(line(&said, "Pairs"), "Pairs     2 pairs in train/ to learn from, 2 pairs in test/ held out");
}

#[test]
fn pairs_by_suffix_are_divided_and_stay_pairs() {
    let scene = Scene::new();
    let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    draw(&scene, &names, |name, side| format!("pairs/{name}_{}.png", ["A", "B"][side]));
    let said = scene.run("data split pairs --out data --val 0.2 --test 0.2");
    assert_eq!(said.stdout, "Divided 10 pairs into data: 6 in train/, 2 in val/, 2 in test/\n");
    assert_eq!(scene.names("data/test").len(), 4);
    let said = scene.run("data check data");
    assert_eq!(
        line(&said, "Pairs"),
        "Pairs     6 pairs in train/ to learn from, 2 pairs in val/ held out, 2 pairs in test/ for evaluate"
    );
}

#[test]
fn suffixes_that_not_all_files_have_are_refused_with_what_to_type() {
    let scene = Scene::new();
    draw(&scene, &["0", "1"], |name, side| format!("three/{name}_{}.png", ["A", "B"][side]));
    scene.draw("three/0_C.png", &half(0, 0));
    draw(&scene, &["0", "1"], |name, side| format!("left/{name}_{}.png", ["input", "target"][side]));
    scene.draw("left/2_input.png", &half(0, 0));
    for (data, pair, other) in [("three", "0_A and 0_B", "0_C"), ("left", "0_input and 0_target", "2_input")] {
        for line in [
            format!("data check {data}"),
            format!("data split {data} --out new"),
            format!("train --data {data} {TINY} --steps 1 --out run"),
        ] {
            let error = scene.refused(&line);
            let words = format!("{pair} look like the two files of a pair, but {other} like none");
            assert!(error.contains(&words) && error.contains("`pixtape data pair --a "), "{line}: {error}");
        }
    }
}

#[test]
fn numbers_are_no_suffix() {
    let scene = Scene::new();
    scene.draw_pairs(&[
        "frames/shot_001.png",
        "frames/shot_002.png",
        "again/x_1.png",
        "again/x_2.png",
        "again/y_1.png",
        "again/y_2.png",
    ]);
    for data in ["frames", "again"] {
        assert!(line(&scene.run(&format!("data check {data}")), "Found").contains("pairs side by side"), "{data}");
    }
}

#[test]
fn folders_of_many_names_are_sides() {
    let scene = Scene::new();
    let standard = "by name in two folders, A is the input, B the target";
    let named = |a: &str, b: &str| format!("by name in two folders, {a}/ (A) is the input, {b}/ (B) the target");
    for (data, [a, b], said) in [
        ("hd", ["train_A", "train_B"], standard.to_owned()),
        ("lower", ["a", "b"], named("a", "b")),
        ("words", ["input", "target"], named("input", "target")),
        ("plural", ["Images", "Labels"], named("Images", "Labels")),
        ("inner", ["train/source", "train/target"], named("source", "target")),
        ("outer", ["photos/train", "masks/train"], named("photos", "masks")),
        ("mixed", ["A", "b"], "by name in two folders, A is the input, b/ (B) the target".to_owned()),
        // Cityscapes has folders of cities.
        ("nested", ["A/train/bonn", "B/train/bonn"], standard.to_owned()),
        ("deep", ["input/x/y", "target/x/y"], named("input", "target")),
    ] {
        draw(&scene, &["0", "1"], |name, side| format!("{data}/{}/{name}.png", [a, b][side]));
        assert_same_as_side_by_side(&scene, data, &said);
        let said = scene.run(&format!("data check {data}"));
        assert!(!said.stdout.contains("Skipped"), "{}", said.stdout);
    }
}

#[test]
fn nested_folders_are_joined_by_their_paths_and_divided_with_them() {
    let scene = Scene::new();
    for city in ["aachen", "bonn"] {
        draw(&scene, &["0", "1", "2"], |name, side| format!("data/{}/{city}/{name}.png", ["A", "B"][side]));
    }
    scene.draw("data/A/bonn/3.png", &half(0, 0));
    let said = scene.run("data check data");
    assert_eq!(line(&said, "Pairs"), "Pairs     6 pairs to learn from");
    assert_eq!(line(&said, "Skipped"), "Skipped   1 file (no partner in B: A/bonn/3.png)");
    scene.run("data split data --out parts --val 0 --test 0.3");
    let said = scene.run("data check parts");
    assert_eq!(line(&said, "Pairs"), "Pairs     4 pairs in train/ to learn from, 2 pairs in test/ held out");
}

#[test]
fn folders_that_may_be_sides_or_not_are_named_with_the_command_that_joins_them() {
    let scene = Scene::new();
    draw(&scene, &["0", "1"], |name, side| format!("two/{}/{name}.png", ["day", "night"][side]));
    let error = scene.refused("data check two");
    for words in [
        "no images in two",
        "there are day/ (2 pictures), night/ (2 pictures)",
        "`pixtape data pair --a two/day --b two/night --out pairs` joins two folders",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    scene.run("data pair --a two/day --b two/night --out pairs");

    for folder in ["images", "labels", "masks"] {
        scene.draw(&format!("three/{folder}/0.png"), &half(0, 0));
    }
    let error = scene.refused("data check three");
    let words =
        "which two folders of three are the sides of its pairs? there are images, labels, masks; `pixtape data pair";
    assert!(error.contains(words), "{error}");

    // One side in test/ alone.
    draw(&scene, &["0"], |name, side| format!("part/train_{}/{name}.png", ["input", "target"][side]));
    scene.draw("part/test_input/0.png", &half(0, 0));
    let error = scene.refused("data check part");
    assert!(error.contains("part has a folder test_input but none for target"), "{error}");
}

/// Fingerprints of existing runs depend on this.
#[test]
fn what_was_accepted_before_is_accepted_as_it_was() {
    let scene = Scene::new();
    // Side-by-side files beside the folders that they were made from.
    scene.draw_pairs(&["made/0.png", "made/1.png"]);
    draw(&scene, &["0", "1"], |name, side| format!("made/{}/{name}.png", ["images", "labels"][side]));
    assert!(line(&scene.run("data check made"), "Found").contains("pairs side by side"));
    // One picture beside the folders makes it unclear which are meant.
    draw(&scene, &["0", "1"], |name, side| format!("logo/{}/{name}.png", ["images", "labels"][side]));
    scene.draw_pairs(&["logo/logo.png"]);
    let error = scene.refused("data check logo");
    let words = "logo: are its pairs the 1 picture in it, or the 2 pairs in folders images/ and labels/?";
    assert!(error.contains(words), "{error}");
    // Names that differ in case are skipped if others are equal.
    draw(&scene, &["0", "1"], |name, side| format!("case/{}/{name}.png", ["A", "B"][side]));
    scene.draw("case/A/X.png", &half(0, 0));
    scene.draw("case/B/x.png", &half(0, 1));
    let said = scene.run("data check case");
    assert_eq!(line(&said, "Pairs"), "Pairs     2 pairs to learn from");
    let why = "its partner in B differs in case or Unicode form: rename one: A/X.png";
    assert!(line(&said, "Skipped").contains(why), "{}", said.stdout);
    // Folders below a side that has pictures of its own.
    draw(&scene, &["0", "more/1"], |name, side| format!("flat/{}/{name}.png", ["A", "B"][side]));
    let said = scene.run("data check flat");
    assert_eq!(line(&said, "Skipped"), "Skipped   2 folders (a folder that is not looked into: A/more, B/more)");
}

#[test]
fn names_that_differ_in_case_or_unicode_form_are_joined() {
    let scene = Scene::new();
    draw(&scene, &["0", "1"], |name, side| {
        format!("case/{}", [format!("A/IMG_{name}.PNG"), format!("B/img_{name}.png")][side])
    });
    let form = |name: &str, side: usize| format!("{}/caf{}{name}.png", ["A", "B"][side], ["\u{e9}", "e\u{301}"][side]);
    draw(&scene, &["0", "1"], |name, side| format!("form/{}", form(name, side)));
    for data in ["case", "form"] {
        let said = "by name, but for case and Unicode form, in two folders, A is the input, B the target";
        assert_same_as_side_by_side(&scene, data, said);
        let said = scene.run(&format!("data pair --a {data}/A --b {data}/B --out {data}-pairs"));
        assert!(said.stdout.starts_with("Joined 2 pairs"), "{}", said.stdout);
    }
    // Three files of one name but for case.
    scene.draw("case/A/Img_0.png", &half(0, 0));
    for line in ["data pair --a case/A --b case/B --out again", "data split case --out again"] {
        let error = scene.refused(line);
        assert!(error.contains("case/A/IMG_0.PNG and case/A/Img_0.png have one name but for case"), "{error}");
    }
    // Names that differ altogether.
    draw(&scene, &["0", "1", "2"], |name, side| format!("other/{}{name}.png", ["A/x", "B/y"][side]));
    let error = scene.refused("data check other");
    let words = "of 6 images in folders A/ and B/ no two have one name; A/x0.png has no partner, nor have A/x1.png, \
                 A/x2.png, B/y0.png, B/y1.png, 1 more";
    assert!(error.contains(words), "{error}");
}

#[test]
fn five_problems_of_two_folders_are_named_and_the_others_counted() {
    let scene = Scene::new();
    for number in 0..8 {
        scene.draw(&format!("a/{number}.png"), &half(0, 0));
    }
    scene.draw("b/0.png", &half(0, 1));
    let error = scene.refused("data pair --a a --b b --out pairs");
    assert!(error.contains("7 problems before these folders can be joined"), "{error}");
    assert_eq!((error.lines().count(), error.lines().last()), (7, Some("  and 2 more")), "{error}");
    assert!(error.contains("\n  a/1.png has no partner in b\n"), "{error}");
}

#[test]
fn single_pictures_are_not_cut_into_halves() {
    let scene = Scene::new();
    for number in 0..3 {
        scene.draw(&format!("single/{number}.png"), &pair(number, 64, 64));
    }
    for line in [
        "data check single".to_owned(),
        "data split single --out new --val 0".to_owned(),
        format!("train --data single {TINY} --steps 1 --out run"),
    ] {
        let error = scene.refused(&line);
        let words = "each file of 64x64 would be cut into two of 32x64: 0.png and 2 more";
        assert!(error.contains("error: 3 of 3 files in ") && error.contains(words), "{line}: {error}");
    }
    // The image size may ask for such halves.
    assert!(
        scene.refused("data split single --out new --val 0").contains("give an --image-size of the shape of a half")
    );
    scene.run("data split single --out parts --val 0 --image-size 32x64");
    scene.run(&format!("train --data parts {} --steps 1 --out run", TINY.replace("size 32", "size 32x64")));
    assert!(scene.run("data check single --image-size 32x64").stdout.contains("Everything can be used"));
    // A single one among pairs is named alone.
    scene.draw_pairs(&["mixed/a.png", "mixed/b.png"]);
    scene.draw("mixed/c.png", &pair(0, 64, 64));
    let error = scene.refused("data check mixed");
    assert!(error.contains("1 of 3 files in mixed") && error.contains("32x64: c.png\n"), "{error}");
}

/// A photograph in the shape of two upright pictures beside each other: slanting waves, without an edge in the middle.
fn photograph(number: u32) -> RgbImage {
    RgbImage::from_fn(128, 96, |x, y| {
        let wave = |slope: f64| 128.0 + 100.0 * (0.1 * f64::from(x) + slope * f64::from(y) + f64::from(number)).sin();
        Rgb([0.3, -0.3, 0.5].map(|slope| wave(slope) as u8))
    })
}

#[test]
fn single_pictures_of_the_shape_of_pairs_are_warned_of() {
    let scene = Scene::new();
    let warning = |line: &str| {
        let said = scene.run(line);
        let both = said.stdout.lines().chain(said.stderr.lines());
        both.filter(|line| line.contains("no edge in the middle")).map(str::to_owned).collect::<Vec<_>>()
    };
    for number in 0..3 {
        scene.draw(&format!("single/{number}.jpg"), &photograph(number));
    }
    let expected = "Warning   3 of 3 files have no edge in the middle, where the halves of a pair meet: they may be \
                    single pictures. Pairs of such pictures lie in two folders, A/ and B/, under equal names, or in \
                    one as x_A and x_B; `pixtape data pair --a FOLDER --b FOLDER --out pairs` joins two folders; \
                    pictures without a partner are for `pixtape translate`";
    for line in [
        "data check single".to_owned(),
        format!("train --data single {TINY} --steps 1 --out run"),
        "evaluate run --data single".to_owned(),
    ] {
        assert_eq!(warning(&line), [expected], "{line}");
    }
    assert!(scene.run("data check single").stdout.ends_with("\nEverything can be used\n"));

    // There is no warning for two upright pictures beside each other, a pair of the same shape, nor for layouts of two
    // files.
    for number in 0..3 {
        let sides = [photograph(number), photograph(number + 9)].map(|side| crop_imm(&side, 0, 0, 64, 96).to_image());
        let mut both = RgbImage::new(128, 96);
        for (side, left) in sides.iter().zip([0, 64]) {
            replace(&mut both, side, left, 0);
        }
        scene.draw(&format!("pairs/{number}.jpg"), &both);
        for side in ["A", "B"] {
            scene.draw(&format!("folders/{side}/{number}.jpg"), &photograph(number));
            scene.draw(&format!("suffixes/{number}_{side}.jpg"), &photograph(number));
        }
    }
    // A single picture among pairs may be one whose halves happen to meet alike.
    scene.draw("pairs/single.jpg", &photograph(0));
    for data in ["pairs", "folders", "suffixes"] {
        assert_eq!(warning(&format!("data check {data}")), [""; 0], "{data}");
    }
}

#[test]
fn evaluate_says_what_it_found_and_refuses_inputs_without_targets() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/train/a.png", "data/test/b.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    scene.draw_pairs(&["pairs/test/c.png"]);
    scene.write("pairs/test/notes.txt", "");
    let said = scene.run("evaluate run --data pairs --json");
    let expected = [
        "Found     pairs side by side, the left half (A) is the input, the right (B) the target",
        "Pairs     1 pair in test/ to measure",
        "Sizes     32x32 (1)",
        "Files     8-bit RGB PNG (1)",
        "Values    A 0 to 200 of 0 to 255, B 0 to 250 of 0 to 255",
        "Skipped   1 file (not a PNG, JPEG, TIFF, WebP or BMP: test/notes.txt)",
    ];
    assert_eq!(said.stderr.lines().collect::<Vec<_>>()[..6], expected);
    assert!(said.stdout.starts_with('{'), "{}", said.stdout);
    scene.draw("inputs/test/c.png", &pair(0, 64, 64));
    let error = scene.refused("evaluate run --data inputs");
    assert!(error.contains("each file of 64x64 would be cut into two of 32x64"), "{error}");
    assert!(error.contains("pictures without a partner are for `pixtape translate`"), "{error}");
}

#[test]
fn pairs_of_two_shapes_are_refused_alike() {
    let scene = Scene::new();
    scene.draw("data/A/x.png", &half(0, 0));
    scene.draw("data/B/x.png", &RgbImage::from_pixel(48, 32, Rgb([9; 3])));
    let output = scene.command("data check data").assert().code(1).get_output().clone();
    let words = "A is 32x32 and B 48x32, more than 1 % apart in shape";
    assert!(String::from_utf8(output.stdout).unwrap().contains(words));
    let error = scene.refused(&format!("train --data data {TINY} --steps 1 --out run"));
    assert!(error.contains(words), "{error}");
    for flag in ["", "--resize"] {
        let error = scene.refused(&format!("data pair --a data/A --b data/B --out pairs {flag}"));
        assert!(error.contains("x.png is 32x32 and ") && error.contains("more than 1 % apart in shape"), "{error}");
    }
    // Scaled to one width, they are cropped to one height.
    let cropped = "--preprocess scale-width-and-crop --augment none";
    scene
        .run(&format!("train --data data {} {cropped} --steps 1 --out cropped", TINY.replace("size 32", "size 64x32")));
    // Two sizes of one shape are resized to one.
    scene.draw("data/B/x.png", &RgbImage::from_pixel(48, 48, Rgb([9; 3])));
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    scene.run("data pair --a data/A --b data/B --out pairs --resize");
    assert!(scene.refused("data pair --a data/A --b data/B --out again").contains("(--resize fits B to A)"));
}

/// Runs of earlier versions may have begun with files that are refused now.
#[test]
fn a_run_goes_on_with_the_pairs_that_it_began_with() {
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png"]);
    scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    scene.draw("data/a.png", &pair(0, 64, 64));
    let upright = TINY.replace("--image-size 32", "--image-size 32x64");
    scene.run(&format!("train --data data {upright} --steps 1 --out upright"));
    // The run as if it had been started with the file that is there now.
    let mut began = scene.checkpoint("run", 1);
    let fingerprint = scene.checkpoint("upright", 1).about["pixtape.data-fingerprint"].clone();
    began.about.insert("pixtape.data-fingerprint".to_owned(), fingerprint);
    began.write(&scene.path(&checkpoint("run", 1)));
    scene.run("train --resume run --steps 2");
    assert!(scene.run("evaluate run --data data").stdout.starts_with("1 pair (all)"));
    // A new run is refused.
    assert!(scene.refused(&format!("train --data data {TINY} --steps 1 --out new")).contains("two of 32x64"));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_left_out_and_named() {
    use std::os::unix::fs::symlink;
    let scene = Scene::new();
    scene.draw_pairs(&["data/a.png", "data/b.png"]);
    fs::copy(scene.path("data/a.png"), scene.path("data/c")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(scene.path("data/fifo.png")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", scene.path("data/zero.png")).unwrap();
    symlink("nowhere", scene.path("data/gone.png")).unwrap();
    let said = scene.run("data check data");
    assert_eq!(line(&said, "Pairs"), "Pairs     2 pairs to learn from");
    assert_eq!(
        line(&said, "Skipped"),
        "Skipped   4 files (a FIFO: fifo.png; a device: zero.png; a link to nothing: gone.png; holds a PNG: rename it \
         to .png: c)"
    );
    let said = scene.run(&format!("train --data data {TINY} --steps 1 --out run"));
    assert!(line(&said, "Skipped").contains("a FIFO: fifo.png"), "{}", said.stderr);
}
