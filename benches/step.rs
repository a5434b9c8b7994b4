//! The whole training step: with small networks at two sizes (the larger is that of the built-in facades), and with the
//! full ones at two sizes.

mod common;

use std::time::Duration;

use common::rates::StepTime;
use criterion::{Criterion, SamplingMode};
use pixtape::engine::access::Control;
use pixtape::engine::device::{Device, DeviceId, DeviceOptions};
use pixtape::gan::{Pix2Pix, Recipe, TrainingStep};
use pixtape::profile::{fill, show_pictures};

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
    let recorded = TrainingStep::record(&Pix2Pix::with_size(Recipe::PytorchGan, size, width, 0.5));
    let TrainingStep { program, networks, input, target, .. } = recorded.expect("the recipe can be differentiated");
    group.throughput(common::throughput(program.steps()[..program.main_steps()].iter()));
    let mut device = None;
    group.bench_function(format!("{size}x{size}, {width} channels"), |bencher| {
        // Only a bench that was asked for is set up.
        let device = device.get_or_insert_with(|| {
            let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
            let device = Device::new(program.clone(), control, DeviceId::Cpu, DeviceOptions::default());
            let mut device = device.expect("there is enough memory");
            fill(&mut device, &networks).expect("the CPU works");
            show_pictures(&mut device, [input, target]).expect("the CPU works");
            device
        });
        bencher.iter(|| device.execute().expect("the CPU works"));
    });
}
