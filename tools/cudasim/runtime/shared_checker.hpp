// The shadow of a block's shared memory: who wrote and read each two bytes last, and what is still under way.
#pragma once
#include "../include/cudasim_runtime.hpp"
#include <cstdint>
#include <utility>
#include <vector>

namespace cudasim {

struct Thread;

enum class Writer : uint8_t { Nobody, Store, CpAsync, Tma };

class SharedChecker {
  public:
    void begin_block();

    // Called when threads are ordered by more than barriers of the whole block. Until then two readers of a cell stand
    // for all: a later writer is not both of them, and no other order could excuse it.
    void keep_all_readers() { keeps_all_readers_ = true; }

    // `async_proxy`: the reader is wgmma or TMA, which see ordinary stores only behind fence.proxy.async.
    void read(Thread* thread, uint32_t offset, uint32_t bytes, bool async_proxy, Site at);
    void write(Thread* thread, uint32_t offset, uint32_t bytes, Site at);

    // An asynchronous copy into shared memory: from begin to land the bytes must not be accessed.
    void begin_copy(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at);
    void land_copy(uint32_t offset, uint32_t bytes, Writer writer, uint32_t by_thread, uint32_t clock);

    // An asynchronous reader (wgmma, TMA store): from begin to end the bytes must not be written.
    void begin_async_read(uint32_t offset, uint32_t bytes);
    void end_async_read(uint32_t offset, uint32_t bytes);

    // True for the common case in which there is nothing to complain about: initialised memory that the whole block has
    // met since, or that the thread has written itself.
    bool is_harmless_read(uint32_t offset, uint32_t bytes, uint32_t thread, uint32_t clock, uint32_t generation) {
        for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) {
            Cell& c = cells_[i];
            if (c.block != block_ || c.writer == Writer::Nobody || c.copy_pending) return false;
            if (c.write_generation >= generation && c.write_thread != thread) return false;
            if (!note_reader(c, thread, clock, generation)) return false;
        }
        return true;
    }

  private:
    static constexpr uint32_t CELL_BYTES = 2;
    struct Cell {
        uint32_t block;  // cells of an earlier block count as untouched, so nothing is cleared between blocks
        uint32_t write_generation, write_clock;
        uint32_t read_generation, read_clock, last_read_clock;
        uint16_t write_thread, read_thread, last_read_thread;  // the first and the last reader of the generation
        Writer writer;
        bool copy_pending, many_readers, listed_readers;
        uint8_t async_readers;
    };

    // False when the reader has to go to the list.
    bool note_reader(Cell& cell, uint32_t thread, uint32_t clock, uint32_t generation) {
        if (cell.read_generation != generation) {
            cell.read_generation = generation;
            cell.read_thread = (uint16_t)thread;
            cell.read_clock = clock;
            cell.many_readers = cell.listed_readers = false;
        } else if (cell.read_thread == thread && !cell.many_readers) {
            cell.read_clock = clock;
        } else {
            if (keeps_all_readers_) return false;
            cell.many_readers = true;
            cell.last_read_thread = (uint16_t)thread;
            cell.last_read_clock = clock;
        }
        return true;
    }

    Cell& cell(uint32_t index);
    void check_write(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at);
    void check_readers_before_write(Thread* thread, uint32_t index, const Cell& cell, Writer writer, Site at);
    void list_reader(Thread* thread, uint32_t index, Cell& cell);

    uint32_t block_ = 0;
    std::vector<Cell> cells_;
    bool keeps_all_readers_ = false;
    // For cells with a list: thread and clock of each reader since the last barrier.
    std::vector<std::vector<std::pair<uint16_t, uint32_t>>> readers_;
};

}  // namespace cudasim
