//! One synchronisation at a time is taken out of correct kernels: the checker must notice each, and must be silent
//! about the kernels as they are.

use crate::common::Gpu;
use crate::tiles::{Outcome, run_conv, run_gemm_mma, run_wgmma_generic, run_wgmma_tma};
use crate::{all_settings, gpu};

type Run = fn(&Gpu, u32) -> Outcome;

const MUTATIONS: &[(Run, u32, &str)] = &[
    (run_conv, 1, "no __syncthreads after the tile is loaded"),
    (run_conv, 2, "no __syncthreads before it is loaded again"),
    (run_conv, 3, "no __syncthreads before the statistics are reduced"),
    (run_conv, 4, "plain += across blocks instead of atomicAdd"),
    (run_conv, 5, "one row read past the image"),
    (run_conv, 6, "the halo is not zeroed"),
    (run_gemm_mma, 1, "no cp.async.wait_group"),
    (run_gemm_mma, 2, "no __syncthreads after the wait"),
    (run_gemm_mma, 3, "no __syncthreads before the refill"),
    (run_wgmma_tma, 1, "no wait for the full barrier"),
    (run_wgmma_tma, 2, "no wait for the empty barrier"),
    (run_wgmma_tma, 3, "the stage is released before wgmma.wait_group"),
    (run_wgmma_tma, 4, "no wgmma.fence"),
    (run_wgmma_tma, 5, "half of the bytes are expected"),
    (run_wgmma_tma, 6, "no swizzle in a descriptor"),
    (run_wgmma_tma, 7, "no fence.mbarrier_init"),
    (run_wgmma_tma, 8, "a count of 5 for 4 arrivals"),
    (run_wgmma_generic, 1, "no fence.proxy.async"),
    (run_wgmma_generic, 2, "no __syncthreads"),
    (run_wgmma_generic, 3, "no wgmma.wait_group"),
];

#[test]
fn the_kernels_as_they_are_compute_what_they_should_in_every_order() {
    let gpu = gpu();
    for settings in all_settings() {
        gpu.simulator.configure(settings).unwrap();
        for run in [run_conv as Run, run_gemm_mma, run_wgmma_tma, run_wgmma_generic] {
            let outcome = run(&gpu, 0);
            assert!(outcome.reports.is_empty(), "{settings:?}: {:#?}", outcome.reports);
            assert!(outcome.error < 1e-5, "{settings:?}: {}", outcome.error);
        }
    }
}

/// By reports, except for a wrong descriptor, which reads other elements that are as good as the right ones.
#[test]
fn every_mutation_is_noticed() {
    let gpu = gpu();
    for &(run, mutation, what) in MUTATIONS {
        let outcome = run(&gpu, mutation);
        let noticed = !outcome.reports.is_empty() || outcome.error >= 1e-5;
        assert!(noticed, "{what}");
        assert_eq!(outcome.reports.is_empty(), what == "no swizzle in a descriptor", "{what}: {:#?}", outcome.reports);
    }
}
