//! The test kernels that compute something, and what they should compute.

use crate::common::Gpu;
use crate::launch;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig, sys};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// The reports, and the relative error of the result (infinite when it could not be read or is not a number).
pub struct Outcome {
    pub reports: Vec<String>,
    pub error: f64,
}

/// Numbers in [-1, 1], always the same ones.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) % 2001) as f32 / 1000.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// bfloat16 bits, and the numbers they stand for.
fn bf16_numbers(seed: u64, count: usize) -> (Vec<u16>, Vec<f32>) {
    let bits: Vec<u16> = numbers(seed, count).iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    let values = bits.iter().map(|&b| f32::from_bits((b as u32) << 16)).collect();
    (bits, values)
}

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(expected).map(|(&a, &b)| (a as f64 - b).powi(2)).sum();
    let error = (difference / expected.iter().map(|b| b * b).sum::<f64>()).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Synchronises, and compares when nothing was reported.
fn outcome(gpu: &Gpu, compare: &[(&CudaSlice<f32>, &[f64])]) -> Outcome {
    let (result, reports) = gpu.synchronize();
    let mut error = 0f64;
    if result.is_ok() {
        for (found, expected) in compare {
            error = error.max(relative_error(&gpu.stream.clone_dtoh(*found).unwrap(), expected));
        }
    } else {
        error = f64::INFINITY;
    }
    Outcome { reports, error }
}

/// x [n, k], w [m, k] (or [k, m] if `w_is_kn`): their product [n, m].
fn product(a: &[f32], b: &[f32], [m, n, k]: [usize; 3], b_is_kn: bool) -> Vec<f64> {
    let b_at = |column: usize, i: usize| if b_is_kn { b[i * n + column] } else { b[column * k + i] };
    let element =
        |row: usize, column: usize| -> f64 { (0..k).map(|i| a[row * k + i] as f64 * b_at(column, i) as f64).sum() };
    (0..m * n).map(|i| element(i / n, i % n)).collect()
}

/// 4x4 convolution, stride 2, padding 1; x [n, h, h, ci], w [co, 4, 4, ci]; and sums and sums of squares [n, co, 2].
pub fn run_conv(gpu: &Gpu, mutation: u32) -> Outcome {
    let (n, h, ci, co) = (1usize, 32usize, 16usize, 32usize);
    let oh = h / 2;
    let (x, w) = (numbers(1, n * h * h * ci), numbers(2, co * 16 * ci));
    let mut y = vec![0f64; n * oh * oh * co];
    let mut sums = vec![0f64; n * co * 2];
    for (i, out) in y.iter_mut().enumerate() {
        let (image, oy, ox, o) = (i / (oh * oh * co), i / (oh * co) % oh, i / co % oh, i % co);
        for tap in 0..16 {
            let (iy, ix) = ((oy * 2 + tap / 4).wrapping_sub(1), (ox * 2 + tap % 4).wrapping_sub(1));
            if iy >= h || ix >= h {
                continue;
            }
            for c in 0..ci {
                *out += x[((image * h + iy) * h + ix) * ci + c] as f64 * w[(o * 16 + tap) * ci + c] as f64;
            }
        }
        sums[(image * co + o) * 2] += *out;
        sums[(image * co + o) * 2 + 1] += *out * *out;
    }
    let stream = &gpu.stream;
    let (dx, dw) = (stream.clone_htod(&x).unwrap(), stream.clone_htod(&w).unwrap());
    let mut dy = stream.alloc_zeros::<f32>(y.len()).unwrap();
    let mut dsums = stream.alloc_zeros::<f32>(sums.len()).unwrap();
    let config = LaunchConfig {
        grid_dim: (oh as u32 / 8, oh as u32 / 8, (n * co / 16) as u32),
        block_dim: (128, 1, 1),
        shared_mem_bytes: 0,
    };
    let (h, ci, co) = (h as i32, ci as i32, co as i32);
    let kernel = gpu.function(&format!("conv_{mutation}"));
    launch!(stream, kernel, config, &dx, &dw, &mut dy, &mut dsums, &h, &h, &ci, &co).unwrap();
    outcome(gpu, &[(&dy, &y), (&dsums, &sums)])
}

fn run_gemm(gpu: &Gpu, layout: &str, mutation: u32) -> Outcome {
    let size @ [m, n, k] = [100usize, 136, 160];
    let ((a, av), (b, bv)) = (bf16_numbers(3, m * k), bf16_numbers(4, n * k));
    let expected = product(&av, &bv, size, layout == "nn");
    let stream = &gpu.stream;
    let (da, db) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let mut dc = stream.alloc_zeros::<f32>(m * n).unwrap();
    let stage = if layout == "nn" { 64 * 40 + 32 * 72 } else { 128 * 40 };
    let config = LaunchConfig {
        grid_dim: (n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1),
        block_dim: (128, 1, 1),
        shared_mem_bytes: 2 * stage * 2,
    };
    let (m, n, k) = (m as i32, n as i32, k as i32);
    let kernel = gpu.function(&format!("gemm_{layout}_{mutation}"));
    launch!(stream, kernel, config, &da, &db, &mut dc, &m, &n, &k).unwrap();
    outcome(gpu, &[(&dc, &expected)])
}

pub fn run_gemm_mma(gpu: &Gpu, mutation: u32) -> Outcome {
    run_gemm(gpu, "tn", mutation)
}

#[allow(dead_code)] // one of the test binaries does not
pub fn run_gemm_mma_nn(gpu: &Gpu, mutation: u32) -> Outcome {
    run_gemm(gpu, "nn", mutation)
}

