//! The weight gradient of a convolution fused with the Adam update of the weight. Only a rewrite uses this step
//! ([`adam_in_wgrad`](crate::engine::rewrite)).

use std::ops::Range;

use super::cpu::{for_each_weight_gradient, weight_gradient_scratch, weight_gradient_workspace};
use super::{Geometry, Wgrad, dot, few, map, wgrad_patch};
use crate::engine::access::{Access, Destination};
use crate::engine::kernel::cpu::{self, CpuKernel, Real, SharedMut};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, Scratch};
use crate::engine::ops::adam::{AdamOptions, Update, adam_launch, adam_state};
use crate::engine::program::Step;
use crate::engine::tensor::Tensor;

/// The step that computes the weight gradient of a convolution from `x` and `dy`, as [`Wgrad`] does, and updates
/// `weight` and its moments `first` and `second` by it, as [`Adam`](crate::engine::ops::adam::Adam) does. The gradient
/// is not kept.
#[derive(Debug)]
pub struct WgradAdam {
    pub x: Tensor,
    pub dy: Tensor,
    pub weight: Tensor,
    pub first: Tensor,
    pub second: Tensor,
    pub geometry: Geometry,
    pub options: AdamOptions,
}

impl Step for WgradAdam {
    fn name(&self) -> &'static str {
        "conv_wgrad_adam"
    }

    fn accesses(&self) -> Vec<Access> {
        let state = [self.weight, self.first, self.second].map(Access::Update);
        [Access::Read(self.dy), Access::Read(self.x)].into_iter().chain(state).chain([Access::ReadControl]).collect()
    }

    fn multiply_adds(&self) -> usize {
        self.dy.pixels() * self.weight.count()
    }
}

impl<T: Real> CpuKernel<T> for WgradAdam {
    fn workspace(&self) -> usize {
        weight_gradient_workspace::<T>(self.x, self.dy, self.geometry)
    }

    fn task_scratch(&self) -> usize {
        weight_gradient_scratch::<T>(self.x, self.dy, self.geometry)
    }

    fn run(&self, context: &cpu::Context<'_, T>) {
        let update = Update::<T>::new(self.options, context.control());
        let state = [self.weight, self.first, self.second];
        let [weight, first, second] = state.map(|tensor| SharedMut::new(context.write(Access::Update(tensor)).data));
        let row = self.geometry.taps() * self.x.channels();
        let ahead = |filter: usize, columns: Range<usize>| {
            let range = filter * row + columns.start..filter * row + columns.end;
            [weight, first, second].iter().for_each(|state| state.prefetch(range.clone()));
        };
        for_each_weight_gradient(context, self.x, self.dy, self.geometry, ahead, |filter, columns, gradient| {
            let range = filter * row + columns.start..filter * row + columns.end;
            // SAFETY: each range of a filter is handed out once.
            let [weight, first, second] = [weight, first, second].map(|state| unsafe { state.slice(range.clone()) });
            update.apply(weight, gradient, first, second);
        });
    }
}

impl CudaKernel for WgradAdam {
    const IMPLEMENTATIONS: &'static [Implementation<WgradAdam>] = &[
        dot::WGRAD_ADAM,
        few::WGRAD_ADAM,
        wgrad_patch::WGRAD_ADAM,
        map::WGRAD_ADAM,
        // The two kernels one after the other, with the gradient in scratch memory.
        Implementation::plain(|step: &WgradAdam, context| {
            let WgradAdam { x, dy, weight, first, second, geometry, options } = *step;
            let gradient = context.workspace::<f32>();
            let wgrad = Wgrad { x, dy, dw: Destination::overwrite(weight), geometry };
            let state = adam_state(context, [weight, first, second], options);
            vec![wgrad.launch(context, gradient), adam_launch(weight.count(), state, gradient.as_ptr())]
        })
        .with_scratch(|step, _| Scratch::bytes(step.weight.bytes())),
    ];
}
