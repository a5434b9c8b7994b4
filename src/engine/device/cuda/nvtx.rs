//! Ranges of NVTX, by which profilers such as Nsight Systems name what they see. Its library, `libnvToolsExt`, is
//! looked for when the first range begins; where it is absent there are no ranges, and nothing else changes.

use std::sync::LazyLock;

use cudarc::nvtx::{result, sys};

use super::library::has;

/// True if NVTX's library is there with the functions that are called.
static IS_PRESENT: LazyLock<bool> = LazyLock::new(|| {
    // SAFETY: runs the initialisers of the library, which are NVIDIA's own, and unloads it again.
    if !unsafe { sys::is_culib_present() } {
        return false;
    }
    // SAFETY: as above. It is the one that was just found, and stays loaded.
    let library = unsafe { sys::culib() };
    ["nvtxRangePushA", "nvtxRangePop"].into_iter().all(|function| has(library, function))
});

/// A range around what this thread enqueues until it is dropped. Ranges nest.
#[derive(Debug)]
pub struct Range;

impl Range {
    /// Begins a range. `name` has no zero byte.
    pub fn new(name: &str) -> Range {
        if *IS_PRESENT {
            result::range_push(name);
        }
        Range
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if *IS_PRESENT {
            result::range_pop();
        }
    }
}
