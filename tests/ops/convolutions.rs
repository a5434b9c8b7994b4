//! Convolutions on the CPU at shapes that its methods cut in every way, in f32 and in bf16, against the definition in
//! f64: every instruction set, and several numbers of threads, give the same bits.

use half::bf16;
use pixtape::engine::access::{Control, Destination};
use pixtape::engine::device::cpu::{Cpu, with_threads};
use pixtape::engine::kernel::cpu::Bf16Products;
use pixtape::engine::ops::cast::cast;
use pixtape::engine::ops::conv::{Dgrad, Epilogue, Fprop, Geometry, Wgrad};
use pixtape::engine::program::Program;
use pixtape::engine::simd::InstructionSet;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{DType, Shape, Tensor};

use crate::support::values::values;

/// A convolution of `input` with `filters` filters.
struct Case {
    input: Shape,
    filters: usize,
    geometry: Geometry,
}

const SAME: Geometry = Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [1, 1] };

const fn case(input: Shape, filters: usize, geometry: Geometry) -> Case {
    Case { input, filters, geometry }
}

/// The cuts: of the direct method, blocks of pixels with a remainder, several images in a block, several chunks of
/// channels, segments of several runs and of one, panels with a remainder; by F(2x2, 2x2), planes that are shared and
/// that are not, tiles that hang over, both strides; the weight gradient of many filters; of few pixels, several
/// panels, pixels of several images, more of them than meet the weights at a time, and taps that meet padding alone.
const CASES: [Case; 22] = [
    case([1, 40, 70, 3], 20, Geometry::HALVING),
    case([5, 6, 10, 6], 18, Geometry::HALVING),
    case([2, 8, 6, 150], 7, Geometry::HALVING),
    case([1, 9, 66, 34], 5, Geometry { kernel: [3, 3], stride: 1, dilation: 1, pad: [1, 1] }),
    case([1, 13, 11, 20], 33, Geometry { kernel: [3, 2], stride: 3, dilation: 2, pad: [2, 0] }),
    case([1, 5, 70, 2], 3, Geometry { kernel: [7, 5], stride: 2, dilation: 1, pad: [3, 2] }),
    case([1, 20, 20, 20], 1, SAME),
    case([1, 28, 28, 16], 17, Geometry::HALVING),
    case([6, 28, 28, 66], 20, Geometry::HALVING),
    case([2, 34, 30, 40], 36, Geometry::HALVING),
    case([1, 14, 15, 70], 16, SAME),
    case([1, 26, 23, 17], 65, SAME),
    case([1, 2, 2, 64], 30, Geometry::HALVING),
    case([3, 6, 10, 70], 50, Geometry::HALVING),
    case([1, 20, 18, 300], 26, Geometry::HALVING),
    case([1, 29, 27, 35], 260, Geometry::HALVING),
    case([2, 14, 15, 20], 256, SAME),
    case([1, 16, 12, 96], 34, Geometry::HALVING),
    case([1, 8, 8, 128], 27, Geometry::HALVING),
    case([2, 4, 6, 80], 21, Geometry::HALVING),
    case([5, 16, 16, 64], 20, Geometry::HALVING),
    case([1, 7, 7, 19], 300, Geometry { kernel: [1, 1], stride: 1, dilation: 1, pad: [0, 0] }),
];

impl Case {
    fn output(&self) -> Shape {
        let Geometry { kernel, stride, dilation, pad } = self.geometry;
        let side =
            |axis: usize| (self.input[1 + axis] + 2 * pad[axis] - dilation * (kernel[axis] - 1) - 1) / stride + 1;
        [self.input[0], side(0), side(1), self.filters]
    }

    fn weight(&self) -> Shape {
        [self.filters, self.geometry.kernel[0], self.geometry.kernel[1], self.input[3]]
    }
}

