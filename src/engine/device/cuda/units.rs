//! Steps whose kernels share a launch: an input gradient, and the weight gradient of another layer beside it.

use crate::engine::kernel::cuda::{Launch, beside};
use crate::engine::plan::Dependencies;

/// Two steps, by their indices in the program, whose kernels run side by side in one launch: that of a convolution and
/// that of a weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub patch: usize,
    pub wgrad: usize,
}

/// Returns the launches of all steps in an order that keeps the dependencies, and the pairs of steps of which each has
/// one launch. `steps` has the launches of each step in recorded order.
///
/// A weight gradient moves to a convolution after it, since the gradients behind it wait for that; else to one before
/// it. The plan of the memory holds for any such order.
pub fn side_by_side(steps: Vec<Vec<Launch>>, dependencies: &Dependencies) -> (Vec<Launch>, Vec<Pair>) {
    let count = steps.len();
    // The position of each step in the new order: its own index, or that of the convolution whose launch it shares.
    let mut positions: Vec<usize> = (0..count).collect();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut launches = steps.clone();
    for patch in 0..count {
        let [alone] = &steps[patch][..] else { continue };
        let partner = (0..patch).rev().chain(patch + 1..count).find_map(|wgrad| {
            let [other] = &steps[wgrad][..] else { return None };
            let is_free = positions[wgrad] == wgrad && can_move(wgrad, patch, &positions, dependencies);
            is_free.then(|| beside(alone, other)).flatten().map(|both| (wgrad, both))
        });
        if let Some((wgrad, both)) = partner {
            pairs.push(Pair { patch, wgrad });
            positions[wgrad] = patch;
            (launches[patch], launches[wgrad]) = (vec![both], Vec::new());
        }
    }
    (launches.concat(), pairs)
}

/// True if `step` can run at `position`, with every other step at its own, without breaking a dependency.
fn can_move(step: usize, position: usize, positions: &[usize], dependencies: &Dependencies) -> bool {
    let before = (0..step).filter(|&other| dependencies.ordered(other, step));
    let behind = (step + 1..positions.len()).filter(|&other| dependencies.ordered(step, other));
    before.map(|other| positions[other]).all(|other| other < position)
        && behind.map(|other| positions[other]).all(|other| position < other)
}
