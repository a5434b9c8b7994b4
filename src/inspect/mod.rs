//! `pixtape inspect`: layers, steps and memory of a run or a recipe, read off the recorded program itself.

mod layers;
mod memory;
mod steps;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::base::progress::tell;
use crate::checkpoint::{Origin, resolve};
use crate::config::{TrainOptions, value_name};
use crate::data::Size;
use crate::engine::tape::Tape;
use crate::engine::tensor::Shape;
use crate::exchange::Weights;
use crate::gan::{Network, Objective, PUBLISHED_SIDE, Parameters, Pix2Pix, Recipe, TrainingStep};

/// A request to `inspect`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: String,
    pub steps: bool,
    pub memory: bool,
}

/// The run, file of weights or recipe that a command is about.
pub(crate) struct Subject {
    /// Name and origin, in a line.
    pub title: String,
    pub objective: Pix2Pix,
    /// The checkpoint or file of weights; `None` for a recipe.
    pub file: Option<PathBuf>,
    /// False for weights without a run: of these the generator alone is known.
    pub is_trained: bool,
}

/// Prints the layers of each network, the operations of the training step and its memory plan, for the recipe, run or
/// file of weights that `request.what` names. For weights without a run, only the generator's layers are known.
///
/// # Errors
/// When there is no such run, file or recipe, the file cannot be used, or stdout cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let subject = Subject::find(&request.what)?;
    let mut lines = vec![subject.title.clone()];
    let networks = subject.objective.networks();
    for network in &networks[..if subject.is_trained { networks.len() } else { 1 }] {
        let [height, width] = network.size;
        let mut name = network.name.to_owned();
        name[..1].make_ascii_uppercase();
        lines.extend([String::new(), format!("{name}, for {} of {}", network.input, Size { width, height })]);
        lines.extend(network_layers(network));
    }
    if subject.is_trained {
        let recorded = TrainingStep::record(&subject.objective)?;
        lines.push(String::new());
        lines.extend(steps::describe(&recorded.program, subject.objective.pairs_per_step(), request.steps));
        lines.push(String::new());
        lines.extend(memory::describe(&recorded, request.memory));
    }
    lines.iter().try_for_each(|line| tell(line.trim_end()))?;
    Ok(())
}

impl Subject {
    /// Finds the recipe, run folder or file of weights that `what` names.
    ///
    /// # Errors
    /// When there is none of this name, or the file cannot be used.
    pub fn find(what: &str) -> Result<Subject> {
        if let Ok(recipe) = Recipe::from_str(what, false) {
            let config = TrainOptions::published(recipe).resolve()?;
            let title = format!("The recipe {what} at its published size");
            return Ok(Subject { title, objective: config.objective(), file: None, is_trained: true });
        }
        let recipes: Vec<String> = Recipe::value_variants().iter().map(|&recipe| value_name(recipe)).collect();
        let file = resolve(Path::new(what)).with_context(|| format!("{what} is no recipe ({})", recipes.join(", ")))?;
        let about = Weights::open_generator(&file)?.about()?;
        let recipe = value_name(about.generator.recipe);
        let title = format!("{}: {}, recipe {recipe}", file.display(), about.describe());
        let file = Some(file);
        match about.origin {
            Origin::Run(meta) => Ok(Subject { title, objective: meta.config.objective(), file, is_trained: true }),
            Origin::Import { .. } => {
                // A deeper generator needs a larger picture: the smallest that it can halve so often.
                let side = PUBLISHED_SIDE.max(1 << about.generator.depth);
                let published = Pix2Pix::published(about.generator.recipe);
                let objective = Pix2Pix { generator: about.generator, height: side, width: side, ..published };
                Ok(Subject { title, objective, file, is_trained: false })
            }
        }
    }
}

fn network_layers(network: &Network) -> Vec<String> {
    let mut tape = Tape::new();
    let parameters = Parameters::new(&mut tape, network.architecture.specs());
    let [height, width] = network.size;
    let input = tape.persistent([1, height, width, network.architecture.in_channels()]);
    network.architecture.forward(&mut tape, &parameters, input);
    layers::describe(&layers::layers(&tape.finish(), &parameters, input))
}

/// A number with a comma at every third digit.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|three| std::str::from_utf8(three).ok()).collect();
    groups.join(",")
}

/// `number` bytes as text, in B, kB or MB.
fn bytes(number: usize) -> String {
    match number {
        0..10_000 => format!("{number} B"),
        10_000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        _ => format!("{:.1} MB", number as f64 / 1e6),
    }
}

/// Height, width and channels, behind the number of images if there are several.
fn grid([images, height, width, channels]: Shape) -> String {
    let grid = format!("{height}x{width}x{channels}");
    if images == 1 { grid } else { format!("{images} x {grid}") }
}

/// Rows with aligned columns, all of the same number of cells: the first `left` columns are flush left, the others
/// flush right.
pub(crate) fn table<R: AsRef<[String]>>(rows: &[R], left: usize) -> Vec<String> {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let width = |column: usize| rows.iter().map(|row| row.as_ref()[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &R| {
        let cells = row.as_ref().iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}
