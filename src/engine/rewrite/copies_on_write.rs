//! The rewrite that takes copies of what only the host writes out of the training step: a device makes such a copy when
//! the host writes its source, and no execution has a launch that only copies.
//!
//! Condition, for a [`Copy`] of the main part that overwrites its destination:
//!
//! - the source is a part of a persistent buffer, no step writes it, and it is not itself the destination of such a
//!   copy: its values are those that the host wrote last;
//! - the destination is a part of a transient buffer, so that the host neither reads nor writes it, and no other step
//!   writes it.
//!
//! The whole buffer of the destination becomes persistent: what the host has written stays there until it writes again.
//! The condition pictures of a conditional discriminator are such copies, and its real pictures.

use super::as_a;
use crate::engine::access::Access;
use crate::engine::ops::copy::Copy;
use crate::engine::program::{HostCopy, Lifetime, Program, RecordedStep, Touch};
use crate::engine::tensor::Tensor;

/// Turns every copy that meets the condition of this module into a [`HostCopy`].
pub fn apply(program: &mut Program) {
    let mut index = 0;
    while index < program.main {
        let Some((from, to)) = host_copy(program, index) else {
            index += 1;
            continue;
        };
        let RecordedStep { step, layer, .. } = program.steps.remove(index);
        program.main -= 1;
        program.buffers.keep(to.buffer);
        program.host_copies.push(HostCopy { from, to, step: RecordedStep::new(step, layer) });
    }
}

/// Source and destination of the step at `index`, if it is a copy that meets the condition.
fn host_copy(program: &Program, index: usize) -> Option<(Tensor, Tensor)> {
    let &Copy { from, to } = as_a::<Copy>(program, index)?;
    let writes = |tensor: Tensor| {
        let touch = Touch::new(&Access::Read(tensor), &program.buffers);
        let others = program.steps.iter().enumerate().filter(|&(other, _)| other != index);
        others.flat_map(|(_, step)| &step.accesses).any(|access| Touch::new(access, &program.buffers).conflicts(&touch))
    };
    let is_destination = |tensor: Tensor| program.host_copies.iter().any(|copy| copy.to.buffer == tensor.buffer);
    let lifetime = |tensor: Tensor| program.buffers.get(tensor.buffer).lifetime;
    let host_writes = lifetime(from) == Lifetime::Persistent && !is_destination(from) && !writes(from);
    // The buffer of an earlier copy's destination was transient too.
    let is_transient = lifetime(to.tensor) == Lifetime::Transient || is_destination(to.tensor);
    (!to.accumulates() && host_writes && is_transient && !writes(to.tensor)).then_some((from, to.tensor))
}
