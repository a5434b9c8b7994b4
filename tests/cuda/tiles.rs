//! Gradients of convolutions on CUDA whose blocks and warps have several tiles or pixels, or whose pixels are shared by
//! several blocks, as those of large pictures.

use pixtape::engine::access::{Control, Destination, WriteMode};
use pixtape::engine::ops::conv::{BiasGrad, Dgrad, Epilogue, Fprop, Geometry, Wgrad};
use pixtape::engine::tape::Tape;

use super::driver::on_device;
use crate::support::compare::{Tolerance, assert_close};
use crate::support::digest;
use crate::support::machine::{Engine, Execution, arena};
use crate::support::values::values;

const CONTROL: Control = Control { seed: 7, step: 0, learning_rate: 1e-3 };

/// Weight gradients of so many tiles of pixels that some blocks have three: images of one
/// pixel are a tile each.
#[test]
fn blocks_of_weight_gradients_have_several_tiles() {
    on_device(|| {
        let narrow = Geometry { kernel: [3, 3], stride: 1, dilation: 1, pad: [1, 1] };
        let stride_1 = Geometry { kernel: [4, 4], ..narrow };
        for (implementation, geometry, images, [c, k]) in [
            ("few", Geometry::HALVING, 270, [2, 4]),
            ("patch", Geometry::HALVING, 36, [4, 8]),
            // So many channels that the tiles of the gradient are wide.
            ("patch", Geometry::HALVING, 1, [188, 676]),
            ("patch", stride_1, 1, [188, 676]),
            ("narrow", narrow, 270, [4, 4]),
        ] {
            let run = |engine: Engine| {
                let mut tape = Tape::new();
                let x = tape.persistent([images, geometry.stride, geometry.stride, c]);
                let dy = tape.persistent([images, 1, 1, k]);
                let dw = tape.persistent([k, geometry.kernel[0], geometry.kernel[1], c]);
                tape.push(Wgrad { x, dy, dw: Destination::overwrite(dw), geometry });
                let mut machine = arena(engine, tape.finish(), CONTROL);
                for (tensor, name) in [(x, "tiles.x"), (dy, "tiles.dy")] {
                    machine.write(tensor, &values(name, tensor.count(), 1.0));
                }
                machine.execute();
                machine.read(dw)
            };
            // Sums of one term for each image; errors of so many roundings mostly cancel.
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 16.0 * f64::from(f32::EPSILON) };
            let found = run(Engine::CudaForced(implementation));
            assert_close(implementation, &found, &run(Engine::F64), tolerance);
            digest::note(&format!("dw of {images} images from {c} to {k} channels by {implementation}"), &found);
        }
    });
}

/// The sums of a weight gradient begin anew after two tiles of pixels: large numbers that cancel in two of them take
/// nothing of the others along.
#[test]
fn blocks_of_weight_gradients_add_up_pairs_of_tiles() {
    on_device(|| {
        // Images of one pixel are a tile each, and sixteen blocks have five of them.
        let mut tape = Tape::new();
        let (x, dy) = (tape.persistent([80, 2, 2, 4]), tape.persistent([80, 1, 1, 4]));
        let dw = tape.persistent([4, 4, 4, 4]);
        tape.push(Wgrad { x, dy, dw: Destination::overwrite(dw), geometry: Geometry::HALVING });
        let mut machine = arena(Engine::CudaForced("patch"), tape.finish(), CONTROL);
        let large = f64::from(1 << 25);
        let images = [1.0, 0.0, large, -large, 0.0].into_iter().cycle().take(80);
        machine.write(x, &images.flat_map(|value| [value; 16]).collect::<Vec<_>>());
        machine.write(dy, &[1.0; 320]);
        machine.execute();
        // The pixel meets the four taps in the middle.
        for (weight, sum) in machine.read(dw).into_iter().enumerate() {
            let tap = weight / 4 % 16;
            assert_eq!(sum, if [5, 6, 9, 10].contains(&tap) { 16.0 } else { 0.0 }, "tap {tap}");
        }
    });
}

