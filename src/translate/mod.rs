//! `pixtape translate`: images of any size through a trained generator.

mod model;

use std::collections::HashMap;
use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

pub use model::Model;

use crate::cli::TranslateArgs;
use crate::config::is_same_place;
use crate::data::{Direction, LOOKED_FOR, Picture, Size, list, read_picture, write_png};
use crate::device::cpu::with_threads;

/// Translates every input of `args`.
///
/// # Errors
/// When the checkpoint or an input cannot be used (all bad inputs are named before anything is written), or an output
/// cannot be written.
pub fn run(args: &TranslateArgs) -> Result<()> {
    let mut model = Model::open(&args.model, &args.generator)?;
    let jobs = jobs(&args.inputs, &args.out)?;
    let direction = model.direction();
    let read = |path: &Path| input(path, args.pairs, direction);
    let bad: Vec<String> =
        jobs.iter().filter_map(|job| read(&job.input).err()).map(|error| format!("{error:#}")).collect();
    ensure!(bad.is_empty(), "{} of {} inputs cannot be translated: {}", bad.len(), jobs.len(), bad.join("; "));

    with_threads(args.generator.threads, || {
        for (number, job) in jobs.iter().enumerate() {
            let translated = model.translate(read(&job.input)?, number as u64)?;
            // Not before: a checkpoint that lacks a tensor leaves no empty folder.
            fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
            write_png(&job.output, &translated.to_image8())?;
        }
        let images = if jobs.len() == 1 { "1 image".to_owned() } else { format!("{} images", jobs.len()) };
        writeln!(stdout(), "Translated {images} into {}, {}", args.out.display(), model.describe())?;
        Ok(())
    })?
}

/// One image to translate.
struct Job {
    input: PathBuf,
    output: PathBuf,
}

/// All images that `inputs` name, each with an output of its own.
fn jobs(inputs: &[PathBuf], out: &Path) -> Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut taken: HashMap<PathBuf, PathBuf> = HashMap::new();
    for path in inputs {
        ensure!(path.exists(), "there is no file or folder {}", path.display());
        let files = if path.is_dir() { list(path)? } else { vec![path.clone()] };
        ensure!(!files.is_empty(), "no images in {}: looked for {LOOKED_FOR}", path.display());
        for input in files {
            let stem = input.file_stem().with_context(|| format!("{} has no file name", input.display()))?;
            let mut name = stem.to_owned();
            name.push(".png");
            let output = out.join(name);
            if let Some(other) = taken.insert(output.clone(), input.clone()) {
                let (a, b) = (other.display(), input.display());
                bail!(
                    "{a} and {b} would both be written to {}: translate them into different folders",
                    output.display()
                );
            }
            ensure!(
                !is_same_place(&input, &output),
                "{} would be overwritten by its own translation: choose another --out",
                input.display()
            );
            jobs.push(Job { input, output });
        }
    }
    Ok(jobs)
}

/// The picture to translate: the whole file, or the input half of a side-by-side pair.
fn input(path: &Path, is_pair: bool, direction: Direction) -> Result<Picture> {
    let picture = read_picture(path)?;
    if !is_pair {
        return Ok(picture);
    }
    let Size { width, height } = picture.size;
    ensure!(width % 2 == 0, "{}: a width of {width} does not split into two halves", path.display());
    let left = match direction {
        Direction::AToB => 0,
        Direction::BToA => width / 2,
    };
    Ok(picture.crop(left, 0, Size { width: width / 2, height }))
}
