//! What a step sees when it says what to launch: the addresses of the tensors that it declared.

use super::control::DeviceControl;
use super::launch::{Ptr, PtrMut};
use crate::engine::access::Access;
use crate::engine::tensor::Tensor;

/// Hands a step the addresses of its tensors, each checked against what the step declared.
pub struct Context<'a> {
    pub(in crate::engine) accesses: &'a [Access],
    /// The address of a tensor's first element.
    pub(in crate::engine) address: &'a dyn Fn(Tensor) -> u64,
    pub(in crate::engine) workspace: Option<Tensor>,
    pub(in crate::engine) control: u64,
}

impl Context<'_> {
    /// A tensor that the step declared as [`Access::Read`].
    pub fn read(&self, tensor: Tensor) -> Ptr<f32> {
        self.declared(Access::Read(tensor));
        Ptr::new((self.address)(tensor))
    }

    /// A tensor that the step declared as [`Access::Write`] or [`Access::Update`].
    pub fn write(&self, access: Access) -> PtrMut<f32> {
        assert!(access.writes(), "{access:?} is not for writing");
        self.declared(access);
        let tensor = access.tensor().expect("an access that hands out memory has a tensor");
        PtrMut::new((self.address)(tensor))
    }

    /// Scratch memory, with any content, of as many elements as
    /// [`CudaKernel::workspace`](super::CudaKernel::workspace) asked for.
    pub fn workspace(&self) -> PtrMut<f32> {
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
