//! The kernels of `kernels/*.cu`: for each a constant that makes its [`Launch`](super::Launch)es, and the struct that
//! it takes. Written by `build.rs` from their declarations.
//!
//! So a launch is checked like any value, and its arguments have names:
//!
//! ```
//! use pixtape::engine::kernel::cuda::{DeviceControl, Launch, PtrMut, kernels};
//!
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::CONTROL_ADVANCE.launch(1, kernels::ControlAdvance { control })
//! }
//! ```
//!
//! A misspelt kernel, a missing argument, an argument of another name and one of another type do not compile:
//!
//! ```compile_fail
//! # use pixtape::engine::kernel::cuda::{DeviceControl, Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::CONTROL_ADVANCED.launch(1, kernels::ControlAdvance { control })
//! }
//! ```
//! ```compile_fail
//! # use pixtape::engine::kernel::cuda::{DeviceControl, Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::CONTROL_ADVANCE.launch(1, kernels::ControlAdvance {})
//! }
//! ```
//! ```compile_fail
//! # use pixtape::engine::kernel::cuda::{DeviceControl, Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<DeviceControl>) -> Launch {
//!     kernels::CONTROL_ADVANCE.launch(1, kernels::ControlAdvance { step: control })
//! }
//! ```
//! ```compile_fail
//! # use pixtape::engine::kernel::cuda::{Launch, PtrMut, kernels};
//! #
//! fn launch(control: PtrMut<f32>) -> Launch {
//!     kernels::CONTROL_ADVANCE.launch(1, kernels::ControlAdvance { control })
//! }
//! ```

use super::control::DeviceControl;
use super::launch::Kernel;
use super::pack::{Pack, Ptr, PtrMut, TensorMap};
use half::bf16;

/// A kernel as the device looks it up.
#[derive(Debug)]
pub struct Declared {
    pub name: &'static str,
    /// Index in [`MODULES`].
    pub module: usize,
    /// Threads of a block at most.
    pub threads: u32,
    /// Of the struct that it takes.
    pub bytes: usize,
}

/// One kernel file.
#[derive(Debug)]
pub struct Module {
    pub name: &'static str,
    /// Machine code for several GPUs; empty in a build without an nvcc that works.
    pub fatbin: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
