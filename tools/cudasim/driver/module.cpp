// Modules, kernels and their launch. A module's image is ignored: the kernels are linked into this library.
#include "../runtime/engine.hpp"
#include "counts.hpp"
#include "handles.hpp"
#include "stream.hpp"
#include <cstdio>
#include <cstring>
#include <unordered_map>

namespace cudasim {

struct Kernel {
    KernelDefinition definition = {};
    unsigned max_threads = MOST_THREADS;             // __launch_bounds__
    std::atomic<unsigned> max_dynamic_shared{48 << 10};  // raised by cuFuncSetAttribute
};

// Filled while the library is loaded, by one thread.
static std::unordered_map<std::string, Kernel>& kernels() {
    static std::unordered_map<std::string, Kernel> all;
    return all;
}
void register_kernel(const KernelDefinition& definition) { kernels()[definition.name].definition = definition; }
void register_launch_bounds(const char* name, unsigned max_threads) { kernels()[name].max_threads = max_threads; }

int64_t parameter_bytes(const char* name) {
    auto found = kernels().find(name);
    if (found == kernels().end() || found->second.definition.parameter_count != 1) return -1;
    return found->second.definition.parameter_sizes[0];
}

struct Module {};
static Handles<Module> modules;
size_t module_count() { return modules.count(); }

// A launch that has not run yet: it owns copies of its parameters, as the driver does.
struct PreparedLaunch {
    const Kernel* kernel;
    dim3 grid, block;
    uint32_t dynamic_shared;
    Settings settings;
    std::shared_ptr<RecordBook> records;
    std::vector<std::unique_ptr<unsigned char[]>> storage;
    std::vector<void*> parameters;
};

// Tensor maps want an alignment of 128 bytes.
static void copy_parameters(PreparedLaunch& launch, void** parameters) {
    constexpr size_t ALIGNMENT = alignof(CUtensorMap);
    const KernelDefinition& definition = launch.kernel->definition;
    for (unsigned i = 0; i < definition.parameter_count; i++) {
        auto bytes = std::make_unique<unsigned char[]>(definition.parameter_sizes[i] + ALIGNMENT);
        void* aligned = (void*)(((uintptr_t)bytes.get() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        memcpy(aligned, parameters[i], definition.parameter_sizes[i]);
        launch.parameters.push_back(aligned);
        launch.storage.push_back(std::move(bytes));
    }
}

static void run(const PreparedLaunch& prepared, Outcome& outcome) {
    Launch launch;
    launch.kernel = &prepared.kernel->definition;
    launch.parameters = const_cast<void**>(prepared.parameters.data());
    launch.grid = prepared.grid;
    launch.block = prepared.block;
    launch.dynamic_shared = prepared.dynamic_shared;
    launch.settings = prepared.settings;
    run_grid(launch);
    const std::vector<std::string> lines = launch.reports.lines();
    if (!launch.settings.quiet)
        for (const std::string& line : lines) fprintf(stderr, "cudasim: %s\n", line.c_str());
    outcome.reports.insert(outcome.reports.end(), lines.begin(), lines.end());
    std::lock_guard<std::mutex> guard(prepared.records->mutex);
    if (launch.counted())
        prepared.records->counts.push_back({launch.kernel->name, launch.grid, launch.block, launch.dynamic_shared,
                                            std::move(launch.counts)});
    if (prepared.records->open)
        prepared.records->records.push_back({launch.kernel->name, launch.grid, launch.block, launch.bytes_read,
                                             launch.bytes_written, lines});
}

static std::string text(dim3 d) {
    return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

// The reason why the device would refuse the launch; empty if it would not.
static std::string why_not(const Kernel& kernel, dim3 grid, dim3 block, unsigned dynamic_shared) {
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!threads || block.x > 1024 || block.y > 1024 || block.z > 64) return "a block of " + text(block);
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        return "a grid of " + text(grid);
    if (threads > kernel.max_threads)
        return std::to_string(threads) + " threads in a block; " +
               (kernel.max_threads < MOST_THREADS ? "its __launch_bounds__ permit " : "the device permits ") +
               std::to_string(kernel.max_threads);
    if (dynamic_shared > kernel.max_dynamic_shared)
        return std::to_string(dynamic_shared) + " bytes of dynamic shared memory; cuFuncSetAttribute permits " +
               std::to_string(kernel.max_dynamic_shared);
    return "";
}

static Result occupancy(void* function, unsigned threads, size_t dynamic_shared, int* blocks) {
    if (!function || !threads) return fail(INVALID_VALUE, "occupancy of no kernel or no threads");
    const size_t shared = dynamic_shared + DYNAMIC_START;
    *blocks = (int)std::min<size_t>({2048 / threads, (228u << 10) / shared, 32});
    if (threads > ((Kernel*)function)->max_threads) *blocks = 0;
    return SUCCESS;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuModuleLoadData(void** module, const void* image) {
    if (!image) return fail(INVALID_VALUE, "cuModuleLoadData: no image");
    *module = modules.add(std::make_shared<Module>());
    return SUCCESS;
}
CUDA_API cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) {
    return cuModuleLoadData(module, image);
}
CUDA_API cuModuleLoad(void** module, const char* file) { return cuModuleLoadData(module, file); }
CUDA_API cuModuleUnload(void* module) {
    return modules.remove(module) ? SUCCESS : fail(INVALID_HANDLE, "cuModuleUnload: there is no such module");
}

CUDA_API cuModuleGetFunction(void** function, void* module, const char* name) {
    if (!modules.find(module)) return fail(INVALID_HANDLE, "cuModuleGetFunction: there is no such module");
    auto found = kernels().find(name);
    if (found == kernels().end() || !found->second.definition.run)
        return fail(NOT_FOUND, std::string("no kernel ") + name + " (is it registered by REGISTER_KERNEL?)");
    *function = &found->second;
    return SUCCESS;
}

enum FunctionAttribute { MAX_THREADS_PER_BLOCK = 0, PTX_VERSION = 5, MAX_DYNAMIC_SHARED = 8 };

CUDA_API cuFuncSetAttribute(void* function, int attribute, int value) {
    if (!function) return fail(INVALID_HANDLE, "cuFuncSetAttribute: no kernel");
    if (attribute != MAX_DYNAMIC_SHARED) return SUCCESS;
    if (value < 0 || (unsigned)value > MOST_SHARED)
        return fail(INVALID_VALUE, std::to_string(value) + " bytes of dynamic shared memory, of at most 227 KiB");
    ((Kernel*)function)->max_dynamic_shared = (unsigned)value;
    return SUCCESS;
}
CUDA_API cuFuncGetAttribute(int* value, int attribute, void* function) {
    if (!function) return fail(INVALID_HANDLE, "cuFuncGetAttribute: no kernel");
    const Kernel& kernel = *(Kernel*)function;
    *value = attribute == MAX_THREADS_PER_BLOCK ? (int)kernel.max_threads
             : attribute == MAX_DYNAMIC_SHARED  ? (int)kernel.max_dynamic_shared
             : attribute == PTX_VERSION         ? 90
                                                : 0;
    return SUCCESS;
}
CUDA_API cuFuncSetCacheConfig(void*, int) { return SUCCESS; }

CUDA_API cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned dynamic_shared, void* stream, void** parameters,
                        void**) {
    if (!function) return fail(INVALID_HANDLE, "cuLaunchKernel: no kernel");
    const Kernel& kernel = *(Kernel*)function;
    const dim3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    const std::string objection = why_not(kernel, grid, block, dynamic_shared);
    if (!objection.empty()) return fail(INVALID_VALUE, std::string(kernel.definition.name) + ": " + objection);
    if (!parameters && kernel.definition.parameter_count) return fail(INVALID_VALUE, "cuLaunchKernel: no parameters");
    ThreadState& thread = this_thread();
    auto launch = std::make_shared<PreparedLaunch>();
    launch->kernel = &kernel;
    launch->grid = grid;
    launch->block = block;
    launch->dynamic_shared = dynamic_shared;
    launch->settings = thread.settings;
    launch->records = thread.records;
    copy_parameters(*launch, parameters);
    return submit(stream, [launch](Outcome& outcome) { run(*launch, outcome); });
}

struct LaunchAttribute {  // CUlaunchAttribute
    unsigned id;
    char padding[4], value[64];
};
constexpr unsigned PRIORITY = 8;

struct LaunchConfiguration {  // CUlaunchConfig
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, dynamic_shared;
    void* stream;
    const LaunchAttribute* attributes;
    unsigned attribute_count;
};
CUDA_API cuLaunchKernelEx(const LaunchConfiguration* c, void* function, void** parameters, void** extra) {
    for (unsigned i = 0; i < c->attribute_count; i++)
        // Launches run in the order that dependencies leave open, whatever their priority.
        if (c->attributes[i].id != PRIORITY)
            return fail(NOT_SUPPORTED, "cuLaunchKernelEx: attribute " + std::to_string(c->attributes[i].id) +
                                           " is not simulated");
    return cuLaunchKernel(function, c->grid_x, c->grid_y, c->grid_z, c->block_x, c->block_y, c->block_z,
                          c->dynamic_shared, c->stream, parameters, extra);
}

CUDA_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, size_t dynamic_shared) {
    return occupancy(function, (unsigned)threads, dynamic_shared, blocks);
}
CUDA_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* function, int threads,
                                                              size_t dynamic_shared, unsigned) {
    return occupancy(function, (unsigned)threads, dynamic_shared, blocks);
}
