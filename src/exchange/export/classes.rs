//! The published classes of PyTorch that can load exported weights, and the arguments of their constructors.
//!
//! Only the authors' classes (`UnetGenerator`, `NLayerDiscriminator`, `PixelDiscriminator`) have ngf or ndf, or a
//! depth, to choose. A class may have the same names and shapes and yet compute something else, where the order within
//! a block differs: that counts as a difference too.

use crate::gan::{BlockOrder, GeneratorKind, LastLayer, Norm, PatchGan, ReceptiveField, Recipe, UNet};

/// Channels of the first layer, and depth, of the classes that fix them.
const CHANNELS: usize = 64;
const DEPTH: usize = 8;

/// The argument of the authors' classes for a norm. They leave the biases of convolutions out unless it is
/// `InstanceNorm2d` itself.
const AFFINE: &str = "lambda c: nn.InstanceNorm2d(c, affine=True)";

const INTO_BATCH_NORM: &str =
    "with BatchNorm2d, in train mode at batch 1, with strict=False: there are no running statistics";

/// A published class, for the weights at hand.
struct Class {
    /// The call of its constructor.
    call: String,
    /// Differences between the weights and any object of the class.
    differences: Vec<String>,
    /// Remarks that end the sentence.
    remarks: Vec<String>,
}

/// Returns a sentence that names the published PyTorch class that can load the exported generator `unet`, or says why
/// there is none.
pub fn for_generator(unet: &UNet) -> String {
    let UNet { recipe, in_channels, out_channels, ngf, depth, norm, last_layer, .. } = *unet;
    let mut class = match recipe {
        Recipe::PytorchGan => {
            Class::new(format!("GeneratorUNet(in_channels={in_channels}, out_channels={out_channels})"))
        }
        Recipe::BlockCk => Class::new("Generator() with BlockCK blocks"),
        Recipe::Isola => Class::new(format!(
            "the authors' UnetGenerator({in_channels}, {out_channels}, num_downs={depth}, ngf={ngf}, \
             norm_layer={})",
            norm_layer(norm)
        )),
    };
    if recipe == Recipe::Isola {
        class.authors_norm(norm);
        class.differs(depth < 5, || format!("a depth of {depth} (the class has at least 5)"));
    } else {
        class.fixed_norm(norm);
        class.differs(ngf != CHANNELS, || format!("ngf {ngf} (the class has {CHANNELS})"));
        class.differs(depth != DEPTH, || format!("a depth of {depth} (the class has {DEPTH})"));
    }
    class.differs(recipe == Recipe::BlockCk && [in_channels, out_channels] != [3, 3], || {
        format!("{in_channels} to {out_channels} channels (the class has 3 to 3)")
    });
    let published = UNet::published(recipe);
    class.differs(last_layer != published.last_layer, || {
        let layer = match last_layer {
            LastLayer::Resize => "nearest x2, zeros and a convolution",
            LastLayer::Transposed => "a transposed convolution",
        };
        format!("{layer} as the last layer, {}", published.last_name())
    });
    class.differs(unet.kind == GeneratorKind::EncoderDecoder, || "no skip connections".to_owned());
    let acts_first = |order| order == BlockOrder::ActConvNormDropout;
    class.differs(acts_first(unet.block_order) != acts_first(published.block_order), || {
        let order = if acts_first(unet.block_order) { "in front of the convolutions" } else { "behind the norms" };
        format!("activations {order}")
    });
    class.describe()
}

