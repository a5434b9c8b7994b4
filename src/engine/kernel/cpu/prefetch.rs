//! Memory asked for ahead of its use.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `count` elements from `start` on in the L2 cache, without waiting for them.
#[inline(always)]
pub(crate) fn prefetch_lines<E>(start: *const E, count: usize) {
    for index in (0..count).step_by((LINE / size_of::<E>()).max(1)) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: a prefetch reads nothing, at whatever address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(index).cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = start.wrapping_add(index);
    }
}
