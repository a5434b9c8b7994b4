//! Tensors of either number format, read and written as numbers of the device.

use std::ops::Range;

use super::{Real, SharedMut, Stored, View, prefetch_lines};
use crate::engine::tensor::Shape;

/// A tensor to read, whose elements are handed out as `T` whatever the number format of its buffer. It is laid out like
/// a [`View`].
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, T: Real> {
    F32(View<'a, T>),
    Bf16(View<'a, T::Bf16>),
    /// A tensor of f32 whose elements are rounded to bf16.
    Rounded(View<'a, T>),
}

impl<T: Real> Operand<'_, T> {
    /// The same elements without rounding.
    pub fn unrounded(self) -> Self {
        match self {
            Operand::Rounded(view) => Operand::F32(view),
            operand => operand,
        }
    }

    pub fn shape(&self) -> Shape {
        match self {
            Operand::F32(view) | Operand::Rounded(view) => view.shape,
            Operand::Bf16(view) => view.shape,
        }
    }

    pub fn pixels(&self) -> usize {
        self.shape()[..3].iter().product()
    }

    pub fn channels(&self) -> usize {
        self.shape()[3]
    }

    /// Calls `work` with each item that `to` gives, and the element of pixel `p` that belongs to it: those of a range
    /// of channels, in their order, until one of them ends.
    ///
    /// # Panics
    /// If the tensor has no such pixel or channels.
    #[inline(always)]
    pub fn zip<'t, U: 't>(
        &self,
        p: usize,
        channels: Range<usize>,
        to: impl IntoIterator<Item = &'t mut U>,
        mut work: impl FnMut(&mut U, T),
    ) {
        let to = to.into_iter();
        match self {
            Operand::F32(view) => to.zip(&view.pixel(p)[channels]).for_each(|(to, &x)| work(to, x)),
            Operand::Bf16(view) => to.zip(&view.pixel(p)[channels]).for_each(|(to, &x)| work(to, x.load())),
            Operand::Rounded(view) => {
                to.zip(&view.pixel(p)[channels]).for_each(|(to, &x)| work(to, x.rounded_to_bf16()));
            }
        }
    }

    /// Sets what `to` gives to the elements of pixel `p` in a range of channels, until one of them ends.
    ///
    /// # Panics
    /// If the tensor has no such pixel or channels.
    #[inline(always)]
    pub fn scatter<'t>(&self, p: usize, channels: Range<usize>, to: impl IntoIterator<Item = &'t mut T>)
    where
        T: 't,
    {
        self.zip(
            p,
            channels,
            to,
            #[inline(always)]
            |to, x| *to = x,
        );
    }

    /// Sets the front of `to` to the elements of pixel `p` in a range of channels.
    ///
    /// # Panics
    /// If the tensor has no such pixel or channels, or `to` is shorter than the range.
    #[inline(always)]
    pub fn copy(&self, p: usize, channels: Range<usize>, to: &mut [T]) {
        let to = &mut to[..channels.len()];
        match self {
            Operand::F32(view) => to.copy_from_slice(&view.pixel(p)[channels]),
            Operand::Bf16(_) | Operand::Rounded(_) => self.scatter(p, channels, to),
        }
    }

    /// Asks for the cache lines of a range of channels of pixel `p`, without waiting for them.
    ///
    /// # Panics
    /// If the tensor has no such pixel or channels.
    #[inline(always)]
    pub fn prefetch(&self, p: usize, channels: Range<usize>) {
        match self {
            Operand::F32(view) | Operand::Rounded(view) => {
                let elements = &view.pixel(p)[channels];
                prefetch_lines(elements.as_ptr(), elements.len());
            }
            Operand::Bf16(view) => {
                let elements = &view.pixel(p)[channels];
                prefetch_lines(elements.as_ptr(), elements.len());
            }
        }
    }

    /// The element of channel `c` of pixel `p`.
    ///
    /// # Panics
    /// If the tensor has no such pixel or channel.
    #[inline(always)]
    pub fn at(&self, p: usize, c: usize) -> T {
        match self {
            Operand::F32(view) => view.pixel(p)[c],
            Operand::Bf16(view) => view.pixel(p)[c].load(),
            Operand::Rounded(view) => view.pixel(p)[c].rounded_to_bf16(),
        }
    }
}

/// A tensor that tasks write side by side, with elements that are given as `T` whatever the number format of its
/// buffer.
#[derive(Clone, Copy)]
pub(crate) enum Output<'a, T: Real> {
    F32(SharedMut<'a, T>),
    Bf16(SharedMut<'a, T::Bf16>),
}

impl<T: Real> Output<'_, T> {
    /// Adds the elements of pixel `p` from channel `first` on to `values`.
    ///
    /// # Safety
    /// Nobody else writes these elements meanwhile.
    ///
    /// # Panics
    /// If they end behind the last element of the tensor.
    #[inline(always)]
    pub unsafe fn add_to(&self, p: usize, first: usize, values: &mut [T]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Output::F32(shared) => {
                    let pixel = elements(shared, p, first, values.len());
                    values.iter_mut().zip(pixel).for_each(|(value, x)| *value += *x);
                }
                Output::Bf16(shared) => {
                    let pixel = elements(shared, p, first, values.len());
                    values.iter_mut().zip(pixel).for_each(|(value, x)| *value += x.load());
                }
            }
        }
    }

    /// Sets the elements of pixel `p` from channel `first` on to `values`.
    ///
    /// # Safety
    /// Nobody else accesses these elements meanwhile.
    ///
    /// # Panics
    /// If they end behind the last element of the tensor.
    #[inline(always)]
    pub unsafe fn write(&self, p: usize, first: usize, values: &[T]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Output::F32(shared) => elements(shared, p, first, values.len()).copy_from_slice(values),
                Output::Bf16(shared) => {
                    let pixel = elements(shared, p, first, values.len());
                    pixel.iter_mut().zip(values).for_each(|(x, &value)| *x = value.to_bf16());
                }
            }
        }
    }
}

/// Some elements of pixel `p`, from channel `first` on.
///
/// # Safety
/// Nobody else accesses these elements as long as the slice is used.
#[inline(always)]
unsafe fn elements<'a, E>(shared: &SharedMut<'a, E>, p: usize, first: usize, count: usize) -> &'a mut [E] {
    let start = p * shared.stride() + first;
    // SAFETY: the caller's promise.
    unsafe { shared.slice(start..start + count) }
}
