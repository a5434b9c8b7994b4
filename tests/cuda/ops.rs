//! The op table on CUDA: each row against PyTorch's numbers with the tolerance of the CPU's f32, against the CPU, and
//! against itself.
//!
//! A module for each kind of op, so that they run side by side and one can be asked for.

use super::driver::on_device;
use crate::ops::kinds::{Case, for_each_kind};
use crate::ops::{adam, checks, losses};
use crate::support::machine::Engine;

macro_rules! kinds {
    ($($kind:ident),*) => {
        $(mod $kind {
            use super::*;

            fn each(check: impl Fn(&Case, Engine)) {
                let rows = checks::rows(stringify!($kind));
                on_device(|| rows.iter().for_each(|case| checks::on_every_implementation(case, &check)));
            }

            #[test]
            fn every_row_matches_pytorch() {
                each(checks::matches_pytorch);
            }

            #[test]
            fn every_row_matches_the_cpu() {
                each(checks::matches_the_cpu);
            }

            #[test]
            fn memory_and_order_change_nothing() {
                each(checks::memory_and_order_change_nothing);
            }

            #[test]
            fn slices_change_nothing() {
                each(checks::slices_change_nothing);
            }

            #[test]
            fn gradients_of_two_consumers_add_up() {
                each(checks::gradients_of_two_consumers_add_up);
            }
        })*
    };
}

for_each_kind!(kinds);

#[test]
fn a_gradient_of_one_image_is_its_share() {
    on_device(|| {
        let check = checks::a_gradient_of_one_image_is_its_share;
        checks::batches().iter().for_each(|case| checks::on_every_implementation(case, check));
    });
}

#[test]
fn adam_matches_pytorch() {
    on_device(|| adam::matches_pytorch(Engine::Cuda));
}

#[test]
fn not_a_number_shows_in_every_loss() {
    on_device(|| losses::nan_shows_in_every_loss(Engine::Cuda));
}
