//! The moments at which a run saves a checkpoint and writes its report.

use std::time::Duration;

/// Longest time between two writings of the report, so that a run in progress can be told from one that was killed.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Time since the last checkpoint after which the end of an epoch is a reason to save.
const SAVE_AFTER: Duration = Duration::from_secs(300);

/// True if a checkpoint is to be saved after a step: by its number, or at the end of an epoch when the last one is old,
/// since few steps may be much work.
pub fn is_save_due(step: u64, save_every: u64, is_epoch_end: bool, since_the_last: Duration) -> bool {
    step.is_multiple_of(save_every) || (is_epoch_end && since_the_last >= SAVE_AFTER)
}

/// True if the report is to be written after a step: when it has something new, or when the last one is old.
pub fn is_report_due(is_news: bool, since_the_last: Duration) -> bool {
    is_news || since_the_last >= REPORT_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_are_a_reason_to_save_at_the_end_of_an_epoch_only() {
        let is_due = |is_epoch_end, since| is_save_due(7, 400, is_epoch_end, since);
        assert!(is_due(true, Duration::from_secs(300)) && is_due(true, Duration::MAX));
        assert!(!is_due(true, Duration::from_millis(299_999)) && !is_due(false, Duration::MAX));
        assert!(is_save_due(800, 400, false, Duration::ZERO));
    }

    #[test]
    fn a_minute_is_a_reason_to_write_the_report_also_when_nothing_is_new() {
        assert!(is_report_due(false, Duration::from_secs(60)) && is_report_due(false, Duration::MAX));
        assert!(!is_report_due(false, Duration::from_millis(59_999)));
        assert!(is_report_due(true, Duration::ZERO));
    }
}
