//! Declaration of an option: name, help, default, checks and resume rule in one macro item.
//!
//! ```text
//! /// The help text; its first paragraph is the short one.
//! #[arg(value_name = "N")]            as clap has it
//! #[before("one")]                    the function that gives the value of a run of a version without the option
//! name: Type = default,               a value that every run has; or `=> default`, an `Option` that may be `None`
//!     check between(1, 256),          the values that make sense
//!     unused |config| ...,            the reason why another choice leaves it without effect, if it does
//!     resume may_change;              a run that is resumed may be given another value
//! ```
//!
//! The declaration gives the flag, the key of the settings file, the field of [`TrainConfig`](super::TrainConfig), its
//! default and the default in the help, and the checks. A default may use the options declared before it.

/// The type of a setting: `$type` where it has a default, else an `Option` of it.
macro_rules! setting {
    ([$default:expr] [] $type:ty) => { $type };
    ([] [$default:expr] $type:ty) => { Option<$type> };
}

/// The value of a setting: what was given, else its default.
macro_rules! resolved {
    ([$default:expr] [] $given:expr) => {
        $given.clone().unwrap_or_else(|| $default)
    };
    ([] [$default:expr] $given:expr) => {
        $given.clone().or_else(|| $default)
    };
}

/// The value of a setting, if the run has one.
pub(super) trait Present<T> {
    fn present(&self) -> Option<&T>;
}

impl<T> Present<T> for T {
    fn present(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T> Present<T> for Option<T> {
    fn present(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// True for the word `may_change`, which marks an option that may change when a run is resumed.
macro_rules! is_changeable {
    () => {
        false
    };
    (may_change) => {
        true
    };
}

macro_rules! options {
    (
        $given:ident, $published:ident;
        $($heading:literal {$(
            $(#[doc = $doc:tt])+
            $(#[arg($($arg:tt)*)])?
            $(#[before($before:tt)])?
            $name:ident: $type:ty $(= $default:expr)? $(=> $maybe:expr)?
                $(, check $check:expr)?
                $(, unused $unused:expr)?
                $(, resume $changeable:ident)?;
        )+})+
    ) => {
        /// The options of `train` that were given, as flags or in a settings file. A field is `None` if the option was
        /// not given; [`resolve`](TrainOptions::resolve) fills in its default.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        #[command(allow_negative_numbers = true)]
        pub struct TrainOptions {$($(
            $(#[doc = $doc])+
            #[arg(long, help_heading = $heading)]
            $(#[arg($($arg)*)])?
            pub $name: Option<$type>,
        )+)+}

        /// All settings of a run, checked and with the defaults filled in, as saved in `config.toml` and in every
        /// checkpoint. A field is `None` if the run has no such setting, such as an option of another learning-rate
        /// schedule.
        ///
        /// Checkpoints of earlier versions lack the options added since. `#[before]` names the function that returns
        /// the value of such an option for those runs: the value that keeps their results, which need not be the
        /// default of new runs. Without `#[before]`, a missing `Option` is read as `None`. `tests/cli/compat.rs`
        /// resumes a run of commit f0f07b7, which lacks all later settings. A change that no such value expresses needs
        /// a new [`FORMAT_VERSION`](crate::checkpoint::FORMAT_VERSION).
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct TrainConfig {$($(
            $(#[doc = $doc])+
            $(#[serde(default = $before)])?
            pub $name: setting!([$($default)?] [$($maybe)?] $type),
        )+)+}

        impl TrainConfig {
            /// Fills in the defaults of the options that were not given. Nothing is checked.
            pub(super) fn from_given($given: &TrainOptions) -> TrainConfig {
                let $published = Pix2Pix::published($given.recipe.unwrap_or(DEFAULT_RECIPE));
                $($(
                    let $name: setting!([$($default)?] [$($maybe)?] $type) =
                        resolved!([$($default)?] [$($maybe)?] $given.$name);
                )+)+
                TrainConfig {$($($name,)+)+}
            }

            /// Checks each value by the rule of its declaration.
            ///
            /// # Errors
            /// When a value breaks its rule; the error names the flag, the value and the rule.
            pub(super) fn check_values(&self) -> Result<()> {
                $($($(
                    if let Some(value) = Present::<$type>::present(&self.$name)
                        && let Some(rule) = ($check)(value)
                    {
                        bail!("--{} {value}: {rule}", flag(stringify!($name)));
                    }
                )?)+)+
                Ok(())
            }

            /// Refuses an option that another one leaves without effect, unless it has the recipe's default.
            ///
            /// # Errors
            /// When there is such an option; the error names the flag and the reason.
            pub(super) fn check_uses(&self) -> Result<()> {
                let recipe = TrainOptions { recipe: Some(self.recipe), data: self.data.clone(), ..Default::default() };
                let recipe = TrainConfig::from_given(&recipe);
                $($($(
                    let unused: fn(&TrainConfig) -> Option<&'static str> = $unused;
                    if self.$name != recipe.$name && let Some(why) = unused(self) {
                        bail!("--{}: {why}, so it would do nothing; leave it out", flag(stringify!($name)));
                    }
                )?)+)+
                Ok(())
            }
        }

        /// The flags whose values may change when a run is resumed, without their dashes.
        pub(crate) fn changeable() -> Vec<String> {
            let all = [$($((stringify!($name), is_changeable!($($changeable)?)),)+)+];
            all.into_iter().filter(|(_, is_changeable)| *is_changeable).map(|(name, _)| flag(name)).collect()
        }
    };
}
pub(super) use {is_changeable, options, resolved, setting};

/// Returns the flag of the option in field `field`, without dashes; it is also the key in a settings file.
pub(super) fn flag(field: &str) -> String {
    field.replace('_', "-")
}
