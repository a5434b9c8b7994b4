//! Ten training steps against PyTorch's: every recipe at 64x64 and at 256x256 with dropout, the default one without
//! too, and variants of recipes at 64x64.
//!
//! PyTorch's f64 is what our f64 must reproduce, to the last digits: that is the sharp test. f32 strays. A ReLU whose
//! input is nearly zero falls on the other side, which changes gradients by 1e-3, or Adam's first step, the sign of the
//! gradient, goes the other way, and the norms over 2x2 maps amplify it. So the CPU's f32 may stray as far as PyTorch's
//! own f32 does.

use pixtape::gan::{Norm, PatchGan, Pix2Pix, PixelLoss, ReceptiveField, Recipe, UNet, term_values};
use serde::Deserialize;

use super::state::{self, CONTROL, Handles};
use crate::support::compare::largest;
use crate::support::machine::{Engine, Machine, arena};

#[derive(Deserialize)]
struct Traces {
    ngf: usize,
    ndf: usize,
    lambda_pixel: f64,
    lambda_feature: f64,
    row: Vec<String>,
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    seed: u64,
    parameter_scale: f64,
    traces: Vec<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    recipe: String,
    size: usize,
    depth: usize,
    dropout: f64,
    frozen: Vec<String>,
    /// By step, the values of the terms that the row names, or of the first of them.
    f64: Vec<Vec<f64>>,
    /// By step, the largest relative distance of PyTorch's f32 from its f64, in runs that sum in other orders or start
    /// from parameters moved by at most one unit in the last place.
    f32_spread: Vec<f64>,
    final_parameters: std::collections::BTreeMap<String, Final>,
}

/// A parameter tensor after the last step.
#[derive(Deserialize)]
struct Final {
    max_abs: f64,
    /// Indices of a few elements, in PyTorch's layout.
    indices: Vec<usize>,
    values: Vec<f64>,
    /// The largest distance of an element in f32 from the same in f64.
    f32_drift: f64,
}

fn traces() -> Traces {
    let traces: Traces = serde_json::from_str(include_str!("../fixtures/traces.json")).expect("the traces");
    let options = Pix2Pix::with_size(Recipe::PytorchGan, 64, traces.ngf, 0.0);
    assert_eq!((traces.lambda_pixel, traces.ndf), (options.lambda_pixel, traces.ngf));
    let adam = options.adam;
    assert_eq!([traces.beta1, traces.beta2, traces.eps], [adam.beta1, adam.beta2, adam.epsilon]);
    assert_eq!((traces.lr, traces.seed), (CONTROL.learning_rate, CONTROL.seed));
    assert_eq!(traces.parameter_scale, state::PARAMETER_SCALE);
    traces
}

/// The step of a recipe as the reference names it.
fn options(recipe: &str, size: usize, width: usize, dropout: f64, lambda_feature: f64) -> Pix2Pix {
    let small = |recipe| Pix2Pix::with_size(recipe, size, width, dropout);
    match recipe {
        "pytorch-gan" => small(Recipe::PytorchGan),
        "block-ck" => small(Recipe::BlockCk),
        "isola" => small(Recipe::Isola),
        "isola-affine" => {
            let Pix2Pix { generator, discriminator, .. } = small(Recipe::Isola);
            let norm = Norm::InstanceAffine;
            Pix2Pix {
                generator: UNet { norm, ..generator },
                discriminator: PatchGan { norm, ..discriminator },
                ..small(Recipe::Isola)
            }
        }
        "isola-scales" => {
            let isola = small(Recipe::Isola);
            let discriminator = PatchGan { receptive_field: ReceptiveField::R34, ..isola.discriminator };
            Pix2Pix { discriminator, scales: 3, lambda_feature, ..isola }
        }
        "pytorch-gan-scales" => {
            Pix2Pix { scales: 2, lambda_feature, pixel_loss: PixelLoss::Ssim, ..small(Recipe::PytorchGan) }
        }
        other => panic!("the traces have {other}, which has no options here"),
    }
}

/// Trains as the trace does: the losses by step, and the machine at the end.
fn train(trace: &Trace, traces: &Traces, engine: Engine) -> (Vec<Vec<f64>>, Box<dyn Machine>, Handles) {
    let options = options(&trace.recipe, trace.size, traces.ngf, trace.dropout, traces.lambda_feature);
    assert_eq!(options.generator.depth, trace.depth);
    let (program, handles) = state::record(&options);
    let mut machine = arena(engine, program, CONTROL);
    handles.load(&mut *machine);
    let rows = (0..trace.f64.len()).map(|step| {
        handles.write_pictures(&mut *machine, step);
        machine.execute();
        let values = term_values(&handles.terms, &machine.read(handles.losses));
        let value = |name: &String| Some(values[handles.terms.iter().position(|term| term.name == name)?]);
        traces.row.iter().filter_map(value).collect()
    });
    let rows = rows.collect();
    (rows, machine, handles)
}

