//! Tests on the fast build: that the instructions compute what the GPU's do, element for element.

#[path = "common/mod.rs"]
mod common;
#[path = "common/tiles.rs"]
mod tiles;

use common::{Gpu, QUIET, grid};
use cudasim::{Build, Settings};

fn gpu() -> Gpu {
    Gpu::new(Build::Fast, QUIET)
}

/// A layout as CUTLASS writes it: nested shapes and strides. A flat coordinate runs through the shapes from the first
/// to the last, as CuTe's does.
enum Layout {
    Mode(usize, usize),
    Modes(Vec<Layout>),
}
use Layout::Mode;

impl Layout {
    fn size(&self) -> usize {
        match self {
            Mode(size, _) => *size,
            Layout::Modes(modes) => modes.iter().map(Layout::size).product(),
        }
    }

    fn at(&self, mut coordinate: usize) -> usize {
        match self {
            Mode(_, stride) => coordinate * stride,
            Layout::Modes(modes) => {
                let mut offset = 0;
                for mode in modes {
                    offset += mode.at(coordinate % mode.size());
                    coordinate /= mode.size();
                }
                offset
            }
        }
    }
}

fn modes<const N: usize>(modes: [(usize, usize); N]) -> Layout {
    Layout::Modes(modes.into_iter().map(|(size, stride)| Mode(size, stride)).collect())
}

fn bf16(x: f32) -> u16 {
    (x.to_bits() >> 16) as u16
}

/// `mma_traits_sm80.hpp`, SM80_16x8x16: A is (T32, V8) -> (M16, K16), B (T32, V4) -> (N8, K16), C (T32, V4) -> (M16,
/// N8). A has a single one at (m, k), b\[n, k] is 1 + n + 8 k: d must be row k of b, in row m.
#[test]
fn mma_fragments_are_those_of_cutlass() {
    let gpu = gpu();
    let a_layout = (modes([(4, 32), (8, 1)]), modes([(2, 16), (2, 8), (2, 128)]));
    let b_layout = (modes([(4, 16), (8, 1)]), modes([(2, 8), (2, 64)]));
    let c_layout = (modes([(4, 32), (8, 1)]), modes([(2, 16), (2, 8)]));
    let at = |layout: &(Layout, Layout), thread: usize, value: usize| layout.0.at(thread) + layout.1.at(value);
    let mut b = [0u16; 128];
    for (i, value) in b.iter_mut().enumerate() {
        let offset = at(&b_layout, i / 4, i % 4);
        *value = bf16((1 + offset % 8 + 8 * (offset / 8)) as f32);
    }
    let db = gpu.stream.clone_htod(&b).unwrap();
    let mut dd = gpu.stream.alloc_zeros::<f32>(128).unwrap();
    for (m, k) in (0..256).map(|i| (i / 16, i % 16)) {
        let mut a = [0u16; 256];
        for (i, value) in a.iter_mut().enumerate() {
            let offset = at(&a_layout, i / 8, i % 8);
            *value = bf16((offset % 16 == m && offset / 16 == k) as u8 as f32);
        }
        let da = gpu.stream.clone_htod(&a).unwrap();
        launch!(gpu.stream, gpu.function("probe_mma"), grid(1, 32), &da, &db, &mut dd).unwrap();
        for (i, &found) in gpu.stream.clone_dtoh(&dd).unwrap().iter().enumerate() {
            let offset = at(&c_layout, i / 4, i % 4);
            let expected = if offset % 16 == m { 1 + offset / 16 + 8 * k } else { 0 };
            assert_eq!(found, expected as f32, "m {m} k {k} lane {} register {}", i / 4, i % 4);
        }
    }
}

/// `copy_traits_sm75.hpp`: SM75_U32x4_LDSM_N and SM75_U16x8_LDSM_T, destinations in bits.
#[test]
fn ldmatrix_registers_are_those_of_cutlass() {
    let gpu = gpu();
    let plain = (Mode(32, 32), modes([(32, 1), (4, 1024)]));
    let transposed = (modes([(4, 256), (8, 16)]), modes([(16, 1), (2, 128), (4, 1024)]));
    for (trans, layout) in [(0i32, plain), (1, transposed)] {
        let mut out = gpu.stream.alloc_zeros::<u16>(256).unwrap();
        launch!(gpu.stream, gpu.function("probe_ldmatrix"), grid(1, 32), &mut out, &trans).unwrap();
        for (i, &found) in gpu.stream.clone_dtoh(&out).unwrap().iter().enumerate() {
            let (lane, matrix, half) = (i / 8, i / 2 % 4, i % 2);
            let bit = layout.0.at(lane) + layout.1.at(16 * half + 32 * matrix);
            assert_eq!(found as usize, bit / 16, "transposed {trans} lane {lane} matrix {matrix} half {half}");
        }
    }
}

