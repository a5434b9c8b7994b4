//! The elements that the operands of products are packed in: numbers, or pairs of numbers of bf16.

use std::ops::Range;

use half::bf16;
use pulp::{Simd, WithSimd};

use super::{Element, Operand, Real, Run, Target, tile, tiles};
use crate::engine::simd::InstructionSet;

/// An element of the packed operands of a product whose sums are of type `T`: one number, or several neighbours along
/// the inner dimension.
pub trait Packed<T: Real>: Element {
    /// Numbers of an element.
    const STEPS: usize;

    /// True if products are made by the tiles of AMX, which take blocks of 32 rows and 32 columns, with neighbours of a
    /// row side by side.
    const IN_TILES: bool = false;

    /// The element of zeros.
    const ZERO: Self;

    /// A vector of [`Real::LANES`] elements.
    type Vector<S: Simd>: Copy;

    /// Sets what `to` gives to the channels `channels` of pixel `p` of `operand`: each item takes the next
    /// [`Packed::STEPS`] of them, with zeros behind the last one.
    fn pack_channels<'t>(
        operand: &Operand<'_, T>,
        p: usize,
        channels: Range<usize>,
        to: impl IntoIterator<Item = &'t mut Self>,
    ) where
        Self: 't;

    /// Sets `to` to the channels `channels` of pixel `p` of `operand`, with zeros behind the last one: what
    /// [`Packed::pack_channels`] does for neighbours in memory.
    ///
    /// # Panics
    /// If `to` has another number of elements than the channels fill.
    fn pack_row(operand: &Operand<'_, T>, p: usize, channels: Range<usize>, to: &mut [Self]);

    /// Sets the front of `to` to the channels `channels` of [`Packed::STEPS`] pixels of `operand`: each element takes
    /// one channel of all of them, and zero for a pixel that is `None`.
    fn pack_pixels(operand: &Operand<'_, T>, pixels: &[Option<usize>], channels: Range<usize>, to: &mut [Self]);

    /// The elements of `operand`, if these are packed as they lie in memory.
    fn as_they_lie<'a>(operand: &Operand<'a, T>) -> Option<&'a [Self]>;

    /// The element of two numbers, rounded; of single numbers, the first one.
    fn pack(numbers: [T; 2]) -> Self;

    /// The elements of the lanes of two vectors of numbers, rounded; of single numbers, the first vector.
    fn pack_vectors<S: Simd>(simd: S, numbers: [T::Vector<S>; 2]) -> Self::Vector<S>;

    /// The two numbers of an element; of single numbers, the number and zero.
    fn unpack(self) -> [T; 2];

    /// The vector of `element` in every lane.
    fn splat<S: Simd>(simd: S, element: Self) -> Self::Vector<S>;

    /// `sum` and the products of the numbers of `a` and `b`, lane by lane. Of a pair the second product is added first,
    /// and each of the two sums is rounded.
    fn multiply_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, sum: T::Vector<S>) -> T::Vector<S>;

    /// The instruction set that makes these products where `chosen` makes those of `T`.
    fn set(chosen: InstructionSet) -> InstructionSet;

    /// Runs `work`, a task with calls of [`Packed::tile`], in the version that was compiled for these products where
    /// `chosen` makes those of `T`.
    fn run<W: WithSimd>(chosen: InstructionSet, work: W) -> W::Output;

    /// Does the work of the micro-kernel, `tile`.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        simd: S,
        a: &[*const Self; M],
        b: *const Self,
        steps: [usize; 2],
        runs: &[Run],
        target: Target<T, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { tile::<T, Self, S, M, N>(simd, a, b, steps, runs, target) }
    }
}

impl<T: Real> Packed<T> for T {
    const STEPS: usize = 1;
    const ZERO: T = T::ZERO;
    type Vector<S: Simd> = <T as Real>::Vector<S>;

