//! The `pixtape` program; all of it is in the library.

use std::process::ExitCode;

use pixtape::cli;
use pixtape::engine::device::cpu::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| cli::report(&error))
}
