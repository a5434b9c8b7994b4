//! Steps that rewrite passes put in the place of several: what they join, what they leave alone, and the bits.

use pixtape::engine::access::{Control, Destination, WriteMode};
use pixtape::engine::ops::activation::{sigmoid, tanh};
use pixtape::engine::ops::adam::{AdamOptions, adam, advance};
use pixtape::engine::ops::conv::BiasGrad;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::ops::norm_act::{Activation, Affine, Dropout, NormAct, norm_act};
use pixtape::engine::ops::upsample::upsample_conv;
use pixtape::engine::program::Program;
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{ParameterSpec, Parameters, Role};

use super::checks::count;
use super::state::CONTROL;
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Execution};
use crate::support::values::values;

/// A program with the tensors that the host writes, by name, and those that it reads.
struct Toy {
    program: Program,
    given: Vec<(&'static str, Tensor)>,
    seen: Vec<Tensor>,
}

/// Asserts that the rewritten program has so many steps of these names, that the recorded one has none of them, and
/// that both leave the same bits.
fn check(what: &str, engine: Engine, toy: impl Fn() -> Toy, steps: &[(&str, usize)]) {
    let (recorded, rewritten) = (toy().program, toy().program.rewritten(PASSES));
    for &(name, expected) in steps {
        assert_eq!((count(&recorded, name), count(&rewritten, name)), (0, expected), "{what}: {name}");
    }
    let run = |rewrite: bool, execution: Execution| {
        let Toy { program, given, seen } = toy();
        let program = if rewrite { program.rewritten(PASSES) } else { program };
        let control = Control { learning_rate: 1e-2, ..CONTROL };
        let mut machine = execution.machine(engine, program, control);
        for (name, tensor) in given {
            // Probabilities, which all criteria accept; no second moment is negative.
            let values: Vec<f64> = values(name, tensor.count(), 1.0).iter().map(|x| x.abs().min(1.0)).collect();
            machine.write(tensor, &values);
        }
        (0..3).for_each(|_| execution.run(&mut *machine));
        seen.iter().flat_map(|&tensor| machine.read(tensor)).collect::<Vec<f64>>()
    };
    let expected = run(false, Execution::Arena);
    assert!(expected.iter().all(|x| x.is_finite()), "{what}");
    for execution in [Execution::Arena, Execution::Checked(1), Execution::Checked(2)] {
        assert_same_bits(&format!("{what} on {engine:?}, {execution:?}"), &run(true, execution), &expected);
    }
}

/// A change of a program that updates two ranges, then the step number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Updates {
    Plain,
    /// The first range is read in between.
    Read,
    /// The first range's gradients are set anew in between.
    GradientWritten,
    /// The first range is updated with other hyperparameters.
    OtherOptions,
    /// The first range is updated twice.
    Twice,
    /// The step number moves on in between.
    AdvancesBetween,
    /// The step number does not move on.
    NoAdvance,
    /// The step number moves on, and nothing is updated.
    NoUpdate,
}

fn updates(change: Updates) -> Toy {
    let mut tape = Tape::new();
    let (values, gradients) = tape.parameters(1101);
    let moments = [(); 2].map(|()| tape.persistent(values.shape));
    let [seen, others] = [(); 2].map(|()| tape.persistent([1, 1, 1, 68]));
    let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    let update = |tape: &mut Tape, range: std::ops::Range<usize>, options: AdamOptions| {
        let part = |flat: Tensor| flat.channel_slice(range.clone());
        adam(tape, part(values), part(gradients), moments.map(part), options);
    };
    let first = 4..72;
    if change != Updates::NoUpdate {
        let other = AdamOptions { beta1: 0.9, ..options };
        update(&mut tape, first.clone(), if change == Updates::OtherOptions { other } else { options });
        match change {
            Updates::Read => copy(&mut tape, values.channel_slice(first), seen),
            Updates::GradientWritten => copy(&mut tape, others, gradients.channel_slice(first)),
            Updates::Twice => update(&mut tape, first, options),
            Updates::AdvancesBetween => advance(&mut tape),
            _ => {}
        }
        // Not aligned to 16 bytes.
        update(&mut tape, 75..1101, options);
    }
    if !matches!(change, Updates::NoAdvance | Updates::AdvancesBetween) {
        advance(&mut tape);
    }
    let given = vec![("p", values), ("g", gradients), ("m", moments[0]), ("v", moments[1]), ("others", others)];
    Toy { program: tape.finish(), given, seen: vec![values, moments[0], moments[1], seen] }
}

