//! The whole training step: with small networks at two sizes (the larger is that of the built-in facades), and with the
//! full ones at two sizes.

mod common;

use std::time::Duration;

use common::rates::StepTime;
use criterion::{Criterion, SamplingMode};
use pixtape::engine::access::Control;
use pixtape::engine::device::{Device, DeviceId, DeviceOptions};
use pixtape::gan::{Pix2Pix, Recipe, TrainingStep};

fn main() {
    common::run(|criterion| {
        bench(criterion, 64, 16, 20);
        bench(criterion, 128, 16, 20);
        bench(criterion, 128, 64, 10);
        bench(criterion, 256, 64, 10);
    });
}

fn bench(criterion: &mut Criterion<StepTime>, size: usize, width: usize, samples: usize) {
    let mut group = criterion.benchmark_group("training step");
    group.sampling_mode(SamplingMode::Flat).sample_size(samples);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    let mut device = None;
    group.bench_function(format!("{size}x{size}, {width} channels"), |bencher| {
        let device = device.get_or_insert_with(|| training_step(size, width));
        bencher.iter(|| device.execute().expect("the CPU works"));
    });
}

fn training_step(size: usize, width: usize) -> Device {
    let recorded = TrainingStep::record(&Pix2Pix::with_size(Recipe::PytorchGan, size, width, 0.5));
    let TrainingStep { program, networks, input, target, .. } = recorded.expect("the recipe can be differentiated");
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let mut device =
        Device::new(program, control, DeviceId::Cpu, DeviceOptions::default()).expect("there is enough memory");
    for trained in networks {
        common::fill(&mut device, trained.parameters.values, [-0.03, 0.03]);
    }
    for image in [input, target] {
        common::fill(&mut device, image, [-1.0, 1.0]);
    }
    device
}
