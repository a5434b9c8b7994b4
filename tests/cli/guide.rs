//! The commands of README.md and docs/guide.md.
//!
//! Each document is a session: its commands are carried out from the first to the last, in one folder, with small
//! pictures and tiny networks. A command is a line of a block of `sh`, or `pixtape ...` between backquotes. One that
//! needs more than a test has says so in its comment, and is parsed only.

use std::collections::BTreeSet;
use std::path::Path;

use super::scene::{Scene, half};
use crate::cuda::driver::simulator_folder;

const DOCUMENTS: [(&str, &str); 2] =
    [("README.md", include_str!("../../README.md")), ("docs/guide.md", include_str!("../../docs/guide.md"))];

/// Words in the comment of a command that a test cannot carry out.
const NEEDS: [&str; 2] = ["needs the network", "needs a GPU"];

/// Commands of these sections are run by another test: `recipes::the_ablations_train`.
const ELSEWHERE: [&str; 1] = ["### The paper's ablations"];

/// The prefix of a command that runs on the simulated GPU.
const SIMULATED: &str = "LD_LIBRARY_PATH=$(cargo run -q -p cudasim -- path check) ";

/// Flags that the documents mention of other programs: the `--eval` of the authors' test.py, TensorBoard's folder.
const FOREIGN_FLAGS: [&str; 2] = ["--eval", "--logdir"];

/// A part of a document: prose, or a fenced block.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Prose(String),
    Block { language: &'a str, lines: Vec<&'a str> },
}

/// The parts of a document, without those of the sections of `ELSEWHERE`.
fn parts(document: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut lines = document.lines();
    let mut is_elsewhere = false;
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            is_elsewhere = ELSEWHERE.contains(&line);
        }
        if let Some(language) = line.strip_prefix("```") {
            let lines = lines.by_ref().take_while(|line| *line != "```").collect();
            parts.push(Part::Block { language, lines });
        } else if let Some(Part::Prose(prose)) = parts.last_mut() {
            if !is_elsewhere {
                *prose += " ";
                *prose += line;
            }
        } else if !is_elsewhere {
            parts.push(Part::Prose(line.to_owned()));
        }
    }
    parts
}

/// The texts between backquotes.
fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// A command with its comment.
#[derive(Debug, PartialEq)]
struct Command {
    line: String,
    comment: String,
}

fn commands(document: &str) -> Vec<Command> {
    let command = |line: &str| {
        let (line, comment) = line.split_once(" #").unwrap_or((line, ""));
        Command { line: line.trim().to_owned(), comment: comment.trim().to_owned() }
    };
    let of_part = |part: Part<'_>| -> Vec<Command> {
        match part {
            Part::Prose(prose) => quoted(&prose).filter(|text| text.starts_with("pixtape ")).map(command).collect(),
            Part::Block { language: "sh", lines } => {
                lines.into_iter().filter(|line| !line.is_empty()).map(command).collect()
            }
            Part::Block { .. } => Vec::new(),
        }
    };
    parts(document).into_iter().flat_map(of_part).collect()
}

/// The way in which a command is checked.
#[derive(Debug, PartialEq)]
enum Check {
    /// The program is run with these arguments, on the simulated GPU or on the CPU.
    Run { arguments: String, is_simulated: bool },
    /// The program parses these arguments.
    Parse(String),
    /// These files of the project exist, and those in `tools/` can be executed.
    Exists(Vec<String>),
}

