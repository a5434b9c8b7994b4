//! One way to run a program in f32 and in f64: values come and go as f64, which holds every f32 exactly, so that results of
//! one precision can still be compared bit for bit.

use pixtape::device::cpu::{Cpu, CpuKernel, Real};
use pixtape::program::{Control, Program, Step};
use pixtape::tensor::Tensor;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    F64,
}

/// A program with its memory.
pub trait Machine {
    fn write(&mut self, tensor: Tensor, values: &[f64]);
    fn read(&self, tensor: Tensor) -> Vec<f64>;
    fn execute(&mut self);
    fn execute_on_demand(&mut self);
    fn execute_checked(&mut self, seed: u64);
    fn execute_shuffled(&mut self, seed: u64);

    fn fill(&mut self, tensor: Tensor, value: f64) {
        self.write(tensor, &vec![value; tensor.count()]);
    }
}

impl<T: Real> Machine for Cpu<T>
where
    dyn Step: CpuKernel<T>,
{
    fn write(&mut self, tensor: Tensor, values: &[f64]) {
        let values: Vec<T> = values.iter().map(|&x| T::of(x)).collect();
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

/// `program` in one arena, as it trains.
pub fn arena(precision: Precision, program: Program, control: Control) -> Box<dyn Machine> {
    match precision {
        Precision::F32 => Box::new(Cpu::<f32>::new(program, control).expect("memory")),
        Precision::F64 => Box::new(Cpu::<f64>::new(program, control).expect("memory")),
    }
}

/// `program` with a guarded allocation for each buffer.
pub fn checked(precision: Precision, program: Program, control: Control) -> Box<dyn Machine> {
    match precision {
        Precision::F32 => Box::new(Cpu::<f32>::checked(program, control).expect("memory")),
        Precision::F64 => Box::new(Cpu::<f64>::checked(program, control).expect("memory")),
    }
}