/// Returns a sentence that names the published PyTorch class that can load the exported discriminator `patchgan`, or
/// says why there is none. `input` names the channels of the discriminator's input, such as "one picture and its
/// condition".
pub fn for_discriminator(patchgan: &PatchGan, input: &str) -> String {
    let PatchGan { receptive_field, in_channels, ndf, norm, sigmoid } = *patchgan;
    let authors = |class: &str, layers: &str| {
        let norm_layer = norm_layer(norm);
        Class::new(format!("the authors' {class}({in_channels}, ndf={ndf}, {layers}norm_layer={norm_layer})"))
    };
    let mut class = match receptive_field {
        ReceptiveField::R94 => {
            let mut class = Class::new(format!("Discriminator(in_channels={}) of pytorch-gan", in_channels / 2));
            class.differs(in_channels % 2 != 0, || {
                format!("{in_channels} input channels (the class has an even number)")
            });
            class
        }
        ReceptiveField::Map70 => {
            let mut class = Class::new("Discriminator() of block-ck");
            class.differs(in_channels != 6, || format!("{in_channels} input channels (the class has 6)"));
            class
        }
        ReceptiveField::R1 => authors("PixelDiscriminator", ""),
        ReceptiveField::R16 => authors("NLayerDiscriminator", "n_layers=1, "),
        ReceptiveField::R34 => authors("NLayerDiscriminator", "n_layers=2, "),
        ReceptiveField::R70 => authors("NLayerDiscriminator", "n_layers=3, "),
        ReceptiveField::R142 => authors("NLayerDiscriminator", "n_layers=4, "),
        ReceptiveField::R286 => authors("NLayerDiscriminator", "n_layers=5, "),
    };
    let has_sigmoid = receptive_field == ReceptiveField::Map70;
    if matches!(receptive_field, ReceptiveField::R94 | ReceptiveField::Map70) {
        class.fixed_norm(norm);
        class.differs(ndf != CHANNELS, || format!("ndf {ndf} (the class has {CHANNELS})"));
    } else {
        class.authors_norm(norm);
    }
    class.differs(sigmoid != has_sigmoid, || {
        let end = if sigmoid { "a sigmoid" } else { "no sigmoid" };
        format!("{end} at the end")
    });
    class.remarks.push(format!("its input channels are those of {input}, in this order"));
    class.describe()
}

fn norm_layer(norm: Norm) -> &'static str {
    match norm {
        Norm::InstanceAffine => AFFINE,
        Norm::Instance | Norm::None => "nn.InstanceNorm2d",
    }
}

impl Class {
    fn new(call: impl Into<String>) -> Class {
        Class { call: call.into(), differences: Vec::new(), remarks: Vec::new() }
    }

    fn differs(&mut self, differs: bool, how: impl FnOnce() -> String) {
        if differs {
            self.differences.push(how());
        }
    }

    /// Compares `norm` with those of a class that takes its norm as an argument.
    fn authors_norm(&mut self, norm: Norm) {
        match norm {
            Norm::Instance => {}
            Norm::InstanceAffine => self.remarks.push(format!("or {INTO_BATCH_NORM}")),
            Norm::None => self.differences.push("no norms, and a bias in every convolution".to_owned()),
        }
    }

    /// Compares `norm` with the one of a class that has `InstanceNorm2d` without learned parameters.
    fn fixed_norm(&mut self, norm: Norm) {
        match norm {
            Norm::Instance => {}
            Norm::InstanceAffine => {
                self.differences.push("InstanceNorm2d(affine=True)".to_owned());
                self.remarks.push(format!("or {INTO_BATCH_NORM}"));
            }
            Norm::None => self.differences.push("no norms, and a bias in every convolution".to_owned()),
        }
    }

    fn describe(self) -> String {
        let Class { call, differences, remarks } = self;
        let mut sentence = match differences.is_empty() {
            true => format!("They fit {call} with load_state_dict(strict=True)"),
            false => format!(
                "No published class takes them: they are those of {call}, but for {}; a copy changed in that takes \
                 them with load_state_dict(strict=True)",
                differences.join(", ")
            ),
        };
        remarks.iter().for_each(|remark| sentence.push_str(&format!("; {remark}")));
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::{Objective, Pix2Pix};

    const STRICT: &str = "with load_state_dict(strict=True)";

    #[test]
    fn a_published_generator_names_its_class_with_what_it_is_given() {
        for (recipe, call) in [
            (Recipe::PytorchGan, "GeneratorUNet(in_channels=3, out_channels=3)"),
            (Recipe::BlockCk, "Generator() with BlockCK blocks"),
            (Recipe::Isola, "the authors' UnetGenerator(3, 3, num_downs=8, ngf=64, norm_layer=nn.InstanceNorm2d)"),
        ] {
            assert_eq!(for_generator(&UNet::published(recipe)), format!("They fit {call} {STRICT}"));
        }
        // The order of dropout and activation changes no result.
        let unet =
            UNet { block_order: BlockOrder::ConvNormDropoutAct, in_channels: 1, ..UNet::published(Recipe::PytorchGan) };
        assert_eq!(for_generator(&unet), format!("They fit GeneratorUNet(in_channels=1, out_channels=3) {STRICT}"));
        let unet = UNet { ngf: 8, depth: 5, norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) };
        let call = format!("the authors' UnetGenerator(3, 3, num_downs=5, ngf=8, norm_layer={AFFINE})");
        assert_eq!(for_generator(&unet), format!("They fit {call} {STRICT}; or {INTO_BATCH_NORM}"));
    }

