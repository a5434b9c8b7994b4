// The callbacks of -fsanitize=thread,alignment,bounds. The check build compiles kernels with these options and links
// neither libtsan nor libubsan: every memory access of a kernel ends here.
#include "engine.hpp"
#include <algorithm>
#include <cstring>
#include <link.h>

namespace cudasim {

// This library's own data: kernels read constants from it.
static bool is_library_data(const void* pointer) {
    static const struct Image {
        const char *begin = nullptr, *end = nullptr;
        Image() {
            const auto visit = [](dl_phdr_info* object, size_t, void* image) { return ((Image*)image)->find(*object); };
            dl_iterate_phdr(visit, this);
        }
        int find(const dl_phdr_info& object) {
            const char *low = (const char*)UINTPTR_MAX, *high = nullptr;
            for (int i = 0; i < object.dlpi_phnum; i++) {
                const auto& header = object.dlpi_phdr[i];
                if (header.p_type != PT_LOAD) continue;
                low = std::min(low, (const char*)object.dlpi_addr + header.p_vaddr);
                high = std::max(high, (const char*)object.dlpi_addr + header.p_vaddr + header.p_memsz);
            }
            if ((const char*)&instrumented < low || (const char*)&instrumented >= high) return 0;
            begin = low;
            end = high;
            return 1;
        }
    } image;
    return pointer >= image.begin && pointer < image.end;
}

static void count_access(Engine& e, uint32_t thread, Access kind, const void* pointer, uint32_t bytes,
                         size_t shared_offset, Site at) {
    static constexpr Counted shared[] = {Counted::SharedLoad, Counted::SharedStore, Counted::SharedAtomic};
    static constexpr Counted global[] = {Counted::GlobalLoad, Counted::GlobalStore, Counted::GlobalAtomic};
    if (shared_offset < WINDOW_BYTES) e.counter.note(thread, shared[(int)kind], at, shared_offset, bytes);
    else if (global_memory.contains(pointer))
        e.counter.note(thread, global[(int)kind], at, global_memory.offset_of(pointer), bytes);
}

template <Access KIND, bool MUST_ALIGN> static inline void on_access(const void* pointer, uint32_t bytes, Site at) {
    Thread* thread = current();
    if (!thread) return;
    Engine& e = *engine;
    if ((!e.check && !e.count) || !bytes) return;
    const size_t shared_offset = (const unsigned char*)pointer - e.window;
    if (e.count) return count_access(e, thread->linear, KIND, pointer, bytes, shared_offset, at);
    if (MUST_ALIGN && (uintptr_t)pointer % bytes) report(at, "misaligned access of %u bytes at %p", bytes, pointer);
    if (shared_offset < WINDOW_BYTES) {
        const uint32_t offset = (uint32_t)shared_offset;
        // An atomic update counts as a read here: it races with plain stores, and not with its like.
        if (KIND == Access::Write) e.shared.write(thread, offset, bytes, at);
        else if (!e.shared.is_harmless_read(offset, bytes, thread->linear, thread->clock, e.generation))
            e.shared.read(thread, offset, bytes, false, at);
    } else if (global_memory.contains(pointer)) {
        if (KIND == Access::Atomic) return e.global.atomic(thread, pointer, bytes, at);
        const bool has_segment = thread->segment && thread->segment_generation == e.generation;
        if (KIND == Access::Read && has_segment &&
            e.global.is_harmless_read(global_memory.offset_of(pointer), bytes, thread->segment))
            return;
        e.global.access(thread, pointer, bytes, KIND, at);
    } else if (!e.is_stack(pointer) && !is_library_data(pointer)) {
        e.global.access(thread, pointer, bytes, KIND, at);  // complains
    }
}

void thread_fence(Site at) {
    if (!current()) return;
    if (engine->check) engine->global.fence(current());
    if (engine->count) engine->counter.add(Counted::Fence, at, 1);
}

// Atomics, out of line and so never instrumented.
uint64_t atomic_load(const void* address, unsigned bytes, Site at) {
    on_access<Access::Atomic, true>(address, bytes, at);
    switch (bytes) {
        case 8: return __atomic_load_n((const uint64_t*)address, __ATOMIC_RELAXED);
        case 4: return __atomic_load_n((const uint32_t*)address, __ATOMIC_RELAXED);
        default: return __atomic_load_n((const uint16_t*)address, __ATOMIC_RELAXED);
    }
}

template <class Word> static bool exchange_if_equal(void* address, uint64_t* expected, uint64_t desired) {
    Word before = (Word)*expected;
    const bool done = __atomic_compare_exchange_n((Word*)address, &before, (Word)desired, false, __ATOMIC_RELAXED,
                                                  __ATOMIC_RELAXED);
    *expected = before;
    return done;
}

bool atomic_exchange_if_equal(void* address, unsigned bytes, uint64_t* expected, uint64_t desired) {
    switch (bytes) {
        case 8: return exchange_if_equal<uint64_t>(address, expected, desired);
        case 4: return exchange_if_equal<uint32_t>(address, expected, desired);
        default: return exchange_if_equal<uint16_t>(address, expected, desired);
    }
}

}  // namespace cudasim

