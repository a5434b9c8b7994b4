//! Memory that the tasks of a kernel write side by side.

use std::marker::PhantomData;
use std::ops::Range;

use super::{ViewMut, prefetch_lines};

/// Elements that tasks on several threads write, each its own ones.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    length: usize,
    stride: usize,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are reached through `slice` and through the pointers of `at`, whose callers promise that no two
// tasks access the same ones.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub fn new(data: &'a mut [T]) -> SharedMut<'a, T> {
        SharedMut { start: data.as_mut_ptr(), length: data.len(), stride: 0, data: PhantomData }
    }

    /// The elements of a tensor, from its first one on.
    pub fn of(view: ViewMut<'a, T>) -> SharedMut<'a, T> {
        let stride = view.stride;
        SharedMut { stride, ..SharedMut::new(view.data) }
    }

    /// Elements from one pixel of the tensor to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The address of element `index`.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline(always)]
    pub fn at(&self, index: usize) -> *mut T {
        assert!(index < self.length);
        self.start.wrapping_add(index)
    }

    /// Asks for the cache lines of the elements of `range`, without waiting for them.
    ///
    /// # Panics
    /// If the range ends behind the last element.
    #[inline(always)]
    pub fn prefetch(&self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.length);
        prefetch_lines(self.start.wrapping_add(range.start), range.len());
    }

    /// The elements of `range`, to be written.
    ///
    /// # Safety
    /// As long as the slice is used, nobody else accesses the elements.
    ///
    /// # Panics
    /// If the range ends behind the last element.
    #[inline(always)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: the range lies in the elements that the value was made of, and the caller has it alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
