//! The command line of `alm-agent`.
//!
//! Apart, because it decides nothing: text in, plain data out, and `--help` is text like any other.
//!
//! **Invariant:** no argument is a secret; those come on standard input.

use lexopt::prelude::*;
use std::ffi::OsString;

const HELP: &str = "\
Speaks to the network for docker-pull-with-progress.

Usage:
  alm-agent sizes    the layers of an image and their sizes, from its registry
  alm-agent digest   the digest that an image's tag has in its registry

Both read one JSON object from standard input, and write one line of JSON:
  {\"image\":\"app:latest\",\"platform\":\"linux/arm/v7\",\"engine\":\"linux/arm\",\"version\":\"20.10.24\",
   \"info\":{GET /info of the engine},\"auth\":{what X-Registry-Auth has},\"limit_ms\":4000}
  {\"digest\":\"sha256:...\",\"platform\":\"linux/arm/v7\",\"layers\":[[\"b9bf3f3b8299\",5001727]],\"total\":5001727,\"asked\":\"https://...\"}
  {\"kind\":\"not-found\",\"error\":\"...\"}, with exit code 1

Options:
  -h, --help         this text
  -V, --version      the version
";

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Say(String),
    Answer(What),
}

/// What a request on standard input is about.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Sizes,
    Digest,
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(args);
    let mut command = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Say(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Command::Say(format!("alm-agent {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Value(word) if command.is_none() => {
                command = Some(Command::Answer(match word.to_str() {
                    Some("sizes") => What::Sizes,
                    Some("digest") => What::Digest,
                    _ => return Err(format!("there is no command {}", word.display()).into()),
                }));
            }
            other => return Err(other.unexpected()),
        }
    }
    command.ok_or_else(|| "say what to do".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let args = ["alm-agent"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        let got = match parse(args) {
            Ok(Command::Say(text)) => text.lines().next().unwrap_or_default().to_owned(),
            Ok(Command::Answer(what)) => format!("{what:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn commands() {
        check("sizes", "Sizes");
        check("digest", "Digest");
        check("--version", concat!("alm-agent ", env!("CARGO_PKG_VERSION")));
        check("sizes --help", HELP.lines().next().unwrap());
        check("", "say what to do");
        check("size", "there is no command size");
        check("sizes digest", "unexpected argument \"digest\"");
        check("--password x", "invalid option '--password'");
        check("sizes --password=x", "invalid option '--password'");
    }
}
