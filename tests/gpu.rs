//! The CUDA tests on a GPU: what `tests/main.rs` runs on the simulator. Without a GPU each says that it was skipped,
//! and with `PIXTAPE_REQUIRE_GPU=1` fails. They run on machines that have not built them: `PIXTAPE_PROGRAM` says where
//! the program is.

mod cli {
    #[expect(dead_code, reason = "what only the program on the CPU is tested with")]
    pub mod scene;
}
mod cuda;
mod networks {
    pub mod published;
    pub mod scales;
}
mod ops {
    pub mod adam;
    pub mod cast;
    pub mod checks;
    #[expect(dead_code, reason = "what the CPU alone is tested for, and the benches' layers")]
    pub mod kinds;
    pub mod losses;
    #[expect(dead_code, reason = "finite differences, which move the inputs, are the CPU's alone")]
    pub mod trial;
}
mod support;
mod training {
    pub mod checks;
    pub mod joined;
    pub mod state;
    pub mod traces;
}

/// The driver that the tests of `cuda` run on.
const ON_GPU: bool = true;
