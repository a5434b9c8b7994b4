//! Parameters for a checkpoint, from the tensors of a foreign file.
//!
//! A batch norm that sees one image at a time, with its own mean and variance, is an instance norm with gain and bias.
//! Used with the statistics that it stored in training, it is a multiplication and an addition,
//! `y = g (x - m) / sqrt(v + eps) + b`, and so can be part of the convolution in front of it, whose output is `x`.

use anyhow::{Context, Result, bail, ensure};

use crate::checkpoint::TensorSpec;
use crate::engine::ops::norm_act::EPSILON;
use crate::gan::{Norm, ParameterSpec, UNet, Way};

/// Parameters by name and shape in a checkpoint, with their values, row-major.
type NamedTensors = Vec<(TensorSpec, Vec<f32>)>;

/// Returns a line about the mean and variance that the norms `norm` of an imported generator use: those stored in
/// training and now folded into the convolutions, if `running_stats` is true, else those of each image.
pub fn describe_norms(norm: Norm, running_stats: bool) -> &'static str {
    match (norm, running_stats) {
        (_, true) => "Norms: the statistics stored in training, folded into the convolutions",
        (Norm::InstanceAffine, _) => {
            "Norms: the statistics of each image, with gain and bias (what a batch norm does at batch 1)"
        }
        _ => "Norms: the statistics of each image",
    }
}

/// Reads the parameters of `unet` with the values that they have in the file, and returns them under their names in a
/// checkpoint, `generator.*`. `read` gets a parameter's name in PyTorch and returns its values, row-major in PyTorch's
/// shape, or `None` if the file lacks it.
///
/// # Errors
/// When the file lacks a parameter, or those of `read`.
pub fn unchanged(unet: UNet, mut read: impl FnMut(&str) -> Result<Option<Vec<f32>>>) -> Result<NamedTensors> {
    let take = |spec: ParameterSpec| {
        let values = read(&spec.name)?.with_context(|| format!("it lacks {}", spec.name))?;
        Ok(named(&spec, values))
    };
    unet.specs().into_iter().map(take).collect()
}

/// Folds the running mean and variance of `unet`'s batch norms into its convolutions. Returns the generator without
/// norms that computes the same, and its parameters under their names in a checkpoint. `read` gets the name of a tensor
/// in PyTorch and returns its values, row-major, or `None` if the file lacks it.
///
/// # Errors
/// When the file lacks a weight, or the running statistics of a norm; when a tensor has a wrong length; or those of
/// `read`.
pub fn folded(unet: UNet, mut read: impl FnMut(&str) -> Result<Option<Vec<f32>>>) -> Result<(UNet, NamedTensors)> {
    let without = UNet { norm: Norm::None, ..unet };
    let mut tensors = Vec::new();
    let mut specs = without.specs().into_iter();
    for (way, level) in unet.blocks() {
        let (Some(weight), Some(bias)) = (specs.next(), specs.next()) else {
            unreachable!("convolutions without a norm have both")
        };
        let channels = unet.channels(level);
        let mut values = read(&weight.name)?.with_context(|| format!("it lacks {}", weight.name))?;
        let mut constant = read(&bias.name)?.unwrap_or_else(|| vec![0.0; channels]);
        ensure!(constant.len() == channels, "it has {} values of {}, expected {channels}", constant.len(), bias.name);
        if unet.is_normed(way, level) {
            let norm = unet.norm_name(way, level);
            let mut part = |kind: &str| read(&format!("{norm}.{kind}"));
            let (Some(mean), Some(variance)) = (part("running_mean")?, part("running_var")?) else {
                bail!("it stores no statistics at {norm}: leave --running-stats out, its norms use each image's own");
            };
            let gain = part("weight")?.unwrap_or_else(|| vec![1.0; channels]);
            let offset = part("bias")?.unwrap_or_else(|| vec![0.0; channels]);
            for values in [&mean, &variance, &gain, &offset] {
                ensure!(
                    values.len() == channels,
                    "it has {} values per channel at {norm}, expected {channels}",
                    values.len()
                );
            }
            let scale = |c: usize| f64::from(gain[c]) / (f64::from(variance[c]) + EPSILON).sqrt();
            // [out, in, 4, 4] on the way down, [in, out, 4, 4] on the way up.
            let [_, inner, kh, kw] = weight.torch_shape()[..] else { unreachable!("a weight has four dimensions") };
            let each = match way {
                Way::Down => inner * kh * kw,
                Way::Up => kh * kw,
            };
            for (i, values) in values.chunks_exact_mut(each).enumerate() {
                let scale = scale(i % channels);
                values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
            for (c, value) in constant.iter_mut().enumerate() {
                *value = ((f64::from(*value) - f64::from(mean[c])) * scale(c) + f64::from(offset[c])) as f32;
            }
        }
        tensors.extend([named(&weight, values), named(&bias, constant)]);
    }
    for spec in specs {
        let values = read(&spec.name)?.with_context(|| format!("it lacks {}", spec.name))?;
        tensors.push(named(&spec, values));
    }
    Ok((without, tensors))
}

/// A parameter under the name that it has in a checkpoint.
fn named(spec: &ParameterSpec, values: Vec<f32>) -> (TensorSpec, Vec<f32>) {
    (TensorSpec { name: format!("generator.{}", spec.name), shape: spec.torch_shape() }, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::Recipe;

    #[test]
    fn a_bias_that_does_not_fit_is_named() {
        let unet = UNet { depth: 3, ngf: 2, norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) };
        let error = |at: &str, length: usize| {
            let read = |name: &str| {
                let spec = UNet { norm: Norm::None, ..unet }.specs().into_iter().find(|spec| spec.name == name);
                let count = if name == at { length } else { spec.map_or(4, |spec| spec.count()) };
                Ok(Some(vec![1.0; count]))
            };
            format!("{:#}", folded(unet, read).unwrap_err())
        };
        for (way, level) in [(Way::Down, 1), (Way::Down, 2), (Way::Up, 2)] {
            let name = format!("{}.bias", unet.conv_name(way, level));
            let expected = unet.channels(level);
            assert_eq!(error(&name, 1000), format!("it has 1000 values of {name}, expected {expected}"));
            assert_eq!(error(&name, 1), format!("it has 1 values of {name}, expected {expected}"));
        }
    }
}
