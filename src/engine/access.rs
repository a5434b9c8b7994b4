//! The accesses of steps to memory, and the modes in which gradients are written.

use super::tensor::Tensor;

/// One access of a step to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read(Tensor),
    /// Writes every element without looking at what was there.
    Write(Tensor),
    /// Reads and writes.
    Update(Tensor),
    /// Reads the values that change from one execution to the next ([`Control`]).
    ReadControl,
    /// Moves them on.
    WriteControl,
}

impl Access {
    /// The tensor, of an access to memory.
    pub fn tensor(&self) -> Option<Tensor> {
        match *self {
            Access::Read(t) | Access::Write(t) | Access::Update(t) => Some(t),
            Access::ReadControl | Access::WriteControl => None,
        }
    }

    /// True if it may change what it touches.
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

/// The way in which a gradient is written. The tape decides, the ops obey.
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
    pub fn overwrite(tensor: Tensor) -> Destination {
        Destination { tensor, mode: Mode::Overwrite }
    }

    /// The same at the tensor that `moved` gives.
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
