//! The device beside the ops of the table: pictures, masks and copies to the bit of the CPU's, what changes between
//! two executions, sizes that a table of PyTorch's numbers would be too large for, and what is refused.

use std::time::Duration;

use pixtape::data::{Pair, Picture, Pictures, Size, Window};
use pixtape::engine::access::Control;
use pixtape::engine::device::cuda::{Cuda, CudaOptions};
use pixtape::engine::kernel::cuda::kernels::KERNELS;
use pixtape::engine::ops::adam::{AdamOptions, adam, advance};
use pixtape::engine::ops::conv::{Geometry, conv, conv_transpose};
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::ops::norm_act::{Activation, Dropout, NormAct, norm_act};
use pixtape::engine::philox::philox4x32;
use pixtape::engine::program::Program;
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::samples::Samples;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{ParameterSpec, Parameters, Role};

use super::driver::{on_device, simulator};
use crate::support::compare::{Tolerance, assert_close, assert_same_bits};
use crate::support::machine::{Engine, FIRST_GPU, arena};
use crate::support::values::values;

const CONTROL: Control = Control { seed: 7, step: 0, learning_rate: 1e-3 };

fn cuda(tape: Tape, control: Control) -> Cuda {
    Cuda::new(tape.finish(), control, FIRST_GPU).expect("a device")
}

/// A picture whose samples are spread over the whole range.
fn picture(size: Size, channels: usize, factor: usize) -> Picture {
    let samples = (0..channels * size.pixels()).map(|i| (i * factor) as u16).collect();
    Picture::new(size, channels, samples)
}

/// The argument struct of every kernel has the size in Rust that a C++ compiler gives it.
#[test]
fn arguments_are_as_large_as_the_kernels_declare() {
    if crate::ON_GPU {
        return;
    }
    let simulator = simulator();
    for kernel in KERNELS {
        assert_eq!(simulator.parameter_bytes(kernel.name), Some(kernel.bytes), "{}", kernel.name);
    }
    assert_eq!(simulator.parameter_bytes("no_such_kernel"), None);
}

/// Each implementation of a convolution's forward pass runs where it is asked for, and gives the same but for rounding:
/// they add in different orders.
#[test]
fn a_forced_implementation_runs_and_computes_the_same() {
    on_device(|| {
        let (c, k) = (132, 68);
        let run = |forced: Option<&'static str>| {
            let mut tape = Tape::new();
            let x = tape.persistent([2, 5, 7, c]);
            let weight = tape.persistent([k, 4, 4, c]);
            let y = tape.persistent([2, 2, 3, k]);
            conv(&mut tape, x, weight, None, y, Geometry::HALVING);
            let mut device = Cuda::new(tape.finish(), CONTROL, CudaOptions { forced, ..FIRST_GPU }).expect("a device");
            for (name, tensor) in [("x", x), ("weight", weight)] {
                let values: Vec<f32> = values(name, tensor.count(), 1.0).into_iter().map(|x| x as f32).collect();
                device.write(tensor, &values).expect("memory");
            }
            device.execute().expect("a device");
            (device.implementations(0), device.read(y).expect("memory"))
        };
        let ((names, chosen), expected) = run(None);
        assert_eq!((names.clone(), chosen), (vec!["patch", "plain"], "patch"));
        // Rounding grows with the square root of the number of terms.
        let relative_to_largest = f64::from(f32::EPSILON) * (16.0 * c as f64).sqrt();
        let tolerance = Tolerance { relative: 0.0, relative_to_largest };
        for name in names {
            let ((_, chosen), y) = run(Some(name));
            assert_eq!(chosen, name);
            let [y, expected] = [&y, &expected].map(|values| values.iter().copied().map(f64::from).collect::<Vec<_>>());
            assert_close(name, &y, &expected, tolerance);
        }
        assert_eq!(run(Some("no such implementation")).0.1, "patch");
    });
}