/// More ranges than one launch takes, of one element and of many.
fn many_updates() -> Toy {
    let mut tape = Tape::new();
    let (values, gradients) = tape.parameters(20_000);
    let moments = [(); 2].map(|()| tape.persistent(values.shape));
    let (mut start, options) = (0, AdamOptions { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 });
    for index in 0..70 {
        let count = [1, 4, 7, 256, 1027][index % 5];
        let part = |flat: Tensor| flat.channel_slice(start..start + count);
        adam(&mut tape, part(values), part(gradients), moments.map(part), options);
        start += count + index % 3;
    }
    advance(&mut tape);
    let given = vec![("p", values), ("g", gradients), ("m", moments[0]), ("v", moments[1])];
    Toy { program: tape.finish(), given, seen: vec![values, moments[0], moments[1]] }
}

pub fn updates_are_joined(engine: Engine) {
    // By change: steps that join updates, and those that remain.
    for (change, joined, adams, advances) in [
        (Updates::Plain, 1, 0, 0),
        (Updates::Read, 1, 1, 0),
        (Updates::GradientWritten, 1, 1, 0),
        (Updates::OtherOptions, 1, 1, 0),
        (Updates::Twice, 1, 1, 0),
        (Updates::AdvancesBetween, 1, 1, 0),
        (Updates::NoAdvance, 1, 0, 0),
        (Updates::NoUpdate, 0, 0, 1),
    ] {
        check(&format!("{change:?}"), engine, || updates(change), &[("adam_ranges", joined)]);
        let rewritten = updates(change).program.rewritten(PASSES);
        assert_eq!((count(&rewritten, "adam"), count(&rewritten, "advance")), (adams, advances), "{change:?}");
    }
    check("70 ranges", engine, many_updates, &[("adam_ranges", 3)]);
    assert_eq!(count(&many_updates().program.rewritten(PASSES), "adam"), 0);
}

/// A change of a program with losses in two backward passes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LossChange {
    Plain,
    /// The input of the later losses is written in between.
    InputWritten,
    /// The value of a later loss is read in between.
    ValueRead,
    /// A loss adds its gradient to that of another.
    Accumulates,
    /// One of the losses is SSIM.
    Ssim,
}

