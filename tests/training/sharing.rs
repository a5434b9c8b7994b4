//! One forward pass of D over fake and real pictures, for both losses: its results against those of separate passes.
//!
//! As usually coded, D runs on the fake for G's loss, then on the real picture and the fake again for its own. The
//! recorded step runs it once, on a batch of both. G's gradients and losses must keep their bits; D's weight gradients
//! are sums over both pictures, which the batch adds up in another order.

use pixtape::engine::ops::copy::copy;
use pixtape::engine::ops::detach::detach;
use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::program::Program;
use pixtape::engine::tape::Tape;
use pixtape::gan::{Draws, Objective, Parameters, Pix2Pix, Recipe};

use super::state::{self, CONTROL, Handles};
use crate::support::compare::{Tolerance, assert_close, assert_same_bits};
use crate::support::machine::{Engine, arena};

/// The step as usually coded, without its updates.
fn record_unshared(options: &Pix2Pix) -> (Program, Handles) {
    let Pix2Pix { generator: unet, discriminator: patchgan, batch, height, width, .. } = *options;
    let mut tape = Tape::new();
    let generator = Parameters::new(&mut tape, unet.specs());
    let discriminator = Parameters::new(&mut tape, patchgan.specs());
    let image = |channels: usize| [batch, height, width, channels];
    let input = tape.persistent(image(unet.in_channels));
    let target = tape.persistent(image(unet.out_channels));
    let losses = tape.persistent([1, 1, 1, 4]);
    let pictures = unet.out_channels;
    let pair = image(pictures + unet.in_channels);

    let fake_input = tape.transient(pair);
    let fake = fake_input.channel_slice(0..pictures);
    unet.forward(&mut tape, &generator, input, fake, Draws { pass: 0, first_image: 0, by_step: false });
    copy(&mut tape, input, fake_input.channel_slice(pictures..pair[3]));
    let loss = |x, criterion, weight, index: usize| {
        let value = losses.channel_slice(index..index + 1);
        Loss { x, criterion, weight, value }
    };
    let map = patchgan.forward(&mut tape, &discriminator, fake_input).map;
    let adv = loss(map, Criterion::Mse { target: 1.0 }, 1.0, 0);
    let pixel = loss(fake, Criterion::L1 { target }, options.lambda_pixel, 1);
    tape.backward(&[&adv, &pixel], &[generator.values]).expect("G's half");

    let real_input = tape.transient(pair);
    copy(&mut tape, target, real_input.channel_slice(0..pictures));
    copy(&mut tape, input, real_input.channel_slice(pictures..pair[3]));
    let on_real = patchgan.forward(&mut tape, &discriminator, real_input).map;
    let on_fake = patchgan.forward(&mut tape, &discriminator, detach(fake_input)).map;
    let on_real = loss(on_real, Criterion::Mse { target: 1.0 }, 0.5, 2);
    let on_fake = loss(on_fake, Criterion::Mse { target: 0.0 }, 0.5, 3);
    tape.backward(&[&on_real, &on_fake], &[discriminator.values]).expect("D's half");
    let networks = vec![("generator", generator), ("discriminator", discriminator)];
    (tape.finish(), Handles { networks, input, target, losses, terms: options.terms() })
}

/// Losses, G's gradients and D's gradients of one step, in f32.
fn gradients((program, handles): (Program, Handles)) -> [Vec<f64>; 3] {
    let mut machine = arena(Engine::F32, program, CONTROL);
    handles.load(&mut *machine);
    handles.write_pictures(&mut *machine, 0);
    machine.execute();
    let [(_, generator), (_, discriminator)] = &handles.networks[..] else { panic!("both networks") };
    [handles.losses, generator.gradients, discriminator.gradients].map(|tensor| machine.read(tensor))
}

fn compare(options: Pix2Pix) {
    let [losses, of_generator, of_discriminator] = gradients(state::record(&options));
    let [unshared_losses, unshared_of_generator, unshared_of_discriminator] = gradients(record_unshared(&options));
    let what = |name: &str| format!("{name} at {} of ngf {}", options.height, options.generator.ngf);
    assert!(losses.iter().all(|x| x.is_finite()));
    // The same products summed in f32 in another order: PyTorch's own orders differ by 2.6e-6 (the networks' fixtures).
    let tolerance = Tolerance { relative: 0.0, relative_to_largest: 6e-6 };
    assert_same_bits(&what("losses"), &losses, &unshared_losses);
    assert_same_bits(&what("G's gradients"), &of_generator, &unshared_of_generator);
    assert_close(&what("D's gradients"), &of_discriminator, &unshared_of_discriminator, tolerance);
}

#[test]
fn sharing_keeps_the_bits_of_small_networks() {
    compare(Pix2Pix { batch: 2, ..Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5) });
    compare(Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5));
    compare(Pix2Pix::with_size(Recipe::PytorchGan, 128, 8, 0.5));
}

#[test]
fn sharing_keeps_the_bits_of_the_full_recipe() {
    compare(Pix2Pix::with_size(Recipe::PytorchGan, 256, 64, 0.5));
}
