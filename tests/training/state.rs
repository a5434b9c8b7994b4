//! A recorded training step, with the initial parameters and the pictures of `tools/reference`.

use pixtape::engine::access::Control;
use pixtape::engine::program::Program;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Parameters, Pix2Pix, Term, TrainingStep};

use crate::support::machine::Machine;
use crate::support::values::image_values;

/// Scale of all parameters.
pub const PARAMETER_SCALE: f64 = 1.0 / 8.0;

/// Seed and learning rate of the traces.
pub const CONTROL: Control = Control { seed: 7, step: 0, learning_rate: 2e-4 };

/// The tensors of a recorded step by which the host deals with it once the program is with a device.
pub struct Handles {
    pub networks: Vec<(&'static str, Parameters)>,
    pub input: Tensor,
    pub target: Tensor,
    pub losses: Tensor,
    pub terms: Vec<Term>,
}

pub fn record(options: &Pix2Pix) -> (Program, Handles) {
    let TrainingStep { program, networks, terms, input, target, losses, .. } =
        TrainingStep::record(options).expect("the step can be recorded");
    let networks = networks.into_iter().map(|recorded| (recorded.network.name, recorded.parameters)).collect();
    (program, Handles { networks, input, target, losses, terms })
}

impl Handles {
    /// Writes the initial parameters.
    pub fn load(&self, machine: &mut dyn Machine) {
        self.networks
            .iter()
            .for_each(|(owner, parameters)| machine.write_parameters(owner, parameters, PARAMETER_SCALE));
    }

    /// Writes the pictures of a step.
    pub fn write_pictures(&self, machine: &mut dyn Machine, step: usize) {
        for (role, tensor) in [("input", self.input), ("target", self.target)] {
            machine.write(tensor, &image_values(&format!("trace.{role}.{step}"), tensor.shape, 1.0));
        }
    }

    /// All that training changes: parameters, moments and the last losses.
    pub fn state(&self, machine: &dyn Machine) -> Vec<f64> {
        let networks = self.networks.iter().flat_map(|(_, p)| [p.values, p.moments[0], p.moments[1]]);
        networks.chain([self.losses]).flat_map(|tensor| machine.read(tensor)).collect()
    }
}