/// The check of a command, or the reason why there is none.
fn check(command: &Command) -> Result<Check, String> {
    let (is_simulated, line) = match command.line.strip_prefix(SIMULATED) {
        Some(line) => (true, line),
        None => (false, command.line.as_str()),
    };
    let arguments = line.strip_prefix("pixtape ").or_else(|| line.strip_prefix("cargo run --release -- "));
    if let Some(arguments) = arguments {
        let is_parsed_only = NEEDS.iter().any(|need| command.comment.contains(need));
        return Ok(match is_parsed_only {
            true => Check::Parse(arguments.to_owned()),
            false => Check::Run { arguments: arguments.to_owned(), is_simulated },
        });
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [tool, ..] if tool.starts_with("tools/") => Ok(Check::Exists(vec![tool.to_owned()])),
        ["cargo", "build" | "install" | "test" | "bench" | "run", ..] => {
            let mut files = vec!["Cargo.toml".to_owned()];
            let mut flags = words[2..].iter().take_while(|word| **word != "--");
            while let Some(flag) = flags.next() {
                let mut value = || flags.next().copied().unwrap_or_default();
                match *flag {
                    "--release" | "--locked" => {}
                    "--path" => files.push(format!("{}/Cargo.toml", value())),
                    "--bench" => files.push(format!("benches/{}.rs", value())),
                    "--example" => files.push(format!("examples/{}.rs", value())),
                    other => return Err(format!("cargo's {other} is not checked")),
                }
            }
            Ok(Check::Exists(files))
        }
        _ => Err("it is neither run nor checked".to_owned()),
    }
}

/// The arguments, with flags that make the command a matter of milliseconds.
fn tiny(arguments: &str) -> String {
    let mut words: Vec<&str> = arguments.split_whitespace().collect();
    let flags: &[(&str, &str)] = match words[..] {
        [_, .., "--help"] => &[],
        ["train", "--resume", ..] => &[("--steps", "3"), ("--threads", "1")],
        ["train", ..] => {
            &[("--steps", "2"), ("--image-size", "32"), ("--ngf", "2"), ("--ndf", "2"), ("--threads", "1")]
        }
        ["translate" | "evaluate", ..] => &[("--threads", "1")],
        ["data", "make", ..] => &[("--size", "32")],
        _ => &[],
    };
    for (flag, value) in flags {
        match words.iter().position(|word| word == flag) {
            Some(at) => words[at + 1] = value,
            None => words.extend([flag, value]),
        }
    }
    words.join(" ")
}

/// The folder that the documents speak of: pairs in two folders, photographs and label maps, a file of PyTorch.
fn prepared() -> Scene {
    let scene = Scene::new();
    for (name, number) in [("train/001", 0), ("train/002", 1), ("test/003", 2)] {
        scene.draw(&format!("maps/A/{name}.png"), &half(number, 0));
        scene.draw(&format!("maps/B/{name}.png"), &half(number, 1));
    }
    for number in 0..10 {
        scene.draw(&format!("photos/{number}.png"), &half(number % 8, 1));
        scene.draw(&format!("labels/{number}.png"), &half(number % 8, 0));
    }
    scene.draw("sketch.png", &half(1, 0));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/isola-batch.pth");
    std::fs::copy(file, scene.path("latest_net_G.pth")).unwrap();
    scene
}

/// Carries out the commands of a document.
fn carry_out(name: &str, document: &str) {
    let scene = prepared();
    for part in parts(document) {
        if let Part::Block { language: "toml", lines } = part {
            let file = lines[0].strip_prefix("# ").expect("the name of a settings file");
            scene.write(file, lines.join("\n"));
        }
    }
    let mut runs = 0;
    for command in commands(document) {
        match check(&command).unwrap_or_else(|why| panic!("{name}: `{}`: {why}", command.line)) {
            Check::Run { arguments, is_simulated } => {
                runs += 1;
                scene.run(&format!("{arguments} --help"));
                let mut run = scene.command(&tiny(&arguments));
                if is_simulated {
                    run.env("LD_LIBRARY_PATH", simulator_folder());
                }
                let output = run.output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{name}: `{}`: {said}", command.line);
            }
            Check::Parse(arguments) => {
                scene.run(&format!("{arguments} --help"));
            }
            Check::Exists(files) => {
                for file in files {
                    assert!(is_there(&file), "{name}: `{}`: there is no {file}", command.line);
                }
            }
        }
    }
    assert!(runs > 5, "{name}: {runs} commands");
}

/// True if a file of the project exists, and, in `tools/`, can be executed.
fn is_there(file: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    #[cfg(unix)]
    if file.starts_with("tools/") {
        use std::os::unix::fs::PermissionsExt;
        return path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0);
    }
    path.is_file()
}

