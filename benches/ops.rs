//! Every op at the shapes that it has in a step of the recipes in full size on the CPU: 256x256, 64 channels, batch 1.
//! The shapes stand with their ops in `tests/ops/kinds`.
//!
//! A step follows itself, so it finds its weights in a cache that holds them; in training they come from memory.

mod common;
#[expect(dead_code, reason = "what the rows test")]
#[path = "../tests/ops/kinds/mod.rs"]
mod kinds;

use std::time::Duration;

use common::rates::StepTime;
use criterion::{BenchmarkGroup, Criterion};
use kinds::{KINDS, Layer, Recording};
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::Cpu;
use pixtape::engine::philox::{Purpose, Stream};
use pixtape::engine::tensor::Tensor;

fn main() {
    common::run(all);
}

fn all(criterion: &mut Criterion<StepTime>) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(kind.name);
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        (kind.layers)().iter().for_each(|layer| bench(&mut group, layer));
        group.finish();
    }
}

/// Times the steps of `layer`; the others run beside them, as in training, and are not counted.
fn bench(group: &mut BenchmarkGroup<'_, StepTime>, layer: &Layer) {
    let mut cpu = None;
    let mut recording = Recording::default();
    (layer.record)(&mut recording);
    let program = recording.tape.finish();
    let timed = program.steps().iter().filter(|recorded| layer.steps.contains(&recorded.step().name()));
    group.throughput(common::throughput(timed));
    group.bench_function(&layer.name, |bencher| {
        // Only a bench that was asked for is set up.
        let cpu = cpu.get_or_insert_with(|| ready(layer));
        bencher.iter_custom(|executions| (0..executions).map(|_| time_of(cpu, &layer.steps)).sum());
    });
}

/// Draws that a large tensor repeats, so that setting up takes less time than measuring.
const DRAWS: usize = 1 << 16;

/// Fills `tensor` with draws from `low` to `high`. Zeros would not do: memory that was never written is not in memory.
fn fill(cpu: &mut Cpu<f32>, tensor: Tensor, [low, high]: [f32; 2]) {
    let mut stream = Stream::new(1, Purpose::Init, tensor.count() as u64);
    let draws: Vec<f32> = (0..DRAWS.min(tensor.count())).map(|_| stream.range(low, high)).collect();
    let values: Vec<f32> = draws.iter().copied().cycle().take(tensor.count()).collect();
    cpu.write(tensor, &values);
}

fn ready(layer: &Layer) -> Cpu<f32> {
    let mut recording = Recording::default();
    (layer.record)(&mut recording);
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let mut cpu = Cpu::new(recording.tape.finish(), control).expect("there is enough memory");
    for (tensor, range) in recording.given {
        fill(&mut cpu, tensor, range);
    }
    cpu
}

/// The time that the steps called `steps` take in one execution.
fn time_of(cpu: &mut Cpu<f32>, steps: &[&str]) -> Duration {
    let times = cpu.execute_timed();
    let named = cpu.program().steps().iter().zip(times);
    named.filter(|(recorded, _)| steps.contains(&recorded.step().name())).map(|(_, time)| time).sum()
}
