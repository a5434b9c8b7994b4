//! Rules for the value of a single option: each gives the rule that a value breaks, or `None`.

use std::fmt::Display;

/// The largest number that a settings file can hold.
pub const LARGEST: u64 = i64::MAX as u64;

/// The rule for a number from `least` to `most`, both included. An option without a natural upper bound takes one far
/// above every useful value, so that a mistyped number is an error message and not a failed allocation.
pub fn between<T: Ord + Display>(least: T, most: T) -> impl Fn(&T) -> Option<String> {
    move |value| match () {
        () if *value < least => Some(format!("must be at least {least}")),
        () if *value > most => Some(format!("must be at most {most}")),
        () => None,
    }
}

/// The rule for a count from 1 to [`LARGEST`].
pub fn positive(value: &u64) -> Option<String> {
    between(1, LARGEST)(value)
}

/// The rule for a count from 0 to [`LARGEST`].
pub fn count(value: &u64) -> Option<String> {
    between(0, LARGEST)(value)
}

/// The rule for a fraction from 0 to below 1.
pub fn share(value: &f64) -> Option<String> {
    rule((0.0..1.0).contains(value), "must be from 0 to below 1")
}

/// The rule for the weight of a loss: finite, 0 or more.
pub fn weight(value: &f64) -> Option<String> {
    rule(*value >= 0.0 && value.is_finite(), "must be 0 or more")
}

/// The rule for a finite number above 0.
pub fn above_zero(value: &f64) -> Option<String> {
    rule(*value > 0.0 && value.is_finite(), "must be above 0")
}

/// The rule for a factor that makes smaller, between 0 and 1.
pub fn reducing(value: &f64) -> Option<String> {
    rule(*value > 0.0 && *value < 1.0, "must be above 0 and below 1")
}

fn rule(holds: bool, rule: &str) -> Option<String> {
    (!holds).then(|| rule.to_owned())
}
