//! Pairs that stay in GPU memory: crops to the bit of the CPU's, a host that runs ahead, and a training run.

use pixtape::data::{Augment, Draw, Draws, LoaderConfig, Pair, Picture, Pictures, Size, Window};
use pixtape::engine::access::Control;
use pixtape::engine::device::cuda::{Cuda, CudaOptions};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::samples::Crop;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Pix2Pix, Recipe};

use super::driver::on_device;
use crate::support::compare::assert_same_bits;
use crate::support::digest;
use crate::support::machine::FIRST_GPU;
use crate::training::state::{self, CONTROL};

fn cuda(tape: Tape) -> Cuda {
    Cuda::new(tape.finish(), CONTROL, FIRST_GPU).expect("a device")
}

/// A pair whose samples are spread over the whole range and differ by pair, side, pixel and channel.
fn pair(index: usize, size: Size, channels: [usize; 2]) -> Pair {
    let side = |channels: usize, factor: usize| {
        let samples = (0..channels * size.pixels()).map(|i| ((i + 1) * factor) as u16).collect();
        Picture::new(size, channels, samples)
    };
    Pair { input: side(channels[0], 10_007 + 2 * index), target: side(channels[1], 25_013 + 6 * index) }
}

/// Has `device` keep `pairs`, to be shown in `tensors`.
fn keep(device: &mut Cuda, pairs: &[Pair], tensors: [Tensor; 2]) {
    let sizes: Vec<[usize; 2]> = pairs.iter().map(|pair| [pair.input.size.height, pair.input.size.width]).collect();
    device.keep_pairs(&sizes, tensors).expect("memory");
    for (index, pair) in pairs.iter().enumerate() {
        device.write_pairs(index, [&pair.input.samples, &pair.target.samples]).expect("memory");
    }
}

/// The samples that the host copies for `crops`.
fn copied(pairs: &[Pair], crops: &[Crop], size: Size) -> Pictures {
    let mut pictures = Pictures::default();
    for &Crop { pair, left, top, mirrored } in crops {
        pictures.push(&pairs[pair], Window { left, top, flip: mirrored }, size);
    }
    pictures
}

/// The floats of the CPU.
fn expected(pictures: &Pictures) -> [Vec<f32>; 2] {
    [pictures.inputs(), pictures.targets()].map(|samples| {
        let mut out = vec![f32::NAN; samples.values.len()];
        samples.normalize(&mut out);
        out
    })
}

fn assert_same(what: &str, ours: &[f32], theirs: &[f32]) {
    assert!(ours.iter().map(|x| x.to_bits()).eq(theirs.iter().map(|x| x.to_bits())), "{what}");
}

/// Pictures of several sizes, one of them that of the images, and images whose rows have and do not have more elements
/// than a block has threads or converts at once. Each is shown from its corners and from its middle, as it is and
/// mirrored, by launches and by a graph.
#[test]
fn crops_are_the_cpus_to_the_bit() {
    on_device(|| {
        for (size, channels) in
            [((9, 7), [3, 3]), ((9, 7), [1, 4]), ((101, 2), [4, 1]), ((101, 3), [3, 3]), ((300, 2), [3, 2])]
        {
            let size = Size { width: size.0, height: size.1 };
            let sizes = [(0, 0), (4, 3), (11, 1), (0, 5)]
                .map(|(wider, higher)| Size { width: size.width + wider, height: size.height + higher });
            let pairs: Vec<Pair> =
                sizes.into_iter().enumerate().map(|(index, size)| pair(index, size, channels)).collect();
            let images = 3;
            let mut tape = Tape::new();
            let wide = |tape: &mut Tape, channels| tape.persistent([images, size.height, size.width, channels]);
            let (inputs, targets) = (wide(&mut tape, 6), wide(&mut tape, 5));
            let (input, target) = (inputs.channel_slice(1..1 + channels[0]), targets.channel_slice(0..channels[1]));
            let mut device = cuda(tape);
            for whole in [inputs, targets] {
                device.write(whole, &vec![f32::NAN; whole.count()]).expect("memory");
            }
            keep(&mut device, &pairs, [input, target]);
            let crop = |execution: usize, image: usize| {
                let pair = (execution + image) % pairs.len();
                let [right, bottom] = [pairs[pair].input.size.width - size.width, sizes[pair].height - size.height];
                let (left, top) = [(0, 0), (right, bottom), (right / 2, bottom), (right, 0)][execution % 4];
                Crop { pair, left, top, mirrored: (execution / 4 + image) % 2 == 1 }
            };
            for execution in 0..8 {
                let crops: Vec<Crop> = (0..images).map(|image| crop(execution, image)).collect();
                device.show(&crops).expect("crops");
                device.execute().expect("crops");
                let expected = expected(&copied(&pairs, &crops, size));
                for (tensor, expected) in [input, target].into_iter().zip(&expected) {
                    let shown = device.read(tensor).expect("crops");
                    assert_same(&format!("{size}, {channels:?}, {crops:?}"), &shown, expected);
                }
            }
            for (whole, beside) in [(inputs, 0..1), (inputs, 1 + channels[0]..6), (targets, channels[1]..5)] {
                let values = device.read(whole.channel_slice(beside)).expect("memory");
                assert!(values.iter().all(|x| x.is_nan()), "written beside the picture");
            }
        }
    });
}

