//! Recognition of the generator in a file, by the names and shapes of its tensors.
//!
//! Each published implementation has a tensor that no other has. From there ngf, channels and depth can be counted.
//! The rest (norm, last layer, skip connections) is tried: the description whose list of parameters agrees with the
//! file is the right one.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::torch::{StateDict, TorchTensor};
use crate::base::words::shortened;
use crate::gan::{GeneratorKind, LastLayer, Norm, Recipe, UNet, Way};

/// Maximum number of prefixes in front of the names of a network, such as `module.`, `_orig_mod.` or `netG.`, which
/// modules that wrap a module add.
const MOST_PREFIXES: usize = 3;

/// Maximum number of problems or names that an error lists.
const LISTED: usize = 4;

/// A generator that was recognised in a file: its architecture, and the dictionary and prefix under which its tensors
/// are.
#[derive(Debug)]
pub struct FoundGenerator<'a> {
    pub unet: UNet,
    pub dict: &'a StateDict,
    /// The prefix of its tensors in `dict`, such as `module.`; empty if there is none.
    pub prefix: String,
}

/// Recognises the first generator among the state dicts of a file. With `running_stats`, its norms are to be folded
/// into the convolutions, so each of these may have a bias. Without, the bias of a convolution in front of a norm is
/// ignored, as the norm cancels it, and that of another one is refused if the generator has batch norms.
///
/// # Errors
/// When there is no generator (the error says what the file holds instead), or it has none of the published
/// architectures.
pub fn generator(dicts: &[StateDict], running_stats: bool) -> Result<FoundGenerator<'_>> {
    let networks = Networks::find(dicts);
    if let Some(Start { dict, prefix, recipe }) = networks.generators.into_iter().next() {
        let unet = describe(&dict.under(&prefix), recipe, running_stats)?;
        return Ok(FoundGenerator { unet, dict, prefix });
    }
    ensure!(
        networks.discriminators.is_empty(),
        "it holds a discriminator and no generator: give the file of the generator (*_net_G.pth, or what export writes \
         without --network discriminator)"
    );
    let names: Vec<_> =
        dicts.iter().flat_map(|dict| dict.tensors.keys()).take(LISTED).map(|name| shortened(name)).collect();
    ensure!(!names.is_empty(), "it holds no tensors of real numbers");
    bail!(
        "it holds no generator that pixtape knows: looked for down1.model.0.weight (GeneratorUNet), \
         down_1_C64.model.0.weight (BlockCK) or model.model.0.weight (the authors' unet_256 and unet_128); its first \
         names are {}",
        names.join(", ")
    );
}

/// Finds the generator `unet` in a file of `export`, which writes the names of tensors without a prefix. Returns `None`
/// if there is no generator without a prefix. `running_stats` says which biases are allowed, see [`generator`].
///
/// # Errors
/// When there is one, but the names or shapes of its tensors are not those of `unet`.
pub fn exported(dicts: &[StateDict], unet: UNet, running_stats: bool) -> Result<Option<FoundGenerator<'_>>> {
    let networks = Networks::find(dicts);
    let Some(Start { dict, .. }) = networks.generators.iter().find(|start| start.prefix.is_empty()) else {
        return Ok(None);
    };
    let problems = problems(unet, &dict.under(""), running_stats);
    ensure!(problems.is_empty(), "its generator is not that of its header: it {}", listed(&problems));
    Ok(Some(FoundGenerator { unet, dict, prefix: String::new() }))
}

/// True if there is a generator among the state dicts of a file, even one that is refused by [`generator`].
pub fn has_generator(dicts: &[StateDict]) -> bool {
    !Networks::find(dicts).generators.is_empty()
}

/// Returns the tensors of the first discriminator in the state dicts of a file, without stored statistics of batch
/// norms, each with its name in this program and its name in the file. The list is empty if there is no discriminator.
pub fn discriminator(dicts: &[StateDict]) -> Vec<(String, String, &TorchTensor)> {
    let Some((dict, prefix)) = Networks::find(dicts).discriminators.into_iter().next() else { return Vec::new() };
    let stored = [".running_mean", ".running_var", ".num_batches_tracked"];
    let tensors = dict.under(&prefix).into_iter().filter(|(name, _)| !stored.iter().any(|end| name.ends_with(end)));
    tensors.map(|(name, tensor)| (name.to_owned(), format!("{prefix}{name}"), tensor)).collect()
}

