//! Average pooling that halves an image: windows of 3x3, stride 2, padding 1, and the mean of those pixels of a window
//! that lie in the image (PyTorch's `AvgPool2d(3, stride=2, padding=1, count_include_pad=False)`).

mod cpu;
mod cuda;

use std::ops::Range;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// `y[n, i, j, c]` is the mean of `x` over rows `window(i, h)` and columns `window(j, w)`.
#[derive(Debug)]
struct AvgPool {
    x: Tensor,
    y: Tensor,
}

#[derive(Debug)]
struct AvgPoolGrad {
    dy: Tensor,
    dx: Destination,
}

/// The side of the output of [`avg_pool`] for an input with a side of `side` pixels: half of it, rounded up.
pub fn pooled_side(side: usize) -> usize {
    side.div_ceil(2)
}

/// The inputs of output `index` along a side of `size` pixels.
fn window(index: usize, size: usize) -> Range<usize> {
    (2 * index).saturating_sub(1)..(2 * index + 2).min(size)
}

/// The outputs that input `index` is part of, along a side with `outputs` of them.
fn windows_of(index: usize, outputs: usize) -> Range<usize> {
    index / 2..(index.div_ceil(2) + 1).min(outputs)
}

/// Records `y = avg_pool(x)`, with windows of 3x3, stride 2 and padding 1; padding does not count in the means. `x` is
/// `[n, h, w, c]`, `y` `[n, ceil(h / 2), ceil(w / 2), c]`.
///
/// # Panics
/// If `y` has another shape.
pub fn avg_pool(tape: &mut Tape, x: Tensor, y: Tensor) {
    let [n, h, w, c] = x.shape;
    assert_eq!(y.shape, [n, pooled_side(h), pooled_side(w), c], "pooling halves both sides");
    tape.push(AvgPool { x, y });
}

impl Step for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), Access::Write(self.y)]
    }

    fn receptive_field(&self) -> usize {
        3
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for AvgPool {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let x = backward.at(self.x);
        if let Some(dx) = backward.destination(x) {
            backward.push(AvgPoolGrad { dy, dx });
        }
    }
}

impl Step for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.dy), self.dx.access()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_meet_what_they_cover_and_nothing_else() {
        for size in 1..9 {
            for input in 0..size {
                let outputs = (0..pooled_side(size)).filter(|&output| window(output, size).contains(&input));
                assert_eq!(windows_of(input, pooled_side(size)).collect::<Vec<_>>(), outputs.collect::<Vec<_>>());
            }
        }
    }
}
