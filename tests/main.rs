//! The integration tests: one binary, so that they link once and share what is in `support`.

mod cli;
mod networks;
mod ops;
mod support;
mod tape;
mod training;
