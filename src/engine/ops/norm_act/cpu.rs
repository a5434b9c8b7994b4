//! Normalisation, activation and dropout on the CPU.
//!
//! A task owns a block of channels of one image and walks over its pixels, so that sums need no exchange between
//! threads and come out the same with any number of them.

use super::{Affine, Dropout, EPSILON, NormAct, NormActForward, NormActGrad};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{BLOCK_CHANNELS, Block, BlockMut, Context, CpuKernel, Real, View, for_each_block};
use crate::engine::philox::{key, philox4x32};
use crate::engine::simd::vectorized;
use crate::engine::tensor::Tensor;

/// Pixels of a partial sum. Long sums are added up from these, which keeps their rounding error small.
const RUN: usize = 64;

/// One number for each channel of a block.
type Lanes<T> = [T; BLOCK_CHANNELS];

/// `N` sums over pixels for each channel: `add(p, sums)` adds the terms of pixel `p`.
#[inline(always)]
fn sums<T: Real, const N: usize>(pixels: usize, mut add: impl FnMut(usize, &mut [Lanes<T>; N])) -> [Lanes<T>; N] {
    let mut total = [[T::zero(); BLOCK_CHANNELS]; N];
    for start in (0..pixels).step_by(RUN) {
        let mut run = [[T::zero(); BLOCK_CHANNELS]; N];
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
    /// The mask of the step that is `later` steps after that of `control`.
    fn new(dropout: Dropout, control: Control, later: u64) -> Mask<T> {
        let step = control.step.wrapping_add(later);
        Mask {
            key: key(control.seed),
            words: [dropout.counter_word(), step as u32, (step >> 32) as u32],
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

/// The masks of a step with dropout, by the number of steps later that their draws belong to; `None` without dropout.
fn masks<T: Real>(op: NormAct, context: &Context<'_, T>) -> impl Fn(u64) -> Option<Mask<T>> {
    let drawn = op.dropout.map(|dropout| (dropout, context.control()));
    move |later| drawn.map(|(dropout, control)| Mask::new(dropout, control, later))
}

/// Gain and bias of all channels; `None` without affine.
fn read_affine<'a, T: Real>(affine: Option<Affine>, context: &'a Context<'_, T>) -> Option<[&'a [T]; 2]> {
    affine.map(|Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter).data))
}

/// Gain and bias of a task's channels. Without affine they are 1 and -0, which change no bit of any number.
fn affine_lanes<T: Real>(affine: Option<[&[T]; 2]>, task: Block) -> [Lanes<T>; 2] {
    let mut lanes = [[T::one(); BLOCK_CHANNELS], [-T::zero(); BLOCK_CHANNELS]];
    for (lanes, values) in lanes.iter_mut().zip(affine.iter().flatten()) {
        lanes[..task.count].copy_from_slice(&values[task.first..][..task.count]);
    }
    lanes
}

impl<T: Real> CpuKernel<T> for NormActForward {
    fn run(&self, context: &Context<'_, T>) {
        let x = context.read(self.x);
        let affine = read_affine(self.affine, context);
        let masks = masks(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let negative_slope = T::from_f64(self.op.activation.negative_slope());
        let skip_slope = T::from_f64(self.skip.map_or(1.0, |skip| skip.activation.negative_slope()));
        let work = |task: Block,
                    mut y: BlockMut<'_, T>,
                    statistics: Option<BlockMut<'_, T>>,
                    skip: Option<BlockMut<'_, T>>| {
            let x = block(&x, task);
            let mut skip = skip;
            let [gain, bias] = affine_lanes(affine, task);
            let (later, first) = self.op.drawn_at(self.op.first_image() + task.image, pixels * channels);
            let (mask, first_element) = (masks(later), first + task.first);
            vectorized(
                #[inline(always)]
                || {
                    let (mean, rstd) = if self.op.norm {
                        mean_and_rstd(&x)
                    } else {
                        ([T::zero(); BLOCK_CHANNELS], [T::one(); BLOCK_CHANNELS])
                    };
                    if let Some(mut statistics) = statistics {
                        statistics.pixel(0).copy_from_slice(&mean[..task.count]);
                        statistics.pixel(1).copy_from_slice(&rstd[..task.count]);
                    }
                    for p in 0..pixels {
                        let y = y.pixel(p);
                        let lanes = mean.iter().zip(&rstd).zip(gain.iter().zip(&bias));
                        for ((y, &x), ((&mean, &rstd), (&gain, &bias))) in y.iter_mut().zip(x.pixel(p)).zip(lanes) {
                            let value = (x - mean) * rstd * gain + bias;
                            *y = if value > T::zero() { value } else { value * negative_slope };
                        }
                        if let Some(mask) = &mask {
                            mask.apply(y, first_element + p * channels);
                        }
                        if let Some(skip) = &mut skip {
                            for (skip, &y) in skip.pixel(p).iter_mut().zip(y.iter()) {
                                *skip = if y > T::zero() { y } else { y * skip_slope };
                            }
                        }
                    }
                },
            );
        };
        let write = |tensor: Tensor| context.write(Access::Write(tensor));
        let y = write(self.y);
        match (self.mean_rstd.map(write), self.skip.map(|skip| write(skip.tensor))) {
            (None, None) => for_each_block([y], |task, [y]| work(task, y, None, None)),
            (Some(statistics), None) => {
                for_each_block([y, statistics], |task, [y, statistics]| work(task, y, Some(statistics), None));
            }
            (None, Some(skip)) => for_each_block([y, skip], |task, [y, skip]| work(task, y, None, Some(skip))),
            (Some(statistics), Some(skip)) => for_each_block([y, statistics, skip], |task, [y, statistics, skip]| {
                work(task, y, Some(statistics), Some(skip));
            }),
        }
    }
}

/// The channels and the image of a task, cut out of `view`.
fn block<'a, T: Real>(view: &View<'a, T>, task: Block) -> View<'a, T> {
    let image = view.images(task.image, 1);
    let [_, height, width, _] = view.shape;
    View { data: &image.data[task.first..], shape: [1, height, width, task.count], stride: view.stride }
}

