// cudasim's own functions, which a real driver lacks. `cudasim::Simulator` in Rust calls them.
#include "../runtime/engine.hpp"
#include "../runtime/wgmma.hpp"
#include "../runtime/workers.hpp"
#include "counts.hpp"
#include "stream.hpp"

using namespace cudasim;

#define CONTROL extern "C" __attribute__((visibility("default")))

// Sets one setting of this thread. Null, or what was wrong, until the next call.
CONTROL const char* cudasim_set(const char* name, const char* value) {
    ThreadState& thread = this_thread();
    static thread_local std::string error;
    if (!set(thread.settings, name, value, error)) return error.c_str();
    thread.random.seed(thread.settings.seed, 0);
    return nullptr;
}

// True in the check build, whose kernels are instrumented.
CONTROL bool cudasim_is_check_build() { return instrumented; }

// Calls `line` for each report that this thread has been given. The streams they came from work again.
CONTROL void cudasim_take_reports(void (*line)(void*, const char*), void* data) {
    ThreadState& thread = this_thread();
    {
        std::lock_guard<std::mutex> guard(streams().mutex);
        for (const auto& failed : thread.failed_streams)
            if (const auto stream = failed.lock()) stream->failure(thread.id).failed = false;
        thread.failed_streams.clear();
    }
    for (const std::string& report : thread.reports) line(data, report.c_str());
    thread.reports.clear();
}

CONTROL void cudasim_record_launches(bool on) {
    RecordBook& book = *this_thread().records;
    std::lock_guard<std::mutex> guard(book.mutex);
    book.open = on;
}

struct LaunchView {
    const char* kernel;
    unsigned grid[3], block[3];
    uint64_t bytes_read, bytes_written;
    const char* reports;  // lines
};

CONTROL void cudasim_take_launches(void (*launch)(void*, const LaunchView*), void* data) {
    std::vector<LaunchRecord> records;
    {
        RecordBook& book = *this_thread().records;
        std::lock_guard<std::mutex> guard(book.mutex);
        records.swap(book.records);
    }
    for (const LaunchRecord& r : records) {
        std::string lines;
        for (const std::string& line : r.reports) lines += (lines.empty() ? "" : "\n") + line;
        const LaunchView view{r.kernel.c_str(), {r.grid.x, r.grid.y, r.grid.z}, {r.block.x, r.block.y, r.block.z},
                              r.bytes_read, r.bytes_written, lines.c_str()};
        launch(data, &view);
    }
}

struct Live {
    uint64_t allocations, bytes, pinned, streams, events, graphs, graph_execs, modules, engines;
};
CONTROL void cudasim_live(Live* live) {
    *live = {global_memory.allocation_count(), global_memory.used(), pinned_count(), streams().count(), event_count(),
             graph_count(), graph_exec_count(), module_count(), engines_made()};
}

// Bytes of the one parameter of the kernel of this name; -1 when there is no such kernel, or it has not one parameter.
CONTROL int64_t cudasim_parameter_bytes(const char* name) { return parameter_bytes(name); }

// For the layout tests: the shared address of an element of a wgmma operand.
CONTROL uint32_t cudasim_operand_address(uint64_t descriptor, int mn, int k, bool transposed) {
    return MatrixDescriptor(descriptor).address(mn, k, transposed);
}
