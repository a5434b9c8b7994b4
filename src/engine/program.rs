//! A recorded program: a list of steps over buffers, the same for every device.
//!
//! The one idea: a step says which tensors it reads and writes. Everything else follows from that: the order that must
//! be kept, which buffers may share memory, and what a device may hand to a kernel.

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::access::{Access, Destination};
use crate::engine::kernel::cpu::CpuKernel;
use crate::engine::kernel::cuda::CudaStep;
use crate::engine::tensor::{BufferId, DType, Region, Shape, Tensor};

/// One operation of a program over fixed tensors, such as the forward pass of a convolution or an Adam update. It says
/// what it reads and writes, has kernels for the CPU and for CUDA, and may have a derivative.
pub trait Step: Any + Debug + Send + Sync + CpuKernel<f32> + CpuKernel<f64> + CudaStep {
    /// The name of the step, for reports and errors.
    fn name(&self) -> &'static str;

    /// Everything that the step reads and writes, always in the same order.
    fn accesses(&self) -> Vec<Access>;

    /// Multiply-adds of the step: two floating-point operations each. Only convolutions count them.
    fn multiply_adds(&self) -> usize {
        0
    }

    /// Rows of the input that one row of the output depends on: the receptive field of this step alone. The statistics
    /// of a norm, which depend on all pixels, do not count.
    fn receptive_field(&self) -> usize {
        1
    }

    /// The same step on other tensors: in the place of each of its tensors, the one that `moved` gives. `None` for a
    /// step that does not support it.
    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let _ = moved;
        None
    }

    /// The derivative of this step; `None` for steps that have no derivative (gradients and updates).
    fn rule(&self) -> Option<&dyn Rule> {
        None
    }
}

/// The derivative rule of a step with one output: it records the steps that compute the gradients of the inputs from
/// the gradient of the output.
pub trait Rule {
    /// The tensor whose gradient the rule passes on.
    fn output(&self) -> Tensor;

    /// Records the steps that turn `dy`, the gradient of the output, into gradients of the inputs.
    ///
    /// `dy` may cover only some images of the batch; [`Backward::at`] narrows the tensors of the forward step to them.
    fn backward(&self, dy: Tensor, backward: &mut dyn Backward);
}

/// The recording of a backward pass as a [`Rule`] sees it: the rule asks it for the destinations of gradients, and
/// appends steps that write there.
pub trait Backward {
    /// `activation`, a tensor of the forward step, narrowed to the images that `dy` covers.
    fn at(&self, activation: Tensor) -> Tensor;

    /// Index, in the forward step's batch, of the first image that `dy` covers.
    fn first_image(&self) -> usize;

    /// The range of channels of `input` outside of which no gradient is needed; `None` if none is needed at all.
    fn needed_channels(&self, input: Tensor) -> Option<Range<usize>>;

    /// The destination of the gradient of `input`; `None` if that gradient is not needed.
    fn destination(&mut self, input: Tensor) -> Option<Destination>;

    /// A tensor whose values last from its writer to its last reader.
    fn transient(&mut self, dtype: DType, shape: Shape) -> Tensor;

    /// Appends `step` to the recording.
    fn push_shared(&mut self, step: Arc<dyn Step>);
}

impl dyn Backward + '_ {
    /// Appends `step` to the recording.
    ///
    /// # Panics
    /// As [`RecordedStep::new`].
    pub fn push(&mut self, step: impl Step + 'static) {
        self.push_shared(Arc::new(step));
    }
}

/// The lifetime of a buffer's values: kept from one execution of the program to the next, or from first writer to last
/// reader within one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Kept from one execution to the next, and zero at first: parameters, moments, inputs, losses.
    Persistent,
    /// Kept from the first writer to the last reader; the memory serves other buffers before and after.
    Transient,
}

/// A contiguous piece of memory that a program uses: its element type, shape and lifetime. A device gives it an
/// address.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub dtype: DType,
    pub shape: Shape,
    pub lifetime: Lifetime,
}

impl Buffer {
    /// Number of elements, the product of the shape.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All buffers of a program, by [`BufferId`].
#[derive(Clone, Debug, Default)]
pub struct Buffers(Vec<Buffer>);

impl Buffers {
    /// Adds a buffer of this element type, shape and lifetime, and returns the tensor that covers all of it.
    pub fn add(&mut self, dtype: DType, shape: Shape, lifetime: Lifetime) -> Tensor {
        self.0.push(Buffer { dtype, shape, lifetime });
        Tensor { buffer: BufferId(self.0.len() - 1), dtype, offset: 0, shape, stride: shape[3], detached: false }
    }

    /// Makes a buffer persistent.
    pub(crate) fn keep(&mut self, id: BufferId) {
        self.0[id.0].lifetime = Lifetime::Persistent;
    }

    /// Removes the elements of a buffer, so that it takes no memory. No step may access it any more.
    pub(crate) fn remove(&mut self, id: BufferId) {
        self.0[id.0].shape = [0; 4];
    }