fn losses(change: LossChange) -> Toy {
    let mut tape = Tape::new();
    let [picture, target] = [(); 2].map(|()| tape.persistent([2, 21, 25, 3]));
    let [map, others] = [(); 2].map(|()| tape.persistent([1, 40, 40, 1]));
    let values = tape.persistent([1, 1, 1, 8]);
    let value_seen = tape.persistent([1, 1, 1, 1]);
    let mut seen = vec![values, value_seen];
    let mut number = 0;
    let mut loss = |x: Tensor, criterion: Criterion| {
        number += 1;
        Loss { x, criterion, weight: 0.5 * number as f64, value: values.channel_slice(number - 1..number) }
    };
    let mut backward = |tape: &mut Tape, roots: &[Loss], wrt: &[Tensor]| {
        let roots: Vec<&dyn Root> = roots.iter().map(|root| root as &dyn Root).collect();
        for gradient in tape.backward(&roots, wrt).expect("gradients") {
            let shown = tape.persistent(gradient.shape);
            copy(tape, gradient, shown);
            seen.push(shown);
        }
    };
    let criterion = if change == LossChange::Ssim { Criterion::Ssim { target } } else { Criterion::L1 { target } };
    let mut roots = vec![loss(map, Criterion::Mse { target: 1.0 }), loss(picture, criterion)];
    if change == LossChange::Accumulates {
        roots.push(loss(map, Criterion::Bce { target: 0.5 }));
    }
    backward(&mut tape, &roots, &[map, picture]);
    match change {
        LossChange::InputWritten => copy(&mut tape, others, map),
        LossChange::ValueRead => copy(&mut tape, values.channel_slice(2..3), value_seen),
        _ => {}
    }
    // A part of the picture, and all criteria.
    let part = picture.batch_slice(1..2).channel_slice(1..3);
    let of_part = Criterion::L2 { target: target.batch_slice(0..1).channel_slice(0..2) };
    let roots = [loss(map, Criterion::Bce { target: 0.0 }), loss(part, of_part)];
    backward(&mut tape, &roots, &[map, picture]);
    let roots = [loss(map, Criterion::BceLogits { target: 0.9 })];
    backward(&mut tape, &roots, &[map]);
    let given = vec![("picture", picture), ("target", target), ("map", map), ("others", others)];
    Toy { program: tape.finish(), given, seen }
}

/// More losses than one launch takes.
fn many_losses() -> Toy {
    let mut tape = Tape::new();
    let x = tape.persistent([20, 9, 11, 3]);
    let values = tape.persistent([1, 1, 1, 20]);
    let loss = |index: usize| {
        let criterion = match index % 3 {
            0 => Criterion::Mse { target: 1.0 },
            1 => Criterion::BceLogits { target: 0.0 },
            _ => Criterion::Bce { target: 1.0 },
        };
        let x = x.batch_slice(index..index + 1);
        Loss { x, criterion, weight: 1.0, value: values.channel_slice(index..index + 1) }
    };
    let losses: Vec<Loss> = (0..20).map(loss).collect();
    let roots: Vec<&dyn Root> = losses.iter().map(|root| root as &dyn Root).collect();
    let gradients = tape.backward(&roots, &[x]).expect("gradients");
    let shown = tape.persistent(x.shape);
    copy(&mut tape, gradients[0], shown);
    Toy { program: tape.finish(), given: vec![("many", x)], seen: vec![values, shown] }
}

pub fn losses_are_joined(engine: Engine) {
    let single = |program: &Program| {
        let names = ["mse_loss", "bce_loss", "bce_logits_loss", "l1_loss", "l2_loss", "ssim_loss"];
        names.iter().map(|name| count(program, name)).sum::<usize>()
    };
    for (change, joined, alone) in [
        (LossChange::Plain, 1, 0),
        // The first two, and the last three.
        (LossChange::InputWritten, 2, 0),
        (LossChange::ValueRead, 2, 0),
        // The one that adds is left where it is.
        (LossChange::Accumulates, 1, 1),
        (LossChange::Ssim, 1, 1),
    ] {
        check(&format!("{change:?}"), engine, || losses(change), &[("losses", joined)]);
        assert_eq!(single(&losses(change).program.rewritten(PASSES)), alone, "{change:?}");
    }
    check("20 losses", engine, many_losses, &[("losses", 2)]);
    assert_eq!(single(&many_losses().program.rewritten(PASSES)), 0);
}

/// A change of a program with bias gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
enum BiasChange {
    Plain,
    /// The first gradient is read in between.
    Read,
    /// The input of the first one is written in between.
    InputWritten,
    /// The last one adds to the first.
    Accumulates,
    /// The input of the last one is the result of the first.
    Chained,
}

