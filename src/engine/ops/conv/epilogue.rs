//! Epilogues of convolutions: what a convolution does to its result before it writes it, in the place of a step behind
//! it.

use std::ops::Range;

use crate::engine::access::{Access, Destination};
use crate::engine::kernel::cpu::{self, Operand, Output, Real};
use crate::engine::kernel::cuda::{self, Ptr, kernels, to_int};
use crate::engine::ops::norm_act::{Activation, activated};
use crate::engine::tensor::Tensor;

/// The epilogue of a convolution: the function of its result that it writes. Recorded convolutions have none; a rewrite
/// puts steps without a norm there ([`activation_in_conv`](mod@crate::engine::rewrite)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epilogue {
    None,
    /// The activation of the result.
    Activation(Activation),
    /// The gradient of an activation's input, where the result, after `addend` has been added, is that of its output:
    /// `(addend + result) * activation'(y)`. `y` is the output; it has the shape of the result, or fewer images: image
    /// i belongs to image `i % n` of the n of `y`. `addend` has the shape of the result.
    ActivationGrad {
        activation: Activation,
        y: Tensor,
        addend: Option<Tensor>,
    },
}

/// The end of a convolution on the CPU, which makes pixels of sums: an [`Epilogue`], the bias, and the output.
pub(super) struct PixelEpilogue<'a, T: Real> {
    output: Output<'a, T>,
    bias: Option<&'a [T]>,
    slope: T,
    y: Option<Operand<'a, T>>,
    addend: Option<Operand<'a, T>>,
    accumulates: bool,
}

impl<T: Real> PixelEpilogue<'_, T> {
    /// Writes some channels of pixel `p` of the output from their `sums`, which change: the addend, or the output
    /// itself if the convolution adds to it, is added to them, then the bias, and the activation or the gradient of one
    /// is applied.
    ///
    /// # Safety
    /// Nobody else accesses these channels of the output.
    #[inline(always)]
    pub unsafe fn write(&self, p: usize, channels: Range<usize>, sums: &mut [T]) {
        if let Some(addend) = &self.addend {
            addend.zip(
                p,
                channels.clone(),
                &mut *sums,
                #[inline(always)]
                |sum, addend| *sum += addend,
            );
        } else if self.accumulates {
            // SAFETY: the caller's promise.
            unsafe { self.output.add_to(p, channels.start, sums) };
        }
        if let Some(bias) = self.bias {
            sums.iter_mut().zip(&bias[channels.clone()]).for_each(|(x, &bias)| *x += bias);
        }
        let slope = self.slope;
        match &self.y {
            None if slope == T::one() => {}
            None => sums.iter_mut().for_each(|x| *x = activated(*x, *x, slope)),
            Some(y) => y.zip(
                p % y.pixels(),
                channels.clone(),
                &mut *sums,
                #[inline(always)]
                |sum, y| *sum = activated(y, *sum, slope),
            ),
        }
        // SAFETY: the caller's promise.
        unsafe { self.output.write(p, channels.start, sums) };
    }
}

impl Epilogue {
    /// The accesses to memory.
    pub(super) fn accesses(self) -> impl Iterator<Item = Access> {
        let [y, addend] = match self {
            Epilogue::ActivationGrad { y, addend, .. } => [Some(y), addend],
            Epilogue::None | Epilogue::Activation(_) => [None, None],
        };
        [y, addend].into_iter().flatten().map(Access::Read)
    }

    /// The same epilogue with `moved(tensor)` in the place of each of its tensors.
    pub(super) fn moved(self, moved: &dyn Fn(Tensor) -> Tensor) -> Epilogue {
        match self {
            Epilogue::ActivationGrad { activation, y, addend } => {
                Epilogue::ActivationGrad { activation, y: moved(y), addend: addend.map(moved) }
            }
            Epilogue::None | Epilogue::Activation(_) => self,
        }
    }

    /// The epilogue with the tensors that it accesses, for a convolution to `output` with this bias.
    pub(super) fn by_pixel<'a, T: Real>(
        self,
        context: &'a cpu::Context<'_, T>,
        bias: Option<&'a [T]>,
        output: Destination,
    ) -> PixelEpilogue<'a, T> {
        let (activation, y, addend) = match self {
            Epilogue::None => (Activation::Identity, None, None),
            Epilogue::Activation(activation) => (activation, None, None),
            Epilogue::ActivationGrad { activation, y, addend } => (activation, Some(y), addend),
        };
        let slope = T::from_f64(activation.negative_slope());
        let [y, addend] = [y, addend].map(|tensor| tensor.map(|tensor| context.operand(tensor)));
        let accumulates = output.accumulates();
        PixelEpilogue { output: context.output(output.access()), bias, slope, y, addend, accumulates }
    }

    /// The argument of the kernels.
    pub(super) fn argument(self, context: &cuda::Context<'_>) -> kernels::Epilogue {
        let none = kernels::Epilogue {
            y: Ptr::NULL,
            addend: Ptr::NULL,
            y_images: 1,
            y_stride: 0,
            addend_stride: 0,
            activates: 0,
            negative_slope: 1.0,
        };
        match self {
            Epilogue::None => none,
            Epilogue::Activation(activation) => {
                kernels::Epilogue { activates: 1, negative_slope: activation.negative_slope() as f32, ..none }
            }
            Epilogue::ActivationGrad { activation, y, addend } => kernels::Epilogue {
                y: context.read(y),
                addend: addend.map_or(Ptr::NULL, |addend| context.read(addend)),
                y_images: to_int(y.shape[0]),
                y_stride: to_int(y.stride),
                addend_stride: addend.map_or(0, |addend| to_int(addend.stride)),
                negative_slope: activation.negative_slope() as f32,
                ..none
            },
        }
    }

    /// The tensors of the epilogue, whose accesses have to be aligned like those of the result.
    pub(super) fn tensors(self) -> impl Iterator<Item = Tensor> {
        self.accesses().filter_map(|access| access.tensor())
    }
}
