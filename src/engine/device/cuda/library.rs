//! The library of the NVIDIA driver: loading it, and checking that it has every function that is called.
//!
//! cudarc looks a function up when it is first called, and panics if it is missing. So all of them are looked up here,
//! before the first call.

use std::fs;

use anyhow::{Result, anyhow, bail, ensure};
use cudarc::driver::sys;
use libloading::Library;

use super::driver::{MIN_VERSION, version_in_words};
use crate::base::words::count;

/// The functions of the NVIDIA driver's library that this crate calls through cudarc; all of them exist since CUDA
/// 12.0. A test checks that these are exactly the functions that are called.
pub const FUNCTIONS: [&str; 45] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernelEx",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuTensorMapEncodeTiled",
];

/// The first driver for Linux that supports [`MIN_VERSION`].
const MIN_DRIVER: &str = "525.60.13";

/// Loads the NVIDIA driver's library for the rest of the process, and checks that it has all of [`FUNCTIONS`].
///
/// # Errors
/// When there is no library, it cannot be loaded, or it lacks a function.
pub fn load() -> Result<()> {
    // SAFETY: runs the initialisers of the library, which are NVIDIA's (or the simulator's) own, and unloads it again.
    if !unsafe { sys::is_culib_present() } {
        let candidates = ["cuda", "nvcuda"].iter().flat_map(|name| cudarc::get_lib_name_candidates(name));
        let cure = "install the NVIDIA driver again, or take the folder of that file out of LD_LIBRARY_PATH";
        return Err(match candidates.filter_map(|name| why_not_loadable(&name)).next() {
            Some(why) => anyhow!("the library of the NVIDIA driver cannot be loaded: {why}; {cure}"),
            None => anyhow!("no NVIDIA driver: its library libcuda.so was not found on this machine"),
        });
    }
    // SAFETY: as above. It is the one that was just found, and stays loaded.
    let library = unsafe { sys::culib() };
    let missing: Vec<&str> = FUNCTIONS.into_iter().filter(|name| !has(library, name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    if let Some(version) = version(library) {
        ensure!(version >= MIN_VERSION, too_old(version));
    }
    let others = match missing.len() - 1 {
        0 => String::new(),
        others => format!(" and {}", count(others, "other function")),
    };
    bail!(
        "the library of the NVIDIA driver, {}, lacks {first}{others}: install the driver again, {MIN_DRIVER} or \
         newer, or take the folder of that file out of LD_LIBRARY_PATH",
        file().unwrap_or_else(|| "libcuda.so".into())
    );
}

/// Returns the error message for a driver that supports CUDA `version`, as the driver counts (11080 is 11.8), which is
/// below [`MIN_VERSION`].
pub fn too_old(version: i32) -> String {
    format!(
        "the NVIDIA driver is too old: it supports CUDA {}, at least {} is needed; update the driver to {MIN_DRIVER} \
         or newer",
        version_in_words(version),
        version_in_words(MIN_VERSION)
    )
}

/// True if `library` has a function of this name.
fn has(library: &Library, function: &str) -> bool {
    // SAFETY: the address is not used.
    unsafe { library.get::<unsafe extern "C" fn()>(function) }.is_ok()
}

/// The version of CUDA that the driver supports; `None` if the library lacks the function that returns it.
fn version(library: &Library) -> Option<i32> {
    if !has(library, "cuDriverGetVersion") {
        return None;
    }
    let mut version = 0;
    // SAFETY: the function is there, and writes one number to where it is told.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().ok().map(|()| version)
}

/// The system's error from loading the library of this name, which names the file; `None` if there is no such file, and
/// on systems other than Linux.
fn why_not_loadable(name: &str) -> Option<String> {
    // SAFETY: runs no initialisers, as the library has just failed to load.
    let error = unsafe { Library::new(name) }.err()?;
    let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    // The loaders of ELF systems name a file in their error: this one if it is absent, another one if that is a
    // dependency of it.
    let is_absent = text.to_lowercase().contains("no such file") && text.contains(&format!("{name}:"));
    (cfg!(target_os = "linux") && !is_absent).then_some(text)
}

/// The path of the loaded library, from Linux's list of memory mappings; `None` on other systems.
fn file() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    files.find(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("libcuda.so"))).map(str::to_owned)
}