    #[inline(always)]
    fn pack_channels<'t>(
        operand: &Operand<'_, T>,
        p: usize,
        channels: Range<usize>,
        to: impl IntoIterator<Item = &'t mut T>,
    ) where
        T: 't,
    {
        operand.scatter(p, channels, to);
    }

    #[inline(always)]
    fn pack_row(operand: &Operand<'_, T>, p: usize, channels: Range<usize>, to: &mut [T]) {
        assert!(to.len() == channels.len());
        operand.copy(p, channels, to);
    }

    #[inline(always)]
    fn pack_pixels(operand: &Operand<'_, T>, pixels: &[Option<usize>], channels: Range<usize>, to: &mut [T]) {
        match pixels[0] {
            Some(p) => operand.copy(p, channels, to),
            None => to[..channels.len()].fill(T::ZERO),
        }
    }

    fn as_they_lie<'a>(operand: &Operand<'a, T>) -> Option<&'a [T]> {
        match operand {
            Operand::F32(view) => Some(view.data),
            Operand::Bf16(_) | Operand::Rounded(_) => None,
        }
    }

    #[inline(always)]
    fn pack(numbers: [T; 2]) -> T {
        numbers[0]
    }

    #[inline(always)]
    fn pack_vectors<S: Simd>(_: S, numbers: [<T as Real>::Vector<S>; 2]) -> <T as Real>::Vector<S> {
        numbers[0]
    }

    #[inline(always)]
    fn unpack(self) -> [T; 2] {
        [self, T::ZERO]
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, element: T) -> <T as Real>::Vector<S> {
        <T as Real>::splat(simd, element)
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(
        simd: S,
        a: <T as Real>::Vector<S>,
        b: <T as Real>::Vector<S>,
        sum: <T as Real>::Vector<S>,
    ) -> <T as Real>::Vector<S> {
        T::mul_add_vectors(simd, a, b, sum)
    }

    fn set(chosen: InstructionSet) -> InstructionSet {
        chosen
    }

    fn run<W: WithSimd>(chosen: InstructionSet, work: W) -> W::Output {
        chosen.run(work)
    }
}

/// Two numbers of bf16, the first in the lower half of the word, whose products are made by the instructions `BY`.
///
/// Models compute what instructions do by multiply-adds of f32, on any machine: the product of two numbers of bf16 is
/// exact in f32. They differ where the instructions take subnormal numbers for zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(transparent)]
pub struct Pair<const BY: u8>(u32);

/// `vdpbf16ps`.
const DOT: u8 = 0;
/// Its model.
const DOT_MODEL: u8 = 1;
/// `tdpbf16ps`, on tiles of AMX.
const TILES: u8 = 2;
/// Its model.
const TILES_MODEL: u8 = 3;

// SAFETY: a word, of which every pattern is two numbers of bf16.
unsafe impl<const BY: u8> Element for Pair<BY> {}

impl<const BY: u8> Packed<f32> for Pair<BY> {
    const STEPS: usize = 2;
    const IN_TILES: bool = matches!(BY, TILES | TILES_MODEL);
    const ZERO: Self = Pair(0);
    type Vector<S: Simd> = S::u32s;

