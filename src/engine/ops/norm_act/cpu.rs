//! Normalisation, activation and dropout on the CPU.
//!
//! Every image is cut into blocks of consecutive pixels ([`Blocks`]), and a block is walked as it lies in memory. A
//! norm takes two phases, each parallel over the blocks of all images: the sums of each block, and then its pixels.
//! Between them the sums of an image's blocks are combined in their order, so results do not depend on the number of
//! threads.

use rayon::prelude::*;

use super::{Affine, Dropout, EPSILON, NormAct, NormActForward, NormActGrad};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Block, Blocks, Context, CpuKernel, Real, Stored, View, ViewMut};
use crate::engine::philox::{key, philox4x32, philox4x32_groups};
use crate::engine::simd::vectorized;
use crate::engine::tensor::DType;

/// Channels that are computed at once: two vectors of eight f32.
const LANES: usize = 16;

/// One number for each of these channels.
type Lanes<T> = [T; LANES];

/// Calls `work(first, count)` for the channels `first..first + count`, at most [`LANES`] at a time.
#[inline(always)]
fn for_lanes(channels: usize, mut work: impl FnMut(usize, usize)) {
    let whole = channels - channels % LANES;
    for first in (0..whole).step_by(LANES) {
        work(first, LANES);
    }
    if whole < channels {
        work(whole, channels - whole);
    }
}

/// The values `first..first + count`, then zeros.
#[inline(always)]
fn load<T: Real, E: Stored<T>>(values: &[E], first: usize, count: usize) -> Lanes<T> {
    let values = &values[first..first + count];
    match values.first_chunk::<LANES>() {
        Some(lanes) => std::array::from_fn(|i| lanes[i].load()),
        None => std::array::from_fn(|i| values.get(i).map_or(T::zero(), |value| value.load())),
    }
}

/// Sets the values `first..first + count` to the first of `lanes`.
#[inline(always)]
fn store<T: Real, E: Stored<T>>(values: &mut [E], first: usize, count: usize, lanes: &Lanes<T>) {
    let values = &mut values[first..first + count];
    match values.first_chunk_mut::<LANES>() {
        Some(values) => *values = std::array::from_fn(|i| E::store(lanes[i])),
        None => values.iter_mut().zip(lanes).for_each(|(value, &lane)| *value = E::store(lane)),
    }
}

/// `value` times the slope of an activation at `input`: 1 where it is positive. The slope is selected, not the product:
/// compilers would make a branch of that, mispredicted half of the time, or a masked store.
#[inline(always)]
pub(in crate::engine::ops) fn activated<T: Real>(input: T, value: T, negative_slope: T) -> T {
    value * if input > T::zero() { T::one() } else { negative_slope }
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
        /// Counters that are drawn at once.
        const GROUPS: usize = 4;
        let [a, b, c] = self.words;
        let counter = |element: usize| [(element / 4) as u32, a, b, c];
        let (threshold, scale) = (self.threshold, self.scale);
        let factor = move |value: T, draw: u32| {
            let kept = value * scale;
            if draw < threshold { T::zero() } else { kept }
        };
        let begins = first.next_multiple_of(4) - first;
        let (head, values) = values.split_at_mut(begins.min(values.len()));
        if !head.is_empty() {
            let draws = &philox4x32(counter(first), self.key)[first % 4..];
            head.iter_mut().zip(draws).for_each(|(value, &draw)| *value = factor(*value, draw));
        }
        let (many, rest) = values.as_chunks_mut::<{ 4 * GROUPS }>();
        let mut element = first + begins;
        for values in many {
            let draws = philox4x32_groups::<GROUPS>(counter(element), self.key);
            for (value, &draw) in values.iter_mut().zip(draws.as_flattened()) {
                *value = factor(*value, draw);
            }
            element += 4 * GROUPS;
        }
        for values in rest.chunks_mut(4) {
            let draws = philox4x32(counter(element), self.key);
            values.iter_mut().zip(&draws).for_each(|(value, &draw)| *value = factor(*value, draw));
            element += 4;
        }
    }
}

