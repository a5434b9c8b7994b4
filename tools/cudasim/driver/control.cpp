// cudasim's own functions, which a real driver lacks. `cudasim::Simulator` in Rust calls them.
#include "../runtime/engine.hpp"
#include "../runtime/wgmma.hpp"
#include "../runtime/workers.hpp"
#include "counts.hpp"
#include "stream.hpp"
#include <map>

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

// The JSON of one counted launch. Names and lines need no escapes.
static std::string json(const CountRecord& record) {
    std::string text = "{\"kernel\":\"" + record.kernel + "\"";
    const auto number = [&text](const char* name, uint64_t value) {
        text += (text.back() == '{' ? "\"" : ",\"") + std::string(name) + "\":" + std::to_string(value);
    };
    number("blocks", (uint64_t)record.grid.x * record.grid.y * record.grid.z);
    number("threads", (uint64_t)record.block.x * record.block.y * record.block.z);
    number("shared_bytes", record.dynamic_shared + record.counts.static_shared);
    number("blocks_counted", record.counts.blocks);
    number("distinct_sectors", record.counts.distinct_sectors);
    std::vector<Site> sites;
    for (const EventCounts& event : record.counts.events) sites.push_back(event.at);
    const std::vector<std::string> lines = source_lines(sites);
    std::map<std::pair<std::string, Counted>, EventCounts> merged;
    for (size_t i = 0; i < lines.size(); i++) {
        const EventCounts& event = record.counts.events[i];
        merged.try_emplace({lines[i], event.event}, EventCounts{event.at, event.event}).first->second.add(event);
    }
    text += ",\"lines\":[";
    for (const auto& [key, event] : merged) {
        if (text.back() == '}') text += ",";
        text += "{\"line\":\"" + key.first + "\",\"event\":\"" + name_of(key.second) + "\"";
        number("requests", event.requests);
        number("lanes", event.lanes);
        number("bytes", event.bytes);
        number("lines", event.lines);
        number("sectors", event.sectors);
        number("least_sectors", event.least_sectors);
        number("l2_sectors", event.l2_sectors);
        number("wavefronts", event.wavefronts);
        number("least_wavefronts", event.least_wavefronts);
        number("multiply_adds", event.multiply_adds);
        number("bytes_in_flight", event.bytes_in_flight);
        text += "}";
    }
    return text + "]}";
}

// Calls `line` with the JSON of each launch that this thread enqueued, that was counted (CUDASIM_COUNT), and that has
// not been taken yet, in the order in which they ran.
CONTROL void cudasim_take_counts(void (*line)(void*, const char*), void* data) {
    std::vector<CountRecord> records;
    {
        RecordBook& book = *this_thread().records;
        std::lock_guard<std::mutex> guard(book.mutex);
        records.swap(book.counts);
    }
    for (const CountRecord& record : records) line(data, json(record).c_str());
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
