//! Text for people: counts, lists of problems, and names as a terminal may show them.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

/// Maximum number of problems that an error names one by one.
pub const MOST_NAMED: usize = 20;

/// Returns `number` and `thing`, with an s unless `number` is 1: `1 pair`, `2 pairs`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns `text` with every control character escaped as in Rust (`\n`, `\u{1b}`), and the characters that reverse the
/// direction of writing as well: a file or a tensor may have any name, and a terminal would obey an escape sequence in
/// it.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_unprintable(character) {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Length in characters of the longest name that is shown in full.
const LONGEST_NAME: usize = 100;

/// Returns `name`, cut to its first 100 characters and an ellipsis if it is longer: names in foreign files may have
/// thousands.
pub fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

fn is_unprintable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the first `most` of `names`, then, if there are others, `and N more` as the last element.
pub fn first(names: impl ExactSizeIterator<Item = String>, most: usize) -> Vec<String> {
    let more = names.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("and {more} more"));
    names.take(most).chain(more).collect()
}

/// An error that lists what is wrong with several inputs: a summary, a line for each of the first problems, then the
/// number of the others. It gets no anyhow context, since it is printed as several lines of its own.
#[derive(Debug)]
pub struct Problems {
    pub summary: String,
    /// One problem each.
    pub lines: Vec<String>,
    /// Maximum number of lines that are listed.
    pub most: usize,
}

impl std::error::Error for Problems {}

impl Display for Problems {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", printable(&self.summary))?;
        first(self.lines.iter().cloned(), self.most).iter().try_for_each(|line| write!(f, "\n  {}", printable(line)))
    }
}

/// Returns an error of `summary` and `lines`, of which the first [`MOST_NAMED`] are listed and the others counted, or
/// `Ok` if there are no lines.
///
/// # Errors
/// [`Problems`], when there are lines.
pub fn refuse(lines: Vec<String>, summary: impl Into<String>) -> anyhow::Result<()> {
    refuse_naming(MOST_NAMED, lines, summary)
}

/// Returns an error of `summary` and `lines`, of which the first `most` are listed and the others counted, or `Ok` if
/// there are no lines.
///
/// # Errors
/// [`Problems`], when there are lines.
pub fn refuse_naming(most: usize, lines: Vec<String>, summary: impl Into<String>) -> anyhow::Result<()> {
    match lines.is_empty() {
        true => Ok(()),
        false => Err(Problems { summary: summary.into(), lines, most }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_control_characters_are_escaped_and_others_are_not_copied() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{7f}\u{9b}\u{202e}é"), "a\\u{1b}[31m\\nb\\u{7f}\\u{9b}\\u{202e}é");
        assert!(matches!(printable("plain é 漢 \\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_name_is_shown_in_full_up_to_a_hundred_characters() {
        let name = "é".repeat(100);
        assert_eq!(shortened(&name), name);
        assert_eq!(shortened(&format!("{name}xyz")), format!("{name}…"));
    }

    #[test]
    fn twenty_problems_are_named_and_the_others_counted() {
        let lines = |number| (0..number).map(|i| format!("{i}.png: b\nroken")).collect();
        let text = |number| refuse(lines(number), "some files are bad").unwrap_err().to_string();
        assert!(refuse(lines(0), "").is_ok());
        assert_eq!(text(1), "some files are bad:\n  0.png: b\\nroken");
        assert_eq!(text(20).lines().count(), 21);
        let few = refuse_naming(2, lines(5), "some files are bad").unwrap_err().to_string();
        assert!(few.ends_with("\n  1.png: b\\nroken\n  and 3 more"), "{few}");
        let many = text(20_000);
        assert_eq!((many.lines().count(), many.lines().last()), (22, Some("  and 19980 more")));
    }
}
