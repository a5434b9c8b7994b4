//! The command line: parses it into one complete request, and hands that to its command.
//!
//! Everything a user can get wrong comes back as one error and is printed once, by [`report`]. Bodies of commands write
//! to stdout with `writeln!` and `?`, not `println!`, which panics when the reader of a pipe has gone.

mod data;
mod devices;
mod evaluate;
mod export;
mod generator;
mod import;
mod inspect;
mod profile;
mod train;
mod translate;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use anyhow::{Error, Result};
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser},
};

use data::DataArgs;
use evaluate::EvaluateArgs;
use export::ExportArgs;
use generator::GeneratorArgs;
use import::ImportArgs;
use inspect::InspectArgs;
use profile::ProfileArgs;
use train::TrainArgs;
use translate::TranslateArgs;

use crate::base::memory::require_stacks;
use crate::base::words::{Problems, printable};
use crate::config::{self, available_threads};
use crate::engine::device::cpu::start_threads;

const EXAMPLES: &str = "\
Examples:
  Train on the built-in facades, about two minutes on two cores:
    pixtape train

  See which public data sets there are, and fetch one:
    pixtape data fetch
    pixtape data fetch facades

  Train the full recipe on your own pairs, from the right half to the left:
    pixtape train --data data/facades --direction b-to-a

  Stop it with Ctrl-C, go on later, for longer:
    pixtape train --resume runs/facades-1 --epochs 300

  Translate images of any size with the newest checkpoint of a run:
    pixtape translate runs/facades-1 labels/ sketch.png --out translated

  Measure a run on the pairs of a test folder, and look at them:
    pixtape evaluate runs/facades-1 --data data/facades --out evaluation

  See where the time of a training step goes:
    pixtape profile pytorch-gan --out profile.html

  Bring weights over from PyTorch, and hand a run on to other runtimes:
    pixtape import latest_net_G.pth --out facades.safetensors
    pixtape export runs/facades-1 --onnx generator.onnx";

/// Pix2Pix: learns to turn one kind of image into another from pairs of both
///
/// Trains a generator and a discriminator against each other on pairs of images (labels and photos, maps and aerial
/// views, edges and objects), then translates images of the first kind into the second.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES, after_help = "Examples: pixtape --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<TrainArgs>),
    Translate(TranslateArgs),
    Evaluate(EvaluateArgs),
    Inspect(InspectArgs),
    Profile(ProfileArgs),
    Import(ImportArgs),
    Export(ExportArgs),
    Data(DataArgs),
    /// List what this machine can compute on
    Devices,
}

/// Parses the command line of this process and runs its command. Returns the exit status of success; a usage error ends
/// the process with status 2, `--help` and `--version` end it with 0.
///
/// # Errors
/// Those of the command.
pub fn run() -> Result<ExitCode> {
    let matches = command().get_matches();
    let Cli { command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command {
        // These commands decode many pictures at the same time.
        Command::Train(_) | Command::Evaluate(_) | Command::Data(_) | Command::Profile(_) => {
            start_threads(available_threads())?
        }
        _ => require_stacks(0)?,
    }
    match command {
        Command::Train(args) => crate::train::run(args.request()?)?,
        Command::Translate(args) => crate::translate::run(&args.request())?,
        Command::Evaluate(args) => crate::evaluate::run(&args.request())?,
        Command::Inspect(args) => crate::inspect::run(&args.request())?,
        Command::Profile(args) => crate::profile::run(&args.request())?,
        Command::Import(args) => crate::exchange::import::run(&args.request())?,
        Command::Export(args) => crate::exchange::export::run(&args.request())?,
        Command::Data(args) => args.run()?,
        Command::Devices => devices::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The definition of the command line, its help completed.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("train", config::complete)
}

/// Prints an error with its causes on stderr, as one line or, if it is a list of `Problems`, a line for each. Returns
/// exit status 1.
///
/// An error from a closed pipe is not printed and has status 0: `pixtape evaluate ... | head -1` has all it wanted.
pub fn report(error: &Error) -> ExitCode {
    let closed_pipe = |cause: &io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(closed_pipe)) {
        return ExitCode::SUCCESS;
    }
    // With stderr closed as well, there is no way to report.
    let _ = writeln!(io::stderr(), "error: {}", text(error));
    ExitCode::FAILURE
}

fn text(error: &Error) -> String {
    match error.downcast_ref::<Problems>() {
        Some(problems) => problems.to_string(),
        // Causes from other crates may be laid out over several lines.
        None => printable(&format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ")).into_owned(),
    }
}

/// A parser of `on`, true, and `off`, false.
fn on_off() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|word| word == "on")
}

/// A parser of a number of threads, from 1 to 1024.
fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    /// The commands in the examples of `command` and of those below it.
    fn examples(command: &clap::Command) -> Vec<String> {
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.retain(|line| line.starts_with("pixtape "));
        command.get_subcommands().for_each(|below| lines.extend(examples(below)));
        lines
    }

    #[test]
    fn the_examples_can_be_typed() {
        let examples = examples(&command());
        for of in ["pixtape train", "pixtape translate", "pixtape evaluate", "pixtape data pair", "pixtape data fetch"]
        {
            assert!(examples.iter().any(|example| example.starts_with(of)), "no example of {of}");
        }
        for example in examples {
            Cli::try_parse_from(example.split_whitespace()).unwrap();
        }
    }

    #[test]
    fn every_train_flag_has_a_help_and_a_group() {
        let command = command();
        let train = command.find_subcommand("train").unwrap();
        for argument in train.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_help().is_some(), "{argument} has no help");
            assert!(argument.get_help_heading().is_some(), "{argument} stands in no group");
        }
    }

    #[test]
    fn the_help_of_resume_lists_what_may_change() {
        let command = command();
        let mut arguments = command.find_subcommand("train").unwrap().get_arguments();
        let help = arguments.find(|argument| argument.get_long() == Some("resume")).unwrap().get_long_help().unwrap();
        let expected = "--data, --epochs, --steps, --threads, --device, --cuda-graph, --precision, --sample-every, \
                        --save-every and --keep";
        assert!(help.to_string().contains(&format!("only {expected} may be given anew")), "{help}");
    }

    #[test]
    fn causes_of_several_lines_are_printed_as_one() {
        let error = anyhow!("first\n  second\nthird").context("outer");
        assert_eq!(text(&error), "outer: first second third");
    }

    #[test]
    fn dropout_is_on_unless_switched_off() {
        let dropout = |words: &str| match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
            Command::Translate(args) => args.generator.dropout,
            other => panic!("{other:?}"),
        };
        assert!(dropout("pixtape translate run a.png --out x"));
        assert!(!dropout("pixtape translate run a.png --out x --dropout off"));
    }
}
