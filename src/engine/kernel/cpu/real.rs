//! The number types of the CPU device.

use std::fmt::Debug;
use std::iter::Sum;

use half::bf16;
use num_traits::{Float, NumAssign};

use crate::engine::tensor::DType;

/// The number type of a CPU device, for its computations and for the elements of f32 buffers: f32 to train, f64 to
/// check gradients.
pub trait Real: Float + NumAssign + Default + Debug + Sum + Send + Sync + Element + 'static {
    /// The storage type of bf16 buffers: bf16 with f32; with f64, the reference, f64 itself, which is not rounded.
    type Bf16: Element + Debug;

    /// The number of this type that is nearest to `value`.
    fn from_f64(value: f64) -> Self;
    /// This number as f64, exactly.
    fn widen(self) -> f64;

    /// The nearest value of a bf16 buffer, ties to even.
    fn to_bf16(self) -> Self::Bf16;
    /// The value of an element of a bf16 buffer, exactly.
    fn from_bf16(value: Self::Bf16) -> Self;

    /// Bytes of an element of a buffer of `dtype`.
    fn bytes(dtype: DType) -> usize {
        match dtype {
            DType::F32 => size_of::<Self>(),
            DType::Bf16 => size_of::<Self::Bf16>(),
        }
    }
}

/// A storage type: a type of the elements of buffers.
///
/// # Safety
/// Every bit pattern is a value, zero bits are zero, and the alignment is at most 128 bytes.
pub unsafe trait Element: Copy + Send + Sync {}

// SAFETY: numbers of 8, 4 and 2 bytes.
unsafe impl Element for f64 {}
// SAFETY: as above.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for bf16 {}

impl Real for f32 {
    type Bf16 = bf16;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn to_bf16(self) -> bf16 {
        bf16::from_f32(self)
    }

    fn from_bf16(value: bf16) -> f32 {
        value.to_f32()
    }
}

impl Real for f64 {
    type Bf16 = f64;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn widen(self) -> f64 {
        self
    }

    fn to_bf16(self) -> f64 {
        self
    }

    fn from_bf16(value: f64) -> f64 {
        value
    }
}
