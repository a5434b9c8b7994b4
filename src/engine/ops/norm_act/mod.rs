//! Instance normalisation, activation and dropout in one step, in this order, each of them optional. The norm may be
//! followed by a gain and a bias of each channel: `y = dropout(act(gain * norm(x) + bias))`.
//!
//! Each channel of each image is normalised by its own mean and biased variance (Ulyanov et al., "Instance
//! Normalization", 2016), in training and in use alike. Dropout stores no mask: the bits are Philox of (seed, step,
//! pass, layer, element), so the backward pass draws the same ones again.

mod cpu;
mod cuda;
mod wide;

pub(super) use cpu::activated;

use std::sync::Arc;

use super::conv::{BiasGrad, Epilogue};
use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::{DType, Tensor};

/// Epsilon of the norm, added to the variance before its root is taken: PyTorch's default.
pub const EPSILON: f64 = 1e-5;

/// The activation function of [`norm_act`]: identity, ReLU, or leaky ReLU of slope 0.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    /// `max(x, 0.2 x)`.
    LeakyRelu,
    Relu,
}

impl Activation {
    /// The factor by which values that are not positive are multiplied; positive values are kept as they are.
    pub fn negative_slope(self) -> f64 {
        match self {
            Activation::Identity => 1.0,
            Activation::LeakyRelu => 0.2,
            Activation::Relu => 0.0,
        }
    }
}

/// Inverted dropout (Srivastava et al., 2014): each element is zeroed with `probability`, the others are multiplied by
/// `1 / (1 - probability)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    pub probability: f64,
    /// Number of this dropout layer in its network, in forward order.
    pub layer: u16,
    /// Number of this forward pass of the network within the training step.
    pub pass: u16,
    /// Index of this op's first image in the whole batch of the training step. Where that batch is computed in several
    /// smaller ones, these together draw what one large batch would have drawn.
    pub first_image: usize,
    /// True if image i of the batch draws what image 0 would draw i training steps later, instead of drawing by its
    /// index. An image's draws then depend on the step number alone, not on the batch that it is run in.
    pub by_step: bool,
}

impl Dropout {
    /// The counter word that keeps the draws of layers and passes apart.
    pub(crate) fn counter_word(self) -> u32 {
        u32::from(self.layer) | u32::from(self.pass) << 16
    }

    /// The threshold of the 32-bit draws: an element whose draw is below it is zeroed.
    pub(crate) fn threshold(self) -> u32 {
        (self.probability * 4_294_967_296.0).round().min(4_294_967_295.0) as u32
    }

    /// The factor of the elements that are kept, `1 / (1 - probability)`.
    pub(crate) fn scale(self) -> f64 {
        1.0 / (1.0 - self.probability)
    }
}

/// The parts of [`norm_act`] that are applied: the instance norm if `norm` is true, then the activation, then dropout
/// if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormAct {
    pub norm: bool,
    pub activation: Activation,
    pub dropout: Option<Dropout>,
}

impl NormAct {
    /// Index of the first image in the batch that dropout draws for.
    fn first_image(self) -> usize {
        self.dropout.map_or(0, |dropout| dropout.first_image)
    }

    /// The position of the draws of image `image`, an index in the whole batch, of `elements` elements an image: the
    /// number of training steps after the current one, and the index of the first element.
    fn drawn_at(self, image: usize, elements: usize) -> (u64, usize) {
        match self.dropout {
            Some(Dropout { by_step: true, .. }) => (image as u64, 0),
            _ => (0, image * elements),
        }
    }
}

/// Gain and bias of a norm, parameters of shape `[1, 1, 1, c]` each: `gain * norm(x) + bias`, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    pub gain: Tensor,
    pub bias: Tensor,
}

/// Records `y = dropout(activation(gain * norm(x) + bias))`, without the parts that `op` leaves out; `x` and `y` are
/// `[n, h, w, c]`. Without `affine` gain is 1 and bias 0.
///
/// # Panics
/// If the shapes do not fit together, `affine` is given without a norm, or a norm gets images of a single pixel.
pub fn norm_act(tape: &mut Tape, x: Tensor, y: Tensor, affine: Option<Affine>, op: NormAct) {
    assert_eq!(x.shape, y.shape, "norm_act keeps the shape");
    assert!(op.norm || affine.is_none(), "gain and bias belong to a norm");
    for parameter in affine.iter().flat_map(|affine| [affine.gain, affine.bias]) {
        assert_eq!(parameter.shape, [1, 1, 1, x.channels()], "shape of a gain or a bias");
    }
    assert!(
        !op.norm || x.shape[1] * x.shape[2] > 1,
        "a one-pixel map cannot be instance-normalised: it would be all zeros"
    );
    let mean_rstd = op.norm.then(|| tape.transient([x.shape[0], 1, 2, x.channels()]));
    tape.push(NormActForward { x, y, mean_rstd, affine, op, skip: None });
}

