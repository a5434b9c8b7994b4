//! `pixtape profile`: where the time of a training step goes, by layer and kernel.
//!
//! On the CPU and on a GPU the time is measured. On the simulated GPU (`tools/cudasim`) the kernels' requests are
//! counted, and [`TimeModel`] says how long a GPU would take for them.

mod cache;
mod machine_code;
mod measure;
mod model;
mod rows;
mod text;

use std::io::{Write, stdout};

use anyhow::{Result, ensure};

use crate::base::progress::{say, tell};
use crate::engine::device::DeviceChoice;
use crate::gan::Pix2Pix;
use crate::inspect::Subject;

pub use measure::fill;
pub use model::{Bound, Load, TimeModel};
pub use rows::{Operand, Profile, Row, Total};

/// A request to `profile`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: String,
    pub device: DeviceChoice,
    /// Pairs in a batch; `None` for the batch of the recipe or run.
    pub batch: Option<usize>,
    pub json: bool,
}

/// Profiles the training step of the recipe or run that `request.what` names, and prints a row for each layer and
/// kernel, or the profile as JSON.
///
/// # Errors
/// When there is no such recipe or run, the device cannot be used, or stdout cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let subject = Subject::find(&request.what)?;
    ensure!(
        subject.is_trained,
        "{}: these are weights without a run, of which no training step is known; give a recipe or a run",
        request.what
    );
    let chosen = request.device.choose()?;
    if let Some(note) = &chosen.note {
        say(note);
    }
    let batch = request.batch.unwrap_or(subject.objective.batch);
    let objective = Pix2Pix { batch, ..subject.objective };
    let profile = measure::profile(subject.title, &objective, chosen.device)?;
    match request.json {
        true => Ok(writeln!(stdout(), "{}", serde_json::to_string_pretty(&profile)?)?),
        false => text::lines(&profile).iter().try_for_each(|line| tell(line.trim_end())),
    }
}
