//! What is to be translated into what, found out before anything is written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Model;
use crate::cli::TranslateArgs;
use crate::data::{Depth, Direction, FileFormat, LOOKED_FOR, Picture, Size, list, read_picture};
use crate::files::{ensure_folder, target};
use crate::words::refuse;

/// One image to translate.
#[derive(Debug)]
pub struct Job {
    input: PathBuf,
    pair_side: Option<Direction>,
    /// Of what is translated.
    pub size: Size,
    /// One for each sample.
    pub outputs: Vec<PathBuf>,
    pub format: FileFormat,
    pub depth: Depth,
}

impl Job {
    /// The picture to translate: the whole file, or the input half of a side-by-side pair.
    ///
    /// # Errors
    /// When it can no longer be read.
    pub fn picture(&self) -> Result<Picture> {
        Ok(read(&self.input, self.pair_side)?.0)
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn encode(&self, picture: &Picture) -> Result<Vec<u8>> {
        self.format.encode(picture, self.depth)
    }
}

/// All images that the inputs of `args` name, each with outputs of its own.
///
/// # Errors
/// When an input cannot be translated (all such are named), two outputs would be one file, or an output an input.
pub fn jobs(args: &TranslateArgs, model: &Model) -> Result<Vec<Job>> {
    ensure_folder(&args.out).context("--out")?;
    let inputs = files(&args.inputs)?;
    let pair_side = args.pairs.then(|| model.direction());
    let [_, channels] = model.channels();
    let job = |input: &PathBuf| -> Result<Job> {
        let (Picture { size, .. }, found, depth) = read(input, pair_side)?;
        let format = args.format.unwrap_or(found);
        let held = format.check(size, channels);
        held.map_err(|error| anyhow!("{}: {error}; choose --format png", input.display()))?;
        let ending =
            input.extension().filter(|ending| is_of(format, ending)).unwrap_or(OsStr::new(format.endings()[0]));
        let outputs = (1..=args.samples).map(|sample| {
            let mut name = input.file_stem().unwrap_or_default().to_owned();
            if args.samples > 1 {
                name.push(format!("-{sample}"));
            }
            name.push(".");
            name.push(ending);
            args.out.join(name)
        });
        Ok(Job { input: input.clone(), pair_side, size, outputs: outputs.collect(), format, depth })
    };
    let (mut jobs, mut bad) = (Vec::new(), Vec::new());
    for input in &inputs {
        match job(input) {
            Ok(job) => jobs.push(job),
            Err(error) => bad.push(format!("{error:#}")),
        }
    }
    let summary = format!("{} of {} inputs cannot be translated", bad.len(), inputs.len());
    refuse(bad, summary)?;
    check_outputs(&jobs)?;
    Ok(jobs)
}

/// Every file that `inputs` name, themselves or by their folder.
fn files(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in inputs {
        ensure!(path.exists(), "there is no file or folder {}", path.display());
        let found = if path.is_dir() { list(path)? } else { vec![path.clone()] };
        ensure!(!found.is_empty(), "no images in {}: looked for {LOOKED_FOR}", path.display());
        files.extend(found);
    }
    Ok(files)
}

/// The picture to translate, and how it lies in its file.
fn read(path: &Path, pair_side: Option<Direction>) -> Result<(Picture, FileFormat, Depth)> {
    let (picture, format, depth) = read_picture(path)?;
    let Some(direction) = pair_side else {
        return Ok((picture, format, depth));
    };
    let [a, b] = picture.halves().with_context(|| path.display().to_string())?;
    let half = match direction {
        Direction::AToB => a,
        Direction::BToA => b,
    };
    Ok((half, format, depth))
}

fn is_of(format: FileFormat, ending: &OsStr) -> bool {
    format.endings().iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// No output may take the place of another one or of an input.
fn check_outputs(jobs: &[Job]) -> Result<()> {
    let inputs: HashSet<PathBuf> = jobs.iter().filter_map(|job| job.input.canonicalize().ok()).collect();
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    for Job { input, outputs, .. } in jobs {
        for output in outputs {
            if let Some(other) = taken.insert(target(output)?, input) {
                let (a, b) = (other.display(), input.display());
                bail!(
                    "{a} and {b} would both be written to {}: translate them into different folders",
                    output.display()
                );
            }
            if output.canonicalize().is_ok_and(|place| inputs.contains(&place)) {
                bail!(
                    "{} would be overwritten by the translation of {}: choose another --out",
                    output.display(),
                    input.display()
                );
            }
        }
    }
    Ok(())
}