/// The masks of a step with dropout, by the number of steps later that their draws belong to; `None` without dropout.
fn masks<T: Real>(op: NormAct, context: &Context<'_, T>) -> impl Fn(u64) -> Option<Mask<T>> {
    let drawn = op.dropout.map(|dropout| (dropout, context.control()));
    move |later| drawn.map(|(dropout, control)| Mask::new(dropout, control, later))
}

/// A number for each channel of an image, by which its pixels are normalised.
#[derive(Clone, Copy)]
struct Coefficients<'a, T> {
    mean: &'a [T],
    rstd: &'a [T],
    gain: &'a [T],
    bias: &'a [T],
}

/// The tensors that the coefficients of an image come from, and `neutral` in the place of those that a step has not.
struct Sources<'a, T> {
    mean_rstd: Option<View<'a, T>>,
    affine: Option<[&'a [T]; 2]>,
    neutral: Coefficients<'a, T>,
}

impl<'a, T: Real> Sources<'a, T> {
    /// Sets `rows`, [`NEUTRAL`] of `channels` numbers, to the coefficients that change no bit of any number.
    fn new(
        context: &'a Context<'_, T>,
        mean_rstd: Option<View<'a, T>>,
        affine: Option<Affine>,
        channels: usize,
        rows: &'a mut [T],
    ) -> Sources<'a, T> {
        let values = [T::zero(), T::one(), -T::zero()];
        rows.chunks_mut(channels).zip(values).for_each(|(row, value)| row.fill(value));
        let [zeros, ones, negative_zeros] = std::array::from_fn(|row| &rows[row * channels..][..channels]);
        let affine = affine.map(|Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter).data));
        let neutral = Coefficients { mean: zeros, rstd: ones, gain: ones, bias: negative_zeros };
        Sources { mean_rstd, affine, neutral }
    }

    /// The coefficients of an image.
    fn image(&self, image: usize) -> Coefficients<'_, T> {
        let mut coefficients = self.neutral;
        if let Some(mean_rstd) = &self.mean_rstd {
            (coefficients.mean, coefficients.rstd) = (mean_rstd.pixel(2 * image), mean_rstd.pixel(2 * image + 1));
        }
        if let Some([gain, bias]) = self.affine {
            (coefficients.gain, coefficients.bias) = (gain, bias);
        }
        coefficients
    }
}

/// Rows of a number for each channel that neutral coefficients take.
const NEUTRAL: usize = 3;

/// Sums of each channel of a block: in the forward pass its mean, its squared deviations and its deviations.
const STATISTICS: usize = 3;

/// Sums of each channel of a block: in the backward pass `g * xhat` and `g`.
const SUMS: usize = 2;

/// Elements of scratch memory of a step: the neutral coefficients, and with a norm `sums` numbers for each channel of
/// each block.
fn workspace(norm: bool, blocks: Blocks, channels: usize, sums: usize) -> usize {
    (NEUTRAL + if norm { sums * blocks.count() } else { 0 }) * channels
}

impl<T: Real> CpuKernel<T> for NormActForward {
    fn workspace(&self) -> usize {
        workspace(self.op.norm, Blocks::new(self.x.shape), self.x.channels(), STATISTICS)
    }

    fn run(&self, context: &Context<'_, T>) {
        match self.x.dtype() {
            DType::F32 => self.run_as::<T, T>(context),
            DType::Bf16 => self.run_as::<T, T::Bf16>(context),
        }
    }
}

