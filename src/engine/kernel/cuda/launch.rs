//! A kernel's launch as plain data: which kernel, how many blocks, which arguments.
//!
//! The one idea: what a step launches is computed once, in safe code, by the generated functions of [`super::kernels`]; to
//! execute a program is to go through lists of these.

use std::marker::PhantomData;

/// Which kernel runs on what. Made by a function of [`super::kernels`].
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Place in [`super::kernels::KERNELS`].
    pub(in crate::engine) kernel: usize,
    pub(in crate::engine) grid: Grid,
    pub(in crate::engine) arguments: Vec<Argument>,
}

/// Blocks in each direction, x first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid([usize; 3]);

impl Grid {
    /// As the driver takes it.
    ///
    /// # Panics
    /// When there are more blocks than a grid can have, which no buffer of fewer than 2^31 elements asks for.
    pub(in crate::engine) fn dimensions(self) -> (u32, u32, u32) {
        let [x, y, z] = self.0.map(|blocks| u32::try_from(blocks).expect("a grid has fewer than 2^32 blocks"));
        (x, y, z)
    }
}

/// The blocks it takes to give each of `count` elements a thread.
pub fn blocks(count: usize, block: usize) -> Grid {
    Grid([count.div_ceil(block), 1, 1])
}

impl From<usize> for Grid {
    fn from(blocks: usize) -> Grid {
        Grid([blocks, 1, 1])
    }
}

impl From<[usize; 3]> for Grid {
    fn from(blocks: [usize; 3]) -> Grid {
        Grid(blocks)
    }
}

/// One argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    Pointer(u64),
    Int(i32),
    Float(f32),
    Double(f64),
}

/// Where a kernel reads `T`s on the device.
#[derive(Debug, PartialEq)]
pub struct Ptr<T> {
    address: u64,
    of: PhantomData<fn() -> T>,
}

/// Where a kernel writes `T`s on the device.
#[derive(Debug, PartialEq)]
pub struct PtrMut<T> {
    address: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Ptr<T> {
    /// What a kernel takes for something that is not there.
    pub const NULL: Ptr<T> = Ptr::new(0);

    pub(in crate::engine) const fn new(address: u64) -> Ptr<T> {
        Ptr { address, of: PhantomData }
    }
}

impl<T> PtrMut<T> {
    /// What a kernel takes for something that is not wanted.
    pub const NULL: PtrMut<T> = PtrMut::new(0);

    pub(in crate::engine) const fn new(address: u64) -> PtrMut<T> {
        PtrMut { address, of: PhantomData }
    }

    pub fn as_ptr(&self) -> Ptr<T> {
        Ptr::new(self.address)
    }
}

impl<T> From<Ptr<T>> for Argument {
    fn from(pointer: Ptr<T>) -> Argument {
        Argument::Pointer(pointer.address)
    }
}

impl<T> From<PtrMut<T>> for Argument {
    fn from(pointer: PtrMut<T>) -> Argument {
        Argument::Pointer(pointer.address)
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Argument {
        Argument::Int(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Argument {
        Argument::Float(value)
    }
}

impl From<f64> for Argument {
    fn from(value: f64) -> Argument {
        Argument::Double(value)
    }
}

/// A size as kernels take it.
///
/// # Panics
/// At 2^31 and above: the device refuses buffers of that many elements before any kernel is asked about them.
pub fn int(size: usize) -> i32 {
    i32::try_from(size).expect("buffers have fewer than 2^31 elements")
}
