//! `pixtape profile`: where the time of a training step goes, by layer and kernel.
//!
//! On the CPU and on a GPU the time is measured. On the simulated GPU (`tools/cudasim`) the kernels' requests are
//! counted, and [`TimeModel`] says how long a GPU would take for them. The result is a [`Profile`], printed as a table
//! or as JSON, and drawn on a page.

mod cache;
mod columns;
mod counted;
mod inputs;
mod machine_code;
mod measure;
mod model;
mod page;
mod recorded;
mod rows;
mod text;
mod timed;

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::base::files::{is_same_file, make_folder_of, target, write_atomically};
use crate::base::progress::{say, tell};
use crate::engine::device::{DeviceChoice, DeviceId, DeviceOptions};
use crate::gan::Pix2Pix;
use crate::inspect::Subject;

pub use inputs::{fill, show_pictures};
pub use model::{Bound, Load, TimeModel};
pub use rows::{Launch, Operand, Profile, Row, Total};

/// A request to `profile`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: String,
    pub device: DeviceChoice,
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
    if let Some(note) = &chosen.note {
        say(note);
    }
    let batch = request.batch.unwrap_or(subject.objective.batch);
    let objective = Pix2Pix { batch, ..subject.objective };
    let model = TimeModel::new()?;
    ensure!(
        !request.plain_kernels || chosen.device != DeviceId::Cpu,
        "--plain-kernels is about the kernels of a GPU: give --device cuda; the CPU has one kernel for each step"
    );
    let options = DeviceOptions { plain_kernels: request.plain_kernels, ..DeviceOptions::default() };
    let title = subject.title + if request.plain_kernels { ", by its plain kernels" } else { "" };
    let profile = measure::profile(title, &objective, chosen.device, options, &model)?;
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