impl NormActForward {
    /// Computes the step on activations that are stored as `E`.
    fn run_as<T: Real, E: Stored<T>>(&self, context: &Context<'_, T>) {
        let x = context.read_as::<E>(self.x);
        let [_, height, width, channels] = x.shape;
        let blocks = Blocks::new(x.shape);
        let scratch = context.workspace(CpuKernel::<T>::workspace(self));
        let (neutral, sums) = scratch.split_at_mut(NEUTRAL * channels);
        let mut mean_rstd = self.mean_rstd.map(|tensor| context.write(Access::Write(tensor)));
        if let Some(mean_rstd) = &mut mean_rstd {
            statistics(&x, blocks, sums, mean_rstd);
        }
        let mean_rstd = mean_rstd.as_ref().map(ViewMut::as_view);
        let sources = Sources::new(context, mean_rstd, self.affine, channels, neutral);
        let masks = masks(self.op, context);
        let negative_slope = T::from_f64(self.op.activation.negative_slope());
        let skip_slope = T::from_f64(self.skip.map_or(1.0, |skip| skip.activation.negative_slope()));
        let work = |block: Block, mut y: ViewMut<'_, E>, mut skip: Option<ViewMut<'_, E>>| {
            let x = block.of(&x);
            let Coefficients { mean, rstd, gain, bias } = sources.image(block.image);
            let (later, first) = self.op.drawn_at(self.op.first_image() + block.image, height * width * channels);
            let (mask, first_element) = (masks(later), first + block.first * channels);
            vectorized(
                #[inline(always)]
                || {
                    for p in 0..block.count {
                        for_lanes(
                            channels,
                            #[inline(always)]
                            |first, count| {
                                let of = |values: &[T]| load(values, first, count);
                                let (mean, rstd, gain, bias) = (of(mean), of(rstd), of(gain), of(bias));
                                let x: Lanes<T> = load(x.pixel(p), first, count);
                                let value: Lanes<T> =
                                    std::array::from_fn(|i| (x[i] - mean[i]) * rstd[i] * gain[i] + bias[i]);
                                let mut out = value.map(|value| activated(value, value, negative_slope));
                                if let Some(mask) = &mask {
                                    mask.apply(&mut out[..count], first_element + p * channels + first);
                                }
                                store(y.pixel(p), first, count, &out);
                                if let Some(skip) = &mut skip {
                                    let carried = out.map(|out| activated(out, out, skip_slope));
                                    store(skip.pixel(p), first, count, &carried);
                                }
                            },
                        );
                    }
                },
            );
        };
        let write = |tensor| context.write_as::<E>(Access::Write(tensor));
        let y = write(self.y);
        match self.skip.map(|skip| write(skip.tensor)) {
            None => blocks.for_each([y], |block, [y]| work(block, y, None)),
            Some(skip) => blocks.for_each([y, skip], |block, [y, skip]| work(block, y, Some(skip))),
        }
    }
}

/// Sets `mean_rstd` to mean and `rstd` of each channel of each image of `x`. `sums` has [`STATISTICS`] numbers for each
/// channel of each block.
///
/// Each block gives its mean and the sum of squared deviations from it, which are combined by the formula of Chan,
/// Golub and LeVeque ("Algorithms for Computing the Sample Variance", 1983). A sum of squares would cancel.
fn statistics<T: Real, E: Stored<T>>(x: &View<'_, E>, blocks: Blocks, sums: &mut [T], mean_rstd: &mut ViewMut<'_, T>) {
    let channels = x.channels();
    sums.par_chunks_mut(STATISTICS * channels).enumerate().for_each(|(index, sums)| {
        let x = blocks.get(index).of(x);
        let (mean, sums) = sums.split_at_mut(channels);
        let (squares, deviations) = sums.split_at_mut(channels);
        vectorized(
            #[inline(always)]
            || mean_and_squares(&x, mean, squares, deviations),
        );
    });
    let (stride, images) = (mean_rstd.stride, sums.par_chunks(STATISTICS * channels * blocks.per_image()));
    mean_rstd.data.par_chunks_mut(2 * stride).zip(images).for_each(|(mean_rstd, sums)| {
        let (mean, rstd) = mean_rstd.split_at_mut(stride);
        vectorized(
            #[inline(always)]
            || combine(blocks, sums, &mut mean[..channels], &mut rstd[..channels]),
        );
    });
}

