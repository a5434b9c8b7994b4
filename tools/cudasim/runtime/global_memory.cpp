#include "global_memory.hpp"
#include <cstring>
#include <sys/mman.h>

namespace cudasim {

GlobalMemory global_memory;

constexpr size_t ALIGNMENT = 256;
constexpr size_t GUARD = 4096;  // at least so many bytes lie between two allocations
constexpr size_t SLACK = 256 << 20;

static size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
static size_t footprint(size_t bytes) { return round_up(bytes, ALIGNMENT) + GUARD; }

static void* reserve_range(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    madvise(memory, bytes, MADV_DONTDUMP);
    return memory;
}

bool GlobalMemory::reserve(uint64_t capacity, bool with_shadow) {
    std::lock_guard<std::mutex> guard(mutex_);
    if (base_) return true;
    const size_t range = round_up(2 * capacity + SLACK, 1 << 20), words = range / 4;
    unsigned char* base = (unsigned char*)reserve_range(range);
    if (!base) return false;
    if (with_shadow) {
        cells_ = (GlobalCell*)reserve_range(words * sizeof(GlobalCell));
        byte_cells_ = (GlobalCell*)reserve_range(range * sizeof(GlobalCell));
        if (!cells_ || !byte_cells_) return false;
    }
    base_ = base;
    range_ = range;
    capacity_ = capacity;
    holes_[GUARD] = range - GUARD;
    return true;
}

GlobalMemory::~GlobalMemory() {
    if (base_) munmap(base_, range_);
    if (cells_) munmap(cells_, range_ / 4 * sizeof(GlobalCell));
    if (byte_cells_) munmap(byte_cells_, range_ * sizeof(GlobalCell));
}

uint64_t GlobalMemory::used() const {
    std::lock_guard<std::mutex> guard(mutex_);
    return used_;
}

size_t GlobalMemory::allocation_count() const {
    std::lock_guard<std::mutex> guard(mutex_);
    return live_.size();
}

// Free addresses for `bytes`; 0 if there are none. With a checker the next ones behind the last allocation, so that
// freed memory is not reused soon. Without one the first ones, whose pages are likely to be there already.
size_t GlobalMemory::find_free(size_t bytes) {
    const size_t search_from = cells_ ? cursor_ : 0;
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
        const size_t start = std::max(hole->first, search_from), end = hole->first + hole->second;
        if (start < end && end - start >= bytes) return start;
    }
    for (const auto& [start, size] : holes_)
        if (size >= bytes) return start;
    return 0;
}

// Takes [start, start + bytes) out of the hole that it lies in.
void GlobalMemory::fill_hole(size_t start, size_t bytes) {
    auto hole = std::prev(holes_.upper_bound(start));
    const size_t begin = hole->first, end = begin + hole->second;
    holes_.erase(hole);
    if (begin < start) holes_[begin] = start - begin;
    if (start + bytes < end) holes_[start + bytes] = end - start - bytes;
}

void* GlobalMemory::allocate(size_t bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    const size_t charged = round_up(bytes, ALIGNMENT), needed = footprint(bytes);
    if (used_ + charged > capacity_) return nullptr;
    const size_t start = find_free(needed);
    if (!start) return nullptr;
    fill_hole(start, needed);
    cursor_ = start + needed;
    used_ += charged;
    live_[start] = bytes;
    for (auto old = freed_.lower_bound(start); old != freed_.end() && old->first < start + needed;)
        old = freed_.erase(old);
    memset(base_ + start, 0xff, charged);  // NaN in every float until it is written
    if (cells_) set_shadow_state(start, bytes, CELL_ALLOCATED);
    return base_ + start;
}