/// Copies of the pictures that have left the step: of whole images, more than one launch has outputs, and of a part of
/// the channels. They show the crops, and what is written without crops.
#[test]
fn copies_show_the_crops_too() {
    on_device(|| {
        let (size, images, channels) = (Size { width: 6, height: 5 }, 3, [3, 2]);
        let pairs: Vec<Pair> = (0..5).map(|index| pair(index, Size { width: 9, height: 7 }, channels)).collect();
        let mut tape = Tape::new();
        let [input, target] = channels.map(|c| tape.persistent([images, size.height, size.width, c]));
        let mut copies = Vec::new();
        let mut add = |tape: &mut Tape, from: Tensor| {
            // Beside other channels, behind an image.
            let whole = tape.transient([from.shape[0] + 1, size.height, size.width, from.channels() + 2]);
            let to = whole.batch_slice(1..from.shape[0] + 1).channel_slice(1..from.channels() + 1);
            copy(tape, from, to);
            copies.push((from, to, whole));
        };
        for index in 0..16 {
            let first = index % images;
            add(&mut tape, input.batch_slice(first..images));
            add(&mut tape, target.batch_slice(0..first + 1));
        }
        add(&mut tape, input.channel_slice(1..3));
        let program = tape.finish().rewritten(PASSES);
        assert_eq!(program.steps().len(), 0, "all copies have left the step");
        let mut device = Cuda::new(program, CONTROL, FIRST_GPU).expect("a device");
        keep(&mut device, &pairs, [input, target]);
        let check = |device: &Cuda, what: &str, expected: [Vec<f32>; 2]| {
            for (tensor, expected) in [input, target].into_iter().zip(expected) {
                assert_same(what, &device.read(tensor).expect("pictures"), &expected);
            }
            for &(from, to, whole) in &copies {
                let [from, to, all] = [from, to, whole].map(|tensor| device.read(tensor).expect("pictures"));
                assert_same(what, &to, &from);
                let written = all.iter().filter(|&&x| x != 0.0).count();
                assert_eq!(written, from.iter().filter(|&&x| x != 0.0).count(), "{what}: written beside the copy");
            }
        };
        let crops = |step: usize| {
            [0, 1, 2].map(|image| Crop {
                pair: (step + image) % pairs.len(),
                left: step % 4,
                top: step % 3,
                mirrored: (step + image).is_multiple_of(2),
            })
        };
        for step in 0..3 {
            device.show(&crops(step)).expect("crops");
            device.execute().expect("a step");
            check(&device, &format!("step {step}"), expected(&copied(&pairs, &crops(step), size)));
        }
        let mut values = expected(&copied(&pairs, &crops(8), size));
        device.write(input, &values[0]).expect("pictures");
        device.write(target, &values[1]).expect("pictures");
        check(&device, "floats", values.clone());
        // A part of what the copies show.
        let part = target.batch_slice(1..2);
        let (start, count) = (part.count(), part.count());
        values[1][start..start + count].fill(0.25);
        device.write(part, &vec![0.25; count]).expect("pictures");
        check(&device, "a part", values);
    });
}

