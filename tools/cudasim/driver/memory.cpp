// Allocation, copies and fills.
#include "../runtime/global_memory.hpp"
#include "capture.hpp"
#include "counts.hpp"
#include <cstdlib>
#include <cstring>
#include <map>

namespace cudasim {

// Memory of cuMemHostAlloc, which the device copies from and to while the host goes on.
class PinnedMemory {
  public:
    void add(void* pointer, size_t bytes) {
        std::lock_guard<std::mutex> guard(mutex_);
        blocks_[(uintptr_t)pointer] = bytes;
    }
    bool remove(void* pointer) {
        std::lock_guard<std::mutex> guard(mutex_);
        return blocks_.erase((uintptr_t)pointer) != 0;
    }
    bool contains(const void* pointer) {
        std::lock_guard<std::mutex> guard(mutex_);
        auto after = blocks_.upper_bound((uintptr_t)pointer);
        return after != blocks_.begin() && (uintptr_t)pointer < std::prev(after)->first + std::prev(after)->second;
    }
    size_t count() {
        std::lock_guard<std::mutex> guard(mutex_);
        return blocks_.size();
    }

  private:
    std::mutex mutex_;
    std::map<uintptr_t, size_t> blocks_;
};
static PinnedMemory pinned;

size_t pinned_count() { return pinned.count(); }

static void* at(DevicePointer pointer) { return (void*)(uintptr_t)pointer; }

static Result check_range(DevicePointer pointer, size_t bytes, const char* call) {
    if (!global_memory.reserved()) return fail(INVALID_CONTEXT, "no context is current");
    if (global_memory.in_allocation(at(pointer), bytes)) return SUCCESS;
    return fail(INVALID_VALUE, std::string(call) + ": " + std::to_string(bytes) + " bytes of device memory, " +
                                   global_memory.describe(at(pointer), bytes));
}

// Bounds are checked when a copy runs: the memory may have been freed since it was enqueued.
static bool still_there(DevicePointer pointer, size_t bytes, const char* what, Outcome& outcome) {
    if (global_memory.in_allocation(at(pointer), bytes)) return true;
    outcome.reports.push_back(std::string("[") + what + "] " + std::to_string(bytes) + " bytes, " +
                              global_memory.describe(at(pointer), bytes));
    return false;
}

static Work write_work(DevicePointer to, const void* from, size_t bytes) {
    return [=](Outcome& outcome) {
        if (!still_there(to, bytes, "copy to the device", outcome)) return;
        memcpy(at(to), from, bytes);
        global_memory.mark_initialised(at(to), bytes);
    };
}

static Work read_work(void* to, DevicePointer from, size_t bytes) {
    return [=](Outcome& outcome) {
        if (still_there(from, bytes, "copy from the device", outcome)) memcpy(to, at(from), bytes);
    };
}

static Work move_work(DevicePointer to, DevicePointer from, size_t bytes) {
    return [=](Outcome& outcome) {
        if (!still_there(from, bytes, "copy on the device", outcome)) return;
        if (!still_there(to, bytes, "copy on the device", outcome)) return;
        memmove(at(to), at(from), bytes);
        global_memory.copy_initialised(at(to), at(from), bytes);
    };
}

template <class Value> static Work fill_work(DevicePointer to, Value value, size_t count) {
    return [=](Outcome& outcome) {
        if (!still_there(to, count * sizeof(Value), "fill", outcome)) return;
        std::fill_n((Value*)at(to), count, value);
        global_memory.mark_initialised(at(to), count * sizeof(Value));
    };
}

static bool is_capturing(void* handle) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    const std::shared_ptr<Stream> stream = streams().find(handle);
    return stream && stream->capture;
}

static Result forbid_during_capture(const char* call) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    return refuse_unsafe_call(call);
}

static Result allocate(DevicePointer* pointer, size_t bytes) {
    if (!bytes) return fail(INVALID_VALUE, "an allocation of no bytes");
    if (!global_memory.reserved()) return fail(INVALID_CONTEXT, "no context is current");
    void* memory = global_memory.allocate(bytes);
    if (!memory)
        return fail(OUT_OF_MEMORY, std::to_string(bytes) + " bytes; " + std::to_string(global_memory.used()) + " of " +
                                       std::to_string(global_memory.capacity()) + " are in use");
    *pointer = (uintptr_t)memory;
    return SUCCESS;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuMemAlloc_v2(DevicePointer* pointer, size_t bytes) {
    if (Result refused = forbid_during_capture("cuMemAlloc")) return refused;
    return allocate(pointer, bytes);
}

CUDA_API cuMemFree_v2(DevicePointer pointer) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    if (Result refused = refuse_unsafe_call("cuMemFree")) return refused;
    streams().finish_all(lock);
    if (pointer && !global_memory.release(at(pointer))) return fail(INVALID_VALUE, "cuMemFree: no such allocation");
    return SUCCESS;
}

CUDA_API cuMemAllocAsync(DevicePointer* pointer, size_t bytes, void* stream) {
    if (is_capturing(stream)) {
        std::unique_lock<std::mutex> lock(streams().mutex);
        return refuse_while_capturing(*streams().find(stream));  // graphs with allocations are not simulated
    }
    return allocate(pointer, bytes);
}

