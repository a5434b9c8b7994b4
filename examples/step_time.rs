//! Times the full recipe's training step and prints a JSON line for each: `{"ms": 123.4}`, then `{"peak_mb": ...}`.
//!
//!     cargo run --release --example step_time -- --steps 10 --threads 2 --batch 1 [--by-step]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Parser;
use pixtape::device::cpu::{Cpu, with_threads};
use pixtape::philox::{Purpose, Stream};
use pixtape::program::Control;
use pixtape::train::step::{StepOptions, TrainingStep};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 10)]
    steps: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Channels of the first level of both networks.
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Also print the milliseconds that each kind of step takes.
    #[arg(long)]
    by_step: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    with_threads(options.threads, || run(&options))?
}

fn run(options: &Options) -> anyhow::Result<()> {
    let recipe = StepOptions::pytorch_gan(options.size, options.width, 0.5);
    let recorded = TrainingStep::record(&StepOptions { batch: options.batch, ..recipe })?;
    let TrainingStep { program, generator, discriminator, input, target, .. } = recorded;
    let mut cpu: Cpu<f32> = Cpu::new(program, Control { seed: 1, step: 0, learning_rate: 2e-4 })?;
    let parameters = [generator, discriminator];
    let all = parameters.iter().flat_map(|p| (0..p.specs.len()).map(move |index| (p, index)));
    for (place, (parameters, index)) in all.enumerate() {
        let values = parameters.specs[index].initial(1, place as u64);
        cpu.write(parameters.part(parameters.values, index), &values);
    }
    let mut draws = Stream::new(1, Purpose::Facade, 0);
    for image in [input, target] {
        let values: Vec<f32> = (0..image.count()).map(|_| draws.range(-1.0, 1.0)).collect();
        cpu.write(image, &values);
    }

    // The first step touches every page for the first time and sizes gemm's buffers.
    cpu.execute();
    let mut times: BTreeMap<(usize, &str), Duration> = BTreeMap::new();
    for _ in 0..options.steps {
        let start = Instant::now();
        if options.by_step {
            let mut last = start;
            cpu.execute_observed(|index, name| {
                let now = Instant::now();
                *times.entry((index, name)).or_default() += now - last;
                last = now;
            });
        } else {
            cpu.execute();
        }
        println!("{{\"ms\": {:.2}}}", start.elapsed().as_secs_f64() * 1e3);
    }
    if options.by_step {
        print_steps(&cpu, &times, options.steps);
    }
    println!("{{\"peak_mb\": {:.0}, \"planned_mb\": {}}}", peak_mb(), (cpu.memory_elements() * 4) >> 20);
    Ok(())
}

fn print_steps(cpu: &Cpu<f32>, times: &BTreeMap<(usize, &str), Duration>, steps: usize) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3 / steps as f64;
    let mut kinds: BTreeMap<&str, Duration> = BTreeMap::new();
    for (&(index, name), &time) in times {
        *kinds.entry(name).or_default() += time;
        println!("{:8.2} ms  {:?}", ms(time), cpu.program().steps()[index].step());
    }
    kinds.iter().for_each(|(name, &time)| println!("{:8.2} ms  {name}", ms(time)));
}

/// The largest resident size of this process so far, in MB; 0 where the system does not tell.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
