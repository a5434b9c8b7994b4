//! Gradients added up over several batches are those of one large batch, dropout included.

use clap::ValueEnum;
use pixtape::gan::{GanLoss, Norm, PatchGan, Pix2Pix, Recipe, UNet, term_values};

use super::state::{self, CONTROL};
use crate::support::compare::{Tolerance, assert_close};
use crate::support::machine::{Engine, arena};

/// The terms of each of three steps, and the parameters at the end.
fn train(options: &Pix2Pix) -> (Vec<f64>, Vec<f64>) {
    let (program, handles) = state::record(options);
    let mut machine = arena(Engine::F64, program, CONTROL);
    handles.load(&mut *machine);
    let mut losses = Vec::new();
    for step in 0..3 {
        handles.write_pictures(&mut *machine, step);
        machine.execute();
        losses.extend(term_values(&handles.terms, &machine.read(handles.losses)));
    }
    let parameters = handles.networks.iter().flat_map(|(_, parameters)| machine.read(parameters.values));
    (losses, parameters.collect())
}

fn compare(what: &str, options: Pix2Pix) {
    let (losses, parameters) = train(&Pix2Pix { batch: 4, accumulate: 1, ..options });
    assert!(losses.iter().all(|x| x.is_finite()));
    for (batch, accumulate) in [(1, 4), (2, 2)] {
        let (parts_losses, parts_parameters) = train(&Pix2Pix { batch, accumulate, ..options });
        let what = format!("{what}, {accumulate} batches of {batch}");
        // Sums in another order, in f64: 1e-16, which three steps amplify as those of the traces.
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 1e-11 };
        assert_close(&format!("{what}: losses"), &parts_losses, &losses, tolerance);
        assert_close(&format!("{what}: parameters"), &parts_parameters, &parameters, tolerance);
    }
}

#[test]
fn accumulated_gradients_are_those_of_one_large_batch() {
    for &recipe in Recipe::value_variants() {
        compare(&format!("{recipe:?}"), Pix2Pix::with_size(recipe, 64, 2, 0.5));
    }
    let isola = Pix2Pix::with_size(Recipe::Isola, 64, 2, 0.5);
    let norm = Norm::InstanceAffine;
    let (generator, discriminator) = (UNet { norm, ..isola.generator }, PatchGan { norm, ..isola.discriminator });
    compare("affine", Pix2Pix { generator, discriminator, ..isola });
    compare("L1 alone", Pix2Pix { gan_loss: GanLoss::None, ..isola });
}
