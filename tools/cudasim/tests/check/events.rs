//! Events order streams, and tell time.

use crate::common::{QUIET, grid};
use crate::streams::scale_add;
use crate::{all_settings, gpu, launch};
use cudarc::driver::sys::CUevent_flags;
use cudasim::{Async, Settings};

#[test]
fn a_stream_waits_for_an_event_of_another() {
    let gpu = gpu();
    for settings in all_settings() {
        gpu.simulator.configure(settings).unwrap();
        let other = gpu.context.new_stream().unwrap();
        let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
        scale_add(&gpu, &gpu.stream, &mut values, 1.0, 2.0);
        other.wait(&gpu.stream.record_event(None).unwrap()).unwrap();
        scale_add(&gpu, &other, &mut values, 10.0, 1.0);
        gpu.stream.wait(&other.record_event(None).unwrap()).unwrap();
        scale_add(&gpu, &gpu.stream, &mut values, 2.0, 0.0);
        assert_eq!(gpu.stream.clone_dtoh(&values).unwrap(), [62f32; 8], "{settings:?}");
    }
}

/// A chain through three streams, of which only the last is waited for.
#[test]
fn waiting_for_the_end_of_a_chain_runs_all_of_it() {
    let gpu = gpu();
    let streams = [gpu.stream.clone(), gpu.context.new_stream().unwrap(), gpu.context.new_stream().unwrap()];
    let mut values = streams[0].clone_htod(&[0f32; 8]).unwrap();
    for link in 0..9 {
        let (here, next) = (&streams[link % 3], &streams[(link + 1) % 3]);
        scale_add(&gpu, here, &mut values, 2.0, 1.0);
        next.wait(&here.record_event(None).unwrap()).unwrap();
    }
    assert_eq!(streams[0].clone_dtoh(&values).unwrap(), [511f32; 8]);
}

#[test]
fn an_event_is_complete_when_the_work_before_it_is() {
    let gpu = gpu();
    gpu.simulator.configure(Settings { asynchrony: Async::Lazy, ..QUIET }).unwrap();
    let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
    scale_add(&gpu, &gpu.stream, &mut values, 1.0, 2.0);
    let event = gpu.stream.record_event(None).unwrap();
    assert!(!event.is_complete());
    event.synchronize().unwrap();
    assert!(event.is_complete());
    // Asking again and again is also waiting.
    scale_add(&gpu, &gpu.stream, &mut values, 1.0, 2.0);
    event.record(&gpu.stream).unwrap();
    assert!((0..10).any(|_| event.is_complete()));
}

#[test]
fn elapsed_time_is_that_of_the_work_in_between() {
    let gpu = gpu();
    let timed = Some(CUevent_flags::CU_EVENT_DEFAULT);
    let mut out = gpu.stream.alloc_zeros::<i32>(4).unwrap();
    let begin = gpu.stream.record_event(timed).unwrap();
    launch!(gpu.stream, gpu.function("meet"), grid(4, 256), &mut out, &100i32).unwrap();
    let end = gpu.stream.record_event(timed).unwrap();
    let elapsed = begin.elapsed_ms(&end).unwrap();
    assert!(elapsed > 0.1 && elapsed < 10_000.0, "{elapsed}");
    assert!(gpu.stream.record_event(None).unwrap().elapsed_ms(&end).is_err(), "an event without timing");
}
