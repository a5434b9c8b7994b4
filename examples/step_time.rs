//! Times a recipe's full training step, or the forward pass of its generator, and prints a JSON line for each
//! execution: `{"ms": 123.4}`, then `{"peak_mb": ...}`.
//!
//!     cargo run --release --example step_time -- --steps 10 --threads 2 --batch 1 [--device cuda]

use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::device::{Device, DeviceChoice, DeviceId, DeviceOptions};
use pixtape::engine::program::Program;
use pixtape::engine::tape::Tape;
use pixtape::gan::{Draws, Parameters, Pix2Pix, Precision, Recipe, TrainingStep, UNet};
use pixtape::profile::{fill, show_pictures};

#[derive(Parser)]
struct Options {
    #[arg(long, value_enum, default_value = "pytorch-gan")]
    recipe: Recipe,
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Time the generator's forward pass alone, with dropout, as `translate` runs it.
    #[arg(long)]
    forward: bool,
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Take no further step once this many seconds have passed.
    #[arg(long)]
    seconds: Option<f64>,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Launch the kernels one by one instead of as one CUDA graph.
    #[arg(long)]
    no_graph: bool,
    /// Execute the program as it was recorded, without the rewrites for the device.
    #[arg(long)]
    no_rewrite: bool,
    /// On a GPU, also time this many steps in a row by events, none of which the host waits for.
    #[arg(long)]
    replays: Option<usize>,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Channels of the first level of both networks.
    #[arg(long, default_value_t = 64)]
    width: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    with_threads(options.threads, || run(&options))?
}

fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.steps > 0, "--steps 0: there is nothing to time");
    let recipe = Pix2Pix::with_size(options.recipe, options.size, options.width, 0.5);
    let mut device = match options.forward {
        true => forward(options, recipe.generator)?,
        false => training_step(options, Pix2Pix { batch: options.batch, precision: options.precision, ..recipe })?,
    };
    let chosen = options.device.choose()?;
    chosen.require(options.precision.activations())?;

    // The first step touches every page for the first time and sizes the scratch memory of the threads; on a GPU it
    // loads the kernels and captures the graph, which the second one is the first to replay.
    let start = Instant::now();
    let warm_up = if chosen.device == DeviceId::Cpu { 1 } else { 2 };
    for _ in 0..warm_up {
        device.execute()?;
        device.wait()?;
    }
    let mut done = 0;
    while done < options.steps && options.seconds.is_none_or(|limit| done == 0 || start.elapsed().as_secs_f64() < limit)
    {
        let start = Instant::now();
        device.execute()?;
        device.wait()?;
        println!("{{\"ms\": {:.3}}}", start.elapsed().as_secs_f64() * 1e3);
        done += 1;
    }
    println!("{{\"peak_mb\": {:.0}, \"planned_mb\": {}}}", peak_mb(), device.memory_bytes() >> 20);
    if let Some(replays) = options.replays {
        let Device::Cuda(cuda) = &mut device else { anyhow::bail!("--replays needs --device cuda") };
        let seconds: f64 = cuda.time_executions(replays)?.iter().map(|time| time.as_secs_f64()).sum();
        println!("{{\"replays\": {replays}, \"replay_ms\": {:.4}}}", seconds * 1e3 / replays.max(1) as f64);
    }
    Ok(())
}

/// The device with a training step, filled.
fn training_step(options: &Options, recipe: Pix2Pix) -> anyhow::Result<Device> {
    let TrainingStep { program, networks, input, target, .. } = TrainingStep::record(&recipe)?;
    let mut device = device(options, program)?;
    fill(&mut device, &networks)?;
    show_pictures(&mut device, [input, target])?;
    Ok(device)
}

/// The device with a generator's forward pass, filled with weights and inputs that repeat.
fn forward(options: &Options, generator: UNet) -> anyhow::Result<Device> {
    let mut tape = Tape::with_activations(options.precision.activations());
    let parameters = Parameters::new(&mut tape, generator.specs());
    let mut images = |channels| tape.persistent([options.batch, options.size, options.size, channels]);
    let (input, output) = (images(generator.in_channels), images(generator.out_channels));
    generator.forward(&mut tape, &parameters, input, output, Draws { pass: 0, first_image: 0, by_step: true });
    let mut device = device(options, tape.finish())?;
    for (tensor, scale) in [(parameters.values, 0.04), (input, 2.0)] {
        let values: Vec<f32> = (0..tensor.count()).map(|i| ((i * 613 % 1021) as f32 / 1021.0 - 0.5) * scale).collect();
        device.write(tensor, &values)?;
    }
    Ok(device)
}

fn device(options: &Options, program: Program) -> anyhow::Result<Device> {
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let device_options =
        DeviceOptions { cuda_graph: !options.no_graph, rewrite: !options.no_rewrite, ..DeviceOptions::default() };
    Device::new(program, control, options.device.choose()?.device, device_options)
}

/// The largest resident size of this process so far, in MB; 0 if the system does not report it.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
