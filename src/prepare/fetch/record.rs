//! A record of fetched archives, kept beside them: later downloads can only be compared with the first one.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::base::files::{read_text, write_whole};

/// An archive as of its first download, or as of the download that `--sha256` was given for.
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
    /// Opens the records of `dir`.
    ///
    /// # Errors
    /// When there is a file that cannot be read or understood.
    pub fn open(dir: &Path) -> Result<Records> {
        let path = dir.join("fetched.toml");
        let records = read(&path)?;
        Ok(Records { path, records })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// Replaces the record of a data set in the file. Records that another command has added since it was opened are
    /// kept.
    ///
    /// # Errors
    /// When the file cannot be read or written. It is then unchanged.
    pub fn set(&self, name: &str, record: Record) -> Result<()> {
        let mut records = read(&self.path)?;
        records.insert(name.to_owned(), record);
        write_whole(&self.path, toml::to_string(&records)?.as_bytes())
    }
}

/// The records in the file at `path`; none when there is no such file.
fn read(path: &Path) -> Result<BTreeMap<String, Record>> {
    let text = match read_text(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    toml::from_str(&text).with_context(|| format!("{} cannot be understood", path.display()))
}
