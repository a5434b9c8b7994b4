//! Programs that are rewritten for a device compute what the recorded ones do, to the bit.

use clap::ValueEnum;
use pixtape::engine::access::{Access, Control, Destination, WriteMode};
use pixtape::engine::ops::adam::{AdamOptions, adam, advance};
use pixtape::engine::ops::conv::{Dgrad, Epilogue, Geometry, Wgrad};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::program::Program;
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{GanLoss, ParameterSpec, Parameters, PatchGan, Pix2Pix, PixelLoss, Recipe, Role, StepOrder};

use super::checks::{self, count};
use super::joined;
use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, arena, checked};
use crate::support::values::values;

/// Every recipe, in every order of its updates and with gradients that gather, in f32 and in f64.
#[test]
fn rewrites_change_no_bit() {
    for recipe in Recipe::value_variants() {
        for (accumulate, batch) in [(1, 1), (1, 3), (2, 1)] {
            for engine in [Engine::F32, Engine::F64] {
                let options = Pix2Pix { accumulate, batch, ..Pix2Pix::with_size(*recipe, 32, 8, 0.5) };
                let what = format!("{recipe:?}, {accumulate} x {batch}");
                let joined = checks::rewrites(&what, &options, engine, 3);
                // A gradient that gathers has several writers.
                assert_eq!(joined > 0, accumulate == 1, "{what}: {joined} joined");
            }
        }
    }
    // Two discriminators and matched features, and losses that are left out.
    let plain = Pix2Pix::with_size(Recipe::Isola, 64, 8, 0.5);
    let scales = Pix2Pix { scales: 2, lambda_feature: 10.0, ..plain };
    let discriminator = PatchGan { in_channels: plain.generator.out_channels, ..plain.discriminator };
    for options in [
        scales,
        Pix2Pix { accumulate: 2, step_order: StepOrder::DiscriminatorFirst, ..scales },
        Pix2Pix { gan_loss: GanLoss::None, pixel_loss: PixelLoss::Ssim, ..plain },
        Pix2Pix { pixel_loss: PixelLoss::None, conditional: false, discriminator, ..plain },
    ] {
        checks::rewrites(&format!("{options:?}"), &options, Engine::F32, 2);
    }
    for step_order in StepOrder::value_variants() {
        let options = Pix2Pix { step_order: *step_order, ..Pix2Pix::with_size(Recipe::PytorchGan, 32, 8, 0.5) };
        let joined = checks::rewrites(&format!("{step_order:?}"), &options, Engine::F32, 3);
        assert!(joined > 0, "{step_order:?}");
    }
}

/// The shapes of the full recipe, at which the matrix product cuts its work.
#[test]
fn rewrites_change_no_bit_at_full_size() {
    let options = Pix2Pix::with_size(Recipe::PytorchGan, 256, 64, 0.5);
    assert!(checks::rewrites("full size", &options, Engine::F32, 2) > 0);
}

#[test]
fn adam_joins_every_weight_gradient_of_the_published_steps() {
    for recipe in Recipe::value_variants() {
        let (program, handles) = state::record(&Pix2Pix::with_size(*recipe, 256, 64, 0.5));
        let weights = |program: &Program| count(program, "conv_wgrad") + count(program, "conv_wgrad_adam");
        // The last layer of pytorch-gan is folded: its own weight gradient is a sum of the folded one's taps.
        let folded = count(&program, "upsample_fold_grad");
        let all = weights(&program);
        let rewritten = program.rewritten(PASSES);
        assert_eq!(count(&rewritten, "conv_wgrad_adam"), all - folded, "{recipe:?}");
        assert_eq!(weights(&rewritten), all, "{recipe:?}");
        for (owner, network) in &handles.networks {
            let left = rewritten.buffers().get(network.gradients.buffer()).count();
            assert_eq!(left, 0, "{recipe:?}: gradients of the {owner}");
        }
    }
}

/// The gradients through the discriminator of the adversarial loss and of its own losses, from the head to the first
/// norm: only where both are of the same weights and fakes.
#[test]
fn gradients_through_one_discriminator_are_one_batch() {
    for recipe in Recipe::value_variants() {
        for (accumulate, lambda_feature) in [(1, 0.0), (2, 0.0), (1, 10.0)] {
            let options = Pix2Pix { accumulate, lambda_feature, ..Pix2Pix::with_size(*recipe, 256, 8, 0.5) };
            let (program, _) = state::record(&options);
            // Without norm, an activation's gradient becomes the epilogue of a convolution.
            let programs = [&program, &program.clone().rewritten(PASSES)];
            let [before, after] = programs.map(|program| count(program, "conv_dgrad"));
            // With the features' losses, each layer's gradient is a sum that begins with that of a feature.
            let expected = if *recipe == Recipe::PytorchGan && lambda_feature == 0.0 { 4 * accumulate } else { 0 };
            let what = format!("{recipe:?}, {accumulate} batches, features' weight {lambda_feature}");
            assert_eq!(before - after, expected, "{what}");
        }
    }
}

