//! Normalisation, activation and dropout on the CPU.
//!
//! A task owns a block of channels of one image and walks over its pixels, so that sums need no exchange between
//! threads and come out the same with any number of them.

use super::{Affine, Dropout, EPSILON, Forward, Gradient, NormAct};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{BLOCK, Block, BlockMut, Context, CpuKernel, Real, View, for_each_block};
use crate::engine::philox::{key, philox4x32};
use crate::engine::simd::vectorized;

/// Pixels summed one after the other before their sum joins the others: keeps the rounding error of long sums small.
const RUN: usize = 64;

/// One number for each channel of a block.
type Lanes<T> = [T; BLOCK];

/// The sums over pixels of what `add` adds for each, `N` sums for each channel at a time.
#[inline(always)]
fn sums<T: Real, const N: usize>(pixels: usize, mut add: impl FnMut(usize, &mut [Lanes<T>; N])) -> [Lanes<T>; N] {
    let mut total = [[T::zero(); BLOCK]; N];
    for start in (0..pixels).step_by(RUN) {
        let mut run = [[T::zero(); BLOCK]; N];
        for p in start..(start + RUN).min(pixels) {
            add(p, &mut run);
        }
        for (total, run) in total.as_flattened_mut().iter_mut().zip(run.as_flattened()) {
            *total += *run;
        }
    }
    total
}

/// The dropout factors of a step: 0, or 1 / (1 - p).
#[derive(Clone, Copy)]
struct Mask<T> {
    key: [u32; 2],
    words: [u32; 3],
    threshold: u32,
    scale: T,
}

impl<T: Real> Mask<T> {
    /// Of the step that is `later` steps after that of `control`.
    fn new(dropout: Dropout, control: Control, later: u64) -> Mask<T> {
        let step = control.step.wrapping_add(later);
        Mask {
            key: key(control.seed),
            words: [dropout.stream(), step as u32, (step >> 32) as u32],
            threshold: dropout.threshold(),
            scale: T::from_f64(dropout.scale()),
        }
    }

    /// Multiplies `values`, of which the first is element `first` of the draws.
    #[inline(always)]
    fn apply(&self, values: &mut [T], first: usize) {
        let mut done = 0;
        while done < values.len() {
            let element = first + done;
            let [a, b, c] = self.words;
            let draws = philox4x32([(element / 4) as u32, a, b, c], self.key);
            let group = (4 - element % 4).min(values.len() - done);
            for (value, draw) in values[done..done + group].iter_mut().zip(&draws[element % 4..]) {
                *value = if *draw < self.threshold { T::zero() } else { *value * self.scale };
            }
            done += group;
        }
    }
}

/// The masks of a step whose op drops out, by how many steps later they draw.
fn masks<T: Real>(op: NormAct, context: &Context<'_, T>) -> impl Fn(u64) -> Option<Mask<T>> {
    let drawn = op.dropout.map(|dropout| (dropout, context.control()));
    move |later| drawn.map(|(dropout, control)| Mask::new(dropout, control, later))
}

/// Gain and bias of all channels, where there are some.
fn read_affine<'a, T: Real>(affine: Option<Affine>, context: &'a Context<'_, T>) -> Option<[&'a [T]; 2]> {
    affine.map(|Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter).data))
}

/// Gain and bias of a task's channels. Without any they are 1 and -0, which change no bit of any number.
fn affine_lanes<T: Real>(affine: Option<[&[T]; 2]>, task: Block) -> [Lanes<T>; 2] {
    let mut lanes = [[T::one(); BLOCK], [-T::zero(); BLOCK]];
    for (lanes, values) in lanes.iter_mut().zip(affine.iter().flatten()) {
        lanes[..task.count].copy_from_slice(&values[task.first..][..task.count]);
    }
    lanes
}

