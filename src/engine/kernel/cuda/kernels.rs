//! Bindings of the kernels in `kernels/*.cu`: for each, a constant that makes its [`Launch`](super::Launch)es, and the
//! struct of its arguments. `build.rs` generates them from the declarations.
//!
//! A launch is type-checked, and its arguments have names:
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
use super::crop::DeviceCrop;
use super::launch::Kernel;
use super::pack::{Pack, Ptr, PtrMut, TensorMap};
use half::bf16;

/// The declaration of a kernel in `kernels/*.cu`: its name, file, block size and argument size.
#[derive(Debug)]
pub struct Declared {
    pub name: &'static str,
    /// Index in [`MODULES`].
    pub module: usize,
    /// The most threads of a block.
    pub threads: u32,
    /// Bytes of the kernel's argument struct.
    pub bytes: usize,
}

/// A file `kernels/NAME.cu`, with the machine code that nvcc has compiled from it.
#[derive(Debug)]
pub struct Module {
    pub name: &'static str,
    /// Machine code for several GPUs; empty in a build without an nvcc that works.
    pub fatbin: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
