use std::collections::BTreeSet;
use std::fs;

use super::super::scene::Scene;
use super::refused;

/// The names in all parts, and how many are in each.
fn parts(scene: &Scene, out: &str) -> (BTreeSet<String>, [usize; 3]) {
    let names = ["train", "val", "test"].map(|part| scene.names(&format!("{out}/{part}")));
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
    let (found, sizes) = parts(&scene, "data");
    assert_eq!((found, sizes), (names.iter().cloned().collect(), [13, 2, 5]));
    for name in scene.names("data/test") {
        assert_eq!(fs::read_to_string(scene.path("data/test").join(&name)).unwrap(), format!("bytes of {name}"));
        assert!(scene.path("pairs").join(name).exists(), "it is a copy");
    }
    scene.run("data split pairs --out again --val 0.1 --test 0.25");
    scene.run("data split pairs --out other --val 0.1 --test 0.25 --seed 1");
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
    assert_eq!(parts(&scene, "a").1, [10, 6, 4]);
    scene.run("data split sides --out b --val 0.3 --test 0.2");
    assert_eq!(scene.names("b"), ["A", "B"]);
    for part in ["train", "val", "test"] {
        let stems = |folder: String| -> Vec<String> {
            scene.names(&folder).iter().map(|name| name.split('.').next().unwrap().to_owned()).collect()
        };
        let twice = stems(format!("a/{part}"));
        assert!(twice.chunks(2).all(|two| two[0] == two[1]), "{twice:?}");
        assert_eq!(stems(format!("b/A/{part}")), stems(format!("b/B/{part}")));
    }
}

#[test]
fn what_is_no_pair_is_named() {
    let scene = Scene::new();
    for name in ["1.jpg", "1.png", "2.jpg", "2.png", "3.jpg"] {
        scene.write(&format!("cmp/{name}"), "");
    }
    refused(&scene, "data split cmp --out data", &["1 problem ", "cmp/3.jpg has no partner of its name"]);
    for name in ["1.png", "2.png", "3.png", "3.jpg"] {
        scene.write(&format!("whole/{name}"), "");
    }
    refused(&scene, "data split whole --out data", &["whole/3.jpg and whole/3.png have one name"]);
    for name in ["A/1.png", "A/2.png", "B/2.png", "B/3.png"] {
        scene.write(&format!("sides/{name}"), "");
    }
    let words = ["2 problems", "sides/A/1.png has no partner in B/", "sides/B/3.png has no partner in A/"];
    refused(&scene, "data split sides --out data", &words);
    scene.write("sides/0.png", "");
    refused(&scene, "data split sides --out data", &["beside A/ and B/"]);
    scene.write("done/train/1.png", "");
    refused(&scene, "data split done --out data", &["done is divided already"]);
    scene.write("empty/notes.txt", "");
    refused(&scene, "data split empty --out data", &["no images in empty"]);
    refused(&scene, "data split nowhere --out data", &["there is no folder nowhere"]);
    refused(&scene, "data split cmp --out cmp", &["cmp is already there"]);
    refused(&scene, "data split cmp --out data --val 1.5", &["--val 1.5"]);
    refused(&scene, "data split cmp --out data --test NaN", &["--test NaN"]);
    scene.write("few/1.png", "");
    scene.write("few/2.png", "");
    refused(&scene, "data split few --out data", &["leave nothing to train on"]);
}