impl Case {
    /// `y`, `dx` and `dw` by their definitions, from `x`, `weight` and `dy`.
    fn definition(&self, [x, weight, dy]: [&[f64]; 3]) -> [Vec<f64>; 3] {
        let (geometry, [images, height, width, c], [_, oh, ow, k]) = (self.geometry, self.input, self.output());
        let [rows, columns] = geometry.kernel;
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
        let outputs = (0..images).flat_map(|n| (0..oh).flat_map(move |qy| (0..ow).map(move |qx| (n, qy, qx))));
        for (n, qy, qx) in outputs {
            let q = (n * oh + qy) * ow + qx;
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let (Some(py), Some(px)) = (geometry.input(0, qy, row, height), geometry.input(1, qx, column, width))
                else {
                    continue;
                };
                let p = (n * height + py) * width + px;
                for filter in 0..k {
                    let (q, start) = (q * k + filter, ((filter * rows + row) * columns + column) * c);
                    for i in 0..c {
                        y[q] += x[p * c + i] * weight[start + i];
                        dx[p * c + i] += dy[q] * weight[start + i];
                        dw[start + i] += dy[q] * x[p * c + i];
                    }
                }
            }
        }
        [y, dx, dw]
    }

    /// The three passes as a program, between activations of these number formats, those of the input and of the
    /// output; the tensors x, weight and dy, and y, dx and dw, all of f32.
    fn program(&self, formats: [DType; 2]) -> (Program, [Tensor; 3], [Tensor; 3]) {
        let (geometry, epilogue, mut tape) = (self.geometry, Epilogue::None, Tape::new());
        let given = [self.input, self.weight(), self.output()].map(|shape| tape.persistent(shape));
        let results = [self.output(), self.input, self.weight()].map(|shape| tape.persistent(shape));
        let mut narrow = |tensor: Tensor, dtype| match dtype {
            DType::F32 => tensor,
            DType::Bf16 => tape.transient_of(dtype, tensor.shape),
        };
        let [input, output] = formats;
        let (x, dy) = (narrow(given[0], input), narrow(given[2], output));
        let (y, dx) = (narrow(results[0], output), narrow(results[1], input));
        let cast_between = |tape: &mut Tape, from: Tensor, to: Tensor| {
            if from != to {
                cast(tape, from, to);
            }
        };
        cast_between(&mut tape, given[0], x);
        cast_between(&mut tape, given[2], dy);
        let weight = given[1];
        let [to_y, to_dx, dw] = [y, dx, results[2]].map(Destination::overwrite);
        tape.push(Fprop { x, weight, bias: None, y: to_y, geometry, epilogue });
        tape.push(Dgrad { dy, weight, bias: None, dx: to_dx, geometry, epilogue });
        tape.push(Wgrad { x, dy, dw, geometry });
        cast_between(&mut tape, y, results[0]);
        cast_between(&mut tape, dx, results[1]);
        (tape.finish(), given, results)
    }

    /// The results as they are computed in f32 by one instruction set, with products of bf16 made in one way.
    fn run(
        &self,
        formats: [DType; 2],
        given: &[Vec<f64>; 3],
        (set, products): (InstructionSet, Bf16Products),
    ) -> [Vec<f32>; 3] {
        let (program, tensors, results) = self.program(formats);
        let mut cpu = Cpu::<f32>::checked(program, CONTROL).unwrap();
        cpu.set_instructions(set);
        cpu.set_bf16_products(products);
        for (&tensor, values) in tensors.iter().zip(given) {
            cpu.write(tensor, &values.iter().map(|&value| value as f32).collect::<Vec<_>>());
        }
        cpu.execute_checked(1);
        results.map(|tensor| cpu.read(tensor))
    }

    /// Runs the case in several ways, each with several numbers of threads, and returns the results, whose bits are the
    /// same.
    fn in_all(
        &self,
        name: &str,
        formats: [DType; 2],
        given: &[Vec<f64>; 3],
        ways: &[(InstructionSet, Bf16Products)],
    ) -> [Vec<f32>; 3] {
        let first = with_threads(1, || self.run(formats, given, ways[0])).unwrap();
        for &way in ways {
            for threads in [1, 2, 3] {
                let again = with_threads(threads, || self.run(formats, given, way)).unwrap();
                assert!(again == first, "{name}: other bits by {way:?} on {threads} threads");
            }
        }
        first
    }
}

/// The instruction sets of this machine, with products of bf16 by multiply-adds of f32.
fn sets() -> Vec<(InstructionSet, Bf16Products)> {
    let available = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    available.map(|set| (set, Bf16Products::Widened)).collect()
}

/// The model of products of bf16 by an instruction, and the instruction if this machine has it.
fn with_model(model: Bf16Products, products: Bf16Products, set: InstructionSet) -> Vec<(InstructionSet, Bf16Products)> {
    let by_instruction = Some((set, products)).filter(|(set, _)| set.is_available());
    if by_instruction.is_none() {
        eprintln!("not run, as this machine does not have it: the convolutions by {}", set.name());
    }
    [(InstructionSet::Portable, model)].into_iter().chain(by_instruction).collect()
}

/// Control values, which convolutions do not read.
const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

/// The tolerance of f32, relative to the largest sum: twice the largest error of any result of these cases, 9.8e-7. The
/// sums are of up to 4800 products; they are cut, and F(2x2, 2x2) adds the rounding of its differences.
const F32_TOLERANCE: f64 = 2e-6;

/// The largest relative error of a number that is rounded to the 8 bits of bf16.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

/// What F(2x2, 2x2) between operands of bf16 may add to an error, relative to the root mean square of the results. The
/// products of its differences and sums have four times the variance of a direct sum's, and both operands are rounded
/// once more, by 1.66e-3 in the root mean square: together that is sqrt(2 * 4) * 1.66e-3, 4.7e-3. Six times as much is
/// never met by chance in a million results.
pub const F2X2_ROUNDING: f64 = 6.0 * 4.7e-3;

const PASSES: [&str; 3] = ["y", "dx", "dw"];

