//! Norms on CUDA over more pixels than the rows of the op have, as those of large pictures.

use pixtape::engine::access::Control;
use pixtape::engine::ops::conv::{Geometry, conv};
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::ops::norm_act::{Activation, NormAct, norm_act};
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;

use super::driver::on_device;
use crate::support::compare::{Tolerance, assert_close, assert_same_bits};
use crate::support::digest;
use crate::support::machine::{Engine, Execution};
use crate::support::values::values;
use crate::training::checks::count;

const CONTROL: Control = Control { seed: 7, step: 0, learning_rate: 0.0 };

/// Threads that hold all but the last few of their pixels, of several images and of all channels of a block; and so
/// many parts of an image that the threads which combine them have several, the last with an odd number of pixels. The
/// mean is not 0, so that a pixel too many or too few in a sum of squares shows.
#[test]
fn norms_of_many_pixels_are_those_of_the_cpu() {
    on_device(|| {
        for shape in [[2, 64, 63, 8], [1, 131, 127, 4]] {
            let run = |engine: Engine| {
                let mut tape = Tape::new();
                let [x, dy, shown, gradient] = [(); 4].map(|()| tape.persistent(shape));
                let y = tape.transient(shape);
                let op = NormAct { norm: true, activation: Activation::Identity, dropout: None };
                norm_act(&mut tape, x, y, None, op);
                copy(&mut tape, y, shown);
                let dx = tape.backward(&[&Upstream { y, dy }], &[x]).expect("y depends on x")[0];
                copy(&mut tape, dx, gradient);
                let mut machine = Execution::Checked(1).machine(engine, tape.finish(), CONTROL);
                machine.write(x, &values("norms.x", x.count(), 1.0).iter().map(|x| x + 1.0).collect::<Vec<_>>());
                machine.write(dy, &values("norms.dy", dy.count(), 1.0));
                Execution::Checked(1).run(&mut *machine);
                [shown, gradient].map(|tensor| machine.read(tensor))
            };
            let [[y, dx], [expected_y, expected_dx]] = [Engine::Cuda, Engine::F64].map(run);
            // A normalised pixel is the difference of numbers up to 2, which are rounded, over a deviation of 0.58.
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 8.0 * f64::from(f32::EPSILON) };
            for (name, found, expected) in [("y", y, expected_y), ("dx", dx, expected_dx)] {
                let what = format!("{name} of a norm of {shape:?}");
                assert_close(&what, &found, &expected, tolerance);
                digest::note(&what, &found);
            }
        }
    });
}

/// Two gradients through one norm, of all images and of the first, which a rewrite computes in one batch: each image of
/// it belongs to one of the activations.
#[test]
fn gradients_of_one_batch_read_the_activations_of_their_images() {
    on_device(|| {
        // Blocks that hold the pixels in registers and in shared memory, and parts of an image.
        let sizes = [[7, 9], [13, 15], [25, 30], [45, 50], [65, 64]].map(|size| (Engine::Cuda, size));
        for (engine, [height, width]) in sizes.into_iter().chain([(Engine::CudaForced("plain"), [7, 9])]) {
            let run = |passes: &[_]| {
                let mut tape = Tape::new();
                let shape = [2, height, width, 4];
                let (picture, weight) = (tape.persistent(shape), tape.persistent([4, 1, 1, 4]));
                let [x, y] = [(); 2].map(|()| tape.transient(shape));
                let geometry = Geometry { kernel: [1, 1], stride: 1, dilation: 1, pad: [0; 2] };
                let op = NormAct { norm: true, activation: Activation::LeakyRelu, dropout: None };
                conv(&mut tape, picture, weight, None, x, geometry);
                norm_act(&mut tape, x, y, None, op);
                let [target, seen] = [(); 2].map(|()| tape.persistent([3, height, width, 4]));
                for images in [0..2, 2..3] {
                    let of_first = 0..images.len();
                    let criterion = Criterion::L2 { target: target.batch_slice(images.clone()) };
                    let value = tape.persistent([1, 1, 1, 1]);
                    let loss = Loss { x: y.batch_slice(of_first.clone()), criterion, weight: 1e3, value };
                    let found = tape.backward(&[&loss], &[picture.batch_slice(of_first)]).expect("y depends on it");
                    copy(&mut tape, found[0], seen.batch_slice(images));
                }
                let program = tape.finish().rewritten(passes);
                let count = count(&program, "norm_act_grad");
                let mut machine = Execution::Checked(1).machine(engine, program, CONTROL);
                for (name, tensor) in [("picture", picture), ("weight", weight), ("target", target)] {
                    machine.write(tensor, &values(&format!("norms.{name}"), tensor.count(), 1.0));
                }
                Execution::Checked(1).run(&mut *machine);
                (count, machine.read(seen))
            };
            let [(one, batched), (two, apart)] = [run(PASSES), run(&[])];
            assert_eq!([one, two], [1, 2]);
            assert_same_bits(&format!("{height}x{width} on {engine:?}"), &batched, &apart);
        }
    });
}
