//! Each `bug_*` kernel is reported in every order, at one of the lines that its source marks; no `ok_*` kernel is.

use crate::common::{QUIET, grid, kernel_file};
use crate::{all_settings, gpu, launch};
use cudarc::driver::LaunchConfig;

/// The launch of each kernel, and a text of the report.
const KERNELS: &[(&str, u32, u32, u32, &str)] = &[
    // kernel, blocks, threads, bytes of dynamic shared memory, a part of the report
    ("bug_missing_syncwarp", 1, 32, 0, "shared"),
    ("ok_syncwarp", 1, 32, 0, ""),
    ("bug_shuffle_from_exited_lane", 1, 32, 0, "does not take part"),
    ("ok_exited_lanes", 1, 32, 0, ""),
    ("bug_shuffle_divergent", 1, 32, 0, "diverged warp"),
    ("bug_divergent_syncthreads", 1, 64, 0, "divergent __syncthreads"),
    ("ok_barrier_reductions", 1, 64, 0, ""),
    ("bug_named_barrier_count", 1, 64, 0, "DEADLOCK: 32 threads wait in a barrier"),
    ("ok_named_barrier_pipeline", 1, 64, 0, ""),
    ("bug_named_barrier_pipeline", 1, 64, 0, "RACE"),
    ("ok_mbarrier_pipeline", 1, 64, 256, ""),
    ("bug_mbarrier_pipeline", 1, 64, 256, "RACE"),
    ("bug_mbarrier_without_syncthreads", 1, 32, 64, "shared"),
    ("bug_wrong_parity", 1, 32, 64, "DEADLOCK: 32 threads wait in an mbarrier"),
    ("bug_misaligned_float4", 1, 8, 0, "misaligned access"),
    ("bug_shared_out_of_bounds", 1, 32, 160, "writes shared memory out of bounds"),
    ("bug_shared_uninitialised", 1, 32, 0, "reads uninitialised shared memory"),
    ("bug_shared_atomic", 1, 64, 0, "shared"),
    ("ok_shared_atomic", 1, 64, 0, ""),
    ("bug_local_array", 1, 32, 0, "out of bounds for 'float [4]'"),
    ("bug_global_out_of_bounds", 1, 32, 0, "past the end of a 8192-byte allocation"),
    ("bug_global_before_beginning", 1, 32, 0, "bytes before the beginning of a 8192-byte allocation"),
    ("bug_not_device_memory", 1, 32, 0, "reads 4 bytes at 0x40, which is not device memory"),
    ("bug_blocks_overlap", 4, 64, 0, "RACE: writes global memory that block"),
    ("ok_blocks_disjoint", 4, 64, 0, ""),
    ("bug_read_of_other_block", 4, 64, 0, "RACE: "),
    ("bug_write_after_read_of_other_block", 4, 64, 0, "RACE: "),
    ("bug_global_missing_syncthreads", 1, 64, 0, "RACE: "),
    ("bug_plain_sum", 1, 64, 0, "RACE: "),
    ("ok_atomic_sum", 4, 64, 0, ""),
    ("bug_atomic_and_plain", 2, 1, 0, "RACE: "),
    ("ok_small_elements", 4, 64, 0, ""),
    ("bug_small_elements", 4, 64, 0, "RACE: writes global memory"),
];

/// The lines between a kernel's header and its registration that are marked `HERE`.
fn marked_lines(source: &str, kernel: &str) -> Vec<usize> {
    let header = match kernel.split_once('_') {
        Some(("bug", name)) => format!("BUG({name})"),
        Some((_, name)) => format!("OK({name})"),
        None => panic!("{kernel} is neither a bug nor ok"),
    };
    let mut inside = false;
    let mut marked = Vec::new();
    for (index, line) in source.lines().enumerate() {
        inside |= line.starts_with(&header);
        if inside && line.contains("// HERE") {
            marked.push(index + 1);
        }
        inside &= line != format!("REGISTER_KERNEL({kernel});");
    }
    marked
}

/// The line in `[kernel] bugs.cu:LINE: block (0,0,0) thread (1,0,0): what`.
fn line_of(report: &str, kernel: &str) -> usize {
    let rest = report.strip_prefix(&format!("[{kernel}] bugs.cu:")).unwrap_or_else(|| panic!("{report}"));
    let (line, rest) = rest.split_once(": block (").unwrap_or_else(|| panic!("{report}"));
    assert!(rest.contains(",0,0) thread ("), "{report}");
    line.parse().unwrap_or_else(|_| panic!("{report}"))
}

#[test]
fn bugs_are_reported_at_their_lines_in_every_order() {
    let gpu = gpu();
    let source = std::fs::read_to_string(kernel_file("bugs.cu")).unwrap();
    for settings in all_settings() {
        gpu.simulator.configure(settings).unwrap();
        for &(kernel, blocks, threads, shared_mem_bytes, expected) in KERNELS {
            let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
            let config = LaunchConfig { shared_mem_bytes, ..grid(blocks, threads) };
            launch!(gpu.stream, gpu.function(kernel), config, &mut out).unwrap();
            let (result, reports) = gpu.synchronize();
            let context = format!("{kernel} {settings:?}: {reports:#?}");
            assert_eq!(result.is_err(), kernel.starts_with("bug_"), "{context}");
            assert_eq!(reports.is_empty(), result.is_ok(), "{context}");
            if reports.is_empty() {
                continue;
            }
            let marked = marked_lines(&source, kernel);
            assert!(reports.iter().any(|report| report.contains(expected)), "{context}");
            for report in &reports {
                assert!(marked.contains(&line_of(report, kernel)), "{context}, marked are {marked:?}");
            }
        }
    }
}

#[test]
fn every_kernel_of_the_file_is_launched() {
    let source = std::fs::read_to_string(kernel_file("bugs.cu")).unwrap();
    let registered: Vec<_> =
        source.lines().filter_map(|line| line.strip_prefix("REGISTER_KERNEL(")?.strip_suffix(");")).collect();
    let launched: Vec<_> = KERNELS.iter().map(|kernel| kernel.0).collect();
    for kernel in &registered {
        assert!(launched.contains(kernel), "{kernel} is not tested");
    }
    assert_eq!(registered.len(), launched.len());
}

#[test]
fn block_and_thread_are_those_that_did_it() {
    let gpu = gpu();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    launch!(gpu.stream, gpu.function("bug_blocks_overlap"), grid(2, 64), &mut out).unwrap();
    let (_, reports) = gpu.synchronize();
    // Block 1 begins where block 0 ends: its threads 0 to 3 write what the other's 60 to 63 wrote.
    assert_eq!(reports.len(), 1);
    assert!(
        reports[0].contains("block (1,0,0) thread (0,0,0): RACE: writes global memory that block (0,0,0)"),
        "{reports:?}"
    );
    assert!(reports[0].ends_with("[4 times]"), "{reports:?}");
}

#[test]
fn without_check_nothing_is_reported() {
    let gpu = gpu();
    gpu.simulator.configure(cudasim::Settings { check: false, ..QUIET }).unwrap();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    launch!(gpu.stream, gpu.function("bug_blocks_overlap"), grid(4, 64), &mut out).unwrap();
    assert_eq!(gpu.synchronize(), (Ok(()), vec![]));
}
