// The device and its context. There is one device, whose attributes and limits are those of a Hopper GPU.
#include "../runtime/engine.hpp"
#include "../runtime/global_memory.hpp"
#include "thread_state.hpp"
#include <cstdio>
#include <cstring>

using namespace cudasim;

static const char DEVICE_NAME[] = "cudasim (CUDA kernels on the CPU, simulated)";
static int primary_context;  // its address is the handle

static Result check_device(int device) {
    if (!machine()) return fail(NOT_INITIALIZED, "cuInit has not been called");
    return device < 0 || device >= machine()->devices ? fail(INVALID_DEVICE, "there is one device, 0") : SUCCESS;
}

CUDA_API cuDriverGetVersion(int* version) {
    if (!machine()) return fail(NOT_INITIALIZED, "cuInit has not been called");
    *version = machine()->driver_version;
    return SUCCESS;
}

CUDA_API cuDeviceGetCount(int* count) {
    if (!machine()) return fail(NOT_INITIALIZED, "cuInit has not been called");
    *count = machine()->devices;
    return SUCCESS;
}

CUDA_API cuDeviceGet(int* device, int ordinal) {
    if (Result failed = check_device(ordinal)) return failed;
    *device = ordinal;
    return SUCCESS;
}

CUDA_API cuDeviceGetName(char* name, int capacity, int device) {
    if (Result failed = check_device(device)) return failed;
    snprintf(name, capacity, "%s", DEVICE_NAME);
    return SUCCESS;
}

CUDA_API cuDeviceTotalMem_v2(size_t* bytes, int device) {
    if (Result failed = check_device(device)) return failed;
    *bytes = machine()->memory;
    return SUCCESS;
}

CUDA_API cuDeviceGetUuid_v2(char* uuid, int device) {
    if (Result failed = check_device(device)) return failed;
    memcpy(uuid, "cudasim device 0", 16);
    return SUCCESS;
}
CUDA_API cuDeviceGetUuid(char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

struct Attribute {
    int number, value;
};
static const Attribute attributes[] = {
    {1, MOST_THREADS},        // threads per block
    {2, 1024}, {3, 1024}, {4, 64},                // block dimensions
    {5, 2147483647}, {6, 65535}, {7, 65535},      // grid dimensions
    {8, 48 << 10},            // shared memory per block
    {9, 64 << 10},            // constant memory
    {10, 32},                 // warp size
    {12, 65536},              // registers per block
    {16, 132},                // multiprocessors
    {38, 50 << 20},           // L2 cache
    {39, 2048},               // threads per multiprocessor
    {41, 1},                  // unified addressing
    {75, 9}, {76, 0},         // compute capability
    {81, 228 << 10},          // shared memory per multiprocessor
    {82, 65536},              // registers per multiprocessor
    {97, MOST_SHARED},        // shared memory per block, by opt-in
    {106, 32},                // blocks per multiprocessor
    {111, DYNAMIC_START},     // reserved shared memory per block
    {115, 1},                 // memory pools: allocation in stream order
};

CUDA_API cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (Result failed = check_device(device)) return failed;
    *value = 0;
    for (const Attribute& known : attributes)
        if (known.number == attribute) *value = known.value;
    return SUCCESS;
}

CUDA_API cuDevicePrimaryCtxRetain(void** context, int device) {
    if (Result failed = check_device(device)) return failed;
    if (!global_memory.reserve(machine()->memory, instrumented))
        return fail(OUT_OF_MEMORY, "the system refuses the addresses of the simulated memory (see CUDASIM_MEMORY)");
    *context = &primary_context;
    return SUCCESS;
}
CUDA_API cuDevicePrimaryCtxRelease_v2(int device) { return check_device(device); }

CUDA_API cuCtxSetCurrent(void* context) {
    if (context && context != &primary_context) return fail(INVALID_CONTEXT, "there is one context, the primary one");
    this_thread().has_context = context != nullptr;
    return SUCCESS;
}
CUDA_API cuCtxGetCurrent(void** context) {
    if (!machine()) return fail(NOT_INITIALIZED, "cuInit has not been called");
    *context = this_thread().has_context ? &primary_context : nullptr;
    return SUCCESS;
}
CUDA_API cuCtxGetDevice(int* device) {
    if (!this_thread().has_context) return fail(INVALID_CONTEXT, "no context is current");
    *device = 0;
    return SUCCESS;
}
CUDA_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    *least = *greatest = 0;
    return SUCCESS;
}
CUDA_API cuCtxSetFlags(unsigned) { return SUCCESS; }
