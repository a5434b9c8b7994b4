#include "counter.hpp"
#include "engine.hpp"
#include <algorithm>

namespace cudasim {

// A multiprocessor of compute capability 9.0.
constexpr size_t L1_AND_SHARED = 256 << 10, RESERVED_SHARED = 1 << 10, LEAST_L1 = 8 << 10;
constexpr uint32_t RESIDENT_THREADS = 2048, RESIDENT_BLOCKS = 32, MULTIPROCESSORS = 132;
constexpr uint64_t SECTOR = 32, SECTORS_OF_A_LINE = 4;

// Requests that a warp sends before the next warp has its turn: about what an unrolled loop issues at once.
constexpr size_t BURST = 8;

const char* name_of(Counted event) {
    static const char* const names[] = {"global load", "global store", "global atomic", "async copy", "TMA load",
                                        "TMA store", "shared load", "shared store", "shared atomic", "shared copy",
                                        "ldmatrix", "wgmma operand", "product", "wait", "barrier", "fence"};
    return names[(int)event];
}

static bool is_global(Counted event) { return event <= Counted::TmaStore; }
static bool is_read(Counted event) { return event == Counted::GlobalLoad || event == Counted::AsyncCopy; }

void EventCounts::add(const EventCounts& other) {
    requests += other.requests;
    lanes += other.lanes;
    bytes += other.bytes;
    lines += other.lines;
    sectors += other.sectors;
    least_sectors += other.least_sectors;
    l2_sectors += other.l2_sectors;
    wavefronts += other.wavefronts;
    least_wavefronts += other.least_wavefronts;
    multiply_adds += other.multiply_adds;
    bytes_in_flight += other.bytes_in_flight;
}

// ---- shared memory

// True if the lanes n and n ^ distance have one address, for all n.
static bool has_pairs(const uint64_t* addresses, uint32_t count, uint32_t distance) {
    if (count % (2 * distance)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (addresses[i] != addresses[i ^ distance]) return false;
    return true;
}

// The most distinct words that one bank has to give to the lanes first, ..., end - 1.
static uint32_t conflicts(const uint64_t* addresses, uint32_t first, uint32_t end, uint32_t bytes, bool atomic) {
    uint64_t words[32 * 4];
    uint32_t count = 0;
    for (uint32_t i = first; i < end; i++)
        for (uint64_t word = addresses[i] / 4; word <= (addresses[i] + bytes - 1) / 4; word++) words[count++] = word;
    if (!atomic) {
        std::sort(words, words + count);
        count = (uint32_t)(std::unique(words, words + count) - words);
    }
    uint32_t of_bank[32] = {}, most = 0;
    for (uint32_t i = 0; i < count; i++) most = std::max(most, ++of_bank[words[i] % 32]);
    return most;
}

uint32_t shared_wavefronts(const uint64_t* addresses, uint32_t count, uint32_t bytes, bool atomic, uint32_t& least) {
    // 8 bytes a lane go in halves of a warp and 16 in quarters; two of these at once where the lanes n and n ^ 1, or n
    // and n ^ 2, have one address.
    uint32_t lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    const bool doubled = lanes < 32 && !atomic && (has_pairs(addresses, count, 1) || has_pairs(addresses, count, 2));
    if (doubled) lanes *= 2;
    uint32_t wavefronts = 0;
    least = 0;
    for (uint32_t first = 0; first < count; first += lanes) {
        wavefronts += conflicts(addresses, first, std::min(count, first + lanes), bytes, atomic);
        least++;
    }
    return wavefronts;
}

// ---- the L1 cache

void SectorCache::clear(size_t bytes) {
    const size_t sets = std::max<size_t>(1, bytes / (SECTOR * SECTORS_OF_A_LINE) / WAYS);
    lines_.assign(sets * WAYS, Line{});
    clock_ = 0;
}

bool SectorCache::has(uint64_t sector) {
    const uint64_t number = sector / SECTORS_OF_A_LINE;
    const uint8_t bit = (uint8_t)(1 << sector % SECTORS_OF_A_LINE);
    // Bits from all over the number choose the set, so that a power-of-two stride does not meet in one.
    const uint64_t mixed = number * 0x9E3779B97F4A7C15ull >> 20;
    Line* const set = &lines_[mixed % (lines_.size() / WAYS) * WAYS];
    Line* oldest = set;
    for (Line* line = set; line < set + WAYS; line++) {
        if (line->number == number) {
            line->used = ++clock_;
            const bool hit = line->sectors & bit;
            line->sectors |= bit;
            return hit;
        }
        if (line->used < oldest->used) oldest = line;
    }
    *oldest = {number, ++clock_, bit};
    return false;
}

// ---- from notes to counts

void Counter::begin_launch() {
    counts_ = {};
    places_.clear();
    distinct_.clear();
    notes_.resize(MOST_THREADS);
    requests_.resize(MOST_THREADS / 32);
}

void Counter::begin_block(uint32_t threads) {
    threads_ = threads;
    is_first_meeting_ = true;
    counts_.blocks++;
}

uint16_t Counter::place_of(Counted event, Site at) {
    const uint64_t key = ((uint64_t)at.file ^ (uint64_t)(uint32_t)at.line << 40) * 32 + (uint64_t)event;
    const auto [found, is_new] = places_.try_emplace(key, (uint16_t)counts_.events.size());
    if (is_new) counts_.events.push_back({at, event});
    return found->second;
}

void Counter::note(uint32_t thread, Counted event, Site at, uint64_t address, uint32_t bytes) {
    notes_[thread].push_back({address, place_of(event, at), (uint8_t)bytes});
}

void Counter::add(Counted event, Site at, uint64_t lanes, uint64_t multiply_adds, uint64_t bytes_in_flight) {
    EventCounts& counts = counts_.events[place_of(event, at)];
    counts.requests++;
    counts.lanes += lanes;
    counts.multiply_adds += multiply_adds;
    counts.bytes_in_flight += bytes_in_flight;
}

void Counter::add_run(Counted event, Site at, uint64_t address, uint32_t bytes) {
    if (!bytes) return;
    EventCounts& counts = counts_.events[place_of(event, at)];
    const uint64_t first = address / SECTOR, last = (address + bytes - 1) / SECTOR;
    counts.bytes += bytes;
    counts.lines += last / SECTORS_OF_A_LINE - first / SECTORS_OF_A_LINE + 1;
    counts.sectors += last - first + 1;
    counts.l2_sectors += last - first + 1;
    counts.least_sectors += (bytes + SECTOR - 1) / SECTOR;
    counts.wavefronts += (bytes + 127) / 128;
    counts.least_wavefronts += (bytes + 127) / 128;
    for (uint64_t sector = first; sector <= last; sector++) distinct_.insert(sector);
}

void Counter::add_operand(Site at, const uint64_t* addresses, uint32_t count) {
    EventCounts& counts = counts_.events[place_of(Counted::OperandRead, at)];
    uint32_t least = 0;
    counts.bytes += 16 * count;
    counts.wavefronts += shared_wavefronts(addresses, count, 16, false, least);
    counts.least_wavefronts += least;
}

// The part of the cache that a block has, if the multiprocessor has as many blocks as threads and shared memory permit.
// Registers may permit fewer.
size_t Counter::l1_bytes() const {
    const Launch& launch = *engine->launch;
    const size_t shared = launch.dynamic_shared + (engine->static_top - STATIC_START) + RESERVED_SHARED;
    size_t resident = std::min<size_t>(RESIDENT_THREADS / threads_, RESIDENT_BLOCKS);
    resident = std::min(resident, (L1_AND_SHARED - LEAST_L1) / shared);
    resident = std::min<size_t>(resident, (launch.blocks() + MULTIPROCESSORS - 1) / MULTIPROCESSORS);
    resident = std::max<size_t>(resident, 1);
    return std::max(LEAST_L1, L1_AND_SHARED - std::min(L1_AND_SHARED, resident * shared)) / resident;
}

void Counter::block_met() {
    if (is_first_meeting_) l1_.clear(l1_bytes());
    is_first_meeting_ = false;
    counts_.static_shared = std::max(counts_.static_shared, engine->static_top - STATIC_START);
    const uint32_t warps = (threads_ + 31) / 32;
    for (uint32_t warp = 0; warp < warps; warp++) gather(warp);
    size_t longest = 0;
    for (uint32_t warp = 0; warp < warps; warp++) longest = std::max(longest, requests_[warp].size());
    for (size_t start = 0; start < longest; start += BURST)
        for (uint32_t warp = 0; warp < warps; warp++)
            for (size_t i = start; i < std::min(start + BURST, requests_[warp].size()); i++) count(requests_[warp][i]);
    for (uint32_t warp = 0; warp < warps; warp++) requests_[warp].clear();
}

void Counter::gather(uint32_t warp) {
    std::vector<Request>& requests = requests_[warp];
    of_place_.resize(std::max(of_place_.size(), counts_.events.size()));
    for (auto& list : of_place_) list.clear();
    for (uint32_t thread = warp * 32; thread < std::min(threads_, warp * 32 + 32); thread++) {
        seen_.assign(counts_.events.size(), 0);
        for (const Note& note : notes_[thread]) {
            std::vector<uint32_t>& list = of_place_[note.place];
            const uint32_t k = seen_[note.place]++;
            if (k == list.size()) {
                list.push_back((uint32_t)requests.size());
                requests.push_back({note.place, 0, 0, {}});
            }
            Request& request = requests[list[k]];
            // A cp.async without source bytes takes part, but reads nothing.
            if (!note.bytes) continue;
            request.bytes = std::max(request.bytes, note.bytes);
            request.addresses[request.count++] = note.address;
        }
        notes_[thread].clear();
    }
}

void Counter::count(const Request& request) {
    EventCounts& counts = counts_.events[request.place];
    counts.requests++;
    counts.lanes += request.count;
    if (!request.count) return;
    if (is_global(counts.event)) return count_global(counts, request);
    uint32_t least = 0;
    const bool atomic = counts.event == Counted::SharedAtomic;
    counts.wavefronts += shared_wavefronts(request.addresses, request.count, request.bytes, atomic, least);
    counts.least_wavefronts += least;
    counts.bytes += (uint64_t)request.count * request.bytes;
}

void Counter::count_global(EventCounts& counts, Request request) {
    std::sort(request.addresses, request.addresses + request.count);
    uint64_t bytes = 0, end = 0, last_sector = ~0ull, last_line = ~0ull;
    for (uint32_t i = 0; i < request.count; i++) {
        const uint64_t begin = std::max(request.addresses[i], end);
        end = std::max(end, request.addresses[i] + request.bytes);
        bytes += end - begin;
        for (uint64_t sector = request.addresses[i] / SECTOR; sector <= (end - 1) / SECTOR; sector++) {
            if (last_sector != ~0ull && sector <= last_sector) continue;
            last_sector = sector;
            counts.sectors++;
            if (sector / SECTORS_OF_A_LINE != last_line) counts.lines++;
            last_line = sector / SECTORS_OF_A_LINE;
            distinct_.insert(sector);
            // cp.async of 16 bytes passes the cache by.
            const bool cached = is_read(counts.event) && !(counts.event == Counted::AsyncCopy && request.bytes == 16);
            if (!cached || !l1_.has(sector)) counts.l2_sectors++;
        }
    }
    counts.bytes += bytes;
    counts.least_sectors += (bytes + SECTOR - 1) / SECTOR;
}

Counts Counter::take() {
    counts_.distinct_sectors = distinct_.size();
    return std::move(counts_);
}

}  // namespace cudasim
