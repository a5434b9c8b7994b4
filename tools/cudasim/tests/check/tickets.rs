//! The order that fences and atomics make between blocks: "the last block by ticket" without a report where it is
//! right, and with one for each part of it that is left out.

use crate::common::{grid, kernel_file};
use crate::{all_settings, gpu, launch};
use cudasim::Schedule;

const BLOCKS: u32 = 3;
const THREADS: u32 = 64;

#[test]
fn a_ticket_orders_blocks_and_one_with_a_mistake_is_reported() {
    let gpu = gpu();
    let source = std::fs::read_to_string(kernel_file("tickets.cu")).unwrap();
    let lines: Vec<usize> =
        source.lines().enumerate().filter(|(_, line)| line.contains("// HERE")).map(|(index, _)| index + 1).collect();
    let registered = source.lines().filter_map(|line| {
        let name = line.strip_prefix("LAST_BLOCK(").or(line.strip_prefix("REGISTER_KERNEL("))?;
        name.split([',', ')']).next()
    });
    let kernels: Vec<&str> = registered.collect();
    assert_eq!(kernels.len(), 11, "{kernels:?}");
    for settings in all_settings() {
        gpu.simulator.configure(settings).unwrap();
        for kernel in &kernels {
            if kernel.ends_with("chain") && settings.schedule != Schedule::Forward {
                continue;
            }
            let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
            launch!(gpu.stream, gpu.function(kernel), grid(BLOCKS, THREADS), &mut out).unwrap();
            let (result, reports) = gpu.synchronize();
            let context = format!("{kernel} {settings:?}: {reports:#?}");
            assert_eq!(result.is_err(), kernel.starts_with("bug_"), "{context}");
            for report in &reports {
                let marked = lines.iter().any(|line| report.contains(&format!("tickets.cu:{line}:")));
                assert!(report.contains("RACE") && marked, "{context}, marked are {lines:?}");
            }
            if *kernel == "ok_ticket" {
                let sums = &gpu.stream.clone_dtoh(&out).unwrap()[2048 - THREADS as usize..];
                assert!(sums.iter().enumerate().all(|(t, &sum)| sum == (BLOCKS as usize * t + 3) as f32), "{sums:?}");
            }
        }
    }
}
