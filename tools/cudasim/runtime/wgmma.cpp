// wgmma: products that are computed only when they are waited for. Until then the accumulator registers hold NaN, and
// the checker refuses writes to the operands.
#include "wgmma.hpp"
#include "../include/cudasim_ptx.hpp"
#include "collective.hpp"

namespace cudasim {

constexpr uint32_t POISON = 0x7fc0dead;

static float bf16_at(uint32_t address) {
    uint16_t bits;
    memcpy(&bits, engine->window + address, 2);
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

// Calls visit(address) for each 16 bytes that this warp's part of the product reads: 16 rows of A and all of B, eight
// rows of a core matrix after one another.
template <class Visit> static void for_each_operand_chunk(const WgmmaOperation& product, Visit visit) {
    const int first_row = (int)(current()->warp & 3) * 16;
    const auto walk = [&](const MatrixDescriptor& matrix, int low, int high, bool transposed) {
        if (transposed) {
            for (int mn = low; mn < high; mn += 8)
                for (int k = 0; k < 16; k++) visit(matrix.address(mn, k, true));
        } else {
            for (int k = 0; k < 16; k += 8)
                for (int mn = low; mn < high; mn++) visit(matrix.address(mn, k, false));
        }
    };
    walk(MatrixDescriptor(product.a), first_row, first_row + 16, product.transpose_a);
    walk(MatrixDescriptor(product.b), 0, product.n, product.transpose_b);
}

static void begin_operand_reads(const WgmmaOperation& product) {
    for_each_operand_chunk(product, [&](uint32_t address) {
        if (outside_shared(address, 16, "wgmma operand", product.at)) abandon_block();
        if (!engine->check) return;
        engine->shared.read(&engine->threads[current()->warp * 32], address, 16, true, product.at);
        engine->shared.begin_async_read(address, 16);
    });
}

static void end_operand_reads(const WgmmaOperation& product) {
    for_each_operand_chunk(product, [](uint32_t address) { engine->shared.end_async_read(address, 16); });
}

// A warp reads its 16 rows of A; the four warps of the group share B, so that the first of them counts it for all.
static void count_product(const WgmmaOperation& product) {
    engine->counter.add(Counted::Product, product.at, 32, 16ull * product.n * 16);
    uint64_t rows[8];
    uint32_t count = 0;
    const bool reads_b = current()->warp % 4 == 0;
    uint32_t left = 32 + (reads_b ? 2 * (uint32_t)product.n : 0);
    for_each_operand_chunk(product, [&](uint32_t address) {
        if (!left) return;
        left--;
        rows[count++] = address;
        if (count < 8) return;
        engine->counter.add_operand(product.at, rows, count);
        count = 0;
    });
}

static void check_descriptor(uint64_t bits, Site at) {
    const MatrixDescriptor matrix(bits);
    if (matrix.base_offset) report(at, "wgmma: a base offset other than 0 is not simulated");
    if (matrix.swizzle && (matrix.start >> 7 & ((1u << matrix.swizzle) - 1)))
        report(at, "wgmma: operand start %u is not at a swizzle atom of %u bytes, and the base offset is 0",
               matrix.start, 128u << matrix.swizzle);
}

struct WgmmaArgument {
    float* d;
    uint64_t a, b;
    bool accumulate;
};

void wgmma(int n, bool transpose_a, bool transpose_b, float* d, uint64_t a, uint64_t b, bool accumulate, Site at) {
    WgmmaArgument mine{d, a, b, accumulate};
    const int variant = n * 4 + transpose_a * 2 + transpose_b;
    collective(Collective::Wgmma, ALL_LANES, variant, &mine, at, [=](Warp& warp, uint32_t) {
        WgmmaOperation product{n, transpose_a, transpose_b, accumulate, a, b, warp.product_group, {}, at};
        if (!warp.fenced) report(at, "wgmma without a wgmma.fence before it: its registers are unordered");
        for (int lane = 0; lane < 32; lane++) {
            const WgmmaArgument& of = *(WgmmaArgument*)warp.arguments[lane];
            if (of.a != a || of.b != b || of.accumulate != accumulate)
                report(at, "wgmma: descriptors differ between lanes of a warp");
            product.registers[lane] = of.d;
            std::vector<float>& kept = warp.accumulators[of.d];
            if (kept.empty()) kept.assign(of.d, of.d + n / 2);
            for (int i = 0; i < n / 2; i++) memcpy(&of.d[i], &POISON, 4);
        }
        check_descriptor(a, at);
        check_descriptor(b, at);
        begin_operand_reads(product);
        if (engine->count) count_product(product);
        warp.products.push_back(product);
    });
}

// Register i of a lane is this element of the warp's 16 rows (CUTLASS mma_traits_sm90_gmma.hpp).
static int row_of(int lane, int i) { return lane / 4 + (i >> 1 & 1) * 8; }
static int column_of(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + (i & 1); }

static void compute(Warp& warp, const WgmmaOperation& product) {
    const MatrixDescriptor a(product.a), b(product.b);
    const int n = product.n, first_row = (int)(current()->warp & 3) * 16;
    std::vector<float> B(16 * n), D(16 * n);
    for (int k = 0; k < 16; k++)
        for (int j = 0; j < n; j++) B[k * n + j] = bf16_at(b.address(j, k, product.transpose_b));
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < n / 2; i++)
            D[row_of(lane, i) * n + column_of(lane, i)] =
                product.accumulate ? warp.accumulators[product.registers[lane]][i] : 0.f;
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++) {
            const float value = bf16_at(a.address(first_row + i, k, product.transpose_a));
            for (int j = 0; j < n; j++) D[i * n + j] += value * B[k * n + j];
        }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < n / 2; i++)
            warp.accumulators[product.registers[lane]][i] = D[row_of(lane, i) * n + column_of(lane, i)];
}

void wgmma_fence(Site at) {
    collective(Collective::WgmmaFence, ALL_LANES, 0, nullptr, at, [](Warp& warp, uint32_t) { warp.fenced = true; });
}

void wgmma_commit(Site at) {
    collective(Collective::WgmmaCommit, ALL_LANES, 0, nullptr, at, [](Warp& warp, uint32_t) { warp.product_group++; });
}

static bool is_used(const Warp& warp, const float* registers) {
    for (const WgmmaOperation& product : warp.products)
        if (std::find(product.registers, product.registers + 32, registers) != product.registers + 32) return true;
    return false;
}

void wgmma_wait(unsigned pending_groups, Site at) {
    collective(Collective::WgmmaWait, ALL_LANES, (int)pending_groups, nullptr, at, [=](Warp& warp, uint32_t) {
        size_t done = 0;
        for (; done < warp.products.size() && warp.products[done].group + pending_groups < warp.product_group; done++) {
            compute(warp, warp.products[done]);
            if (engine->check) end_operand_reads(warp.products[done]);
        }
        warp.products.erase(warp.products.begin(), warp.products.begin() + done);
        for (auto kept = warp.accumulators.begin(); kept != warp.accumulators.end();) {
            if (is_used(warp, kept->first)) {
                ++kept;
                continue;
            }
            memcpy(kept->first, kept->second.data(), kept->second.size() * sizeof(float));
            kept = warp.accumulators.erase(kept);
        }
        // The registers belong to the threads again: the next product needs a fence.
        if (done && warp.products.empty()) warp.fenced = false;
    });
}

}  // namespace cudasim