/// Sets `mean` to the mean of each channel over the pixels of `x`, and `squares` to the sum of squared deviations from
/// it. Both are corrected by the sum of deviations from the mean as it was rounded ("corrected two-pass algorithm" of
/// the same paper), for which `deviations` is scratch memory: an error of the mean would be that of every pixel.
#[inline(always)]
fn mean_and_squares<T: Real, E: Stored<T>>(x: &View<'_, E>, mean: &mut [T], squares: &mut [T], deviations: &mut [T]) {
    mean.fill(T::zero());
    for p in 0..x.pixels() {
        mean.iter_mut().zip(x.pixel(p)).for_each(|(sum, &x)| *sum += x.load());
    }
    let inv_n = T::from_f64(1.0 / x.pixels() as f64);
    mean.iter_mut().for_each(|mean| *mean *= inv_n);
    squares.fill(T::zero());
    deviations.fill(T::zero());
    for p in 0..x.pixels() {
        let sums = squares.iter_mut().zip(deviations.iter_mut());
        for ((squares, deviations), (&x, &mean)) in sums.zip(x.pixel(p).iter().zip(mean.iter())) {
            let deviation = x.load() - mean;
            *squares += deviation * deviation;
            *deviations += deviation;
        }
    }
    for ((mean, squares), &deviations) in mean.iter_mut().zip(squares).zip(deviations.iter()) {
        let error = deviations * inv_n;
        *mean += error;
        *squares -= deviations * error;
    }
}

/// Combines mean and squares of the blocks of an image, in their order, to its mean and `rstd`.
#[inline(always)]
fn combine<T: Real>(blocks: Blocks, sums: &[T], mean: &mut [T], rstd: &mut [T]) {
    let channels = mean.len();
    let pixels: usize = (0..blocks.per_image()).map(|index| blocks.get(index).count).sum();
    let blocks = || {
        let sums = sums.chunks(STATISTICS * channels).map(|sums| sums.split_at(channels));
        sums.enumerate().map(|(index, (mean, sums))| (blocks.get(index).count, mean, &sums[..channels]))
    };
    // The differences from the first mean are added up before it: they are small, also where it is large, and so are
    // their rounding errors.
    let first = &sums[..channels];
    mean.fill(T::zero());
    for (count, mean_of_block, _) in blocks() {
        let weight = T::from_f64(count as f64 / pixels as f64);
        for (mean, (&of_block, &first)) in mean.iter_mut().zip(mean_of_block.iter().zip(first)) {
            *mean += (of_block - first) * weight;
        }
    }
    mean.iter_mut().zip(first).for_each(|(mean, &first)| *mean += first);
    rstd.fill(T::zero());
    for (count, mean_of_block, squares) in blocks() {
        let count = T::from_f64(count as f64);
        for ((sum, &squares), (&of_block, &mean)) in rstd.iter_mut().zip(squares).zip(mean_of_block.iter().zip(&*mean))
        {
            *sum += squares + (of_block - mean) * (of_block - mean) * count;
        }
    }
    let inv_n = T::from_f64(1.0 / pixels as f64);
    rstd.iter_mut().for_each(|sum| *sum = T::one() / (*sum * inv_n + T::from_f64(EPSILON)).sqrt());
}

/// The normalised values of a block of pixels and the gradients behind dropout and activation, computed again from `x`
/// and `dy` whenever a pass over the pixels needs them.
#[derive(Clone, Copy)]
struct Recomputed<'a, T, E> {
    x: View<'a, E>,
    dy: View<'a, E>,
    coefficients: Coefficients<'a, T>,
    negative_slope: T,
    mask: Option<Mask<T>>,
    /// Index of the block's first element among the draws.
    first_element: usize,
    /// The gradient of the second output, and the slope of its activation.
    skip: Option<(View<'a, E>, T)>,
}

