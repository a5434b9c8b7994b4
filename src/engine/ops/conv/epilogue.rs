//! Epilogues of convolutions: what a convolution does to its result before it writes it, in the place of a step behind
//! it.

use rayon::prelude::*;

use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, Real, ViewMut};
use crate::engine::kernel::cuda::{self, Ptr, kernels, to_int};
use crate::engine::ops::norm_act::Activation;
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

/// Elements of one task.
const TASK: usize = 1 << 14;

/// Calls `work` with the index and the values of each pixel, in parallel.
fn for_each_pixel<T: Real>(out: &mut ViewMut<'_, T>, work: impl Fn(usize, &mut [T]) + Send + Sync) {
    let (channels, stride) = (out.channels(), out.stride);
    let pixels = out.data.par_chunks_mut(stride).with_min_len(TASK.div_ceil(channels)).enumerate();
    pixels.for_each(|(p, pixel)| work(p, &mut pixel[..channels]));
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

    /// Writes the addend to `out`, where there is one. The convolution has to add its result then, and returns true.
    pub(super) fn begin<T: Real>(self, context: &cpu::Context<'_, T>, out: &mut ViewMut<'_, T>) -> bool {
        let Epilogue::ActivationGrad { addend: Some(addend), .. } = self else { return false };
        let addend = context.read(addend);
        for_each_pixel(out, |p, pixel| pixel.copy_from_slice(addend.pixel(p)));
        true
    }

    /// Applies the epilogue to `out`, which has the result with the addend.
    pub(super) fn finish<T: Real>(self, context: &cpu::Context<'_, T>, out: &mut ViewMut<'_, T>) {
        match self {
            Epilogue::None => {}
            Epilogue::Activation(activation) => {
                let slope = T::from_f64(activation.negative_slope());
                for_each_pixel(out, |_, pixel| {
                    for value in pixel {
                        *value = if *value > T::zero() { *value } else { *value * slope };
                    }
                });
            }
            Epilogue::ActivationGrad { activation, y, .. } => {
                let (y, slope) = (context.read(y), T::from_f64(activation.negative_slope()));
                for_each_pixel(out, |p, pixel| {
                    for (gradient, &y) in pixel.iter_mut().zip(y.pixel(p % y.pixels())) {
                        *gradient = if y > T::zero() { *gradient } else { *gradient * slope };
                    }
                });
            }
        }
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
