//! How this process gets its memory: large blocks in large pages, and few places from which the rest comes.
//!
//! Deriving a key fills 256 MiB. In pages of 4 KiB the system clears and maps 65,536 of them, which takes as long as a third of the derivation;
//! in pages of 2 MiB it takes next to nothing.

use std::alloc::{GlobalAlloc, Layout, System};

/// Has the C library keep less memory for later. Left alone, each thread fills a place of its own with what it gave back, a fifth of a run's
/// peak, and what is given back to the system is cleared again when it is wanted next.
#[allow(unsafe_code)]
#[cfg(target_env = "gnu")]
pub(crate) fn keep_little() {
    let places = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(4));
    for (setting, value) in
        [(libc::M_ARENA_MAX, places as libc::c_int), (libc::M_MMAP_THRESHOLD, 8 << 20), (libc::M_TRIM_THRESHOLD, 32 << 20)]
    {
        // SAFETY: these settings may be changed at any time. What the library does not know it leaves alone.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Other C libraries keep little by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_little() {}

/// The system's allocator, which asks for large pages where a block is worth them.
pub(crate) struct LargePages;

/// From this length on.
const WORTH_IT: usize = 4 << 20;
const PAGE: usize = 2 << 20;

/// Asks for large pages where whole ones fit into a block. If there are none, nothing changes.
#[allow(unsafe_code)]
fn ask(block: *mut u8, len: usize) {
    if block.is_null() || len < WORTH_IT {
        return;
    }
    let skipped = block.align_offset(PAGE);
    let whole = (len - skipped) / PAGE * PAGE;
    // SAFETY: the range lies within a block that was just allocated, and this advice changes nothing of what is in it.
    let _ = unsafe { rustix::mm::madvise(block.wrapping_add(skipped).cast(), whole, rustix::mm::Advice::LinuxHugepage) };
}

// SAFETY: every block comes from `System` and goes back to it, with the layouts that were given.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = unsafe { System.alloc(layout) };
        ask(block, layout.size());
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < WORTH_IT {
            return unsafe { System.alloc_zeroed(layout) };
        }
        // `System` would fill an aligned block with zeros, and so with small pages, before anybody can ask.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let block = unsafe { System.realloc(block, layout, len) };
        ask(block, len);
        block
    }
}
