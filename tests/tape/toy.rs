//! Two networks of two layers each, and the halves of a training step over them, to be put together in any order.

use pixtape::engine::access::Control;
use pixtape::engine::ops::activation::tanh;
use pixtape::engine::ops::adam::AdamOptions;
use pixtape::engine::ops::conv::{Geometry, conv, conv_transpose};
use pixtape::engine::ops::copy::copy;
use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::ops::norm_act::{Activation, Dropout, NormAct, norm_act};
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{Shape, Tensor};
use pixtape::gan::{ParameterSpec, Parameters};

use crate::support::machine::{Engine, Machine, checked};
use crate::support::values::image_values;

pub const CONTROL: Control = Control { seed: 5, step: 0, learning_rate: 1e-2 };
const ADAM: AdamOptions = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
const HEAD: Geometry = Geometry { kernel: [3, 3], stride: 1, dilation: 1, pad: [1, 1] };
const PICTURE: Shape = [2, 8, 6, 3];
const PIXEL_WEIGHT: f64 = 10.0;

pub struct Toy {
    pub tape: Tape,
    pub generator: Parameters,
    pub discriminator: Parameters,
    input: Tensor,
    target: Tensor,
    /// adv, pixel, real, fake.
    pub losses: Tensor,
}

impl Toy {
    pub fn new() -> Toy {
        let mut tape = Tape::new();
        let generator = vec![
            ParameterSpec::weight("down", 4, 4, 3),
            ParameterSpec::weight("up", 4, 4, 3),
            ParameterSpec::bias("bias", 3),
        ];
        let discriminator = vec![
            ParameterSpec::weight("down", 4, 4, 6),
            ParameterSpec::bias("bias", 4),
            ParameterSpec::weight("head", 1, 3, 4),
        ];
        Toy {
            generator: Parameters::new(&mut tape, generator),
            discriminator: Parameters::new(&mut tape, discriminator),
            input: tape.persistent(PICTURE),
            target: tape.persistent(PICTURE),
            losses: tape.persistent([1, 1, 1, 4]),
            tape,
        }
    }

    /// Records G's forward pass; it drops out, so each `pass` makes another picture.
    pub fn fake(&mut self, pass: u16) -> Tensor {
        let [n, h, w, c] = PICTURE;
        let (tape, parameters) = (&mut self.tape, &self.generator);
        let weight = |index| parameters.part(parameters.values, index);
        let half = [n, h / 2, w / 2, 4];
        let [hidden, out] = [tape.transient(half), tape.transient(half)];
        conv(tape, self.input, weight(0), None, hidden, Geometry::HALVING);
        let dropout = Some(Dropout { probability: 0.5, layer: 0, pass, first_image: 0, by_step: false });
        norm_act(tape, hidden, out, None, NormAct { norm: true, activation: Activation::LeakyRelu, dropout });
        let [last, fake] = [tape.transient([n, h, w, c]), tape.transient(PICTURE)];
        conv_transpose(tape, out, weight(1), Some(weight(2)), last, Geometry::HALVING);
        tanh(tape, last, fake);
        fake
    }

    pub fn target(&self) -> Tensor {
        self.target
    }

    /// Records D on a picture, and returns its map.
    pub fn discriminate(&mut self, picture: Tensor) -> Tensor {
        let [n, h, w, c] = PICTURE;
        let (tape, parameters) = (&mut self.tape, &self.discriminator);
        let weight = |index| parameters.part(parameters.values, index);
        let pair = tape.transient([n, h, w, 2 * c]);
        copy(tape, picture, pair.channel_slice(0..c));
        copy(tape, self.input, pair.channel_slice(c..2 * c));
        let half = [n, h / 2, w / 2, 4];
        let [hidden, out] = [tape.transient(half), tape.transient(half)];
        conv(tape, pair, weight(0), Some(weight(1)), hidden, Geometry::HALVING);
        norm_act(tape, hidden, out, None, NormAct { norm: false, activation: Activation::LeakyRelu, dropout: None });
        let map = tape.transient([n, h / 2, w / 2, 1]);
        conv(tape, out, weight(2), None, map, HEAD);
        map
    }

    fn loss(&self, x: Tensor, criterion: Criterion, weight: f64, index: usize) -> Loss {
        Loss { x, criterion, weight, value: self.losses.channel_slice(index..index + 1) }
    }

    /// Records G's losses and gradients: the adversarial loss of D's map, and the picture's distance to the target.
    pub fn generator_gradients(&mut self, fake: Tensor, map: Tensor) -> anyhow::Result<()> {
        let fooled = self.loss(map, Criterion::Mse { target: 1.0 }, 1.0, 0);
        let pixel = self.loss(fake, Criterion::L1 { target: self.target }, PIXEL_WEIGHT, 1);
        self.tape.backward(&[&fooled, &pixel], &[self.generator.values]).map(drop)
    }

    /// Records D's losses and gradients.
    pub fn discriminator_gradients(&mut self, on_real: Tensor, on_fake: Tensor) -> anyhow::Result<()> {
        let real = self.loss(on_real, Criterion::Mse { target: 1.0 }, 0.5, 2);
        let fake = self.loss(on_fake, Criterion::Mse { target: 0.0 }, 0.5, 3);
        self.tape.backward(&[&real, &fake], &[self.discriminator.values]).map(drop)
    }

    pub fn update_generator(&mut self) {
        self.generator.update(&mut self.tape, ADAM);
    }

    pub fn update_discriminator(&mut self) {
        self.discriminator.update(&mut self.tape, ADAM);
    }

    /// Ends the recording: the program in a machine, in the initial state, every gradient and loss NaN.
    pub fn start(self, engine: Engine) -> Started {
        let Toy { tape, generator, discriminator, input, target, losses } = self;
        let mut machine = checked(engine, tape.finish(), CONTROL);
        for (owner, parameters) in [("toy.g", &generator), ("toy.d", &discriminator)] {
            machine.write_parameters(owner, parameters, 0.25);
            machine.fill(parameters.gradients, f64::NAN);
        }
        machine.write(input, &image_values("toy.input", PICTURE, 1.0));
        machine.write(target, &image_values("toy.target", PICTURE, 1.0));
        machine.fill(losses, f64::NAN);
        Started { machine, generator, discriminator, losses }
    }
}

pub struct Started {
    pub machine: Box<dyn Machine>,
    pub generator: Parameters,
    pub discriminator: Parameters,
    losses: Tensor,
}

impl Started {
    pub fn run(&mut self, seed: u64) {
        self.machine.execute_checked(seed);
    }

    pub fn read(&self, tensor: Tensor) -> Vec<f64> {
        self.machine.read(tensor)
    }

    /// adv, pixel, real, fake.
    pub fn losses(&self) -> Vec<f64> {
        self.machine.read(self.losses)
    }

    /// The objective of the generator.
    pub fn generator_objective(&self) -> f64 {
        let losses = self.losses();
        losses[0] + PIXEL_WEIGHT * losses[1]
    }

    /// The objective of the discriminator.
    pub fn discriminator_objective(&self) -> f64 {
        let losses = self.losses();
        0.5 * (losses[2] + losses[3])
    }
}
