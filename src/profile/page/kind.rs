//! Kinds of kernels, which have a colour each.

/// The kind of a kernel, read off its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fprop,
    Dgrad,
    Wgrad,
    Beside,
    Norm,
    Update,
    Loss,
    Other,
}

impl Kind {
    pub const ALL: [Kind; 8] =
        [Kind::Fprop, Kind::Dgrad, Kind::Wgrad, Kind::Beside, Kind::Norm, Kind::Update, Kind::Loss, Kind::Other];

    /// The kind of the kernel called `kernel`; [`Kind::Other`] for activations, copies and the like.
    pub fn of(kernel: &str) -> Kind {
        let kinds = [
            ("beside", Kind::Beside),
            ("fprop", Kind::Fprop),
            ("dgrad", Kind::Dgrad),
            ("wgrad", Kind::Wgrad),
            ("bias_grad", Kind::Wgrad),
            ("norm_act", Kind::Norm),
            ("adam", Kind::Update),
            ("loss", Kind::Loss),
            ("ssim", Kind::Loss),
        ];
        kinds.into_iter().find(|(part, _)| kernel.contains(part)).map_or(Kind::Other, |(_, kind)| kind)
    }

    /// The class of its elements on the page.
    pub fn class(self) -> &'static str {
        match self {
            Kind::Fprop => "fprop",
            Kind::Dgrad => "dgrad",
            Kind::Wgrad => "wgrad",
            Kind::Beside => "beside",
            Kind::Norm => "norm",
            Kind::Update => "update",
            Kind::Loss => "loss",
            Kind::Other => "other",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Kind::Fprop => "fprop, or the input gradient of a transposed convolution",
            Kind::Dgrad => "dgrad, or a transposed convolution",
            Kind::Wgrad => "wgrad, with its update where they are one kernel, and bias gradients",
            Kind::Beside => "an input gradient, and the wgrad and update of another layer beside it",
            Kind::Norm => "norm and activation, and their gradients",
            Kind::Update => "Adam",
            Kind::Loss => "losses",
            Kind::Other => "tanh, copies and other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_the_kind_of_its_first_word_that_is_known() {
        for (kernel, kind) in [
            ("conv_fprop_patch_4x4s2", Kind::Fprop),
            ("conv_dgrad_few_8", Kind::Dgrad),
            ("conv_wgrad_adam_dot", Kind::Wgrad),
            ("conv_dgrad_beside_wgrad_32", Kind::Beside),
            ("bias_grad_shared", Kind::Wgrad),
            ("norm_act_grad_held_64", Kind::Norm),
            ("adam_update_wide", Kind::Update),
            ("bce_logits_loss", Kind::Loss),
            ("copy", Kind::Other),
        ] {
            assert_eq!(Kind::of(kernel), kind, "{kernel}");
        }
    }
}
