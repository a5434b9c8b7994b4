// Addresses of a block's shared variables. Fresh memory is poisoned, so that reading it gives NaN without the checker
// too.
#include "engine.hpp"
#include <cstring>

namespace cudasim {

void* dynamic_shared(uint32_t alignment, Site at) {
    Engine& e = *engine;
    if (!alignment || (alignment & (alignment - 1))) {
        report(at, "DYN_SMEM: alignment %u is not a power of two", alignment);
        abandon_block();
    }
    uint32_t base = (DYNAMIC_START + alignment - 1) / alignment * alignment;
    // With skew the base has no alignment beyond the one asked for.
    if (e.launch->settings.skew && base / alignment % 2 == 0) base += alignment;
    if (e.dynamic_base != base) {
        e.dynamic_base = base;
        e.dynamic_bytes = e.launch->dynamic_shared;
        memset(e.window + base, 0xff, e.dynamic_bytes);
    }
    return e.window + base;
}

void* static_shared(const void* variable, uint32_t bytes, uint32_t alignment, Site at) {
    Engine& e = *engine;
    for (const StaticVariable& known : e.statics)
        if (known.key == variable) return e.window + known.offset;
    const uint32_t offset = (e.static_top + alignment - 1) / alignment * alignment;
    if (offset + bytes > STATIC_START + MOST_STATIC_SHARED) {
        report(at, "static shared memory: %u bytes are over the limit of 48 KiB", offset + bytes - STATIC_START);
        abandon_block();
    }
    if (offset + bytes - STATIC_START + e.launch->dynamic_shared > MOST_SHARED) {
        report(at, "shared memory: %u static and %u dynamic bytes are over the limit of 227 KiB",
               offset + bytes - STATIC_START, e.launch->dynamic_shared);
        abandon_block();
    }
    e.static_top = offset + bytes;
    memset(e.window + offset, 0xff, bytes);
    e.statics.push_back({variable, offset});
    return e.window + offset;
}

uint32_t shared_address(const void* pointer, Site at) {
    const size_t offset = (const unsigned char*)pointer - engine->window;
    if (offset >= WINDOW_BYTES) {
        report(at, "the shared address of a pointer that is not into shared memory");
        abandon_block();
    }
    return (uint32_t)offset;
}

bool outside_shared(uint32_t offset, uint32_t bytes, const char* what, Site at) {
    if (engine->in_shared_allocation(offset, bytes)) return false;
    report(at, "%s: shared bytes %u to %u lie outside of the block's allocation", what, offset, offset + bytes);
    return true;
}

}  // namespace cudasim
