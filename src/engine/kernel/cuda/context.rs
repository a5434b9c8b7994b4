//! The addresses of the tensors that a step declared, for its launches.

use super::control::DeviceControl;
use super::pack::{Ptr, PtrMut, TensorMap};
use crate::engine::access::Access;
use crate::engine::tensor::{DType, Tensor};

/// Hands a step the addresses of its tensors, each checked against what the step declared.
pub struct Context<'a> {
    pub(in crate::engine) accesses: &'a [Access],
    /// The address of a tensor's first element.
    pub(in crate::engine) address: &'a dyn Fn(Tensor) -> u64,
    /// Makes a tensor map of boxes of so many pixels and channels.
    pub(in crate::engine) tensor_map: &'a dyn Fn(Tensor, [usize; 2]) -> TensorMap,
    pub(in crate::engine) workspace: Option<Tensor>,
    pub(in crate::engine) control: u64,
}

impl Context<'_> {
    /// A tensor that the step declared as [`Access::Read`], of elements `E`.
    pub fn read<E: Element>(&self, tensor: Tensor) -> Ptr<E> {
        self.declared(Access::Read(tensor));
        Ptr::new(self.start::<E>(tensor))
    }

    /// A map of a tensor that the step declared as [`Access::Read`], as the matrix `[pixels, channels]`, in boxes of as
    /// many pixels and channels.
    pub fn tensor_map(&self, tensor: Tensor, boxes: [usize; 2]) -> TensorMap {
        self.declared(Access::Read(tensor));
        (self.tensor_map)(tensor, boxes)
    }

    /// A tensor that the step declared as [`Access::Write`] or [`Access::Update`].
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

    /// Scratch memory, with any content, of as many bytes as
    /// [`Implementation::workspace`](super::Implementation::workspace) asked for.
    pub fn workspace<T>(&self) -> PtrMut<T> {
        let tensor = self.workspace.expect("a step that uses scratch memory asks for it");
        PtrMut::new((self.address)(tensor))
    }

    /// The control values, to read.
    pub fn control(&self) -> Ptr<DeviceControl> {
        assert!(self.accesses.iter().any(|a| matches!(a, Access::ReadControl | Access::WriteControl)));
        Ptr::new(self.control)
    }

    /// The control values, to move on.
    pub fn control_mut(&self) -> PtrMut<DeviceControl> {
        self.declared(Access::WriteControl);
        PtrMut::new(self.control)
    }

    fn declared(&self, access: Access) {
        assert!(self.accesses.contains(&access), "a step uses {access:?} without having declared it");
    }
}

/// A type of numbers that buffers have.
pub trait Element {
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for half::bf16 {
    const DTYPE: DType = DType::Bf16;
}
