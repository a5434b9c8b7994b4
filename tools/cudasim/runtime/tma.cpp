// The tensor memory accelerator: boxes of a tensor, or the pixels of a convolution, to shared memory and back.
#include "../include/cudasim_ptx.hpp"
#include "mbarrier.hpp"

namespace cudasim {

// A run of one box row: `count` elements from shared byte `linear` on, the first of them at coordinate `first`.
// `row` is where coordinate 0 of the row lies in global memory, or null when the row is outside of the tensor.
template <class Visit>
static void visit_row(const TensorMap& map, unsigned char* row, int64_t first, uint32_t count, uint32_t linear,
                      Visit visit) {
    const int64_t end = first + count, low = std::clamp<int64_t>(0, first, end);
    const int64_t high = row ? std::clamp<int64_t>(map.dim[0], low, end) : low;
    const uint32_t size = map.element_bytes;
    visit(linear, nullptr, (uint32_t)(low - first) * size);
    if (high > low) visit((uint32_t)(linear + (low - first) * size), row + low * size, (uint32_t)(high - low) * size);
    visit((uint32_t)(linear + (high - first) * size), nullptr, (uint32_t)(end - high) * size);
}

template <class Visit> static void walk_box(const TensorMap& map, const int* coordinates, Visit visit) {
    uint32_t index[5] = {}, linear = 0;
    for (;;) {
        bool inside = true;
        int64_t offset = 0;
        for (int d = 1; d < map.rank; d++) {
            const int64_t x = (int64_t)coordinates[d] + (int64_t)index[d] * map.element_stride[d];
            inside &= x >= 0 && x < (int64_t)map.dim[d];
            offset += x * (int64_t)map.stride[d - 1];
        }
        visit_row(map, inside ? map.base + offset : nullptr, coordinates[0], map.box[0], linear, visit);
        linear += map.box[0] * map.element_bytes;
        int d = 1;
        while (d < map.rank && ++index[d] == map.boxed(d)) index[d++] = 0;
        if (d >= map.rank) return;
    }
}

// NHWC: dimensions c, w, h, n. Walks w by its stride up to the upper corner, wraps to the lower one, then h, then n;
// the filter's offsets are added at every pixel (CUTLASS copy_traits_sm90_im2col.hpp).
template <class Visit>
static void walk_pixels(const TensorMap& map, const int* coordinates, const uint16_t* offsets, Visit visit) {
    int64_t w = coordinates[1], h = coordinates[2], n = coordinates[3];
    const int64_t last_w = (int64_t)map.dim[1] - 1 + map.upper[0], last_h = (int64_t)map.dim[2] - 1 + map.upper[1];
    const uint32_t pixel_bytes = map.channels * map.element_bytes;
    for (uint32_t pixel = 0; pixel < map.pixels; pixel++) {
        const int64_t x = w + offsets[0], y = h + offsets[1];
        const bool inside = x >= 0 && x < (int64_t)map.dim[1] && y >= 0 && y < (int64_t)map.dim[2] && n >= 0 &&
                            n < (int64_t)map.dim[3];
        const int64_t offset = x * (int64_t)map.stride[0] + y * (int64_t)map.stride[1] + n * (int64_t)map.stride[2];
        visit_row(map, inside ? map.base + offset : nullptr, coordinates[0], map.channels, pixel * pixel_bytes, visit);
        w += map.element_stride[1];
        if (w <= last_w) continue;
        w = map.lower[0];
        h += map.element_stride[2];
        if (h <= last_h) continue;
        h = map.lower[1];
        n++;
    }
}

// Shared memory is swizzled in chunks of 16 bytes, so a run is moved in pieces that do not cross one.
template <class Move> static void for_each_chunk(uint32_t address, uint32_t bytes, uint32_t swizzle, Move move) {
    for (uint32_t done = 0; done < bytes;) {
        const uint32_t piece = std::min(bytes - done, 16 - (address + done) % 16);
        move(engine->window + swizzled(address + done, swizzle), done, piece);
        done += piece;
    }
}

void complete_tma_load(size_t index) {
    Engine& e = *engine;
    const TmaLoad load = std::move(e.tma_loads[index]);
    e.tma_loads.erase(e.tma_loads.begin() + index);
    const TensorMap map = decode(load.map);
    Thread* reader = current() ? current() : &e.threads[0];
    const auto fill = [&](uint32_t linear, const unsigned char* source, uint32_t bytes) {
        if (source && e.check) e.global.access(reader, source, bytes, Access::Read, load.at);
        if (source && e.count) e.counter.add_run(Counted::TmaLoad, load.at, global_memory.offset_of(source), bytes);
        for_each_chunk(load.destination + linear, bytes, map.swizzle, [&](void* chunk, uint32_t done, uint32_t piece) {
            if (source) memcpy(chunk, source + done, piece);
            else memset(chunk, 0, piece);
        });
    };
    if (map.im2col) walk_pixels(map, load.coordinates, load.offsets, fill);
    else walk_box(map, load.coordinates, fill);
    if (e.check) {
        e.shared.land_copy(load.destination, load.bytes, Writer::Tma, e.async_agent(), load.clock);
        VectorClock& arriving = e.mbarriers[load.barrier].arriving;
        if (arriving.empty()) arriving.assign(e.thread_count + 1, 0);
        join(arriving, load.issued);
        arriving[e.async_agent()] = std::max(arriving[e.async_agent()], load.clock);
    }
    MbarrierWord word = load_mbarrier(load.barrier, "the end of a TMA load", load.at);
    word.bytes -= load.bytes;
    if (word.bytes < -((1 << 20) - 1)) report(load.at, "TMA: the transaction count of the mbarrier is too small");
    update_mbarrier(load.barrier, word);
}

void tma_load(uint32_t destination, const CUtensorMap* encoded, uint32_t barrier, int rank, const int* coordinates,
              const uint16_t* offsets, Site at) {
    Engine& e = *engine;
    const TensorMap map = decode(*encoded);
    const char* wrong = map.magic != TensorMap::MAGIC             ? "this is not a tensor map"
                        : !!offsets != !!map.im2col               ? "the instruction's mode is not the tensor map's"
                        : rank != map.rank                        ? "the instruction's rank is not the tensor map's"
                        : destination % 128                       ? "the shared destination is not 128-byte aligned"
                                                                  : nullptr;
    if (wrong) {
        report(at, "TMA load: %s", wrong);
        abandon_block();
    }
    load_mbarrier(barrier, "TMA load", at);
    if (!e.mbarriers[barrier].fenced)
        report(at, "TMA signals an mbarrier whose initialisation was never fenced (fence.mbarrier_init)");
    if (outside_shared(destination, map.box_bytes(), "TMA load", at)) abandon_block();
    TmaLoad load{*encoded, destination, barrier, map.box_bytes(), {}, {}, ++e.tma_clock, {}, at};
    std::copy(coordinates, coordinates + rank, load.coordinates);
    if (offsets) std::copy(offsets, offsets + rank - 2, load.offsets);
    if (e.count) e.counter.add(Counted::TmaLoad, at, 1);
    if (e.check) {
        e.shared.begin_copy(current(), destination, load.bytes, Writer::Tma, at);
        publish(current(), load.issued);
    }
    e.tma_loads.push_back(std::move(load));
    if (e.launch->settings.asynchrony == Asynchrony::Eager) complete_tma_load(e.tma_loads.size() - 1);
}

static void complete_store(const BulkStore& store) {
    const TensorMap map = decode(store.map);
    walk_box(map, store.coordinates, [&](uint32_t linear, unsigned char* destination, uint32_t bytes) {
        if (!destination) return;
        if (engine->check) engine->global.access(current(), destination, bytes, Access::Write, store.at);
        if (engine->count)
            engine->counter.add_run(Counted::TmaStore, store.at, global_memory.offset_of(destination), bytes);
        const auto move = [&](const void* chunk, uint32_t done, uint32_t piece) {
            memcpy(destination + done, chunk, piece);
        };
        for_each_chunk(store.source + linear, bytes, map.swizzle, move);
    });
    if (engine->check) engine->shared.end_async_read(store.source, store.bytes);
}

void tma_store(const CUtensorMap* encoded, uint32_t source, int rank, const int* coordinates, Site at) {
    const TensorMap map = decode(*encoded);
    const bool fits = map.magic == TensorMap::MAGIC && !map.im2col && map.rank == rank;
    if (!fits) report(at, "TMA store: the tensor map does not fit the instruction");
    if (source % 128) report(at, "TMA store: shared source %u is not 128-byte aligned", source);
    if (!fits || source % 128 || outside_shared(source, map.box_bytes(), "TMA store", at)) abandon_block();
    Thread* me = current();
    if (engine->check) {
        engine->shared.read(me, source, map.box_bytes(), true, at);
        engine->shared.begin_async_read(source, map.box_bytes());
    }
    if (engine->count) engine->counter.add(Counted::TmaStore, at, 1);
    BulkStore store{*encoded, source, map.box_bytes(), {}, me->bulk_group, at};
    std::copy(coordinates, coordinates + rank, store.coordinates);
    me->bulk_stores.push_back(store);
}

void bulk_commit() { current()->bulk_group++; }

void bulk_wait(unsigned pending_groups) {
    Thread* me = current();
    size_t done = 0;
    for (; done < me->bulk_stores.size() && me->bulk_stores[done].group + pending_groups < me->bulk_group; done++)
        complete_store(me->bulk_stores[done]);
    me->bulk_stores.erase(me->bulk_stores.begin(), me->bulk_stores.begin() + done);
}

}  // namespace cudasim
