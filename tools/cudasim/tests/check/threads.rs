//! Several host threads at once: each has its own settings, reports and records.

use crate::common::{Gpu, QUIET, grid};
use crate::{all_settings, gpu, launch};
use cudasim::Settings;

/// Launches a kernel many times; it is reported every time or never.
fn launch_often(kernel: &str, settings: Settings, reported: bool) {
    let gpu: Gpu = gpu();
    gpu.simulator.configure(settings).unwrap();
    for _ in 0..20 {
        let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
        launch!(gpu.stream, gpu.function(kernel), grid(4, 64), &mut out).unwrap();
        let (result, reports) = gpu.synchronize();
        assert_eq!(result.is_err(), reported, "{kernel}");
        assert_eq!(!reports.is_empty(), reported, "{kernel}");
        for report in reports {
            assert!(report.starts_with(&format!("[{kernel}]")), "{report}");
        }
    }
}

#[test]
fn threads_do_not_see_each_other() {
    let unchecked = Settings { check: false, ..QUIET };
    std::thread::scope(|scope| {
        for (i, settings) in all_settings().into_iter().enumerate().take(12) {
            match i % 4 {
                0 => scope.spawn(move || launch_often("bug_blocks_overlap", settings, true)),
                1 => scope.spawn(move || launch_often("ok_small_elements", settings, false)),
                2 => scope.spawn(move || launch_often("bug_read_of_other_block", settings, true)),
                _ => scope.spawn(move || launch_often("bug_blocks_overlap", unchecked, false)),
            };
        }
    });
}

#[test]
fn synchronising_the_context_meets_only_the_failures_of_own_streams() {
    let gpu = gpu();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    launch!(gpu.stream, gpu.function("bug_blocks_overlap"), grid(4, 64), &mut out).unwrap();
    let other = std::thread::spawn(|| {
        let gpu = crate::gpu();
        (gpu.context.synchronize(), gpu.simulator.take_reports())
    });
    assert_eq!(other.join().unwrap(), (Ok(()), vec![]));
    assert!(gpu.context.synchronize().is_err());
    assert_eq!(gpu.simulator.take_reports().len(), 1);
}

#[test]
fn engines_are_as_many_as_grids_run_at_once() {
    // One after another, on many threads: an engine each would show.
    for _ in 0..32 {
        std::thread::spawn(|| launch_often("ok_blocks_disjoint", QUIET, false)).join().unwrap();
    }
    let engines = gpu().simulator.live().engines;
    // Other tests of this binary run meanwhile.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from) as u64 + 16;
    assert!(engines <= at_once, "{engines}");
}

#[test]
fn a_thread_can_wait_for_what_another_has_enqueued() {
    let gpu = gpu();
    let mut values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    crate::streams::scale_add(&gpu, &gpu.stream, &mut values, 2.0, 1.0);
    let stream = gpu.stream.clone();
    let found = std::thread::spawn(move || stream.clone_dtoh(&values).unwrap()).join().unwrap();
    assert_eq!(found, [3f32; 64]);
}
