//! Kernels that share a launch: each pair computes what its two kernels compute one after the other.

use std::collections::BTreeMap;

use pixtape::engine::access::{Control, Destination};
use pixtape::engine::device::cuda::counts::{ALL_BLOCKS, LaunchCounts};
use pixtape::engine::device::cuda::{Cuda, CudaOptions, Unit};
use pixtape::engine::ops::adam::{AdamOptions, adam};
use pixtape::engine::ops::conv::{Dgrad, Epilogue, Fprop, Geometry, WgradAdam, conv, conv_transpose};
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{ParameterSpec, Parameters, Role};

use super::driver::on_device;
use crate::support::compare::assert_same_bits;
use crate::support::machine::FIRST_GPU;
use crate::support::values::values;

const CONTROL: Control = Control { seed: 1, step: 0, learning_rate: 1e-2 };
const ADAM: AdamOptions = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };

/// The convolution of a pair, or how the two depend on each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Toy {
    Fprop,
    Dgrad,
    /// The weight gradient is recorded behind the convolution, and not before it.
    WgradBehind,
    /// The convolution reads the weight that is updated.
    SameWeight,
    /// The convolution reads what the update has written, in between.
    ReaderBetween,
}

/// The shape of dy of a weight gradient, and the channels of its x: four tiles of pixels by narrow tiles of channels,
/// or a single one by so many wide tiles of channels that every multiprocessor has one.
const NARROW: ([usize; 4], usize) = ([1, 9, 11, 68], 20);
const WIDE: ([usize; 4], usize) = ([1, 4, 3, 260], 520);

/// A device with a convolution of images of `side` pixels and a weight gradient, and the tensors that they read and
/// write.
fn device(toy: Toy, side: usize, (dy_shape, c): ([usize; 4], usize)) -> (Cuda, Vec<Tensor>) {
    let mut tape = Tape::new();
    let geometry = Geometry::HALVING;
    let [n, height, width, k] = dy_shape;
    let [x, dy] = [[n, 2 * height, 2 * width, c], dy_shape].map(|shape| tape.persistent(shape));
    let weight = |[c, k]: [usize; 2]| [k, 4, 4, c];
    let [updated, first, second] = [(); 3].map(|()| tape.persistent(weight([c, k])));
    let wgrad = WgradAdam { x, dy, weight: updated, first, second, geometry, options: ADAM };
    let channels = if matches!(toy, Toy::SameWeight | Toy::ReaderBetween) { [c, k] } else { [36, 68] };
    let [large, small] =
        [[2, 2 * side, 2 * side, channels[0]], [2, side, side, channels[1]]].map(|shape| tape.persistent(shape));
    let other = tape.persistent(weight(channels));
    let copied = tape.persistent(weight(channels));
    let read = match toy {
        Toy::SameWeight => updated,
        Toy::ReaderBetween => copied,
        _ => other,
    };
    let mut wgrad = Some(wgrad);
    if toy != Toy::WgradBehind {
        wgrad.take().into_iter().for_each(|wgrad| tape.push(wgrad));
    }
    if toy == Toy::ReaderBetween {
        copy(&mut tape, updated, copied);
    }
    if toy == Toy::Fprop {
        tape.push(Fprop {
            x: large,
            weight: read,
            bias: None,
            y: Destination::overwrite(small),
            geometry,
            epilogue: Epilogue::None,
        });
    } else {
        tape.push(Dgrad {
            dy: small,
            weight: read,
            bias: None,
            dx: Destination::overwrite(large),
            geometry,
            epilogue: Epilogue::None,
        });
    }
    wgrad.into_iter().for_each(|wgrad| tape.push(wgrad));
    let options = CudaOptions { forced: Some("patch"), ..FIRST_GPU };
    let tensors = vec![x, dy, updated, first, second, large, small, other];
    (Cuda::new(tape.finish(), CONTROL, options).expect("a device"), tensors)
}

/// The pairs of steps of which each is one launch, the convolution first.
fn pairs(cuda: &Cuda) -> Vec<[usize; 2]> {
    let pair = |unit: &Unit| match *unit {
        Unit::Pair { patch, wgrad } => Some([patch, wgrad]),
        Unit::Crops | Unit::Step(_) => None,
    };
    cuda.units().iter().filter_map(pair).collect()
}

/// The values of `tensors` after so many executions, side by side or step by step in an order drawn by a seed.
fn run((cuda, tensors): &mut (Cuda, Vec<Tensor>), executions: usize, seed: Option<u64>) -> Vec<f64> {
    for (index, &tensor) in tensors.iter().enumerate() {
        let values = values(&format!("pairs.{index}"), tensor.count(), 1.0);
        // Second moments are not negative.
        let values: Vec<f32> = values.iter().map(|&x| x.abs() as f32).collect();
        cuda.write(tensor, &values).expect("a device");
    }
    for _ in 0..executions {
        match seed {
            None => cuda.execute(),
            Some(seed) => cuda.execute_shuffled(seed),
        }
        .expect("a device");
    }
    let read = |&tensor: &Tensor| cuda.read(tensor).expect("a device").into_iter().map(f64::from).collect::<Vec<_>>();
    tensors.iter().flat_map(read).collect()
}