impl<T: Real> CpuKernel<T> for Forward {
    fn run(&self, context: &Context<'_, T>) {
        let x = context.read(self.x);
        let affine = read_affine(self.affine, context);
        let masks = masks(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let outputs = [Access::Write(self.y), Access::Write(self.statistics)].map(|access| context.write(access));
        let slope = T::from_f64(self.op.activation.slope());
        for_each_block(outputs, |task, [mut y, mut statistics]| {
            let x = block(&x, task);
            let [gain, bias] = affine_lanes(affine, task);
            let (later, first) = self.op.drawn_at(self.op.first_image() + task.image, pixels * channels);
            let (mask, first_element) = (masks(later), first + task.first);
            vectorized(
                #[inline(always)]
                || {
                    let (mean, scale) =
                        if self.op.norm { moments(&x) } else { ([T::zero(); BLOCK], [T::one(); BLOCK]) };
                    statistics.pixel(0).copy_from_slice(&mean[..task.count]);
                    statistics.pixel(1).copy_from_slice(&scale[..task.count]);
                    for p in 0..pixels {
                        let y = y.pixel(p);
                        let lanes = mean.iter().zip(&scale).zip(gain.iter().zip(&bias));
                        for ((y, &x), ((&mean, &scale), (&gain, &bias))) in y.iter_mut().zip(x.pixel(p)).zip(lanes) {
                            let value = (x - mean) * scale * gain + bias;
                            *y = if value > T::zero() { value } else { value * slope };
                        }
                        if let Some(mask) = &mask {
                            mask.apply(y, first_element + p * channels);
                        }
                    }
                },
            );
        });
    }
}

/// One image's channels of a task.
fn block<'a, T: Real>(view: &View<'a, T>, task: Block) -> View<'a, T> {
    let image = view.images(task.image, 1);
    let [_, height, width, _] = view.shape;
    View { data: &image.data[task.first..], shape: [1, height, width, task.count], stride: view.stride }
}

/// Mean and 1 / standard deviation of each channel.
#[inline(always)]
fn moments<T: Real>(x: &View<'_, T>) -> (Lanes<T>, Lanes<T>) {
    let share = T::from_f64(1.0 / x.pixels() as f64);
    let [mut mean] = sums(
        x.pixels(),
        #[inline(always)]
        |p, [sum]| sum.iter_mut().zip(x.pixel(p)).for_each(|(sum, &x)| *sum += x),
    );
    mean.iter_mut().for_each(|m| *m *= share);
    let [mut scale] = sums(
        x.pixels(),
        #[inline(always)]
        |p, [sum]| {
            for ((sum, &x), &mean) in sum.iter_mut().zip(x.pixel(p)).zip(&mean) {
                *sum += (x - mean) * (x - mean);
            }
        },
    );
    scale.iter_mut().for_each(|s: &mut T| *s = T::one() / (*s * share + T::from_f64(EPSILON)).sqrt());
    (mean, scale)
}

/// The part of the backward pass that is computed pixel by pixel.
struct Reached<'a, T> {
    x: View<'a, T>,
    dy: View<'a, T>,
    mean: Lanes<T>,
    scale: Lanes<T>,
    gain: Lanes<T>,
    bias: Lanes<T>,
    slope: T,
    mask: Option<Mask<T>>,
    /// Place among the draws of the task's first element.
    first_element: usize,
    channels: usize,
}

impl<T: Real> Reached<'_, T> {
    /// Sets `value` to the normalised values of a pixel, before gain and bias, and `gradient` to the gradients that
    /// come through dropout and activation.
    #[inline(always)]
    fn at(&self, p: usize, value: &mut [T], gradient: &mut [T]) {
        gradient.copy_from_slice(self.dy.pixel(p));
        if let Some(mask) = &self.mask {
            mask.apply(gradient, self.first_element + p * self.channels);
        }
        let lanes = self.mean.iter().zip(&self.scale).zip(self.gain.iter().zip(&self.bias));
        for (((value, gradient), &x), ((&mean, &scale), (&gain, &bias))) in
            value.iter_mut().zip(gradient).zip(self.x.pixel(p)).zip(lanes)
        {
            *value = (x - mean) * scale;
            let activated = *value * gain + bias > T::zero();
            *gradient = if activated { *gradient } else { *gradient * self.slope };
        }
    }
}

