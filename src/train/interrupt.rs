//! Ctrl-C: the first asks the run to save and end, the second ends it at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};

/// The exit status of a process that was interrupted: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C (and SIGTERM) from now on.
///
/// # Errors
/// When the system refuses the handler.
pub fn catch() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        })
        .map_err(|error| error.to_string())
    };
    INSTALLED.get_or_init(install).clone().map_err(|error| anyhow!(error)).context("cannot catch Ctrl-C")
}

/// Whether somebody asked the run to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