#[test]
fn kernels_side_by_side_compute_what_they_compute_apart() {
    on_device(|| {
        for (toy, side, gradient, executions) in [
            (Toy::Fprop, 9, NARROW, 2),
            (Toy::Fprop, 9, WIDE, 1),
            (Toy::Fprop, 3, WIDE, 1),
            (Toy::Dgrad, 9, NARROW, 2),
            (Toy::Dgrad, 9, WIDE, 1),
            (Toy::Dgrad, 3, WIDE, 1),
            (Toy::WgradBehind, 9, NARROW, 2),
        ] {
            let start = || device(toy, side, gradient);
            assert_eq!(pairs(&start().0).len(), 1, "{toy:?} {side} {gradient:?}");
            assert_same_bits(
                &format!("{toy:?} {side} {gradient:?}"),
                &run(&mut start(), executions, None),
                &run(&mut start(), executions, Some(1)),
            );
        }
    });
}

/// By line and kind of request: requests, threads, sectors and wavefronts, over all blocks of a launch.
fn counts(launches: &[LaunchCounts]) -> BTreeMap<(String, String), [u64; 4]> {
    let mut counts = BTreeMap::new();
    for launch in launches {
        assert_eq!(launch.blocks_counted, launch.blocks, "all blocks of {} are counted", launch.kernel);
        for line in &launch.lines {
            let of_line: &mut [u64; 4] = counts.entry((line.line.clone(), format!("{:?}", line.event))).or_default();
            let more = [line.requests, line.lanes, line.sectors, line.wavefronts];
            of_line.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }
    counts
}

/// A profile counts the two kernels of a pair apart, and takes the sum.
#[test]
fn a_pair_asks_the_memory_for_what_its_kernels_ask_for_apart() {
    on_device(|| {
        for (toy, gradient) in [(Toy::Fprop, NARROW), (Toy::Dgrad, WIDE)] {
            let (mut cuda, _) = device(toy, 9, gradient);
            if !cuda.info().is_simulated {
                return;
            }
            let [patch, wgrad] = pairs(&cuda)[0];
            let mut count = |unit: Unit| cuda.count(unit, ALL_BLOCKS).expect("the simulator counts");
            let apart = [count(Unit::Step(patch)), count(Unit::Step(wgrad))].concat();
            let together = count(Unit::Pair { patch, wgrad });
            assert_eq!((apart.len(), together.len()), (2, 1));
            assert_eq!(together[0].blocks, apart[0].blocks + apart[1].blocks);
            // Each has some words of its own beside the memory that both use in turn.
            let more = together[0].shared_bytes - apart[0].shared_bytes.max(apart[1].shared_bytes);
            assert!(more <= 64, "{more}");
            assert_eq!(counts(&together), counts(&apart), "{toy:?}");
            let l2 = |launches: &[LaunchCounts]| {
                let lines = launches.iter().flat_map(|launch| &launch.lines);
                lines.map(|line| line.l2_sectors).sum::<u64>() as f64
            };
            // The modelled L1 is smaller where blocks have more shared memory, as those of the lesser kernel have
            // beside the other.
            let ratio = l2(&together) / l2(&apart);
            assert!((ratio - 1.0).abs() <= 0.05, "{toy:?}: {ratio}");
        }
    });
}

#[test]
fn steps_that_wait_for_each_other_do_not_share_a_launch() {
    on_device(|| {
        for toy in [Toy::SameWeight, Toy::ReaderBetween] {
            assert_eq!(pairs(&device(toy, 9, ([1, 9, 7, 68], 36)).0), Vec::<[usize; 2]>::new(), "{toy:?}");
        }
    });
}

/// A chain of convolutions and transposed ones, trained for two steps: the gradients of each layer share launches with
/// those of the next.
#[test]
fn a_chain_of_layers_is_trained_to_the_same_bits() {
    on_device(|| {
        let start = || {
            let mut tape = Tape::new();
            let weight = |name: &str| ParameterSpec { name: name.into(), shape: [32, 4, 4, 32], role: Role::Weight };
            let parameters = Parameters::new(&mut tape, ["a", "b", "c", "d"].map(weight).to_vec());
            let part = |index| parameters.part(parameters.values, index);
            let x = tape.persistent([1, 24, 40, 32]);
            let [half, quarter, half_again] = [2, 4, 2].map(|by| tape.transient([1, 24 / by, 40 / by, 32]));
            let y = tape.transient(x.shape);
            conv(&mut tape, x, part(0), None, half, Geometry::HALVING);
            conv(&mut tape, half, part(1), None, quarter, Geometry::HALVING);
            conv_transpose(&mut tape, quarter, part(2), None, half_again, Geometry::HALVING);
            conv_transpose(&mut tape, half_again, part(3), None, y, Geometry::HALVING);
            let dy = tape.persistent(y.shape);
            tape.backward(&[&Upstream { y, dy }], &[parameters.values]).expect("y depends on the weights");
            adam(&mut tape, parameters.values, parameters.gradients, parameters.moments, ADAM);
            let cuda = Cuda::new(tape.finish().rewritten(PASSES), CONTROL, FIRST_GPU).expect("a device");
            (cuda, vec![x, dy, parameters.values, parameters.moments[0], parameters.moments[1]])
        };
        // The gradients of d's, c's and b's weights, beside the input gradients of c, b and none.
        assert_eq!(pairs(&start().0).len(), 2);
        let expected = run(&mut start(), 2, None);
        for seed in 0..3 {
            assert_same_bits(&format!("seed {seed}"), &run(&mut start(), 2, Some(seed)), &expected);
        }
    });
}
