//! Checks of the value of a single option. Each returns the rule that the value breaks, such as `must be at least 1`,
//! or `None` if it breaks none.

use std::fmt::Display;

/// The largest integer that a settings file can hold: TOML's are signed, with 64 bits.
pub const LARGEST: u64 = i64::MAX as u64;

/// Returns a check that refuses a value outside of `least..=most`: called with a value, it returns the rule that the
/// value breaks, such as `must be at least 1`, or `None` if it breaks none.
///
/// An option without a natural upper bound takes one far above every useful value, so that a mistyped number is an
/// error message and not a failed allocation.
pub fn between<T: Ord + Display>(least: T, most: T) -> impl Fn(&T) -> Option<String> {
    move |value| match () {
        () if *value < least => Some(format!("must be at least {least}")),
        () if *value > most => Some(format!("must be at most {most}")),
        () => None,
    }
}

/// Refuses a count that is 0 or above [`LARGEST`]: returns the rule that `value` breaks, `None` if it breaks none.
pub fn positive(value: &u64) -> Option<String> {
    between(1, LARGEST)(value)
}

/// Refuses a count above [`LARGEST`], but not 0: returns the rule that `value` breaks, `None` if it breaks none.
pub fn count(value: &u64) -> Option<String> {
    between(0, LARGEST)(value)
}

/// Refuses a fraction below 0, of 1 or above, or NaN: returns the rule that `value` breaks, `None` if it breaks none.
pub fn fraction(value: &f64) -> Option<String> {
    rule((0.0..1.0).contains(value), "must be from 0 to below 1")
}

/// Refuses the weight of a loss that is negative or not finite: returns the rule that `value` breaks, `None` if it
/// breaks none.
pub fn weight(value: &f64) -> Option<String> {
    rule(*value >= 0.0 && value.is_finite(), "must be 0 or more")
}

/// Refuses a number that is not finite or not above 0: returns the rule that `value` breaks, `None` if it breaks none.
pub fn above_zero(value: &f64) -> Option<String> {
    rule(*value > 0.0 && value.is_finite(), "must be above 0")
}

/// Refuses a factor of decay that is not above 0 and below 1: returns the rule that `value` breaks, `None` if it breaks
/// none.
pub fn decay_factor(value: &f64) -> Option<String> {
    rule(*value > 0.0 && *value < 1.0, "must be above 0 and below 1")
}

fn rule(holds: bool, rule: &str) -> Option<String> {
    (!holds).then(|| rule.to_owned())
}
