//! Normalisation, activation and dropout on the CPU.
//!
//! A task owns a block of channels of one image and walks over its pixels, so that sums need no exchange between threads
//! and come out the same with any number of them.

use super::{Dropout, EPSILON, Forward, Gradient, NormAct};
use crate::device::cpu::{BLOCK, Block, Context, CpuKernel, Real, View, for_each_block, vectorized};
use crate::philox::{key, philox4x32};
use crate::program::{Access, Control};

/// Pixels summed one after the other before their sum joins the others: keeps the rounding error of long sums small.
const RUN: usize = 64;

type Lanes<T> = [T; BLOCK];

/// Reads up to [`BLOCK`] values; the rest of the lanes are zero.
#[inline(always)]
fn load<T: Real>(values: &[T]) -> Lanes<T> {
    let mut lanes = [T::zero(); BLOCK];
    match values.first_chunk::<BLOCK>() {
        Some(block) => lanes = *block,
        None => lanes[..values.len()].copy_from_slice(values),
    }
    lanes
}

/// The sums over `pixels` of what `terms` makes of each, `N` sums at a time.
#[inline(always)]
fn sums<T: Real, const N: usize>(pixels: usize, terms: impl Fn(usize) -> [Lanes<T>; N]) -> [Lanes<T>; N] {
    let mut total = [[T::zero(); BLOCK]; N];
    for start in (0..pixels).step_by(RUN) {
        let mut run = [[T::zero(); BLOCK]; N];
        for p in start..(start + RUN).min(pixels) {
            let terms = terms(p);
            for (run, terms) in run.iter_mut().zip(terms) {
                for lane in 0..BLOCK {
                    run[lane] += terms[lane];
                }
            }
        }
        for (total, run) in total.iter_mut().zip(run) {
            for lane in 0..BLOCK {
                total[lane] += run[lane];
            }
        }
    }
    total
}

/// The dropout factors of a step: 0, or 1 / (1 - p).
#[derive(Clone, Copy)]
struct Mask<T> {
    key: [u32; 2],
    words: [u32; 3],
    /// A draw below this is dropped.
    threshold: u32,
    scale: T,
}

impl<T: Real> Mask<T> {
    fn new(dropout: Dropout, control: Control) -> Mask<T> {
        let place = u32::from(dropout.layer) | u32::from(dropout.pass) << 16;
        Mask {
            key: key(control.seed),
            words: [place, control.step as u32, (control.step >> 32) as u32],
            threshold: (dropout.probability * 4_294_967_296.0).round().min(4_294_967_295.0) as u32,
            scale: T::of(1.0 / (1.0 - dropout.probability)),
        }
    }

    /// Multiplies `values`, of which the first is element `first` of the batch.
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

/// The mask of a step whose op drops out.
fn mask<T: Real>(op: NormAct, context: &Context<'_, T>) -> Option<Mask<T>> {
    op.dropout.map(|dropout| Mask::new(dropout, context.control()))
}

impl<T: Real> CpuKernel<T> for Forward {
    fn run(&self, context: &Context<'_, T>) {
        let x = context.read(self.x);
        let mask = mask(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let outputs = [Access::Write(self.y), Access::Write(self.statistics)].map(|access| context.write(access));
        let slope = T::of(self.op.activation.slope());
        for_each_block(outputs, |task, [mut y, mut statistics]| {
            vectorized(
                #[inline(always)]
                || {
                    let x = block(&x, task);
                    let (mean, scale) =
                        if self.op.norm { moments(&x) } else { ([T::zero(); BLOCK], [T::one(); BLOCK]) };
                    statistics.pixel(0).copy_from_slice(&mean[..task.count]);
                    statistics.pixel(1).copy_from_slice(&scale[..task.count]);
                    for p in 0..pixels {
                        let mut lanes = load(x.pixel(p));
                        for lane in 0..BLOCK {
                            let value = (lanes[lane] - mean[lane]) * scale[lane];
                            lanes[lane] = if value > T::zero() { value } else { value * slope };
                        }
                        if let Some(mask) = mask {
                            mask.apply(&mut lanes[..task.count], (task.image * pixels + p) * channels + task.first);
                        }
                        y.pixel(p).copy_from_slice(&lanes[..task.count]);
                    }
                },
            );
        });
    }
}

/// One image's channels of a task.
#[inline(always)]
fn block<'a, T: Real>(view: &View<'a, T>, task: Block) -> View<'a, T> {
    let image = view.images(task.image, 1);
    let [_, height, width, _] = view.shape;
    View { data: &image.data[task.first..], shape: [1, height, width, task.count], stride: view.stride }
}

