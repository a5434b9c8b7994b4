// The host bodies of `ptx.cuh`, in its order: each function does to the simulated block what its instruction does.
#pragma once
#include "cudasim_threads.hpp"

#define PTX_DEV inline

namespace cudasim {
void cp_async(uint32_t destination, const void* source, uint32_t bytes, uint32_t source_bytes, Site at);
void cp_async_commit();
void cp_async_wait(unsigned pending_groups, Site at);
void ldmatrix(uint32_t* registers, int matrices, bool transposed, uint32_t row_address, Site at);
void mma_bf16_m16n8k16(float* d, const uint32_t* a, uint32_t b0, uint32_t b1, Site at);
void mbarrier_init(uint32_t barrier, uint32_t arrivals, Site at);
void mbarrier_expect_bytes(uint32_t barrier, uint32_t bytes, Site at);
void mbarrier_arrive(uint32_t barrier, uint32_t expected_bytes, Site at);
bool mbarrier_try_wait(uint32_t barrier, uint32_t parity, Site at);
void mbarrier_wait(uint32_t barrier, uint32_t parity, Site at);
void fence_mbarrier_init();
void fence_proxy_async();
void tma_load(uint32_t destination, const CUtensorMap* map, uint32_t barrier, int rank, const int* coordinates,
              const uint16_t* offsets, Site at);
void tma_store(const CUtensorMap* map, uint32_t source, int rank, const int* coordinates, Site at);
void bulk_commit();
void bulk_wait(unsigned pending_groups);
void wgmma_fence(Site at);
void wgmma_commit(Site at);
void wgmma_wait(unsigned pending_groups, Site at);
void wgmma(int n, bool transpose_a, bool transpose_b, float* d, uint64_t a, uint64_t b, bool accumulate, Site at);
}  // namespace cudasim

PTX_DEV uint32_t smem_u32(const void* p, CUDASIM_SITE) { return cudasim::shared_address(p, at); }

// ---- sm_80
PTX_DEV void cp_async16(uint32_t dst, const void* src, uint32_t src_bytes = 16, CUDASIM_SITE) {
    cudasim::cp_async(dst, src, 16, src_bytes, at);
}
PTX_DEV void cp_async4(uint32_t dst, const void* src, uint32_t src_bytes = 4, CUDASIM_SITE) {
    cudasim::cp_async(dst, src, 4, src_bytes, at);
}
PTX_DEV void cp_async8(uint32_t dst, const void* src, uint32_t src_bytes = 8, CUDASIM_SITE) {
    cudasim::cp_async(dst, src, 8, src_bytes, at);
}
PTX_DEV void cp_async_commit() { cudasim::cp_async_commit(); }
template <int N> PTX_DEV void cp_async_wait(CUDASIM_SITE) { cudasim::cp_async_wait(N, at); }
PTX_DEV void ldmatrix_x4(uint32_t (&r)[4], uint32_t row, CUDASIM_SITE) { cudasim::ldmatrix(r, 4, false, row, at); }
PTX_DEV void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t row, CUDASIM_SITE) { cudasim::ldmatrix(r, 4, true, row, at); }
PTX_DEV void ldmatrix_x2(uint32_t (&r)[2], uint32_t row, CUDASIM_SITE) { cudasim::ldmatrix(r, 2, false, row, at); }
PTX_DEV void mma_bf16_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, CUDASIM_SITE) {
    cudasim::mma_bf16_m16n8k16(d, a, b0, b1, at);
}
PTX_DEV unsigned atomic_add_acq_rel(unsigned* address, unsigned value, CUDASIM_SITE) {
    cudasim::thread_fence(at);
    const unsigned before = atomicAdd(address, value, at);
    cudasim::thread_fence(at);
    return before;
}
PTX_DEV void named_bar_sync(int id, int threads, CUDASIM_SITE) { cudasim::barrier(id, threads, false, at); }
PTX_DEV void named_bar_arrive(int id, int threads, CUDASIM_SITE) { cudasim::barrier(id, threads, true, at); }

