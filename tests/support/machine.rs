//! One interface to run a program on the CPU in f32 and in f64, and on CUDA. Values come and go as f64, which holds
//! every f32 exactly, so that results of one engine can be compared bit for bit.

use std::collections::BTreeSet;

use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::Cpu;
use pixtape::engine::device::cuda::{Cuda, CudaOptions};
use pixtape::engine::kernel::cpu::{CpuKernel, Real};
use pixtape::engine::program::{Program, Step};
use pixtape::engine::tensor::Tensor;
use pixtape::gan::Parameters;

use super::values::parameter_values;

/// A device and a number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    F32,
    F64,
    /// The first GPU, or the simulator of one, in f32. Its users must be inside of `cuda::driver::on_device`.
    Cuda,
    /// The first GPU, with the implementation of this name for every step that has one and can run it.
    CudaForced(&'static str),
}

impl Engine {
    /// True if it computes in f64; the others compute in f32.
    pub fn is_f64(self) -> bool {
        self == Engine::F64
    }

    /// True if it computes on the CPU.
    pub fn is_cpu(self) -> bool {
        matches!(self, Engine::F32 | Engine::F64)
    }

    /// The distance from 1 to the next number.
    pub fn epsilon(self) -> f64 {
        if self.is_f64() { f64::EPSILON } else { f64::from(f32::EPSILON) }
    }
}

/// The memory of a program and the order of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// In one arena, in recorded order.
    Arena,
    /// In one arena, in an order drawn by a seed.
    Shuffled(u64),
    /// In guarded buffers that are NaN before and after use, in an order drawn by a seed.
    Checked(u64),
}

impl Execution {
    /// `program` in the memory of this execution.
    pub fn machine(self, engine: Engine, program: Program, control: Control) -> Box<dyn Machine> {
        match self {
            Execution::Arena | Execution::Shuffled(_) => arena(engine, program, control),
            Execution::Checked(_) => checked(engine, program, control),
        }
    }

    /// Executes the program of [`Execution::machine`] once.
    pub fn run(self, machine: &mut dyn Machine) {
        match self {
            Execution::Arena => machine.execute(),
            Execution::Shuffled(seed) => machine.execute_shuffled(seed),
            Execution::Checked(seed) => machine.execute_checked(seed),
        }
    }
}

/// A program with its memory.
pub trait Machine {
    fn write(&mut self, tensor: Tensor, values: &[f64]);
    fn read(&self, tensor: Tensor) -> Vec<f64>;
    fn execute(&mut self);
    fn execute_on_demand(&mut self);
    /// Executes the program of [`checked`] in an order drawn by `seed`.
    fn execute_checked(&mut self, seed: u64);
    /// Executes the program of [`arena`] in an order drawn by `seed`.
    fn execute_shuffled(&mut self, seed: u64);

    /// Names of implementations that could run steps of the program instead of the chosen ones.
    fn others(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Writes every parameter of a network: its values are a function of `owner` and its name.
    fn write_parameters(&mut self, owner: &str, parameters: &Parameters, scale: f64) {
        for (index, spec) in parameters.specs.iter().enumerate() {
            let values = parameter_values(&format!("{owner}.{}", spec.name), spec, scale);
            self.write(parameters.part(parameters.values, index), &values);
        }
    }

    fn fill(&mut self, tensor: Tensor, value: f64) {
        self.write(tensor, &vec![value; tensor.count()]);
    }
}

impl<T: Real> Machine for Cpu<T>
where
    dyn Step: CpuKernel<T>,
{
    fn write(&mut self, tensor: Tensor, values: &[f64]) {
        let values: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
        Cpu::write(self, tensor, &values);
    }

    fn read(&self, tensor: Tensor) -> Vec<f64> {
        Cpu::read(self, tensor).into_iter().map(Real::widen).collect()
    }

    fn execute(&mut self) {
        Cpu::execute(self);
    }

    fn execute_on_demand(&mut self) {
        Cpu::execute_on_demand(self);
    }

    fn execute_checked(&mut self, seed: u64) {
        Cpu::execute_checked(self, seed);
    }

    fn execute_shuffled(&mut self, seed: u64) {
        Cpu::execute_shuffled(self, seed);
    }
}

/// A refusal by the GPU fails the test with the full reason, such as a report of the checker.
impl Machine for Cuda {
    fn write(&mut self, tensor: Tensor, values: &[f64]) {
        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        done(Cuda::write(self, tensor, &values));
    }

    fn read(&self, tensor: Tensor) -> Vec<f64> {
        done(Cuda::read(self, tensor)).into_iter().map(f64::from).collect()
    }

    fn execute(&mut self) {
        done(Cuda::execute(self));
    }

    fn execute_on_demand(&mut self) {
        done(Cuda::execute_on_demand(self));
    }

    fn execute_checked(&mut self, seed: u64) {
        done(self.execute_shuffled(seed));
    }

    fn execute_shuffled(&mut self, seed: u64) {
        done(self.execute_shuffled(seed));
    }

    fn others(&self) -> Vec<&'static str> {
        let steps = 0..self.program().steps().len();
        let others = |step| {
            let (names, chosen) = self.implementations(step);
            names.into_iter().filter(move |name| *name != chosen)
        };
        let others: BTreeSet<&'static str> = steps.flat_map(others).collect();
        others.into_iter().collect()
    }
}

#[track_caller]
fn done<T>(outcome: anyhow::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Options of the first GPU. The second execution and later ones replay a graph, which therefore takes part in every
/// comparison of an execution with the one before.
pub const FIRST_GPU: CudaOptions = CudaOptions { ordinal: 0, cuda_graph: true, forced: None };

fn forced(name: &'static str) -> CudaOptions {
    CudaOptions { forced: Some(name), ..FIRST_GPU }
}

/// `program` in one arena, as it trains.
pub fn arena(engine: Engine, program: Program, control: Control) -> Box<dyn Machine> {
    match engine {
        Engine::F32 => Box::new(Cpu::<f32>::new(program, control).expect("memory")),
        Engine::F64 => Box::new(Cpu::<f64>::new(program, control).expect("memory")),
        Engine::Cuda => Box::new(done(Cuda::new(program, control, FIRST_GPU))),
        Engine::CudaForced(name) => Box::new(done(Cuda::new(program, control, forced(name)))),
    }
}

/// `program` with a guarded allocation for each buffer.
pub fn checked(engine: Engine, program: Program, control: Control) -> Box<dyn Machine> {
    match engine {
        Engine::F32 => Box::new(Cpu::<f32>::checked(program, control).expect("memory")),
        Engine::F64 => Box::new(Cpu::<f64>::checked(program, control).expect("memory")),
        Engine::Cuda => Box::new(done(Cuda::checked(program, control, FIRST_GPU))),
        Engine::CudaForced(name) => Box::new(done(Cuda::checked(program, control, forced(name)))),
    }
}
