// Counts what the warps of a launch ask of the memory system and of the matrix units, by source line. It takes the
// place of the checks: a launch is either checked or counted.
//
// Threads run one after another, so a thread only notes its accesses. When the block meets at a barrier, the notes of a
// warp's lanes become requests: the k-th access of each lane at one place in the code since the last barrier is taken
// for one request of the warp. The requests then go through models of the L1 cache and of the banks of shared memory.
// README.md says what is exact and what is a model.
#pragma once
#include "../include/cudasim_runtime.hpp"
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace cudasim {

struct Engine;

enum class Counted : uint8_t {
    GlobalLoad, GlobalStore, GlobalAtomic,
    AsyncCopy,  // cp.async: its reads of global memory
    TmaLoad, TmaStore,
    SharedLoad, SharedStore, SharedAtomic,
    SharedCopy,   // cp.async: its writes to shared memory
    LoadMatrix,   // ldmatrix
    OperandRead,  // wgmma: its reads of shared memory
    Product,      // mma and wgmma
    Wait,         // for asynchronous copies
    Barrier, Fence,
};
const char* name_of(Counted event);

// The counts of one event at one line, or at one place in the code.
struct EventCounts {
    Site at;
    Counted event;
    uint64_t requests = 0;  // instructions of warps; of waits and fences, of threads; of barriers, of the block
    uint64_t lanes = 0;     // threads that took part in them
    uint64_t bytes = 0;     // distinct ones of each request
    // Global memory: lines of 128 bytes and sectors of 32; of these as few as hold the bytes of a request, and those
    // that the L1 cache does not have or that are written.
    uint64_t lines = 0, sectors = 0, least_sectors = 0, l2_sectors = 0;
    // Shared memory: passes of 128 bytes, and how many they were without conflicts of banks.
    uint64_t wavefronts = 0, least_wavefronts = 0;
    uint64_t multiply_adds = 0;    // of products
    uint64_t bytes_in_flight = 0;  // by asynchronous copies at waits: of each thread that waits, its own

    void add(const EventCounts& other);
};

struct Counts {
    std::vector<EventCounts> events;  // by place in the code
    uint64_t blocks = 0;              // that were counted
    uint64_t distinct_sectors = 0;    // of global memory, of these blocks together
    uint32_t static_shared = 0;       // bytes of a block
};

// Wavefronts of one request to shared memory: `count` lanes with `bytes` bytes each. `least`: without conflicts.
// Atomics of several lanes on one word come one after another.
uint32_t shared_wavefronts(const uint64_t* addresses, uint32_t count, uint32_t bytes, bool atomic, uint32_t& least);

// A cache of lines of four sectors: sets of WAYS lines, of which the least recently used one gives way.
class SectorCache {
  public:
    void clear(size_t bytes);
    bool has(uint64_t sector);  // and has it from now on

  private:
    static constexpr size_t WAYS = 16;
    struct Line {
        uint64_t number = ~0ull, used = 0;
        uint8_t sectors = 0;
    };
    std::vector<Line> lines_;
    uint64_t clock_ = 0;
};

class Counter {
  public:
    void begin_launch();
    void begin_block(uint32_t threads);
    // An access of one lane, which becomes part of a request.
    void note(uint32_t thread, Counted event, Site at, uint64_t address, uint32_t bytes);
    // A request of a warp or thread without addresses.
    void add(Counted event, Site at, uint64_t lanes, uint64_t multiply_adds = 0, uint64_t bytes_in_flight = 0);
    // One contiguous part of what the tensor memory accelerator moves: it passes the L1 cache by.
    void add_run(Counted event, Site at, uint64_t address, uint32_t bytes);
    // The wavefronts of up to eight rows of 16 bytes of a wgmma operand.
    void add_operand(Site at, const uint64_t* addresses, uint32_t count);
    void block_met();  // at a barrier of all threads, or at its end
    Counts take();

  private:
    struct Note {
        uint64_t address;
        uint16_t place;
        uint8_t bytes;
    };
    struct Request {
        uint16_t place;
        uint8_t bytes, count;
        uint64_t addresses[32];
    };

    uint16_t place_of(Counted event, Site at);
    size_t l1_bytes() const;
    void gather(uint32_t warp);
    void count(const Request& request);
    void count_global(EventCounts& counts, Request request);

    Counts counts_;
    std::unordered_map<uint64_t, uint16_t> places_;
    std::vector<std::vector<Note>> notes_;        // by thread
    std::vector<std::vector<Request>> requests_;  // by warp
    std::vector<uint32_t> seen_;                  // notes of one lane, by place
    std::vector<std::vector<uint32_t>> of_place_;  // requests of one warp, by place
    SectorCache l1_;
    std::unordered_set<uint64_t> distinct_;
    uint32_t threads_ = 0;
    bool is_first_meeting_ = false;
};

}  // namespace cudasim
