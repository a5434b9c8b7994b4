//! Shared by the tests: the data of the PyTorch reference, tolerances, and one interface to run a program on any
//! engine.

pub mod compare;
pub mod digest;
pub mod fixture;
pub mod machine;
pub mod values;
