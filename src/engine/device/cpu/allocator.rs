//! The program's allocator: the system's, except that a failed allocation ends the process with an error message
//! instead of an abort.
//!
//! Rust's collections cannot report a failed allocation. Runs and downloads can be resumed after a kill at any moment,
//! so ending the process loses no more than a kill would.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::bytes::ByteSize;

/// A `#[global_allocator]` that takes memory from the system's allocator. When that fails, it prints an error message
/// to stderr and ends the process with status 1.
#[derive(Debug)]
pub struct Allocator;

// SAFETY: every call is handed on to `System` as it came, and the only results that are not handed back are null
// pointers.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what `System` asks for.
        granted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        granted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        granted(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Returns `pointer`, or ends the process with an error if it is null: `bytes` were refused.
#[inline]
fn granted(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        refused(bytes);
    }
    pointer
}

/// Prints an error and ends the process with status 1. Allocates nothing and takes no lock.
#[cold]
fn refused(bytes: usize) -> ! {
    static IS_ENDING: AtomicBool = AtomicBool::new(false);
    if IS_ENDING.swap(true, Ordering::SeqCst) {
        // Another thread is ending the process.
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let mut line = Line { bytes: [0; 256], length: 0 };
    // A longer line would be cut off.
    let _ = writeln!(
        line,
        "error: out of memory: {} were refused; give the program more (free memory, the container's limit, ulimit -v), \
         or take smaller pictures, a smaller --tile or --batch, fewer --threads",
        ByteSize(bytes as u64)
    );
    end(&line.bytes[..line.length])
}

/// A line of text in a fixed buffer.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(unix)]
fn end(line: &[u8]) -> ! {
    // SAFETY: the pointer and the length are those of a slice. A failure is ignored: there is nowhere to report it.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    // Without the handlers of `exit`: they may wait for locks, and for memory.
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(1) }
}

#[cfg(not(unix))]
fn end(line: &[u8]) -> ! {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_the_systems() {
        let layout = Layout::from_size_align(24, 8).unwrap();
        // SAFETY: the layouts are those that the memory was given with.
        unsafe {
            let start = Allocator.alloc_zeroed(layout);
            assert_eq!(std::slice::from_raw_parts(start, 24), [0; 24]);
            start.write(7);
            let moved = Allocator.realloc(start, layout, 4096);
            assert_eq!(moved.read(), 7);
            Allocator.dealloc(moved, Layout::from_size_align(4096, 8).unwrap());
        }
    }

    #[test]
    fn the_longest_line_fits() {
        let mut line = Line { bytes: [0; 256], length: 0 };
        assert!(line.write_str(&"x".repeat(256)).is_ok());
        assert!(line.write_str("y").is_err());
    }
}