/// Neither crops that are sent nor values that are read later may meet those of another step.
#[test]
fn a_host_that_runs_ahead_is_shown_and_told_each_step() {
    on_device(|| {
        let size = Size { width: 6, height: 5 };
        let pairs: Vec<Pair> = (0..5).map(|index| pair(index, Size { width: 9, height: 7 }, [3, 1])).collect();
        let mut tape = Tape::new();
        let [input, seen] = [(); 2].map(|()| tape.persistent([2, size.height, size.width, 3]));
        let target = tape.persistent([2, size.height, size.width, 1]);
        copy(&mut tape, input, seen);
        let mut device = cuda(tape);
        keep(&mut device, &pairs, [input, target]);
        let crops = |step: usize| {
            [0, 1].map(|image| Crop {
                pair: (3 * step + image) % pairs.len(),
                left: step % 4,
                top: step % 3,
                mirrored: (step + image).is_multiple_of(2),
            })
        };
        let steps = 12;
        let ahead: Vec<_> = (0..steps)
            .map(|step| {
                device.show(&crops(step)).expect("crops");
                device.execute().expect("a step");
                device.read_later(seen).expect("a copy")
            })
            .collect();
        for (step, copy) in ahead.into_iter().enumerate() {
            let seen = device.finish_read(copy).expect("values");
            assert_same(&format!("step {step}"), &seen, &expected(&copied(&pairs, &crops(step), size))[0]);
        }
        // The slice of a tensor, and memory of finished reads.
        device.show(&crops(4)).expect("crops");
        device.execute().expect("a step");
        let [whole, slice] = [seen, seen.channel_slice(1..2)].map(|tensor| {
            let copy = device.read_later(tensor).expect("a copy");
            device.finish_read(copy).expect("values")
        });
        assert_same("the whole", &whole, &expected(&copied(&pairs, &crops(4), size))[0]);
        assert_same("a slice", &slice, &whole.iter().skip(1).step_by(3).copied().collect::<Vec<_>>());
    });
}

/// The way of a step's pictures to the GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// As floats that the CPU has made.
    Floats,
    /// As samples, for each step.
    Samples,
    /// As samples, before the first step.
    Resident,
}

