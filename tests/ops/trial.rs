//! A case on a tape, ready to run: given values in, named results out, everything else NaN.
//!
//! Memory that may not be touched is watched as well: a framed trial puts every image into the middle of a wider and
//! longer buffer and every parameter between others, and after each run the frame must hold what it held before.

use std::collections::BTreeMap;

use pixtape::engine::access::Control;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::Loss;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::{Shape, Tensor};
use pixtape::gan::{ParameterSpec, Parameters};

use super::kinds::{Case, Output as Gives};
use crate::support::machine::{Engine, Execution, Machine};
use crate::support::values::{image_values, parameter_values};

/// The layout of a case's tensors on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Plain,
    /// Images are slices of larger buffers, parameters have neighbours, and nothing is aligned to more than an element.
    Framed,
    /// The same, with everything aligned to four elements.
    FramedQuads,
    /// The op is recorded twice over the same input, so that each input has two consumers.
    Twice,
    /// Only this image of the output has a gradient.
    OneImage(usize),
}

impl Layout {
    /// Channels before and behind those of a framed image; `None` if nothing is framed.
    fn frame(self) -> Option<[usize; 2]> {
        match self {
            Layout::Framed => Some([3, 2]),
            Layout::FramedQuads => Some([4, 4]),
            Layout::Plain | Layout::Twice | Layout::OneImage(_) => None,
        }
    }
}

/// By name as in the fixture: "y", "dx", "dw", "db", "value".
pub type Results = BTreeMap<String, Vec<f64>>;

/// Seed and step of the rows that draw.
pub const CONTROL: Control = Control { seed: 7, step: 3, learning_rate: 0.0 };

/// Scale of parameters; everything else has scale 1.
const PARAMETER_SCALE: f64 = 0.25;

/// The value around a framed tensor when its gradient is looked at.
const FRAME: f64 = 7.0;

struct Output {
    name: String,
    tensor: Tensor,
    frame: Vec<Tensor>,
    /// The values of the frame after a run.
    frame_value: f64,
}

pub struct Trial {
    machine: Box<dyn Machine>,
    execution: Execution,
    /// The inputs that have gradients, by name, and the tensors that feed them.
    pub inputs: Vec<(String, Tensor)>,
    outputs: Vec<Output>,
}

/// A tensor, and its surroundings in its buffer.
struct Framed {
    whole: Tensor,
    inner: Tensor,
    frame: Vec<Tensor>,
}

impl Framed {
    fn new(tape: &mut Tape, shape: Shape, layout: Layout) -> Framed {
        let [n, h, w, c] = shape;
        let whole = match layout.frame() {
            Some([before, behind]) => [n + 2, h, w, before + c + behind],
            None => shape,
        };
        Framed::within(tape.persistent(whole), shape, layout)
    }

    /// The tensor of `shape` in the buffer `whole`, which was made for it.
    fn within(whole: Tensor, [n, _, _, c]: Shape, layout: Layout) -> Framed {
        let Some([before, behind]) = layout.frame() else {
            return Framed { whole, inner: whole, frame: Vec::new() };
        };
        let images = whole.batch_slice(1..1 + n);
        let inner = images.channel_slice(before..before + c);
        let beside = [images.channel_slice(0..before), images.channel_slice(before + c..before + c + behind)];
        let frame = [whole.batch_slice(0..1), beside[0], beside[1], whole.batch_slice(n + 1..n + 2)];
        Framed { whole, inner, frame: frame.to_vec() }
    }
}

/// The tensors of a recording, besides the tape.
#[derive(Default)]
struct Notes {
    given: Vec<(Tensor, Vec<f64>)>,
    roots: Vec<Box<dyn Root>>,
    outputs: Vec<Output>,
}

impl Notes {
    fn give(&mut self, tensor: Tensor, values: Vec<f64>) {
        self.given.push((tensor, values));
    }

    /// An input image whose surroundings are NaN, so that a read beyond it shows.
    fn give_image(&mut self, tape: &mut Tape, shape: Shape, values: Vec<f64>, layout: Layout) -> Framed {
        let image = Framed::new(tape, shape, layout);
        self.give(image.whole, vec![f64::NAN; image.whole.count()]);
        self.give(image.inner, values);
        image
    }

    fn output(&mut self, name: impl Into<String>, image: &Framed, frame_value: f64) {
        self.outputs.push(Output { name: name.into(), tensor: image.inner, frame: image.frame.clone(), frame_value });
    }
}

/// Parameters that nothing uses, around each of `specs`.
fn with_neighbours(specs: &[ParameterSpec], layout: Layout) -> Vec<ParameterSpec> {
    let neighbour = |i: usize| {
        let elements = layout.frame().map(|[before, _]| if before % 4 == 0 { 4 * (1 + i) } else { before + i });
        elements.map(|elements| ParameterSpec::bias(format!("neighbour{i}"), elements))
    };
    let pairs = specs.iter().enumerate().flat_map(|(i, spec)| [neighbour(i), Some(spec.clone())]);
    pairs.chain([neighbour(specs.len())]).flatten().collect()
}

