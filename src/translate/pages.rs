//! Output files: a picture each, or the pages of a TIFF.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::jobs::Job;
use crate::data::{Carried, Depth, FileFormat, Page, Picture, encode_tiff};

/// The pages of outputs that lack others still.
#[derive(Default)]
pub struct Unfinished(HashMap<PathBuf, BTreeMap<usize, (Picture, Depth, Carried)>>);

impl Unfinished {
    /// The file of `output`, whose `picture` is that of `job`; `None` while other pages of it are missing.
    pub fn encode(&mut self, job: &Job, output: &Path, picture: Picture) -> Option<Result<Vec<u8>>> {
        let picture = Picture { is_last_a_band: job.has_band, ..picture };
        if job.format != FileFormat::Tiff {
            return Some(job.format.encode(&picture, job.depth));
        }
        let of_file = self.0.entry(output.to_path_buf()).or_default();
        of_file.insert(job.page, (picture, job.depth, job.carried.clone()));
        if of_file.len() < job.pages {
            return None;
        }
        let of_file = self.0.remove(output)?;
        let pages = of_file.values().map(|(picture, depth, carried)| Page { picture, depth: *depth, carried });
        Some(encode_tiff(&pages.collect::<Vec<_>>()))
    }
}