/// Mean and `rstd` of each channel over the pixels of `x`. The variance is summed in a second pass over centred values:
/// a sum of squares would cancel.
#[inline(always)]
fn mean_and_rstd<T: Real>(x: &View<'_, T>) -> (Lanes<T>, Lanes<T>) {
    let inv_n = T::from_f64(1.0 / x.pixels() as f64);
    let [mut mean] = sums(
        x.pixels(),
        #[inline(always)]
        |p, [sum]| sum.iter_mut().zip(x.pixel(p)).for_each(|(sum, &x)| *sum += x),
    );
    mean.iter_mut().for_each(|m| *m *= inv_n);
    let [mut rstd] = sums(
        x.pixels(),
        #[inline(always)]
        |p, [sum]| {
            for ((sum, &x), &mean) in sum.iter_mut().zip(x.pixel(p)).zip(&mean) {
                *sum += (x - mean) * (x - mean);
            }
        },
    );
    rstd.iter_mut().for_each(|s: &mut T| *s = T::one() / (*s * inv_n + T::from_f64(EPSILON)).sqrt());
    (mean, rstd)
}

/// The normalised values of a task's channels and the gradients behind dropout and activation, computed again from `x`
/// and `dy` whenever a pass over the pixels needs them.
struct Recomputed<'a, T> {
    x: View<'a, T>,
    dy: View<'a, T>,
    mean: Lanes<T>,
    rstd: Lanes<T>,
    gain: Lanes<T>,
    bias: Lanes<T>,
    negative_slope: T,
    mask: Option<Mask<T>>,
    /// Index of the task's first element among the draws.
    first_element: usize,
    channels: usize,
    /// The gradient of the second output, and the slope of its activation.
    skip: Option<(View<'a, T>, T)>,
}

impl<T: Real> Recomputed<'_, T> {
    /// Sets `xhat` to the normalised values of pixel `p`, before gain and bias, and `g` to the gradients of
    /// `gain * xhat + bias`: `dy` taken back through dropout and activation.
    #[inline(always)]
    fn at(&self, p: usize, xhat: &mut [T], g: &mut [T]) {
        g.copy_from_slice(self.dy.pixel(p));
        if let Some(mask) = &self.mask {
            mask.apply(g, self.first_element + p * self.channels);
        }
        for ((xhat, &x), (&mean, &rstd)) in xhat.iter_mut().zip(self.x.pixel(p)).zip(self.mean.iter().zip(&self.rstd)) {
            *xhat = (x - mean) * rstd;
        }
        let values =
            xhat.iter().zip(self.gain.iter().zip(&self.bias)).map(|(&xhat, (&gain, &bias))| xhat * gain + bias);
        if let Some((skip, slope)) = &self.skip {
            for ((g, &skip), value) in g.iter_mut().zip(skip.pixel(p)).zip(values.clone()) {
                *g += if value > T::zero() { skip } else { skip * *slope };
            }
        }
        for (g, value) in g.iter_mut().zip(values) {
            *g = if value > T::zero() { *g } else { *g * self.negative_slope };
        }
    }
}

