//! Every kernel of the published recipes' training steps, in full size and at batch 1, by layer, on the first GPU: the
//! launches that a training makes, with warm and with cold caches. A time is that between two CUDA events; the two
//! launches of a large norm have one time.
//!
//! A kernel that follows itself finds in the L2 cache what it read before, if that fits (`warm`); behind writes to more
//! memory than the cache holds, it finds nothing (`cold`). In training the truth lies between.
//!
//! Without a GPU there is nothing to measure, and the bench says so and ends well. The simulator counts as none, unless
//! `PIXTAPE_TAKE_SIMULATED_GPU=1` asks for the counts of the kernels on it.

mod common;

use std::collections::HashSet;
use std::env;
use std::time::Duration;

use clap::ValueEnum;
use common::rates::StepTime;
use criterion::{Criterion, Throughput};
use pixtape::engine::access::Control;
use pixtape::engine::device::cuda::counts::{LaunchCounts, LineCounts};
use pixtape::engine::device::cuda::{Cuda, PICTURES, Unit};
use pixtape::engine::device::{Device, DeviceChoice, DeviceId, DeviceOptions};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::program::Program;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Pix2Pix, Recipe, RecordedNetwork, TrainingStep};
use pixtape::profile::{fill, show_pictures};

/// Elements of f32 whose copy, 256 MB read and written, leaves nothing else in the cache of a GPU.
const FLUSH: usize = 1 << 25;

/// Blocks of a launch that the simulated GPU counts.
const COUNTED_BLOCKS: usize = 32;

const CONTROL: Control = Control { seed: 1, step: 0, learning_rate: 2e-4 };

fn main() {
    let takes_simulated = env::var_os("PIXTAPE_TAKE_SIMULATED_GPU").is_some_and(|value| value == "1");
    let choice = if takes_simulated { DeviceChoice::Cuda(0) } else { DeviceChoice::Auto };
    match choice.choose() {
        Ok(chosen) if chosen.device != DeviceId::Cpu => {
            if takes_simulated {
                println!("on a simulated GPU: the requests of the kernels are counted, and the times mean nothing");
            }
            let recipes = Recipe::value_variants();
            common::run(|criterion| recipes.iter().for_each(|&recipe| bench(criterion, recipe, chosen.device)));
        }
        Ok(chosen) => println!("not measured: {}", chosen.note.unwrap_or_default()),
        Err(reason) => println!("not measured: {reason:#}"),
    }
}

/// Benches the launches of the training step of `recipe`.
fn bench(criterion: &mut Criterion<StepTime>, recipe: Recipe, id: DeviceId) {
    let mut step = Step::new(recipe, id);
    let name = recipe.to_possible_value().expect("every recipe has a name");
    let mut group = criterion.benchmark_group(format!("cuda {}", name.get_name()));
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    // The same work may be done several times in a step.
    let mut names = HashSet::new();
    for unit in step.cuda().units().to_vec() {
        let name = step.name_of(unit);
        if !names.insert(name.clone()) {
            continue;
        }
        group.throughput(step.throughput(unit));
        group.bench_function(format!("{name} warm"), |bencher| {
            step.prepare();
            if step.is_simulated() {
                print_counts(&name, step.cuda().count(unit, COUNTED_BLOCKS).expect("the simulator counts"));
            }
            bencher.iter_custom(|executions| step.time(unit, executions));
        });
        if !step.is_simulated() {
            group.bench_function(format!("{name} cold"), |bencher| {
                step.prepare();
                bencher.iter_custom(|executions| (0..executions).map(|_| step.time_cold(unit)).sum());
            });
        }
    }
    group.finish();
}

/// A training step on a GPU.
struct Step {
    id: DeviceId,
    device: Device,
    networks: Vec<RecordedNetwork>,
    pictures: [Tensor; 2],
    is_prepared: bool,
    /// A program whose execution writes more memory than a cache holds; `None` as long as it has not been needed.
    flush: Option<Device>,
}

