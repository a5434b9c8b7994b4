//! A request to `train`: the settings of a new run, or a run to go on with.

use std::path::PathBuf;

use anyhow::Result;

use super::RunLock;
use super::run_folder::ensure_free;
use crate::config::TrainConfig;

/// A request to `train`.
#[derive(Debug)]
pub struct TrainRequest {
    pub config: TrainConfig,
    /// The run to go on with; `None` starts a new one.
    pub resume: Option<Resume>,
}

/// A run to go on with.
#[derive(Debug)]
pub struct Resume {
    pub checkpoint: PathBuf,
    /// Lock on its folder, which no other process writes to meanwhile.
    pub lock: RunLock,
}

impl TrainRequest {
    /// Asks for a new run.
    ///
    /// # Errors
    /// When its folder holds anything that it would overwrite.
    pub fn new_run(config: TrainConfig) -> Result<TrainRequest> {
        ensure_free(&config.out)?;
        Ok(TrainRequest { config, resume: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainOptions;

    #[test]
    fn a_folder_with_a_run_is_not_started_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("checkpoints")).unwrap();
        std::fs::write(folder.path().join("checkpoints/step-00000001.safetensors"), "").unwrap();
        let out = Some(folder.path().to_path_buf());
        let config = TrainOptions { out, ..Default::default() }.resolve().unwrap();
        assert!(TrainRequest::new_run(config).unwrap_err().to_string().contains("--resume"));
    }
}