using cudasim::Access;
#define CODE cudasim::site_of_code(__builtin_return_address(0))

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define CALLBACKS(BYTES) \
    void __tsan_read##BYTES(void* p) { cudasim::on_access<Access::Read, true>(p, BYTES, CODE); } \
    void __tsan_write##BYTES(void* p) { cudasim::on_access<Access::Write, true>(p, BYTES, CODE); } \
    void __tsan_volatile_read##BYTES(void* p) { cudasim::on_access<Access::Read, true>(p, BYTES, CODE); } \
    void __tsan_volatile_write##BYTES(void* p) { cudasim::on_access<Access::Write, true>(p, BYTES, CODE); } \
    void __tsan_unaligned_read##BYTES(void* p) { cudasim::on_access<Access::Read, false>(p, BYTES, CODE); } \
    void __tsan_unaligned_write##BYTES(void* p) { cudasim::on_access<Access::Write, false>(p, BYTES, CODE); }
CALLBACKS(1)
CALLBACKS(2)
CALLBACKS(4)
CALLBACKS(8)
CALLBACKS(16)
#undef CALLBACKS

void __tsan_read_range(void* p, size_t n) { cudasim::on_access<Access::Read, false>(p, (uint32_t)n, CODE); }
void __tsan_write_range(void* p, size_t n) { cudasim::on_access<Access::Write, false>(p, (uint32_t)n, CODE); }
void* __tsan_memcpy(void* to, const void* from, size_t n) {
    cudasim::on_access<Access::Read, false>(from, (uint32_t)n, CODE);
    cudasim::on_access<Access::Write, false>(to, (uint32_t)n, CODE);
    return memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, size_t n) {
    cudasim::on_access<Access::Read, false>(from, (uint32_t)n, CODE);
    cudasim::on_access<Access::Write, false>(to, (uint32_t)n, CODE);
    return memmove(to, from, n);
}
void* __tsan_memset(void* p, int value, size_t n) {
    cudasim::on_access<Access::Write, false>(p, (uint32_t)n, CODE);
    return memset(p, value, n);
}

// ---- undefined behaviour, with the source line and type that the compiler wrote down

struct UbsanSite {
    const char* file;
    uint32_t line, column;
};
struct UbsanType {
    uint16_t kind, info;
    char name[1];
};
struct UbsanMismatch {
    UbsanSite site;
    UbsanType* type;
    unsigned char log_alignment, kind;
};
struct UbsanBounds {
    UbsanSite site;
    UbsanType *array, *index;
};

void __ubsan_handle_type_mismatch_v1(UbsanMismatch* mismatch, uintptr_t pointer) {
    if (!cudasim::current()) return;
    cudasim::report({mismatch->site.file, (int)mismatch->site.line}, "misaligned access: %s at %p needs %u bytes",
                    mismatch->type->name, (void*)pointer, 1u << mismatch->log_alignment);
}
void __ubsan_handle_out_of_bounds(UbsanBounds* bounds, uintptr_t index) {
    if (!cudasim::current()) return;
    cudasim::report({bounds->site.file, (int)bounds->site.line}, "index %zd is out of bounds for %s", (ssize_t)index,
                    bounds->array->name);
}
void __ubsan_handle_type_mismatch_v1_abort(UbsanMismatch* mismatch, uintptr_t pointer) {
    __ubsan_handle_type_mismatch_v1(mismatch, pointer);
}
void __ubsan_handle_out_of_bounds_abort(UbsanBounds* bounds, uintptr_t index) {
    __ubsan_handle_out_of_bounds(bounds, index);
}

}  // extern "C"