#[test]
fn pictures_are_the_cpus_to_the_bit() {
    on_device(|| {
        let (n, size) = (3, Size { width: 9, height: 7 });
        // Cut out of larger pictures or as they are; the sides have any numbers of channels.
        for (have, channels) in [((13, 11), [3, 3]), ((20, 17), [1, 2]), ((9, 7), [4, 1])] {
            let mut tape = Tape::new();
            let wide = |tape: &mut Tape, channels: usize| tape.persistent([n, size.height, size.width, channels]);
            let (inputs, targets) = (wide(&mut tape, 5), wide(&mut tape, 4));
            let mut device = cuda(tape, CONTROL);
            let have = Size { width: have.0, height: have.1 };
            let (input, target) = (inputs.channel_slice(1..1 + channels[0]), targets.channel_slice(0..channels[1]));
            let mut pictures = Pictures::default();
            for image in 0..n {
                let window = Window { flip: image % 2 == 1, ..Window::middle(have, size) };
                let [input, target] = [(channels[0], 101 + image), (channels[1], 797 + image)]
                    .map(|(channels, factor)| picture(have, channels, factor));
                pictures.push(&Pair { input, target }, window, size);
            }
            for whole in [inputs, targets] {
                device.write(whole, &vec![f32::NAN; whole.count()]).expect("memory");
            }
            // Pairs are kept for others, which the samples then take the place of.
            let values = [vec![7; input.count()], vec![9; target.count()]];
            let mirrored = vec![false; n];
            let others = [(input.shape, &values[0]), (target.shape, &values[1])];
            let others = others.map(|(shape, values)| Samples { shape, values, mirrored: &mirrored });
            for samples in [others, [pictures.inputs(), pictures.targets()]] {
                device.show_samples([input, target], samples).expect("pictures");
                device.execute().expect("a step");
            }
            let mut refused = |tensors: [Tensor; 2], samples: [Samples<'_>; 2]| {
                let show = || device.show_samples(tensors, samples);
                assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(show)).is_err(), "{samples:?}");
            };
            refused([target, input], [pictures.targets(), pictures.inputs()]);
            refused([input, target], [pictures.inputs(), others[1]]);
            let short = &pictures.inputs().values[..input.count() / n];
            refused([input, target], [Samples { values: short, ..pictures.inputs() }, pictures.targets()]);
            let mut expected = [vec![0.0; input.count()], vec![0.0; target.count()]];
            pictures.inputs().normalize(&mut expected[0]);
            pictures.targets().normalize(&mut expected[1]);
            for (tensor, expected) in [(input, &expected[0]), (target, &expected[1])] {
                let shown = device.read(tensor).expect("pictures");
                assert!(shown.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())), "{channels:?}");
            }
            for (whole, beside) in [(inputs, 0..1), (inputs, 1 + channels[0]..5), (targets, channels[1]..4)] {
                let values = (!beside.is_empty()).then(|| device.read(whole.channel_slice(beside)).expect("memory"));
                assert!(values.into_iter().flatten().all(|x| x.is_nan()), "written beside the picture");
            }
        }
    });
}

/// From one arena, where the neighbours are NaN, and from an allocation of its own, whose end is watched.
#[test]
fn one_number_that_is_none_is_found_anywhere() {
    on_device(|| {
        finds_what_is_not_finite(Cuda::new);
        finds_what_is_not_finite(Cuda::checked);
    });
}

fn finds_what_is_not_finite(start: fn(Program, Control, CudaOptions) -> anyhow::Result<Cuda>) {
    let mut tape = Tape::new();
    let [before, tensor, after] = [64, 601, 64].map(|count| tape.persistent([1, 1, 1, count]));
    let mut device = start(tape.finish(), CONTROL, FIRST_GPU).expect("a device");
    for neighbour in [before, after] {
        device.write(neighbour, &vec![f32::NAN; neighbour.count()]).expect("memory");
    }
    let mut numbers = vec![f32::MAX; tensor.count()];
    numbers[1] = -f32::MAX;
    numbers[2] = f32::from_bits(1);
    device.write(tensor, &numbers).expect("memory");
    assert!(device.is_finite(tensor).expect("an answer"));
    for index in [0, 255, 256, 511, 512, 600] {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = numbers.clone();
            numbers[index] = bad;
            device.write(tensor, &numbers).expect("memory");
            assert!(!device.is_finite(tensor).expect("an answer"), "{bad} at {index}");
        }
    }
    // A slice means its whole buffer.
    assert!(!device.is_finite(tensor.channel_slice(0..1)).expect("an answer"));
    device.write(tensor, &numbers).expect("memory");
    assert!(device.is_finite(tensor).expect("an answer"), "the answer of before is forgotten");
}

