//! Training allocates nothing: everything is planned before the first step.
//!
//! An allocator counts what marked threads ask for. What the crate `gemm` does inside a product is left out. On the
//! thread that runs the steps that is known exactly. A worker does not know whose task it runs, so it is left out
//! during the steps that contain products; their other tasks (gathers and sums) are counted in the run with one thread,
//! where the same code runs on the thread that runs the steps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pixtape::engine::device::cpu::{Cpu, with_threads};
use pixtape::engine::kernel::cpu::inside_gemm;
use pixtape::gan::{Pix2Pix, Recipe};

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
/// True if the step that runs contains a product.
static IN_PRODUCT_STEP: AtomicBool = AtomicBool::new(false);

struct Counting;

impl Counting {
    fn note() {
        let counts = match ROLE.try_with(Cell::get) {
            Ok(Role::Executor) => !inside_gemm(),
            Ok(Role::Worker) => !IN_PRODUCT_STEP.load(Ordering::SeqCst),
            _ => false,
        };
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

fn train(threads: usize) -> usize {
    let work = || {
        let (program, handles) = state::record(&Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5));
        let has_product = |step: &pixtape::engine::program::RecordedStep| step.step().name().starts_with("conv_");
        let products: Vec<bool> = program.steps().iter().map(has_product).collect();
        assert!(products.contains(&true) && products.contains(&false));
        let mut cpu: Cpu<f32> = Cpu::new(program, CONTROL).expect("memory");
        handles.load(&mut cpu);
        handles.write_pictures(&mut cpu, 0);
        // Sizes the buffers of the products.
        cpu.execute();

        ROLE.set(Role::Executor);
        rayon::broadcast(|_| {
            if ROLE.get() == Role::Other {
                ROLE.set(Role::Worker);
            }
        });
        let allocations = count(|| {
            for _ in 0..50 {
                IN_PRODUCT_STEP.store(products[0], Ordering::SeqCst);
                cpu.execute_observed(|index, _| {
                    let next = products.get(index + 1).copied().unwrap_or(false);
                    IN_PRODUCT_STEP.store(next, Ordering::SeqCst);
                });
            }
        });
        IN_PRODUCT_STEP.store(false, Ordering::SeqCst);
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
    for threads in [1, 2] {
        assert_eq!(train(threads), 0, "allocations in 50 steps with {threads} threads");
    }
}
