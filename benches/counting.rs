//! An allocator that counts, for benchmarks that must not allocate, or that say
//! what is taken.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Another allocator, with calls and bytes counted per thread.
pub struct Counting<A>(pub A);

fn count() {
    // a thread that is ending has no counter any more
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

fn grow(bytes: i64) {
    let _ = LIVE_BYTES.try_with(|n| n.set(n.get() + bytes));
}

// SAFETY: every call is handed on unchanged to the other allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        grow(layout.size() as i64);
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        grow(-(layout.size() as i64));
        unsafe { self.0.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        grow(layout.size() as i64);
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        grow(size as i64 - layout.size() as i64);
        unsafe { self.0.realloc(ptr, layout, size) }
    }
}

/// Allocations this thread made so far.
#[allow(dead_code, reason = "not every benchmark counts calls")]
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Bytes that this thread asked for and has not given back.
#[allow(dead_code, reason = "not every benchmark counts bytes")]
pub fn live_bytes() -> i64 {
    LIVE_BYTES.with(Cell::get)
}
