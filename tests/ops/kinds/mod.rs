//! The ops, a file each: what an op computes, the rows that test it, its expression in PyTorch, and its shapes in the
//! networks, which a bench times. Tests (`tests/ops`, `tests/cuda`) and `benches/ops.rs` go through [`KINDS`].
//!
//! To add an op: a file here, and its name in the line below. Test data has no file: tensor T of row NAME is
//! `values("NAME.T", shape, scale)` of `tools/reference/philox.py`, with shapes in PyTorch's layout (NCHW, OIHW; IOHW
//! for transposed convolutions) and scale 1, but 1/4 for parameters; `dy` is the upstream gradient. The expected
//! results are `tests/fixtures/ops.safetensors`: "NAME/y", "NAME/dx", "NAME/dw", …;
//! `tools/reference/make_op_fixtures.py` writes them from the same files.

use std::fmt::Debug;

use pixtape::engine::ops::copy::Upstream;
use pixtape::engine::ops::loss::Criterion;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::{Shape, Tensor};
use pixtape::gan::ParameterSpec;
use serde::de::DeserializeOwned;

macro_rules! kinds {
    (with rows: $($kind:ident),*; without: $($other:ident),*) => {
        $(pub mod $kind;)*
        $(pub mod $other;)*

        /// All ops.
        pub const KINDS: &[Kind] = &[
            $(Kind { name: stringify!($kind), ..$kind::KIND },)*
            $(Kind { name: stringify!($other), ..$other::KIND },)*
        ];

        /// Calls `$each!` with the names of all ops that have rows.
        #[allow(unused_macros, reason = "the tests on CUDA have a module for each")]
        macro_rules! for_each_kind {
            ($each:ident) => {
                $each!($($kind),*);
            };
        }
        #[allow(unused_imports, reason = "as above")]
        pub(crate) use for_each_kind;
    };
}

kinds!(with rows: activation, conv, loss, norm_act, pool, upsample; without: adam, copy);

/// One file's op.
pub struct Kind {
    pub name: &'static str,
    /// Python that computes a row's results with PyTorch, as `tools/reference/make_op_fixtures.py` runs it: fields of
    /// the row and n, c, h, w of x stand under their names; `parameter(name, shape)`, `given(name, shape)` and
    /// `leaf(tensor)` make tensors.
    pub pytorch: &'static str,
    /// The rows that test it; each has its own name.
    pub cases: fn() -> Vec<Case>,
    /// Its steps at the shapes of the networks.
    pub layers: fn() -> Vec<Layer>,
}

/// One row.
pub struct Case {
    pub name: String,
    pub op: Box<dyn Op>,
}

/// An op at the shapes of one row: its operands, its result, and its recording.
pub trait Op: Debug {
    /// Shape of the input image.
    fn x(&self) -> Shape;

    /// The input image's value where the one that is drawn for it is `drawn`.
    fn x_value(&self, drawn: f64) -> f64 {
        drawn
    }

    /// Weight or gain, and bias, by the names that the reference gives them.
    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    fn output(&self) -> Output<'_>;

    /// False if finite differences do not give the gradient.
    fn has_slope(&self) -> bool {
        true
    }
}

/// Records `y = op(x, parameters)`, given the tape, x, the parameters and y.
pub type Record<'a> = Box<dyn Fn(&mut Tape, Tensor, &[Tensor], Tensor) + 'a>;

/// The criterion of a loss. It is given a tensor of x's shape to compare with, where it asks for one.
pub type Compare<'a> = Box<dyn Fn(&mut dyn FnMut() -> Tensor) -> Criterion + 'a>;

/// The result of an op.
pub enum Output<'a> {
    /// An image of this shape.
    Image(Shape, Record<'a>),
    /// A loss of this weight.
    Loss(f64, Compare<'a>),
}

impl dyn Op + '_ {
    /// Shape of the output image; `None` for a loss.
    pub fn y(&self) -> Option<Shape> {
        match self.output() {
            Output::Image(shape, _) => Some(shape),
            Output::Loss(..) => None,
        }
    }
}

/// The rows of a table: a line of columns, then a line for each row, with values as TOML writes them, but strings bare,
/// and `-` for what is left out. Lines that begin with `#` say what the rows behind them are for.
pub fn rows<T: DeserializeOwned>(table: &str) -> Vec<(String, T)> {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let columns: Vec<&str> = lines.next().expect("a line of columns").split_whitespace().collect();
    let row = |line: &str| {
        let values: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(values.len(), columns.len(), "{line}");
        let bare =
            |value: &str| value.starts_with(|c: char| c.is_ascii_alphabetic()) && !["true", "false"].contains(&value);
        let fields = columns.iter().zip(&values).skip(1).filter(|(_, value)| **value != "-").map(|(column, value)| {
            if bare(value) { format!("{column} = \"{value}\"\n") } else { format!("{column} = {value}\n") }
        });
        let row = toml::from_str(&fields.collect::<String>()).unwrap_or_else(|error| panic!("{line}: {error}"));
        (values[0].to_owned(), row)
    };
    lines.map(row).collect()
}

/// The cases of a table whose rows are ops.
pub fn cases<T: Op + DeserializeOwned + 'static>(table: &str) -> Vec<Case> {
    rows::<T>(table).into_iter().map(|(name, op)| Case { name, op: Box::new(op) }).collect()
}

/// Steps of a network at their real shapes, to be timed.
pub struct Layer {
    /// The layer, the pass and the shapes.
    pub name: String,
    /// Names of the steps that are timed; others that `record` records run beside them, as in training.
    pub steps: Vec<&'static str>,
    pub record: Box<dyn Fn(&mut Recording)>,
}

impl Layer {
    pub fn new(name: impl Into<String>, steps: &[&'static str], record: impl Fn(&mut Recording) + 'static) -> Layer {
        Layer { name: name.into(), steps: steps.to_vec(), record: Box::new(record) }
    }
}

/// A program of a few steps over given tensors.
#[derive(Default)]
pub struct Recording {
    pub tape: Tape,
    /// Tensors to be filled with draws from a range.
    pub given: Vec<(Tensor, [f32; 2])>,
}

impl Recording {
    /// A tensor with values from `low` to `high`.
    pub fn given(&mut self, shape: Shape, range: [f32; 2]) -> Tensor {
        let tensor = self.tape.persistent(shape);
        self.given.push((tensor, range));
        tensor
    }

    pub fn image(&mut self, shape: Shape) -> Tensor {
        self.given(shape, [-1.0, 1.0])
    }

    pub fn weight(&mut self, shape: Shape) -> Tensor {
        self.given(shape, [-0.1, 0.1])
    }

    /// Records the gradients of `y` with respect to `wrt` for a given upstream gradient.
    pub fn differentiate(&mut self, y: Tensor, wrt: &[Tensor]) {
        let dy = self.image(y.shape);
        self.backward(&Upstream { y, dy }, wrt);
    }

    pub fn backward(&mut self, root: &dyn Root, wrt: &[Tensor]) {
        self.tape.backward(&[root], wrt).expect("one op can be differentiated");
    }
}

/// `1 image of 64x64x128`, for a layer's name.
pub fn describe([n, h, w, c]: Shape) -> String {
    let images = if n == 1 { String::new() } else { format!("{n} images of ") };
    format!("{images}{h}x{w}x{c}")
}
