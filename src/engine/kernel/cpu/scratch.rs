//! Scratch memory of a thread, for what one task of a kernel packs or sums.

use std::cell::RefCell;

use super::Element;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `count` elements of scratch memory of the calling thread, aligned to 64 bytes, with arbitrary
/// values. The memory grows if more is asked for than before or than [`reserve_scratch`] was told.
///
/// # Panics
/// If `work` calls this again.
pub(crate) fn with_scratch<E: Element, R>(count: usize, work: impl FnOnce(&mut [E]) -> R) -> R {
    SCRATCH.with_borrow_mut(|lines| {
        grow(lines, count * size_of::<E>());
        // SAFETY: the lines hold `count` elements, every bit pattern is a value of one, and 64 bytes is no smaller an
        // alignment than that of a number. The lines are borrowed mutably as long as the slice.
        work(unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), count) })
    })
}

/// Has every thread of the caller's rayon pool keep `bytes` of scratch memory, so that no later step allocates any.
pub(crate) fn reserve_scratch(bytes: usize) {
    rayon::broadcast(|_| SCRATCH.with_borrow_mut(|lines| grow(lines, bytes)));
}

fn grow(lines: &mut Vec<Line>, bytes: usize) {
    let needed = bytes.div_ceil(size_of::<Line>());
    if lines.len() < needed {
        lines.resize(needed, Line([0; 8]));
    }
}
