//! Reader of kernel declarations in a CUDA source: name, threads of a block, and the struct of arguments.
//!
//! It understands the forms that the sources of this project have: `KERNEL(name, THREADS, Arguments args) { ... }` and
//! `INSTANCE(name, THREADS, Arguments, function<Parameter>);`, where `THREADS` is a number or a `constexpr int` of this
//! file or of a header that it includes, and `struct Arguments { type name; ... };` of this file or of a header that it
//! includes. A field may be an array, `type name[COUNT];`, with `COUNT` as `THREADS`. Any other form is an error, not a
//! guess.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;

/// The kernels of one source file.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the file without its ending.
    pub module: String,
    pub kernels: Vec<Kernel>,
    /// The numbers that the file and its headers name, `constexpr int NAME = 8;`, without names of several numbers.
    pub constants: Vec<(String, u32)>,
    /// The structs that the kernels take, and those inside of them, by name.
    pub structs: BTreeMap<String, Struct>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    /// Line of the declaration, from 1.
    pub line: usize,
    /// Most threads of a block.
    pub threads: u32,
    /// The struct that it takes.
    pub arguments: String,
}

/// A struct as C++ lays it out: each field at the next multiple of its alignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    pub fields: Vec<Field>,
    pub bytes: usize,
    pub align: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    /// Offset from the start of the struct, in bytes.
    pub offset: usize,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of [`TYPES`]: its name in Rust, and its bytes.
    Known(&'static str, usize),
    /// Another struct.
    Struct(String),
    /// So many values of a type, one after the other.
    Array(Box<Kind>, u32),
}

/// Types of fields, as C++ and as Rust write them, with their bytes, which are their alignment too.
pub const TYPES: [(&str, &str, usize); 16] = [
    ("const float*", "Ptr<f32>", 8),
    ("float*", "PtrMut<f32>", 8),
    ("const bf16*", "Ptr<bf16>", 8),
    ("bf16*", "PtrMut<bf16>", 8),
    ("const uint16_t*", "Ptr<u16>", 8),
    ("const int*", "Ptr<i32>", 8),
    ("int*", "PtrMut<i32>", 8),
    ("unsigned*", "PtrMut<u32>", 8),
    ("const Control*", "Ptr<DeviceControl>", 8),
    ("Control*", "PtrMut<DeviceControl>", 8),
    ("const Crop*", "Ptr<DeviceCrop>", 8),
    ("TensorMap", "TensorMap", 128),
    ("int", "i32", 4),
    ("unsigned", "u32", 4),
    ("float", "f32", 4),
    ("double", "f64", 8),
];

/// Reads a source file.
///
/// # Errors
/// When it cannot be read or understood; the error names the file and the line.
pub fn file(path: &Path) -> Result<Source, String> {
    let module = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a kernel file has no name")?.to_owned();
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let text = read(path)?;
    let mut headers = BTreeMap::new();
    let mut waiting = includes(&text);
    while let Some(name) = waiting.pop() {
        if let Entry::Vacant(entry) = headers.entry(name) {
            let header = read(&path.with_file_name(entry.key()))?;
            waiting.extend(includes(&header));
            entry.insert(header);
        }
    }
    let headers: Vec<&str> = headers.values().map(String::as_str).collect();
    let constants = unambiguous([&[text.as_str()], &headers[..]].concat().into_iter().flat_map(constants));
    let (kernels, structs) = kernels(&text, &headers).map_err(|error| format!("{}:{error}", path.display()))?;
    Ok(Source { module, kernels, constants, structs })
}

/// Names and values of the constants that are written as numbers: `constexpr int A = 8, B = 64;`, at the beginning of a
/// line.
fn constants(text: &str) -> Vec<(String, u32)> {
    let lists = text.lines().filter_map(|line| line.strip_prefix("constexpr int ")?.split(';').next());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().parse().ok()?))
    };
    lists.flat_map(|list| list.split(',')).filter_map(pair).collect()
}

/// Each name once, in order of first appearance; without those that have several values, in namespaces of C++.
fn unambiguous(constants: impl Iterator<Item = (String, u32)>) -> Vec<(String, u32)> {
    let all: Vec<(String, u32)> = constants.collect();
    let is_only_value = |(name, value): &(String, u32)| all.iter().all(|(n, v)| n != name || v == value);
    let is_first = |index: usize| all[..index].iter().all(|(name, _)| *name != all[index].0);
    let kept = all.iter().enumerate().filter(|(index, constant)| is_first(*index) && is_only_value(constant));
    kept.map(|(_, constant)| constant.clone()).collect()
}

fn includes(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
    names.filter(|name| name.ends_with(".cuh")).map(str::to_owned).collect()
}

