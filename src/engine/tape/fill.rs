//! The fill step: zeros for regions of a gradient that have no writer. It is the only step that the tape itself
//! records.

use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Element, Real, ViewMut};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, kernels, to_int};
use crate::engine::program::Step;
use crate::engine::tensor::{DType, Tensor};

/// Sets every element of `tensor` to `value`.
#[derive(Debug)]
pub(super) struct Fill {
    pub tensor: Tensor,
    pub value: f64,
}

impl Step for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Write(self.tensor)]
    }
}

impl<T: Real> CpuKernel<T> for Fill {
    fn run(&self, context: &cpu::Context<'_, T>) {
        let (access, value) = (Access::Write(self.tensor), T::from_f64(self.value));
        match self.tensor.dtype {
            DType::F32 => fill(context.write(access), value),
            DType::Bf16 => fill(context.write_as::<T::Bf16>(access), value.to_bf16()),
        }
    }
}

fn fill<E: Element>(mut tensor: ViewMut<'_, E>, value: E) {
    for p in 0..tensor.pixels() {
        tensor.pixel(p).fill(value);
    }
}

impl CudaKernel for Fill {
    const IMPLEMENTATIONS: &'static [Implementation<Fill>] = &[Implementation::plain(|fill, context| {
        let Fill { tensor, value } = *fill;
        let [pixels, channels, stride] = [tensor.pixels(), tensor.channels(), tensor.stride].map(to_int);
        let (access, value) = (Access::Write(tensor), value as f32);
        vec![match tensor.dtype {
            DType::F32 => {
                let argument = kernels::Fill { to: context.write(access), pixels, channels, stride, value };
                kernels::FILL.launch_for(tensor.count(), argument)
            }
            DType::Bf16 => {
                let argument = kernels::FillBf16 { to: context.write(access), pixels, channels, stride, value };
                kernels::FILL_BF16.launch_for(tensor.count(), argument)
            }
        }]
    })];
}
