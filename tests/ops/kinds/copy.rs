//! Copies between views: how a picture enters the discriminator's input. Every test of a gradient goes through them, so
//! they have no rows of their own.

use pixtape::engine::ops::copy::copy;

use super::{Kind, Layer};

pub const KIND: Kind = Kind { name: "", pytorch: "", cases: Vec::new, layers };

fn layers() -> Vec<Layer> {
    let layer = Layer::new("D.input (256x256x3 of 2 images of 256x256x6)", &["copy"], |r| {
        let (from, discriminator_input) = (r.image([1, 256, 256, 3]), r.tape.persistent([2, 256, 256, 6]));
        copy(&mut r.tape, from, discriminator_input.batch_slice(1..2).channel_slice(0..3));
    });
    vec![layer]
}
