//! The values of options.
//!
//! Apart from the options, which share them.
//!
//! **Invariant:** a value that cannot be taken is answered with the option's name and what it takes.

use crate::args::{Sizes, When};
use lexopt::ValueExt as _;
use std::path::PathBuf;

/// The value of an option, which may not be empty.
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
    match &*text(parser, "--color")? {
        "auto" => Ok(When::Auto),
        "always" => Ok(When::Always),
        "never" => Ok(When::Never),
        other => Err(format!("--color takes auto, always or never, not '{other}'").into()),
    }
}

pub(super) fn sizes(parser: &mut lexopt::Parser) -> Result<Sizes, lexopt::Error> {
    match &*text(parser, "--sizes")? {
        "auto" => Ok(Sizes::Auto),
        "always" => Ok(Sizes::Always),
        "never" => Ok(Sizes::Never),
        other => Err(format!("--sizes takes auto, always or never, not '{other}'").into()),
    }
}
