#include "thread_state.hpp"
#include <atomic>
#include <cstdio>

namespace cudasim {

static std::unique_ptr<Machine> the_machine;
static Settings first_settings;  // what the environment says

const Machine* machine() { return the_machine.get(); }

ThreadState& this_thread() {
    static thread_local ThreadState state;
    static thread_local bool begun = false;
    if (!begun) {
        begun = true;
        state.settings = first_settings;
        state.random.seed(state.settings.seed, 0);
    }
    return state;
}

static Result initialise() {
    std::string error;
    auto machine = std::make_unique<Machine>();
    Settings settings;
    if (!machine_from_environment(*machine, error) || !settings_from_environment(settings, error)) {
        fprintf(stderr, "cudasim: %s\n", error.c_str());
        return fail(INVALID_VALUE, error);
    }
    first_settings = settings;
    the_machine = std::move(machine);
    this_thread().settings = settings;
    this_thread().random.seed(settings.seed, 0);
    return SUCCESS;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuInit(unsigned flags) {
    static std::mutex mutex;
    std::lock_guard<std::mutex> guard(mutex);
    if (flags) return fail(INVALID_VALUE, "cuInit: flags must be 0");
    if (!machine())
        if (Result failed = initialise()) return failed;
    return machine()->devices ? SUCCESS : fail(NO_DEVICE, "CUDASIM_DEVICES=0: there is no device");
}
