//! Default names for run folders: `runs/facades-1`, `runs/facades-2`, ...

use std::path::{Path, PathBuf};

/// Returns the path `runs/NAME-N` with the smallest N from 1 that does not exist yet. NAME is the last component of the
/// data folder `data`, or `facades-builtin` if that is `None`.
pub fn next_free(data: Option<&Path>) -> PathBuf {
    next_free_in(Path::new("runs"), data)
}

fn next_free_in(runs: &Path, data: Option<&Path>) -> PathBuf {
    let name = match data {
        // The root of a file system is the only folder without a name.
        Some(folder) => folder.file_name().map_or("run".into(), |name| name.to_string_lossy()),
        None => "facades-builtin".into(),
    };
    let mut number = 1;
    loop {
        let folder = runs.join(format!("{name}-{number}"));
        if !folder.exists() {
            return folder;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_taken() {
        let runs = tempfile::tempdir().unwrap();
        let name = |data: Option<&str>| next_free_in(runs.path(), data.map(Path::new));
        assert_eq!(name(Some("../data/facades")), runs.path().join("facades-1"));
        std::fs::create_dir(runs.path().join("facades-1")).unwrap();
        assert_eq!(name(Some("../data/facades")), runs.path().join("facades-2"));
        assert_eq!(name(None), runs.path().join("facades-builtin-1"));
    }
}
