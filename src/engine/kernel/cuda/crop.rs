//! A crop of the resident pairs as it is laid out on the device.

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};

/// The part of a pair that one image of a step shows, as it lies in GPU memory, with the layout of `struct Crop` in
/// `kernels/samples.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct DeviceCrop {
    /// Index of the part's first pixel among those of all pairs.
    pub pixel: u64,
    /// Width of the whole pictures, in pixels.
    pub width: i32,
    /// 1 if the columns of the part are reversed, else 0.
    pub mirrored: i32,
}

// SAFETY: numbers of 8, 4 and 4 bytes without padding, laid out as the kernel's struct.
unsafe impl DeviceRepr for DeviceCrop {}

// SAFETY: all of them are numbers, for which zero bits are a value.
unsafe impl ValidAsZeroBits for DeviceCrop {}