    #[inline(always)]
    fn pack_channels<'t>(
        operand: &Operand<'_, f32>,
        p: usize,
        channels: Range<usize>,
        to: impl IntoIterator<Item = &'t mut Self>,
    ) {
        #[inline(always)]
        fn pack<'t, E: Copy, const BY: u8>(
            pixel: &[E],
            to: impl IntoIterator<Item = &'t mut Pair<BY>>,
            half: impl Fn(E) -> u16,
        ) {
            for (to, numbers) in to.into_iter().zip(pixel.chunks(2)) {
                let upper = numbers.get(1).map_or(0, |&x| half(x));
                *to = Pair(u32::from(half(numbers[0])) | u32::from(upper) << 16);
            }
        }
        match operand {
            Operand::Bf16(view) => pack(&view.pixel(p)[channels], to, |x| x.to_bits()),
            Operand::F32(view) | Operand::Rounded(view) => {
                pack(&view.pixel(p)[channels], to, |x| x.to_bf16().to_bits());
            }
        }
    }

    #[inline(always)]
    fn pack_row(operand: &Operand<'_, f32>, p: usize, channels: Range<usize>, to: &mut [Self]) {
        assert!(to.len() == channels.len().div_ceil(2));
        if cfg!(target_endian = "big") {
            return Self::pack_channels(operand, p, channels, to);
        }
        if channels.len() % 2 == 1 {
            to[channels.len() / 2] = Pair(0);
        }
        // SAFETY: pairs are two numbers of bf16 each, the first one in front, and every bit pattern is a value of both.
        let to = unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<bf16>(), channels.len()) };
        match operand {
            Operand::Bf16(view) => to.copy_from_slice(&view.pixel(p)[channels]),
            Operand::F32(view) | Operand::Rounded(view) => {
                to.iter_mut().zip(&view.pixel(p)[channels]).for_each(|(to, &x)| *to = x.to_bf16());
            }
        }
    }

    #[inline(always)]
    fn pack_pixels(operand: &Operand<'_, f32>, pixels: &[Option<usize>], channels: Range<usize>, to: &mut [Self]) {
        let to = &mut to[..channels.len()];
        if let (&[Some(lower), Some(upper)], Operand::F32(view) | Operand::Rounded(view)) = (pixels, operand) {
            let halves = view.pixel(lower)[channels.clone()].iter().zip(&view.pixel(upper)[channels]);
            to.iter_mut().zip(halves).for_each(|(to, (&lower, &upper))| *to = Self::pack([lower, upper]));
            return;
        }
        to.fill(Pair(0));
        for (index, &p) in pixels.iter().enumerate() {
            if let Some(p) = p {
                operand.zip(
                    p,
                    channels.clone(),
                    &mut *to,
                    #[inline(always)]
                    |to, x| to.0 |= u32::from(x.to_bf16().to_bits()) << (16 * index),
                );
            }
        }
    }

    fn as_they_lie<'a>(_: &Operand<'a, f32>) -> Option<&'a [Self]> {
        None
    }

    #[inline(always)]
    fn pack(numbers: [f32; 2]) -> Self {
        let [lower, upper] = numbers.map(|x| u32::from(x.to_bf16().to_bits()));
        Pair(lower | upper << 16)
    }

    #[inline(always)]
    fn pack_vectors<S: Simd>(simd: S, numbers: [S::f32s; 2]) -> S::u32s {
        let (lower, upper) = (rounded(simd, numbers[0]), rounded(simd, numbers[1]));
        let lower = simd.wrapping_dyn_shr_u32s(lower, simd.splat_u32s(16));
        simd.or_u32s(lower, simd.and_u32s(upper, simd.splat_u32s(0xFFFF_0000)))
    }

    #[inline(always)]
    fn unpack(self) -> [f32; 2] {
        [f32::from_bits(self.0 << 16), f32::from_bits(self.0 & 0xFFFF_0000)]
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, element: Self) -> S::u32s {
        simd.splat_u32s(element.0)
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, a: S::u32s, b: S::u32s, sum: S::f32s) -> S::f32s {
        if BY == DOT {
            return dot(a, b, sum);
        }
        let upper = |pairs| simd.transmute_f32s_u32s(simd.and_u32s(pairs, simd.splat_u32s(0xFFFF_0000)));
        let lower = |pairs| simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16)));
        simd.mul_add_f32s(lower(a), lower(b), simd.mul_add_f32s(upper(a), upper(b), sum))
    }

    fn set(_: InstructionSet) -> InstructionSet {
        match BY {
            DOT | TILES => InstructionSet::Avx512Bf16,
            _ => InstructionSet::Portable,
        }
    }

    // Compiled for these sets alone.
    fn run<W: WithSimd>(_: InstructionSet, work: W) -> W::Output {
        match BY {
            DOT => InstructionSet::run_bf16(work),
            TILES => tiles::with_tiles(|| InstructionSet::run_bf16(work)),
            _ => InstructionSet::run_portable(work),
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        simd: S,
        a: &[*const Self; M],
        b: *const Self,
        steps: [usize; 2],
        runs: &[Run],
        target: Target<f32, M>,
    ) {
        // SAFETY: the caller's promise. Tasks have been given tiles by `run`.
        unsafe {
            match BY {
                TILES => tiles::tile::<false, M>(&a.map(<*const Self>::cast), b.cast(), steps, runs, target),
                TILES_MODEL => tiles::tile::<true, M>(&a.map(<*const Self>::cast), b.cast(), steps, runs, target),
                _ => tile::<f32, Self, S, M, N>(simd, a, b, steps, runs, target),
            }
        }
    }
}