/// Mean and 1 / standard deviation of each channel.
#[inline(always)]
fn moments<T: Real>(x: &View<'_, T>) -> (Lanes<T>, Lanes<T>) {
    let share = T::of(1.0 / x.pixels() as f64);
    let [mut mean] = sums(
        x.pixels(),
        #[inline(always)]
        |p| [load(x.pixel(p))],
    );
    mean.iter_mut().for_each(|m| *m *= share);
    let [mut scale] = sums(
        x.pixels(),
        #[inline(always)]
        |p| {
            let mut lanes = load(x.pixel(p));
            for lane in 0..BLOCK {
                let centred = lanes[lane] - mean[lane];
                lanes[lane] = centred * centred;
            }
            [lanes]
        },
    );
    scale.iter_mut().for_each(|s| *s = T::one() / (*s * share + T::of(EPSILON)).sqrt());
    (mean, scale)
}

/// What a task of the backward pass computes of each pixel.
struct Reached<'a, T> {
    x: View<'a, T>,
    dy: View<'a, T>,
    mean: Lanes<T>,
    scale: Lanes<T>,
    slope: T,
    mask: Option<Mask<T>>,
    /// Place in the batch of the task's first element.
    first_element: usize,
    channels: usize,
}

impl<T: Real> Reached<'_, T> {
    /// The normalised value, and the gradient that reaches it through dropout and activation.
    #[inline(always)]
    fn at(&self, p: usize) -> (Lanes<T>, Lanes<T>) {
        let (mut value, mut gradient) = (load(self.x.pixel(p)), load(self.dy.pixel(p)));
        if let Some(mask) = &self.mask {
            mask.apply(&mut gradient[..self.x.channels()], self.first_element + p * self.channels);
        }
        for lane in 0..BLOCK {
            value[lane] = (value[lane] - self.mean[lane]) * self.scale[lane];
            let kept = gradient[lane];
            gradient[lane] = if value[lane] > T::zero() { kept } else { kept * self.slope };
        }
        (value, gradient)
    }
}

impl<T: Real> CpuKernel<T> for Gradient {
    fn run(&self, context: &Context<'_, T>) {
        let (x, dy, statistics) = (context.read(self.x), context.read(self.dy), context.read(self.statistics));
        let mask = mask(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let dx = context.write(self.dx.access());
        let accumulate = self.dx.accumulates();
        let slope = T::of(self.op.activation.slope());
        let share = T::of(1.0 / pixels as f64);
        for_each_block([dx], |task, [mut dx]| {
            vectorized(
                #[inline(always)]
                || {
                    let (x, dy) = (block(&x, task), block(&dy, task));
                    let saved = |row| load(&statistics.pixel(2 * task.image + row)[task.first..][..task.count]);
                    let (mean, scale) = (saved(0), saved(1));
                    // The normalised value, and the gradient that reaches it through dropout and activation.
                    let first_element = self.first_element + task.image * pixels * channels + task.first;
                    let reached = Reached { x, dy, mean, scale, slope, mask, first_element, channels };
                    let mut along = [[T::zero(); BLOCK]; 2];
                    if self.op.norm {
                        along = sums(
                            pixels,
                            #[inline(always)]
                            |p| {
                                let (mut value, gradient) = reached.at(p);
                                for lane in 0..BLOCK {
                                    value[lane] *= gradient[lane];
                                }
                                [gradient, value]
                            },
                        );
                        along.iter_mut().flatten().for_each(|sum| *sum *= share);
                    }
                    for p in 0..pixels {
                        let (value, mut gradient) = reached.at(p);
                        for lane in 0..BLOCK {
                            let across = gradient[lane] - along[0][lane] - value[lane] * along[1][lane];
                            gradient[lane] = across * scale[lane];
                        }
                        let row = dx.pixel(p);
                        if accumulate {
                            row.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
                        } else {
                            row.copy_from_slice(&gradient[..task.count]);
                        }
                    }
                },
            );
        });
    }
}