/// The losses of a trace without feature matching: d, adv, pixel.
pub const USUAL_LOSSES: usize = 3;

/// The tolerance of f32 by step, relative to the loss, from the largest spread so far of any trace of the size with as
/// many losses: in which trace and at which step a ReLU flips is chance. Feature matching, an L1 of activations, adds
/// signs that flip: its traces have tolerances of their own.
///
/// The CPU strays as far as PyTorch does: where the same ReLU flips, both are as far off, to two digits. CUDA sums in
/// other orders, and may stray three times as far.
pub fn f32_tolerances(engine: Engine, size: usize, losses: usize) -> Vec<f64> {
    let traces = traces().traces;
    let is_alike = |trace: &&Trace| trace.size == size && trace.f64[0].len() == losses;
    let of_size: Vec<&Trace> = traces.iter().filter(is_alike).collect();
    let spreads = if engine == Engine::F32 { 1.02 } else { 3.0 };
    let mut largest = 0.0_f64;
    let tolerance = (0..10).map(|step| {
        largest = of_size.iter().map(|trace| trace.f32_spread[step]).fold(largest, f64::max);
        spreads * largest
    });
    tolerance.collect()
}

/// The tolerance of f64, at any step: its rounding, 1e-16, amplified as f32's is, from 6e-8 to 7e-4.
const F64_TOLERANCE: f64 = 1e-11;

pub fn check(size: usize, engines: &[Engine]) {
    let traces = traces();
    let of_size: Vec<&Trace> = traces.traces.iter().filter(|trace| trace.size == size).collect();
    assert!(of_size.iter().any(|t| t.dropout == 0.0) && of_size.iter().any(|t| t.dropout > 0.0), "both kinds of trace");
    for trace in of_size {
        assert_eq!(trace.f64.len(), 10);
        for &engine in engines {
            let tolerances = f32_tolerances(engine, size, trace.f64[0].len());
            let what = format!("{}, {size}, dropout {}, {engine:?}", trace.recipe, trace.dropout);
            let (rows, machine, handles) = train(trace, &traces, engine);
            for (step, (row, expected)) in rows.iter().zip(&trace.f64).enumerate() {
                let tolerance = if engine.is_f64() { F64_TOLERANCE } else { tolerances[step] };
                assert_eq!(row.len(), expected.len());
                for (loss, (a, e)) in traces.row.iter().zip(row.iter().zip(expected)) {
                    let off = ((a - e) / e).abs();
                    assert!(off <= tolerance, "{what}, step {step}: {loss} is {a}, not {e}: off by {off:e}");
                }
            }
            // At 256x256 f32 strays further in ten steps than most parameters move: only f64 can be held to anything
            // there.
            if engine == Engine::F64 || size == 64 {
                check_parameters(&what, engine, trace, &*machine, &handles);
            }
        }
    }
}

/// The parameters at the end of a trace.
fn check_parameters(what: &str, engine: Engine, trace: &Trace, machine: &dyn Machine, handles: &Handles) {
    let mut compared = 0;
    for (owner, parameters) in &handles.networks {
        for (index, spec) in parameters.specs.iter().enumerate() {
            let name = format!("{owner}.{}", spec.name);
            let expected = &trace.final_parameters[&name];
            let values = spec.to_torch(&machine.read(parameters.part(parameters.values, index)));
            let tolerance = match engine {
                // A frozen parameter stays where it was, on any engine; the fixture's JSON costs the last digit.
                _ if trace.frozen.contains(&name) => f64::EPSILON * expected.max_abs,
                Engine::F64 => 1e-11,
                // The first step of a weight whose gradient is nearly zero may go the other way.
                _ => 3.0 * expected.f32_drift + 2.0 * CONTROL.learning_rate,
            };
            let probes = expected.indices.iter().map(|&index| values[index]).zip(&expected.values);
            for (a, e) in probes.chain([(largest(&values), &expected.max_abs)]) {
                assert!((a - e).abs() <= tolerance, "{what}: {name} ends at {a}, not {e} (of {tolerance:e})");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, trace.final_parameters.len(), "{what}: parameter tensors");
}
