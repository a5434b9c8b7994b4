//! The integration tests: one binary, so that they link once and share what is in `support`.

mod build;
mod cli;
mod cuda;
mod documents;
mod layers;
mod metrics;
mod networks;
mod ops;
mod support;
mod tape;
mod training;

/// True if the tests of `cuda` run on a GPU: here they run on the simulator.
const ON_GPU: bool = false;
