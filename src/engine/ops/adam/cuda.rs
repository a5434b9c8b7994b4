//! Adam on CUDA.

use super::{Adam, AdamOptions, Advance};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{ADAM_UPDATE, AdamUpdate, CONTROL_ADVANCE, ControlAdvance};
use crate::engine::kernel::cuda::{CudaKernel, DeviceControl, Implementation, Launch, Ptr, PtrMut, to_int};

/// The most blocks of an update. Each computes the bias corrections once, for all of its elements.
const MOST_BLOCKS: usize = 4096;

impl CudaKernel for Adam {
    const IMPLEMENTATIONS: &'static [Implementation<Adam>] = &[Implementation::plain(|adam, context| {
        let state = [adam.parameters, adam.first, adam.second].map(|tensor| context.write(Access::Update(tensor)));
        let count = adam.parameters.count();
        vec![adam_launch(count, adam.options, context.control(), state, context.read(adam.gradients))]
    })];
}

/// Returns the kernel launch that updates `count` parameters by Adam. `state` holds the parameters, the first moments
/// and the second moments, in this order.
pub fn adam_launch(
    count: usize,
    options: AdamOptions,
    control: Ptr<DeviceControl>,
    state: [PtrMut<f32>; 3],
    gradients: Ptr<f32>,
) -> Launch {
    let [parameters, first, second] = state;
    let AdamOptions { beta1, beta2, epsilon } = options;
    let argument =
        AdamUpdate { parameters, gradients, first, second, control, count: to_int(count), beta1, beta2, epsilon };
    ADAM_UPDATE.launch(count.div_ceil(ADAM_UPDATE.threads()).min(MOST_BLOCKS), argument)
}

impl CudaKernel for Advance {
    const IMPLEMENTATIONS: &'static [Implementation<Advance>] = &[Implementation::plain(|_, context| {
        vec![CONTROL_ADVANCE.launch(1, ControlAdvance { control: context.control_mut() })]
    })];
}
