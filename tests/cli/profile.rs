//! `pixtape profile`: the table, the JSON and the page, of times on the CPU and of counts on the simulated GPU.

use pixtape::engine::simd::InstructionSet;
use serde_json::Value;

use super::scene::{Scene, TINY};

/// The multiprocessors of the modelled GPU, an H200.
const MULTIPROCESSORS: f64 = 132.0;

/// The fields of a row that are null where nothing is known.
const UNKNOWN_ON_THE_CPU: [&str; 8] =
    ["blocks", "waves", "l2_bytes", "coalesced", "shared_excess", "registers", "shared_bytes", "model_us"];

/// The fields of a row that only the CPU has.
const OF_THE_CPU: [&str; 3] = ["gflop_per_s", "gb_per_s", "peak_share"];

/// A scene with a tiny run, and the simulated GPU.
fn scene() -> Scene {
    let scene = Scene::simulated();
    scene.run(&format!("train {TINY} --steps 1 --out run"));
    scene
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn rows(profile: &Value) -> &[Value] {
    profile["kernels"].as_array().expect("rows")
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} of {value}"))
}

/// The sum of a field over `values`; nulls count nothing.
fn sum<'a>(values: impl IntoIterator<Item = &'a Value>, field: &str) -> f64 {
    values.into_iter().filter_map(|value| value[field].as_f64()).sum()
}

#[track_caller]
fn assert_near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
}

/// Asserts that rows, timeline and step of a profile agree, where `time` is the field of their times. On the way, of
/// each row: it has a name, and the launches of the timeline.
fn assert_consistent(profile: &Value, time: &str) {
    let timeline = profile["timeline"].as_array().expect("a timeline");
    let step = &profile["step"];
    assert_eq!(timeline.len() as f64, number(step, "launches"));
    for (index, row) in rows(profile).iter().enumerate() {
        assert!(row["layer"].is_string() && row["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()), "{row}");
        let of_row = || timeline.iter().filter(|launch| launch["row"] == index);
        assert_eq!(of_row().count() as f64, number(row, "launches"), "{row}");
        assert!(of_row().count() > 0, "{row}");
        // The least times of several executions are taken launch by launch.
        assert_near(sum(of_row(), "us"), number(row, time));
        assert!(
            number(row, "distinct_bytes") > 0.0 || row["kernel"].as_str().is_some_and(|k| k.contains("advance")),
            "{row}"
        );
    }
    let critical = || timeline.iter().filter(|launch| launch["critical"] == true);
    assert!((1..=timeline.len()).contains(&critical().count()));
    // The first convolution of the generator: 16x16 pixels of 2 channels, 4x4 taps of 3 channels each.
    let conv = |row: &&Value| row["layer"] == "generator.down1" && number(row, "flop") > 0.0;
    let batch = number(profile, "batch");
    assert_eq!(number(rows(profile).iter().find(conv).expect("a convolution"), "flop"), batch * 2.0 * 512.0 * 48.0);
}

/// Asserts that the rates of a row on the CPU follow from its numbers, and its share from them and the `peaks`.
fn assert_rated(row: &Value, peaks: &Value) {
    let mut shares = Vec::new();
    for (rate, amount, bound) in [("gflop_per_s", "flop", "arithmetic"), ("gb_per_s", "distinct_bytes", "memory")] {
        let peak = number(peaks, rate);
        assert!(peak > 0.0 && peak.is_finite(), "{peaks}");
        match number(row, amount) {
            0.0 => assert!(row[rate].is_null(), "{row}"),
            amount => {
                assert_near(number(row, rate), amount / number(row, "us") / 1e3);
                shares.push((number(row, rate) / peak, bound));
            }
        }
    }
    match shares.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((share, bound)) => {
            assert_near(number(row, "peak_share"), share);
            assert_eq!(row["bound"], bound);
        }
        None => assert!(row["peak_share"].is_null() && row["bound"].is_null(), "{row}"),
    }
}

#[test]
fn on_the_cpu_times_are_measured() {
    let scene = scene();
    let said = scene.run("profile run --device cpu --threads 3").stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("weights of step 1"), "{said}");
    assert!(lines[0].ends_with(", batch 1, on the CPU with 3 threads"), "{said}");
    assert!(lines[1].starts_with("Times are measured"), "{said}");
    assert!(lines[2].starts_with("Peaks, measured: ") && lines[2].contains(" on 3 threads, "), "{said}");
    let heads: Vec<&str> = lines[4].split("  ").map(str::trim).filter(|head| !head.is_empty()).collect();
    let expected = ["layer", "kernel", "bound", "ms", "GFLOP/s", "GB/s", "of peak", "launches", "GFLOP", "least MB"];
    assert_eq!(heads, expected);
    assert!(lines[5].starts_with("generator.down1") && lines[5].contains(" conv_fprop "), "{said}");
    assert!(lines[5].contains(" % "), "{said}");
    assert!(lines.last().is_some_and(|line| line.ends_with("ms  measured")), "{said}");

    let said = scene.run("profile run --device cpu --precision bf16").stdout;
    assert!(said.lines().next().is_some_and(|line| line.contains(", in bf16, batch 1, ")), "{said}");

    let profile = json(&scene.run("profile run --device cpu --json --batch 2").stdout);
    assert_eq!(profile["batch"], 2);
    assert!(profile["modelled"].is_null(), "{profile}");
    assert_consistent(&profile, "us");
    let peaks = &profile["peaks"];
    assert!(InstructionSet::ALL.iter().any(|set| peaks["instruction_set"] == set.name()), "{peaks}");
    assert!(number(peaks, "threads") >= 1.0);
    for row in rows(&profile) {
        assert!(UNKNOWN_ON_THE_CPU.iter().all(|field| row[field].is_null()), "{row}");
        assert_rated(row, peaks);
    }
    let step = &profile["step"];
    assert!(number(step, "us") > 0.0);
    assert!(["model_us", "critical_us", "floor_us"].iter().all(|field| step[field].is_null()), "{step}");
}

