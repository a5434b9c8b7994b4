//! Progress of a long job: a bar on a terminal, a plain line every few seconds elsewhere.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr, stdout},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::words::printable;

/// Least time between two lines of progress where stderr is no terminal.
pub const LINE_EVERY: Duration = Duration::from_secs(5);

/// A progress display on stderr: a bar on a terminal, elsewhere a line at most every [`LINE_EVERY`]. Several threads
/// may advance it. Dropping it removes the bar.
pub struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    /// Amount done, and the time of the last line.
    state: Mutex<(u64, Instant)>,
    /// Total amount; 0 if it is unknown.
    total: u64,
    is_bytes: bool,
}

impl Progress {
    /// Begins a display that counts up to `total` jobs; `what` stands in front of the numbers.
    pub fn for_jobs(what: &str, total: u64) -> Progress {
        Progress::new(what, 0, total, false)
    }

    /// Begins a display in bytes, of which `done` of `total` are there already; a `total` of 0 means that it is
    /// unknown. `what` stands in front of the numbers.
    pub fn for_bytes(what: &str, done: u64, total: u64) -> Progress {
        Progress::new(what, done, total, true)
    }

    fn new(what: &str, done: u64, total: u64, is_bytes: bool) -> Progress {
        let template = match (is_bytes, total) {
            (false, _) => "{msg} [{bar:24}] {pos}/{len}  ETA {eta}",
            (true, 0) => "{msg} {decimal_bytes}  {decimal_bytes_per_sec}",
            (true, _) => "{msg} [{bar:24}] {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  ETA {eta}",
        };
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(printable(what).into_owned());
            bar.set_position(done);
            // Bytes that were there before say nothing about the speed.
            bar.reset_eta();
            bar
        });
        Progress { what: what.to_owned(), bar, state: Mutex::new((done, Instant::now())), total, is_bytes }
    }

    /// Adds `by` jobs or bytes to the amount done.
    pub fn advance(&self, by: u64) {
        // A poisoned lock is a panic elsewhere, which ends everything.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, last) = &mut *state;
        *done += by;
        match &self.bar {
            Some(bar) => bar.set_position(*done),
            None if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let number = |value: u64| match self.is_bytes {
                    true => DecimalBytes(value).to_string(),
                    false => value.to_string(),
                };
                let of = if self.total > 0 { format!(" of {}", number(self.total)) } else { String::new() };
                say(&format!("{}: {}{of}", self.what, number(*done)));
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to stderr, control characters escaped ([`printable`]). Errors are ignored: a closed stderr does not
/// end the work.
pub fn say(line: &str) {
    let _ = writeln!(stderr(), "{}", printable(line));
}

/// Writes a line of a command's result to stdout, control characters escaped ([`printable`]).
///
/// # Errors
/// When stdout cannot be written.
pub fn tell(line: impl Display) -> Result<()> {
    Ok(writeln!(stdout(), "{}", printable(&line.to_string()))?)
}
