//! The accesses of steps to memory, and the modes in which gradients are written.

use super::tensor::Tensor;

/// One access of a step to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read(Tensor),
    /// Writes every element and reads none.
    Write(Tensor),
    /// Reads and writes every element.
    Update(Tensor),
    /// Reads [`Control`], the values that change from one execution to the next.
    ReadControl,
    /// Writes [`Control`].
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

/// The values that change from one execution of a program to the next. They never enter a step by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    pub seed: u64,
    /// Executions so far, those of earlier runs included.
    pub step: u64,
    pub learning_rate: f64,
}

/// The way in which a gradient is written: decided by the tape, obeyed by the ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Overwrite,
    Accumulate,
}

/// A tensor that a step writes a gradient to, and the mode in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub tensor: Tensor,
    pub mode: Mode,
}

impl Destination {
    /// A destination that is overwritten.
    pub fn overwrite(tensor: Tensor) -> Destination {
        Destination { tensor, mode: Mode::Overwrite }
    }

    /// The destination with the same mode at the tensor that `moved` gives for this one.
    pub fn moved(self, moved: &dyn Fn(Tensor) -> Tensor) -> Destination {
        Destination { tensor: moved(self.tensor), ..self }
    }

    /// The access of the step that writes the gradient.
    pub fn access(&self) -> Access {
        match self.mode {
            Mode::Overwrite => Access::Write(self.tensor),
            Mode::Accumulate => Access::Update(self.tensor),
        }
    }

    /// True if the gradient is added to what is there.
    pub fn accumulates(&self) -> bool {
        self.mode == Mode::Accumulate
    }
}