/// A tensor map as a kernel's parameter.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct TensorMap(pub sys::CUtensorMap);

// SAFETY: a plain structure, which kernels take by value.
unsafe impl DeviceRepr for TensorMap {}

/// bf16 [outer, inner] in boxes of 64 x 64, with the 128-byte swizzle.
pub fn tensor_map(stream: &Arc<CudaStream>, memory: &mut CudaSlice<u16>, inner: usize, outer: usize) -> TensorMap {
    let (address, _guard) = memory.device_ptr_mut(stream);
    let mut map = MaybeUninit::uninit();
    let (sizes, strides) = ([inner as u64, outer as u64], [inner as u64 * 2]);
    // SAFETY: the arrays have as many entries as the rank of 2 asks for.
    unsafe {
        sys::cuTensorMapEncodeTiled(
            map.as_mut_ptr(),
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            2,
            address as *mut _,
            sizes.as_ptr(),
            strides.as_ptr(),
            [64u32, 64].as_ptr(),
            [1u32, 1].as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
        .result()
        .unwrap();
        TensorMap(map.assume_init())
    }
}

pub fn run_wgmma_tma(gpu: &Gpu, mutation: u32) -> Outcome {
    let size @ [m, n, k] = [100usize, 136, 320];
    let ((a, av), (b, bv)) = (bf16_numbers(5, m * k), bf16_numbers(6, n * k));
    let expected = product(&av, &bv, size, false);
    let stream = &gpu.stream;
    let (mut da, mut db) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let (ta, tb) = (tensor_map(stream, &mut da, k, m), tensor_map(stream, &mut db, k, n));
    let mut dc = stream.alloc_zeros::<f32>(m * n).unwrap();
    let shared_mem_bytes = 3 * 2 * 64 * 64 * 2 + 64;
    let config = LaunchConfig {
        grid_dim: (n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1),
        block_dim: (160, 1, 1),
        shared_mem_bytes,
    };
    let (m, n, k) = (m as i32, n as i32, k as i32);
    let kernel = gpu.function(&format!("wgmma_tma_{mutation}"));
    kernel
        .set_attribute(
            sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            shared_mem_bytes as i32,
        )
        .unwrap();
    launch!(stream, kernel, config, &ta, &tb, &mut dc, &m, &n, &k).unwrap();
    outcome(gpu, &[(&dc, &expected)])
}

pub fn run_wgmma_generic(gpu: &Gpu, mutation: u32) -> Outcome {
    let ((a, av), (b, bv)) = (bf16_numbers(7, 64 * 64), bf16_numbers(8, 64 * 64));
    let expected = product(&av, &bv, [64, 64, 64], true);
    let stream = &gpu.stream;
    let (da, db) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let mut dc = stream.alloc_zeros::<f32>(64 * 64).unwrap();
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 2 * 64 * 64 * 2 };
    launch!(stream, gpu.function(&format!("wgmma_generic_{mutation}")), config, &da, &db, &mut dc).unwrap();
    outcome(gpu, &[(&dc, &expected)])
}

/// NHWC [2, 12, 10, 64] for every tap of a 4x4 convolution, stride 2, padding 1: pixels that differ from plain
/// indexing.
#[allow(dead_code)] // one of the test binaries does not
pub fn im2col_differences(gpu: &Gpu) -> usize {
    let (n, h, w, c) = (2usize, 12usize, 10usize, 64usize);
    let (oh, ow) = (h / 2, w / 2);
    let pixels = n * oh * ow;
    let (image, _) = bf16_numbers(9, n * h * w * c);
    let stream = &gpu.stream;
    let dimage = stream.clone_htod(&image).unwrap();
    let mut map = MaybeUninit::uninit();
    let (sizes, strides) = ([c, w, h, n].map(|x| x as u64), [c, w * c, h * w * c].map(|x| x as u64 * 2));
    let (address, _guard) = dimage.device_ptr(stream);
    // SAFETY: the arrays have as many entries as the rank of 4 asks for. The lower corner is minus the padding, the
    // upper one padding minus (taps - 1).
    let map = TensorMap(unsafe {
        sys::cuTensorMapEncodeIm2col(
            map.as_mut_ptr(),
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            4,
            address as *mut _,
            sizes.as_ptr(),
            strides.as_ptr(),
            [-1i32, -1].as_ptr(),
            [-2i32, -2].as_ptr(),
            c as u32,
            pixels as u32,
            [1u32, 2, 2, 1].as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
        .result()
        .unwrap();
        map.assume_init()
    });
    let mut out = stream.alloc_zeros::<u16>(pixels * c).unwrap();
    let shared_mem_bytes = (pixels * 128 + 64) as u32;
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes };
    let (corner, first, count) = (-1i32, 0i32, pixels as i32);
    let mut differences = 0;
    for tap in 0..16usize {
        let (r, s) = (tap as i32 / 4, tap as i32 % 4);
        launch!(stream, gpu.function("im2col"), config, &map, &mut out, &corner, &corner, &first, &s, &r, &count)
            .unwrap();
        let found = stream.clone_dtoh(&out).unwrap();
        for (i, &value) in found.iter().enumerate() {
            let (pixel, channel) = (i / c, i % c);
            let (b, oy, ox) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
            let (y, x) = ((oy * 2 + tap / 4).wrapping_sub(1), (ox * 2 + tap % 4).wrapping_sub(1));
            let expected = if y < h && x < w { image[((b * h + y) * w + x) * c + channel] } else { 0 };
            differences += (value != expected) as usize;
        }
    }
    differences
}
