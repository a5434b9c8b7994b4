//! `losses.csv` and `metrics.csv` of a resumed run: only the remains of a kill are cut off silently. Other deviating
//! tables are kept under another name, with a message.

use std::fs;

use super::scene::{Scene, TINY};

/// Two steps an epoch, of which the first has ended.
const RUN: &str = "--data data --batch 2 --lr 0.002";

fn scene() -> Scene {
    let scene = Scene::new();
    let names = ["train/a", "train/b", "train/c", "train/d", "val/e", "val/f"].map(|name| format!("data/{name}.png"));
    scene.draw_pairs(&names.each_ref().map(|name| &**name));
    scene.run(&format!("train {RUN} {TINY} --steps 5 --out run"));
    scene.run(&format!("train {RUN} {TINY} --steps 7 --out whole"));
    scene
}

fn copy(scene: &Scene, out: &str) {
    for folder in ["checkpoints", "samples"] {
        fs::create_dir_all(scene.path(out).join(folder)).unwrap();
    }
    for name in ["config.toml", "losses.csv", "metrics.csv", "checkpoints/step-00000005.safetensors"] {
        fs::copy(scene.path("run").join(name), scene.path(out).join(name)).unwrap();
    }
}

fn read(scene: &Scene, name: &str) -> String {
    fs::read_to_string(scene.path(name)).unwrap()
}

#[test]
fn losses_that_are_not_as_a_run_leaves_them_are_kept_and_the_run_goes_on() {
    let scene = scene();
    let good = read(&scene, "run/losses.csv");
    let line = |number: usize| good.lines().nth(number).unwrap().to_owned() + "\n";
    // The contents of the file, the words of the message, and the steps whose rows are lost.
    let cases: [(&str, Option<String>, &str, &[usize]); 7] = [
        ("missing", None, "is missing", &[1, 2, 3, 4, 5]),
        ("empty", Some(String::new()), "does not begin with epoch,step", &[1, 2, 3, 4, 5]),
        ("header", Some(good.replace("epoch", "time")), "does not begin with epoch,step", &[]),
        ("bad", Some(good.replace(&line(3), "2,3,?,1,1\n")), "line 4 is not the row of a step", &[3]),
        ("gap", Some(good.replace(&line(2), "")), "line 3 is of step 3, and the one before of step 1", &[2]),
        ("short", Some(good.replace(&(line(4) + &line(5)), "")), "ends after step 3, before the checkpoint", &[4, 5]),
        ("torn", Some(good[..good.len() - 4].to_owned()), "ends after step 4, before the checkpoint of step 5", &[5]),
    ];
    for (out, text, words, lost) in cases {
        copy(&scene, out);
        let file = scene.path(out).join("losses.csv");
        match &text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let said = scene.run(&format!("train --resume {out} --steps 6"));
        assert!(said.stderr.contains(words) && said.stderr.contains("losses.csv"), "{out}: {}", said.stderr);
        assert_eq!(said.stderr.contains("losses-kept-1.csv"), text.is_some(), "{out}: {}", said.stderr);
        if let Some(text) = text {
            assert_eq!(read(&scene, &format!("{out}/losses-kept-1.csv")), text, "{out}");
        }
        // All rows that could be read are there, and those of new steps.
        let rows = |steps: usize| -> Vec<String> {
            let mut rows = scene.rows("whole");
            lost.iter().for_each(|step| rows[step - 1] = format!(",{step},,,,,,"));
            rows.truncate(steps);
            rows
        };
        assert_eq!(scene.rows(out), rows(6), "{out}");
        // The table is good now.
        let said = scene.run(&format!("train --resume {out} --steps 7"));
        assert!(!said.stderr.contains("losses.csv"), "{out}: {}", said.stderr);
        assert_eq!(scene.rows(out), rows(7), "{out}");
        scene.checkpoint(out, 7).assert_same(&scene.checkpoint("whole", 7));
    }

    // A second table does not replace the first.
    scene.write("bad/losses.csv", "again");
    scene.run("train --resume bad --steps 8");
    assert_eq!(read(&scene, "bad/losses-kept-2.csv"), "again");
    assert!(read(&scene, "bad/losses-kept-1.csv").contains('?'));
}

#[test]
fn metrics_that_are_not_those_of_the_checkpoint_are_kept() {
    let scene = scene();
    let good = read(&scene, "run/metrics.csv");
    assert_eq!(good.lines().count(), 3);
    let last = good.lines().last().unwrap().to_owned() + "\n";
    let cases: [(&str, Option<String>, &str); 6] = [
        ("missing", None, "is missing"),
        ("empty", Some(String::new()), "does not hold the results of the checkpoint"),
        ("bad", Some(good.replace("1,2,0.", "1,2,?.")), "does not hold"),
        ("gap", Some(good.replace(&last, "")), "does not hold"),
        ("mixed", Some(format!("{good}mine\n")), "does not hold"),
        ("late", Some(format!("{good}{last}")), "does not hold"),
    ];
    for (out, text, words) in cases {
        copy(&scene, out);
        let file = scene.path(out).join("metrics.csv");
        match &text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let said = scene.run(&format!("train --resume {out} --steps 7"));
        assert!(said.stderr.contains("metrics.csv") && said.stderr.contains(words), "{out}: {}", said.stderr);
        if let Some(text) = text {
            assert_eq!(read(&scene, &format!("{out}/metrics-kept-1.csv")), text, "{out}");
        }
        assert_eq!(read(&scene, &format!("{out}/metrics.csv")), read(&scene, "whole/metrics.csv"));
    }
    // Later rows are those of a run that was killed.
    copy(&scene, "killed");
    fs::write(scene.path("killed/metrics.csv"), format!("{good}3,6,0.1,9.5,0.25\n4,8,0.1,inf,NaN\n")).unwrap();
    let said = scene.run("train --resume killed --steps 7");
    assert!(!said.stderr.contains("metrics"), "{}", said.stderr);
    assert_eq!(scene.names("killed").iter().filter(|name| name.contains("kept")).count(), 0);
}

#[test]
fn a_table_that_cannot_be_read_is_an_error() {
    let scene = scene();
    for table in ["losses.csv", "metrics.csv"] {
        let file = scene.path("run").join(table);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let output = scene.command("train --resume run --steps 7").assert().code(1);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(error.contains(&format!("cannot read run/{table}: it is a folder")), "{error}");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, whole).unwrap();
    }
    scene.run("train --resume run --steps 7");
    scene.assert_same_run("run", "whole", 7);
}
