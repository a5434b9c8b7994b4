//! A record of fetched archives, kept beside them: later downloads can only be compared with the first one.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::base::files::{read_text, write_atomically};

/// The URL, size in bytes and SHA-256 (64 lower-case hexadecimal digits) of a fetched archive, with which later
/// downloads of the data set are compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The contents of `fetched.toml`, a file in the folder of all fetched data sets: a [`Record`] for each data set, by
/// its name.
pub struct Records {
    path: PathBuf,
    records: BTreeMap<String, Record>,
}

impl Records {
    /// Reads `fetched.toml` in the folder `dir`; a missing file has no records.
    ///
    /// # Errors
    /// When the file exists and cannot be read or parsed.
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

    /// Writes `record` for the data set `name` into the file, in place of an earlier one. Records that another command
    /// has added to the file meanwhile are kept. Later calls of [`Records::get`] still return the records as opened.
    ///
    /// # Errors
    /// When the file cannot be read or written. It is then unchanged.
    pub fn set(&self, name: &str, record: Record) -> Result<()> {
        let mut records = read(&self.path)?;
        records.insert(name.to_owned(), record);
        write_atomically(&self.path, toml::to_string(&records)?.as_bytes())
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
