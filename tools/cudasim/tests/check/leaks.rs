//! Nothing stays behind. Counts are of the whole process, so the work is done in one of its own.

use crate::common::grid;
use crate::{gpu, launch};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudasim::Live;
use std::process::Command;

/// This test binary again, with one test that is ignored otherwise.
fn in_own_process(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn everything_is_given_back() {
    in_own_process("leaks::work_and_count");
}

#[test]
#[ignore = "run by everything_is_given_back, in a process of its own"]
fn work_and_count() {
    let simulator = {
        let gpu = gpu();
        for _ in 0..3 {
            let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
            // SAFETY: it is never read.
            let pinned = unsafe { gpu.context.alloc_pinned::<f32>(16) }.unwrap();
            let other = gpu.context.new_stream().unwrap();
            gpu.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
            other.wait(&gpu.stream.record_event(None).unwrap()).unwrap();
            launch!(other, gpu.function("ok_blocks_disjoint"), grid(4, 64), &mut out).unwrap();
            gpu.stream.wait(&other.record_event(None).unwrap()).unwrap();
            let graph = gpu.stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
            graph.launch().unwrap();
            // The failing one leaves the engine in the middle of a block.
            launch!(other, gpu.function("bug_wrong_parity"), grid(4, 32), &mut out).unwrap();
            other.synchronize().unwrap_err();
            gpu.stream.synchronize().unwrap();
            drop(pinned);
        }
        let live = gpu.simulator.live();
        assert_eq!((live.streams, live.modules, live.engines), (1, 1, 1), "{live:?}");
        gpu.simulator
    };
    assert_eq!(simulator.live(), Live { engines: 1, ..Live::default() });
}