/// Checks results against `expected`, with `rounding` as the largest relative error of each pass's results themselves,
/// and an error of `more` times their root mean square.
#[track_caller]
fn assert_near(name: &str, results: &[Vec<f32>; 3], expected: &[Vec<f64>; 3], rounding: [f64; 3], more: f64) {
    for (((pass, results), expected), rounding) in PASSES.iter().zip(results).zip(expected).zip(rounding) {
        let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
        let mean_square = expected.iter().map(|value| value * value).sum::<f64>() / expected.len() as f64;
        for (i, (&result, &expected)) in results.iter().zip(expected).enumerate() {
            let bound = rounding * expected.abs() + F32_TOLERANCE * scale + more * mean_square.sqrt();
            let error = (f64::from(result) - expected).abs();
            assert!(error <= bound, "{name}: {pass}[{i}] is off by {error}, more than {bound}");
        }
    }
}

fn given(name: &str, tensors: [Tensor; 3]) -> [Vec<f64>; 3] {
    tensors.map(|tensor| values(&format!("{name}/{tensor:?}"), tensor.count(), 1.0))
}

#[test]
fn every_method_matches_the_definition_in_the_same_bits() {
    let f32s = [DType::F32; 2];
    for (index, case) in CASES.iter().enumerate() {
        let (name, (program, tensors, results)) = (format!("case {index}"), case.program(f32s));
        let given = given(&index.to_string(), tensors);
        let expected = case.definition([&given[0], &given[1], &given[2]]);
        let mut cpu = Cpu::<f64>::checked(program, CONTROL).unwrap();
        tensors.iter().zip(&given).for_each(|(&tensor, values)| cpu.write(tensor, values));
        cpu.execute_checked(1);
        for ((pass, tensor), expected) in PASSES.iter().zip(results).zip(&expected) {
            let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
            for (i, (&expected, double)) in expected.iter().zip(cpu.read(tensor)).enumerate() {
                // Another order of the sums: their rounding errors add up like a random walk.
                let error = (double - expected).abs();
                assert!(error <= 1e-14 * scale, "{name}: {pass}[{i}] is off by {error} in f64");
            }
        }
        assert_near(&name, &case.in_all(&name, f32s, &given, &sets()), &expected, [0.0; 3], 0.0);
    }
    for set in InstructionSet::ALL.into_iter().filter(|set| !set.is_available()) {
        eprintln!("not run, as this machine does not have it: the convolutions by {}", set.name());
    }
}

/// True if `results` are nearer to `a` than to `b`, in the sum of their errors.
fn is_nearer(results: &[f32], a: &[f64], b: &[f64]) -> bool {
    let errors = |expected: &[f64]| {
        results.iter().zip(expected).map(|(&result, expected)| (f64::from(result) - expected).abs()).sum::<f64>()
    };
    errors(a) < errors(b)
}

/// Operands are rounded to bf16, also those of f32 beside activations of bf16, but for the weights of a pass with few
/// pixels, which are f32; sums are of f32, and rounded once where they are written to bf16. F(2x2, 2x2) by `vdpbf16ps`
/// rounds its differences and sums as well.
#[test]
fn every_method_rounds_its_operands_and_its_results_to_bf16() {
    let dot = with_model(Bf16Products::DotModel, Bf16Products::Dot, InstructionSet::Avx512Bf16);
    let tiles = with_model(Bf16Products::TilesModel, Bf16Products::Tiles, InstructionSet::Amx);
    let ways = [sets(), dot, tiles];
    for formats in [[DType::Bf16; 2], [DType::F32, DType::Bf16], [DType::Bf16, DType::F32]] {
        for (index, case) in CASES.iter().enumerate() {
            let name = format!("case {index} from {:?} to {:?}", formats[0], formats[1]);
            let given = given(&index.to_string(), case.program(formats).1);
            let rounded = given.each_ref().map(|values| {
                values.iter().map(|&value| f64::from(bf16::from_f32(value as f32).to_f32())).collect::<Vec<_>>()
            });
            let expected = case.definition([&rounded[0], &rounded[1], &rounded[2]]);
            let of_f32_weights = case.definition([&rounded[0], &given[1], &rounded[2]]);
            let rounding = |dtype| if dtype == DType::Bf16 { BF16_ROUNDING } else { 0.0 };
            let rounding = [rounding(formats[1]), rounding(formats[0]), 0.0];
            for ways in &ways {
                let results = case.in_all(&name, formats, &given, ways);
                let expected = std::array::from_fn(|pass| {
                    let [rounded, of_f32] = [&expected, &of_f32_weights].map(|expected| expected[pass].clone());
                    if is_nearer(&results[pass], &of_f32, &rounded) { of_f32 } else { rounded }
                });
                let more = if ways[0].1 == Bf16Products::DotModel { F2X2_ROUNDING } else { 0.0 };
                assert_near(&name, &results, &expected, rounding, more);
            }
        }
    }
}
