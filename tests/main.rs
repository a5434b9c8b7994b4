//! The correctness tests: one binary, so that they link once and share what is in `support`.

mod ops;
mod support;
