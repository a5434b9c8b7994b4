//! The kernels of `kernels/*.cu` as functions that make [`Launch`]es; written by `build.rs` from their declarations.
//!
//! So a launch is checked like any call:
//!
//! ```
//! use pixtape::engine::device::cuda::{DeviceControl, Launch, PtrMut, kernels};
//!
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::control_advance(1, control)
//! }
//! ```
//!
//! A misspelt kernel, a missing argument and an argument of another type do not compile:
//!
//! ```compile_fail
//! # use pixtape::engine::device::cuda::{DeviceControl, Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::control_advanced(1, control)
//! }
//! ```
//! ```compile_fail
//! # use pixtape::engine::device::cuda::{DeviceControl, Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::control_advance(1)
//! }
//! ```
//! ```compile_fail
//! # use pixtape::engine::device::cuda::{Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<f32>) -> Launch {
//!     kernels::control_advance(1, control)
//! }
//! ```

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
