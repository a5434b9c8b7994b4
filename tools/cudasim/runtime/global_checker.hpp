// Checks every access to global memory: bounds, initialisation, and races inside one launch. Blocks of a launch count
// as unordered, unless fences and atomics order them. Memory has a cell for every four bytes; an access to less splits
// it into four for this launch.
//
// A segment is what one thread does between two points of synchronisation. Segments are numbered through a launch, so
// a number says which block it was (blocks run one after another), and the running block's table says which moment.
#pragma once
#include "global_memory.hpp"
#include "happens_before.hpp"
#include "segments.hpp"
#include "../include/cudasim_runtime.hpp"
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace cudasim {

enum class Access { Read, Write, Atomic };

class GlobalChecker {
  public:
    void begin_launch(uint32_t launch);
    void begin_block(uint32_t block);

    void access(Thread* thread, const void* pointer, uint32_t bytes, Access kind, Site at);

    // The order between blocks (PTX ISA, "Release and acquire patterns"). A fence followed by an atomic on X releases
    // what happened before the fence; an atomic that reads X, followed by a fence, acquires it. An atomic reads and
    // writes, so that X hands on what earlier ones have released.
    void fence(Thread* thread);
    void atomic(Thread* thread, const void* pointer, uint32_t bytes, Site at);
    // All threads of the block have met at a barrier.
    void meet();

    // True for the common case in which there is nothing to check: a read of whole words that this block has read and
    // no thread has written in this launch. `segment` is that of the thread, if it has a valid one.
    bool is_harmless_read(size_t offset, uint32_t bytes, uint32_t segment) const {
        if ((offset | bytes) % 4) return false;
        for (size_t word = offset / 4, end = (offset + bytes) / 4; word < end; word++) {
            GlobalCell& cell = global_memory.cell(word);
            if (cell.launch != launch_ || cell.writer || cell.reader < first_segment_) return false;
            if ((cell.state & (CELL_PERSISTENT | CELL_SPLIT)) != CELL_PERSISTENT) return false;
            cell.reader = segment;
        }
        return true;
    }

    uint64_t bytes_read = 0, bytes_written = 0;  // distinct ones, of this launch

  private:
    uint32_t segment_of(Thread* thread);
    void access_word(Thread* thread, size_t word, uint32_t byte_mask, Access kind, Site at);
    void split(GlobalCell& whole, GlobalCell* bytes) const;
    void check(Thread* thread, GlobalCell& cell, uint32_t bytes, Access kind, Site at);
    void check_writer(Thread* thread, const GlobalCell& cell, Access kind, Site at) const;
    void check_reader(Thread* thread, const GlobalCell& cell, Access kind, Site at) const;
    void report_bad_address(const void* pointer, uint32_t bytes, Access kind, Site at) const;

    bool in_this_block(uint32_t segment) const { return segment >= first_segment_; }
    bool ordered(uint32_t segment, Thread* thread) const;
    bool acquired(uint32_t segment, const Thread* thread) const;
    std::string block_of(uint32_t segment) const;

    uint32_t launch_ = 0, next_segment_ = 1, first_segment_ = 1;
    std::vector<Moment> moments_;                           // of the running block's segments
    uint32_t generation_start_ = 1;                         // the first segment since the whole block has met
    Segments block_fenced_, block_acquired_;                // by fences before that
    std::unordered_map<size_t, Segments> released_;         // by atomics on an address
    std::vector<std::pair<uint32_t, uint32_t>> blocks_;     // first segment, block; in the order of execution
};

}  // namespace cudasim
