//! Devices execute planned programs. The CPU is the reference that every other device is held to.

pub mod cpu;