/// A second output of [`norm_act`], `activation(y)`, of the shape of `y`: what a skip connection carries that has an
/// activation of its own. Only a rewrite makes steps with one (`skip_in_norm_act`).
#[derive(Clone, Copy, Debug)]
struct Skip {
    activation: Activation,
    /// The output; in the backward pass its gradient.
    tensor: Tensor,
}

/// The step of the forward pass of [`norm_act`]: it writes `y`, of the shape of `x`, and with a norm for the backward
/// pass `mean_rstd`, `[n, 1, 2, c]`: the mean of each channel of each image, then `rstd = 1 / sqrt(variance +
/// EPSILON)`.
#[derive(Clone, Copy, Debug)]
pub struct NormActForward {
    x: Tensor,
    y: Tensor,
    mean_rstd: Option<Tensor>,
    affine: Option<Affine>,
    op: NormAct,
    skip: Option<Skip>,
}

/// The gradients of gain and bias by image, `[n, 1, 1, c]` each: sums over the pixels of one image.
#[derive(Clone, Copy, Debug)]
struct AffineSums {
    dgain: Tensor,
    dbias: Tensor,
}

/// The step of the backward pass of [`norm_act`]: it writes `dx` from `dy`, and with `affine` the gradients of gain and
/// bias for each image, `[n, 1, 1, c]`, which another step adds up over the images.
///
/// `dy` and `dx` may have more images than `x`: image i belongs to image `i % n` of the n of `x`. Only a rewrite makes
/// such a step, without affine and dropout ([`NormActGrad::batched`]).
#[derive(Clone, Copy, Debug)]
pub struct NormActGrad {
    /// The input of the forward pass; its output where there is no norm, which tells as well where the activation was
    /// positive.
    x: Tensor,
    dy: Tensor,
    mean_rstd: Option<Tensor>,
    dx: Destination,
    affine: Option<(Affine, AffineSums)>,
    op: NormAct,
    /// Index of the first image in the batch that dropout draws for.
    first_image: usize,
    skip: Option<Skip>,
}

/// The access to the control values that dropout needs.
fn control(op: NormAct) -> Option<Access> {
    op.dropout.map(|_| Access::ReadControl)
}

/// The accesses to gain and bias.
fn reads(affine: Option<Affine>) -> impl Iterator<Item = Access> {
    affine.into_iter().flat_map(|Affine { gain, bias }| [gain, bias].map(Access::Read))
}

impl Step for NormActForward {
    fn name(&self) -> &'static str {
        "norm_act"
    }

    fn accesses(&self) -> Vec<Access> {
        let more = self.mean_rstd.into_iter().chain(self.skip.map(|skip| skip.tensor)).map(Access::Write);
        let tensors = [Access::Read(self.x), Access::Write(self.y)].into_iter().chain(more);
        tensors.chain(reads(self.affine)).chain(control(self.op)).collect()
    }

    fn rule(&self) -> Option<&dyn Rule> {
        self.skip.is_none().then_some(self as &dyn Rule)
    }
}

impl NormActForward {
    /// The input.
    pub fn x(&self) -> Tensor {
        self.x
    }

    /// The output.
    pub fn y(&self) -> Tensor {
        self.y
    }

    /// The epilogue by which a convolution that writes the input writes the output instead; `None` if there is more to
    /// do than an activation.
    pub fn as_epilogue(&self) -> Option<Epilogue> {
        let is_activation = !self.op.norm && self.op.dropout.is_none() && self.skip.is_none();
        is_activation.then_some(Epilogue::Activation(self.op.activation))
    }

    /// Returns the step that does the work of this one and of `skip`, an activation of the output. `None` if `skip` is
    /// something else, or there is dropout: without it, the output is positive where the activation's input was.
    pub fn with_skip(&self, skip: &NormActForward) -> Option<NormActForward> {
        let is_activation = |step: &NormActForward| step.op.dropout.is_none() && step.skip.is_none();
        let joins = skip.x == self.y && !skip.op.norm && is_activation(skip) && is_activation(self);
        let skip = Skip { activation: skip.op.activation, tensor: skip.y };
        joins.then_some(NormActForward { skip: Some(skip), ..*self })
    }
}

