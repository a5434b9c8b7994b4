//! A simulated CUDA driver.
//!
//! The `.cu` files that nvcc compiles for a GPU also compile as C++20. Linked with a small runtime they make a library
//! that replaces the driver, `libcuda.so`: a CUDA program loads it and does not notice. In the check build races,
//! accesses out of bounds, reads of uninitialised memory, misaligned accesses and deadlocks of the kernels are reported
//! with their source lines.
//!
//! - [`folder`] is the folder of the library with the project's own kernels, for `LD_LIBRARY_PATH`;
//! - [`build`] makes one with other kernels;
//! - [`load`] replaces the driver of this process by one;
//! - [`Simulator`] sets schedules and reads reports, per host thread.

#[allow(dead_code)] // the build script uses the rest
mod compile;
mod simulator;

pub use compile::{Build, Error};
pub use simulator::{Async, Dim, LaunchRecord, Live, Schedule, Settings, Simulator};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");
const OUT: &str = env!("OUT_DIR");

/// The folder of a `libcuda.so` with the project's kernels.
pub fn folder(build: Build) -> &'static Path {
    match build {
        Build::Fast => Path::new(concat!(env!("OUT_DIR"), "/fast")),
        Build::Check => Path::new(concat!(env!("OUT_DIR"), "/check")),
    }
}

/// Compiles kernels, or takes those that are objects already, into `out/libcuda.so` and returns its path. The runtime
/// is compiled already, so this takes as long as the kernels do.
pub fn build(kernels: &[PathBuf], build: Build, out: &Path) -> Result<PathBuf, Error> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let compiler = compile::Compiler::find(Path::new(SOURCES))?;
    compiler.driver(kernels, build, &Path::new(OUT).join("runtime"), out, jobs)
}

/// Loads a library that [`build`] made, or the one in a [`folder`], for the rest of the process. Every later lookup of
/// `libcuda.so` finds this one. Another one cannot be loaded beside it.
pub fn load(library: &Path) -> Result<(), Error> {
    static LOADED: Mutex<Option<(PathBuf, Library)>> = Mutex::new(None);
    let library = if library.is_dir() { library.join(compile::LIBRARY) } else { library.to_owned() };
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match &*loaded {
        Some((path, _)) if *path == library => return Ok(()),
        Some((path, _)) => return Err(Error(format!("{} is loaded already", path.display()))),
        None => {}
    }
    // SAFETY: the library's initialisers only register its kernels in its own tables.
    let handle = unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|e| Error(format!("{}: {e}", library.display())))?;
    *loaded = Some((library, handle));
    Ok(())
}
