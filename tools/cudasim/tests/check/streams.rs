//! Streams: order inside one, no order between two, and what the host may see when.

use crate::common::{Gpu, QUIET, grid};
use crate::{gpu, launch};
use cudarc::driver::{CudaSlice, CudaStream, DriverError, sys::CUresult};
use cudasim::{Async, Schedule, Settings};
use std::sync::Arc;

pub fn scale_add(gpu: &Gpu, stream: &Arc<CudaStream>, values: &mut CudaSlice<f32>, factor: f32, summand: f32) {
    let count = values.len() as i32;
    launch!(stream, gpu.function("scale_add"), grid(1, 64), values, &factor, &summand, &count).unwrap();
}

fn with(asynchrony: Async) -> Settings {
    Settings { asynchrony, ..QUIET }
}

#[test]
fn one_stream_keeps_its_order() {
    let gpu = gpu();
    for asynchrony in [Async::Lazy, Async::Eager, Async::Random] {
        gpu.simulator.configure(with(asynchrony)).unwrap();
        let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
        scale_add(&gpu, &gpu.stream, &mut values, 1.0, 2.0);
        scale_add(&gpu, &gpu.stream, &mut values, 10.0, 1.0);
        let copy = gpu.stream.clone_dtod(&values).unwrap();
        gpu.stream.memset_zeros(&mut values).unwrap();
        assert_eq!(gpu.stream.clone_dtoh(&copy).unwrap(), [31f32; 8]);
        assert_eq!(gpu.stream.clone_dtoh(&values).unwrap(), [0f32; 8]);
    }
}

#[test]
fn pageable_memory_is_read_at_the_call_pinned_memory_when_the_copy_runs() {
    let gpu = gpu();
    gpu.simulator.configure(with(Async::Lazy)).unwrap();
    let mut pageable = vec![1f32; 4];
    // SAFETY: written before it is read.
    let mut pinned = unsafe { gpu.context.alloc_pinned::<f32>(4) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(1.0);
    let from_pageable = gpu.stream.clone_htod(&pageable).unwrap();
    let mut from_pinned = gpu.stream.alloc_zeros::<f32>(4).unwrap();
    // cudarc waits for a pinned slice before it hands it out again, so the address is taken before the copy.
    let address = pinned.as_mut_ptr().unwrap();
    gpu.stream.memcpy_htod(&pinned, &mut from_pinned).unwrap();
    pageable.fill(2.0);
    // SAFETY: the slice is alive and four floats long; nothing runs in the background.
    unsafe { std::slice::from_raw_parts_mut(address, 4) }.fill(2.0);
    assert_eq!(gpu.stream.clone_dtoh(&from_pageable).unwrap(), [1f32; 4]);
    assert_eq!(gpu.stream.clone_dtoh(&from_pinned).unwrap(), [2f32; 4]);
}

#[test]
fn lazy_work_is_not_done_before_somebody_waits() {
    let gpu = gpu();
    for (asynchrony, expected) in [(Async::Lazy, 0), (Async::Eager, 1)] {
        gpu.simulator.configure(with(asynchrony)).unwrap();
        let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
        gpu.stream.synchronize().unwrap();
        gpu.simulator.record_launches(true);
        scale_add(&gpu, &gpu.stream, &mut values, 1.0, 2.0);
        assert_eq!(gpu.simulator.take_launches().len(), expected);
        gpu.stream.synchronize().unwrap();
        assert_eq!(gpu.simulator.take_launches().len(), 1 - expected);
        gpu.simulator.record_launches(false);
    }
}

/// Two streams without an event between them: their order depends on the seed alone.
fn unordered(gpu: &Gpu, seed: u64) -> f32 {
    gpu.simulator.configure(Settings { schedule: Schedule::Random(seed), ..with(Async::Random) }).unwrap();
    let other = gpu.context.new_stream().unwrap();
    let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
    gpu.stream.synchronize().unwrap();
    scale_add(gpu, &gpu.stream, &mut values, 1.0, 2.0);
    scale_add(gpu, &other, &mut values, 10.0, 1.0);
    other.synchronize().unwrap();
    gpu.stream.synchronize().unwrap();
    gpu.stream.clone_dtoh(&values).unwrap()[0]
}

#[test]
fn unordered_streams_run_in_every_order_and_a_seed_repeats_it() {
    let gpu = gpu();
    let results: Vec<f32> = (0..16).map(|seed| unordered(&gpu, seed)).collect();
    assert!(results.contains(&31.0) && results.contains(&13.0), "{results:?}");
    assert_eq!(results, (0..16).map(|seed| unordered(&gpu, seed)).collect::<Vec<_>>());
}

#[test]
fn freed_memory_is_still_there_for_work_before_it_in_the_stream() {
    let gpu = gpu();
    for asynchrony in [Async::Lazy, Async::Eager, Async::Random] {
        gpu.simulator.configure(with(asynchrony)).unwrap();
        let source = gpu.stream.clone_htod(&[7f32; 64]).unwrap();
        let copy = gpu.stream.clone_dtod(&source).unwrap();
        drop(source);
        assert_eq!(gpu.stream.clone_dtoh(&copy).unwrap(), [7f32; 64]);
    }
}

#[test]
fn a_failed_stream_stays_failed_until_its_reports_are_taken() {
    let gpu = gpu();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    launch!(gpu.stream, gpu.function("bug_global_out_of_bounds"), grid(1, 32), &mut out).unwrap();
    let failed = DriverError(CUresult::CUDA_ERROR_LAUNCH_FAILED);
    assert_eq!(gpu.stream.synchronize(), Err(failed));
    assert_eq!(gpu.stream.synchronize(), Err(failed));
    let text = failed.error_string().unwrap().to_str().unwrap().to_owned();
    assert!(text.contains("an earlier launch of this stream failed"), "{text}");
    assert_eq!(gpu.simulator.take_reports().len(), 1);
    assert_eq!(gpu.stream.synchronize(), Ok(()));
    assert!(gpu.simulator.take_reports().is_empty());
}

#[test]
fn what_a_stream_does_last_is_reported_when_it_is_destroyed() {
    let gpu = gpu();
    for asynchrony in [Async::Lazy, Async::Eager] {
        gpu.simulator.configure(with(asynchrony)).unwrap();
        let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
        gpu.stream.synchronize().unwrap();
        let other = gpu.context.new_stream().unwrap();
        launch!(other, gpu.function("bug_global_out_of_bounds"), grid(1, 32), &mut out).unwrap();
        assert!(gpu.simulator.take_reports().is_empty());
        drop(other);
        assert_eq!(gpu.simulator.take_reports().len(), 1);
        assert!(gpu.simulator.take_reports().is_empty());
    }
}

#[test]
fn the_legacy_stream_works_and_reports_to_the_thread_that_used_it() {
    let gpu = gpu();
    let legacy = gpu.context.default_stream();
    let mut out = legacy.alloc_zeros::<f32>(2048).unwrap();
    launch!(legacy, gpu.function("bug_blocks_overlap"), grid(2, 64), &mut out).unwrap();
    let other = std::thread::spawn(|| {
        let gpu = crate::gpu();
        (gpu.context.default_stream().synchronize(), gpu.simulator.take_reports())
    });
    assert_eq!(other.join().unwrap(), (Ok(()), vec![]));
    assert!(legacy.synchronize().is_err());
    assert_eq!(gpu.simulator.take_reports().len(), 1);
}