impl Rule for NormActForward {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let x = backward.at(self.x);
        let mean_rstd = self.mean_rstd.map(|statistics| backward.at(statistics));
        let op = self.op;
        let first_image = op.first_image() + backward.first_image();
        let dx = backward.destination(x);
        let Some(affine) = self.affine else {
            if let Some(dx) = dx {
                let x = if op.norm { x } else { backward.at(self.y) };
                backward.push(NormActGrad { x, dy, mean_rstd, dx, affine: None, op, first_image, skip: None });
            }
            return;
        };
        let [gain, bias] = [affine.gain, affine.bias].map(|parameter| backward.destination(parameter));
        // One step computes all three gradients: where that of x is not wanted, it goes to a transient tensor that
        // nothing reads.
        let dx = dx.unwrap_or_else(|| Destination::overwrite(backward.transient(x.dtype(), x.shape)));
        let [dgain, dbias] = [(); 2].map(|()| backward.transient(DType::F32, [x.shape[0], 1, 1, x.channels()]));
        let sums = AffineSums { dgain, dbias };
        backward.push(NormActGrad { x, dy, mean_rstd, dx, affine: Some((affine, sums)), op, first_image, skip: None });
        // The sum over images has the form of a bias gradient: one pixel for each image.
        for (sums, parameter) in [(dgain, gain), (dbias, bias)] {
            if let Some(parameter) = parameter {
                backward.push(BiasGrad { dy: sums, dbias: parameter });
            }
        }
    }
}

impl Step for NormActGrad {
    fn name(&self) -> &'static str {
        "norm_act_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        let skip = self.skip.map(|skip| skip.tensor);
        let reads_of = [Some(self.x), Some(self.dy), self.mean_rstd, skip].into_iter().flatten().map(Access::Read);
        let tensors = reads_of.chain([self.dx.access()]);
        let sums = self.affine.iter().flat_map(|(_, sums)| [sums.dgain, sums.dbias].map(Access::Write));
        tensors.chain(reads(self.affine.map(|(affine, _)| affine))).chain(sums).chain(control(self.op)).collect()
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let NormActGrad { x, dy, mean_rstd, dx, affine, op, first_image, skip } = *self;
        let affine = affine.map(|(Affine { gain, bias }, AffineSums { dgain, dbias })| {
            let affine = Affine { gain: moved(gain), bias: moved(bias) };
            (affine, AffineSums { dgain: moved(dgain), dbias: moved(dbias) })
        });
        let (x, dy, mean_rstd) = (moved(x), moved(dy), mean_rstd.map(moved));
        let skip = skip.map(|Skip { activation, tensor }| Skip { activation, tensor: moved(tensor) });
        Some(Arc::new(NormActGrad { x, dy, mean_rstd, dx: dx.moved(moved), affine, op, first_image, skip }))
    }
}

impl NormActGrad {
    /// The gradient of the output.
    pub fn dy(&self) -> Tensor {
        self.dy
    }

    /// The gradient of the input.
    pub fn dx(&self) -> Destination {
        self.dx
    }

    /// The epilogue by which a convolution that writes `dy` writes the gradient of the input instead. `addend` is added
    /// to what it computes. `None` if there is more to do than an activation, or the gradient adds to its destination.
    pub fn as_epilogue(&self, addend: Option<Tensor>) -> Option<Epilogue> {
        let is_activation = !self.op.norm && self.op.dropout.is_none() && self.skip.is_none() && !self.dx.accumulates();
        is_activation.then_some(Epilogue::ActivationGrad { activation: self.op.activation, y: self.x, addend })
    }

    /// Returns the step that does the work of this one and of `skip`, the gradient of the second output of `forward`,
    /// which adds to the `dy` of this step. `None` if the two are not the gradients of `forward`.
    pub fn with_skip(&self, skip: &NormActGrad, forward: &NormActForward) -> Option<NormActGrad> {
        let of_skip = forward.skip?;
        let adds = skip.dx.tensor == self.dy && skip.dx.accumulates();
        let is_of_skip = !skip.op.norm && skip.x == of_skip.tensor && adds;
        let x = if self.op.norm { forward.x } else { forward.y };
        let is_of_forward = self.op == forward.op && self.x == x && self.mean_rstd == forward.mean_rstd;
        let joins = is_of_skip && is_of_forward && self.skip.is_none() && skip.skip.is_none();
        joins.then_some(NormActGrad { skip: Some(Skip { tensor: skip.dy, ..of_skip }), ..*self })
    }

