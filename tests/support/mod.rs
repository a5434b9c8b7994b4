//! What the tests share: the data of the PyTorch reference, tolerances, and one way to run a program in either precision.

pub mod compare;
pub mod fixture;
pub mod machine;
pub mod values;