/// `mma_traits_sm90_gmma.hpp`: the canonical layouts of K-major and MN-major operands, under Swizzle<B, 4, 3>.
#[test]
fn wgmma_descriptors_address_the_canonical_layouts() {
    let gpu = gpu();
    let swizzle = |bits: u32, address: usize| address ^ (address >> 3 & (((1 << bits) - 1) << 4));
    // The layout's number in the descriptor, and B.
    for (layout, bits) in [(0u64, 0u32), (3, 1), (2, 2), (1, 3)] {
        let chunks = 1usize << bits;
        for (start, stride, leading) in [(1024usize, 1024usize, 2048usize), (5120, 2048, 4096)] {
            for step in 0..if bits == 3 { 4 } else { 1 } {
                let start = start + step * 32;
                let descriptor =
                    (start >> 4) as u64 | ((leading >> 4) as u64) << 16 | ((stride >> 4) as u64) << 32 | layout << 62;
                let k_major = (
                    modes([(8, chunks * 8), (8, stride / 2)]),
                    modes([(8, 1), (2, if bits > 0 { 8 } else { leading / 2 })]),
                );
                let mn_major = if bits > 0 {
                    let atoms = 64 / (8 * chunks);
                    (modes([(8, 1), (chunks, 8), (atoms, leading / 2)]), modes([(8, chunks * 8), (2, stride / 2)]))
                } else {
                    (modes([(8, 1), (8, stride / 2)]), modes([(8, 8), (2, leading / 2)]))
                };
                for (mn, k) in (0..64 * 16).map(|i| (i / 16, i % 16)) {
                    let check = |transposed: bool, (by_mn, by_k): &(Layout, Layout)| {
                        let expected = swizzle(bits, start + 2 * (by_mn.at(mn) + by_k.at(k)));
                        let found = gpu.simulator.operand_address(descriptor, mn as i32, k as i32, transposed);
                        assert_eq!(found as usize, expected, "layout {layout} transposed {transposed} ({mn}, {k})");
                    };
                    check(false, &k_major);
                    if step == 0 {
                        check(true, &mn_major);
                    }
                }
            }
        }
    }
}

#[test]
fn kernels_compute_what_they_should_on_one_host_thread_and_on_several() {
    let gpu = gpu();
    for threads in [1, 4] {
        gpu.simulator.configure(Settings { threads, ..QUIET }).unwrap();
        let runs = [
            tiles::run_conv,
            tiles::run_gemm_mma,
            tiles::run_gemm_mma_nn,
            tiles::run_wgmma_tma,
            tiles::run_wgmma_generic,
        ];
        for run in runs {
            let outcome = run(&gpu, 0);
            assert!(outcome.reports.is_empty(), "{:#?}", outcome.reports);
            assert!(outcome.error < 1e-5, "{}", outcome.error);
        }
    }
}

#[test]
fn several_host_threads_launch_at_once_on_several_host_threads_each() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let gpu = gpu();
                gpu.simulator.configure(Settings { threads: 3, ..QUIET }).unwrap();
                let count = 1000;
                for value in 0..50 {
                    let mut out = gpu.stream.alloc_zeros::<f32>(count).unwrap();
                    let (value, n) = (value as f32, count as i32);
                    launch!(gpu.stream, gpu.function("fill"), grid(16, 64), &mut out, &value, &n).unwrap();
                    assert_eq!(gpu.stream.clone_dtoh(&out).unwrap(), vec![value; count]);
                }
            });
        }
    });
}

#[test]
fn tma_brings_the_pixels_of_every_filter_tap() {
    assert_eq!(tiles::im2col_differences(&gpu()), 0);
}

/// Boxes that lie inside, and over each edge.
#[test]
fn tma_stores_what_it_loads_and_nothing_outside() {
    let gpu = gpu();
    let (inner, outer) = (128usize, 96usize);
    let image: Vec<u16> = (0..inner * outer).map(|i| i as u16 + 1).collect();
    let mut from = gpu.stream.clone_htod(&image).unwrap();
    let bytes = 64 * 64 * 2;
    let config = cudarc::driver::LaunchConfig { shared_mem_bytes: bytes as u32 + 64, ..grid(1, 32) };
    for (x, y) in [(0i32, 0i32), (64, 32), (-8, -5), (100, 70)] {
        let mut to = gpu.stream.alloc_zeros::<u16>(inner * outer).unwrap();
        let source = tiles::tensor_map(&gpu.stream, &mut from, inner, outer);
        let target = tiles::tensor_map(&gpu.stream, &mut to, inner, outer);
        launch!(gpu.stream, gpu.function("tma_copy"), config, &source, &target, &x, &y, &bytes).unwrap();
        for (i, found) in gpu.stream.clone_dtoh(&to).unwrap().into_iter().enumerate() {
            let (column, row) = ((i % inner) as i32 - x, (i / inner) as i32 - y);
            let inside = (0..64).contains(&column) && (0..64).contains(&row);
            assert_eq!(found, if inside { image[i] } else { 0 }, "box at ({x}, {y}), element {i}");
        }
    }
}
