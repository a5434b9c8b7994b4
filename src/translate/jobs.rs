//! What is to be translated into what, found out before anything is written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Model;
use crate::cli::TranslateArgs;
use crate::config::is_same_place;
use crate::data::listing::{LeftOut, describe_left_out, describe_none, pictures};
use crate::data::{Depth, Direction, FileFormat, Picture, Size, read_picture};
use crate::progress::say;
use crate::words::{count, refuse};

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

/// All images that the inputs of `args` name, each with outputs of its own. Says what is left out, and which inputs look like pairs.
///
/// # Errors
/// When an input cannot be translated (all such are named), two outputs would be one file, or an output an input.
pub fn jobs(args: &TranslateArgs, model: &Model) -> Result<Vec<Job>> {
    let (inputs, left_out) = files(args)?;
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
    if !left_out.is_empty() {
        say(&format!("Left out {}", describe_left_out(&left_out)));
    }
    warning_of_pairs(args, &jobs, model.training_size()).iter().for_each(|line| say(line));
    Ok(jobs)
}

/// Every picture that the inputs name, themselves or by their folder, and what else is in these folders, with the reasons.
fn files(args: &TranslateArgs) -> Result<(Vec<PathBuf>, Vec<LeftOut>)> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for path in &args.inputs {
        ensure!(path.exists(), "there is no file or folder {}", path.display());
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (found, mut rest) = pictures(path)?;
        ensure!(!found.is_empty(), describe_none(path, &rest));
        // Its own earlier results, which nobody expects among the inputs.
        rest.retain(|(path, _)| !is_same_place(path, &args.out));
        files.extend(found);
        left_out.extend(rest);
    }
    Ok((files, left_out))
}

/// A warning of whole files that have the shape of two pictures of `trained` beside each other.
fn warning_of_pairs(args: &TranslateArgs, jobs: &[Job], trained: Size) -> Option<String> {
    let is_pair = |job: &&Job| job.size.width * trained.height == 2 * job.size.height * trained.width;
    let mut pairs = jobs.iter().filter(is_pair);
    let first = pairs.next().filter(|_| !args.pairs)?;
    let (number, files) = (1 + pairs.count(), count(jobs.len(), "input"));
    let (input, size) = (first.input.display(), first.size.sides());
    Some(format!(
        "warning: {number} of {files} look like pairs, twice as wide as the {} that was trained on ({input}: {size}): if they are, \
         give --pairs, which translates the input half",
        trained.sides()
    ))
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
    let mut taken: HashMap<&Path, &Path> = HashMap::new();
    for Job { input, outputs, .. } in jobs {
        for output in outputs {
            if let Some(other) = taken.insert(output, input) {
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
