//! The addresses of the tensors that a step declared, for its launches.

use super::control::DeviceControl;
use super::pack::{Ptr, PtrMut, TensorMap};
use crate::engine::access::Access;
use crate::engine::tensor::{DType, Tensor};

/// The addresses of a step's tensors, each checked against the step's declared accesses.
pub struct Context<'a> {
    pub(in crate::engine) accesses: &'a [Access],
    /// The address of a tensor's first element.
    pub(in crate::engine) address: &'a dyn Fn(Tensor) -> u64,
    /// Makes the tensor map of a tensor, with boxes of `[pixels, channels]`.
    pub(in crate::engine) tensor_map: &'a dyn Fn(Tensor, [usize; 2]) -> TensorMap,
    pub(in crate::engine) workspace: Option<Tensor>,
    pub(in crate::engine) control: u64,
}

impl Context<'_> {
    /// The address of a tensor of elements `E`, declared as [`Access::Read`].
    pub fn read<E: Element>(&self, tensor: Tensor) -> Ptr<E> {
        self.declared(Access::Read(tensor));
        Ptr::new(self.start::<E>(tensor))
    }

    /// The tensor map of a tensor, declared as [`Access::Read`], as the matrix `[pixels, channels]`, with boxes of
    /// `[pixels, channels]`.
    pub fn tensor_map(&self, tensor: Tensor, boxes: [usize; 2]) -> TensorMap {
        self.declared(Access::Read(tensor));
        (self.tensor_map)(tensor, boxes)
    }

    /// The address of a tensor of elements `E`, declared as [`Access::Write`] or [`Access::Update`].
    pub fn write<E: Element>(&self, access: Access) -> PtrMut<E> {
        assert!(access.writes(), "{access:?} is not for writing");
        self.declared(access);
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        PtrMut::new(self.start::<E>(tensor))
    }

    fn start<E: Element>(&self, tensor: Tensor) -> u64 {
        assert!(tensor.dtype == E::DTYPE, "a step uses {tensor:?} as {:?}", E::DTYPE);
        (self.address)(tensor)
    }

    /// Scratch memory with arbitrary values, of as many bytes as
    /// [`Implementation::workspace`](super::Implementation::workspace) says.
    pub fn workspace<T>(&self) -> PtrMut<T> {
        let tensor = self.workspace.expect("a step that uses scratch memory asks for it");
        PtrMut::new((self.address)(tensor))
    }

    /// The address of the control values (seed, step, learning rate), for a kernel that reads them.
    pub fn control(&self) -> Ptr<DeviceControl> {
        assert!(self.accesses.iter().any(|a| matches!(a, Access::ReadControl | Access::WriteControl)));
        Ptr::new(self.control)
    }

    /// The address of the control values (seed, step, learning rate), for a kernel that writes them.
    pub fn control_mut(&self) -> PtrMut<DeviceControl> {
        self.declared(Access::WriteControl);
        PtrMut::new(self.control)
    }

    /// Checks that the step has declared `access`.
    fn declared(&self, access: Access) {
        assert!(self.accesses.contains(&access), "a step uses {access:?} without having declared it");
    }
}

/// A type of the elements of a buffer on the device: f32 or bf16.
pub trait Element {
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for half::bf16 {
    const DTYPE: DType = DType::Bf16;
}
