//! The tensors that a step declared, as slices, while it runs.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::{Bf16Products, Element, Operand, Output, Real, SharedMut, Stored};
use crate::engine::access::{Access, Control};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::{BufferId, DType, Shape, Tensor};

/// The memory that a step may use while it runs: its tensors as slices, scratch memory and the control values. Tensors
/// are checked against the accesses that the step has declared, and one to write is handed out only once, so that a
/// mutable slice never aliases another.
pub struct Context<'a, T> {
    accesses: &'a [Access],
    /// For each access, the start of its buffer and the buffer's bytes.
    starts: [Option<(NonNull<u8>, usize)>; MAX_ACCESSES],
    /// True for every access whose tensor has been handed out for writing, and for the workspace.
    handed: [Cell<bool>; MAX_ACCESSES + 1],
    workspace: (NonNull<T>, usize),
    control: &'a Cell<Control>,
    set: InstructionSet,
    bf16_products: Bf16Products,
    memory: PhantomData<&'a mut T>,
}

/// Those of an update of 32 ranges of parameters.
const MAX_ACCESSES: usize = 129;
const WORKSPACE: usize = MAX_ACCESSES;

impl<'a, T: Real> Context<'a, T> {
    /// Creates the context of a step with these accesses; `memory` returns the start of a buffer and its number of
    /// bytes.
    ///
    /// # Safety
    /// The memory that `memory` returns is valid and unaliased for `'a`, and `accesses` are those of a
    /// [`RecordedStep`](crate::engine::program::RecordedStep), which has checked that they do not overlap where one
    /// writes.
    ///
    /// # Panics
    /// If there are more than 129 accesses.
    pub(in crate::engine) unsafe fn new(
        accesses: &'a [Access],
        mut memory: impl FnMut(BufferId) -> (NonNull<u8>, usize),
        workspace: &'a mut [T],
        control: &'a mut Control,
        set: InstructionSet,
        bf16_products: Bf16Products,
    ) -> Context<'a, T> {
        assert!(accesses.len() <= MAX_ACCESSES, "a step has at most {MAX_ACCESSES} accesses");
        let mut starts = [None; MAX_ACCESSES];
        for (start, access) in starts.iter_mut().zip(accesses) {
            *start = access.tensor().map(|tensor| memory(tensor.buffer));
        }
        let length = workspace.len();
        Context {
            accesses,
            starts,
            handed: [const { Cell::new(false) }; MAX_ACCESSES + 1],
            workspace: (NonNull::from(workspace).cast(), length),
            control: Cell::from_mut(control),
            set,
            bf16_products,
            memory: PhantomData,
        }
    }

    /// Returns `tensor`, which is of f32, for reading, any number of times. The elements are `T`, the type in which the
    /// device stores f32 (f64 in tests).
    ///
    /// # Panics
    /// If the step has not declared [`Access::Read`] for this very tensor, or the tensor is of bf16.
    pub fn read(&self, tensor: Tensor) -> View<'_, T> {
        self.view(DType::F32, tensor)
    }

    /// Returns `tensor`, of either number format, for reading, any number of times. The elements are `E`, the type in
    /// which the device stores that format: `T`, or `T::Bf16`.
    ///
    /// # Panics
    /// If the step has not declared [`Access::Read`] for this very tensor, or `E` is not its storage type.
    pub fn read_as<E: Stored<T>>(&self, tensor: Tensor) -> View<'_, E> {
        assert!(size_of::<E>() == T::bytes(tensor.dtype), "a step reads {tensor:?} as elements of another size");
        self.view(tensor.dtype, tensor)
    }

    /// Returns `tensor`, of either number format, for reading as numbers of type `T`.
    ///
    /// # Panics
    /// If the step has not declared [`Access::Read`] for this very tensor.
    pub(crate) fn operand(&self, tensor: Tensor) -> Operand<'_, T> {
        match tensor.dtype {
            DType::F32 => Operand::F32(self.read_as(tensor)),
            DType::Bf16 => Operand::Bf16(self.read_as(tensor)),
        }
    }

    fn view<E: Element>(&self, dtype: DType, tensor: Tensor) -> View<'_, E> {
        let start = self.start::<E>(dtype, Access::Read(tensor));
        // SAFETY: `start` has checked the span against the buffer. A step's written spans are disjoint from all its
        // other spans (checked when it was recorded), so it is not written while the step runs.
        let data = unsafe { std::slice::from_raw_parts(start.as_ptr(), tensor.span().len()) };
        View { data, shape: tensor.shape, stride: tensor.stride }
    }

    /// Returns the tensor of `access`, which is of f32, for writing, once. The elements are `T`; those of an
    /// [`Access::Write`] have arbitrary values, and the step has to set all of them.
    ///
    /// # Panics
    /// If `access` is not an [`Access::Write`] or [`Access::Update`] that the step has declared, its tensor is of bf16,
    /// or an earlier call has returned it.
    pub fn write(&self, access: Access) -> ViewMut<'_, T> {
        self.view_mut(DType::F32, access)
    }

    /// Returns the tensor of `access`, of either number format, for writing, once. The elements are `E`, the type in
    /// which the device stores that format: `T`, or `T::Bf16`; those of an [`Access::Write`] have arbitrary values, and
    /// the step has to set all of them.
    ///
    /// # Panics
    /// If `access` is not an [`Access::Write`] or [`Access::Update`] that the step has declared, `E` is not the storage
    /// type of its tensor, or an earlier call has returned it.
    pub fn write_as<E: Stored<T>>(&self, access: Access) -> ViewMut<'_, E> {
        let dtype = access.tensor().map_or(DType::F32, |tensor| tensor.dtype);
        assert!(size_of::<E>() == T::bytes(dtype), "a step writes {access:?} as elements of another size");
        self.view_mut(dtype, access)
    }

    /// Returns the tensor of `access`, of either number format, for tasks to write side by side, once.
    ///
    /// # Panics
    /// If `access` is not an [`Access::Write`] or [`Access::Update`] that the step has declared, or an earlier call has
    /// returned it.
    pub(crate) fn output(&self, access: Access) -> Output<'_, T> {
        match access.tensor().map(|tensor| tensor.dtype) {
            Some(DType::Bf16) => Output::Bf16(SharedMut::of(self.write_as(access))),
            _ => Output::F32(SharedMut::of(self.write(access))),
        }
    }

    fn view_mut<E: Element>(&self, dtype: DType, access: Access) -> ViewMut<'_, E> {
        assert!(access.writes(), "{access:?} is not for writing");
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        let start = self.start::<E>(dtype, access);
        // SAFETY: as in `read`, and `start` hands a written access out only once.
        let data = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), tensor.span().len()) };
        ViewMut { data, shape: tensor.shape, stride: tensor.stride }
    }

    /// The address of the first element of the tensor of `access`. The tensor is of `dtype`, which the CPU keeps as
    /// `E`.
    fn start<E: Element>(&self, dtype: DType, access: Access) -> NonNull<E> {
        let index = self.accesses.iter().position(|a| *a == access);
        let index = index.unwrap_or_else(|| panic!("a step uses {access:?} without having declared it"));
        if access.writes() {
            self.hand_out(index);
        }
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        assert!(tensor.dtype == dtype, "a step uses {tensor:?} as {dtype:?}");
        let (start, bytes) = self.starts[index].expect("set for every access with a tensor");
        assert!(tensor.span().end * size_of::<E>() <= bytes, "{tensor:?} ends outside of its buffer");
        // SAFETY: the line above.
        unsafe { start.cast::<E>().add(tensor.offset) }
    }

    /// Marks access `index` as handed out.
    fn hand_out(&self, index: usize) {
        assert!(!self.handed[index].replace(true), "a step may take what it writes once");
    }

    /// Returns `count` elements of scratch memory with arbitrary values. The step reserves them by
    /// [`CpuKernel::workspace`](super::CpuKernel::workspace).
    ///
    /// # Panics
    /// If the step has already called this, or `count` is more than the device has reserved for its steps.
    #[expect(clippy::mut_from_ref, reason = "handed out once, like what is written")]
    pub fn workspace(&self, count: usize) -> &mut [T] {
        self.hand_out(WORKSPACE);
        let (start, length) = self.workspace;
        assert!(count <= length, "a step asked for less scratch memory than it uses");
        // SAFETY: inside the workspace by the line above, borrowed for 'a and handed out only once.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), count) }
    }

    /// Returns the instruction set of the device's kernels.
    pub fn set(&self) -> InstructionSet {
        self.set
    }

    /// Returns the way in which products of numbers of bf16 are made.
    pub fn bf16_products(&self) -> Bf16Products {
        self.bf16_products
    }

    /// Returns the control values (seed, number of executions so far, learning rate).
    ///
    /// # Panics
    /// If the step has declared neither [`Access::ReadControl`] nor [`Access::WriteControl`].
    pub fn control(&self) -> Control {
        assert!(self.accesses.iter().any(|a| matches!(a, Access::ReadControl | Access::WriteControl)));
        self.control.get()
    }

    /// Sets the control values (seed, number of executions so far, learning rate), for the steps after this one and for
    /// the next execution.
    ///
    /// # Panics
    /// If the step has not declared [`Access::WriteControl`].
    pub fn set_control(&self, control: Control) {
        assert!(
            self.accesses.contains(&Access::WriteControl),
            "a step moves the control on without having declared it"
        );
        self.control.set(control);
    }
}

