//! The help of `train`: defaults and rules from the declarations of the options are added to their texts.

use clap::{Command, ValueEnum};
use toml::Table;

use super::declare::flag;
use super::options::changeable;
use super::resume::plain;
use super::{TrainConfig, TrainOptions};
use crate::gan::Recipe;

/// The word in a help text that stands for the flags that may change when a run is resumed.
const CHANGEABLE: &str = "CHANGEABLE";

/// Completes the help of `train`: each option's default, where its text does not say it, and the options that may
/// change when a run is resumed.
pub(crate) fn complete(train: Command) -> Command {
    let defaults = defaults();
    let complete_text = |text: String, default: Option<&String>| {
        let text = text.replace(CHANGEABLE, &flags(&changeable()));
        let Some(default) = default.filter(|_| !text.contains("[default: ")) else { return text };
        let (short, long) = text.split_once("\n\n").map_or((&*text, None), |(short, long)| (short, Some(long)));
        let short = format!("{short} [default: {default}]");
        long.map_or(short.clone(), |long| format!("{short}\n\n{long}"))
    };
    train.mut_args(|argument| {
        let default = defaults.iter().find(|(name, _)| *name == flag(argument.get_id().as_str()));
        let default = default.map(|(_, text)| text);
        let [help, long] = [argument.get_help(), argument.get_long_help()].map(|text| text.map(ToString::to_string));
        let argument = help.into_iter().fold(argument, |argument, text| argument.help(complete_text(text, default)));
        long.into_iter().fold(argument, |argument, text| argument.long_help(complete_text(text, default)))
    })
}

/// Defaults for the help, by option: one value, or those with and without `--data`, or those of the recipes in their
/// order.
fn defaults() -> Vec<(String, String)> {
    let table = |recipe: Recipe, has_data: bool| -> Table {
        let data = has_data.then(Default::default);
        let config = TrainConfig::from_given(&TrainOptions { recipe: Some(recipe), data, ..Default::default() });
        // Settings always serialise to a table.
        Table::try_from(config).unwrap_or_default()
    };
    let recipes: Vec<[Table; 2]> =
        Recipe::value_variants().iter().map(|&recipe| [true, false].map(|has_data| table(recipe, has_data))).collect();
    let first = &recipes[0];
    let text = |name: &str| -> String {
        if name == "recipe" {
            return plain(&first[0][name]);
        }
        let by_recipe: Vec<String> = recipes.iter().map(|tables| plain(&tables[0][name])).collect();
        match () {
            () if by_recipe.iter().any(|text| *text != by_recipe[0]) => by_recipe.join(", "),
            () if first[0][name] == first[1][name] => by_recipe[0].clone(),
            () => format!("{} with --data, {} without", by_recipe[0], plain(&first[1][name])),
        }
    };
    let names = first[0].keys().filter(|name| first[1].contains_key(*name));
    names.map(|name| (name.clone(), text(name))).collect()
}

/// Joins flags for a sentence: `--a, --b and --c`.
fn flags(names: &[String]) -> String {
    let flags: Vec<String> = names.iter().map(|name| format!("--{name}")).collect();
    match flags.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => flags.join(""),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    fn help(flag: &str) -> String {
        let command = complete(TrainOptions::augment_args(Command::new("train")));
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag)).expect(flag);
        argument.get_help().expect(flag).to_string()
    }

    #[test]
    fn the_help_states_the_defaults() {
        for (flag, default) in [
            ("lambda-pixel", "100"),
            ("lr", "0.0002"),
            ("norm", "instance"),
            ("image-size", "256 with --data, 128 without"),
            ("ngf", "64 with --data, 16 without"),
            ("augment", "flip, jitter, jitter"),
            ("receptive-field", "94, map70, 70"),
            ("recipe", "pytorch-gan"),
            ("shuffle", "true"),
        ] {
            assert!(help(flag).ends_with(&format!(" [default: {default}]")), "{}", help(flag));
        }
    }

    /// An option that a run may lack has no default that could be shown; `--start-from` and `--data` say what that
    /// means.
    #[test]
    fn every_help_has_one_default() {
        let command = complete(TrainOptions::augment_args(Command::new("train")));
        for argument in command.get_arguments() {
            let help = argument.get_help().expect("a help").to_string();
            let expected = usize::from(!["data", "start_from"].contains(&argument.get_id().as_str()));
            assert_eq!(help.matches("[default: ").count(), expected, "{argument}: {help}");
        }
    }
}