impl<T: Real> CpuKernel<T> for Gradient {
    fn run(&self, context: &Context<'_, T>) {
        let (x, dy, statistics) = (context.read(self.x), context.read(self.dy), context.read(self.statistics));
        let affine = read_affine(self.affine.map(|(affine, _)| affine), context);
        let masks = masks(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let slope = T::from_f64(self.op.activation.slope());
        let task = |task: Block, dx: BlockMut<'_, T>, sums: Option<[BlockMut<'_, T>; 2]>| {
            let saved = |row| {
                let mut lanes = [T::zero(); BLOCK];
                lanes[..task.count]
                    .copy_from_slice(&statistics.pixel(2 * task.image + row)[task.first..][..task.count]);
                lanes
            };
            let (later, first) = self.op.drawn_at(self.first_image + task.image, pixels * channels);
            let (mask, first_element) = (masks(later), first + task.first);
            let (x, dy, mean, scale) = (block(&x, task), block(&dy, task), saved(0), saved(1));
            let [gain, bias] = affine_lanes(affine, task);
            let reached = Reached { x, dy, mean, scale, gain, bias, slope, mask, first_element, channels };
            vectorized(
                #[inline(always)]
                || self.run_block(&reached, task.count, dx, sums),
            );
        };
        let dx = context.write(self.dx.access());
        match self.affine {
            None => for_each_block([dx], |block, [dx]| task(block, dx, None)),
            Some((_, sums)) => {
                let [gain, bias] = [sums.gain, sums.bias].map(|sums| context.write(Access::Write(sums)));
                for_each_block([dx, gain, bias], |block, [dx, gain, bias]| task(block, dx, Some([gain, bias])));
            }
        }
    }
}

impl Gradient {
    /// The gradient of `count` channels of one image; `affine_sums` are the places of what it adds to those of gain and
    /// bias.
    #[inline(always)]
    fn run_block<T: Real>(
        &self,
        reached: &Reached<'_, T>,
        count: usize,
        mut dx: BlockMut<'_, T>,
        affine_sums: Option<[BlockMut<'_, T>; 2]>,
    ) {
        let pixels = reached.x.pixels();
        let accumulate = self.dx.accumulates();
        let mut pixel = [[T::zero(); BLOCK]; 2];
        let [value, gradient] = &mut pixel;
        let (value, gradient) = (&mut value[..count], &mut gradient[..count]);
        // Sums, then means, over the pixels: of the gradient times the value, which is the gain's gradient, and of the
        // gradient, which is the bias's.
        let mut along = [[T::zero(); BLOCK]; 2];
        if self.op.norm {
            along = sums(
                pixels,
                #[inline(always)]
                |p, [by_value, plain]| {
                    reached.at(p, value, gradient);
                    let sums = plain.iter_mut().zip(by_value);
                    for ((plain, by_value), (&g, &v)) in sums.zip(gradient.iter().zip(value.iter())) {
                        *plain += g;
                        *by_value += g * v;
                    }
                },
            );
            for (mut written, sums) in affine_sums.into_iter().flatten().zip(&along) {
                written.pixel(0).copy_from_slice(&sums[..count]);
            }
            let share = T::from_f64(1.0 / pixels as f64);
            along.as_flattened_mut().iter_mut().for_each(|sum| *sum *= share);
        }
        // Of what comes to the normalised values: `gain` times the gradient.
        let mut scale = reached.scale;
        scale.iter_mut().zip(&reached.gain).for_each(|(scale, &gain)| *scale *= gain);
        for p in 0..pixels {
            reached.at(p, value, gradient);
            let terms = gradient.iter().zip(value.iter()).zip(along[1].iter().zip(&along[0]));
            for (dx, (((&g, &v), (&plain, &by_value)), &scale)) in dx.pixel(p).iter_mut().zip(terms.zip(&scale)) {
                let across = (g - plain - v * by_value) * scale;
                *dx = if accumulate { *dx + across } else { across };
            }
        }
    }
}