// ---- sm_90a: mbarriers
PTX_DEV void mbar_init(uint32_t bar, uint32_t count, CUDASIM_SITE) { cudasim::mbarrier_init(bar, count, at); }
PTX_DEV void fence_mbar_init() { cudasim::fence_mbarrier_init(); }
PTX_DEV void fence_proxy_async() { cudasim::fence_proxy_async(); }
PTX_DEV void mbar_arrive(uint32_t bar, CUDASIM_SITE) { cudasim::mbarrier_arrive(bar, 0, at); }
PTX_DEV void mbar_expect_tx(uint32_t bar, uint32_t bytes, CUDASIM_SITE) {
    cudasim::mbarrier_expect_bytes(bar, bytes, at);
}
PTX_DEV void mbar_arrive_expect_tx(uint32_t bar, uint32_t bytes, CUDASIM_SITE) {
    cudasim::mbarrier_arrive(bar, bytes, at);
}
PTX_DEV bool mbar_try_wait(uint32_t bar, uint32_t parity, CUDASIM_SITE) {
    return cudasim::mbarrier_try_wait(bar, parity, at);
}
PTX_DEV void mbar_wait(uint32_t bar, uint32_t parity, CUDASIM_SITE) { cudasim::mbarrier_wait(bar, parity, at); }

// ---- sm_90a: tensor memory accelerator
PTX_DEV void tma_load_2d(uint32_t dst, const CUtensorMap* map, uint32_t bar, int c0, int c1, CUDASIM_SITE) {
    int coordinates[] = {c0, c1};
    cudasim::tma_load(dst, map, bar, 2, coordinates, nullptr, at);
}
PTX_DEV void tma_load_4d(uint32_t dst, const CUtensorMap* map, uint32_t bar, int c0, int c1, int c2, int c3,
                         CUDASIM_SITE) {
    int coordinates[] = {c0, c1, c2, c3};
    cudasim::tma_load(dst, map, bar, 4, coordinates, nullptr, at);
}
PTX_DEV void tma_load_im2col_4d(uint32_t dst, const CUtensorMap* map, uint32_t bar, int c, int w, int h, int n,
                                uint16_t offset_w, uint16_t offset_h, CUDASIM_SITE) {
    int coordinates[] = {c, w, h, n};
    uint16_t offsets[] = {offset_w, offset_h};
    cudasim::tma_load(dst, map, bar, 4, coordinates, offsets, at);
}
PTX_DEV void tma_store_2d(const CUtensorMap* map, uint32_t src, int c0, int c1, CUDASIM_SITE) {
    int coordinates[] = {c0, c1};
    cudasim::tma_store(map, src, 2, coordinates, at);
}
PTX_DEV void bulk_commit() { cudasim::bulk_commit(); }
template <int N> PTX_DEV void bulk_wait() { cudasim::bulk_wait(N); }
template <int N> PTX_DEV void bulk_wait_read() { cudasim::bulk_wait(N); }

// ---- sm_90a: matrix products of a warp group
PTX_DEV void wgmma_fence(CUDASIM_SITE) { cudasim::wgmma_fence(at); }
PTX_DEV void wgmma_commit(CUDASIM_SITE) { cudasim::wgmma_commit(at); }
template <int N> PTX_DEV void wgmma_wait(CUDASIM_SITE) { cudasim::wgmma_wait(N, at); }
template <int N> PTX_DEV void setmaxnreg_inc() {}
template <int N> PTX_DEV void setmaxnreg_dec() {}
template <int N, int TransA, int TransB>
PTX_DEV void wgmma_bf16(float (&d)[N / 2], uint64_t desc_a, uint64_t desc_b, int accumulate, CUDASIM_SITE) {
    cudasim::wgmma(N, TransA, TransB, d, desc_a, desc_b, accumulate != 0, at);
}
