//! Rates of launches and memory-bound kernels on a GPU, as JSON lines: the time from one kernel to the next, and the
//! bandwidth of a copy and of Adam's update, from memory and from the L2 cache. Each is the median of several
//! executions.
//!
//!     cargo run --release --example gpu_rates -- --device cuda

use std::time::Instant;

use clap::Parser;
use pixtape::engine::access::Control;
use pixtape::engine::device::{Device, DeviceChoice, DeviceId, DeviceOptions};
use pixtape::engine::ops::adam::{AdamOptions, adam};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;

/// Parameters whose four buffers, 16 MB, stay in the L2 cache of a GPU of the data centre (40 MB and more).
const CACHED: usize = 1 << 20;

/// Updates of those in a row, so that the time from one to the next counts and not that of a launch from the host.
const UPDATES: usize = 50;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "cuda")]
    device: DeviceChoice,
    /// Kernels in a row, each of a single block.
    #[arg(long, default_value_t = 1000)]
    launches: usize,
    /// Parameters to update and numbers to copy: those of the full recipe's two networks together.
    #[arg(long, default_value_t = 57_171_907)]
    elements: usize,
    /// Executions that are timed, behind three that are not.
    #[arg(long, default_value_t = 20)]
    repeat: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let device_id = options.device.choose()?.device;
    for (name, graph) in [("one by one", false), ("in a graph", true)] {
        let mut tape = Tape::new();
        let [from, to] = [(); 2].map(|()| tape.persistent([1, 1, 1, 32]));
        (0..options.launches).for_each(|_| copy(&mut tape, from, to));
        let seconds = median(&options, device_id, tape, graph, &[])? / options.launches as f64;
        println!("{{\"name\": \"launches {name}\", \"microseconds\": {:.3}}}", seconds * 1e6);
    }

    let shape = [1, 1, 1, options.elements];
    let mut tape = Tape::new();
    let [from, to] = [(); 2].map(|()| tape.persistent(shape));
    copy(&mut tape, from, to);
    let seconds = median(&options, device_id, tape, true, &[from])?;
    print_bandwidth("copy", 2 * options.elements, seconds);

    let in_cache = CACHED.min(options.elements);
    for (name, elements, updates) in
        [("adam_update", options.elements, 1), ("adam_update in the L2 cache", in_cache, UPDATES)]
    {
        let shape = [1, 1, 1, elements];
        let mut tape = Tape::new();
        let tensors = [(); 4].map(|()| tape.persistent(shape));
        let [parameters, gradients, first, second] = tensors;
        let adam_options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        (0..updates).for_each(|_| adam(&mut tape, parameters, gradients, [first, second], adam_options));
        let seconds = median(&options, device_id, tape, true, &tensors)? / updates as f64;
        // Parameter, gradient and both moments are read, all but the gradient written.
        print_bandwidth(name, 7 * elements, seconds);
    }
    Ok(())
}

/// Seconds that an execution of the program of `tape` takes, with nonzero numbers in the tensors of `filled`.
fn median(
    options: &Options,
    device_id: DeviceId,
    tape: Tape,
    cuda_graph: bool,
    filled: &[Tensor],
) -> anyhow::Result<f64> {
    let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
    let replay = DeviceOptions { cuda_graph, ..DeviceOptions::default() };
    let mut device = Device::new(tape.finish(), control, device_id, replay)?;
    for &tensor in filled {
        let values: Vec<f32> = (0..tensor.count()).map(|i| (i % 1021) as f32 / 1024.0).collect();
        device.write(tensor, &values)?;
    }
    let mut seconds = Vec::new();
    for _ in 0..options.repeat.max(1) + 3 {
        let start = Instant::now();
        device.execute()?;
        device.wait()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let timed = &mut seconds[3..];
    timed.sort_by(f64::total_cmp);
    Ok(timed[timed.len() / 2])
}

fn print_bandwidth(name: &str, elements: usize, seconds: f64) {
    let gigabytes = (elements * size_of::<f32>()) as f64 / 1e9;
    println!(
        "{{\"name\": \"{name}\", \"milliseconds\": {:.4}, \"gb_per_s\": {:.1}}}",
        seconds * 1e3,
        gigabytes / seconds
    );
}