    #[test]
    fn what_no_class_can_be_is_named() {
        let published = UNet::published(Recipe::PytorchGan);
        for (unet, difference) in [
            (UNet { ngf: 16, ..published }, "ngf 16 (the class has 64)"),
            (UNet { depth: 7, ..published }, "a depth of 7 (the class has 8)"),
            (UNet { norm: Norm::None, ..published }, "no norms, and a bias in every convolution"),
            (
                UNet { last_layer: LastLayer::Transposed, ..published },
                "a transposed convolution as the last layer, final.2",
            ),
            (UNet { kind: GeneratorKind::EncoderDecoder, ..published }, "no skip connections"),
            (
                UNet { block_order: BlockOrder::ActConvNormDropout, ..published },
                "activations in front of the convolutions",
            ),
            (UNet { depth: 4, ..UNet::published(Recipe::Isola) }, "a depth of 4 (the class has at least 5)"),
            (UNet { norm: Norm::None, ..UNet::published(Recipe::Isola) }, "no norms, and a bias in every convolution"),
            (UNet { out_channels: 1, ..UNet::published(Recipe::BlockCk) }, "3 to 1 channels (the class has 3 to 3)"),
        ] {
            let sentence = for_generator(&unet);
            assert!(sentence.starts_with("No published class takes them"), "{sentence}");
            assert!(sentence.contains(&format!("but for {difference}; a copy")), "{sentence}");
        }
        let affine = for_generator(&UNet { norm: Norm::InstanceAffine, ..published });
        assert!(affine.contains("but for InstanceNorm2d(affine=True); a copy") && affine.ends_with(INTO_BATCH_NORM));
    }

    #[test]
    fn discriminators_have_classes_too() {
        let of = |recipe, change: fn(&mut PatchGan)| {
            let mut published = Pix2Pix::published(recipe);
            change(&mut published.discriminator);
            for_discriminator(&published.discriminator, published.networks()[1].input)
        };
        let fits = |call: &str, input: &str| {
            format!("They fit {call} {STRICT}; its input channels are those of {input}, in this order")
        };
        let [picture_first, condition_first] = ["one picture and its condition", "one condition and its picture"];
        assert_eq!(of(Recipe::PytorchGan, |_| {}), fits("Discriminator(in_channels=3) of pytorch-gan", picture_first));
        assert_eq!(of(Recipe::BlockCk, |_| {}), fits("Discriminator() of block-ck", picture_first));
        let authors = "the authors' NLayerDiscriminator(6, ndf=64, n_layers=3, norm_layer=nn.InstanceNorm2d)";
        assert_eq!(of(Recipe::Isola, |_| {}), fits(authors, condition_first));
        let pixel = of(Recipe::Isola, |patchgan| {
            patchgan.receptive_field = ReceptiveField::R1;
            patchgan.ndf = 5;
        });
        assert!(pixel.contains("PixelDiscriminator(6, ndf=5, norm_layer=nn.InstanceNorm2d)"), "{pixel}");
        let narrow = of(Recipe::PytorchGan, |patchgan| patchgan.ndf = 2);
        assert!(narrow.contains("but for ndf 2 (the class has 64); a copy"), "{narrow}");
        let bounded = of(Recipe::Isola, |patchgan| patchgan.sigmoid = true);
        assert!(bounded.contains("but for a sigmoid at the end; a copy"), "{bounded}");
    }
}