fn bias_gradients(change: BiasChange) -> Toy {
    let mut tape = Tape::new();
    // Channels of one block and of several, and pixels for one share and for many.
    let [few, many, wide] = [[1, 3, 5, 7], [2, 90, 80, 8], [1, 40, 30, 300]].map(|shape| tape.persistent(shape));
    let sums = [7, 4, 300].map(|channels| tape.persistent([1, 1, 1, channels]));
    let [seen, others] = [[1, 1, 1, 7], few.shape].map(|shape| tape.persistent(shape));
    let push = |tape: &mut Tape, dy: Tensor, dbias: Destination| tape.push(BiasGrad { dy, dbias });
    push(&mut tape, few, Destination::overwrite(sums[0]));
    match change {
        BiasChange::Read => copy(&mut tape, sums[0], seen),
        BiasChange::InputWritten => copy(&mut tape, others, few),
        _ => {}
    }
    push(&mut tape, many.channel_slice(3..7), Destination::overwrite(sums[1]));
    let mut last = wide;
    if change == BiasChange::Chained {
        last = sums[0];
    }
    let to = match change {
        BiasChange::Accumulates => {
            last = others;
            Destination { tensor: sums[0], mode: WriteMode::Accumulate }
        }
        BiasChange::Chained => Destination::overwrite(seen),
        _ => Destination::overwrite(sums[2]),
    };
    push(&mut tape, last, to);
    let given = vec![("few", few), ("many", many), ("wide", wide), ("others", others)];
    Toy { program: tape.finish(), given, seen: [sums.to_vec(), vec![seen]].concat() }
}

/// More gradients than one launch takes.
fn many_bias_gradients() -> Toy {
    let mut tape = Tape::new();
    let dy = tape.persistent([20, 33, 40, 12]);
    let sums = tape.persistent([1, 1, 1, 240]);
    for image in 0..20 {
        let dbias = Destination::overwrite(sums.channel_slice(12 * image..12 * (image + 1)));
        tape.push(BiasGrad { dy: dy.batch_slice(image..image + 1), dbias });
    }
    Toy { program: tape.finish(), given: vec![("dy", dy)], seen: vec![sums] }
}

pub fn bias_gradients_are_joined(engine: Engine) {
    for (change, joined, alone) in [
        (BiasChange::Plain, 1, 0),
        // The last two.
        (BiasChange::Read, 1, 1),
        (BiasChange::InputWritten, 1, 1),
        (BiasChange::Accumulates, 1, 1),
        (BiasChange::Chained, 1, 1),
    ] {
        check(&format!("{change:?}"), engine, || bias_gradients(change), &[("bias_grads", joined)]);
        assert_eq!(count(&bias_gradients(change).program.rewritten(PASSES), "bias_grad"), alone, "{change:?}");
    }
    check("20 gradients", engine, many_bias_gradients, &[("bias_grads", 2)]);
    assert_eq!(count(&many_bias_gradients().program.rewritten(PASSES), "bias_grad"), 0);
}

/// A change of a program with the last layer of a generator: a folded convolution and a tanh.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LastLayer {
    Plain,
    /// The picture in front of the tanh is read.
    Read,
    /// The host may read it.
    Persistent,
    /// The tanh is a sigmoid.
    Sigmoid,
    /// Only one image has a gradient.
    OneImage,
    /// The last layer runs on demand too.
    OnDemand,
}

