//! Convolutions on CUDA: the implementations of their steps, and the choice between them.

use super::{Dgrad, Fprop, Geometry, Wgrad, WgradAdam, dot, few, map, narrow, patch, wgrad_patch};
use crate::engine::kernel::cuda::kernels::{
    self, CONV_DGRAD_4X4S2, CONV_DGRAD_ANY, CONV_FPROP_4X4S2, CONV_FPROP_ANY, CONV_WGRAD_4X4S2, CONV_WGRAD_ANY,
    ConvDgrad, ConvFprop, ConvWgrad, ConvWgradAdam, ConvWgradGrad,
};
use crate::engine::kernel::cuda::{Context, CudaKernel, Implementation, Kernel, Launch, Ptr, PtrMut, Shares, to_int};
use crate::engine::ops::adam::adam_state;
use crate::engine::tensor::Tensor;

impl CudaKernel for Fprop {
    const IMPLEMENTATIONS: &'static [Implementation<Fprop>] = &[
        narrow::FPROP,
        dot::FPROP,
        few::FPROP,
        patch::FPROP,
        map::FPROP,
        Implementation::plain(|fprop, context| {
            let kernel = instance(fprop.geometry, &CONV_FPROP_4X4S2, &CONV_FPROP_ANY);
            vec![kernel.launch_for(fprop.y.tensor.count(), fprop.argument(context))]
        }),
    ];
}

impl CudaKernel for Dgrad {
    const IMPLEMENTATIONS: &'static [Implementation<Dgrad>] = &[
        few::DGRAD,
        dot::DGRAD,
        patch::DGRAD,
        map::DGRAD,
        Implementation::plain(|dgrad, context| {
            let kernel = instance(dgrad.geometry, &CONV_DGRAD_4X4S2, &CONV_DGRAD_ANY);
            vec![kernel.launch_for(dgrad.dx.tensor.count(), dgrad.argument(context))]
        }),
    ];
}

impl CudaKernel for Wgrad {
    const IMPLEMENTATIONS: &'static [Implementation<Wgrad>] = &[
        narrow::WGRAD,
        dot::WGRAD,
        few::WGRAD,
        wgrad_patch::WGRAD,
        map::WGRAD,
        Implementation::plain(|wgrad, context| vec![wgrad.launch(context, context.write(wgrad.dw.access()))]),
    ];
}

impl Wgrad {
    /// The launch that writes the gradient to `dw`.
    pub(super) fn launch(&self, context: &Context<'_>, dw: PtrMut<f32>) -> Launch {
        let argument = ConvWgrad {
            x: context.read(self.x),
            dy: context.read(self.dy),
            dw,
            x_shape: self.x.into(),
            dy_shape: self.dy.into(),
            geometry: self.geometry.into(),
            accumulate: i32::from(self.dw.accumulates()),
        };
        let kernel = instance(self.geometry, &CONV_WGRAD_4X4S2, &CONV_WGRAD_ANY);
        kernel.launch_for(self.dw.tensor.count(), argument)
    }
}

impl Fprop {
    pub(super) fn argument(&self, context: &Context<'_>) -> ConvFprop {
        ConvFprop {
            x: context.read(self.x),
            weight: context.read(self.weight),
            bias: bias_pointer(self.bias, context),
            y: context.write(self.y.access()),
            x_shape: self.x.into(),
            y_shape: self.y.tensor.into(),
            geometry: self.geometry.into(),
            epilogue: self.epilogue.argument(context),
            accumulate: i32::from(self.y.accumulates()),
        }
    }
}

impl Dgrad {
    pub(super) fn argument(&self, context: &Context<'_>) -> ConvDgrad {
        ConvDgrad {
            dy: context.read(self.dy),
            weight: context.read(self.weight),
            bias: bias_pointer(self.bias, context),
            dx: context.write(self.dx.access()),
            dy_shape: self.dy.into(),
            dx_shape: self.dx.tensor.into(),
            geometry: self.geometry.into(),
            epilogue: self.epilogue.argument(context),
            weight_stride: to_int(self.weight.stride),
            accumulate: i32::from(self.dx.accumulates()),
        }
    }
}

impl Wgrad {
    /// The argument of a kernel whose tiles `shares` blocks share.
    pub(super) fn shared_argument(&self, context: &Context<'_>, shares: &Shares) -> ConvWgradGrad {
        ConvWgradGrad {
            wgrad: shared_wgrad(context, [self.x, self.dy], self.geometry, shares),
            dweight: context.write(self.dw.access()),
            accumulate: i32::from(self.dw.accumulates()),
        }
    }
}

impl WgradAdam {
    /// As [`Wgrad::shared_argument`], with the update by the gradient.
    pub(super) fn shared_argument(&self, context: &Context<'_>, shares: &Shares) -> ConvWgradAdam {
        ConvWgradAdam {
            wgrad: shared_wgrad(context, [self.x, self.dy], self.geometry, shares),
            state: adam_state(context, [self.weight, self.first, self.second], self.options),
        }
    }
}

fn shared_wgrad(
    context: &Context<'_>,
    [x, dy]: [Tensor; 2],
    geometry: Geometry,
    shares: &Shares,
) -> kernels::ConvWgradShared {
    let (sums, tickets) = context.shared(shares);
    kernels::ConvWgradShared {
        x: context.read(x),
        dy: context.read(dy),
        sums,
        tickets,
        x_shape: x.into(),
        dy_shape: dy.into(),
        geometry: geometry.into(),
        shares: to_int(shares.shares),
    }
}

/// The instance of a kernel for [`Geometry::HALVING`], or the one for any geometry.
fn instance<'a, A>(geometry: Geometry, halving: &'a Kernel<A>, any: &'a Kernel<A>) -> &'a Kernel<A> {
    if geometry == Geometry::HALVING { halving } else { any }
}

/// The address of the bias, or null.
pub(super) fn bias_pointer(bias: Option<Tensor>, context: &Context<'_>) -> Ptr<f32> {
    bias.map_or(Ptr::NULL, |bias| context.read(bias))
}

impl From<Geometry> for kernels::Geometry {
    fn from(geometry: Geometry) -> kernels::Geometry {
        let Geometry { kernel, stride, dilation, pad } = geometry;
        let ([kernel_rows, kernel_columns], [pad_top, pad_left]) = (kernel.map(to_int), pad.map(to_int));
        kernels::Geometry {
            kernel_rows,
            kernel_columns,
            stride: to_int(stride),
            dilation: to_int(dilation),
            pad_top,
            pad_left,
        }
    }
}
