//! The number types of the CPU device.

use std::fmt::Debug;
use std::iter::Sum;

use half::bf16;
use num_traits::{Float, NumAssign};
use pulp::Simd;

use super::{Packed, Pair};
use crate::engine::tensor::DType;

/// The number type of a CPU device, for its computations and for the elements of f32 buffers: f32 to train, f64 to
/// check gradients.
pub trait Real: Float + NumAssign + Default + Debug + Sum + Stored<Self> {
    /// The storage type of bf16 buffers: bf16 with f32; with f64, the reference, f64 itself, which is not rounded.
    type Bf16: Stored<Self> + Debug;

    /// Zero.
    const ZERO: Self;

    /// The element that pairs of numbers of bf16 are packed in for products by the instructions `BY`; f64, the
    /// reference, does not pack pairs.
    type Pair<const BY: u8>: Packed<Self>;

    /// A vector of 64 bytes, the same number of elements with every instruction set.
    type Vector<S: Simd>: Copy;

    /// Elements of a [`Real::Vector`]: 16 of f32, 8 of f64.
    const LANES: usize = 64 / size_of::<Self>();

    /// The vector of `value` in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

    /// `a + b`, lane by lane.
    fn add_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a - b`, lane by lane.
    fn sub_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a * b + c`, lane by lane, rounded once.
    fn mul_add_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>)
    -> Self::Vector<S>;

    /// The number of this type that is nearest to `value`.
    fn from_f64(value: f64) -> Self;
    /// This number as f64, exactly.
    fn widen(self) -> f64;

    /// The nearest value of a bf16 buffer, ties to even.
    #[inline(always)]
    fn to_bf16(self) -> Self::Bf16 {
        Self::Bf16::store(self)
    }

    /// This number rounded to the nearest value of a bf16 buffer, ties to even.
    #[inline(always)]
    fn rounded_to_bf16(self) -> Self {
        self.to_bf16().load()
    }

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
pub unsafe trait Element: Copy + Send + Sync + 'static {}

// SAFETY: numbers of 8, 4 and 2 bytes.
unsafe impl Element for f64 {}
// SAFETY: as above.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for bf16 {}

/// A storage type of numbers of type `T`: `T` itself, or its [`Real::Bf16`].
pub trait Stored<T>: Element {
    /// The number, exactly.
    fn load(self) -> T;
    /// The nearest element to `value`, ties to even.
    fn store(value: T) -> Self;
}

impl Stored<f32> for f32 {
    #[inline(always)]
    fn load(self) -> f32 {
        self
    }

    #[inline(always)]
    fn store(value: f32) -> f32 {
        value
    }
}

impl Stored<f64> for f64 {
    #[inline(always)]
    fn load(self) -> f64 {
        self
    }

    #[inline(always)]
    fn store(value: f64) -> f64 {
        value
    }
}

/// Without branches, unlike the conversions of the crate half, so that loops are vectorised.
impl Stored<f32> for bf16 {
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn store(value: f32) -> bf16 {
        let bits = value.to_bits();
        // Half of the last place that is kept, less one bit where that place is even: ties stay there.
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
        // Rounding would carry the NaN of all ones over to zero; a quiet NaN stays one when it is cut off.
        let nan = bits >> 16 | 0x40;
        bf16::from_bits(if value.is_nan() { nan } else { rounded } as u16)
    }
}

impl Real for f32 {
    type Bf16 = bf16;
    const ZERO: f32 = 0.0;
    type Pair<const BY: u8> = Pair<BY>;
    type Vector<S: Simd> = S::f32s;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f32) -> S::f32s {
        simd.splat_f32s(value)
    }

    #[inline(always)]
    fn add_vectors<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.add_f32s(a, b)
    }

    #[inline(always)]
    fn sub_vectors<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.sub_f32s(a, b)
    }

    #[inline(always)]
    fn mul_add_vectors<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        simd.mul_add_f32s(a, b, c)
    }

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    type Bf16 = f64;
    const ZERO: f64 = 0.0;
    type Pair<const BY: u8> = f64;
    type Vector<S: Simd> = S::f64s;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f64) -> S::f64s {
        simd.splat_f64s(value)
    }

    #[inline(always)]
    fn add_vectors<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.add_f64s(a, b)
    }

    #[inline(always)]
    fn sub_vectors<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.sub_f64s(a, b)
    }

    #[inline(always)]
    fn mul_add_vectors<S: Simd>(simd: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        simd.mul_add_f64s(a, b, c)
    }

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn widen(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_bf16_is_that_of_the_crate_half() {
        let neighbours = |bits: u32| [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF].map(|low| bits << 16 | low);
        for value in (0..=u32::from(u16::MAX)).flat_map(neighbours).map(f32::from_bits) {
            let (stored, expected) = (<bf16 as Stored<f32>>::store(value), bf16::from_f32(value));
            assert_eq!(stored.to_bits(), expected.to_bits(), "{value:e}, {:#x}", value.to_bits());
            assert_eq!(stored.load().is_nan(), value.is_nan());
            assert!(value.is_nan() || stored.load() == expected.to_f32());
        }
    }
}
