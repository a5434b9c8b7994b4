#include "global_checker.hpp"
#include "engine.hpp"

namespace cudasim {

static const char* verb(Access kind) {
    static const char* const verbs[] = {"reads", "writes", "atomically updates"};
    return verbs[(int)kind];
}

void GlobalChecker::begin_launch(uint32_t launch) {
    launch_ = launch;
    next_segment_ = first_segment_ = 1;
    blocks_.clear();
    released_.clear();
    bytes_read = bytes_written = 0;
}

void GlobalChecker::begin_block(uint32_t block) {
    first_segment_ = generation_start_ = next_segment_;
    block_fenced_.clear();
    block_acquired_.clear();
    moments_.clear();
    blocks_.push_back({first_segment_, block});
}

uint32_t GlobalChecker::segment_of(Thread* thread) {
    if (!thread->segment || thread->segment_generation != engine->generation) {
        thread->segment = next_segment_++;
        thread->segment_generation = engine->generation;
        moments_.push_back({thread->linear, thread->clock, engine->generation});
    }
    return thread->segment;
}

bool GlobalChecker::ordered(uint32_t segment, Thread* thread) const {
    return happened_before(*engine, moments_[segment - first_segment_], thread);
}

bool GlobalChecker::acquired(uint32_t segment, const Thread* thread) const {
    return block_acquired_.has(segment) || thread->acquired.has(segment);
}

void GlobalChecker::fence(Thread* thread) {
    thread->acquired.add(thread->seen);
    thread->seen.clear();
    Segments& fenced = thread->fenced;
    fenced.add(thread->acquired);
    fenced.add(block_acquired_);
    fenced.add(first_segment_, generation_start_);
    for (uint32_t i = generation_start_; i < next_segment_; i++)
        if (ordered(i, thread)) fenced.add(i, i + 1);
    thread->segment = 0;  // what follows is not covered
}

// The access is a segment of its own, so that what stands between fence and atomic is not released with it.
void GlobalChecker::atomic(Thread* thread, const void* pointer, uint32_t bytes, Site at) {
    thread->segment = 0;
    access(thread, pointer, bytes, Access::Atomic, at);
    Segments& released = released_[global_memory.offset_of(pointer)];
    thread->seen.add(released);
    released.add(thread->fenced);
    released.add(block_fenced_);
    released.add(thread->segment, thread->segment + 1);
    thread->segment = 0;
}

void GlobalChecker::meet() {
    for (uint32_t i = 0; i < engine->thread_count; i++) {
        Thread& thread = engine->threads[i];
        block_fenced_.add(thread.fenced);
        block_acquired_.add(thread.acquired);
        thread.fenced.clear();
        thread.acquired.clear();
    }
    generation_start_ = next_segment_;
}

std::string GlobalChecker::block_of(uint32_t segment) const {
    auto after = std::upper_bound(blocks_.begin(), blocks_.end(), std::pair<uint32_t, uint32_t>(segment, ~0u));
    const uint32_t block = std::prev(after)->second;
    const dim3 grid = engine->launch->grid;
    return "block (" + std::to_string(block % grid.x) + "," + std::to_string(block / grid.x % grid.y) + "," +
           std::to_string(block / grid.x / grid.y) + ")";
}

void GlobalChecker::access(Thread* thread, const void* pointer, uint32_t bytes, Access kind, Site at) {
    if (!global_memory.contains(pointer)) {
        report(at, "%s %u bytes at %p, which is not device memory", verb(kind), bytes, pointer);
        abandon_block();
    }
    const size_t begin = global_memory.offset_of(pointer), end = begin + bytes;
    for (size_t word = begin / 4; word <= (end - 1) / 4; word++) {
        const size_t low = std::max(begin, word * 4) - word * 4, high = std::min(end, word * 4 + 4) - word * 4;
        const uint32_t mask = ((1u << high) - 1) & ~((1u << low) - 1);
        if ((global_memory.cell(word).state >> 4 & mask) != mask) return report_bad_address(pointer, bytes, kind, at);
        access_word(thread, word, mask, kind, at);
    }
}

void GlobalChecker::report_bad_address(const void* pointer, uint32_t bytes, Access kind, Site at) const {
    report(at, "%s %u bytes of global memory out of bounds: %s", verb(kind), bytes,
           global_memory.describe(pointer, bytes).c_str());
}

// The bytes' cells begin where the word's stands.
void GlobalChecker::split(GlobalCell& whole, GlobalCell* bytes) const {
    for (int i = 0; i < 4; i++) bytes[i] = whole;
    whole.state |= CELL_SPLIT;
}

void GlobalChecker::access_word(Thread* thread, size_t word, uint32_t mask, Access kind, Site at) {
    GlobalCell& whole = global_memory.cell(word);
    const uint32_t segment = segment_of(thread);
    if (whole.launch != launch_) whole = {launch_, 0, 0, whole.state & CELL_PERSISTENT};
    else if (kind == Access::Read && whole.reader == segment && !(whole.state & CELL_SPLIT)) return;
    if (kind != Access::Write && (whole.state & mask) != mask)
        report(at, "%s device memory that nobody has initialised", verb(kind));
    if (mask != 0xf && !(whole.state & CELL_SPLIT)) split(whole, global_memory.byte_cells(word));
    if (whole.state & CELL_SPLIT) {
        for (int i = 0; i < 4; i++)
            if (mask >> i & 1) check(thread, global_memory.byte_cells(word)[i], 1, kind, at);
    } else {
        check(thread, whole, 4, kind, at);
    }
    if (kind != Access::Read) whole.state |= mask;
}

void GlobalChecker::check(Thread* thread, GlobalCell& cell, uint32_t bytes, Access kind, Site at) {
    const uint32_t segment = thread->segment;
    if (cell.writer && cell.writer != segment) check_writer(thread, cell, kind, at);
    if (kind == Access::Read) {
        if (!cell.reader) bytes_read += bytes;
        else if (!in_this_block(cell.reader) && !acquired(cell.reader, thread)) cell.state |= CELL_MANY_BLOCKS;
        cell.reader = segment;
        return;
    }
    if (cell.reader && cell.reader != segment) check_reader(thread, cell, kind, at);
    if (!cell.writer) {
        bytes_written += bytes;
        if (kind == Access::Atomic && !cell.reader) bytes_read += bytes;
    }
    cell.writer = segment;
    cell.state = kind == Access::Atomic ? cell.state | CELL_ATOMIC : cell.state & ~CELL_ATOMIC;
}

void GlobalChecker::check_writer(Thread* thread, const GlobalCell& cell, Access kind, Site at) const {
    const bool atomic = cell.state & CELL_ATOMIC;
    if (atomic && kind == Access::Atomic) return;
    const char* written = atomic ? "atomically updated" : "written";
    if (!in_this_block(cell.writer)) {
        if (!acquired(cell.writer, thread))
            report(at, "RACE: %s global memory that %s has %s in the same launch", verb(kind),
                   block_of(cell.writer).c_str(), written);
    } else if (!ordered(cell.writer, thread))
        report(at, "RACE: %s global memory, unordered with thread %u of the block, by which it was %s", verb(kind),
               moments_[cell.writer - first_segment_].thread, written);
}

void GlobalChecker::check_reader(Thread* thread, const GlobalCell& cell, Access kind, Site at) const {
    if (cell.state & CELL_MANY_BLOCKS)
        report(at, "RACE: %s global memory that other blocks have read in the same launch", verb(kind));
    else if (!in_this_block(cell.reader)) {
        if (!acquired(cell.reader, thread))
            report(at, "RACE: %s global memory that %s has read in the same launch", verb(kind),
                   block_of(cell.reader).c_str());
    } else if (!ordered(cell.reader, thread))
        report(at, "RACE: %s global memory, unordered with thread %u of the block, by which it was read", verb(kind),
               moments_[cell.reader - first_segment_].thread);
}

}  // namespace cudasim