impl<T: Real, E: Stored<T>> Recomputed<'_, T, E> {
    /// Returns, for the channels `first..first + count` of pixel `p`, the normalised values before gain and bias,
    /// `xhat`, and the gradients of `gain * xhat + bias`, `g`: `dy` taken back through dropout and activation.
    #[inline(always)]
    fn at(self, p: usize, first: usize, count: usize) -> (Lanes<T>, Lanes<T>) {
        let Coefficients { mean, rstd, gain, bias } = self.coefficients;
        let of = |values: &[T]| load(values, first, count);
        let mut dy: Lanes<T> = load(self.dy.pixel(p), first, count);
        if let Some(mask) = self.mask {
            mask.apply(&mut dy[..count], self.first_element + p * self.x.channels() + first);
        }
        let x: Lanes<T> = load(self.x.pixel(p), first, count);
        let (mean, rstd, gain, bias) = (of(mean), of(rstd), of(gain), of(bias));
        let xhat: Lanes<T> = std::array::from_fn(|i| (x[i] - mean[i]) * rstd[i]);
        let value: Lanes<T> = std::array::from_fn(|i| xhat[i] * gain[i] + bias[i]);
        if let Some((skip, slope)) = self.skip {
            let skip: Lanes<T> = load(skip.pixel(p), first, count);
            dy = std::array::from_fn(|i| dy[i] + activated(value[i], skip[i], slope));
        }
        (xhat, std::array::from_fn(|i| activated(value[i], dy[i], self.negative_slope)))
    }

    /// Sets `sum_g_xhat` and `sum_g` to the sums of `g * xhat` and `g` of each channel over the pixels of the block.
    #[inline(always)]
    fn sums(self, sum_g_xhat: &mut [T], sum_g: &mut [T]) {
        sum_g_xhat.fill(T::zero());
        sum_g.fill(T::zero());
        for p in 0..self.x.pixels() {
            for_lanes(
                sum_g.len(),
                #[inline(always)]
                |first, count| {
                    let (xhat, g) = self.at(p, first, count);
                    let before_xhat: Lanes<T> = load(sum_g_xhat, first, count);
                    let before: Lanes<T> = load(sum_g, first, count);
                    let with_xhat = std::array::from_fn(|i| before_xhat[i] + g[i] * xhat[i]);
                    let sum = std::array::from_fn(|i| before[i] + g[i]);
                    store(sum_g_xhat, first, count, &with_xhat);
                    store(sum_g, first, count, &sum);
                },
            );
        }
    }

    /// Writes the gradients of the block's pixels, or adds them to `dx`. `means` has the means of `g * xhat` and `g` of
    /// each channel over the pixels of the image, if there is a norm.
    ///
    /// With the mean over the image's pixels written `mean(..)` (Ioffe and Szegedy, "Batch Normalization", 2015, over
    /// one image instead of a batch): `dx = (g - mean(g) - xhat * mean(g * xhat)) * rstd * gain`, and `dx = g` without
    /// norm.
    #[inline(always)]
    fn gradients(self, means: Option<(&[T], &[T])>, dx: &mut ViewMut<'_, E>, accumulate: bool) {
        let Coefficients { rstd, gain, .. } = self.coefficients;
        for p in 0..self.x.pixels() {
            let dx = dx.pixel(p);
            for_lanes(
                dx.len(),
                #[inline(always)]
                |first, count| {
                    let (xhat, mut dx_of_lanes) = self.at(p, first, count);
                    if let Some((mean_g_xhat, mean_g)) = means {
                        let g = dx_of_lanes;
                        let of = |values: &[T]| load(values, first, count);
                        let (mean_g_xhat, mean_g, rstd, gain) = (of(mean_g_xhat), of(mean_g), of(rstd), of(gain));
                        dx_of_lanes = std::array::from_fn(|i| {
                            (g[i] - mean_g[i] - xhat[i] * mean_g_xhat[i]) * (rstd[i] * gain[i])
                        });
                    }
                    if accumulate {
                        let before: Lanes<T> = load(dx, first, count);
                        dx_of_lanes = std::array::from_fn(|i| before[i] + dx_of_lanes[i]);
                    }
                    store(dx, first, count, &dx_of_lanes);
                },
            );
        }
    }
}

impl<T: Real> CpuKernel<T> for NormActGrad {
    fn workspace(&self) -> usize {
        workspace(self.op.norm, Blocks::new(self.dy.shape), self.dy.channels(), SUMS)
    }

