// The state of one host thread: its settings, the reports it has been given, the launches it has recorded.
#pragma once
#include "api.hpp"
#include "../runtime/random.hpp"
#include <memory>
#include <vector>

namespace cudasim {

struct Stream;

struct LaunchRecord {
    std::string kernel;
    dim3 grid, block;
    uint64_t bytes_read, bytes_written;
    std::vector<std::string> reports;
};

// A launch that was counted, with the counts of each line that did something.
struct CountRecord {
    std::string kernel;
    dim3 grid, block;
    uint32_t dynamic_shared;
    Counts counts;
};

// Launches run on whichever host thread synchronises first, but their records go to the thread that enqueued them.
struct RecordBook {
    std::mutex mutex;
    bool open = false;
    std::vector<LaunchRecord> records;
    std::vector<CountRecord> counts;
};

struct ThreadState {
    ThreadState();

    const uint64_t id;  // no other thread has or will have it
    Settings settings;
    Random random;  // for what happens at random times
    std::vector<std::string> reports;
    std::vector<std::weak_ptr<Stream>> failed_streams;  // whose failure this thread has seen
    int last_error = 0;
    std::string error_text;
    std::shared_ptr<RecordBook> records = std::make_shared<RecordBook>();
    int capture_mode = 0;  // see captures.hpp
    bool has_context = false;
};

ThreadState& this_thread();

}  // namespace cudasim
