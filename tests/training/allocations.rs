//! Training allocates nothing: everything is planned before the first step.
//!
//! An allocator counts what marked threads ask for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use pixtape::engine::device::cpu::{Cpu, with_threads};
use pixtape::gan::{Pix2Pix, Precision, Recipe};

use super::state::{self, CONTROL};

#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// A thread of a test that counts nothing.
    Other,
    /// Runs the steps.
    Executor,
    /// Another thread of its pool.
    Worker,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Other) };
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

impl Counting {
    fn note() {
        let counts = ROLE.try_with(Cell::get).is_ok_and(|role| role != Role::Other);
        COUNT.fetch_add(usize::from(counts), Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::note();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations during `work`, which runs its steps on this thread.
fn count(work: impl FnOnce()) -> usize {
    let before = COUNT.load(Ordering::SeqCst);
    ROLE.set(Role::Executor);
    work();
    ROLE.set(Role::Other);
    COUNT.load(Ordering::SeqCst) - before
}

fn train(precision: Precision, threads: usize) -> usize {
    let work = || {
        let options = Pix2Pix { precision, ..Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5) };
        let (program, handles) = state::record(&options);
        let mut cpu: Cpu<f32> = Cpu::new(program, CONTROL).expect("memory");
        handles.load(&mut cpu);
        handles.write_pictures(&mut cpu, 0);
        // The queues of the pool itself grow when they are first used.
        (0..10).for_each(|_| cpu.execute());

        ROLE.set(Role::Executor);
        rayon::broadcast(|_| {
            if ROLE.get() == Role::Other {
                ROLE.set(Role::Worker);
            }
        });
        let allocations = count(|| {
            (0..50).for_each(|_| cpu.execute());
        });
        // A control: one allocation is counted, on either kind of thread.
        assert_eq!(count(|| drop(std::hint::black_box(Box::new(1)))), 1);
        let seen = count(|| {
            rayon::broadcast(|_| drop(std::hint::black_box(Box::new(1))));
        });
        assert!(seen >= threads, "{seen} allocations seen of one on each of {threads} threads");
        allocations
    };
    with_threads(threads, work).expect("threads")
}

#[test]
fn training_allocates_nothing() {
    // One after the other: they share the counter.
    for precision in [Precision::F32, Precision::Bf16] {
        for threads in [1, 2] {
            assert_eq!(train(precision, threads), 0, "{precision:?}: allocations in 50 steps, {threads} threads");
        }
    }
}
