//! `pixtape translate`: what it is asked to do.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::{on_off, threads};
use crate::config::available_threads;

/// Translate images with a trained run
///
/// Images of any size: the sides are padded to what the network needs and the result is cropped back. Each output is
/// DIR/STEM.png, STEM being the input's name without its ending.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// A run folder, for its newest checkpoint, or a checkpoint file.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Image files, or folders of them.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,

    /// Folder for the results, made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Inputs are side-by-side pairs: translate the half that the run was trained to take.
    #[arg(long)]
    pub pairs: bool,

    /// Keep the generator's dropout on, as in training, or switch it off.
    ///
    /// It is the only noise of this network: with it on, another seed gives another version of the same picture.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_off(), action = ArgAction::Set)]
    pub dropout: bool,

    /// Seed of the dropout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Threads for the arithmetic [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads())]
    #[arg(default_value_t = available_threads(), hide_default_value = true)]
    pub threads: usize,
}
