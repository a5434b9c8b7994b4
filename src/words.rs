//! Words that several commands say.

/// `1 pair`, `2 pairs`: a number of things whose plural ends in s.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
