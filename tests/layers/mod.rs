//! The layers of the sources: each module imports what ARCHITECTURE.md lists for it, and nothing from a layer above.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Path of a module below the crate, or of an item in it.
type Module = Vec<String>;

/// By module, what it imports. Siblings of a folder alone: an import of another folder is one of the folders that
/// differ.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The part of a source that the program is made of: no comments, and no items of tests, which may use anything.
fn code(text: &str) -> String {
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.find(|line| !line.trim().starts_with("#[")).unwrap_or_default();
            if item.trim_end().ends_with('{') {
                let end = format!("{}}}", &item[..item.len() - item.trim_start().len()]);
                lines.find(|line| line.trim_end() == end);
            }
            continue;
        }
        kept += line;
        kept += "\n";
    }
    kept
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`. `text` begins behind `crate::` or `super::`.
fn paths(text: &str) -> Vec<Module> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let group = |inside: &str| {
        let (mut depth, mut items) = (0, vec![String::new()]);
        for c in inside.chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            match c {
                _ if depth < 0 => break,
                ',' if depth == 0 => items.push(String::new()),
                _ => items.last_mut().expect("there is one").push(c),
            }
        }
        items.iter().flat_map(|item| paths(item.trim())).collect::<Vec<_>>()
    };
    if name.is_empty() {
        return text.strip_prefix('{').map(group).unwrap_or_default();
    }
    let below = rest.strip_prefix("::").map(paths).filter(|below| !below.is_empty());
    let below = below.unwrap_or_else(|| vec![Vec::new()]);
    below.into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
}

/// The items that a module's source names by `crate::` and `super::`, as paths below the crate.
fn named(module: &[String], text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (start, keyword) in ["crate::", "super::"].iter().flat_map(|word| text.match_indices(word)) {
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut rest = &text[start + keyword.len()..];
        let mut above = usize::from(keyword == "super::");
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, above) = (further, above + 1);
        }
        let base = if above == 0 { &[][..] } else { &module[..module.len().saturating_sub(above)] };
        found.extend(paths(rest).into_iter().map(|path| [base.to_vec(), path].concat()));
    }
    found
}

/// The imports of all `sources`, each a path below `src` and a text, as `rows` name modules. What a folder of these
/// rows has besides its modules counts as one more, which is in no row: it might be any module's, exported once more.
fn imports(rows: &[Row], sources: &[(PathBuf, String)]) -> Imports {
    let folders = folders(rows);
    let modules: Vec<Module> = sources.iter().map(|(path, _)| module(path)).collect();
    let is_module = |path: &[String]| modules.iter().any(|module| module.starts_with(path));
    let mut imports = Imports::new();
    for ((_, text), module) in sources.iter().zip(&modules) {
        for length in 1..=module.len() {
            imports.entry(module[..length].join("/")).or_default();
        }
        for path in named(module, &code(text)) {
            let common = module.iter().zip(&path).take_while(|(a, b)| a == b).count();
            if common < module.len()
                && common < path.len()
                && (is_module(&path[..=common]) || folders.contains(&*path[..common].join("/")))
            {
                let from = module[..=common].join("/");
                imports.entry(from).or_default().insert(path[..=common].join("/"));
            }
        }
    }
    imports
}

fn module(path: &Path) -> Module {
    let names = path.with_extension("");
    let mut names: Module = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    names
}

/// A module of the drawing, in its order, with what it imports.
struct Row {
    name: String,
    imports: BTreeSet<String>,
}

/// The tables of ARCHITECTURE.md's section on layers, whose rows begin with a link to a module:
/// `| [`engine/tape`](src/engine/tape/) | access | … |`.
fn drawing(text: &str) -> Vec<Row> {
    let section = text.split("\n## ").find(|section| section.starts_with("Layers\n")).expect("a section on layers");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| [`")?.split_once("`](src/"));
    let row = |(name, rest): (&str, &str)| {
        let column = rest.split('|').nth(1).expect("a column of imports");
        let folder = name.rfind('/').map_or("", |end| &name[..=end]);
        let imports = column.split(',').map(str::trim).filter(|name| !name.is_empty());
        Row { name: name.to_owned(), imports: imports.map(|import| format!("{folder}{import}")).collect() }
    };
    rows.map(row).collect()
}

/// The folders whose modules have rows.
fn folders(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.name.rfind('/').map_or("", |end| &row.name[..end])).collect()
}

/// The differences of `imports` from the `rows` of the drawing, a line each.
fn faults(rows: &[Row], imports: &Imports) -> Vec<String> {
    let mut faults = Vec::new();
    let above =
        |row: &Row, import: &str| rows.iter().take_while(|other| other.name != row.name).any(|r| r.name == import);
    let folders = folders(rows);
    for name in imports.keys() {
        let folder = name.rfind('/').map_or("", |end| &name[..end]);
        if folders.contains(folder) && !rows.iter().any(|row| row.name == *name) {
            faults.push(format!("{name} is in no row of ARCHITECTURE.md"));
        }
    }
    for row in rows {
        let Some(real) = imports.get(&row.name) else {
            faults.push(format!("there is no {}", row.name));
            continue;
        };
        for import in real.iter().filter(|import| !above(row, import)) {
            faults.push(format!("{} imports {import}, which does not stand above it", row.name));
        }
        for import in real.difference(&row.imports).filter(|import| above(row, import)) {
            faults.push(format!("{} imports {import}, which its row lacks", row.name));
        }
        for import in row.imports.difference(real) {
            faults.push(format!("{} does not import {import}", row.name));
        }
    }
    faults
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(&root).unwrap().to_owned();
                sources.push((path, fs::read_to_string(entry).unwrap()));
            }
        }
    }
    // Files of tests alone, and those that hold the crate together.
    sources.retain(|(path, _)| !path.ends_with("fixture.rs") && !path.ends_with("tests.rs") && path.iter().count() > 1);
    assert!(sources.len() > 150, "the sources are found");
    sources
}

fn architecture() -> Vec<Row> {
    let rows = drawing(include_str!("../../ARCHITECTURE.md"));
    assert!(rows.len() > 30, "the tables of ARCHITECTURE.md are found: {} rows", rows.len());
    rows
}

#[test]
fn imports_are_those_of_the_drawing_and_go_one_way() {
    let rows = architecture();
    let faults = faults(&rows, &imports(&rows, &sources()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_planted_violation_is_found() {
    let planted = |path: &str, text: &str| {
        let mut sources = sources();
        sources.push((path.into(), text.into()));
        let rows = architecture();
        faults(&rows, &imports(&rows, &sources)).join("\n")
    };
    for (path, text, fault) in [
        ("engine/ops/planted.rs", "use crate::gan::UNet;", "engine imports gan, which does not stand above it"),
        (
            "engine/tensor/planted.rs",
            "use super::super::tape::Tape;",
            "engine/tensor imports engine/tape, which does not",
        ),
        ("engine/planted.rs", "", "engine/planted is in no row"),
        ("gan/planted.rs", "fn f() { crate::cli::run(); }", "gan imports cli, which does not stand above it"),
        (
            "data/decoding/planted.rs",
            "pub use crate::{base::words, data::feeding::Fit};",
            "data/decoding imports data/feeding",
        ),
        ("data/decoding/planted.rs", "use crate::data::Folder;", "data/decoding imports data/Folder, which does not"),
        ("metrics/planted.rs", "use crate::data::{self, Size};", "metrics imports data, which its row lacks"),
        (
            "base/planted.rs",
            "#[cfg(test)]\nfn only_in_tests() {\n    if true {\n    }\n}\nuse crate::engine::tape::Tape;",
            "base imports engine, which does not",
        ),
    ] {
        let found = planted(path, text);
        assert!(found.contains(fault), "{path}: {found}");
    }
    for (path, text) in [
        ("engine/ops/planted.rs", "// use crate::gan::UNet;\n#[cfg(test)]\nmod tests {\n    use crate::gan::UNet;\n}"),
        ("data/decoding/planted.rs", "use super::picture::Picture;\nuse crate::data::size::Size;"),
        (
            "base/planted.rs",
            "#[cfg(test)]\n#[path = \"a.rs\"]\nuse crate::gan::UNet;\n\
             #[cfg(test)]\nfn f() {\n    crate::cli::run();\n}",
        ),
    ] {
        assert_eq!(planted(path, text), "", "{path}");
    }
    let mut rows = architecture();
    rows[0].imports.insert("cli".to_owned());
    assert!(faults(&rows, &imports(&rows, &sources())).contains(&format!("{} does not import cli", rows[0].name)));
}
