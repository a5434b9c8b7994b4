//! Ctrl-C: the first asks the run to save and end, the second ends the process immediately.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::{Context, Result, anyhow};
#[cfg(unix)]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit status of a process that was interrupted: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// The signals that ask a run to end.
const SIGNALS: &[i32] = &[
    SIGINT,
    SIGTERM,
    #[cfg(unix)]
    SIGHUP,
];

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Default::default);

/// Installs handlers of SIGINT (Ctrl-C), SIGTERM and, on Unix, SIGHUP: after the first signal [`asked`] returns true,
/// and the second ends the process with status 130. A signal that was ignored when the program was started stays
/// ignored (on Linux): `nohup` asks for that, and so does a shell for a background job. A second call installs nothing.
///
/// # Errors
/// When the system refuses a handler.
pub fn catch() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        let ignored = ignored_signals();
        for &signal in SIGNALS.iter().filter(|&&signal| ignored >> (signal - 1) & 1 == 0) {
            // The order counts: the handler that finds the flag set ends the program, and the next one sets it.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&ASKED))
                .and_then(|_| flag::register(signal, Arc::clone(&ASKED)))
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    INSTALLED.get_or_init(install).clone().map_err(|error| anyhow!(error)).context("cannot catch Ctrl-C")
}

/// Returns true once a signal that [`catch`] handles has asked the run to save and end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Returns the signals that this process ignores, signal n as bit n - 1. Only Linux tells without unsafe code;
/// elsewhere the result is 0.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()).unwrap_or(0)
}
