//! Capture and replay.

use crate::common::{Gpu, QUIET};
use crate::gpu;
use crate::streams::scale_add;
use cudarc::driver::sys::{
    self, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode as Mode, CUstreamCaptureStatus as Status,
};
use cudarc::driver::{CudaGraph, CudaSlice, CudaStream, DriverError};
use cudasim::{Async, Schedule, Settings};
use std::sync::Arc;

const NO_FLAGS: CUgraphInstantiate_flags = CUgraphInstantiate_flags(0);

fn capture(stream: &Arc<CudaStream>, work: impl FnOnce()) -> Result<CudaGraph, DriverError> {
    stream.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    work();
    Ok(stream.end_capture(NO_FLAGS)?.expect("a capture without errors gives a graph"))
}

fn error<T>(result: Result<T, DriverError>) -> CUresult {
    result.err().map_or(CUresult::CUDA_SUCCESS, |e| e.0)
}

/// Kernels, a copy and a fill, in one stream.
fn steps(gpu: &Gpu, values: &mut CudaSlice<f32>, copy: &mut CudaSlice<f32>) {
    scale_add(gpu, &gpu.stream, values, 3.0, 1.0);
    gpu.stream.memcpy_dtod(values, copy).unwrap();
    scale_add(gpu, &gpu.stream, copy, 2.0, 0.5);
    scale_add(gpu, &gpu.stream, values, 1.0, -0.25);
}

#[test]
fn replays_are_what_the_steps_are() {
    let gpu = gpu();
    for asynchrony in [Async::Lazy, Async::Eager, Async::Random] {
        for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(5)] {
            gpu.simulator.configure(Settings { schedule, asynchrony, ..QUIET }).unwrap();
            let run = |times: usize, replayed: bool| {
                let mut values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
                let mut copy = gpu.stream.alloc_zeros::<f32>(64).unwrap();
                if replayed {
                    let graph = capture(&gpu.stream, || steps(&gpu, &mut values, &mut copy)).unwrap();
                    assert_eq!(gpu.stream.clone_dtoh(&values).unwrap(), [1f32; 64], "a capture runs nothing");
                    graph.upload().unwrap();
                    (0..times).for_each(|_| graph.launch().unwrap());
                    // The graph may go while its replays are still queued.
                } else {
                    (0..times).for_each(|_| steps(&gpu, &mut values, &mut copy));
                }
                (gpu.stream.clone_dtoh(&values).unwrap(), gpu.stream.clone_dtoh(&copy).unwrap())
            };
            assert_eq!(run(3, true), run(3, false));
        }
    }
}

#[test]
fn parameters_are_those_of_the_capture() {
    let gpu = gpu();
    let mut values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    let graph = {
        let mut summand = 5f32;
        let graph = capture(&gpu.stream, || scale_add(&gpu, &gpu.stream, &mut values, 1.0, summand)).unwrap();
        summand += 100.0;
        assert_eq!(summand, 105.0);
        graph
    };
    graph.launch().unwrap();
    assert_eq!(gpu.stream.clone_dtoh(&values).unwrap(), [6f32; 64]);
}

fn two_streams(gpu: &Gpu) -> [Arc<CudaStream>; 2] {
    [gpu.context.new_stream().unwrap(), gpu.context.new_stream().unwrap()]
}

/// Both branches leave the origin and come back to it; each branch works on memory of its own.
fn fork_and_join(gpu: &Gpu, branches: &[Arc<CudaStream>; 2], all: &mut [CudaSlice<f32>; 3]) {
    let [shared, left, right] = all;
    scale_add(gpu, &gpu.stream, shared, 2.0, 1.0);
    let forked = gpu.stream.record_event(None).unwrap();
    for (stream, own) in branches.iter().zip([left, right]) {
        stream.wait(&forked).unwrap();
        stream.memcpy_dtod(shared, own).unwrap();
        scale_add(gpu, stream, own, 3.0, 1.0);
        scale_add(gpu, stream, own, 5.0, 2.0);
        gpu.stream.wait(&stream.record_event(None).unwrap()).unwrap();
    }
    scale_add(gpu, &gpu.stream, shared, 0.0, 7.0);
}

