// Settings of scheduling and checking. Each host thread has its own settings; they begin as the environment says.
#pragma once
#include <cstdint>
#include <string>

namespace cudasim {

enum class Schedule { Forward, Reverse, Random };  // of threads, of blocks, of a graph's independent nodes
enum class Asynchrony { Lazy, Eager, Random };     // when queued work, asynchronous copies and products happen

struct Settings {
    Schedule schedule = Schedule::Forward;
    Asynchrony asynchrony = Asynchrony::Lazy;
    uint64_t seed = 1;
    bool check = true;   // only in the check build
    uint64_t count = 0;  // blocks of each launch that are counted instead of checked; 0 turns counting off
    bool skew = false;   // dynamic shared memory begins at the worst address that its alignment allows
    bool quiet = false;  // reports are not printed
    unsigned threads = 1;
};

// Settings of the simulated device, for the whole process; read once, from the environment.
struct Machine {
    uint64_t memory = 8ull << 30;
    int driver_version = 13000;
    int devices = 1;
};

// Sets one setting by its name in the environment. On failure, `error` says what was wrong.
bool set(Settings& settings, const std::string& name, const std::string& value, std::string& error);

// Both fail with a line in `error` when a variable has a value that does not exist.
bool settings_from_environment(Settings& settings, std::string& error);
bool machine_from_environment(Machine& machine, std::string& error);

}  // namespace cudasim
