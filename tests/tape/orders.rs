//! The three step orders of the recipes, each in one program, against the same work done in separate programs with the
//! parameters carried over by the host.

use pixtape::engine::ops::detach::detach;

use super::toy::{Started, Toy};
use crate::support::compare::assert_same_bits;
use crate::support::machine::Engine;

const ENGINE: Engine = Engine::F64;

/// G's gradients alone, of the picture of `pass`; D's parameters are `discriminator` if given.
fn generator_alone(pass: u16, discriminator: Option<&[f64]>) -> Started {
    let mut toy = Toy::new();
    let fake = toy.fake(pass);
    let map = toy.discriminate(fake);
    toy.generator_gradients(fake, map).expect("G's gradients");
    let mut started = toy.start(ENGINE);
    if let Some(values) = discriminator {
        started.machine.write(started.discriminator.values, values);
    }
    started.run(1);
    started
}

/// D's gradients alone, on the picture of pass 0.
fn discriminator_alone() -> Started {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let (on_real, on_fake) = (toy.discriminate(toy.target()), toy.discriminate(detach(fake)));
    toy.discriminator_gradients(on_real, on_fake).expect("D's gradients");
    let mut started = toy.start(ENGINE);
    started.run(1);
    started
}

/// The parameters of both networks after an update by these gradients.
fn updated(of_generator: &[f64], of_discriminator: &[f64]) -> [Vec<f64>; 2] {
    let mut toy = Toy::new();
    toy.update_generator();
    toy.update_discriminator();
    let mut started = toy.start(ENGINE);
    started.machine.write(started.generator.gradients, of_generator);
    started.machine.write(started.discriminator.gradients, of_discriminator);
    started.run(1);
    [started.read(started.generator.values), started.read(started.discriminator.values)]
}

/// Compares a whole step, which has D's and G's updates, with its parts. G's gradients are computed with D's updated
/// parameters if `sees_update`, else with those before.
fn compare(toy: Toy, pass: u16, sees_update: bool) {
    let mut step = toy.start(ENGINE);
    step.run(3);
    let d = discriminator_alone();
    let d_gradients = d.read(d.discriminator.gradients);
    let [_, d_updated] = updated(&vec![0.0; step.generator.values.count()], &d_gradients);
    let g = generator_alone(pass, sees_update.then_some(&d_updated));
    let g_gradients = g.read(g.generator.gradients);
    let [g_updated, _] = updated(&g_gradients, &d_gradients);

    assert_same_bits("D's gradients", &step.read(step.discriminator.gradients), &d_gradients);
    assert_same_bits("G's gradients", &step.read(step.generator.gradients), &g_gradients);
    assert_same_bits("G's losses", &step.losses()[..2], &g.losses()[..2]);
    assert_same_bits("D's losses", &step.losses()[2..], &d.losses()[2..]);
    assert_same_bits("updated D", &step.read(step.discriminator.values), &d_updated);
    assert_same_bits("updated G", &step.read(step.generator.values), &g_updated);

    // A control: with the other D, or the other picture, G's gradients are not these.
    let other = generator_alone(pass, (!sees_update).then_some(&d_updated));
    assert_ne!(other.read(other.generator.gradients), g_gradients);
    let other = generator_alone(1 - pass, sees_update.then_some(&d_updated));
    assert_ne!(other.read(other.generator.gradients), g_gradients);
}

/// `pytorch-gan`: G, then D on the same picture; one map of it serves both.
#[test]
fn generator_first() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let map = toy.discriminate(fake);
    toy.generator_gradients(fake, map).expect("G's gradients");
    let on_real = toy.discriminate(toy.target());
    toy.discriminator_gradients(on_real, map).expect("D's gradients");
    toy.update_generator();
    toy.update_discriminator();
    compare(toy, 0, false);
}

/// The same with G's update where it stands in the recipe, before D's half. D's gradient does not need G's parameters.
#[test]
fn generator_updated_before_the_discriminators_half() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let map = toy.discriminate(fake);
    toy.generator_gradients(fake, map).expect("G's gradients");
    toy.update_generator();
    let on_real = toy.discriminate(toy.target());
    toy.discriminator_gradients(on_real, map).expect("D's gradients");
    toy.update_discriminator();
    compare(toy, 0, false);
}

