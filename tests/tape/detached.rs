//! Detach and `wrt`: a gradient goes where it is asked for and nowhere else.

use pixtape::engine::ops::detach::detach;

use super::toy::Toy;
use crate::support::compare::assert_same_bits;
use crate::support::machine::Engine;

/// D's half on a detached picture, differentiated by both networks' parameters: nothing reaches G. Without the detach
/// it does, so the test can tell.
#[test]
fn gradients_of_the_discriminators_half_do_not_reach_the_generator() {
    let run = |cut: bool| {
        let mut toy = Toy::new();
        let fake = toy.fake(0);
        let map = toy.discriminate(if cut { detach(fake) } else { fake });
        let root = pixtape::engine::ops::loss::Loss {
            x: map,
            criterion: pixtape::engine::ops::loss::Criterion::Mse { target: 0.0 },
            weight: 1.0,
            value: toy.losses.channel_slice(0..1),
        };
        let wrt = [toy.discriminator.values, toy.generator.values];
        toy.tape.backward(&[&root], &wrt).expect("D's gradients");
        let mut started = toy.start(Engine::F64);
        started.run(1);
        let gradients = [&started.generator, &started.discriminator].map(|p| started.read(p.gradients));
        (gradients, started.losses()[0])
    };
    let ([of_generator, of_discriminator], loss) = run(true);
    assert!(of_generator.iter().all(|x| x.is_nan()), "the host's NaN is still there");
    let ([through_generator, same_discriminator], same_loss) = run(false);
    assert!(through_generator.iter().all(|x| x.is_finite()));
    assert_same_bits("D's gradients", &of_discriminator, &same_discriminator);
    assert_eq!(loss.to_bits(), same_loss.to_bits(), "detach keeps the values");
}

/// A root that depends on nothing in `wrt` is refused: it is a mistake in the recording.
#[test]
fn a_root_behind_a_detach_is_refused() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let map = toy.discriminate(detach(fake));
    let error = toy.generator_gradients(detach(fake), map).expect_err("all ways to G are cut").to_string();
    assert!(error.contains("does not depend"), "{error}");
}

/// G's half goes through D and leaves no gradient there.
#[test]
fn gradients_of_the_generators_half_do_not_stay_in_the_discriminator() {
    let mut toy = Toy::new();
    let fake = toy.fake(0);
    let map = toy.discriminate(fake);
    toy.generator_gradients(fake, map).expect("G's gradients");
    let mut started = toy.start(Engine::F64);
    started.run(1);
    assert!(started.read(started.discriminator.gradients).iter().all(|x| x.is_nan()));
    assert!(started.read(started.generator.gradients).iter().all(|x| x.is_finite()));
}
