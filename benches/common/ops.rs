//! Every op at the shapes that it has in a step of the recipes in full size: 256x256, 64 channels, batch 1. The shapes
//! stand with their ops in `tests/ops/kinds`. The benches `ops` and `cuda` run them on the CPU and on a GPU.
//!
//! Here a step follows itself, so it finds its weights in a cache that holds them; in training they come from memory.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use pixtape::engine::access::{Access, Control};
use pixtape::engine::device::{Device, DeviceId, DeviceOptions};

use crate::common;
use crate::common::rates::StepTime;
use crate::kinds::{KINDS, Layer, Recording};

/// Benches every op on `device`. Names begin with `prefix`, so that criterion does not compare one device with another.
pub fn all(criterion: &mut Criterion<StepTime>, device: DeviceId, prefix: &str) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(format!("{prefix}{}", kind.name));
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        (kind.layers)().iter().for_each(|layer| bench(&mut group, layer, device));
        group.finish();
    }
}

/// Times the steps of `layer`; the others run beside them, as in training, and are not counted.
fn bench(group: &mut BenchmarkGroup<'_, StepTime>, layer: &Layer, id: DeviceId) {
    let mut device = None;
    let mut recording = Recording::default();
    (layer.record)(&mut recording);
    let program = recording.tape.finish();
    let timed = || program.steps().iter().filter(|recorded| layer.steps.contains(&recorded.step().name()));
    // A multiplication and an addition count as two; what is updated is read and written.
    let operations = 2 * timed().map(|recorded| recorded.step().multiply_adds()).sum::<usize>();
    let bytes = |access: &Access| match access {
        Access::Update(tensor) => 2 * tensor.bytes(),
        Access::Read(tensor) | Access::Write(tensor) => tensor.bytes(),
        Access::ReadControl | Access::WriteControl => 0,
    };
    let bytes: usize = timed().flat_map(|recorded| recorded.accesses()).map(bytes).sum();
    group.throughput(match operations {
        0 => Throughput::BytesDecimal(bytes as u64),
        _ => Throughput::ElementsAndBytes { elements: operations as u64, bytes: bytes as u64 },
    });
    group.bench_function(&layer.name, |bencher| {
        // Only a bench that was asked for is set up.
        let device = device.get_or_insert_with(|| ready(layer, id));
        bencher.iter_custom(|executions| (0..executions).map(|_| time_of(device, &layer.steps)).sum());
    });
}

fn ready(layer: &Layer, id: DeviceId) -> Device {
    let mut recording = Recording::default();
    (layer.record)(&mut recording);
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let options = DeviceOptions { cuda_graph: false, rewrite: false };
    let mut device = Device::new(recording.tape.finish(), control, id, options).expect("there is enough memory");
    for (tensor, range) in recording.given {
        common::fill(&mut device, tensor, range);
    }
    device
}

/// The time that the steps called `steps` take in one execution.
fn time_of(device: &mut Device, steps: &[&str]) -> Duration {
    let times = device.execute_timed().expect("the device works");
    let named = device.program().steps().iter().zip(times);
    named.filter(|(recorded, _)| steps.contains(&recorded.step().name())).map(|(_, time)| time).sum()
}