impl<T: Real> CpuKernel<T> for NormActGrad {
    fn run(&self, context: &Context<'_, T>) {
        let (x, dy) = (context.read(self.x), context.read(self.dy));
        let mean_rstd = self.mean_rstd.map(|statistics| context.read(statistics));
        let affine = read_affine(self.affine.map(|(affine, _)| affine), context);
        let skip = self.skip.map(|skip| (context.read(skip.tensor), T::from_f64(skip.activation.negative_slope())));
        let masks = masks(self.op, context);
        let [_, height, width, channels] = x.shape;
        let pixels = height * width;
        let negative_slope = T::from_f64(self.op.activation.negative_slope());
        let task = |task: Block, dx: BlockMut<'_, T>, sums: Option<[BlockMut<'_, T>; 2]>| {
            let x_image = task.image % x.shape[0];
            // Row 0 is the mean, row 1 is rstd; without norm they are 0 and 1.
            let saved = |row: usize, without: T| {
                let mut lanes = [without; BLOCK_CHANNELS];
                if let Some(saved) = &mean_rstd {
                    lanes[..task.count].copy_from_slice(&saved.pixel(2 * x_image + row)[task.first..][..task.count]);
                }
                lanes
            };
            let (later, first) = self.op.drawn_at(self.first_image + task.image, pixels * channels);
            let (mask, first_element) = (masks(later), first + task.first);
            let (x, dy) = (block(&x, Block { image: x_image, ..task }), block(&dy, task));
            let (mean, rstd) = (saved(0, T::zero()), saved(1, T::one()));
            let [gain, bias] = affine_lanes(affine, task);
            let skip = skip.as_ref().map(|(skip, slope)| (block(skip, task), *slope));
            let recomputed =
                Recomputed { x, dy, mean, rstd, gain, bias, negative_slope, mask, first_element, channels, skip };
            vectorized(
                #[inline(always)]
                || self.run_block(&recomputed, task.count, dx, sums),
            );
        };
        let dx = context.write(self.dx.access());
        match self.affine {
            None => for_each_block([dx], |block, [dx]| task(block, dx, None)),
            Some((_, sums)) => {
                let [dgain, dbias] = [sums.dgain, sums.dbias].map(|sums| context.write(Access::Write(sums)));
                for_each_block([dx, dgain, dbias], |block, [dx, dgain, dbias]| task(block, dx, Some([dgain, dbias])));
            }
        }
    }
}

impl NormActGrad {
    /// The gradient of `count` channels of one image. `affine_sums` are its rows of [`AffineSums`], to be written.
    ///
    /// With the mean over the image's pixels written `mean(..)`, which is 0 without norm (Ioffe and Szegedy, "Batch
    /// Normalization", 2015, over one image instead of a batch):
    /// `dx = (g - mean(g) - xhat * mean(g * xhat)) * rstd * gain`, and `dx = g` without norm.
    #[inline(always)]
    fn run_block<T: Real>(
        &self,
        recomputed: &Recomputed<'_, T>,
        count: usize,
        mut dx: BlockMut<'_, T>,
        affine_sums: Option<[BlockMut<'_, T>; 2]>,
    ) {
        let pixels = recomputed.x.pixels();
        let (norm, accumulate) = (self.op.norm, self.dx.accumulates());
        let mut pixel = [[T::zero(); BLOCK_CHANNELS]; 2];
        let [xhat, g] = &mut pixel;
        let (xhat, g) = (&mut xhat[..count], &mut g[..count]);
        let [mut mean_g_xhat, mut mean_g] = [[T::zero(); BLOCK_CHANNELS]; 2];
        if norm {
            let mut totals: [Lanes<T>; 2] = sums(
                pixels,
                #[inline(always)]
                |p, [sum_g_xhat, sum_g]| {
                    recomputed.at(p, xhat, g);
                    let sums = sum_g.iter_mut().zip(sum_g_xhat);
                    for ((sum_g, sum_g_xhat), (&g, &xhat)) in sums.zip(g.iter().zip(xhat.iter())) {
                        *sum_g += g;
                        *sum_g_xhat += g * xhat;
                    }
                },
            );
            // The sums themselves are the gradients of gain and bias.
            for (mut written, sums) in affine_sums.into_iter().flatten().zip(&totals) {
                written.pixel(0).copy_from_slice(&sums[..count]);
            }
            let inv_n = T::from_f64(1.0 / pixels as f64);
            totals.as_flattened_mut().iter_mut().for_each(|sum| *sum *= inv_n);
            [mean_g_xhat, mean_g] = totals;
        }
        let mut rstd_gain = recomputed.rstd;
        rstd_gain.iter_mut().zip(&recomputed.gain).for_each(|(rstd, &gain)| *rstd *= gain);
        for p in 0..pixels {
            recomputed.at(p, xhat, g);
            let terms = g.iter().zip(xhat.iter()).zip(mean_g.iter().zip(&mean_g_xhat));
            let terms = terms.zip(&rstd_gain);
            for (dx, (((&g, &xhat), (&mean_g, &mean_g_xhat)), &rstd_gain)) in dx.pixel(p).iter_mut().zip(terms) {
                let gradient = if norm { (g - mean_g - xhat * mean_g_xhat) * rstd_gain } else { g };
                *dx = if accumulate { *dx + gradient } else { gradient };
            }
        }
    }
}