/// The draw of element 1 at layer 2 of pass 1, as a probability: the element is just about kept.
fn draw_of_element_1(seed: u64, step: u64) -> f64 {
    let words = |x: u64| [x as u32, (x >> 32) as u32];
    let [step_low, step_high] = words(step);
    let draw = philox4x32([0, 2 | 1 << 16, step_low, step_high], words(seed))[1];
    f64::from(draw) / 2.0_f64.powi(32)
}

/// Every word of the counter and of the key takes part, and each image of a batch has draws of its own.
#[test]
fn dropout_draws_the_bits_of_the_cpu() {
    let positions = [(7, 3), (0x0123_4567_89AB_CDEF, 0), (1, 0x0000_0005_0000_0002), (u64::MAX, u64::MAX)];
    let dropouts = [(0.5, 0, 0), (0.1, 3, 1), (0.875, 0xFFFF, 0xFFFF)];
    on_device(|| {
        for (seed, step) in positions {
            let edge = (draw_of_element_1(seed, step), 2, 1);
            let dropouts = dropouts.into_iter().chain([edge]);
            let images = [(0, false), (0, true), (4, true)];
            for ((probability, layer, pass), (first_image, by_step)) in
                dropouts.flat_map(|dropout| images.map(|images| (dropout, images)))
            {
                let dropout = Some(Dropout { probability, layer, pass, first_image, by_step });
                let run = |engine: Engine| {
                    let shape = [3, 5, 7, 37];
                    let mut tape = Tape::new();
                    let [x, y, dy] = [(); 3].map(|()| tape.persistent(shape));
                    norm_act(&mut tape, x, y, None, NormAct { norm: false, activation: Activation::Identity, dropout });
                    let root = Upstream { y: y.batch_slice(1..3), dy: dy.batch_slice(1..3) };
                    let gradients = tape.backward(&[&root], &[x]).expect("a gradient");
                    let dx = tape.persistent(shape);
                    copy(&mut tape, gradients[0], dx);
                    let mut machine = arena(engine, tape.finish(), Control { seed, step, ..CONTROL });
                    for (tensor, name) in [(x, "dropout.x"), (dy, "dropout.dy")] {
                        machine.write(tensor, &values(name, tensor.count(), 1.0));
                    }
                    machine.execute();
                    [machine.read(y), machine.read(dx)]
                };
                let what = format!("seed {seed:x}, step {step:x}, {dropout:?}");
                let ([y, dx], [expected_y, expected_dx]) = (run(Engine::Cuda), run(Engine::F32));
                assert!(y.contains(&0.0) && y.iter().any(|&x| x != 0.0), "{what}");
                let is_edge = layer == 2 && first_image == 0;
                assert!(!is_edge || y[1] != 0.0, "{what}: a draw that is not below the probability is kept");
                assert_same_bits(&what, &y, &expected_y);
                assert_same_bits(&what, &dx, &expected_dx);
            }
        }
    });
}

/// Numbers that arithmetic would change.
#[test]
fn copies_keep_every_bit() {
    on_device(|| {
        let mut tape = Tape::new();
        let [from, to] = [7, 6].map(|channels| tape.persistent([3, 7, 5, channels]));
        let (source, destination) = (from.channel_slice(2..5), to.channel_slice(3..6));
        copy(&mut tape, source, destination);
        let mut device = cuda(tape, CONTROL);
        let special = [0, 0x8000_0000, 1, 0x807F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_1234, 0x3F80_0001];
        let bits: Vec<u32> = (0..source.count()).map(|i| special[i % special.len()]).collect();
        device.write(to, &vec![7.0; to.count()]).expect("memory");
        device.write(source, &bits.iter().copied().map(f32::from_bits).collect::<Vec<_>>()).expect("memory");
        device.execute().expect("a copy");
        let copied: Vec<u32> = device.read(destination).expect("a copy").into_iter().map(f32::to_bits).collect();
        assert_eq!(copied, bits);
        assert_eq!(device.read(to.channel_slice(0..3)).expect("memory"), vec![7.0; to.count() / 2]);
    });
}

