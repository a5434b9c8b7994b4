//! What was fetched, kept beside it: an archive has no other witness than its first download.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::with_ending;

/// An archive as it was when it was fetched first, or when its sum was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The file `fetched.toml` of a folder: a table for each data set.
pub struct Records {
    path: PathBuf,
    records: BTreeMap<String, Record>,
}

impl Records {
    /// # Errors
    /// When there is a file that cannot be read or understood.
    pub fn open(dir: &Path) -> Result<Records> {
        let path = dir.join("fetched.toml");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let records = toml::from_str(&text).with_context(|| format!("{} cannot be understood", path.display()))?;
        Ok(Records { path, records })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// Replaces the record of a data set, in the file too.
    ///
    /// # Errors
    /// When the file cannot be written; it is as it was then.
    pub fn set(&mut self, name: &str, record: Record) -> Result<()> {
        self.records.insert(name.to_owned(), record);
        let unfinished = with_ending(&self.path, ".unfinished");
        let written = fs::write(&unfinished, toml::to_string(&self.records)?);
        written
            .and_then(|()| fs::rename(&unfinished, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