#[test]
fn branches_run_in_other_orders_with_the_same_result() {
    let gpu = gpu();
    let branches = two_streams(&gpu);
    for schedule in schedules() {
        gpu.simulator.configure(Settings { schedule, ..QUIET }).unwrap();
        let mut all = [1f32, 2.0, 3.0].map(|x| gpu.stream.clone_htod(&[x; 64]).unwrap());
        let graph = capture(&gpu.stream, || fork_and_join(&gpu, &branches, &mut all)).unwrap();
        let records = gpu.recorded(|| graph.launch().unwrap());
        let results = all.map(|slice| gpu.stream.clone_dtoh(&slice).unwrap()[0]);
        assert_eq!(results, [7.0, 52.0, 52.0], "{schedule:?}");
        assert_eq!(records.len(), 6);
    }
    // The same graph without order between its branches shows that orders do differ, and that they are orders.
    let orders: Vec<u32> = schedules().map(|schedule| replay_order(&gpu, schedule)).collect();
    assert_eq!(orders[..2], [1324, 2413], "forward and reverse");
    let mut random = orders[2..].to_vec();
    random.sort();
    random.dedup();
    assert!(random.len() >= 3, "{orders:?}");
    for order in random {
        let [a, b, c, d] = [1, 2, 3, 4].map(|digit: u8| order.to_string().find((b'0' + digit) as char).unwrap());
        assert!(a < c && b < d, "{order}");
    }
}

fn schedules() -> impl Iterator<Item = Schedule> {
    [Schedule::Forward, Schedule::Reverse].into_iter().chain((0..12).map(Schedule::Random))
}

/// Two branches of two kernels, each of which appends its digit to one number: 1 and then 3, 2 and then 4.
fn replay_order(gpu: &Gpu, schedule: Schedule) -> u32 {
    gpu.simulator.configure(Settings { schedule, ..QUIET }).unwrap();
    let mut digits = gpu.stream.clone_htod(&[0f32; 1]).unwrap();
    let branches = two_streams(gpu);
    let graph = capture(&gpu.stream, || {
        let forked = gpu.stream.record_event(None).unwrap();
        for (stream, digit) in branches.iter().zip([1.0, 2.0]) {
            stream.wait(&forked).unwrap();
            scale_add(gpu, stream, &mut digits, 10.0, digit);
            scale_add(gpu, stream, &mut digits, 10.0, digit + 2.0);
            gpu.stream.wait(&stream.record_event(None).unwrap()).unwrap();
        }
    })
    .unwrap();
    graph.launch().unwrap();
    gpu.stream.clone_dtoh(&digits).unwrap()[0] as u32
}