#[test]
fn the_commands_of_the_readme_run() {
    let (name, document) = DOCUMENTS[0];
    carry_out(name, document);
}

#[test]
fn the_commands_of_the_guide_run() {
    let (name, document) = DOCUMENTS[1];
    carry_out(name, document);
}

/// The flags that the documents mention are flags of the program.
#[test]
fn the_flags_of_the_documents_exist() {
    let scene = Scene::new();
    let is_of_flag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let flags_in = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !is_of_flag(c));
        words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
    };
    let mut known: BTreeSet<String> = FOREIGN_FLAGS.map(str::to_owned).into();
    for command in ["train", "translate", "evaluate", "inspect", "profile", "import", "export"] {
        known.extend(flags_in(&scene.run(&format!("{command} --help")).stdout));
    }
    for command in ["check", "pair", "split", "make", "fetch"] {
        known.extend(flags_in(&scene.run(&format!("data {command} --help")).stdout));
    }
    for (name, document) in DOCUMENTS {
        for part in parts(document) {
            if let Part::Prose(prose) = part {
                for flag in quoted(&prose).flat_map(flags_in) {
                    assert!(known.contains(&flag), "{name}: {flag} is no flag");
                }
            }
        }
    }
}

#[test]
fn commands_are_found_with_their_comments() {
    let document = [
        "Use `pixtape devices`, not `pixtape.lock`; `pixtape",
        "inspect isola` too.",
        "```sh",
        "pixtape train",
        "",
        "tools/fuzz 60   # a minute",
        "```",
        "```text",
        "pixtape in-a-block-of-text",
        "```",
        "### The paper's ablations",
        "`pixtape elsewhere`",
        "## Next",
        "`pixtape data fetch`",
    ]
    .join("\n");
    let found: Vec<(String, String)> =
        commands(&document).into_iter().map(|command| (command.line, command.comment)).collect();
    let expected = [
        ("pixtape devices", ""),
        ("pixtape inspect isola", ""),
        ("pixtape train", ""),
        ("tools/fuzz 60", "a minute"),
        ("pixtape data fetch", ""),
    ];
    assert_eq!(found, expected.map(|(line, comment)| (line.to_owned(), comment.to_owned())));
}

#[test]
fn a_command_is_run_parsed_or_looked_for_and_any_other_one_refused() {
    let of = |line: &str, comment: &str| check(&Command { line: line.to_owned(), comment: comment.to_owned() });
    let run = |arguments: &str, is_simulated| Ok(Check::Run { arguments: arguments.to_owned(), is_simulated });
    let exists = |files: &[&str]| Ok(Check::Exists(files.iter().map(|file| (*file).to_owned()).collect()));
    assert_eq!(of("pixtape train --seed 2", "two minutes"), run("train --seed 2", false));
    assert_eq!(of("cargo run --release -- train", ""), run("train", false));
    assert_eq!(of(&format!("{SIMULATED}pixtape train"), ""), run("train", true));
    assert_eq!(of("pixtape data fetch x", "needs the network"), Ok(Check::Parse("data fetch x".to_owned())));
    assert_eq!(of("cargo bench --bench cuda", ""), exists(&["Cargo.toml", "benches/cuda.rs"]));
    assert_eq!(of("tools/fuzz 60", ""), exists(&["tools/fuzz"]));
    assert!(is_there("tools/fuzz") && !is_there("tools/none") && !is_there("tools/gpu/report.py"));
    for line in ["git pull", "cargo frobnicate", "cargo test --workspace", "cd runs", "python3 x.py", "pixtape"] {
        assert!(of(line, "").is_err(), "{line}");
    }
}

#[test]
fn commands_are_made_small() {
    for (arguments, expected) in [
        ("train --steps 20", "train --steps 2 --image-size 32 --ngf 2 --ndf 2 --threads 1"),
        ("train --resume runs/maps", "train --resume runs/maps --steps 3 --threads 1"),
        ("data make edges photos --out x", "data make edges photos --out x --size 32"),
        ("train --help", "train --help"),
        ("devices", "devices"),
    ] {
        assert_eq!(tiny(arguments), expected);
    }
}