#[test]
fn on_the_simulated_gpu_requests_are_counted_and_times_modelled() {
    let scene = scene();
    let said = scene.run("profile run --device cuda").stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("on cudasim"), "{said}");
    assert!(lines[1].contains("counted") && lines[1].contains("modelled for one H200"), "{said}");
    for head in ["bound", "waves", "memory MB", "L2 MB", "coalesced", "conflicts", "registers", "us modelled"] {
        assert!(lines[3].contains(head), "{head}: {said}");
    }
    for what in ["modelled, one launch after another", "longest chain", "floor"] {
        assert!(lines[lines.len() - 3..].iter().any(|line| line.contains(what)), "{what}: {said}");
    }

    let profile = json(&scene.run("profile run --device cuda --json").stdout);
    assert_eq!(profile["modelled"], "H200");
    assert!(profile["peaks"].is_null(), "{}", profile["peaks"]);
    assert_consistent(&profile, "model_us");
    let is_share = |value: &Value| value.as_f64().is_some_and(|share| share > 0.0 && share <= 1.0);
    for row in rows(&profile) {
        assert!(row["us"].is_null(), "{row}");
        assert!(OF_THE_CPU.iter().all(|field| row[field].is_null()), "{row}");
        assert_near(number(row, "waves"), number(row, "blocks") / MULTIPROCESSORS);
        assert!(number(row, "blocks") >= 1.0 && number(row, "shared_bytes") >= 0.0, "{row}");
        assert!(row["coalesced"].is_null() || is_share(&row["coalesced"]), "{row}");
        assert!(row["shared_excess"].is_null() || number(row, "shared_excess") >= 1.0, "{row}");
        assert!(number(row, "registers") >= 1.0, "{row}");
        assert!(number(row, "l2_bytes") > 0.0, "{row}");
        let lines = row["lines"].as_array().expect("lines of source");
        for field in ["requests", "lanes", "bytes", "lines", "sectors"] {
            assert!(lines.iter().any(|line| number(line, field) > 0.0), "{field}: {row}");
        }
        let of_resources = row["resource_us"].as_object().expect("times by resource");
        let longest = of_resources.values().filter_map(Value::as_f64).fold(0.0, f64::max);
        // Each launch has a gap and a ramp besides. One of two kernels may take longer by itself than both on average.
        assert!(longest < number(row, "model_us"), "{row}");
        let bound = row["bound"].as_str().expect("a resource");
        let decides = of_resources[bound].as_f64().is_some_and(|us| us == longest);
        assert!(decides || row["parts"].as_array().is_some_and(|parts| !parts.is_empty()), "{row}");
    }
    assert!(rows(&profile).iter().any(|row| !row["shared_excess"].is_null()), "no kernel has shared memory");
    let plain = json(&scene.run("profile run --device cuda --plain-kernels --json").stdout);
    assert_consistent(&plain, "model_us");
    for row in rows(&plain) {
        assert!(row["layer"] == "pictures" || row["implementation"] == "plain", "{}", row["kernel"]);
    }
    assert_ne!(plain["step"]["model_us"], profile["step"]["model_us"]);
    let step = &profile["step"];
    assert!(step["us"].is_null());
    assert_near(number(step, "model_us"), sum(rows(&profile), "model_us"));
    let timeline = profile["timeline"].as_array().expect("a timeline");
    let critical = timeline.iter().filter(|launch| launch["critical"] == true);
    assert_near(number(step, "critical_us"), sum(critical, "us"));
    let times = ["floor_us", "critical_us", "model_us"].map(|field| number(step, field));
    assert!(0.0 < times[0] && times[0] < times[1] && times[1] < times[2], "{times:?}");
}