/// Numbers of bf16 in the upper halves of words, rounded as [`Stored`](super::Stored) does; the lower halves are
/// arbitrary.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    let rounded = simd.add_u32s(bits, simd.add_u32s(odd, simd.splat_u32s(0x7FFF)));
    // A quiet NaN stays one when it is cut off, while rounding might carry it over to zero.
    let nan = simd.or_u32s(bits, simd.splat_u32s(0x0040_0000));
    simd.select_u32s(simd.equal_f32s(x, x), rounded, nan)
}

/// `vdpbf16ps` on vectors of 64 bytes: of pairs of bf16, and of sums of f32.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn dot<W: Copy, F: Copy>(a: W, b: W, sum: F) -> F {
    use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
    use std::mem::transmute_copy;

    assert!(size_of::<W>() == 64 && size_of::<F>() == 64, "vectors of AVX-512");
    // SAFETY: the types have the size of a register, and any bits are a value of each. Work on these pairs is run by
    // the instruction set that has the instruction.
    unsafe {
        let (a, b, sum): (__m512bh, __m512bh, __m512) = (transmute_copy(&a), transmute_copy(&b), transmute_copy(&sum));
        transmute_copy(&_mm512_dpbf16_ps(sum, a, b))
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn dot<W: Copy, F: Copy>(_: W, _: W, _: F) -> F {
    unreachable!("not on this architecture")
}

/// The memory of `numbers` as elements of the same size.
pub(crate) fn as_packed<T: Real, P: Packed<T>>(numbers: &mut [T]) -> &mut [P] {
    assert!(size_of::<P>() == size_of::<T>() && align_of::<P>() <= align_of::<T>(), "elements of one size");
    // SAFETY: the line above, and every bit pattern is a value of both types.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// The way in which products of numbers of bf16 are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Products {
    /// By multiply-adds of f32, to which the numbers are widened when they are packed.
    Widened,
    /// By `vdpbf16ps`.
    Dot,
    /// By the model of `vdpbf16ps`. For tests.
    DotModel,
    /// By `tdpbf16ps`, on tiles of AMX.
    Tiles,
    /// By the model of `tdpbf16ps`. For tests.
    TilesModel,
}

/// Work on operands that are packed as some [`Packed`].
pub(crate) trait PackedWork<T: Real> {
    type Output;

    fn run<P: Packed<T>>(self) -> Self::Output;
}

impl Bf16Products {
    /// All ways.
    pub(crate) const ALL: [Bf16Products; 5] = [
        Bf16Products::Widened,
        Bf16Products::Dot,
        Bf16Products::DotModel,
        Bf16Products::Tiles,
        Bf16Products::TilesModel,
    ];

    /// Runs `work` on the elements that products made in this way take.
    pub(crate) fn run<T: Real, W: PackedWork<T>>(self, work: W) -> W::Output {
        match self {
            Bf16Products::Widened => work.run::<T>(),
            Bf16Products::Dot => work.run::<T::Pair<DOT>>(),
            Bf16Products::DotModel => work.run::<T::Pair<DOT_MODEL>>(),
            Bf16Products::Tiles => work.run::<T::Pair<TILES>>(),
            Bf16Products::TilesModel => work.run::<T::Pair<TILES_MODEL>>(),
        }
    }

    /// The fastest that `set` has.
    pub fn of(set: InstructionSet) -> Bf16Products {
        match set {
            InstructionSet::Portable | InstructionSet::Avx2 | InstructionSet::Avx512 => Bf16Products::Widened,
            InstructionSet::Avx512Bf16 => Bf16Products::Dot,
            InstructionSet::Amx => Bf16Products::Tiles,
        }
    }

    /// True if this machine has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Bf16Products::Widened | Bf16Products::DotModel | Bf16Products::TilesModel => true,
            Bf16Products::Dot => InstructionSet::Avx512Bf16.is_available(),
            Bf16Products::Tiles => InstructionSet::Amx.is_available(),
        }
    }
}
