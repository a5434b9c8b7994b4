//! What a step sees when it says what to launch: the addresses of the tensors that it declared.

use cudarc::driver::CudaStream;

use super::control::DeviceControl;
use super::launch::{Ptr, PtrMut};
use super::memory::Memory;
use crate::program::Access;
use crate::tensor::Tensor;

/// Hands a step the addresses of its tensors, each checked against what the step declared.
pub struct Context<'a> {
    pub(super) accesses: &'a [Access],
    pub(super) memory: &'a Memory,
    pub(super) stream: &'a CudaStream,
    pub(super) workspace: Option<Tensor>,
    pub(super) control: u64,
}

impl Context<'_> {
    /// A tensor that the step declared as [`Access::Read`].
    pub fn read(&self, tensor: Tensor) -> Ptr<f32> {
        self.declared(Access::Read(tensor));
        Ptr::new(self.memory.address(self.stream, tensor))
    }

    /// A tensor that the step declared as [`Access::Write`] or [`Access::Update`].
    pub fn write(&self, access: Access) -> PtrMut<f32> {
        assert!(access.writes(), "{access:?} is not for writing");
        self.declared(access);
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        PtrMut::new(self.memory.address(self.stream, tensor))
    }

    /// Scratch memory, with any content, of as many elements as
    /// [`CudaKernel::workspace`](super::CudaKernel::workspace) asked for.
    pub fn workspace(&self) -> PtrMut<f32> {
        let tensor = self.workspace.expect("a step that uses scratch memory asks for it");
        PtrMut::new(self.memory.address(self.stream, tensor))
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
