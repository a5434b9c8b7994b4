//! Helpers of the benches: threads, and the work of steps.

pub mod rates;

use criterion::{Criterion, Throughput};
use pixtape::config::available_threads;
use pixtape::engine::access::Access;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::program::RecordedStep;
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

/// The work of `steps`, all together: floating-point operations (a multiplication and an addition are two) and bytes,
/// those that are updated twice.
pub fn throughput<'a>(steps: impl Iterator<Item = &'a RecordedStep> + Clone) -> Throughput {
    let operations = 2 * steps.clone().map(|recorded| recorded.step().multiply_adds()).sum::<usize>();
    let bytes = |access: &Access| match access {
        Access::Update(tensor) => 2 * tensor.bytes(),
        Access::Read(tensor) | Access::Write(tensor) => tensor.bytes(),
        Access::ReadControl | Access::WriteControl => 0,
    };
    let bytes: usize = steps.flat_map(|recorded| recorded.accesses()).map(bytes).sum();
    match operations {
        0 => Throughput::BytesDecimal(bytes as u64),
        _ => Throughput::ElementsAndBytes { elements: operations as u64, bytes: bytes as u64 },
    }
}
