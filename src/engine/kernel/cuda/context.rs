//! The addresses of the tensors that a step declared, for its launches.

use super::control::DeviceControl;
use super::implementation::GpuFacts;
use super::pack::{Ptr, PtrMut, TensorMap};
use crate::engine::access::Access;
use crate::engine::tensor::{DType, Tensor};

/// The GPU addresses that the launches of a step take as arguments: those of its tensors (each checked against the
/// accesses that the step has declared), of its scratch memory and of the control values.
pub struct Context<'a> {
    pub(in crate::engine) accesses: &'a [Access],
    /// The address of a tensor's first element.
    pub(in crate::engine) address: &'a dyn Fn(Tensor) -> u64,
    /// Makes the tensor map of a tensor, with boxes of `[pixels, channels]`.
    pub(in crate::engine) tensor_map: &'a dyn Fn(Tensor, [usize; 2]) -> TensorMap,
    pub(in crate::engine) workspace: Option<Tensor>,
    pub(in crate::engine) tickets: Option<Tensor>,
    /// The GPU that the launches are for.
    pub gpu: &'a GpuFacts,
    pub(in crate::engine) control: u64,
}

impl Context<'_> {
    /// Returns the address of the first element of `tensor`, for a kernel that reads it as `E`.
    ///
    /// # Panics
    /// If the step has not declared [`Access::Read`] for this very tensor, or its elements are not `E`.
    pub fn read<E: DeviceElement>(&self, tensor: Tensor) -> Ptr<E> {
        self.declared(Access::Read(tensor));
        Ptr::new(self.start::<E>(tensor))
    }

    /// Returns the tensor map of `tensor`, for a kernel that reads it. It describes a matrix with a row for each of the
    /// `n * h * w` pixels and a column for each channel, which is loaded in boxes of `boxes = [pixels, channels]`
    /// elements.
    ///
    /// # Panics
    /// If the step has not declared [`Access::Read`] for this very tensor, or the driver refuses the tensor map.
    pub fn tensor_map(&self, tensor: Tensor, boxes: [usize; 2]) -> TensorMap {
        self.declared(Access::Read(tensor));
        (self.tensor_map)(tensor, boxes)
    }

    /// Returns the address of the first element of the tensor of `access`, for a kernel that writes it as `E`.
    ///
    /// # Panics
    /// If `access` is not an [`Access::Write`] or [`Access::Update`] that the step has declared, or the elements of its
    /// tensor are not `E`.
    pub fn write<E: DeviceElement>(&self, access: Access) -> PtrMut<E> {
        assert!(access.writes(), "{access:?} is not for writing");
        self.declared(access);
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        PtrMut::new(self.start::<E>(tensor))
    }

    fn start<E: DeviceElement>(&self, tensor: Tensor) -> u64 {
        assert!(tensor.dtype == E::DTYPE, "a step uses {tensor:?} as {:?}", E::DTYPE);
        (self.address)(tensor)
    }

    /// Returns the address of the step's scratch memory: as many bytes as
    /// [`Scratch::bytes`](super::Scratch::bytes) says, with arbitrary values.
    ///
    /// # Panics
    /// If that is 0.
    pub fn workspace<T>(&self) -> PtrMut<T> {
        let tensor = self.workspace.expect("a step that uses scratch memory asks for it");
        PtrMut::new((self.address)(tensor))
    }

    /// Returns the address of the step's tickets, as many words as [`Scratch::tickets`](super::Scratch::tickets) says:
    /// zero when a launch begins, and to be left at zero.
    ///
    /// # Panics
    /// If these are 0.
    pub fn tickets(&self) -> PtrMut<u32> {
        let tensor = self.tickets.expect("a step that uses tickets asks for them");
        PtrMut::new((self.address)(tensor))
    }

    /// Returns the address of the control values (seed, number of executions so far, learning rate), for a kernel that
    /// reads them.
    ///
    /// # Panics
    /// If the step has declared neither [`Access::ReadControl`] nor [`Access::WriteControl`].
    pub fn control(&self) -> Ptr<DeviceControl> {
        assert!(self.accesses.iter().any(|a| matches!(a, Access::ReadControl | Access::WriteControl)));
        Ptr::new(self.control)
    }

    /// Returns the address of the control values (seed, number of executions so far, learning rate), for a kernel that
    /// writes them.
    ///
    /// # Panics
    /// If the step has not declared [`Access::WriteControl`].
    pub fn control_mut(&self) -> PtrMut<DeviceControl> {
        self.declared(Access::WriteControl);
        PtrMut::new(self.control)
    }

    /// Checks that the step has declared `access`.
    fn declared(&self, access: Access) {
        assert!(self.accesses.contains(&access), "a step uses {access:?} without having declared it");
    }
}

/// The Rust type for the elements of a buffer on the GPU, f32 or bf16, with its [`DType`].
pub trait DeviceElement {
    const DTYPE: DType;
}

impl DeviceElement for f32 {
    const DTYPE: DType = DType::F32;
}

impl DeviceElement for half::bf16 {
    const DTYPE: DType = DType::Bf16;
}
