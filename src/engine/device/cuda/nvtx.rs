//! Ranges of NVTX, by which profilers such as Nsight Systems name what they see. Its library is looked for when the
//! first range begins; where it is absent there are no ranges, and nothing else changes.

use std::ffi::{CString, c_char, c_int};
use std::sync::LazyLock;

use libloading::Library;

/// Files of the library: that of CUDA 12.9 and later, and that of earlier versions.
const FILES: [&str; 4] = ["libnvtx3interop.so", "libnvtx3interop.so.1", "libnvToolsExt.so", "libnvToolsExt.so.1"];

/// The functions that are called, in a library that stays loaded.
struct Nvtx {
    push: unsafe extern "C" fn(*const c_char) -> c_int,
    pop: unsafe extern "C" fn() -> c_int,
    _library: Library,
}

static NVTX: LazyLock<Option<Nvtx>> = LazyLock::new(|| {
    FILES.into_iter().find_map(|file| {
        // SAFETY: runs the initialisers of the library, which are NVIDIA's own.
        let library = unsafe { Library::new(file) }.ok()?;
        // SAFETY: the functions have these signatures in every version (nvToolsExt.h).
        let (push, pop) = unsafe { (*library.get(c"nvtxRangePushA").ok()?, *library.get(c"nvtxRangePop").ok()?) };
        Some(Nvtx { push, pop, _library: library })
    })
});

/// A range around what this thread enqueues until it is dropped. Ranges nest.
#[derive(Debug)]
pub struct Range;

impl Range {
    /// Begins a range. A zero byte ends its name.
    pub fn new(name: &str) -> Range {
        if let Some(nvtx) = &*NVTX {
            let until_zero: Vec<u8> = name.bytes().take_while(|&byte| byte != 0).collect();
            let name = CString::new(until_zero).unwrap_or_default();
            // SAFETY: a text that ends with a zero byte and lives through the call, which copies it.
            unsafe { (nvtx.push)(name.as_ptr()) };
        }
        Range
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Some(nvtx) = &*NVTX {
            // SAFETY: ends the innermost range of this thread, which `new` has begun.
            unsafe { (nvtx.pop)() };
        }
    }
}