impl StateDict {
    /// The tensors whose names begin with `prefix`, by their names without it.
    fn under<'a>(&'a self, prefix: &str) -> BTreeMap<&'a str, &'a TorchTensor> {
        let from = self.tensors.range(prefix.to_owned()..);
        from.map_while(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor))).collect()
    }
}

impl<'a> FoundGenerator<'a> {
    /// Returns the tensor of the generator's parameter `name`, which is its name in PyTorch without a prefix, and the
    /// tensor's name in the file. `None` if the file lacks it.
    pub fn tensor(&self, name: &str) -> Option<(String, &'a TorchTensor)> {
        let names = [Some(name.to_owned()), other_name(name)];
        names.into_iter().flatten().find_map(|name| {
            let name = format!("{}{name}", self.prefix);
            let tensor = self.dict.tensors.get(&name)?;
            Some((name, tensor))
        })
    }

    /// Returns recipe, channels, ngf, depth and prefix as a phrase:
    /// `generator of isola, 3 to 3 channels, ngf 64, depth 8, found under netG`.
    pub fn describe(&self) -> String {
        let UNet { recipe, in_channels, out_channels, ngf, depth, .. } = self.unet;
        let recipe = match recipe {
            Recipe::PytorchGan => "pytorch-gan",
            Recipe::BlockCk => "block-ck",
            Recipe::Isola => "isola",
        };
        let (outer, inner) = (shortened(&self.dict.path), shortened(&self.prefix));
        let location = match (&*outer, &*inner) {
            ("", "") => String::new(),
            ("", inner) | (inner, "") => format!(", found under {}", inner.trim_end_matches('.')),
            (outer, inner) => format!(", found under {outer}.{}", inner.trim_end_matches('.')),
        };
        format!(
            "generator of {recipe}, {in_channels} to {out_channels} channels, ngf {ngf}, depth \
             {depth}{location}"
        )
    }
}

/// A generator in a dictionary: the prefix of its names, and its recipe.
struct Start<'a> {
    dict: &'a StateDict,
    prefix: String,
    recipe: Recipe,
}

#[derive(Default)]
struct Networks<'a> {
    generators: Vec<Start<'a>>,
    /// Dictionary and prefix of each discriminator.
    discriminators: Vec<(&'a StateDict, String)>,
}

impl<'a> Networks<'a> {
    fn find(dicts: &'a [StateDict]) -> Networks<'a> {
        let mut networks = Networks::default();
        dicts.iter().for_each(|dict| networks.look(dict, "", 0));
        networks
    }

    /// Adds the networks among the tensors whose names begin with `prefix`, also behind longer prefixes.
    fn look(&mut self, dict: &'a StateDict, prefix: &str, prefixes: usize) {
        let tensors = dict.under(prefix);
        if let Some(recipe) = recipe(&tensors) {
            self.generators.push(Start { dict, prefix: prefix.to_owned(), recipe });
        } else if tensors.contains_key("model.0.weight") || tensors.contains_key("net.0.weight") {
            self.discriminators.push((dict, prefix.to_owned()));
        } else if prefixes < MOST_PREFIXES {
            let mut last = "";
            for name in tensors.keys() {
                if let Some((first, _)) = name.split_once('.').filter(|(first, _)| *first != last) {
                    last = first;
                    self.look(dict, &format!("{prefix}{first}."), prefixes + 1);
                }
            }
        }
    }
}

/// The recipe whose first convolution is among the tensors.
fn recipe(tensors: &BTreeMap<&str, &TorchTensor>) -> Option<Recipe> {
    first_convolution(tensors).map(|(recipe, _)| recipe)
}

fn first_convolution<'a>(tensors: &BTreeMap<&'a str, &'a TorchTensor>) -> Option<(Recipe, &'a TorchTensor)> {
    tensors.iter().find_map(|(name, tensor)| {
        let recipe = match *name {
            "down1.model.0.weight" => Recipe::PytorchGan,
            "model.model.0.weight" => Recipe::Isola,
            _ => {
                let width = name.strip_prefix("down_1_C")?.strip_suffix(".model.0.weight")?;
                width.parse::<usize>().ok()?;
                Recipe::BlockCk
            }
        };
        Some((recipe, *tensor))
    })
}

/// The name of a parameter in copies of GeneratorUNet that end in a transposed convolution.
fn other_name(name: &str) -> Option<String> {
    Some(format!("final.0.{}", name.strip_prefix("final.2.")?))
}