/// Activations without norm and dropout: forward of the generator's first and innermost layers and of the
/// discriminator's first, backward where nothing else adds to the gradient behind a convolution.
#[test]
fn activations_without_norm_are_epilogues() {
    for (recipe, forward, backward) in [
        // The innermost layer has dropout; the gradients through the discriminator are one batch.
        (Recipe::PytorchGan, 2, 2),
        // Two passes of the discriminator. The first layer's activation goes with that of its skip.
        (Recipe::Isola, 3, 3),
        // Two passes of both networks.
        (Recipe::BlockCk, 6, 4),
    ] {
        let (program, _) = state::record(&Pix2Pix::with_size(recipe, 256, 8, 0.5));
        let before = ["norm_act", "norm_act_grad"].map(|name| count(&program, name));
        let rewritten = program.rewritten(PASSES);
        let after = ["norm_act", "norm_act_grad"].map(|name| count(&rewritten, name));
        // Gradients through the discriminator are joined in pairs, skips with what they carry.
        let joined = match recipe {
            Recipe::PytorchGan => [0, 4],
            Recipe::Isola => [7, 7],
            Recipe::BlockCk => [0, 0],
        };
        let found: [usize; 2] = std::array::from_fn(|i| before[i] - after[i] - joined[i]);
        assert_eq!(found, [forward, backward], "{recipe:?}");
    }
}

#[test]
#[should_panic(expected = "a pass over the program has removed its buffer")]
fn gradients_that_are_gone_are_not_read() {
    let (program, parameters, _, _) = toy(Change::Nothing);
    let gradients = parameters.part(parameters.gradients, 0);
    arena(Engine::F32, program.rewritten(PASSES), CONTROL).read(gradients);
}

/// A change of the program below: a convolution's backward pass and update.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Nothing,
    /// The input gradient, which reads the old weight, comes behind the weight gradient.
    InputGradientBehind,
    /// A second weight gradient adds to the first.
    SecondWriter,
    /// The weight gradient adds to what is there.
    Accumulates,
    /// Something else reads the gradient.
    SecondReader,
    /// It does so between two executions.
    ReaderOnDemand,
    /// The weight is updated once more.
    SecondUpdate,
    /// The step's number moves on in between.
    AdvancesBefore,
    /// Adam updates the bias alone.
    UpdateOfAPart,
    /// The weight is set anew in between.
    WeightWriter,
    /// Something else reads a moment in between.
    MomentReader,
    /// The gradient is set anew on demand.
    WriterOnDemand,
    /// The moments are parts of longer buffers.
    LongerMoments,
    /// Something else reads the bias's gradient, which Adam goes on to update as before.
    BiasReader,
}

const SHAPE: [usize; 4] = [5, 4, 4, 3];

/// A weight and a bias with given activations and gradients, updated once; and what it computes.
fn toy(change: Change) -> (Program, Parameters, [Tensor; 2], Tensor) {
    let mut tape = Tape::new();
    let weight = ParameterSpec { name: "w".into(), shape: SHAPE, role: Role::Weight };
    let parameters = Parameters::new(&mut tape, vec![weight, ParameterSpec::bias("b", 5)]);
    let [x, dx] = [(); 2].map(|()| tape.persistent([2, 6, 8, 3]));
    let dy = tape.persistent([2, 3, 4, 5]);
    let geometry = Geometry::HALVING;
    let [weight, dw] = [parameters.values, parameters.gradients].map(|flat| parameters.part(flat, 0));
    let copied = tape.persistent(SHAPE);
    let count = parameters.values.count();
    let longer = [(); 2].map(|()| tape.persistent([1, 1, 1, count + 4]).channel_slice(0..count));
    let copied_bias = tape.persistent([1, 1, 1, SHAPE[0]]);
    let input_gradient =
        || Dgrad { dy, weight, bias: None, dx: Destination::overwrite(dx), geometry, epilogue: Epilogue::None };
    let wgrad = |dw: Destination| Wgrad { x, dy, dw, geometry };
    let accumulate = Destination { mode: WriteMode::Accumulate, tensor: dw };

    if change != Change::InputGradientBehind {
        tape.push(input_gradient());
    }
    tape.push(wgrad(if change == Change::Accumulates { accumulate } else { Destination::overwrite(dw) }));
    match change {
        Change::InputGradientBehind => tape.push(input_gradient()),
        Change::SecondWriter => tape.push(wgrad(accumulate)),
        Change::SecondReader => copy(&mut tape, dw, copied),
        Change::WeightWriter => copy(&mut tape, copied, weight),
        Change::MomentReader => copy(&mut tape, parameters.part(parameters.moments[0], 0), copied),
        Change::BiasReader => copy(&mut tape, parameters.part(parameters.gradients, 1), copied_bias),
        Change::AdvancesBefore => advance(&mut tape),
        _ => {}
    }
    let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    let update = |tape: &mut Tape| {
        let part = |flat: Tensor| match change {
            Change::UpdateOfAPart => parameters.part(flat, 1),
            _ => flat,
        };
        let [first, second] = match change {
            Change::LongerMoments => longer,
            _ => parameters.moments.map(part),
        };
        adam(tape, part(parameters.values), part(parameters.gradients), [first, second], options);
    };
    update(&mut tape);
    if change == Change::SecondUpdate {
        update(&mut tape);
    }
    if change != Change::AdvancesBefore {
        advance(&mut tape);
    }
    if change == Change::ReaderOnDemand {
        tape.begin_on_demand();
        copy(&mut tape, dw, copied);
    }
    if change == Change::WriterOnDemand {
        tape.begin_on_demand();
        copy(&mut tape, copied, dw);
    }
    (tape.finish(), parameters, [x, dy], dx)
}

