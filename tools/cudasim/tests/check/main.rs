//! Tests on the check build. One binary, so that the kernels are compiled once.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/tiles.rs"]
mod tiles;

mod counts;
mod events;
mod graphs;
mod launches;
mod leaks;
mod memory;
mod mutations;
mod seeded_bugs;
mod streams;
mod threads;
mod tickets;

use common::{Gpu, QUIET};
use cudasim::{Async, Build, Schedule, Settings};

/// A client on the check build.
fn gpu() -> Gpu {
    Gpu::new(Build::Check, QUIET)
}

/// Every combination of orders that tests go through.
fn all_settings() -> Vec<Settings> {
    let mut all = Vec::new();
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(3), Schedule::Random(11)] {
        for asynchrony in [Async::Lazy, Async::Eager, Async::Random] {
            for skew in [false, true] {
                all.push(Settings { schedule, asynchrony, skew, ..QUIET });
            }
        }
    }
    all
}
