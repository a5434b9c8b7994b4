//! The correctness tests: one binary, so that they link once and share what is in `support`.

mod networks;
mod ops;
mod support;
mod tape;
mod training;