/// The second copy's gradient is added to the first one's: one addition, so the CPU's bits.
#[test]
fn copies_of_one_tensor_add_up_their_gradients() {
    on_device(|| {
        let run = |engine: Engine| {
            let shape = [3, 7, 5, 3];
            let mut tape = Tape::new();
            let [x, y, z, dy, dz, dx] = [(); 6].map(|()| tape.persistent(shape));
            copy(&mut tape, x, y);
            copy(&mut tape, x, z);
            let roots = [Upstream { y, dy }, Upstream { y: z, dy: dz }];
            let gradients = tape.backward(&[&roots[0], &roots[1]], &[x]).expect("a gradient");
            copy(&mut tape, gradients[0], dx);
            let mut machine = arena(engine, tape.finish(), CONTROL);
            for (tensor, name) in [(x, "copies.x"), (dy, "copies.dy"), (dz, "copies.dz")] {
                machine.write(tensor, &values(name, tensor.count(), 1.0));
            }
            machine.execute();
            machine.read(dx)
        };
        assert_same_bits("dx", &run(Engine::Cuda), &run(Engine::F32));
    });
}

/// The table's transposed convolutions have the recipe's geometry; this one has another, and an input with two
/// consumers.
#[test]
fn a_transposed_convolution_has_any_geometry() {
    on_device(|| {
        let run = |engine: Engine| {
            let geometry = Geometry { kernel: [3, 5], stride: 3, dilation: 1, pad: [1, 2] };
            let mut tape = Tape::new();
            let (x, dx) = (tape.persistent([2, 3, 4, 5]), tape.persistent([2, 3, 4, 5]));
            let spec = ParameterSpec { name: "w".into(), shape: [5, 3, 5, 7], role: Role::Weight };
            let weights = Parameters::new(&mut tape, vec![spec]);
            let weight = weights.part(weights.values, 0);
            let [y, z, dy, dz] = [(); 4].map(|()| tape.persistent([2, 8, 11, 7]));
            for out in [y, z] {
                conv_transpose(&mut tape, x, weight, None, out, geometry);
            }
            let roots = [Upstream { y, dy }, Upstream { y: z, dy: dz }];
            let gradients = tape.backward(&[&roots[0], &roots[1]], &[x, weights.values]).expect("gradients");
            copy(&mut tape, gradients[0], dx);
            let mut machine = arena(engine, tape.finish(), CONTROL);
            for (tensor, name) in [(x, "up.x"), (weight, "up.w"), (dy, "up.dy"), (dz, "up.dz")] {
                machine.write(tensor, &values(name, tensor.count(), 1.0));
            }
            machine.execute();
            [y, z, dx, weights.gradients].map(|tensor| machine.read(tensor))
        };
        for ((ours, theirs), name) in run(Engine::Cuda).iter().zip(run(Engine::F64)).zip(["y", "z", "dx", "dw"]) {
            // Sums of at most 176 terms, one after the other in runs; errors of so many roundings mostly cancel.
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 16.0 * f64::from(f32::EPSILON) };
            assert_close(name, ours, &theirs, tolerance);
        }
    });
}

#[test]
fn every_step_and_every_execution_has_a_time() {
    on_device(|| {
        let mut tape = Tape::new();
        let [a, b, c] = [(); 3].map(|()| tape.persistent([1, 3, 3, 2]));
        tape.layer("first");
        copy(&mut tape, a, b);
        tape.layer("second");
        copy(&mut tape, b, c);
        tape.layer("");
        advance(&mut tape);
        let mut device = cuda(tape, CONTROL);
        device.write(a, &[0.5; 18]).expect("memory");
        assert_eq!(device.execute_timed().expect("times").len(), 3);
        assert_eq!(device.read(c).expect("copies"), [0.5; 18]);
        assert_eq!(device.time_executions(4).expect("times").len(), 4);
        assert_eq!(device.control().expect("control").step, CONTROL.step + 5);
    });
}