impl Trial {
    pub fn new(case: &Case, layout: Layout, engine: Engine, execution: Execution) -> Trial {
        let framed = layout.frame().is_some();
        let (op, name) = (&case.op, &case.name);
        let (mut tape, mut notes) = (Tape::new(), Notes::default());

        let mut values = image_values(&format!("{name}.x"), op.x(), 1.0);
        values.iter_mut().for_each(|x| *x = op.x_value(*x));
        let x = notes.give_image(&mut tape, op.x(), values, layout);
        let specs = op.parameters();
        let parameters = Parameters::new(&mut tape, with_neighbours(&specs, layout));
        let index = |wanted: &ParameterSpec| parameters.specs.iter().position(|spec| spec.name == wanted.name);
        let indices: Vec<usize> = specs.iter().filter_map(index).collect();
        let part = |flat: Tensor, index: usize| parameters.part(flat, index);
        for (spec, &index) in specs.iter().zip(&indices) {
            let values = parameter_values(&format!("{name}.{}", spec.name), spec, PARAMETER_SCALE);
            notes.give(part(parameters.values, index), values);
        }

        let weights: Vec<Tensor> = indices.iter().map(|&index| part(parameters.values, index)).collect();
        for consumer in 0..if layout == Layout::Twice { 2 } else { 1 } {
            notes.record_op(&mut tape, case, layout, &x, &weights, consumer);
        }
        for &part in &x.frame {
            let gradient = tape.persistent(part.shape);
            notes.give(gradient, vec![FRAME; gradient.count()]);
            notes.roots.push(Box::new(Upstream { y: part, dy: gradient }));
        }
        let roots: Vec<&dyn Root> = notes.roots.iter().map(|root| &**root).collect();
        let wrt = if specs.is_empty() { vec![x.whole] } else { vec![x.whole, parameters.values] };
        let gradients = tape.backward(&roots, &wrt).expect("the case can be differentiated");
        let dx = Framed::within(tape.persistent(x.whole.shape), op.x(), layout);
        copy(&mut tape, gradients[0], dx.whole);
        notes.output("dx", &dx, FRAME);
        for (spec, &index) in specs.iter().zip(&indices) {
            let neighbours = [index.wrapping_sub(1), index + 1].into_iter().filter(|_| framed);
            notes.outputs.push(Output {
                name: format!("d{}", spec.name),
                tensor: part(gradients[1], index),
                frame: neighbours.map(|index| part(gradients[1], index)).collect(),
                frame_value: f64::NAN,
            });
        }

        let mut inputs = vec![("x".to_owned(), x.inner)];
        inputs.extend(specs.iter().zip(weights).map(|(spec, tensor)| (spec.name.clone(), tensor)));
        let mut machine = execution.machine(engine, tape.finish(), CONTROL);
        notes.given.iter().for_each(|(tensor, values)| machine.write(*tensor, values));
        Trial { machine, execution, inputs, outputs: notes.outputs }
    }

    /// Sets an input for the runs to come.
    pub fn set(&mut self, input: Tensor, values: &[f64]) {
        self.machine.write(input, values);
    }

    /// Names of implementations that the row's steps could have instead.
    pub fn others(&self) -> Vec<&'static str> {
        self.machine.others()
    }

    pub fn get(&self, input: Tensor) -> Vec<f64> {
        self.machine.read(input)
    }

    pub fn run(&mut self) -> Results {
        for output in &self.outputs {
            self.machine.fill(output.tensor, f64::NAN);
            output.frame.iter().for_each(|&part| self.machine.fill(part, f64::NAN));
        }
        self.execution.run(&mut *self.machine);
        for output in &self.outputs {
            for x in output.frame.iter().flat_map(|&part| self.machine.read(part)) {
                let untouched = x == output.frame_value || (x.is_nan() && output.frame_value.is_nan());
                assert!(untouched, "{} was written outside of its slice: {x}", output.name);
            }
        }
        self.outputs.iter().map(|output| (output.name.clone(), self.machine.read(output.tensor))).collect()
    }
}

impl Notes {
    /// Records the op, where its output is seen and where its gradient starts.
    fn record_op(
        &mut self,
        tape: &mut Tape,
        case: &Case,
        layout: Layout,
        x: &Framed,
        weights: &[Tensor],
        consumer: usize,
    ) {
        let suffix = if consumer == 0 { "" } else { "_again" };
        let (shape, record) = match case.op.output() {
            Gives::Image(shape, record) => (shape, record),
            Gives::Loss(weight, criterion) => {
                let value = Framed::new(tape, [1, 1, 1, 1], layout);
                self.output(format!("value{suffix}"), &value, f64::NAN);
                let criterion = criterion(&mut || {
                    let values = image_values(&format!("{}.t", case.name), case.op.x(), 1.0);
                    self.give_image(tape, case.op.x(), values, layout).inner
                });
                self.roots.push(Box::new(Loss { x: x.inner, criterion, weight, value: value.inner }));
                return;
            }
        };
        let y = Framed::new(tape, shape, layout);
        self.output(format!("y{suffix}"), &y, f64::NAN);
        record(tape, x.inner, weights, y.inner);
        let dy = tape.persistent(shape);
        self.give(dy, image_values(&format!("{}.dy", case.name), shape, 1.0));
        let images = match layout {
            Layout::OneImage(image) => image..image + 1,
            _ => 0..shape[0],
        };
        let root = Upstream { y: y.inner.batch_slice(images.clone()), dy: dy.batch_slice(images) };
        self.roots.push(Box::new(root));
    }
}