/// The sums of a convolution begin anew after four chunks of input channels: large numbers that cancel in some of them
/// take nothing of the others along.
#[test]
fn tiles_of_convolutions_add_up_runs_of_chunks() {
    on_device(|| {
        // Sixteen blocks share the tile, each with six chunks of eight channels.
        let mut tape = Tape::new();
        let inputs = 16 * 6 * 8;
        let (x, weight) = (tape.persistent([1, 2, 2, inputs]), tape.persistent([4, 4, 4, inputs]));
        let y = tape.persistent([1, 1, 1, 4]);
        let (bias, geometry, epilogue) = (None, Geometry::HALVING, Epilogue::None);
        tape.push(Fprop { x, weight, bias, y: Destination::overwrite(y), geometry, epilogue });
        let mut machine = arena(Engine::CudaForced("patch"), tape.finish(), CONTROL);
        let large = f64::from(1 << 25);
        // The first four chunks of a block and the last two; cut elsewhere, each loses its 1.
        let of_blocks = [[1.0, 0.0, 0.0, 0.0, large, -large], [0.0, large, -large, 1.0, 0.0, 0.0]];
        let chunks = of_blocks.into_iter().cycle().take(16).flatten();
        let first_pixel = chunks.flat_map(|value| std::iter::once(value).chain([0.0; 7]));
        machine.write(x, &first_pixel.chain(std::iter::repeat(0.0)).take(x.count()).collect::<Vec<_>>());
        machine.write(weight, &vec![1.0; weight.count()]);
        machine.execute();
        assert_eq!(machine.read(y), [16.0; 4]);
    });
}

/// Bias gradients of so many pixels that several blocks share them: of few channels, of a number that does not divide
/// the threads of a block, and of more than it has.
#[test]
fn blocks_share_the_pixels_of_bias_gradients() {
    on_device(|| {
        for (shape, slice) in [([2, 90, 80, 8], 3..7), ([3, 61, 40, 24], 0..24), ([1, 40, 30, 300], 0..300)] {
            let run = |engine: Engine| {
                let mut tape = Tape::new();
                let whole = tape.persistent(shape);
                let (dy, dbias) = (whole.channel_slice(slice.clone()), tape.persistent([1, 1, 1, slice.len()]));
                tape.push(BiasGrad { dy, dbias: Destination { tensor: dbias, mode: WriteMode::Accumulate } });
                let mut machine = arena(engine, tape.finish(), CONTROL);
                machine.write(whole, &values("shares.dy", whole.count(), 1.0));
                machine.write(dbias, &values("shares.dbias", dbias.count(), 1.0));
                machine.execute();
                machine.read(dbias)
            };
            // Sums of sums; errors of so many roundings mostly cancel.
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 16.0 * f64::from(f32::EPSILON) };
            let (what, found) = (format!("dbias of {shape:?}"), run(Engine::Cuda));
            assert_close(&what, &found, &run(Engine::F64), tolerance);
            digest::note(&what, &found);
        }
    });
}

/// An input gradient of so many pixels that a warp of its kernel has two, and of an odd number.
#[test]
fn a_warp_of_an_input_gradient_has_two_pixels() {
    on_device(|| {
        let geometry = Geometry { kernel: [2, 2], stride: 1, dilation: 1, pad: [1, 1] };
        let run = |engine: Engine| {
            let mut tape = Tape::new();
            let (dy, weight) = (tape.persistent([1, 4, 368, 1]), tape.persistent([1, 2, 2, 4]));
            let dx = tape.persistent([1, 3, 367, 4]);
            let (bias, epilogue) = (None, Epilogue::None);
            tape.push(Dgrad { dy, weight, bias, dx: Destination::overwrite(dx), geometry, epilogue });
            let mut machine = Execution::Checked(1).machine(engine, tape.finish(), CONTROL);
            for (tensor, name) in [(dy, "warp.dy"), (weight, "warp.w")] {
                machine.write(tensor, &values(name, tensor.count(), 1.0));
            }
            Execution::Checked(1).run(&mut *machine);
            machine.read(dx)
        };
        // Sums of four terms.
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 4.0 * f64::from(f32::EPSILON) };
        let found = run(Engine::CudaForced("dot"));
        assert_close("dx", &found, &run(Engine::F64), tolerance);
        digest::note("dx of two pixels a warp", &found);
    });
}
