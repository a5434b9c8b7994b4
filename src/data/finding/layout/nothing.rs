//! The message for a folder without pairs.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Found, Layout, NO_PARTNER, below, join_command};
use crate::base::words::count as number;
use crate::data::decoding::LOOKED_FOR;
use crate::data::finding::listing::{folders, list};

/// Number of names that are listed; more are counted.
const NAMED: usize = 4;

/// Returns the error message for a folder `dir` without pairs, in which [`find`](super::find) has found no more than
/// `found`: it names the reason and a cure.
///
/// # Errors
/// When a folder cannot be read.
pub fn no_pairs_message(found: &Found, dir: &Path) -> Result<String> {
    let lonely: Vec<String> =
        found.skipped.iter().filter(|(_, why)| why.starts_with(NO_PARTNER)).map(|(file, _)| below(dir, file)).collect();
    if let (Layout::Folders([a, b]), [first, others @ ..]) = (&found.layout, &*lonely) {
        let others = if others.is_empty() { String::new() } else { format!(", nor have {}", some(others)) };
        return Ok(format!(
            "no pairs in {}: of {} images in folders {a}/ and {b}/ no two have one name; {first} has no \
             partner{others}",
            dir.display(),
            lonely.len()
        ));
    }
    let seen = with_pictures(dir)?;
    let names: Vec<String> =
        seen.iter().map(|(folder, count)| format!("{}/ ({})", below(dir, folder), number(*count, "picture"))).collect();
    let command = match &*seen {
        [(a, _), (b, _)] => join_command(&a.display().to_string(), &b.display().to_string()),
        _ => join_command("FOLDER", "FOLDER"),
    };
    let seen = match &*names {
        [] => String::new(),
        [_] => format!("; there is {}", some(&names)),
        _ => format!("; there are {}: {command} joins two folders whose files have equal names", some(&names)),
    };
    Ok(format!(
        "no images in {}: looked for {LOOKED_FOR} in it, in train/, val/ and test/, and in folders A/ and B/ or input/ \
         and target/{seen}",
        dir.display()
    ))
}

/// The folders in `dir` that hold pictures, or the ones in them, with their number.
fn with_pictures(dir: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let mut found = Vec::new();
    for folder in folders(dir)? {
        let pictures = list(&folder)?.len();
        if pictures > 0 {
            found.push((folder, pictures));
            continue;
        }
        for inner in folders(&folder)? {
            let pictures = list(&inner)?.len();
            if pictures > 0 {
                found.push((inner, pictures));
            }
        }
    }
    Ok(found)
}

/// The first of `names`, and how many more there are.
fn some(names: &[String]) -> String {
    let mut some: Vec<String> = names.iter().take(NAMED).cloned().collect();
    if names.len() > NAMED {
        some.push(format!("{} more", names.len() - NAMED));
    }
    some.join(", ")
}
