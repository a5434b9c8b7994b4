//! A kernel's launch as plain data: kernel, grid, block, shared memory, attributes and argument.
//!
//! The launches of a step are made once, in safe code, by the generated constants of [`super::kernels`]. A device
//! executes a program by going through lists of them.

use std::marker::PhantomData;

use super::kernels::KERNELS;
use super::pack::Pack;

/// The launch of a kernel as data, which a device executes; made by [`Kernel::launch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Index in [`super::kernels::KERNELS`].
    pub(in crate::engine) kernel: usize,
    /// Blocks of the grid.
    pub(in crate::engine) grid: Dim3,
    /// Threads of a block.
    pub(in crate::engine) block: Dim3,
    /// Bytes of dynamic shared memory of a block.
    pub(in crate::engine) shared: usize,
    pub(in crate::engine) attributes: Vec<Attribute>,
    /// The bytes of the argument struct.
    pub(in crate::engine) argument: Vec<u8>,
}

/// An optional attribute of a launch, for `cuLaunchKernelEx`: so far only the scheduling priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Scheduling priority: of several waiting kernels, those of a lower number start first.
    Priority(i32),
}

/// A kernel of `kernels/*.cu` that takes the struct `A` as its argument, to make launches of.
#[derive(Debug)]
pub struct Kernel<A> {
    index: usize,
    threads: usize,
    argument: PhantomData<fn(A)>,
}

impl<A: Pack> Kernel<A> {
    pub(super) const fn new(index: usize, threads: usize) -> Kernel<A> {
        Kernel { index, threads, argument: PhantomData }
    }

    /// Its index in [`super::kernels::KERNELS`].
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Returns the number of threads of a block, which is also the most that [`Launch::block`] can set.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Creates a launch of `grid` blocks of [`Kernel::threads`] threads each, without dynamic shared memory and
    /// attributes. It runs when a device executes it.
    pub fn launch(&self, grid: impl Into<Dim3>, argument: A) -> Launch {
        let mut bytes = vec![0; A::BYTES];
        argument.pack(&mut bytes);
        Launch {
            kernel: self.index,
            grid: grid.into(),
            block: self.threads.into(),
            shared: 0,
            attributes: Vec::new(),
            argument: bytes,
        }
    }

    /// Creates a launch with a thread for each of `count` elements, rounded up to whole blocks of [`Kernel::threads`].
    pub fn launch_for(&self, count: usize, argument: A) -> Launch {
        self.launch(count.div_ceil(self.threads), argument)
    }
}

impl Launch {
    /// Returns the launch with blocks of `block` threads, x alone or `[x, y, z]`.
    ///
    /// # Panics
    /// If these are more threads than the kernel was declared with.
    #[must_use]
    pub fn block(self, block: impl Into<Dim3>) -> Launch {
        let (block, kernel) = (block.into(), &KERNELS[self.kernel]);
        let threads: usize = block.0.iter().product();
        assert!(threads <= kernel.threads as usize, "a block of {block:?} for {}", kernel.name);
        Launch { block, ..self }
    }

    /// Returns the launch with `bytes` of dynamic shared memory for each block, instead of none.
    #[must_use]
    pub fn shared(self, bytes: usize) -> Launch {
        Launch { shared: bytes, ..self }
    }

    /// Returns the launch with one more attribute.
    #[must_use]
    pub fn attribute(mut self, attribute: Attribute) -> Launch {
        self.attributes.push(attribute);
        self
    }
}

/// Extent of a grid in blocks, or of a block in threads: x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim3(pub(super) [usize; 3]);

impl Dim3 {
    /// The extent in the type of the driver.
    ///
    /// # Panics
    /// At 2^32 and above, which no buffer of fewer than 2^31 elements asks for.
    pub(in crate::engine) fn sizes(self) -> [u32; 3] {
        self.0.map(|size| u32::try_from(size).expect("a launch has fewer than 2^32 blocks"))
    }
}

impl From<usize> for Dim3 {
    fn from(x: usize) -> Dim3 {
        Dim3([x, 1, 1])
    }
}

impl From<[usize; 3]> for Dim3 {
    fn from(sizes: [usize; 3]) -> Dim3 {
        Dim3(sizes)
    }
}

/// Converts a size to `int`, the type that kernels have for sizes.
///
/// # Panics
/// If `size` is 2^31 or more. The sizes of a tensor never are: the device refuses such buffers before any step makes
/// its launches.
pub fn to_int(size: usize) -> i32 {
    i32::try_from(size).expect("buffers have fewer than 2^31 elements")
}