CUDA_API cuMemFreeAsync(DevicePointer pointer, void* stream) {
    if (is_capturing(stream)) {
        std::unique_lock<std::mutex> lock(streams().mutex);
        return refuse_while_capturing(*streams().find(stream));
    }
    return submit(stream, [=](Outcome& outcome) {
        if (!global_memory.release(at(pointer))) outcome.reports.push_back("[cuMemFreeAsync] no such allocation");
    });
}

CUDA_API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    if (Result refused = forbid_during_capture("cuMemHostAlloc")) return refused;
    if (!bytes) return fail(INVALID_VALUE, "an allocation of no bytes");
    *pointer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*pointer) return fail(OUT_OF_MEMORY, "host memory");
    pinned.add(*pointer, bytes);
    return SUCCESS;
}

CUDA_API cuMemFreeHost(void* pointer) {
    std::unique_lock<std::mutex> lock(streams().mutex);
    if (Result refused = refuse_unsafe_call("cuMemFreeHost")) return refused;
    streams().finish_all(lock);
    if (!pinned.remove(pointer)) return fail(INVALID_VALUE, "cuMemFreeHost: no such allocation");
    free(pointer);
    return SUCCESS;
}

CUDA_API cuMemGetInfo_v2(size_t* available, size_t* total) {
    if (!global_memory.reserved()) return fail(INVALID_CONTEXT, "no context is current");
    *total = global_memory.capacity();
    *available = *total - global_memory.used();
    return SUCCESS;
}

// ---- copies. Pageable host memory is read at the call and written before it returns, pinned memory when the copy
// runs.

CUDA_API cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, size_t bytes, void* stream) {
    if (!bytes) return SUCCESS;
    if (Result failed = check_range(to, bytes, "cuMemcpyHtoD")) return failed;
    if (pinned.contains(from) || is_capturing(stream)) return submit(stream, write_work(to, from, bytes));
    const auto copy = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + bytes);
    return submit(stream, [=](Outcome& outcome) { write_work(to, copy->data(), bytes)(outcome); });
}

CUDA_API cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, size_t bytes, void* stream) {
    if (!bytes) return SUCCESS;
    if (Result failed = check_range(from, bytes, "cuMemcpyDtoH")) return failed;
    if (pinned.contains(to)) return submit(stream, read_work(to, from, bytes));
    return submit_and_wait(stream, read_work(to, from, bytes));
}

CUDA_API cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, void* stream) {
    if (!bytes) return SUCCESS;
    if (Result failed = check_range(to, bytes, "cuMemcpyDtoD")) return failed;
    if (Result failed = check_range(from, bytes, "cuMemcpyDtoD")) return failed;
    return submit(stream, move_work(to, from, bytes));
}

CUDA_API cuMemcpyHtoD_v2(DevicePointer to, const void* from, size_t bytes) {
    if (Result refused = forbid_during_capture("cuMemcpyHtoD")) return refused;
    if (!bytes) return SUCCESS;
    if (Result failed = check_range(to, bytes, "cuMemcpyHtoD")) return failed;
    return submit_and_wait(nullptr, write_work(to, from, bytes));
}

CUDA_API cuMemcpyDtoH_v2(void* to, DevicePointer from, size_t bytes) {
    if (Result refused = forbid_during_capture("cuMemcpyDtoH")) return refused;
    if (!bytes) return SUCCESS;
    if (Result failed = check_range(from, bytes, "cuMemcpyDtoH")) return failed;
    return submit_and_wait(nullptr, read_work(to, from, bytes));
}

CUDA_API cuMemcpyDtoD_v2(DevicePointer to, DevicePointer from, size_t bytes) {
    if (Result refused = forbid_during_capture("cuMemcpyDtoD")) return refused;
    return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr);
}

CUDA_API cuMemsetD8Async(DevicePointer to, unsigned char value, size_t count, void* stream) {
    if (!count) return SUCCESS;
    if (Result failed = check_range(to, count, "cuMemsetD8")) return failed;
    return submit(stream, fill_work(to, value, count));
}
CUDA_API cuMemsetD32Async(DevicePointer to, unsigned value, size_t count, void* stream) {
    if (!count) return SUCCESS;
    if (to % 4) return fail(INVALID_VALUE, "cuMemsetD32: the address is not aligned to 4 bytes");
    if (Result failed = check_range(to, 4 * count, "cuMemsetD32")) return failed;
    return submit(stream, fill_work(to, value, count));
}
CUDA_API cuMemsetD8_v2(DevicePointer to, unsigned char value, size_t count) {
    if (Result refused = forbid_during_capture("cuMemsetD8")) return refused;
    return cuMemsetD8Async(to, value, count, nullptr);
}
CUDA_API cuMemsetD32_v2(DevicePointer to, unsigned value, size_t count) {
    if (Result refused = forbid_during_capture("cuMemsetD32")) return refused;
    return cuMemsetD32Async(to, value, count, nullptr);
}
