//! The control values (seed, step, learning rate) as they are laid out on the device.

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};

use crate::engine::access::Control;

/// The values of [`Control`] as they lie in GPU memory, with the layout of `struct Control` in `kernels/control.cuh`:
/// seed, number of executions so far and learning rate, 8 bytes each.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct DeviceControl {
    seed: u64,
    step: u64,
    learning_rate: f64,
}

// SAFETY: three 8-byte numbers without padding, laid out as the kernels' struct.
unsafe impl DeviceRepr for DeviceControl {}

// SAFETY: all of them are numbers, for which zero bits are a value.
unsafe impl ValidAsZeroBits for DeviceControl {}

impl From<Control> for DeviceControl {
    fn from(Control { seed, step, learning_rate }: Control) -> DeviceControl {
        DeviceControl { seed, step, learning_rate }
    }
}

impl From<DeviceControl> for Control {
    fn from(DeviceControl { seed, step, learning_rate }: DeviceControl) -> Control {
        Control { seed, step, learning_rate }
    }
}