fn last_layer(change: LastLayer) -> Toy {
    let mut tape = Tape::new();
    let weight = ParameterSpec { name: "w".into(), shape: [3, 4, 4, 5], role: Role::Weight };
    let parameters = Parameters::new(&mut tape, vec![weight, ParameterSpec::bias("b", 3)]);
    let [weight, bias] = [0, 1].map(|index| parameters.part(parameters.values, index));
    let x = tape.persistent([2, 3, 5, 5]);
    let shape = [2, 6, 10, 3];
    let (dy, picture) = (tape.persistent(shape), tape.persistent([2, 6, 10, 5]));
    let y = picture.channel_slice(1..4);
    let mut seen = vec![picture, parameters.gradients];
    let record = |tape: &mut Tape, y: Tensor| {
        let shuffled = match change {
            LastLayer::Persistent => tape.persistent(shape),
            _ => tape.transient(shape),
        };
        upsample_conv(tape, x, weight, bias, shuffled);
        let activation = if change == LastLayer::Sigmoid { sigmoid } else { tanh };
        activation(tape, shuffled, y);
        shuffled
    };
    let shuffled = record(&mut tape, y);
    let shown = tape.persistent(shape);
    if change == LastLayer::Read {
        copy(&mut tape, shuffled, shown);
    }
    let images = if change == LastLayer::OneImage { 1..2 } else { 0..2 };
    let root = Upstream { y: y.batch_slice(images.clone()), dy: dy.batch_slice(images) };
    let gradients = tape.backward(&[&root], &[x, parameters.values]).expect("gradients");
    let dx = tape.persistent(x.shape);
    copy(&mut tape, gradients[0], dx);
    seen.extend([shown, dx]);
    if change == LastLayer::OnDemand {
        tape.begin_on_demand();
        let preview = tape.persistent(shape);
        record(&mut tape, preview);
    }
    let given = vec![("x", x), ("dy", dy), ("parameters", parameters.values)];
    Toy { program: tape.finish(), given, seen }
}

pub fn last_layers_are_joined(engine: Engine) {
    for (change, forward, backward) in [
        (LastLayer::Plain, 1, 1),
        // The input of the tanh stays; the gradient of the tanh does not use it.
        (LastLayer::Read, 0, 1),
        (LastLayer::Persistent, 0, 1),
        (LastLayer::Sigmoid, 0, 0),
        (LastLayer::OneImage, 1, 1),
        (LastLayer::OnDemand, 2, 1),
    ] {
        let steps = [("upsample_shuffle_tanh", forward), ("upsample_shuffle_tanh_grad", backward)];
        check(&format!("{change:?}"), engine, || last_layer(change), &steps);
    }
}

/// A change of a program with a norm and an activation, of which a skip connection carries another activation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SkipChange {
    Plain,
    /// There is no norm.
    NoNorm,
    /// The norm has gain and bias.
    Affine,
    /// There is dropout behind the activation.
    Dropout,
    /// The skip connection's activation has a slope below zero too.
    LeakySkip,
    /// The skip connection has a norm.
    NormedSkip,
    /// Nothing but the skip connection has a gradient.
    SkipAlone,
    /// The gradient of the activation is read.
    GradientRead,
    /// There are two skip connections.
    TwoSkips,
}

