//! Packing of kernel arguments: the bytes of a struct as C++ lays it out.

use std::marker::PhantomData;

/// A type of kernel arguments or of their fields, whose values are packed into the bytes that they have in C++.
pub trait Pack {
    /// Bytes of the value in memory, the padding after its last field included.
    const BYTES: usize;

    /// Writes the value to the first [`Pack::BYTES`] bytes of `bytes`. Bytes of padding keep what is there.
    fn pack(&self, bytes: &mut [u8]);
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Pack for $number {
            const BYTES: usize = size_of::<$number>();

            fn pack(&self, bytes: &mut [u8]) {
                bytes[..Self::BYTES].copy_from_slice(&self.to_ne_bytes());
            }
        })*
    };
}

numbers!(i32, u32, u64, f32, f64);

impl<A: Pack, const N: usize> Pack for [A; N] {
    const BYTES: usize = N * A::BYTES;

    fn pack(&self, bytes: &mut [u8]) {
        self.iter().zip(bytes.chunks_exact_mut(A::BYTES)).for_each(|(value, bytes)| value.pack(bytes));
    }
}

/// A device pointer to `T`s that a kernel reads.
#[derive(Debug, PartialEq)]
pub struct Ptr<T> {
    address: u64,
    element: PhantomData<fn() -> T>,
}

/// A device pointer to `T`s that a kernel writes, or reads and writes.
#[derive(Debug, PartialEq)]
pub struct PtrMut<T> {
    address: u64,
    element: PhantomData<fn() -> T>,
}

impl<T> Ptr<T> {
    /// The null pointer, for an optional operand that a launch leaves out.
    pub const NULL: Ptr<T> = Ptr::new(0);

    pub(in crate::engine) const fn new(address: u64) -> Ptr<T> {
        Ptr { address, element: PhantomData }
    }
}

impl<T> PtrMut<T> {
    /// The null pointer, for an optional result that a launch leaves out.
    pub const NULL: PtrMut<T> = PtrMut::new(0);

    pub(in crate::engine) const fn new(address: u64) -> PtrMut<T> {
        PtrMut { address, element: PhantomData }
    }

    /// Returns the pointer `count` elements of type `T` further on, without a check of bounds.
    pub fn offset(&self, count: usize) -> PtrMut<T> {
        PtrMut::new(self.address + (count * size_of::<T>()) as u64)
    }

    /// Returns the pointer to the same address, for a kernel that reads it.
    pub fn as_ptr(&self) -> Ptr<T> {
        Ptr::new(self.address)
    }
}

// Not derived, since that would require it of `T` too.
impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Ptr<T> {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T> Clone for PtrMut<T> {
    fn clone(&self) -> PtrMut<T> {
        *self
    }
}

impl<T> Copy for PtrMut<T> {}

impl<T> Pack for Ptr<T> {
    const BYTES: usize = u64::BYTES;

    fn pack(&self, bytes: &mut [u8]) {
        self.address.pack(bytes);
    }
}

impl<T> Pack for PtrMut<T> {
    const BYTES: usize = u64::BYTES;

    fn pack(&self, bytes: &mut [u8]) {
        self.address.pack(bytes);
    }
}

/// A tensor map (`CUtensorMap`, 128 bytes): the description of a tensor by which the tensor memory accelerator (TMA) of
/// Hopper GPUs loads boxes (rectangular parts) of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(128))]
pub struct TensorMap(pub(in crate::engine) [u64; 16]);

impl Pack for TensorMap {
    const BYTES: usize = size_of::<TensorMap>();

    fn pack(&self, bytes: &mut [u8]) {
        self.0.iter().zip(bytes.chunks_exact_mut(u64::BYTES)).for_each(|(word, bytes)| word.pack(bytes));
    }
}
