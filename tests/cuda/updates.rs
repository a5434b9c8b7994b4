//! Adam behind weight gradients on CUDA: each kernel that updates weights computes the bits of its gradient and of an
//! update after that.

use pixtape::engine::access::{Control, Destination};
use pixtape::engine::ops::adam::{AdamOptions, adam};
use pixtape::engine::ops::conv::{Geometry, Wgrad};
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;
use pixtape::gan::{ParameterSpec, Parameters, Role};

use super::driver::on_device;
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Execution};
use crate::support::values::values;

const STRIDE_1: Geometry = Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [2, 2] };

const DILATED: Geometry = Geometry { kernel: [4, 4], stride: 4, dilation: 3, pad: [0, 0] };

#[test]
fn weights_are_updated_by_the_bits_of_their_gradients() {
    on_device(|| {
        // [images, height, width] of dy, channels of x and of dy.
        for (implementation, geometry, sizes, c, k) in [
            ("patch", Geometry::HALVING, [2, 9, 11], 20, 68),
            ("patch", Geometry::HALVING, [1, 4, 5], 520, 260),
            ("patch", STRIDE_1, [1, 9, 7], 12, 36),
            ("patch", STRIDE_1, [1, 4, 5], 520, 260),
            ("few", Geometry::HALVING, [2, 18, 34], 1, 8),
            ("few", Geometry::HALVING, [1, 9, 10], 2, 68),
            ("few", Geometry::HALVING, [1, 9, 10], 3, 8),
            ("few", Geometry::HALVING, [1, 9, 10], 4, 8),
            ("few", Geometry::HALVING, [1, 9, 10], 6, 68),
            ("dot", STRIDE_1, [2, 5, 7], 132, 1),
            ("map", DILATED, [2, 5, 7], 1, 68),
        ] {
            let run = |rewrite: bool| update(implementation, geometry, sizes, c, k, rewrite);
            let what = format!("{implementation} from {c} to {k}, {geometry:?}");
            assert_same_bits(&what, &run(true), &run(false));
        }
    });
}

/// Parameters and moments after two updates.
fn update(
    implementation: &'static str,
    geometry: Geometry,
    [n, height, width]: [usize; 3],
    c: usize,
    k: usize,
    rewrite: bool,
) -> Vec<f64> {
    let mut tape = Tape::new();
    let weight = ParameterSpec { name: "w".into(), shape: [k, 4, 4, c], role: Role::Weight };
    let parameters = Parameters::new(&mut tape, vec![weight]);
    let x = tape.persistent([n, height * geometry.stride, width * geometry.stride, c]);
    let dy = tape.persistent([n, height, width, k]);
    let dw = Destination::overwrite(parameters.part(parameters.gradients, 0));
    tape.push(Wgrad { x, dy, dw, geometry });
    let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    adam(&mut tape, parameters.values, parameters.gradients, parameters.moments, options);
    let program = if rewrite { tape.finish().rewritten(PASSES) } else { tape.finish() };
    let control = Control { seed: 1, step: 0, learning_rate: 1e-2 };
    let mut machine = Execution::Arena.machine(Engine::CudaForced(implementation), program, control);
    for (name, tensor) in [("x", x), ("dy", dy), ("w", parameters.values)] {
        machine.write(tensor, &values(name, tensor.count(), 1.0));
    }
    for _ in 0..2 {
        Execution::Arena.run(&mut *machine);
    }
    let state = [parameters.values, parameters.moments[0], parameters.moments[1]];
    state.iter().flat_map(|&tensor| machine.read(tensor)).collect()
}