#[test]
fn kernels_that_share_a_launch_are_one_row_with_two_parts() {
    let scene = Scene::simulated();
    scene.run("train --image-size 64 --ngf 64 --ndf 64 --batch 1 --steps 1 --device cpu --out run");
    let profile = json(&scene.run("profile run --device cuda --json --out page.html").stdout);
    let parts = |row: &Value| row["parts"].as_array().expect("parts").clone();
    let pairs: Vec<&Value> = rows(&profile).iter().filter(|row| !parts(row).is_empty()).collect();
    assert!(!pairs.is_empty(), "no launch is shared");
    for row in pairs {
        let parts = parts(row);
        assert_eq!(parts.len(), 2, "{}", row["kernel"]);
        assert!(row["kernel"].as_str().is_some_and(|kernel| kernel.contains("_beside_wgrad_")), "{}", row["kernel"]);
        let layers: Vec<&str> = parts.iter().filter_map(|part| part["layer"].as_str()).collect();
        assert_eq!(row["layer"], layers.join(" + "));
        for field in ["flop", "distinct_bytes", "l2_bytes", "memory_bytes", "issue_slots"] {
            assert_near(number(row, field), sum(&parts, field));
        }
        assert_near(number(row, "blocks"), sum(&parts, "blocks"));
        // It takes as long as the longer one at least, and less long than one after the other.
        let [us, of_parts] = [number(row, "model_us"), sum(&parts, "model_us")];
        assert!(us < of_parts && parts.iter().all(|part| number(part, "model_us") <= us), "{us}, {of_parts}");
    }
    let step = &profile["step"];
    assert_eq!(sum(rows(&profile), "launches"), number(step, "launches"));
    assert_near(number(step, "model_us"), sum(rows(&profile), "model_us"));
    // Every launch is drawn once, with both of its layers.
    let html = std::fs::read_to_string(scene.path("page.html")).expect("the page");
    assert_eq!(html.matches("<g class=\"launch ").count() as f64, number(step, "launches"));
    assert!(html.contains("<g class=\"launch beside\"") && html.contains(" + generator."));
}

/// Checks that every element of a page is closed where it has to be, and that its texts and attributes have no stray
/// angle brackets and quotes. Returns the first place where that is not so.
fn well_formed(html: &str) -> Result<(), String> {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').ok_or("a tag does not end")?;
        rest = after;
        let name = tag.split(' ').next().unwrap_or_default();
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes something else"));
            }
        } else if text.contains('>') || tag.contains('<') || tag.matches('"').count() % 2 == 1 {
            return Err(format!("{text}<{tag}>"));
        } else if !VOID.contains(&name) {
            if !is_name(name) {
                return Err(format!("<{tag}>"));
            }
            open.push(name);
        }
        if name == "style" {
            // Selectors have a > of their own.
            rest = rest.find("</style>").map(|end| &rest[end..]).ok_or("the style does not end")?;
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are not closed")) }
}