/// The kernels of `text`, and the structs that they need of it and of `headers`.
///
/// # Errors
/// The number of the line of `text` that is not understood, and the reason.
pub fn kernels(text: &str, headers: &[&str]) -> Result<(Vec<Kernel>, BTreeMap<String, Struct>), String> {
    let text = without_comments(text)?;
    if let Some(at) = text.find("__global__") {
        return Err(format!("{}: a __global__ function that KERNEL or INSTANCE did not declare", line_of(&text, at)));
    }
    let mut starts: Vec<usize> =
        ["\nKERNEL(", "\nINSTANCE("].iter().flat_map(|word| text.match_indices(word)).map(|(at, _)| at + 1).collect();
    starts.sort_unstable();
    let (mut kernels, mut structs) = (Vec::new(), BTreeMap::new());
    for at in starts {
        let line = line_of(&text, at);
        let sources = [&[text.as_str()], headers].concat();
        let kernel = kernel(&text, at, line, &sources).map_err(|error| format!("{line}: {error}"))?;
        collect(&sources, &kernel.arguments, &mut structs).map_err(|error| format!("{line}: {error}"))?;
        kernels.push(kernel);
    }
    Ok((kernels, structs))
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
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

fn kernel(text: &str, at: usize, line: usize, sources: &[&str]) -> Result<Kernel, String> {
    let (word, rest) = text[at..].split_once('(').ok_or("a declaration has parentheses")?;
    let list = rest.split([')', ';']).next().unwrap_or_default();
    let parts: Vec<&str> = list.split(',').map(str::trim).collect();
    let [name, threads, arguments, ref function @ ..] = parts[..] else {
        return Err(format!("{word}({list}): name, threads and arguments are needed"));
    };
    let arguments = match (word, function.len()) {
        ("KERNEL", 0) => arguments.strip_suffix(" args").ok_or("the argument of a KERNEL is called args")?,
        ("INSTANCE", 1..) => arguments,
        _ => return Err(format!("{word}({list}): a KERNEL has three parts, an INSTANCE a function behind them")),
    };
    for word in [name, arguments] {
        if !is_identifier(word) {
            return Err(format!("'{word}' is no name"));
        }
    }
    let threads = block_size(threads, sources)?;
    Ok(Kernel { name: name.to_owned(), line, threads, arguments: arguments.to_owned() })
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value of `word`: a number, or a constant of the sources.
fn number(word: &str, sources: &[&str]) -> Option<u32> {
    let constant = || {
        let mut known = sources.iter().copied().flat_map(constants);
        known.find_map(|(name, value)| (name == word).then_some(value))
    };
    word.parse().ok().or_else(constant)
}

fn block_size(threads: &str, sources: &[&str]) -> Result<u32, String> {
    let block = number(threads, sources);
    let block = block.ok_or_else(|| format!("{threads} threads: no number, and no constexpr int of that name"))?;
    if !(1..=1024).contains(&block) {
        return Err(format!("{threads} threads: a block has 1 to 1024"));
    }
    Ok(block)
}

/// Adds the struct `name` and those inside of it to `structs`.
fn collect(sources: &[&str], name: &str, structs: &mut BTreeMap<String, Struct>) -> Result<(), String> {
    if structs.contains_key(name) {
        return Ok(());
    }
    let body = sources.iter().find_map(|text| {
        let opening = format!("\nstruct {name} {{");
        let start = text.find(&opening)? + opening.len();
        Some(&text[start..start + text[start..].find("\n};")?])
    });
    let body = body.ok_or_else(|| format!("there is no struct {name}"))?;
    let code: Vec<&str> = body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let (mut fields, mut end, mut align) = (Vec::new(), 0_usize, 1);
    for declaration in code.join(" ").split(';').map(str::trim).filter(|declaration| !declaration.is_empty()) {
        let (kind, names) = field(declaration, sources).map_err(|error| format!("struct {name}: {error}"))?;
        let (bytes, field_align) = layout(&kind, sources, structs)?;
        for name in names {
            let offset = end.next_multiple_of(field_align);
            fields.push(Field { name: name.to_owned(), kind: kind.clone(), offset });
            end = offset + bytes;
        }
        align = align.max(field_align);
    }
    structs.insert(name.to_owned(), Struct { fields, bytes: end.next_multiple_of(align), align });
    Ok(())
}

/// Bytes and alignment of a field, whose struct is added to `structs` if it is one.
fn layout(kind: &Kind, sources: &[&str], structs: &mut BTreeMap<String, Struct>) -> Result<(usize, usize), String> {
    match kind {
        Kind::Known(_, bytes) => Ok((*bytes, *bytes)),
        Kind::Struct(inner) => {
            collect(sources, inner, structs)?;
            Ok((structs[inner].bytes, structs[inner].align))
        }
        Kind::Array(element, count) => {
            let (bytes, align) = layout(element, sources, structs)?;
            Ok((bytes * *count as usize, align))
        }
    }
}

/// Type and names of the fields of one declaration: `float* y`, `int height, width`, or `Range ranges[COUNT]`.
fn field<'a>(declaration: &'a str, sources: &[&str]) -> Result<(Kind, Vec<&'a str>), String> {
    if let Some((element, count)) = declaration.strip_suffix(']').and_then(|start| start.rsplit_once('[')) {
        let (kind, names) = field(element, sources)?;
        return match (number(count, sources), names.len()) {
            (Some(count @ 1..), 1) => Ok((Kind::Array(Box::new(kind), count), names)),
            _ => Err(format!("'{declaration}' is no field: an array has a type, a name, and a number of elements")),
        };
    }
    let mut parts = declaration.split(',').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let start = first.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let (kind, name) = first.split_at(start);
    let kind = kind.split_whitespace().collect::<Vec<_>>().join(" ").replace(" *", "*");
    let names: Vec<&str> = [name].into_iter().chain(parts).collect();
    if names.iter().any(|name| !is_identifier(name)) || (names.len() > 1 && kind.ends_with('*')) {
        return Err(format!("'{declaration}' is no field: a type and a name, or a type and several names"));
    }
    let known = TYPES.iter().find(|(c, ..)| *c == kind).map(|&(_, rust, bytes)| Kind::Known(rust, bytes));
    let kind = match known {
        Some(known) => known,
        None if is_identifier(&kind) && kind.starts_with(|c: char| c.is_ascii_uppercase()) => Kind::Struct(kind),
        None => return Err(format!("'{declaration}': a kernel cannot take a '{kind}'")),
    };
    Ok((kind, names))
}
