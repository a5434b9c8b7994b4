//! Words that tell the two sides of a pair apart, in names of folders and at the end of names of files.

/// Words for the side of the inputs, which is A.
const A: [&str; 16] = [
    "a", "input", "inputs", "source", "sources", "src", "photo", "photos", "image", "images", "img", "imgs", "picture",
    "pictures", "rgb", "x",
];

/// Words for the side of the targets, which is B.
const B: [&str; 20] = [
    "b",
    "target",
    "targets",
    "tgt",
    "output",
    "outputs",
    "label",
    "labels",
    "mask",
    "masks",
    "gt",
    "groundtruth",
    "truth",
    "annotation",
    "annotations",
    "seg",
    "segmentation",
    "segmentations",
    "expected",
    "y",
];

/// Returns the side that `word` names, in upper or lower case: 0 is A, 1 is B. `None` if it names neither.
pub fn side_of(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    [&A[..], &B[..]].iter().position(|words| words.contains(&&*word))
}

/// True for the characters that separate the words of a name: `_`, `-`, `.` and the space.
pub fn is_separator(letter: char) -> bool {
    matches!(letter, '_' | '-' | '.' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_of_one_side() {
        assert!(A.iter().all(|word| !B.contains(word)));
        for (word, side) in [("A", Some(0)), ("Input", Some(0)), ("b", Some(1)), ("LABELS", Some(1)), ("cats", None)] {
            assert_eq!(side_of(word), side, "{word}");
        }
    }
}