/// A tensor of shape `[n, h, w, c]` to read. Pixel `p = (image * h + y) * w + x` has its channels at
/// `data[p * stride..][..c]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    pub data: &'a [T],
    pub shape: Shape,
    pub stride: usize,
}

impl<'a, T> View<'a, T> {
    pub fn pixels(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// Returns the channels of pixel `p = (image * h + y) * w + x`.
    ///
    /// # Panics
    /// If the tensor has no pixel `p`.
    #[inline(always)]
    pub fn pixel(&self, p: usize) -> &'a [T] {
        &self.data[p * self.stride..][..self.shape[3]]
    }

    /// Returns the view of the images `first..first + count`.
    ///
    /// # Panics
    /// If the tensor has fewer images.
    pub fn images(&self, first: usize, count: usize) -> View<'a, T> {
        let [_, h, w, c] = self.shape;
        let (start, pixels) = (first * h * w * self.stride, count * h * w);
        let length = if pixels == 0 { 0 } else { (pixels - 1) * self.stride + c };
        View { data: &self.data[start..start + length], shape: [count, h, w, c], stride: self.stride }
    }
}

/// A tensor to write; laid out like a [`View`].
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    pub data: &'a mut [T],
    pub shape: Shape,
    pub stride: usize,
}

impl<T> ViewMut<'_, T> {
    pub fn as_view(&self) -> View<'_, T> {
        View { data: self.data, shape: self.shape, stride: self.stride }
    }

    pub fn pixels(&self) -> usize {
        self.as_view().pixels()
    }

    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// Returns the channels of pixel `p = (image * h + y) * w + x`, to be written.
    ///
    /// # Panics
    /// If the tensor has no pixel `p`.
    #[inline(always)]
    pub fn pixel(&mut self, p: usize) -> &mut [T] {
        &mut self.data[p * self.stride..][..self.shape[3]]
    }

    /// Returns the view of the images `first..first + count`, to be written.
    ///
    /// # Panics
    /// If the tensor has fewer images.
    pub fn images(&mut self, first: usize, count: usize) -> ViewMut<'_, T> {
        let [_, h, w, c] = self.shape;
        let span = self.as_view().images(first, count).data.len();
        let start = first * h * w * self.stride;
        ViewMut { data: &mut self.data[start..start + span], shape: [count, h, w, c], stride: self.stride }
    }
}