#[test]
fn a_page_that_is_not_well_formed_is_found() {
    assert_eq!(well_formed("<!DOCTYPE html><p title=\"a\">b<style>a > b {}</style></p>"), Ok(()));
    for html in ["<p>", "<p></b>", "<p>a > b<i></i></p>", "<p>a < b</p>", "<p title=\"a></p>", "<p", "<style>a"] {
        assert!(well_formed(html).is_err(), "{html}");
    }
}

#[test]
fn the_page_is_one_file_with_every_launch() {
    let scene = scene();
    for (device, name, roofs) in [("cpu", "page/of/cpu.html", 2), ("cuda", "old.html", 3)] {
        scene.write("old.html", "an earlier page");
        let said = scene.run(&format!("profile run --device {device} --json --out {name}")).stdout;
        let profile = json(&said);
        let html = std::fs::read_to_string(scene.path(name)).expect("the page");
        assert_eq!(well_formed(&html), Ok(()));
        for reference in ["http", "src=", "href=", "url(", "@import", "<script", "earlier"] {
            assert!(!html.contains(reference), "{reference}");
        }
        for words in ["color-scheme: light dark", "@media (prefers-color-scheme: dark)", "weights of step 1", "batch 1"]
        {
            assert!(html.contains(words), "{words}");
        }
        let launches = html.matches("<g class=\"launch ").count();
        assert_eq!(launches as f64, number(&profile["step"], "launches"));
        let critical = profile["timeline"].as_array().expect("a timeline").iter().filter(|l| l["critical"] == true);
        assert_eq!(html.matches("class=\"chain\"").count(), critical.count());
        let with_arithmetic = rows(&profile).iter().filter(|row| number(row, "flop") > 0.0).count();
        assert_eq!(html.matches("<g class=\"dot ").count(), with_arithmetic);
        assert_eq!(html.matches("<line class=\"roof ").count(), roofs);
        assert!(!html.contains("NaN") && !html.contains("inf\""), "{html}");
        let table = html.split("<tbody>").nth(1).and_then(|after| after.split("</tbody>").next()).expect("a table");
        assert_eq!(table.matches("<tr>").count(), rows(&profile).len());
        assert_eq!(html.contains("nothing: no GPU was used"), device == "cuda");
        assert_eq!(html.contains("the peaks of this machine: "), device == "cpu");
    }
    assert_eq!(scene.names("page/of"), ["cpu.html"]);
    let said = scene.run("profile run --device cpu --out again.html").stdout;
    assert!(said.ends_with("Look at again.html\n"), "{said}");
}

#[test]
fn what_cannot_be_profiled_or_written_is_one_line() {
    let scene = scene();
    let error = scene.refused("profile isolla");
    assert!(error.contains("isolla is no recipe (pytorch-gan, block-ck, isola)"), "{error}");
    let file = format!("{}/tests/fixtures/import/isola-batch.pth", env!("CARGO_MANIFEST_DIR"));
    scene.run(&format!("import {file} --out weights.safetensors"));
    let error = scene.refused("profile weights.safetensors --out page.html");
    assert!(error.contains("weights without a run") && error.contains("give a recipe or a run"), "{error}");
    // Before anything is measured, which takes a while for a recipe.
    scene.write("folder/file", "");
    let error = scene.refused("profile pytorch-gan --device cuda --out folder");
    assert!(error.contains("folder is a folder, which is not replaced"), "{error}");
    let error = scene.refused("profile run --device cpu --out run/checkpoints/step-00000001.safetensors");
    assert!(error.contains("is what is profiled: choose another file"), "{error}");
    let error = scene.refused("profile run --device cpu --plain-kernels");
    assert!(error.contains("give --device cuda"), "{error}");
    let error = scene.refused("profile run --device cuda --threads 2");
    assert!(error.contains("--threads 2: only the CPU uses it"), "{error}");
    let error = scene.refused("profile run --device cuda:7");
    assert!(error.contains("--device cuda:7"), "{error}");
    scene.command("profile run --batch 0").assert().code(2);
    scene.command("profile run --threads 0").assert().code(2);
}