#[test]
fn executions_in_a_row_are_timed_and_each_is_one() {
    on_device(|| {
        let mut tape = Tape::new();
        advance(&mut tape);
        let mut device = cuda(tape, CONTROL);
        let times = device.time_executions(3).expect("times");
        assert!(times.len() == 3 && times.iter().sum::<Duration>() > Duration::ZERO, "{times:?}");
        assert_eq!(device.control().expect("control").step, CONTROL.step + 3);
    });
}

#[test]
fn the_control_values_come_back_and_count() {
    on_device(|| {
        let mut tape = Tape::new();
        advance(&mut tape);
        let start = Control { seed: 0x0123_4567_89AB_CDEF, step: u64::from(u32::MAX) - 1, learning_rate: 0.1 };
        let mut device = cuda(tape, start);
        assert_eq!(device.control().expect("control"), start);
        for executions in 1..=4 {
            device.execute().expect("an execution");
            assert_eq!(device.control().expect("control"), Control { step: start.step + executions, ..start });
        }
        let other = Control { seed: 1, step: 2, learning_rate: 3.0 };
        device.set_control(other).expect("control");
        device.execute().expect("an execution");
        assert_eq!(device.control().expect("control"), Control { step: 3, ..other });
    });
}

/// Parameters after `updates` updates, with another learning rate for each: a graph is captured once and must still see
/// them.
fn updated(engine: Engine, count: usize, updates: u64) -> Vec<f64> {
    let mut tape = Tape::new();
    let (parameters, gradients) = tape.parameters(count);
    let moments = [tape.persistent(parameters.shape), tape.persistent(parameters.shape)];
    adam(&mut tape, parameters, gradients, moments, AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 });
    advance(&mut tape);
    let program = tape.finish();
    let drawn = |name: &str| values(name, count, 1.0);
    let rate = |step: u64| Control { step, learning_rate: 0.5_f64.powi(step as i32), ..CONTROL };
    if engine == Engine::Cuda {
        let f32s = |name: &str| drawn(name).into_iter().map(|x| x as f32).collect::<Vec<_>>();
        let mut device = Cuda::new(program, CONTROL, FIRST_GPU).expect("a device");
        device.write(parameters, &f32s("adam.p")).expect("memory");
        for step in 0..updates {
            device.set_control(rate(step)).expect("control");
            device.write(gradients, &f32s(&format!("adam.g{step}"))).expect("memory");
            device.execute().expect("an update");
        }
        return device.read(parameters).expect("parameters").into_iter().map(f64::from).collect();
    }
    let mut cpu = pixtape::engine::device::cpu::Cpu::<f64>::new(program, CONTROL).expect("memory");
    cpu.write(parameters, &drawn("adam.p"));
    for step in 0..updates {
        cpu.set_control(rate(step));
        cpu.write(gradients, &drawn(&format!("adam.g{step}")));
        cpu.execute();
    }
    cpu.read(parameters)
}

/// The tolerance of up to four updates: some roundings each, none of numbers larger than 2.
const UPDATES: Tolerance = Tolerance { relative: 0.0, relative_to_largest: 8.0 * f32::EPSILON as f64 };

#[test]
fn an_update_takes_the_learning_rate_of_its_step() {
    on_device(|| assert_close("parameters", &updated(Engine::Cuda, 3, 4), &updated(Engine::F64, 3, 4), UPDATES));
}