fn skips(change: SkipChange, [n, h, w, c]: [usize; 4]) -> Toy {
    let mut tape = Tape::new();
    let (values, gradients) = tape.parameters(2 * c);
    let [gain, bias] = [0, c].map(|first| values.channel_slice(first..first + c));
    let shape = [n, h, w, c];
    let [x, dy, ds] = [(); 3].map(|()| tape.persistent(shape));
    // The skip connection ends in a slice of channels.
    let concatenated = tape.persistent([n, h, w, 2 * c + 4]);
    let skip = concatenated.channel_slice(4..4 + c);
    let y = tape.transient(shape);
    let dropout = Some(Dropout { probability: 0.5, layer: 1, pass: 0, first_image: 0, by_step: false });
    let first = NormAct {
        norm: change != SkipChange::NoNorm,
        activation: Activation::LeakyRelu,
        dropout: dropout.filter(|_| change == SkipChange::Dropout),
    };
    let affine = (change == SkipChange::Affine).then_some(Affine { gain, bias });
    norm_act(&mut tape, x, y, affine, first);
    let [shown, gradient] = [(); 2].map(|()| tape.persistent(shape));
    copy(&mut tape, y, shown);
    let activation = if change == SkipChange::LeakySkip { Activation::LeakyRelu } else { Activation::Relu };
    let rectified = NormAct { norm: change == SkipChange::NormedSkip, activation, dropout: None };
    norm_act(&mut tape, y, skip, None, rectified);
    let mut roots = vec![Upstream { y: skip, dy: ds }];
    if change != SkipChange::SkipAlone {
        roots.push(Upstream { y, dy });
    }
    if change == SkipChange::TwoSkips {
        let second = concatenated.channel_slice(4 + c..4 + 2 * c);
        norm_act(&mut tape, y, second, None, NormAct { activation: Activation::LeakyRelu, ..rectified });
        roots.push(Upstream { y: second, dy: ds });
    }
    let roots: Vec<&dyn Root> = roots.iter().map(|root| root as &dyn Root).collect();
    let more = match change {
        SkipChange::Affine => Some(values),
        SkipChange::GradientRead => Some(y),
        _ => None,
    };
    let wrt: Vec<Tensor> = [x].into_iter().chain(more).collect();
    let found = tape.backward(&roots, &wrt).expect("gradients");
    let dx = tape.persistent(shape);
    copy(&mut tape, found[0], dx);
    if change == SkipChange::GradientRead {
        copy(&mut tape, found[1], gradient);
    }
    let given = vec![("x", x), ("dy", dy), ("ds", ds), ("parameters", values)];
    Toy { program: tape.finish(), given, seen: vec![concatenated, shown, dx, gradient, gradients] }
}

pub fn skips_are_joined(engine: Engine) {
    let small = [2, 6, 7, 12];
    // By change: steps of the forward pass and of the gradients, as they are recorded and after the rewrites.
    for (change, shape, forward, gradients) in [
        (SkipChange::Plain, small, [2, 1], [2, 1]),
        (SkipChange::Plain, [3, 5, 7, 5], [2, 1], [2, 1]),
        (SkipChange::Plain, [1, 9, 17, 12], [2, 1], [2, 1]),
        (SkipChange::Plain, [2, 20, 30, 8], [2, 1], [2, 1]),
        (SkipChange::Plain, [1, 50, 61, 12], [2, 1], [2, 1]),
        (SkipChange::Plain, [2, 70, 66, 4], [2, 1], [2, 1]),
        (SkipChange::NoNorm, small, [2, 1], [2, 1]),
        (SkipChange::NoNorm, [1, 3, 5, 7], [2, 1], [2, 1]),
        (SkipChange::Affine, small, [2, 1], [2, 1]),
        (SkipChange::Affine, [1, 50, 61, 12], [2, 1], [2, 1]),
        (SkipChange::Affine, [2, 70, 66, 4], [2, 1], [2, 1]),
        (SkipChange::Dropout, small, [2, 2], [2, 2]),
        (SkipChange::LeakySkip, small, [2, 1], [2, 1]),
        (SkipChange::LeakySkip, [3, 5, 7, 5], [2, 1], [2, 1]),
        (SkipChange::LeakySkip, [1, 50, 61, 12], [2, 1], [2, 1]),
        (SkipChange::LeakySkip, [2, 70, 66, 4], [2, 1], [2, 1]),
        (SkipChange::NormedSkip, small, [2, 2], [2, 2]),
        (SkipChange::SkipAlone, small, [2, 1], [2, 2]),
        (SkipChange::GradientRead, small, [2, 1], [2, 2]),
        // One of the two is joined.
        (SkipChange::TwoSkips, small, [3, 2], [3, 2]),
    ] {
        let what = format!("{change:?} {shape:?}");
        for (name, [before, after]) in [("norm_act", forward), ("norm_act_grad", gradients)] {
            let program = skips(change, shape).program;
            assert_eq!(count(&program, name), before, "{what}: {name}");
            assert_eq!(count(&program.rewritten(PASSES), name), after, "{what}: {name}");
        }
        check(&what, engine, || skips(change, shape), &[]);
    }
}