    pub fn get(&self, id: BufferId) -> &Buffer {
        &self.0[id.0]
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (BufferId, &Buffer)> {
        self.0.iter().enumerate().map(|(i, buffer)| (BufferId(i), buffer))
    }

    /// The region of its buffer that `tensor` covers: a row for each pixel and a column for each channel. Where the
    /// tensor's stride is not the buffer's number of channels (a weight in a flat parameter buffer), the buffer counts
    /// as one row, and the tensor covers its whole span.
    pub fn region(&self, tensor: Tensor) -> Region {
        let pitch = self.get(tensor.buffer).shape[3];
        let (rows, columns) = if tensor.stride == pitch {
            let (row, column) = (tensor.offset / pitch, tensor.offset % pitch);
            (row..row + tensor.pixels(), column..column + tensor.channels())
        } else {
            (0..1, tensor.span())
        };
        Region { buffer: tensor.buffer, rows, columns }
    }
}

/// An access by its region, for the comparison of two accesses.
pub(crate) struct Touch {
    /// `None` for the control values.
    region: Option<Region>,
    writes: bool,
}

impl Touch {
    pub fn new(access: &Access, buffers: &Buffers) -> Touch {
        Touch { region: access.tensor().map(|t| buffers.region(t)), writes: access.writes() }
    }

    /// True if the order of the two accesses matters: they share elements, or are both to the control values, and at
    /// least one of them writes.
    pub fn conflicts(&self, other: &Touch) -> bool {
        (self.writes || other.writes)
            && match (&self.region, &other.region) {
                (Some(a), Some(b)) => a.overlaps(b),
                (None, None) => true,
                _ => false,
            }
    }
}

/// A [`Step`] of a program with the list of its accesses to memory, which have been checked.
#[derive(Clone, Debug)]
pub struct RecordedStep {
    pub(crate) step: Arc<dyn Step>,
    pub(crate) accesses: Vec<Access>,
    pub(crate) layer: Arc<str>,
}

impl RecordedStep {
    /// Wraps `step` of the layer called `layer` with the list of its accesses, after checking these.
    ///
    /// # Panics
    /// If the pixels of a tensor overlap, or the span of a tensor that the step writes overlaps the span of another of
    /// its tensors: kernels get spans as slices, which must not alias. That is a bug of an op, never of its caller.
    pub fn new(step: Arc<dyn Step>, layer: Arc<str>) -> RecordedStep {
        let accesses = step.accesses();
        for tensor in accesses.iter().filter_map(Access::tensor) {
            assert!(tensor.stride >= tensor.channels(), "{}: pixels of {tensor:?} overlap", step.name());
        }
        let tensors = || accesses.iter().enumerate().filter_map(|(i, a)| Some((i, a, a.tensor()?)));
        for (i, access, written) in tensors().filter(|(_, access, _)| access.writes()) {
            for (_, _, other) in tensors().filter(|&(j, _, t)| j != i && t.buffer == written.buffer) {
                let (a, b) = (written.span(), other.span());
                assert!(a.end <= b.start || b.end <= a.start, "{}: {access:?} reaches into {other:?}", step.name());
            }
        }
        RecordedStep { step, accesses, layer }
    }

    pub fn step(&self) -> &dyn Step {
        &*self.step
    }

    /// The layer that the step belongs to, as [`Tape::layer`](crate::engine::tape::Tape::layer) named it; empty for a
    /// step of no layer. The steps of a gradient belong to the layer that they differentiate.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// The accesses to memory, in the order of [`Step::accesses`].
    pub fn accesses(&self) -> &[Access] {
        &self.accesses
    }
}

/// A copy `to = from` that no execution makes: a device makes it whenever the host has written elements of `from`.
/// Only a rewrite pass records it. No step writes `from` or `to`.
#[derive(Clone, Debug)]
pub struct HostCopy {
    pub(crate) from: Tensor,
    pub(crate) to: Tensor,
    /// The step that copies.
    pub(crate) step: RecordedStep,
}

/// A finished tape: buffers, and steps over them in recorded order. It is recorded once; a device plans its memory and
/// executes it again and again.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) buffers: Buffers,
    pub(crate) steps: Vec<RecordedStep>,
    /// Steps, from the first on, that an execution runs. Those after them run on demand, over the same buffers.
    pub(crate) main: usize,
    /// Copies of what the host writes, which are not among the steps; none as recorded.
    pub(crate) host_copies: Vec<HostCopy>,
}

impl Program {
    /// The buffers of all steps, the on-demand ones included.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The number of steps in the main part, which is what one execution runs: the first ones in recorded order. The
    /// steps after them run on demand.
    pub fn main_steps(&self) -> usize {
        self.main
    }

    /// All steps in recorded order: those of the main part, then the on-demand ones.
    pub fn steps(&self) -> &[RecordedStep] {
        &self.steps
    }

    /// The copies to be made when the host has written `written`: those whose source shares elements with it.
    pub(crate) fn host_copies_of(&self, written: Tensor) -> impl Iterator<Item = &HostCopy> {
        let region = self.buffers.region(written);
        self.host_copies.iter().filter(move |copy| self.buffers.region(copy.from).overlaps(&region))
    }
}
