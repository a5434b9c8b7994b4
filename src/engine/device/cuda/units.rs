//! The units of an execution: what is launched together. Most are a step; an input gradient and the weight gradient of
//! another layer beside it share a launch.

use std::collections::HashMap;

use crate::engine::kernel::cuda::{Launch, beside};
use crate::engine::plan::Dependencies;

/// The name of the layer of [`Unit::Crops`].
pub const PICTURES: &str = "pictures";

/// Work that an execution launches together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The crops of the pairs that the GPU keeps, in the tensors of the step.
    Crops,
    /// A step, by its index in the program.
    Step(usize),
    /// Two steps, of a convolution and of a weight gradient, whose kernels run side by side in one launch.
    Pair { patch: usize, wgrad: usize },
}

impl Unit {
    /// Returns the steps of the unit, by their indices in the program.
    pub fn steps(self) -> Vec<usize> {
        match self {
            Unit::Crops => Vec::new(),
            Unit::Step(step) => vec![step],
            Unit::Pair { patch, wgrad } => vec![patch, wgrad],
        }
    }
}

/// Returns the units of a program with their launches, in an order that keeps the dependencies. `steps` has the
/// launches of each step in recorded order.
///
/// Convolutions keep their positions, since later gradients wait for them. A weight gradient moves to a convolution
/// after it, or else to one before it. The plan of the memory holds for any such order.
pub fn side_by_side(steps: Vec<Vec<Launch>>, dependencies: &Dependencies) -> Vec<(Unit, Vec<Launch>)> {
    let count = steps.len();
    // The position of each step in the new order: its own index, or that of the convolution whose launch it shares.
    let mut positions: Vec<usize> = (0..count).collect();
    let mut shared: HashMap<usize, (usize, Launch)> = HashMap::new();
    for patch in 0..count {
        let [alone] = &steps[patch][..] else { continue };
        let partner = (0..patch).rev().chain(patch + 1..count).find_map(|wgrad| {
            let [other] = &steps[wgrad][..] else { return None };
            let is_free = positions[wgrad] == wgrad && can_move(wgrad, patch, &positions, dependencies);
            is_free.then(|| beside(alone, other)).flatten().map(|both| (wgrad, both))
        });
        if let Some((wgrad, both)) = partner {
            positions[wgrad] = patch;
            shared.insert(patch, (wgrad, both));
        }
    }
    let units = steps.into_iter().enumerate().filter(|(step, _)| positions[*step] == *step);
    let unit = |(step, launches)| match shared.remove(&step) {
        Some((wgrad, both)) => (Unit::Pair { patch: step, wgrad }, vec![both]),
        None => (Unit::Step(step), launches),
    };
    units.map(unit).collect()
}

/// True if `step` can run at `position`, with every other step at its own, without breaking a dependency.
fn can_move(step: usize, position: usize, positions: &[usize], dependencies: &Dependencies) -> bool {
    let before = (0..step).filter(|&other| dependencies.ordered(other, step));
    let behind = (step + 1..positions.len()).filter(|&other| dependencies.ordered(step, other));
    before.map(|other| positions[other]).all(|other| other < position)
        && behind.map(|other| positions[other]).all(|other| position < other)
}
