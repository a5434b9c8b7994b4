//! Code that the documents quote stands in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below `folder` with this ending.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => files(&path, extension),
        false => vec![path],
    });
    found.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Lines of code without their indentation, and none that are empty.
fn lines(code: &str) -> Vec<&str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The blocks of Rust in a document.
fn quotes(document: &str) -> Vec<Vec<&str>> {
    let blocks = document.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(lines).collect()
}

fn is_in(source: &[&str], quote: &[&str]) -> bool {
    source.windows(quote.len()).any(|window| window == quote)
}

#[test]
fn quoted_code_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts: Vec<String> =
        files(&root.join("src"), "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let sources: Vec<Vec<&str>> = texts.iter().map(|text| lines(text)).collect();
    let mut documents = files(&root.join("docs"), "md");
    documents.extend(["README.md", "ARCHITECTURE.md"].map(|name| root.join(name)));
    let mut found = 0;
    for document in documents {
        for quote in quotes(&fs::read_to_string(&document).unwrap()) {
            found += 1;
            let stands = sources.iter().any(|source| is_in(source, &quote));
            assert!(stands, "{} quotes code that is gone:\n{}", document.display(), quote.join("\n"));
        }
    }
    assert!(found >= 9, "{found} quotes");
}

/// ARCHITECTURE.md has a row for each file of the library with unsafe code, and none for others.
#[test]
fn unsafe_code_is_where_the_document_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("Where unsafe lives\n")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| [`"));
    let named = rows.flat_map(|row| row.split("](src/").skip(1).filter_map(|link| link.split_once(')')));
    let named: BTreeSet<String> = named.map(|(path, _)| path.to_owned()).collect();
    let is_unsafe = |line: &str| ["unsafe {", "unsafe impl ", "unsafe fn "].iter().any(|code| line.contains(code));
    let sources = files(&root.join("src"), "rs").into_iter();
    let found = sources.filter(|path| fs::read_to_string(path).unwrap().lines().any(is_unsafe));
    let found = found.map(|path| path.strip_prefix(root.join("src")).unwrap().display().to_string());
    assert_eq!(named, found.collect());
}

#[test]
fn a_quote_of_code_that_is_gone_is_found() {
    let source = lines("fn f() {\n    one();\n\n    two();\n}\n");
    for (document, stands) in [
        ("```rust\none();\ntwo();\n```", true),
        ("```rust\n  fn f() {\n      one();\n```", true),
        ("```rust\ntwo();\none();\n```", false),
        ("```rust\none()\n```", false),
    ] {
        assert_eq!(is_in(&source, &quotes(document)[0]), stands, "{document}");
    }
}
