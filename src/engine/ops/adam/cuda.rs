//! Adam on CUDA.

use super::{Adam, AdamOptions, Advance};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    ADAM_UPDATE, ADAM_UPDATE_WIDE, AdamState, AdamUpdate, CONTROL_ADVANCE, ControlAdvance,
};
use crate::engine::kernel::cuda::{
    Context, CudaKernel, Implementation, Kernel, Launch, Ptr, Scratch, begins_with_quad, to_int,
};
use crate::engine::tensor::Tensor;

/// The most blocks of an update. Each computes the bias corrections once, for all of its elements.
const MOST_BLOCKS: usize = 4096;

/// Elements of an access of 16 bytes.
const QUAD: usize = 4;

impl CudaKernel for Adam {
    const IMPLEMENTATIONS: &'static [Implementation<Adam>] = &[
        Implementation {
            name: "wide",
            runs: |adam, _| {
                let tensors = [adam.parameters, adam.gradients, adam.first, adam.second];
                tensors.into_iter().all(begins_with_quad)
            },
            pays: |_, _| true,
            scratch: |_, _| Scratch::bytes(0),
            launches: |adam, context| vec![adam.launch(&ADAM_UPDATE_WIDE, QUAD, context)],
        },
        Implementation::plain(|adam, context| vec![adam.launch(&ADAM_UPDATE, 1, context)]),
    ];
}

impl Adam {
    /// The launch of a kernel whose threads update `elements` parameters each time.
    fn launch(&self, kernel: &Kernel<AdamUpdate>, elements: usize, context: &Context<'_>) -> Launch {
        let state = adam_state(context, [self.parameters, self.first, self.second], self.options);
        update(kernel, elements, self.parameters.count(), state, context.read(self.gradients))
    }
}

/// Returns the kernels' description of parameters, first and second moments, given in this order, that a step updates.
pub fn adam_state(context: &Context<'_>, state: [Tensor; 3], options: AdamOptions) -> AdamState {
    let [parameters, first, second] = state.map(|tensor| context.write(Access::Update(tensor)));
    let AdamOptions { beta1, beta2, epsilon } = options;
    AdamState { parameters, first, second, control: context.control(), beta1, beta2, epsilon }
}

/// Returns the launch that updates `count` parameters by Adam.
pub fn adam_launch(count: usize, state: AdamState, gradients: Ptr<f32>) -> Launch {
    update(&ADAM_UPDATE, 1, count, state, gradients)
}

/// The blocks of `threads` threads that update `items` parameters or quads of them.
pub(super) fn blocks_for(items: usize, threads: usize) -> usize {
    items.div_ceil(threads).clamp(1, MOST_BLOCKS)
}

fn update(kernel: &Kernel<AdamUpdate>, elements: usize, count: usize, state: AdamState, gradients: Ptr<f32>) -> Launch {
    let blocks = blocks_for(count / elements, kernel.threads());
    kernel.launch(blocks, AdamUpdate { state, gradients, count: to_int(count) })
}

impl CudaKernel for Advance {
    const IMPLEMENTATIONS: &'static [Implementation<Advance>] = &[Implementation::plain(|_, context| {
        vec![CONTROL_ADVANCE.launch(1, ControlAdvance { control: context.control_mut() })]
    })];
}
