//! The kernels of `kernels/*.cu` as functions that make [`Launch`]es; written by `build.rs` from their declarations.

use super::control::DeviceControl;
use super::launch::{Grid, Launch, Ptr, PtrMut};

/// A kernel as the device looks it up.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// Place in [`MODULES`].
    pub module: usize,
    /// Threads of a block.
    pub block: u32,
}

/// One kernel file.
#[derive(Debug)]
pub struct Module {
    pub name: &'static str,
    /// Machine code for several GPUs; empty when there was no nvcc.
    pub fatbin: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
