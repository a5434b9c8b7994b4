//! Helpers of the benches: threads, and draws to fill tensors.

pub mod rates;

use criterion::Criterion;
use pixtape::config::available_threads;
use pixtape::engine::device::Device;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::philox::{Purpose, Stream};
use pixtape::engine::tensor::Tensor;
use rates::StepTime;

/// Runs `benches` with as many threads as the machine has.
pub fn run(benches: impl FnOnce(&mut Criterion<StepTime>) + Send) {
    let all = || {
        let mut criterion = Criterion::default().with_measurement(StepTime).configure_from_args();
        benches(&mut criterion);
        criterion.final_summary();
    };
    with_threads(available_threads(), all).expect("the machine has these threads");
}

/// Draws that a large tensor repeats, so that setting up takes less time than measuring.
const DRAWS: usize = 1 << 16;

/// Fills `tensor` with draws from `low` to `high`. Zeros would not do: memory that was never written is not in memory.
pub fn fill(device: &mut Device, tensor: Tensor, [low, high]: [f32; 2]) {
    let mut stream = Stream::new(1, Purpose::Init, tensor.count() as u64);
    let draws: Vec<f32> = (0..DRAWS.min(tensor.count())).map(|_| stream.range(low, high)).collect();
    let values: Vec<f32> = draws.iter().copied().cycle().take(tensor.count()).collect();
    device.write(tensor, &values).expect("the device works");
}
