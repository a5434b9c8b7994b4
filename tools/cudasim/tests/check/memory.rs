//! Device memory: what is uninitialised, what is freed, and how many bytes a launch touches.

use crate::common::grid;
use crate::{gpu, launch};
use cudarc::driver::sys::CUresult;

#[test]
fn uninitialised_memory_is_reported_until_it_is_written() {
    let gpu = gpu();
    // SAFETY: reading it before it is written is what is tested.
    let mut values = unsafe { gpu.stream.alloc::<f32>(64) }.unwrap();
    let (factor, summand, count) = (1f32, 1f32, 64i32);
    let mut run = || {
        let kernel = gpu.function("scale_add");
        launch!(gpu.stream, kernel, grid(1, 64), &mut values, &factor, &summand, &count).unwrap();
        gpu.synchronize().1
    };
    let reports = run();
    assert!(reports[0].contains("reads device memory that nobody has initialised"), "{reports:?}");
    assert!(run().is_empty(), "the first run has written it");
}

#[test]
fn copies_carry_along_what_is_uninitialised() {
    let gpu = gpu();
    // SAFETY: reading it before it is written is what is tested.
    let nothing = unsafe { gpu.stream.alloc::<f32>(64) }.unwrap();
    let mut values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    gpu.stream.memcpy_dtod(&nothing, &mut values).unwrap();
    crate::streams::scale_add(&gpu, &gpu.stream, &mut values, 1.0, 1.0);
    assert!(gpu.synchronize().1[0].contains("nobody has initialised"));
}

#[test]
fn distinct_bytes_are_counted() {
    let gpu = gpu();
    let (count, taps) = (1000usize, 16usize);
    let x = gpu.stream.clone_htod(&vec![1f32; count + taps]).unwrap();
    let w = gpu.stream.clone_htod(&vec![1f32; taps]).unwrap();
    let mut out = gpu.stream.alloc_zeros::<f32>(count).unwrap();
    let (n, k) = (count as i32, taps as i32);
    let records = gpu.recorded(|| {
        launch!(gpu.stream, gpu.function("correlate"), grid(4, 256), &mut out, &x, &w, &n, &k).unwrap();
    });
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!((record.kernel.as_str(), record.grid, record.block), ("correlate", [4, 1, 1], [256, 1, 1]));
    // Each of the 1015 inputs and 16 weights once, however many threads read it.
    assert_eq!(record.bytes_read, 4 * (count + taps - 1 + taps) as u64);
    assert_eq!(record.bytes_written, 4 * count as u64);
}

#[test]
fn bytes_of_small_elements_and_atomics_are_counted() {
    let gpu = gpu();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    let records = gpu.recorded(|| {
        launch!(gpu.stream, gpu.function("ok_small_elements"), grid(4, 64), &mut out).unwrap();
        launch!(gpu.stream, gpu.function("ok_atomic_sum"), grid(4, 64), &mut out).unwrap();
        launch!(gpu.stream, gpu.function("fill"), grid(1, 32), &mut out, &1f32, &7i32).unwrap();
    });
    let bytes: Vec<_> = records.iter().map(|record| (record.bytes_read, record.bytes_written)).collect();
    assert_eq!(bytes, [(0, 256 + 2 * 256), (32, 32), (0, 28)]);
}

#[test]
fn the_limit_of_memory_is_that_of_the_device() {
    let gpu = gpu();
    let (available, total) = gpu.context.mem_get_info().unwrap();
    assert!(available <= total);
    assert_eq!(total, gpu.context.total_mem().unwrap());
    // SAFETY: the allocation fails.
    let result = unsafe { gpu.stream.alloc::<u8>(total + 1) };
    assert_eq!(result.err().unwrap().0, CUresult::CUDA_ERROR_OUT_OF_MEMORY);
}

#[test]
fn copies_out_of_bounds_are_refused() {
    let gpu = gpu();
    let values = gpu.stream.clone_htod(&[1f32; 64]).unwrap();
    let (address, _guard) = cudarc::driver::DevicePtr::device_ptr(&values, &gpu.stream);
    let mut host = [0f32; 65];
    // SAFETY: the copy is refused.
    let result = unsafe { cudarc::driver::result::memcpy_dtoh_sync(&mut host, address) };
    let error = result.unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_INVALID_VALUE);
    let text = error.error_string().unwrap().to_str().unwrap().to_owned();
    assert!(text.contains("4 bytes past the end of a 256-byte allocation"), "{text}");
}
