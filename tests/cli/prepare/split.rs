use std::collections::BTreeSet;
use std::fs;

use super::super::scene::Scene;
use super::refused;

/// The names in all splits, and how many are in each.
fn splits(scene: &Scene, out: &str) -> (BTreeSet<String>, [usize; 3]) {
    let names = ["train", "val", "test"].map(|split| scene.names(&format!("{out}/{split}")));
    let sizes = [names[0].len(), names[1].len(), names[2].len()];
    (names.into_iter().flatten().collect(), sizes)
}

#[test]
fn every_pair_is_copied_once_where_the_seed_says() {
    let scene = Scene::new();
    let names: Vec<String> = (0..20).map(|number| format!("{number}.png")).collect();
    for name in &names {
        scene.write(&format!("pairs/{name}"), format!("bytes of {name}"));
    }
    let said = scene.run("data split pairs --out data --val 0.1 --test 0.25");
    assert_eq!(said.stdout, "Divided 20 pairs into data: 13 in train/, 2 in val/, 5 in test/\n");
    let (found, sizes) = splits(&scene, "data");
    assert_eq!((found, sizes), (names.iter().cloned().collect(), [13, 2, 5]));
    for name in scene.names("data/test") {
        assert_eq!(fs::read_to_string(scene.path("data/test").join(&name)).unwrap(), format!("bytes of {name}"));
        assert!(scene.path("pairs").join(name).exists(), "it is a copy");
    }
    scene.run("data split pairs --out again --val 0.1 --test 0.25");
    scene.run("data split pairs --out other --val 0.1 --test 0.25 --seed 2");
    assert_eq!(scene.names("data/test"), scene.names("again/test"));
    assert_ne!(scene.names("data/test"), scene.names("other/test"));
    scene.run("data split pairs --out two --val 0 --test 0.5");
    assert_eq!(scene.names("two"), ["test", "train"]);
}

#[test]
fn two_files_of_a_pair_stay_together() {
    let scene = Scene::new();
    for number in 0..10 {
        scene.write(&format!("cmp/{number}.jpg"), "");
        scene.write(&format!("cmp/{number}.png"), "");
        scene.write(&format!("sides/A/{number}.jpg"), "a");
        scene.write(&format!("sides/B/{number}.png"), "b");
    }
    scene.run("data split cmp --out a --val 0.3 --test 0.2");
    assert_eq!(splits(&scene, "a").1, [10, 6, 4]);
    scene.run("data split sides --out b --val 0.3 --test 0.2");
    assert_eq!(scene.names("b"), ["A", "B"]);
    for split in ["train", "val", "test"] {
        let stems = |folder: String| -> Vec<String> {
            scene.names(&folder).iter().map(|name| name.split('.').next().unwrap().to_owned()).collect()
        };
        let twice = stems(format!("a/{split}"));
        assert!(twice.chunks(2).all(|two| two[0] == two[1]), "{twice:?}");
        assert_eq!(stems(format!("b/A/{split}")), stems(format!("b/B/{split}")));
    }
}

#[test]
fn what_belongs_to_no_pair_is_left_out_and_named() {
    let scene = Scene::new();
    let files = ["1.jpg", "1.png", "2.jpg", "2.png", "3.jpg", "3.png", "4.jpg", "notes.txt"];
    for name in files {
        scene.write(&format!("cmp/{name}"), "");
        scene.write(&format!("sides/A/{name}"), "");
        if name != "4.jpg" {
            scene.write(&format!("sides/B/{name}"), "");
        }
    }
    scene.write("cmp/extended/5.png", "");
    let said = scene.run("data split cmp --out data");
    assert_eq!(said.stdout, "Divided 3 pairs into data: 1 in train/, 1 in val/, 1 in test/\n");
    for words in ["Left out: cmp/4.jpg: no partner", "Left out: cmp/notes.txt: ", "Left out: cmp/extended: a folder"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    // Two files of one name on one side are ambiguous.
    refused(&scene, "data split sides --out no", &["sides cannot be divided", "1.jpg", "1.png"]);
}

#[test]
fn what_cannot_be_divided_is_refused() {
    let scene = Scene::new();
    scene.write("done/train/1.png", "");
    refused(&scene, "data split done --out data", &["done is divided already", "train/"]);
    scene.write("empty/notes.txt", "");
    refused(&scene, "data split empty --out data", &["no images in empty"]);
    refused(&scene, "data split nowhere --out data", &["there is no folder nowhere"]);
    for name in ["1.png", "2.png"] {
        scene.write(&format!("few/{name}"), "");
    }
    refused(&scene, "data split few --out data", &["leave nothing to train on"]);
    refused(&scene, "data split few --out few", &["few is already there"]);
    refused(&scene, "data split few --out data --val 1.5", &["--val 1.5"]);
    // A folder with the name of the unfinished folder.
    for name in ["1.png", "2.png", "3.png"] {
        scene.write(&format!("my.unfinished/{name}"), "mine");
    }
    refused(&scene, "data split my.unfinished --out my", &["my.unfinished is in the way"]);
    refused(&scene, "data split few --out data --test NaN", &["--test NaN"]);
}
