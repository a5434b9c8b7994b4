//! `pixtape data`: commands that prepare data for training.

mod check;
mod fetch;
mod make;
mod pair;
mod split;

use anyhow::Result;
use clap::{Args, Subcommand};

use check::CheckArgs;
use fetch::FetchArgs;
use make::MakeArgs;
use pair::PairArgs;
use split::SplitArgs;

use crate::prepare;

/// Prepare pairs to train on: check, join, split, make or fetch them
///
/// Every command but check writes a new folder in the layout that `pixtape train --data` takes. The folder appears
/// under its name when all of it is there; nothing that exists is overwritten.
#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArgs),
    Pair(PairArgs),
    Split(SplitArgs),
    Make(MakeArgs),
    Fetch(FetchArgs),
}

impl DataArgs {
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Check(args) => prepare::check::run(&args.request()),
            Command::Pair(args) => prepare::pair::run(&args.request()),
            Command::Split(args) => prepare::split::run(&args.request()),
            Command::Make(args) => prepare::make::run(&args.request()),
            Command::Fetch(args) => prepare::fetch::run(&args.request()),
        }
    }
}
