//! A request to `train`: the settings of a new run, or a run to go on with.

use std::path::PathBuf;

use anyhow::Result;

use super::RunLock;
use super::run_folder::ensure_free;
use crate::config::TrainConfig;

/// The input of a training: its settings, and the checkpoint from which a run is resumed.
#[derive(Debug)]
pub struct TrainRequest {
    pub config: TrainConfig,
    /// The checkpoint to go on from; `None` starts a new run.
    pub resume: Option<Resume>,
}

/// A checkpoint from which a run is resumed, and the lock on the run's folder.
#[derive(Debug)]
pub struct Resume {
    /// Path of the checkpoint file.
    pub checkpoint: PathBuf,
    /// Lock on the run's folder, to which no other process writes meanwhile.
    pub lock: RunLock,
}

impl TrainRequest {
    /// Returns the request to start a new run in the folder `config.out`.
    ///
    /// # Errors
    /// When that folder holds a run with a checkpoint, or files that no run wrote, or cannot be read.
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
