// The simulated device's memory: one reserved range of addresses, and what has been allocated in it. In the check build
// each four bytes have a shadow cell, which GlobalChecker reads and writes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace cudasim {

// The last accesses to four bytes of memory (or to one, where accesses were that fine), and their launch. Threads are
// told apart by segments; see global_checker.hpp.
struct GlobalCell {
    uint32_t launch, writer, reader, state;
};

enum CellState : uint32_t {
    CELL_INITIALISED = 0x0f,  // one bit for each byte that has been written since its allocation
    CELL_ALLOCATED = 0xf0,    // one bit for each byte that belongs to an allocation
    CELL_PERSISTENT = CELL_INITIALISED | CELL_ALLOCATED,
    CELL_ATOMIC = 0x100,       // the last write of this launch was an atomic one
    CELL_MANY_BLOCKS = 0x200,  // read by several blocks in this launch
    CELL_SPLIT = 0x400,        // this launch's accesses are in the four cells of the single bytes
};

class GlobalMemory {
  public:
    ~GlobalMemory();

    // Reserves the addresses. False when the system refuses.
    bool reserve(uint64_t capacity, bool with_shadow);
    bool reserved() const { return base_ != nullptr; }
    uint64_t capacity() const { return capacity_; }
    uint64_t used() const;
    size_t allocation_count() const;

    void* allocate(size_t bytes);  // null when the capacity does not suffice
    bool release(void* pointer);   // false when it is not the beginning of an allocation

    bool contains(const void* pointer) const { return offset_of(pointer) < range_; }
    // True if the bytes are in one allocation.
    bool in_allocation(const void* pointer, size_t bytes) const;
    // The host has written the bytes.
    void mark_initialised(const void* pointer, size_t bytes);
    // The bytes are as initialised as those they were copied from.
    void copy_initialised(const void* to, const void* from, size_t bytes);
    // The position of an address outside of all allocations, in words: near which one, or in freed memory.
    std::string describe(const void* pointer, size_t bytes) const;

    size_t offset_of(const void* pointer) const { return (const unsigned char*)pointer - base_; }
    GlobalCell& cell(size_t word) const { return cells_[word]; }
    GlobalCell* byte_cells(size_t word) const { return byte_cells_ + 4 * word; }

  private:
    size_t find_free(size_t bytes);
    void fill_hole(size_t start, size_t bytes);
    void set_shadow_state(size_t offset, size_t bytes, uint32_t per_byte_bits);

    mutable std::mutex mutex_;
    unsigned char* base_ = nullptr;
    GlobalCell* cells_ = nullptr;
    GlobalCell* byte_cells_ = nullptr;
    uint64_t capacity_ = 0, used_ = 0;
    size_t range_ = 0;   // addresses; more than the capacity, so that freed ones stay unused for long
    size_t cursor_ = 0;  // the next search for free addresses starts here
    std::map<size_t, size_t> live_;   // offset -> bytes asked for
    std::map<size_t, size_t> freed_;  // the same, until the addresses are used again
    std::map<size_t, size_t> holes_;  // offset -> bytes, merged
};

extern GlobalMemory global_memory;

}  // namespace cudasim