/// The generator that the tensors are the parameters of.
fn describe(tensors: &BTreeMap<&str, &TorchTensor>, recipe: Recipe, running_stats: bool) -> Result<UNet> {
    let published = UNet::published(recipe);
    let shape = first_convolution(tensors).map(|(_, tensor)| tensor.shape.as_slice());
    let Some(&[ngf, in_channels, 4, 4]) = shape else {
        bail!("the first convolution of its generator is not 4x4");
    };
    let last = format!("{}.bias", published.last_name());
    let last = tensors.get(last.as_str()).or_else(|| tensors.get(other_name(&last)?.as_str()));
    let Some([out_channels]) = last.map(|bias| &bias.shape[..]) else {
        bail!("its generator has no last convolution called {}, or that has no bias", published.last_name());
    };
    let counted = UNet { ngf, in_channels, out_channels: *out_channels, depth: 2, ..published };
    counted.validate()?;
    let has_level =
        |level: &usize| tensors.contains_key(format!("{}.weight", counted.conv_name(Way::Down, *level)).as_str());
    let counted = UNet { depth: (1..=MOST_LEVELS).take_while(has_level).count(), ..counted };
    counted.validate()?;

    let best =
        variants(counted).map(|unet| (problems(unet, tensors, running_stats), unet)).min_by_key(|(list, _)| list.len());
    let Some((problems, unet)) = best else { bail!("it holds no generator") };
    if problems.is_empty() {
        return Ok(unet);
    }
    bail!("its generator begins like one of ngf {ngf} and depth {}, but {}", unet.depth, listed(&problems));
}

/// The first of several problems.
fn listed(problems: &[String]) -> String {
    let more = if problems.len() > LISTED { ", and more" } else { "" };
    format!("{}{more}", problems[..problems.len().min(LISTED)].join(", "))
}

/// One more than any generator may have, so that a deeper one is refused for its depth.
const MOST_LEVELS: usize = 13;

/// The generators that have the names and counts of `unet`, the published choices first.
fn variants(unet: UNet) -> impl Iterator<Item = UNet> {
    let last_layers = match unet.last_layer {
        LastLayer::Resize => [LastLayer::Resize, LastLayer::Transposed],
        LastLayer::Transposed => [LastLayer::Transposed, LastLayer::Resize],
    };
    // Biases everywhere could be those of a generator without norms, but no published one is without.
    [Norm::Instance, Norm::InstanceAffine].into_iter().flat_map(move |norm| {
        last_layers.into_iter().flat_map(move |last_layer| {
            [GeneratorKind::Unet, GeneratorKind::EncoderDecoder].into_iter().map(move |kind| UNet {
                norm,
                last_layer,
                kind,
                ..unet
            })
        })
    })
}

