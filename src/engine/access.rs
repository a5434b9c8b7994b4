//! The accesses of steps to memory, and the modes in which gradients are written.

use super::tensor::Tensor;

/// One access of a program step to memory: it reads a tensor, overwrites it or updates it in place, or it reads or
/// writes the [`Control`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read(Tensor),
    /// Writes every element and reads none.
    Write(Tensor),
    /// Reads and writes every element.
    Update(Tensor),
    /// Reads [`Control`], the values that change from one execution to the next.
    ReadControl,
    /// Writes [`Control`], and may read it.
    WriteControl,
}

impl Access {
    /// The tensor that is accessed; `None` for an access to [`Control`].
    pub fn tensor(&self) -> Option<Tensor> {
        match *self {
            Access::Read(t) | Access::Write(t) | Access::Update(t) => Some(t),
            Access::ReadControl | Access::WriteControl => None,
        }
    }

    /// True if the access changes the tensor or the control values.
    pub fn writes(&self) -> bool {
        matches!(self, Access::Write(_) | Access::Update(_) | Access::WriteControl)
    }
}

/// The values on a device that change from one execution of a program to the next: seed, step number and learning rate.
/// A step of the program reads them when it runs; they are not part of the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Training steps completed so far, those before a resume included. A translation has the number of its first
    /// picture here, which selects the dropout masks.
    pub step: u64,
    pub learning_rate: f64,
}

/// The mode in which a step writes a gradient: it overwrites the destination, or adds to what is there. The tape
/// chooses it, the ops follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    Overwrite,
    Accumulate,
}

/// The tensor that a step writes a gradient to, and the [`WriteMode`] in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub tensor: Tensor,
    pub mode: WriteMode,
}

impl Destination {
    /// Returns the destination `tensor` with [`WriteMode::Overwrite`].
    pub fn overwrite(tensor: Tensor) -> Destination {
        Destination { tensor, mode: WriteMode::Overwrite }
    }

    /// Returns a destination of the same mode, with `moved(tensor)` in the place of its tensor.
    pub fn moved(self, moved: &dyn Fn(Tensor) -> Tensor) -> Destination {
        Destination { tensor: moved(self.tensor), ..self }
    }

    /// The access that a step which writes here declares: [`Access::Write`] if it overwrites, [`Access::Update`] if it
    /// accumulates.
    pub fn access(&self) -> Access {
        match self.mode {
            WriteMode::Overwrite => Access::Write(self.tensor),
            WriteMode::Accumulate => Access::Update(self.tensor),
        }
    }

    /// True if the gradient is added to what is there.
    pub fn accumulates(&self) -> bool {
        self.mode == WriteMode::Accumulate
    }
}
