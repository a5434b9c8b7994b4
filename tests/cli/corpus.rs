//! Files that once revealed a fault, `tests/corpus/`: each is given to the program again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::prepare::server::{Reply, Server};
use super::scene::{Scene, TINY};

/// Longest time of a case, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// The contents of `tests/corpus/cases.toml`.
#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// Path below `tests/corpus`.
    file: String,
    /// Command line. FILE stands for the file, FOLDER for a folder with the file alone, TINY for the flags of the
    /// smallest networks, URL for its address, and RUN for a run of two steps in which the file replaces the one of its
    /// name.
    command: String,
    /// True if the command succeeds; false if it is refused.
    #[serde(default)]
    taken: bool,
    /// Words in the output of the command.
    #[serde(default)]
    words: Vec<String>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn cases(kind: &str) -> Vec<Case> {
    let text = fs::read_to_string(corpus().join("cases.toml")).unwrap();
    let mut cases = toml::from_str::<Cases>(&text).unwrap().case;
    cases.retain(|case| case.file.starts_with(kind));
    assert!(!cases.is_empty());
    cases
}

/// Runs the cases of a kind: exit status 0 or 1, one error in lines of its own that has the expected words, no
/// character that a terminal would obey.
fn run_all(kind: &str) {
    let scene = Scene::new();
    for Case { file, command, taken, words } in cases(kind) {
        let bytes = fs::read(corpus().join(&file)).unwrap();
        let name = file.rsplit('/').next().unwrap();
        let server = Server::start({
            let bytes = bytes.clone();
            move |_| Reply::whole(&bytes)
        });
        scene.write(&format!("only/{name}"), &bytes);
        if command.contains("RUN") {
            scene.run(&format!("train {TINY} --steps 2 --out run"));
            scene.write(&format!("run/{name}"), &bytes);
        }
        let line = command
            .replace("FILE", &format!("only/{name}"))
            .replace("FOLDER", "only")
            .replace("TINY", TINY)
            .replace("RUN", "run")
            .replace("URL", &server.url("/x.tar.gz"));
        let start = Instant::now();
        let output = scene.command(&line).output().unwrap();
        assert!(start.elapsed() < PATIENCE, "{file}: {:?}", start.elapsed());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let expected = Some(i32::from(!taken));
        assert_eq!(output.status.code(), expected, "{file}: {stderr}");
        let is_printable = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        assert!(is_printable(&stdout) && is_printable(&stderr), "{file}: {stdout:?} {stderr:?}");
        let error: Vec<&str> = stderr.lines().skip_while(|line| !line.starts_with("error: ")).collect();
        assert_eq!(error.is_empty(), taken, "{file}: {stderr}");
        assert!(error.len() <= 22 && error.iter().skip(1).all(|line| line.starts_with("  ")), "{file}: {stderr}");
        assert!(error.iter().all(|line| line.len() < 2000), "{file}: {stderr}");
        let told = stdout + &stderr;
        assert!(words.iter().all(|word| told.contains(word)), "{file}: {words:?} in {told}");
        assert_eq!(fs::read(scene.path(&format!("only/{name}"))).unwrap(), bytes, "{file} was changed");
        // A download that a higher bound would accept is kept for it.
        let is_kept = told.contains("--max-unpacked");
        let left = ["out", "out.safetensors", "data/x", "data/x.tar.gz.part"].map(|path| scene.path(path).exists());
        assert!(taken || left == [false, false, false, is_kept], "{file} left something");
        for made in ["only", "out", "run", "data"] {
            let _ = fs::remove_dir_all(scene.path(made));
        }
    }
}

#[test]
fn pictures_are_taken_or_refused_as_ever() {
    run_all("image/");
}

#[test]
fn files_of_pytorch_are_taken_or_refused_as_ever() {
    run_all("pickle/");
}

#[test]
fn safetensors_are_taken_or_refused_as_ever() {
    run_all("checkpoint/");
}

#[test]
fn archives_are_taken_or_refused_as_ever() {
    run_all("archive/");
}

#[test]
fn settings_are_taken_or_refused_as_ever() {
    run_all("settings/");
}

#[test]
fn run_folders_are_taken_or_refused_as_ever() {
    run_all("run/");
}

#[test]
fn every_file_has_a_case_and_a_lesson() {
    let lessons = fs::read_to_string(corpus().join("README.md")).unwrap();
    let cases: BTreeSet<String> = cases("").into_iter().map(|case| case.file).collect();
    let mut found = BTreeSet::new();
    for kind in fs::read_dir(corpus()).unwrap().map(Result::unwrap).filter(|kind| kind.path().is_dir()) {
        for file in fs::read_dir(kind.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(lessons.contains(&format!("`{name}`")), "{name} is not in the README");
            found.insert(format!("{}/{name}", kind.file_name().to_str().unwrap()));
        }
    }
    assert_eq!(found, cases);
}
