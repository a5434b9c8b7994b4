#include "thread_state.hpp"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

namespace cudasim {

// The environment is read once, and complained about by cuInit.
struct Environment {
    Machine machine;
    Settings settings;
    std::string error;

    Environment() {
        // Atomics of floats would add up in another order each time, but that is as on a GPU.
        if (!instrumented) settings.threads = std::max(1u, std::thread::hardware_concurrency());
        if (machine_from_environment(machine, error)) settings_from_environment(settings, error);
    }
};
static const Environment& environment() {
    static const Environment once;
    return once;
}

static std::atomic<bool> initialised{false};
const Machine* machine() { return initialised ? &environment().machine : nullptr; }

static std::atomic<uint64_t> threads_seen{0};
ThreadState::ThreadState() : id(++threads_seen), settings(environment().settings) { random.seed(settings.seed, 0); }

ThreadState& this_thread() {
    static thread_local ThreadState state;
    return state;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuInit(unsigned flags) {
    if (flags) return fail(INVALID_VALUE, "cuInit: flags must be 0");
    if (const std::string& error = environment().error; !error.empty()) {
        fprintf(stderr, "cudasim: %s\n", error.c_str());
        return fail(INVALID_VALUE, error);
    }
    initialised = true;
    return machine()->devices ? SUCCESS : fail(NO_DEVICE, "CUDASIM_DEVICES=0: there is no device");
}