#[test]
fn a_branch_that_does_not_come_back_is_an_error() {
    let gpu = gpu();
    let branch = gpu.context.new_stream().unwrap();
    let mut values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
    gpu.stream.synchronize().unwrap();
    let result = capture(&gpu.stream, || {
        branch.wait(&gpu.stream.record_event(None).unwrap()).unwrap();
        scale_add(&gpu, &branch, &mut values, 1.0, 1.0);
    });
    assert_eq!(error(result), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    branch.synchronize().unwrap();
}

/// Each call is refused, and ends the capture.
#[test]
fn forbidden_calls_invalidate_a_capture() {
    let gpu = gpu();
    let values = gpu.stream.clone_htod(&[1f32; 8]).unwrap();
    let outside = gpu.stream.record_event(None).unwrap();
    gpu.stream.synchronize().unwrap();
    let unsupported = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    type Call<'a> = (&'a str, CUresult, Box<dyn Fn() -> Result<(), DriverError> + 'a>);
    let calls: Vec<Call> = vec![
        ("synchronise the stream", unsupported, Box::new(|| gpu.stream.synchronize())),
        ("synchronise the context", unsupported, Box::new(|| gpu.context.synchronize())),
        ("copy to pageable memory", unsupported, Box::new(|| gpu.stream.clone_dtoh(&values).map(|_| ()))),
        ("allocate", unsupported, Box::new(|| gpu.stream.alloc_zeros::<f32>(4).map(|_| ()))),
        // SAFETY: the call fails.
        ("allocate at once", unsupported, Box::new(|| unsafe { cudarc::driver::result::malloc_sync(64) }.map(|_| ()))),
        ("free at once", unsupported, Box::new(|| unsafe { cudarc::driver::result::free_sync(0) })),
        (
            "wait for an event from outside",
            CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
            Box::new(|| gpu.stream.wait(&outside)),
        ),
        (
            "ask about an event from inside",
            CUresult::CUDA_ERROR_CAPTURED_EVENT,
            Box::new(|| gpu.stream.record_event(None).unwrap().try_is_complete().map(|_| ())),
        ),
    ];
    for (what, expected, call) in calls {
        gpu.stream.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        assert_eq!(gpu.stream.capture_status().unwrap(), Status::CU_STREAM_CAPTURE_STATUS_ACTIVE);
        assert_eq!(error(call()), expected, "{what}");
        assert_eq!(gpu.stream.capture_status().unwrap(), Status::CU_STREAM_CAPTURE_STATUS_INVALIDATED, "{what}");
        let ended = gpu.stream.end_capture(NO_FLAGS).map(|_| ());
        assert_eq!(error(ended), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "{what}");
        assert_eq!(gpu.stream.capture_status().unwrap(), Status::CU_STREAM_CAPTURE_STATUS_NONE, "{what}");
        gpu.stream.synchronize().unwrap();
    }
}

#[test]
fn a_capture_begins_once_and_not_on_the_legacy_stream() {
    let gpu = gpu();
    let mode = Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    let legacy = gpu.context.default_stream();
    assert_eq!(error(legacy.begin_capture(mode)), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(error(gpu.stream.end_capture(NO_FLAGS).map(|_| ())), CUresult::CUDA_ERROR_ILLEGAL_STATE);
    gpu.stream.begin_capture(mode).unwrap();
    assert_eq!(error(gpu.stream.begin_capture(mode)), CUresult::CUDA_ERROR_ILLEGAL_STATE);
    let empty = gpu.stream.end_capture(NO_FLAGS).unwrap().unwrap();
    empty.launch().unwrap();
    gpu.stream.synchronize().unwrap();
}

#[test]
fn two_captures_do_not_merge_and_flags_are_checked() {
    let gpu = gpu();
    let other = gpu.context.new_stream().unwrap();
    let mode = Mode::CU_STREAM_CAPTURE_MODE_RELAXED;
    gpu.stream.begin_capture(mode).unwrap();
    other.begin_capture(mode).unwrap();
    let event = gpu.stream.record_event(None).unwrap();
    assert_eq!(error(other.wait(&event)), CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE);
    for stream in [&gpu.stream, &other] {
        let ended = stream.end_capture(NO_FLAGS).map(|_| ());
        assert_eq!(error(ended), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    gpu.stream.begin_capture(mode).unwrap();
    let contradictory = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH
        | CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
    let ended = gpu.stream.end_capture(contradictory).map(|_| ());
    assert_eq!(error(ended), CUresult::CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn a_replay_over_freed_memory_is_reported() {
    let gpu = gpu();
    let mut values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    let mut copy = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    let kernel = capture(&gpu.stream, || scale_add(&gpu, &gpu.stream, &mut values, 1.0, 1.0)).unwrap();
    let fill = capture(&gpu.stream, || gpu.stream.memset_zeros(&mut copy).unwrap()).unwrap();
    drop((values, copy));
    for graph in [kernel, fill] {
        graph.launch().unwrap();
        let (result, reports) = gpu.synchronize();
        assert!(result.is_err());
        assert!(reports[0].contains("of a 256-byte allocation that was freed"), "{reports:?}");
    }
}

#[test]
fn a_graph_knows_how_many_nodes_it_has() {
    let gpu = gpu();
    let branches = two_streams(&gpu);
    let mut all = [1f32, 2.0, 3.0].map(|x| gpu.stream.clone_htod(&[x; 64]).unwrap());
    let graph = capture(&gpu.stream, || fork_and_join(&gpu, &branches, &mut all)).unwrap();
    let mut count = 0;
    // SAFETY: no array of nodes is asked for.
    let result = unsafe { sys::cuGraphGetNodes(graph.cu_graph(), std::ptr::null_mut(), &mut count) };
    assert_eq!((result, count), (CUresult::CUDA_SUCCESS, 8));
}
