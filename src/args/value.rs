//! The values of options.
//!
//! Separate from the options, because several options take the same kind of value.
//!
//! **Invariant:** the error for a wrong value names the option and the values that it takes.

use crate::args::When;
use lexopt::ValueExt as _;
use std::path::PathBuf;

/// The value of an option. An empty one is an error.
pub(super) fn text(parser: &mut lexopt::Parser, option: &str) -> Result<String, lexopt::Error> {
    let value = parser.value()?.string()?;
    if value.is_empty() { Err(format!("{option} is empty").into()) } else { Ok(value) }
}

pub(super) fn path(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, lexopt::Error> {
    let value = parser.value()?;
    if value.is_empty() { Err(format!("{option} is empty").into()) } else { Ok(value.into()) }
}

pub(super) fn number<T: std::str::FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error> {
    let given = text(parser, option)?;
    given.parse().map_err(|_| format!("{option} takes a whole number, not '{given}'").into())
}

pub(super) fn color(parser: &mut lexopt::Parser) -> Result<When, lexopt::Error> {
    choice(parser, "--color", &[("auto", When::Auto), ("always", When::Always), ("never", When::Never)])
}

/// The value of an option that takes one of several words.
pub(super) fn choice<T: Copy>(
    parser: &mut lexopt::Parser,
    option: &str,
    words: &[(&str, T)],
) -> Result<T, lexopt::Error> {
    let given = text(parser, option)?;
    if let Some((_, choice)) = words.iter().find(|(word, _)| *word == given) {
        return Ok(*choice);
    }
    let names: Vec<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
    let (last, others) = names.split_last().ok_or("no choice")?;
    Err(format!("{option} takes {} or {last}, not '{given}'", others.join(", ")).into())
}
