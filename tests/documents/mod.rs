//! The documents: code that they quote stands in the sources, and their links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Languages of fenced blocks that quote a file of the project, with the endings of such files.
const QUOTED: [(&str, &[&str]); 6] = [
    ("rust", &["rs"]),
    ("cuda", &["cu", "cuh"]),
    ("cpp", &["cu", "cuh", "cpp", "hpp"]),
    ("c", &["c", "h"]),
    ("python", &["py"]),
    ("toml", &["toml"]),
];

/// Languages of fenced blocks that quote no file. Commands are the subject of `cli::guide`.
const OTHERS: [&str; 3] = ["sh", "text", "math"];

/// The first line of a settings file in a document, which `cli::guide` trains with.
const SETTINGS: &str = "# settings.toml";

/// The folders whose files are quoted.
const FOLDERS: [&str; 7] = ["src", "kernels", "tests", "tools", "build", "benches", "examples"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with one of these endings. Folders such as `.venv` are left out.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let found = entries.filter(|path| !is_hidden(path)).flat_map(|path| match path.is_dir() {
        true => files(&path, extensions),
        false => vec![path],
    });
    let is_wanted = |path: &PathBuf| path.extension().is_some_and(|found| extensions.iter().any(|e| found == *e));
    found.filter(is_wanted).collect()
}

/// The project's documents, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = ["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)).to_vec();
    paths.extend(["docs", "tools"].iter().flat_map(|folder| files(&root().join(folder), &["md"])));
    let with_text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(with_text).collect()
}

/// Lines of code without their indentation, and none that are empty.
fn lines(code: &str) -> Vec<&str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The fenced blocks of a document, each with its language.
fn blocks(document: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut rest = document.lines().map(str::trim);
    while let Some(line) = rest.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code = rest.by_ref().take_while(|line| *line != "```").filter(|line| !line.is_empty());
            blocks.push((language, code.collect()));
        }
    }
    blocks
}

/// The text between the fenced blocks, without what stands between backquotes.
fn prose(document: &str) -> String {
    let outside = document.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    outside.split('`').step_by(2).collect()
}

fn is_in(source: &[&str], quote: &[&str]) -> bool {
    source.windows(quote.len()).any(|window| window == quote)
}

#[test]
fn quoted_code_is_that_of_the_sources() {
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (language, extensions) in QUOTED {
        let paths = FOLDERS.iter().flat_map(|folder| files(&root().join(folder), extensions));
        // Some files of the tests are damaged on purpose.
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        texts.insert(language, paths.map(text).collect());
    }
    let sources: BTreeMap<&str, Vec<Vec<&str>>> =
        texts.iter().map(|(language, texts)| (*language, texts.iter().map(|text| lines(text)).collect())).collect();
    let mut found = 0;
    for (path, document) in documents() {
        let path = path.display();
        for (language, quote) in blocks(&document) {
            if OTHERS.contains(&language) || quote.first() == Some(&SETTINGS) {
                continue;
            }
            let Some(sources) = sources.get(language) else {
                panic!(
                    "{path}: a block of the language \"{language}\", of which no file is known:\n{}",
                    quote.join("\n")
                );
            };
            found += 1;
            let stands = sources.iter().any(|source| is_in(source, &quote));
            assert!(stands, "{path} quotes code that is gone:\n{}", quote.join("\n"));
        }
    }
    assert!(found >= 10, "{found} quotes");
}

/// The name that GitHub gives to a heading in addresses.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

/// The anchors of the headings of a document.
fn anchors(document: &str) -> BTreeSet<String> {
    let outside = document.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    let headings = outside.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut found = 0;
    for (path, document) in documents() {
        let folder = path.parent().unwrap();
        let text = prose(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            found += 1;
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: the link to {link} leads nowhere", path.display());
            if let Some(heading) = heading {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(heading), "{}: {file} has no heading {heading}", path.display());
            }
        }
    }
    assert!(found > 100, "{found} links");
}

/// Longest line of a file, in columns. A row of a Markdown table cannot be broken.
const COLUMNS: usize = 120;

#[test]
fn lines_are_at_most_120_columns_wide() {
    const ENDINGS: [&str; 9] = ["rs", "cu", "cuh", "c", "cpp", "hpp", "py", "md", "toml"];
    let mut paths = ["README.md", "ARCHITECTURE.md", "Cargo.toml", "build.rs"].map(|name| root().join(name)).to_vec();
    paths.extend(FOLDERS.iter().chain(&["docs"]).flat_map(|folder| files(&root().join(folder), &ENDINGS)));
    // Files that are damaged on purpose.
    paths.retain(|path| !path.starts_with(root().join("tests/corpus")));
    assert!(paths.len() > 300, "{} files", paths.len());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('|')) {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS, "{}:{}: {columns} columns", path.display(), index + 1);
        }
    }
}

/// The README is an introduction. The manual is docs/guide.md.
#[test]
fn the_readme_is_short() {
    let count = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(count <= 150, "{count} lines");
}

/// ARCHITECTURE.md has a row for each file of the library with unsafe code, and none for others.
#[test]
fn unsafe_code_is_where_the_document_says() {
    let root = root();
    let document = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("Where unsafe lives\n")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| [`"));
    let named = rows.flat_map(|row| row.split("](src/").skip(1).filter_map(|link| link.split_once(')')));
    let named: BTreeSet<String> = named.map(|(path, _)| path.to_owned()).collect();
    let is_unsafe = |line: &str| ["unsafe {", "unsafe impl ", "unsafe fn "].iter().any(|code| line.contains(code));
    let sources = files(&root.join("src"), &["rs"]).into_iter();
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
        ("- item\n  ```rust\n  one();\n  ```\n", true),
        ("```rust\ntwo();\none();\n```", false),
        ("```rust\none()\n```", false),
    ] {
        let found = blocks(document);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, is_in(&source, &found[0].1)), ("rust", stands), "{document}");
    }
    let two = blocks("```sh\na\n```\n\n```toml\nb = 1\n```\n");
    assert_eq!(two, [("sh", vec!["a"]), ("toml", vec!["b = 1"])]);
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor(" 8. The discriminator, once for both"), "8-the-discriminator-once-for-both");
    assert_eq!(anchor("The paper's ablations"), "the-papers-ablations");
    assert_eq!(anchors("# A b\n```sh\n# no\n```\n## C\n"), ["a-b", "c"].map(str::to_owned).into());
    assert_eq!(prose("see `x[i](j)` and [`y`](z)\n```rust\na[0](b)\n```\n").trim(), "see  and [](z)");
}