bool GlobalMemory::release(void* pointer) {
    std::lock_guard<std::mutex> guard(mutex_);
    auto allocation = live_.find(offset_of(pointer));
    if (allocation == live_.end()) return false;
    const auto [start, bytes] = *allocation;
    live_.erase(allocation);
    freed_[start] = bytes;
    used_ -= round_up(bytes, ALIGNMENT);
    if (cells_) set_shadow_state(start, bytes, 0);
    const size_t pages = start / 4096 * 4096 + 4096, last = (start + bytes) / 4096 * 4096;
    if (cells_ && last > pages + (1 << 20)) madvise(base_ + pages, last - pages, MADV_DONTNEED);
    auto hole = holes_.emplace(start, footprint(bytes)).first;
    auto next = std::next(hole);
    if (next != holes_.end() && hole->first + hole->second == next->first) {
        hole->second += next->second;
        holes_.erase(next);
    }
    if (hole != holes_.begin()) {
        auto previous = std::prev(hole);
        if (previous->first + previous->second == hole->first) {
            previous->second += hole->second;
            holes_.erase(hole);
        }
    }
    return true;
}

// Sets the allocated bits of the bytes and clears all others; the cells forget every access.
void GlobalMemory::set_shadow_state(size_t offset, size_t bytes, uint32_t per_byte_bits) {
    const size_t words = (bytes + 3) / 4;
    for (size_t i = 0; i < words; i++) {
        const size_t in_word = std::min<size_t>(4, bytes - 4 * i);
        const uint32_t mask = (1u << in_word) - 1;
        cells_[offset / 4 + i] = {0, 0, 0, (mask * 0x11) & per_byte_bits};
    }
}

bool GlobalMemory::in_allocation(const void* pointer, size_t bytes) const {
    std::lock_guard<std::mutex> guard(mutex_);
    const size_t offset = offset_of(pointer);
    auto after = live_.upper_bound(offset);
    if (after == live_.begin()) return false;
    const auto [start, size] = *std::prev(after);
    return offset + bytes <= start + size && offset + bytes >= offset;
}

void GlobalMemory::mark_initialised(const void* pointer, size_t bytes) {
    if (!cells_ || !bytes) return;
    const size_t begin = offset_of(pointer), end = begin + bytes;
    for (size_t word = begin / 4; word <= (end - 1) / 4; word++) {
        const size_t low = std::max(begin, word * 4) - word * 4, high = std::min(end, word * 4 + 4) - word * 4;
        cells_[word].state |= ((1u << high) - 1) & ~((1u << low) - 1);
    }
}

void GlobalMemory::copy_initialised(const void* to, const void* from, size_t bytes) {
    if (!cells_) return;
    const size_t source = offset_of(from), destination = offset_of(to);
    for (size_t i = 0; i < bytes; i++) {
        const bool initialised = cells_[(source + i) / 4].state >> (source + i) % 4 & 1;
        uint32_t& state = cells_[(destination + i) / 4].state;
        const uint32_t bit = 1u << (destination + i) % 4;
        state = initialised ? state | bit : state & ~bit;
    }
}

std::string GlobalMemory::describe(const void* pointer, size_t bytes) const {
    std::lock_guard<std::mutex> guard(mutex_);
    const size_t offset = offset_of(pointer), end = offset + bytes;
    auto dead = freed_.upper_bound(offset);
    if (dead != freed_.begin()) {
        const auto [start, size] = *std::prev(dead);
        if (offset < start + size)
            return "at byte " + std::to_string(offset - start) + " of a " + std::to_string(size) +
                   "-byte allocation that was freed";
    }
    auto after = live_.upper_bound(offset);
    std::string text = "not near any allocation";
    size_t distance = SIZE_MAX;
    if (after != live_.begin()) {
        const auto [start, size] = *std::prev(after);
        distance = end - (start + size);
        text = std::to_string(distance) + " bytes past the end of a " + std::to_string(size) + "-byte allocation";
    }
    if (after != live_.end() && after->first - offset < distance)
        text = std::to_string(after->first - offset) + " bytes before the beginning of a " +
               std::to_string(after->second) + "-byte allocation";
    return text;
}

}  // namespace cudasim