/// Random crops and mirror images, dropout and two batches a step, in steps that are not waited for: the losses of each
/// step and all weights and moments are those of a run that is given the floats of the CPU. So are they where the
/// samples of each step are copied, and behind a resume.
#[test]
fn a_run_on_resident_pairs_is_that_with_copies() {
    const STEPS: u64 = 6;
    let options = Pix2Pix { accumulate: 2, ..Pix2Pix::with_size(Recipe::PytorchGan, 32, 4, 0.5) };
    let size = Size::square(32);
    let config =
        LoaderConfig { image_size: size, pairs_per_step: 2, augment: Augment::Jitter, shuffle: true, seed: 11 };
    // Epochs of two steps, with a pair left over.
    let pairs: Vec<Pair> = [(32, 32), (40, 36), (33, 50), (47, 32), (36, 36)]
        .into_iter()
        .enumerate()
        .map(|(index, (width, height))| pair(index, Size { width, height }, [3, 3]))
        .collect();
    // From what a checkpoint holds, or from the start.
    let run = |way: Way, cuda_graph: bool, steps: std::ops::Range<u64>, from: Option<&[Vec<f32>]>| {
        let (program, handles) = state::record(&options);
        // The kernel that crops fills the discriminator's input as well, which a step of the plain program copies.
        let program = if way == Way::Floats { program } else { program.rewritten(PASSES) };
        let control = Control { step: steps.start, ..CONTROL };
        let options = CudaOptions { cuda_graph, ..FIRST_GPU };
        let mut device = Cuda::new(program, control, options).unwrap_or_else(|error| panic!("{error:#}"));
        let states: Vec<Tensor> =
            handles.networks.iter().flat_map(|(_, p)| [p.values, p.moments[0], p.moments[1]]).collect();
        match from {
            None => handles.load(&mut device),
            Some(from) => {
                states.iter().zip(from).for_each(|(tensor, values)| device.write(*tensor, values).expect("memory"))
            }
        }
        if way == Way::Resident {
            keep(&mut device, &pairs, [handles.input, handles.target]);
        }
        let mut draws = Draws::new(pairs.len(), config).expect("enough pairs");
        let pending: Vec<_> = steps
            .map(|step| {
                let crop = |draw: Draw| {
                    let pair = draw.index;
                    let Window { left, top, flip } = draw.window(pairs[pair].input.size);
                    Crop { pair, left, top, mirrored: flip }
                };
                let crops: Vec<Crop> = draws.step(step).into_iter().map(crop).collect();
                let pictures = copied(&pairs, &crops, size);
                let tensors = [handles.input, handles.target];
                match way {
                    Way::Floats => tensors
                        .iter()
                        .zip(expected(&pictures))
                        .for_each(|(tensor, values)| device.write(*tensor, &values).expect("memory")),
                    Way::Samples => {
                        let samples = [pictures.inputs(), pictures.targets()];
                        device.show_samples(tensors, samples).expect("pictures");
                    }
                    Way::Resident => device.show(&crops).expect("crops"),
                }
                device.execute().expect("a step");
                device.read_later(handles.losses).expect("a copy")
            })
            .collect();
        let losses: Vec<Vec<f32>> = pending.into_iter().map(|copy| device.finish_read(copy).expect("losses")).collect();
        let states: Vec<Vec<f32>> = states.iter().map(|tensor| device.read(*tensor).expect("memory")).collect();
        (losses, states)
    };
    let wide = |values: &[Vec<f32>]| values.iter().flatten().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    on_device(|| {
        let (losses, states) = run(Way::Floats, true, 0..STEPS, None);
        assert!(wide(&losses).iter().chain(&wide(&states)).all(|x| x.is_finite()));
        let assert_same = |what: &str, run: (Vec<Vec<f32>>, Vec<Vec<f32>>), from: usize| {
            assert_same_bits(&format!("{what}: losses"), &wide(&run.0), &wide(&losses[from..]));
            assert_same_bits(&format!("{what}: weights and moments"), &wide(&run.1), &wide(&states));
        };
        assert_same("samples", run(Way::Samples, true, 0..STEPS, None), 0);
        assert_same("resident", run(Way::Resident, true, 0..STEPS, None), 0);
        assert_same("resident, launched one by one", run(Way::Resident, false, 0..STEPS, None), 0);
        // In the middle of an epoch.
        let (_, half) = run(Way::Resident, true, 0..3, None);
        assert_same("resumed", run(Way::Resident, true, 3..STEPS, Some(&half)), 3);
        digest::note("losses of a run on resident pairs", &wide(&losses));
    });
}

/// A crop that is not inside of its pair would read other memory.
#[test]
fn crops_outside_of_a_pair_are_refused() {
    on_device(|| {
        let mut tape = Tape::new();
        let [input, target] = [(); 2].map(|()| tape.persistent([1, 5, 6, 3]));
        let mut device = cuda(tape);
        let pairs = [pair(0, Size { width: 9, height: 7 }, [3, 3])];
        keep(&mut device, &pairs, [input, target]);
        let crop = Crop { pair: 0, left: 3, top: 2, mirrored: false };
        device.show(&[crop]).expect("the lower right corner");
        for outside in [Crop { left: 4, ..crop }, Crop { top: 3, ..crop }, Crop { pair: 1, ..crop }] {
            let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.show(&[outside])));
            assert!(shown.is_err(), "{outside:?}");
        }
        device.show(&[crop]).expect("the lower right corner");
        device.execute().expect("crops");
    });
}