/// Differences between the tensors and the parameters of `unet`.
fn problems(unet: UNet, tensors: &BTreeMap<&str, &TorchTensor>, running_stats: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut unexplained = tensors.clone();
    for spec in unet.specs() {
        let expected = spec.torch_shape();
        let tensor =
            unexplained.remove(spec.name.as_str()).or_else(|| unexplained.remove(other_name(&spec.name)?.as_str()));
        match tensor {
            None => problems.push(format!("lacks {} of shape {expected:?}", spec.name)),
            Some(tensor) if tensor.shape != expected => {
                problems.push(format!("has {} of shape {:?}, expected {expected:?}", spec.name, tensor.shape));
            }
            Some(_) => {}
        }
    }
    for (way, level) in unet.blocks() {
        if unet.is_normed(way, level) {
            for kind in ["running_mean", "running_var", "num_batches_tracked"] {
                unexplained.remove(format!("{}.{kind}", unet.norm_name(way, level)).as_str());
            }
        }
        let bias = format!("{}.bias", unet.conv_name(way, level));
        if running_stats || (unet.is_normed(way, level) && unet.norm.cancels_bias()) {
            // The bias is folded, or cancelled by the norm behind it.
            unexplained.remove(bias.as_str());
        } else if unet.norm.is_affine() && unexplained.remove(bias.as_str()).is_some() {
            problems.push(format!("has {bias} beside a batch norm, which only --running-stats can take"));
        }
    }
    let unexplained = unexplained.keys().map(|name| shortened(name));
    problems.extend(unexplained.map(|name| format!("has {name}, which such a generator does not have")));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::ParameterSpec;

    fn dict(unet: UNet, prefix: &str) -> StateDict {
        let named =
            |spec: ParameterSpec| (format!("{prefix}{}", spec.name), TorchTensor::with_shape(spec.torch_shape()));
        StateDict { path: String::new(), tensors: unet.specs().into_iter().map(named).collect() }
    }

    fn error(dict: StateDict) -> String {
        format!("{:#}", generator(&[dict], false).unwrap_err())
    }

    #[test]
    fn every_published_generator_is_recognised_at_every_size() {
        for recipe in [Recipe::PytorchGan, Recipe::BlockCk, Recipe::Isola] {
            for norm in [Norm::Instance, Norm::InstanceAffine] {
                for depth in [2, 5, 7, 8, 12] {
                    for kind in [GeneratorKind::Unet, GeneratorKind::EncoderDecoder] {
                        for last_layer in [LastLayer::Resize, LastLayer::Transposed] {
                            let unet = UNet {
                                norm,
                                depth,
                                kind,
                                last_layer,
                                in_channels: 1,
                                ngf: 24,
                                ..UNet::published(recipe)
                            };
                            for prefix in ["", "module.", "_orig_mod.module.", "netG."] {
                                let dicts = [dict(unet, prefix)];
                                let found = generator(&dicts, false).unwrap();
                                assert_eq!((found.unet, found.prefix.as_str()), (unet, prefix));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_generator_is_found_beside_other_networks() {
        let unet = UNet { depth: 5, ..UNet::published(Recipe::Isola) };
        let mut both = dict(unet, "netG.module.");
        let discriminator = TorchTensor::with_shape(vec![64, 6, 4, 4]);
        both.tensors.insert("discriminator.model.0.weight".into(), discriminator.clone());
        assert_eq!(generator(&[both], false).unwrap().prefix, "netG.module.");
        let alone = StateDict { path: "d".into(), tensors: [("module.model.0.weight".into(), discriminator)].into() };
        assert!(error(alone).contains("a discriminator and no generator"));
    }

    #[test]
    fn other_networks_are_refused_with_what_they_have() {
        let other = [("conv1.weight", vec![64, 3, 7, 7]), ("fc.bias", vec![10])];
        let tensors = other.map(|(name, shape)| (name.to_owned(), TorchTensor::with_shape(shape)));
        let error_of = error(StateDict { path: String::new(), tensors: tensors.into() });
        assert!(error_of.contains("looked for down1.model.0.weight"), "{error_of}");
        assert!(error_of.ends_with("its first names are conv1.weight, fc.bias"), "{error_of}");

        let unet = UNet { depth: 5, ..UNet::published(Recipe::PytorchGan) };
        let mut lacking = dict(unet, "");
        lacking.tensors.remove("up2.model.0.weight");
        assert!(error(lacking).contains("lacks up2.model.0.weight of shape [1024, 256, 4, 4]"));
        let mut more = dict(unet, "");
        more.tensors.insert("attention.weight".into(), TorchTensor::with_shape(vec![4]));
        assert!(error(more).contains("has attention.weight, which such a generator does not have"));
        let mut wide = dict(unet, "");
        wide.tensors.insert("down1.model.0.weight".into(), TorchTensor::with_shape(vec![1 << 60, 3, 4, 4]));
        assert!(error(wide).contains("must be from 1 to 1024"));
        assert!(error(dict(UNet { depth: 13, ..UNet::published(Recipe::Isola) }, "")).contains("depth 13"));
    }

    /// Casting a whole state_dict casts the counters in it too.
    #[test]
    fn what_a_batch_norm_has_stored_may_be_of_any_type() {
        let unet = UNet { depth: 5, norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) };
        let mut dict = dict(unet, "");
        for (way, level) in unet.blocks().filter(|&(way, level)| unet.is_normed(way, level)) {
            let norm = unet.norm_name(way, level);
            for (kind, shape) in [("running_mean", vec![unet.channels(level)]), ("num_batches_tracked", Vec::new())] {
                dict.tensors.insert(format!("{norm}.{kind}"), TorchTensor::with_shape(shape));
            }
        }
        assert_eq!(generator(&[dict], false).unwrap().unet, unet);
    }

    #[test]
    fn biases_beside_a_batch_norm_need_the_stored_statistics() {
        let unet = UNet { depth: 5, norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) };
        let mut dict = dict(unet, "");
        for (way, level) in unet.blocks() {
            let bias = TorchTensor::with_shape(vec![unet.channels(level)]);
            dict.tensors.insert(format!("{}.bias", unet.conv_name(way, level)), bias);
        }
        assert_eq!(generator(std::slice::from_ref(&dict), true).unwrap().unet, unet);
        assert!(
            error(dict).contains("has model.model.0.bias beside a batch norm, which only --running-stats can take")
        );
    }
}