/// `block-ck`: D with its update, then a fresh picture, discriminated by the new D.
#[test]
fn discriminator_first_then_a_fresh_picture() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let (on_real, on_fake) = (toy.discriminate(toy.target()), toy.discriminate(detach(fake)));
    toy.discriminator_gradients(on_real, on_fake).expect("D's gradients");
    toy.update_discriminator();
    let fresh = toy.fake(1);
    let map = toy.discriminate(fresh);
    toy.generator_gradients(fresh, map).expect("G's gradients");
    toy.update_generator();
    compare(toy, 1, true);
}

/// `isola`: D with its update, then the same picture, discriminated again by the new D.
#[test]
fn discriminator_first_then_the_same_picture() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let (on_real, on_fake) = (toy.discriminate(toy.target()), toy.discriminate(detach(fake)));
    toy.discriminator_gradients(on_real, on_fake).expect("D's gradients");
    toy.update_discriminator();
    let map = toy.discriminate(fake);
    toy.generator_gradients(fake, map).expect("G's gradients");
    toy.update_generator();
    compare(toy, 0, true);
}

/// The original Torch code differentiates D's old map of the picture with the new weights of D. The tape refuses to.
#[test]
fn an_old_map_through_a_new_discriminator_is_refused() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let (on_real, map) = (toy.discriminate(toy.target()), toy.discriminate(fake));
    toy.discriminator_gradients(on_real, map).expect("D's gradients");
    toy.update_discriminator();
    let error = toy.generator_gradients(fake, map).expect_err("D has changed since the map").to_string();
    assert!(error.contains("adam has since overwritten"), "{error}");
    assert!(error.contains("conv_fprop"), "{error}");
}

/// After an update a gradient starts anew, within one program too.
#[test]
fn an_update_uses_the_gradients_up() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let discriminator_half = |toy: &mut Toy| {
        let (on_real, on_fake) = (toy.discriminate(toy.target()), toy.discriminate(detach(fake)));
        toy.discriminator_gradients(on_real, on_fake).expect("D's gradients");
    };
    discriminator_half(&mut toy);
    toy.update_discriminator();
    discriminator_half(&mut toy);
    let mut both = toy.start(ENGINE);
    both.run(1);

    let mut second = discriminator_alone();
    let values = both.read(both.discriminator.values);
    second.machine.write(second.discriminator.values, &values);
    second.run(1);
    let expected = second.read(second.discriminator.gradients);
    assert_same_bits("the second gradient", &both.read(both.discriminator.gradients), &expected);
}

/// The separate programs are right themselves: their gradients are slopes.
#[test]
fn gradients_are_slopes() {
    // Central differences in f64: 1e-16 / STEP of rounding and STEP^2 times a third derivative of at most some
    // thousands.
    const STEP: f64 = 1e-6;
    const TOLERANCE: f64 = 1e-7;
    let check = |mut started: Started, generator: bool| {
        let parameters = if generator { &started.generator } else { &started.discriminator };
        let (tensor, gradients) = (parameters.values, parameters.gradients);
        let (values, gradients) = (started.read(tensor), started.read(gradients));
        for element in (0..values.len()).step_by(7) {
            let mut objective = |distance: f64| {
                let mut moved = values.clone();
                moved[element] += distance;
                started.machine.write(tensor, &moved);
                started.run(1);
                if generator { started.generator_objective() } else { started.discriminator_objective() }
            };
            let slope = (objective(STEP) - objective(-STEP)) / (2.0 * STEP);
            let difference = (slope - gradients[element]).abs();
            assert!(difference <= TOLERANCE, "element {element}: {} is not the slope {slope}", gradients[element]);
        }
    };
    check(generator_alone(0, None), true);
    check(discriminator_alone(), false);
}

/// Two backward passes gather until an update uses them; the next execution starts anew.
#[test]
fn gradients_gather_until_they_are_used() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let (on_real, on_fake) = (toy.discriminate(toy.target()), toy.discriminate(detach(fake)));
    toy.discriminator_gradients(on_real, on_fake).expect("D's gradients");
    toy.discriminator_gradients(on_real, on_fake).expect("D's gradients again");
    let mut twice = toy.start(ENGINE);
    let once = discriminator_alone();
    for seed in 1..=2 {
        twice.run(seed);
        let gradients = twice.read(twice.discriminator.gradients);
        for (sum, one) in gradients.iter().zip(once.read(once.discriminator.gradients)) {
            // Some steps add term by term: a few roundings of gradients of at most 1.
            assert!((sum - 2.0 * one).abs() <= 8.0 * f64::EPSILON, "{sum} is not twice {one}");
        }
    }
}
