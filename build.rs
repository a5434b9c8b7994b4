//! Build script: from `kernels/*.cu` to the code that the CUDA device embeds, a Rust struct for the argument of every
//! kernel, and its machine code.
//!
//! The structs are made from the sources, so a misspelt kernel, a missing argument or one of another name does not
//! compile. The machine code needs an nvcc that works; without one the build succeeds with a warning, and the CUDA
//! device reports its absence when it is used.

#[path = "build/bindings.rs"]
mod bindings;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/scan.rs"]
mod scan;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    if let Err(message) = build() {
        // Cargo prints this in red and stops.
        println!("cargo::error={message}");
        process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo says no manifest folder")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo says no output folder")?);
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=build");

    // nvcc starts in `root`, and paths relative to it keep the machine's folders out of its output.
    let sources = sources(Path::new("kernels"))?;
    let scanned = sources.iter().map(|path| scan::file(path)).collect::<Result<Vec<_>, _>>()?;
    let checked = sources.iter().zip(&scanned).map(|(path, source)| {
        let checked = out.join(&source.module).with_extension("cu");
        write(&checked, &bindings::with_layouts(path, &source.structs)).map(|()| checked)
    });
    let checked = checked.collect::<Result<Vec<_>, _>>()?;
    let fatbins =
        nvcc::compile_all(&checked, &root, &out, &|name| env::var_os(name).filter(|value| !value.is_empty()))?;
    let code = bindings::generate(&scanned, fatbins.as_ref())?;
    write(&out.join("kernels.rs"), &code)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// All `.cu` files of a folder, in the order of their names.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?;
    let mut files = entries.map(|entry| Ok(entry.map_err(cannot)?.path())).collect::<Result<Vec<_>, String>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    files.sort();
    Ok(files)
}
