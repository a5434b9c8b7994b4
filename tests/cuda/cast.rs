//! Casts to bf16 and back on CUDA, by each of their implementations.

use super::driver::on_device;
use crate::ops::cast;
use crate::support::machine::Engine;

#[test]
fn casts_round_and_widen() {
    on_device(|| {
        cast::casts_round_and_widen(Engine::Cuda);
        let others = cast::others(Engine::Cuda);
        assert!(crate::ON_GPU || others == ["tma"], "the simulator is a Hopper GPU: {others:?}");
        others.into_iter().for_each(|name| cast::casts_round_and_widen(Engine::CudaForced(name)));
    });
}

#[test]
fn the_host_reads_and_writes_bf16() {
    on_device(|| cast::the_host_reads_and_writes_bf16(Engine::Cuda));
}

#[test]
fn gradients_gather_in_bf16() {
    on_device(|| cast::gradients_gather_in_bf16(Engine::Cuda));
}