#[test]
fn only_what_meets_the_condition_is_rewritten() {
    for (change, joined) in [
        (Change::Nothing, 1),
        (Change::InputGradientBehind, 0),
        (Change::SecondWriter, 0),
        (Change::Accumulates, 0),
        (Change::SecondReader, 0),
        (Change::ReaderOnDemand, 0),
        (Change::SecondUpdate, 0),
        (Change::AdvancesBefore, 0),
        (Change::UpdateOfAPart, 0),
        (Change::WeightWriter, 0),
        (Change::MomentReader, 0),
        (Change::WriterOnDemand, 0),
        (Change::LongerMoments, 0),
        (Change::BiasReader, 1),
    ] {
        let run = |rewrite: bool| {
            let (program, parameters, given, dx) = toy(change);
            let program = if rewrite { program.rewritten(PASSES) } else { program };
            let found = count(&program, "conv_wgrad_adam");
            // Every access is to a buffer that is still there.
            let tensors = program.steps().iter().flat_map(|recorded| recorded.accesses()).filter_map(Access::tensor);
            assert!(
                tensors.into_iter().all(|tensor| tensor.span().end <= program.buffers().get(tensor.buffer()).count())
            );
            let mut machine = checked(Engine::F32, program, Control { learning_rate: 1e-2, ..CONTROL });
            for (name, tensor) in ["x", "dy"].into_iter().zip(given) {
                machine.write(tensor, &values(name, tensor.count(), 1.0));
            }
            machine.write(parameters.values, &values("p", parameters.values.count(), 1.0));
            for step in 0..3 {
                machine.execute_checked(step);
            }
            let state = [parameters.values, parameters.moments[0], parameters.moments[1], dx];
            (found, state.map(|tensor| machine.read(tensor)).concat())
        };
        let ((none, recorded), (found, rewritten)) = (run(false), run(true));
        assert_eq!((none, found), (0, joined), "{change:?}");
        assert_same_bits(&format!("{change:?}"), &rewritten, &recorded);
    }
}

/// Filters come in tiles; one that would be left over goes with those before it, since the matrix product sums a single
/// one in another order.
#[test]
fn a_filter_that_is_left_over_changes_no_bit() {
    let run = |rewrite: bool| {
        let mut tape = Tape::new();
        // 4800 gradients a filter: 109 filters in a tile of 2^19.
        let weight = ParameterSpec { name: "w".into(), shape: [219, 4, 4, 300], role: Role::Weight };
        let parameters = Parameters::new(&mut tape, vec![weight]);
        let (x, dy) = (tape.persistent([3, 32, 32, 300]), tape.persistent([3, 16, 16, 219]));
        let dw = Destination::overwrite(parameters.part(parameters.gradients, 0));
        tape.push(Wgrad { x, dy, dw, geometry: Geometry::HALVING });
        let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        adam(&mut tape, parameters.values, parameters.gradients, parameters.moments, options);
        let program = tape.finish();
        let program = if rewrite { program.rewritten(PASSES) } else { program };
        assert_eq!(count(&program, "conv_wgrad_adam"), usize::from(rewrite));
        let mut machine = arena(Engine::F32, program, Control { learning_rate: 1e-2, ..CONTROL });
        for (name, tensor) in [("x", x), ("dy", dy)] {
            machine.write(tensor, &values(name, tensor.count(), 1.0));
        }
        machine.execute();
        [parameters.values, parameters.moments[0], parameters.moments[1]].map(|tensor| machine.read(tensor)).concat()
    };
    assert_same_bits("a filter left over", &run(true), &run(false));
}

#[test]
fn adam_steps_with_nothing_between_are_one() {
    [Engine::F32, Engine::F64].into_iter().for_each(joined::updates_are_joined);
}

#[test]
fn losses_that_do_not_wait_for_each_other_are_one_step() {
    [Engine::F32, Engine::F64].into_iter().for_each(joined::losses_are_joined);
}

#[test]
fn a_shuffle_and_its_tanh_are_one_step() {
    [Engine::F32, Engine::F64].into_iter().for_each(joined::last_layers_are_joined);
}

#[test]
fn bias_gradients_that_nothing_waits_for_are_one_step() {
    [Engine::F32, Engine::F64].into_iter().for_each(joined::bias_gradients_are_joined);
}

#[test]
fn skips_with_an_activation_of_their_own_are_one_step_with_what_they_carry() {
    [Engine::F32, Engine::F64].into_iter().for_each(joined::skips_are_joined);
}
