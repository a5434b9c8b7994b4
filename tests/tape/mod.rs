//! The promises of the tape: gradients of several consumers add up, detach stops them, updates may lie between
//! evaluations, and a gradient that needs a value which is gone is refused.

mod consumers;
mod detached;
mod orders;
mod overwritten;
mod toy;