impl Step {
    fn new(recipe: Recipe, id: DeviceId) -> Step {
        let recorded = TrainingStep::record(&Pix2Pix::published(recipe)).expect("the recipe can be differentiated");
        let TrainingStep { program, networks, input, target, .. } = recorded;
        let mut device = on_gpu(program, id);
        show_pictures(&mut device, [input, target]).expect("the device works");
        Step { id, device, networks, pictures: [input, target], is_prepared: false, flush: None }
    }

    fn cuda(&mut self) -> &mut Cuda {
        match &mut self.device {
            Device::Cuda(cuda) => cuda,
            Device::Cpu(_) => unreachable!("the bench has asked for a GPU"),
        }
    }

    fn is_simulated(&mut self) -> bool {
        self.cuda().info().is_simulated
    }

    /// Gives all tensors the values of early training, once: memory that nothing has written is zero. The simulated
    /// GPU does not need it.
    fn prepare(&mut self) {
        if !self.is_simulated() && !std::mem::replace(&mut self.is_prepared, true) {
            fill(&mut self.device, &self.networks).expect("the device works");
            self.device.execute().expect("the device works");
        }
    }

    /// The time of `unit`, `executions` times one behind the other. The simulated GPU is asked for counts alone, and
    /// takes none.
    fn time(&mut self, unit: Unit, executions: u64) -> Duration {
        if self.is_simulated() {
            return Duration::from_nanos(executions);
        }
        self.cuda().time(unit, executions as usize).expect("the device works")
    }

    /// The time of `unit` behind writes to more memory than a cache holds.
    fn time_cold(&mut self, unit: Unit) -> Duration {
        let flush = self.flush.get_or_insert_with(|| on_gpu(flush_program(), self.id));
        flush.execute().and_then(|()| flush.wait()).expect("the device works");
        self.time(unit, 1)
    }

    /// Layers, kernels and the shape of the first result, as in `generator.down2 conv_fprop_patch_4x4s2 1x64x64x128`.
    fn name_of(&mut self, unit: Unit) -> String {
        let pictures = self.pictures;
        let cuda = self.cuda();
        let steps: Vec<_> = unit.steps().iter().map(|&step| &cuda.program().steps()[step]).collect();
        let layers: Vec<&str> = steps.iter().map(|recorded| recorded.layer()).collect();
        let layers = match &layers[..] {
            [] => PICTURES.to_owned(),
            [""] => "step".to_owned(),
            _ => layers.join(" beside "),
        };
        let written = steps.first().and_then(|recorded| {
            recorded.accesses().iter().filter(|access| access.writes()).find_map(|access| access.tensor())
        });
        let written = if unit == Unit::Crops { Some(pictures[0]) } else { written };
        let shape = written.map_or(String::new(), |tensor| tensor.shape.map(|size| size.to_string()).join("x"));
        format!("{layers} {} {shape}", cuda.kernels(unit).join(" and ")).trim_end().to_owned()
    }

    fn throughput(&mut self, unit: Unit) -> Throughput {
        if unit == Unit::Crops {
            return Throughput::BytesDecimal(self.pictures.iter().map(|picture| picture.bytes() as u64).sum());
        }
        let steps = unit.steps();
        let program = self.device.program().steps();
        common::throughput(steps.iter().map(|&step| &program[step]))
    }
}

/// A program whose execution writes more memory than a cache holds.
fn flush_program() -> Program {
    let mut tape = Tape::new();
    let [from, to] = [(); 2].map(|()| tape.persistent([1, 1, 1, FLUSH]));
    copy(&mut tape, from, to);
    tape.finish()
}

fn on_gpu(program: Program, id: DeviceId) -> Device {
    Device::new(program, CONTROL, id, DeviceOptions::default()).expect("there is enough memory")
}

/// Prints what the simulated GPU has counted for the bench `name`: a line for each launch.
fn print_counts(name: &str, launches: Vec<LaunchCounts>) {
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