/// More parameters than the largest grid has threads, or than its threads have quads.
#[test]
fn an_update_reaches_every_parameter() {
    const PERIOD: usize = 251;
    let (threads, quads) = (4096 * 256, 4 * 4096 * 256);
    let parameter = |i: usize| (i % PERIOD) as f32 / 256.0;
    let gradient = |i: usize| parameter(7 * i) - 0.5;
    let step = |count: usize| {
        let mut tape = Tape::new();
        let (parameters, gradients) = tape.parameters(count);
        let moments = [tape.persistent(parameters.shape), tape.persistent(parameters.shape)];
        adam(&mut tape, parameters, gradients, moments, AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 });
        advance(&mut tape);
        (tape.finish(), parameters, gradients)
    };
    let (program, parameters, gradients) = step(PERIOD);
    let mut cpu = arena(Engine::F64, program, CONTROL);
    cpu.write(parameters, &(0..PERIOD).map(parameter).map(f64::from).collect::<Vec<_>>());
    cpu.write(gradients, &(0..PERIOD).map(gradient).map(f64::from).collect::<Vec<_>>());
    cpu.execute();
    let expected = cpu.read(parameters);
    on_device(|| {
        for (forced, passes, count) in [
            ("plain", &[][..], threads + 259),
            ("wide", &[], quads + 1027),
            // With the step that advances the step number.
            ("plain", PASSES, quads + 1027),
        ] {
            let (program, parameters, gradients) = step(count);
            let options = CudaOptions { forced: Some(forced), ..FIRST_GPU };
            let mut device = Cuda::new(program.rewritten(passes), CONTROL, options).expect("a device");
            device.write(parameters, &(0..count).map(parameter).collect::<Vec<_>>()).expect("memory");
            device.write(gradients, &(0..count).map(gradient).collect::<Vec<_>>()).expect("memory");
            device.execute().expect("an update");
            let updated = device.read(parameters).expect("parameters");
            for (ours, theirs) in updated.chunks(PERIOD).zip(std::iter::repeat(&expected)) {
                let ours: Vec<f64> = ours.iter().copied().map(f64::from).collect();
                assert_close(forced, &ours, &theirs[..ours.len()], UPDATES);
            }
        }
    });
}

/// Value and gradient of a loss over `count` elements.
fn loss_and_gradient(engine: Engine, count: usize, is_l1: bool) -> [Vec<f64>; 2] {
    let mut tape = Tape::new();
    let [input, other] = [(); 2].map(|()| tape.persistent([1, 1, count, 1]));
    let [value, seen] = [1, count].map(|count| tape.persistent([1, 1, count, 1]));
    let criterion = if is_l1 { Criterion::L1 { target: other } } else { Criterion::Mse { target: 0.25 } };
    let root: &dyn Root = &Loss { x: input, criterion, weight: 3.0, value };
    let gradients = tape.backward(&[root], &[input]).expect("a gradient");
    copy(&mut tape, gradients[0], seen);
    let mut machine = arena(engine, tape.finish(), CONTROL);
    let x = values("loss.x", count, 1.0);
    // Equal at every seventh element, where an L1 loss has no derivative.
    let t: Vec<f64> = values("loss.t", count, 1.0)
        .iter()
        .zip(&x)
        .enumerate()
        .map(|(i, (t, x))| if i % 7 == 0 { *x } else { *t })
        .collect();
    machine.write(input, &x);
    machine.write(other, &t);
    machine.execute();
    [value, seen].map(|tensor: Tensor| machine.read(tensor))
}

/// More runs than the last block has threads, and a last run that is not full.
#[test]
fn a_loss_adds_up_any_number_of_elements() {
    let count = 2048 * 257 + 1029;
    on_device(|| {
        for is_l1 in [false, true] {
            let ([value, gradient], [expected_value, expected_gradient]) =
                (loss_and_gradient(Engine::Cuda, count, is_l1), loss_and_gradient(Engine::F64, count, is_l1));
            // A thread adds eight terms, a block 256 such sums, pairwise; all are positive. Each term has up to three
            // roundings.
            let tolerance = Tolerance { relative: 16.0 * f64::from(f32::EPSILON), relative_to_largest: 0.0 };
            assert_close("value", &value, &expected_value, tolerance);
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 4.0 * f64::from(f32::EPSILON) };
            assert_close("gradient", &gradient, &expected_gradient, tolerance);
        }
    });
}

#[test]
fn a_gpu_that_is_not_there_is_refused() {
    on_device(|| {
        let options = CudaOptions { ordinal: 99, ..FIRST_GPU };
        let error = Cuda::new(Tape::new().finish(), CONTROL, options).expect_err("no machine has a hundred GPUs");
        assert!(format!("{error:#}").contains("cuda:0"), "{error:#}");
    });
}
