// One launch of a grid: kernel, arguments, settings and reports.
#pragma once
#include "../include/cudasim_runtime.hpp"
#include "counter.hpp"
#include "settings.hpp"
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace cudasim {

// True when the kernels were compiled with instrumentation (the check build). Defined beside the kernels.
extern const bool instrumented;

// A site in compiled code, which is looked up only if something is reported there.
inline Site site_of_code(const void* return_address) { return {(const char*)return_address, -1}; }
inline bool is_code(Site at) { return at.line == -1; }

// Complaints about one launch: one line for each site and kind, however often it happens.
class Reports {
  public:
    void add(Site at, const char* kind, const std::string& line);
    bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }
    bool wants(Site at, const char* kind);  // false: counted, and no text needed
    std::vector<std::string> lines() const;

  private:
    struct Entry {
        Site at;
        const char* kind;
        std::string line;
        uint64_t times;
    };
    mutable std::mutex mutex_;
    std::vector<Entry> entries_;
    std::atomic<size_t> count_{0};
};

struct Launch {
    const KernelDefinition* kernel = nullptr;
    void** parameters = nullptr;
    dim3 grid, block;
    uint32_t dynamic_shared = 0;
    Settings settings;

    uint32_t id = 0;  // told apart in the shadow of global memory; given by run_grid
    Reports reports;
    std::atomic<bool> abandoned{false};
    uint64_t bytes_read = 0, bytes_written = 0;  // distinct bytes of global memory, counted by the checker
    Counts counts;                               // of a launch that is counted

    bool counted() const { return settings.count != 0; }
    bool checked() const { return instrumented && settings.check && !counted(); }
    uint32_t threads_per_block() const { return block.x * block.y * block.z; }
    uint64_t blocks() const { return (uint64_t)grid.x * grid.y * grid.z; }
};

// The file and line of a site. A call for many sites that are new takes less time than a call for each.
std::vector<std::string> source_lines(const std::vector<Site>& sites);

// Runs every block, or of a counted launch some. Complaints are in launch.reports.
void run_grid(Launch& launch);

// Complains about the running thread. The line names kernel, site, block and thread; `format` says what happened.
void report(Site at, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace cudasim
