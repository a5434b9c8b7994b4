//! Times the full recipe's training step and prints a JSON line for each: `{"ms": 123.4}`, then `{"peak_mb": ...}`.
//!
//!     cargo run --release --example step_time -- --steps 10 --threads 2 --batch 1 [--device cuda]

use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::device::{Device, DeviceChoice, DeviceId, DeviceOptions};
use pixtape::gan::{Pix2Pix, Recipe, TrainingStep};
use pixtape::profile::{fill, show_pictures};

#[derive(Parser)]
struct Options {
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
    let recipe = Pix2Pix::with_size(Recipe::PytorchGan, options.size, options.width, 0.5);
    let recorded = TrainingStep::record(&Pix2Pix { batch: options.batch, ..recipe })?;
    let TrainingStep { program, networks, input, target, .. } = recorded;
    let device_id = options.device.choose()?.device;
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let device_options =
        DeviceOptions { cuda_graph: !options.no_graph, rewrite: !options.no_rewrite, ..DeviceOptions::default() };
    let mut device = Device::new(program, control, device_id, device_options)?;
    fill(&mut device, &networks)?;
    show_pictures(&mut device, [input, target])?;

    // The first step touches every page for the first time and sizes gemm's buffers; on a GPU it loads the kernels and
    // captures the graph, which the second one is the first to replay.
    let start = Instant::now();
    let warm_up = if device_id == DeviceId::Cpu { 1 } else { 2 };
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

/// The largest resident size of this process so far, in MB; 0 if the system does not report it.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
