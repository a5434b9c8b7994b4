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

    // `async_proxy`: the reader is wgmma or TMA, which see ordinary stores only behind fence.proxy.async.
    void read(Thread* thread, uint32_t offset, uint32_t bytes, bool async_proxy, Site at);
    void write(Thread* thread, uint32_t offset, uint32_t bytes, Site at);

    // An asynchronous copy into shared memory: from begin to land nobody may touch the bytes.
    void begin_copy(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at);
    void land_copy(uint32_t offset, uint32_t bytes, Writer writer, uint32_t by_thread, uint32_t clock);

    // An asynchronous reader (wgmma, TMA store): from begin to end nobody may write the bytes.
    void begin_async_read(uint32_t offset, uint32_t bytes);
    void end_async_read(uint32_t offset, uint32_t bytes);

  private:
    static constexpr uint32_t CELL_BYTES = 2;
    struct Cell {
        uint32_t block;  // cells of an earlier block count as untouched, so nothing is cleared between blocks
        uint32_t write_generation, write_clock, read_generation, read_clock;
        uint16_t write_thread, read_thread;
        Writer writer;
        bool copy_pending, many_readers;
        uint8_t async_readers;
    };

    Cell& cell(uint32_t index);
    void check_write(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at);
    void check_readers_before_write(Thread* thread, uint32_t index, const Cell& cell, Writer writer, Site at);
    void note_reader(Thread* thread, uint32_t index, Cell& cell);

    uint32_t block_ = 0;
    std::vector<Cell> cells_;
    // For cells with many readers since the last barrier: thread and clock of each.
    std::vector<std::vector<std::pair<uint16_t, uint32_t>>> readers_;
};

}  // namespace cudasim
