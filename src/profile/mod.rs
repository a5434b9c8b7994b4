//! `pixtape profile`: where the time of a training step goes, by layer and kernel.
//!
//! On the CPU and on a GPU the time is measured, on the CPU beside the [`Peaks`] of the machine. On the simulated GPU
//! (`tools/cudasim`) the kernels' requests are counted, and [`TimeModel`] says how long a GPU would take for them. The
//! result is a [`Profile`], printed as a table or as JSON, and drawn on a page.

mod cache;
mod columns;
mod counted;
mod inputs;
mod machine_code;
mod measure;
mod model;
mod page;
mod peaks;
mod recorded;
mod rows;
mod text;
mod timed;

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::base::files::{is_same_file, make_folder_of, target, write_atomically};
use crate::base::progress::{say, tell};
use crate::engine::device::cpu::with_threads;
use crate::engine::device::{DeviceChoice, DeviceId, DeviceOptions};
use crate::gan::{Pix2Pix, Precision};
use crate::inspect::Subject;

pub use inputs::{fill, show_pictures};
pub use model::{Bound, Load, TimeModel};
pub use peaks::Peaks;
pub use rows::{Launch, Operand, Profile, Row, Total};

/// A request to `profile`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: String,
    pub device: DeviceChoice,
    /// The precision; `None` for that of the recipe or run.
    pub precision: Option<Precision>,
    /// Threads for the arithmetic on the CPU; `None` for all of this machine's.
    pub threads: Option<usize>,
    /// Pairs in a batch; `None` for the batch of the recipe or run.
    pub batch: Option<usize>,
    /// True if a GPU runs every step by its plain kernels.
    pub plain_kernels: bool,
    pub json: bool,
    /// The file for a page of the profile.
    pub out: Option<PathBuf>,
}

/// Profiles the training step of the recipe or run that `request.what` names, and prints a row for each layer and
/// kernel, or the profile as JSON. With a file in `request.out`, also writes a page there.
///
/// # Errors
/// When there is no such recipe or run, the device cannot be used, or the page or stdout cannot be written.
pub fn run(request: &Request) -> Result<()> {
    if let Some(out) = &request.out {
        target(out)?;
    }
    let subject = Subject::find(&request.what)?;
    ensure!(
        subject.is_trained,
        "{}: these are weights without a run, of which no training step is known; give a recipe or a run",
        request.what
    );
    if let (Some(out), Some(file)) = (&request.out, &subject.file) {
        ensure!(!is_same_file(out, file), "{} is what is profiled: choose another file", out.display());
    }
    let chosen = request.device.choose()?;
    let precision = request.precision.unwrap_or(subject.objective.precision);
    chosen.require(precision.activations())?;
    if let Some(threads) = request.threads {
        ensure!(
            chosen.device == DeviceId::Cpu,
            "--threads {threads}: only the CPU uses it; leave it out, or give --device cpu"
        );
    }
    if let Some(note) = &chosen.note {
        say(note);
    }
    let batch = request.batch.unwrap_or(subject.objective.batch);
    let objective = Pix2Pix { batch, precision, ..subject.objective };
    let model = TimeModel::new()?;
    ensure!(
        !request.plain_kernels || chosen.device != DeviceId::Cpu,
        "--plain-kernels is about the kernels of a GPU: give --device cuda; the CPU has one kernel for each step"
    );
    let threads = request.threads.unwrap_or_else(rayon::current_num_threads);
    let options = DeviceOptions { plain_kernels: request.plain_kernels, ..DeviceOptions::default() };
    let in_bf16 = if precision == Precision::Bf16 { ", in bf16" } else { "" };
    let title = subject.title + in_bf16 + if request.plain_kernels { ", by its plain kernels" } else { "" };
    let profile = with_threads(threads, || measure::profile(title, &objective, chosen.device, options, &model))??;
    if let Some(out) = &request.out {
        let is_modelled_gpu = profile.modelled.is_some() || profile.device.contains(&model.name);
        let gpu = is_modelled_gpu.then_some(&model);
        make_folder_of(out)?;
        write_atomically(out, page::html(&profile, gpu).as_bytes())?;
    }
    if request.json {
        return Ok(writeln!(stdout(), "{}", serde_json::to_string_pretty(&profile)?)?);
    }
    text::lines(&profile).iter().try_for_each(|line| tell(line.trim_end()))?;
    match &request.out {
        Some(out) => tell(format_args!("Look at {}", out.display())),
        None => Ok(()),
    }
}
