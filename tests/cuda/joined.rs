//! Steps that rewrite passes put in the place of several, on CUDA: the bits of the single ones.

use super::driver::on_device;
use crate::support::machine::Engine;
use crate::training::joined;

#[test]
fn adam_steps_with_nothing_between_are_one() {
    on_device(|| joined::updates_are_joined(Engine::Cuda));
}

#[test]
fn losses_that_do_not_wait_for_each_other_are_one_step() {
    on_device(|| joined::losses_are_joined(Engine::Cuda));
}

#[test]
fn bias_gradients_that_nothing_waits_for_are_one_step() {
    on_device(|| joined::bias_gradients_are_joined(Engine::Cuda));
}

#[test]
fn a_shuffle_and_its_tanh_are_one_step() {
    on_device(|| joined::last_layers_are_joined(Engine::Cuda));
}

#[test]
fn skips_with_an_activation_of_their_own_are_one_step_with_what_they_carry() {
    on_device(|| joined::skips_are_joined(Engine::Cuda));
}
