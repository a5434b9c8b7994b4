//! `cudasim path` and `cudasim build`: the simulated driver for programs that do not know about it.

use cudasim::Build;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
cudasim path [fast|check]
    prints the folder of a simulated CUDA driver with this project's kernels
cudasim build [fast|check] --out FOLDER FILE...
    makes one with other kernels: .cu files, or .o files of the same build

LD_LIBRARY_PATH=$(cargo run -q -p cudasim -- path check) PROGRAM runs a CUDA program on it.";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cudasim: {e}");
            ExitCode::FAILURE
        }
    }
}

enum Wish {
    Path(Build),
    Build { build: Build, out: PathBuf, kernels: Vec<PathBuf> },
    Help,
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    match parse(arguments)? {
        Wish::Path(build) => println!("{}", cudasim::folder(build).display()),
        Wish::Build { build, out, kernels } => {
            println!("{}", cudasim::build(&kernels, build, &out)?.display());
        }
        Wish::Help => println!("{USAGE}"),
    }
    Ok(())
}

fn parse(arguments: Vec<String>) -> Result<Wish, String> {
    let mut words = arguments.into_iter().peekable();
    let command = words.next().ok_or(USAGE)?;
    let build = match words.peek().map(String::as_str) {
        Some("check") => Build::Check,
        _ => Build::Fast,
    };
    words.next_if(|word| word == "fast" || word == "check");
    match command.as_str() {
        "path" => match words.next() {
            None => Ok(Wish::Path(build)),
            Some(word) => Err(format!("{word:?}: expected fast or check")),
        },
        "build" => {
            let mut out = None;
            let mut kernels = Vec::new();
            while let Some(word) = words.next() {
                match word.as_str() {
                    "--out" => out = Some(PathBuf::from(words.next().ok_or("--out: a folder is missing")?)),
                    _ => kernels.push(PathBuf::from(word)),
                }
            }
            let out = out.ok_or("build: --out FOLDER is missing")?;
            if kernels.is_empty() {
                return Err("build: no FILE.cu".to_owned());
            }
            Ok(Wish::Build { build, out, kernels })
        }
        "help" | "--help" | "-h" => Ok(Wish::Help),
        _ => Err(format!("{command:?} is not a command\n{USAGE}")),
    }
}
