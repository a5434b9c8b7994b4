//! Every op at the shapes that it has in a step of the recipes in full size: 256x256, 64 channels, batch 1. The shapes
//! stand with their ops in `tests/ops/kinds`. The benches `ops` and `cuda` run them on the CPU and on a GPU.
//!
//! A step follows itself, so it finds its weights in a cache that holds them; in training they come from memory. On a
//! GPU both are measured: `warm`, and `cold`, behind writes to more memory than its L2 cache holds. The simulated GPU
//! has no times; there the requests of each kernel are counted and printed.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use pixtape::engine::access::{Access, Control};
use pixtape::engine::device::cuda::Cuda;
use pixtape::engine::device::cuda::counts::LineCounts;
use pixtape::engine::device::{Device, DeviceId, DeviceOptions};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::tape::Tape;

use crate::common;
use crate::common::rates::StepTime;
use crate::kinds::{KINDS, Layer, Recording};

/// Elements of f32 whose copy, 256 MB read and written, leaves nothing else in the cache of a GPU.
const FLUSH: usize = 1 << 25;

/// Blocks of a launch that the simulated GPU counts.
const COUNTED_BLOCKS: usize = 32;

/// Benches every op on `device`. Names begin with `prefix`, so that criterion does not compare one device with another.
pub fn all(criterion: &mut Criterion<StepTime>, device: DeviceId, prefix: &str) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(format!("{prefix}{}", kind.name));
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for layer in (kind.layers)() {
            match device {
                DeviceId::Cpu => bench(&mut group, &layer.name, &layer, device, false),
                DeviceId::Cuda(_) => {
                    for (cache, is_cold) in [("warm", false), ("cold", true)] {
                        bench(&mut group, &format!("{} {cache}", layer.name), &layer, device, is_cold);
                    }
                }
            }
        }
        group.finish();
    }
}

/// Times the steps of `layer` under the name `name`; the others run beside them, as in training, and are not counted.
/// If `is_cold`, the caches of the GPU hold nothing of theirs before each execution.
fn bench(group: &mut BenchmarkGroup<'_, StepTime>, name: &str, layer: &Layer, id: DeviceId, is_cold: bool) {
    let mut devices = None;
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
    group.bench_function(name, |bencher| {
        // Only a bench that was asked for is set up.
        let (device, flush) = devices.get_or_insert_with(|| {
            let mut device = ready(layer, id);
            let is_simulated = match &mut device {
                Device::Cuda(cuda) if cuda.info().is_simulated => {
                    print_counts(cuda, name, &layer.steps);
                    true
                }
                _ => false,
            };
            (device, (is_cold && !is_simulated).then(|| flush(id)))
        });
        let mut execution = || {
            if let Some(flush) = flush {
                flush.execute().and_then(|()| flush.wait()).expect("the device works");
            }
            time_of(device, &layer.steps)
        };
        bencher.iter_custom(|executions| (0..executions).map(|_| execution()).sum());
    });
}

/// A device whose execution writes more memory than a cache holds.
fn flush(id: DeviceId) -> Device {
    let mut tape = Tape::new();
    let [from, to] = [(); 2].map(|()| tape.persistent([1, 1, 1, FLUSH]));
    copy(&mut tape, from, to);
    let control = Control { seed: 1, step: 0, learning_rate: 0.0 };
    Device::new(tape.finish(), control, id, DeviceOptions::default()).expect("there is enough memory")
}

/// Prints what the simulated GPU counts of the steps called `steps`: a line for each launch of the bench `name`.
fn print_counts(cuda: &mut Cuda, name: &str, steps: &[&str]) {
    let counts = match cuda.execute_counted(COUNTED_BLOCKS, || ()) {
        Ok(counts) => counts,
        Err(reason) => return println!("{name}: not counted: {reason:#}"),
    };
    let named = cuda.program().steps().iter().zip(counts);
    let launches = named.filter(|(recorded, _)| steps.contains(&recorded.step().name())).flat_map(|(_, counts)| counts);
    for launch in launches {
        let sum = |count: fn(&LineCounts) -> u64| launch.lines.iter().map(count).sum::<u64>() as f64;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let scale = launch.blocks as f64 / launch.blocks_counted.max(1) as f64;
        println!(
            "{name}: {}, {} blocks, {:.0} % coalesced, {:.2} MB from and to L2, {:.2} wavefronts where one would do",
            launch.kernel,
            launch.blocks,
            100.0 * share(sum(|line| line.least_sectors), sum(|line| line.sectors)),
            32.0 * scale * sum(|line| line.l2_sectors) / 1e6,
            share(sum(|line| line.wavefronts), sum(|line| line.least_wavefronts)),
        );
    }
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
