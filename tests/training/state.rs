//! A training step in the state that the reference starts from: parameters and pictures by name.

use pixtape::engine::access::Control;
use pixtape::engine::rewrite::CPU;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Parameters, Pix2Pix, Term, TrainingStep};

use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Machine, arena, checked};
use crate::support::values::{image_values, parameter_values};

/// Scale of all parameters.
pub const PARAMETER_SCALE: f64 = 1.0 / 8.0;

pub const CONTROL: Control = Control { seed: 7, step: 0, learning_rate: 2e-4 };

/// The tensors of a recorded step by which the host deals with it once the program is with a device.
pub struct Handles {
    pub networks: Vec<(&'static str, Parameters)>,
    pub input: Tensor,
    pub target: Tensor,
    pub losses: Tensor,
    pub terms: Vec<Term>,
}

pub fn record(options: &Pix2Pix) -> (pixtape::engine::program::Program, Handles) {
    let TrainingStep { program, networks, terms, input, target, losses, .. } =
        TrainingStep::record(options).expect("the step can be recorded");
    let networks = networks.into_iter().map(|trained| (trained.network.name, trained.parameters)).collect();
    (program, Handles { networks, input, target, losses, terms })
}

/// Sets every parameter of a network by its name.
pub fn load(machine: &mut dyn Machine, owner: &str, parameters: &Parameters) {
    for (index, spec) in parameters.specs.iter().enumerate() {
        let values = parameter_values(&format!("{owner}.{}", spec.name), spec, PARAMETER_SCALE);
        machine.write(parameters.part(parameters.values, index), &values);
    }
}

impl Handles {
    pub fn networks(&self) -> Vec<(&'static str, &Parameters)> {
        self.networks.iter().map(|(name, parameters)| (*name, parameters)).collect()
    }

    pub fn load(&self, machine: &mut dyn Machine) {
        self.networks().into_iter().for_each(|(owner, parameters)| load(machine, owner, parameters));
    }

    /// Writes the pictures of a step.
    pub fn show(&self, machine: &mut dyn Machine, step: usize) {
        for (role, tensor) in [("input", self.input), ("target", self.target)] {
            machine.write(tensor, &image_values(&format!("trace.{role}.{step}"), tensor.shape, 1.0));
        }
    }

    /// All that training changes: parameters, moments and the last losses.
    pub fn everything(&self, machine: &dyn Machine) -> Vec<f64> {
        let networks = self.networks().into_iter().flat_map(|(_, p)| [p.values, p.moments[0], p.moments[1]]);
        networks.chain([self.losses]).flat_map(|tensor| machine.read(tensor)).collect()
    }
}

/// Asserts that everything that training changes has the same bits after some steps of the program as recorded and as
/// rewritten; returns how many weight gradients took in their update. Moments are far from zero by the second step, and
/// dropout draws anew in each.
pub fn assert_rewrites_change_no_bit(what: &str, options: &Pix2Pix, engine: Engine, steps: usize) -> usize {
    let run = |rewrite: bool, check: bool| {
        let (program, handles) = record(options);
        let program = if rewrite { program.rewritten(CPU) } else { program };
        let start = if check { checked } else { arena };
        let mut machine = start(engine, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..steps {
            handles.show(&mut *machine, step);
            if check { machine.execute_checked(step as u64) } else { machine.execute() }
        }
        handles.everything(&*machine)
    };
    let recorded = run(false, false);
    assert_same_bits(&format!("{what} on {engine:?}"), &run(true, false), &recorded);
    assert_same_bits(&format!("{what} on {engine:?}, checked"), &run(true, true), &recorded);
    let rewritten = record(options).0.rewritten(CPU);
    rewritten.steps().iter().filter(|recorded| recorded.step().name() == "conv_wgrad_adam").count()
}