    fn run(&self, context: &Context<'_, T>) {
        match self.dy.dtype() {
            DType::F32 => self.run_as::<T, T>(context),
            DType::Bf16 => self.run_as::<T, T::Bf16>(context),
        }
    }
}

impl NormActGrad {
    /// Computes the step on activations that are stored as `E`.
    fn run_as<T: Real, E: Stored<T>>(&self, context: &Context<'_, T>) {
        let (x, dy) = (context.read_as::<E>(self.x), context.read_as::<E>(self.dy));
        let [_, height, width, channels] = dy.shape;
        let blocks = Blocks::new(dy.shape);
        let scratch = context.workspace(CpuKernel::<T>::workspace(self));
        let (neutral, sums) = scratch.split_at_mut(NEUTRAL * channels);
        let mean_rstd = self.mean_rstd.map(|statistics| context.read(statistics));
        let sources = Sources::new(context, mean_rstd, self.affine.map(|(affine, _)| affine), channels, neutral);
        let skip =
            self.skip.map(|skip| (context.read_as::<E>(skip.tensor), T::from_f64(skip.activation.negative_slope())));
        let masks = masks(self.op, context);
        let negative_slope = T::from_f64(self.op.activation.negative_slope());
        let recomputed = |block: Block| {
            let of_x = Block { image: block.image % x.shape[0], ..block };
            let (later, first) = self.op.drawn_at(self.first_image + block.image, height * width * channels);
            Recomputed {
                x: of_x.of(&x),
                dy: block.of(&dy),
                coefficients: sources.image(of_x.image),
                negative_slope,
                mask: masks(later),
                first_element: first + block.first * channels,
                skip: skip.as_ref().map(|(skip, slope)| (block.of(skip), *slope)),
            }
        };
        if self.op.norm {
            self.means(context, blocks, &recomputed, sums);
        }
        let sums = &*sums;
        let accumulate = self.dx.accumulates();
        blocks.for_each([context.write_as::<E>(self.dx.access())], |block, [mut dx]| {
            let recomputed = recomputed(block);
            let means = self.op.norm.then(|| {
                sums[SUMS * channels * blocks.per_image() * block.image..][..SUMS * channels].split_at(channels)
            });
            vectorized(
                #[inline(always)]
                || recomputed.gradients(means, &mut dx, accumulate),
            );
        });
    }

    /// Sets the sums of the first block of each image to the means over all of its pixels, and writes the gradients of
    /// gain and bias, if there are any, which are the sums over all pixels. `sums` has [`SUMS`] numbers for each
    /// channel of each block.
    fn means<'a, T: Real, E: Stored<T>>(
        &self,
        context: &Context<'_, T>,
        blocks: Blocks,
        recomputed: &(impl Fn(Block) -> Recomputed<'a, T, E> + Sync),
        sums: &mut [T],
    ) {
        let [_, height, width, channels] = self.dy.shape;
        sums.par_chunks_mut(SUMS * channels).enumerate().for_each(|(index, sums)| {
            let recomputed = recomputed(blocks.get(index));
            let (sum_g_xhat, sum_g) = sums.split_at_mut(channels);
            vectorized(
                #[inline(always)]
                || recomputed.sums(sum_g_xhat, sum_g),
            );
        });
        let of_image = SUMS * channels * blocks.per_image();
        sums.par_chunks_mut(of_image).for_each(|sums| {
            let (total, others) = sums.split_at_mut(SUMS * channels);
            for sums in others.chunks(SUMS * channels) {
                total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
            }
        });
        let affine_sums = self.affine.map(|(_, sums)| [sums.dgain, sums.dbias]);
        for (tensor, first) in affine_sums.into_iter().flatten().zip([0, channels]) {
            let mut written = context.write(Access::Write(tensor));
            for (image, sums) in sums.chunks(of_image).enumerate() {
                written.pixel(image).copy_from_slice(&sums[first..first + channels]);
            }
        }
        let inv_n = T::from_f64(1.0 / (height * width) as f64);
        for sums in sums.chunks_mut(of_image) {
            sums[..SUMS * channels].iter_mut().for_each(|sum| *sum *= inv_n);
        }
    }
}
