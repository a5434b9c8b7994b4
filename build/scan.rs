//! Reads the kernels' declarations out of a CUDA source: name, block size and parameters.
//!
//! It understands just what the sources of this project look like:
//! `extern "C" __global__ void __launch_bounds__(THREADS) name(type parameter, ...)`, where `THREADS` is a number or a
//! `constexpr int` of the same file. Whatever it does not understand is an error, not a guess.

use std::fs;
use std::path::Path;

/// The kernels of one source file.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name without its ending.
    pub module: String,
    pub kernels: Vec<Kernel>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    /// Where it is declared, from 1.
    pub line: usize,
    /// Threads of a block.
    pub block: u32,
    pub parameters: Vec<Parameter>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// The type on the Rust side.
    pub rust: &'static str,
}

const DECLARATION: &str = "extern \"C\" __global__";

/// Types that a kernel may take, as C++ and as Rust write them.
const TYPES: [(&str, &str); 10] = [
    ("const float*", "Ptr<f32>"),
    ("float*", "PtrMut<f32>"),
    ("const uint16_t*", "Ptr<u16>"),
    ("const int*", "Ptr<i32>"),
    ("int*", "PtrMut<i32>"),
    ("const Control*", "Ptr<DeviceControl>"),
    ("Control*", "PtrMut<DeviceControl>"),
    ("int", "i32"),
    ("float", "f32"),
    ("double", "f64"),
];

/// # Errors
/// Naming the file and the line that cannot be read.
pub fn file(path: &Path) -> Result<Source, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let module = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a kernel file has no name")?.to_owned();
    let kernels = kernels(&text).map_err(|error| format!("{}:{error}", path.display()))?;
    Ok(Source { module, kernels })
}

/// # Errors
/// A line number and what is wrong there.
pub fn kernels(text: &str) -> Result<Vec<Kernel>, String> {
    let text = without_comments(text)?;
    let starts = text.match_indices(DECLARATION).map(|(at, _)| at);
    let found = starts.map(|at| {
        let line = 1 + text[..at].matches('\n').count();
        kernel(&text, at, line).map_err(|error| format!("{line}: {error}"))
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    for kernel in &found {
        let registration = format!("KERNEL({});", kernel.name);
        if !text.contains(&registration) {
            return Err(format!("{}: {} is not registered: {registration} is missing", kernel.line, kernel.name));
        }
    }
    match text.matches("__global__").count() == found.len() {
        true => Ok(found),
        false => Err(format!("1: a __global__ function is not declared as {DECLARATION}")),
    }
}

/// `text` with the comments blanked out, so that lines keep their numbers. Comments begin with `//`.
fn without_comments(text: &str) -> Result<String, String> {
    let blank = |(index, line): (usize, &str)| {
        let code = line.split("//").next().unwrap_or_default();
        match code.contains("/*") {
            true => Err(format!("{}: a comment that begins with /*", index + 1)),
            false => Ok(code.to_owned()),
        }
    };
    Ok(text.lines().enumerate().map(blank).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn kernel(text: &str, at: usize, line: usize) -> Result<Kernel, String> {
    let rest = text[at + DECLARATION.len()..].trim_start();
    let rest = rest.strip_prefix("void").ok_or("a kernel returns void")?.trim_start();
    let rest = rest.strip_prefix("__launch_bounds__").ok_or("a kernel states __launch_bounds__")?;
    let (bounds, rest) = parenthesised(rest).ok_or("__launch_bounds__ has one number in parentheses")?;
    let open = rest.find('(').ok_or("a kernel has parameters")?;
    let name = rest[..open].trim();
    let is_identifier = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_identifier {
        return Err(format!("'{name}' is not the name of a kernel"));
    }
    let (list, _) = parenthesised(&rest[open..]).ok_or("the parameters do not end")?;
    let parameters = list.split(',').map(parameter).collect::<Result<Vec<_>, _>>()?;
    Ok(Kernel { name: name.to_owned(), line, block: block_size(bounds, text)?, parameters })
}

/// What stands in the parentheses that `text` begins with, and what follows them.
fn parenthesised(text: &str) -> Option<(&str, &str)> {
    let inside = text.trim_start().strip_prefix('(')?;
    let close = inside.find(')')?;
    Some((inside[..close].trim(), &inside[close + 1..]))
}

fn block_size(bounds: &str, text: &str) -> Result<u32, String> {
    let constant = || {
        let definition = text.split(&format!("constexpr int {bounds} =")).nth(1)?;
        definition.split(';').next()
    };
    let number = if bounds.starts_with(|c: char| c.is_ascii_digit()) { Some(bounds) } else { constant() };
    let number = number.ok_or_else(|| format!("__launch_bounds__({bounds}): no constexpr int of that name"))?;
    let block = number.trim().parse().map_err(|_| format!("__launch_bounds__({bounds}): '{number}' is no number"))?;
    if !(1..=1024).contains(&block) {
        return Err(format!("__launch_bounds__({bounds}): a block has 1 to 1024 threads"));
    }
    Ok(block)
}

fn parameter(declaration: &str) -> Result<Parameter, String> {
    let declaration = declaration.replace("__restrict__", " ");
    let declaration = declaration.trim();
    let start = declaration.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let (kind, name) = declaration.split_at(start);
    let kind = kind.split_whitespace().collect::<Vec<_>>().join(" ").replace(" *", "*");
    let known = TYPES.iter().find(|(c, _)| *c == kind);
    let (_, rust) = known.ok_or_else(|| format!("'{declaration}': a kernel cannot take a '{kind}'"))?;
    Ok(Parameter { name: name.to_owned(), rust })
}
