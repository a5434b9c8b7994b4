//! Casts on CUDA.

use super::Cast;
use crate::engine::kernel::cuda::kernels::{
    CAST_FROM_BF16, CAST_FROM_BF16_TMA, CAST_TO_BF16, CastFromBf16, CastFromBf16Tma, CastToBf16,
};
use crate::engine::kernel::cuda::{Attribute, CudaKernel, Implementation, Scratch, is_aligned, to_int};

/// Pixels and channels of the box that a block loads to shared memory.
const BOX: [usize; 2] = [256, 128];
/// Bytes of shared memory: the box and an mbarrier.
const SHARED: usize = BOX[0] * BOX[1] * 2 + 8;

impl CudaKernel for Cast {
    const IMPLEMENTATIONS: &'static [Implementation<Cast>] = &[
        // Loads by the tensor memory accelerator (TMA) of Hopper GPUs. Its speed has not been measured, so it is never
        // preferred: it is a test of tensor maps, dynamic shared memory and launch attributes.
        Implementation {
            name: "tma",
            runs: |cast, gpu| {
                let may_have_map = gpu.capability.0 == 9 && gpu.shared_memory >= SHARED && is_aligned(cast.x, 8);
                !cast.is_to_bf16() && may_have_map
            },
            pays: |_, _| false,
            scratch: |_, _| Scratch::bytes(0),
            launches: |cast, context| {
                let (x, y) = (cast.x, cast.y.tensor);
                let argument = CastFromBf16Tma {
                    map: context.tensor_map(x, BOX),
                    y: context.write(cast.y.access()),
                    pixels: to_int(x.pixels()),
                    channels: to_int(x.channels()),
                    y_stride: to_int(y.stride),
                    accumulate: i32::from(cast.y.accumulates()),
                };
                let blocks = [x.channels().div_ceil(BOX[1]), x.pixels().div_ceil(BOX[0]), 1];
                vec![CAST_FROM_BF16_TMA.launch(blocks, argument).shared(SHARED).attribute(Attribute::Priority(0))]
            },
        },
        Implementation::plain(|cast, context| {
            let (x, y) = (cast.x, cast.y.tensor);
            let (pixels, channels) = (to_int(x.pixels()), to_int(x.channels()));
            let (x_stride, y_stride) = (to_int(x.stride), to_int(y.stride));
            let accumulate = i32::from(cast.y.accumulates());
            vec![if cast.is_to_bf16() {
                let (x, y) = (context.read(x), context.write(cast.y.access()));
                let argument = CastToBf16 { x, y, pixels, channels, x_stride, y_stride, accumulate };
                CAST_TO_BF16.launch_for(cast.x.count(), argument)
            } else {
                let (x, y) = (context.read(x), context.write(cast.y.access()));
                let argument = CastFromBf16 { x, y, pixels, channels, x_stride, y_stride, accumulate };
                CAST_FROM_BF16.launch_for(cast.x.count(), argument)
            }]
        }),
    ];
}