    /// Returns the step that does the work of this one and of `more`, another gradient of the first images of the same
    /// activations: on `dy` and to `dx`, which have the images of this step, then those of `more`. `None` if `more` is
    /// of other activations, one of the two adds to its destination, or there is affine or dropout.
    pub fn batched(&self, more: &NormActGrad, dy: Tensor, dx: Tensor) -> Option<NormActGrad> {
        let first = 0..more.x.shape[0];
        let is_same = self.op == more.op
            && first.end <= self.x.shape[0]
            && self.x.batch_slice(first.clone()) == more.x
            && self.mean_rstd.map(|statistics| statistics.batch_slice(first)) == more.mean_rstd;
        let is_plain = [self, more]
            .into_iter()
            .all(|step| step.affine.is_none() && step.op.dropout.is_none() && step.skip.is_none())
            && ![self, more].into_iter().any(|step| step.dx.accumulates());
        (is_same && is_plain).then_some(NormActGrad { dy, dx: Destination::overwrite(dx), ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::access::Control;
    use crate::engine::device::cpu::{Cpu, with_threads};
    use crate::engine::ops::copy::Upstream;
    use crate::engine::philox::{Purpose, Stream};

    #[test]
    fn by_step_an_image_draws_the_same_in_whatever_batch_it_is_run() {
        // 15 elements an image: its draws do not begin with a whole counter when images are told apart by index.
        let drawn = |images: usize, step: u64, by_step: bool| {
            let mut tape = Tape::new();
            let [x, y] = [(); 2].map(|()| tape.persistent([images, 1, 5, 3]));
            let dropout = Some(Dropout { probability: 0.5, layer: 1, pass: 0, first_image: 0, by_step });
            norm_act(&mut tape, x, y, None, NormAct { norm: false, activation: Activation::Identity, dropout });
            let control = Control { seed: 9, step, learning_rate: 0.0 };
            let mut cpu = Cpu::<f32>::new(tape.finish(), control).expect("memory");
            cpu.write(x, &vec![1.0; x.count()]);
            cpu.execute();
            cpu.read(y)
        };
        let step = u64::from(u32::MAX) - 1;
        let batch = drawn(4, step, true);
        for (later, image) in batch.chunks_exact(15).enumerate() {
            assert_eq!(image, drawn(1, step + later as u64, true), "image {later}");
        }
        assert_eq!(batch[..15], drawn(1, step, false), "the first image draws the same either way");
        assert_ne!(batch, drawn(4, step, false));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads_or_images() {
        // Nine blocks of pixels of an image, the last one with fewer; channels that no vector divides.
        let (shape, channels) = ([3, 17, 31, 21], 21);
        let dropout = Some(Dropout { probability: 0.5, layer: 1, pass: 0, first_image: 0, by_step: false });
        let op = NormAct { norm: true, activation: Activation::LeakyRelu, dropout };
        let run = |threads: usize, images: usize| {
            let mut tape = Tape::new();
            let batch = |tape: &mut Tape| tape.persistent([images, shape[1], shape[2], channels]);
            let [x, y, dy] = std::array::from_fn(|_| batch(&mut tape));
            let (parameters, parameter_gradients) = tape.parameters(2 * channels);
            let [gain, bias] = [0, channels].map(|first| parameters.channel_slice(first..first + channels));
            norm_act(&mut tape, x, y, Some(Affine { gain, bias }), op);
            let gradients =
                tape.backward(&[&Upstream { y, dy }], &[x, gain, bias]).expect("one op can be differentiated");
            let control = Control { seed: 9, step: 0, learning_rate: 0.0 };
            let mut cpu = Cpu::<f32>::new(tape.finish(), control).expect("memory");
            for (index, tensor) in [x, dy, parameters].into_iter().enumerate() {
                let mut stream = Stream::new(1, Purpose::Init, index as u64);
                let values: Vec<f32> = (0..tensor.count()).map(|_| stream.range(-1.0, 1.0)).collect();
                cpu.write(tensor, &values);
            }
            with_threads(threads, || cpu.execute()).expect("threads");
            let image = channels * shape[1] * shape[2];
            [(y, image), (gradients[0], image), (parameter_gradients, 2 * channels)].map(|(tensor, count)| {
                cpu.read(tensor)[..count].iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
            })
        };
        let expected = run(1, 3);
        for threads in [2, 3] {
            assert!(run(threads, 3) == expected, "{threads} threads");
        }
        assert!(run(2, 1)[..2] == expected[..2], "the first image alone");
    }
}
