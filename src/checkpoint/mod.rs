//! The state of a training run as one safetensors file.
//!
//! Whenever the process is killed, the newest file with a checkpoint's name is complete. A checkpoint is written under
//! a name that marks it unfinished, forced to the disk, and only then renamed.
//!
//! Weights stand under PyTorch's names and layouts, so any safetensors reader can use them. Tensors are written and
//! read one at a time: a full-size checkpoint (686 MB) is never in memory as a whole. Everything else stands in the
//! header's `__metadata__`, as strings, under the keys that [`About`] and [`RunState`] list.

mod folder;
pub(crate) mod foreign;
mod meta;
mod read;
mod state;
mod write;

pub(crate) use folder::is_checkpoint;
pub use folder::{latest, names, resolve, save_best, save_to_run};
pub use meta::{About, FORMAT_VERSION, Origin, RunState};
pub use read::Reader;
pub(crate) use read::read_header;
pub use state::NamedBuffer;
pub use write::{Tensors, save, save_weights};

/// Name and shape of an f32 tensor in a file, as PyTorch has them, such as `generator.down1.model.0.weight` with the
/// shape `[64, 3, 4, 4]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
}

#[cfg(test)]
mod fixture {
    use super::{RunState, TensorSpec, Tensors};
    use crate::config::TrainOptions;
    use crate::metrics::{Metrics, Validation};

    /// Two small tensors whose values include everything f32 has to offer.
    pub struct TwoTensors;

    pub fn values(index: usize) -> Vec<f32> {
        let signalling_nan = f32::from_bits(0x7f80_1234);
        match index {
            0 => vec![1.0, -0.0, f32::NAN, signalling_nan, f32::INFINITY, f32::MIN_POSITIVE / 2.0],
            _ => (0..20_000).map(|n| n as f32 / 3.0).collect(),
        }
    }

    impl Tensors for TwoTensors {
        fn specs(&self) -> Vec<TensorSpec> {
            let spec = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), shape: shape.to_vec() };
            vec![spec("generator.b.weight", &[2, 3]), spec("generator.a.weight", &[100, 50, 4])]
        }

        fn read(&self, index: usize) -> anyhow::Result<Vec<f32>> {
            Ok(values(index))
        }
    }

    pub fn meta(step: u64) -> RunState {
        let config = TrainOptions { epochs: Some(3), ..Default::default() }.resolve().unwrap();
        let mean = |psnr| Metrics { l1: 1.0 / 3.0, psnr, ssim: -0.125 };
        let history = [(1, mean(0.1)), (2, mean(f64::INFINITY))];
        RunState {
            step,
            epoch: 2,
            step_in_epoch: 17,
            seed: u64::MAX,
            data_fingerprint: 0xfeed_beef_dead_cafe,
            history: history.map(|(epoch, mean)| Validation { epoch, step: epoch * 100, mean }).into(),
            config,
        }
    }

    pub fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }
}
