//! The command line of `alm-agent`.
//!
//! It decides nothing: arguments in, plain data out; `--help` is a text to print.
//!
//! **Invariant:** no argument is a secret: secrets come on standard input, or from files.

use crate::fleet;
use lexopt::prelude::*;
use std::ffi::OsString;

const HELP: &str = "\
Speaks to the network for docker-pull-with-progress.

Usage:
  alm-agent sizes    the layers of an image and their sizes, from its registry
  alm-agent digest   the digest that an image's tag has in its registry
  alm-agent --broker mqtts://HOST:PORT ...
                     the service: tells a broker how the images of this device stand
  alm-agent --notify-file FILE ...
                     the service, too: sends people a message when one fails, recovers or is new; both may be given
  alm-agent notice   delivers one message; for the service itself

The first two read one JSON object from standard input, and write one line of JSON:
  {\"image\":\"app:latest\",\"platform\":\"linux/arm/v7\",\"engine\":\"linux/arm\",\"version\":\"20.10.24\",
   \"info\":{GET /info of the engine},\"auth\":{what X-Registry-Auth has},\"limit_ms\":4000}
  {\"digest\":\"sha256:...\",\"platform\":\"linux/arm/v7\",\"layers\":[[\"b9bf3f3b8299\",5001727]],\"total\":5001727,\"asked\":\"https://...\"}
  {\"kind\":\"not-found\",\"error\":\"...\"}, with exit code 1

Options of the service:
  --broker URL       mqtts://HOST[:PORT], 8883 where none is given
  --cert FILE        the device's certificate in PEM, with its key in --key FILE: Puppet's host certificate will do
  --user NAME        in place of a certificate, with its password, one line, in --password-file FILE
  --ca FILE          the authorities to trust, in PEM; else the system's
  --device NAME      the device's name in topics; else the certificate's common name, else the host's
  --site NAME        where the device is
  --topic ROOT       what topics begin with [fleet]: ROOT/DEVICE/online, ROOT/DEVICE/state, ROOT/DEVICE/progress
  --mqtt VERSION     5 or 3.1.1 [5]
  --once             tell the state, wait until the broker has it, send what notices are due, and end
  --notify-file FILE who gets notices, an address a line, chmod 600: a Slack webhook, https://ntfy.sh/TOPIC or
                     ntfys://HOST/TOPIC, any other http(s) for the JSON of Apprise, mailto:NAME@HOST through sendmail
  --test-notice      send each of them one message now, say what came back, and end
  --state DIR        where the states are, in place of /run/alm/pull, /var/lib/alm/pull and /var/lib/alm/container

Options:
  -h, --help         this text
  -V, --version      the version
";

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Print(String),
    Answer(What),
    Publish(Box<fleet::Options>),
    /// Deliver one message, for the service.
    Deliver,
}

/// What a request on standard input is about.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Sizes,
    Digest,
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    if fleet::Options::are_in(&args) {
        return Ok(Command::Publish(Box::new(fleet::Options::parse(&args)?)));
    }
    let mut parser = lexopt::Parser::from_iter(args);
    let mut command = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(format!("alm-agent {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Value(word) if command.is_none() => {
                command = Some(match word.to_str() {
                    Some("sizes") => Command::Answer(What::Sizes),
                    Some("digest") => Command::Answer(What::Digest),
                    Some("notice") => Command::Deliver,
                    _ => return Err(format!("there is no command {}", word.display()).into()),
                });
            }
            other => return Err(other.unexpected()),
        }
    }
    command.ok_or_else(|| "nothing to do: give a command, --broker or --notify-file".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let args = ["alm-agent"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        let got = match parse(args) {
            Ok(Command::Print(text)) => text.lines().next().unwrap_or_default().to_owned(),
            Ok(Command::Answer(what)) => format!("{what:?}"),
            Ok(Command::Deliver) => "deliver".to_owned(),
            Ok(Command::Publish(options)) => match options.broker {
                Some(broker) => format!("publish to {broker}"),
                None => "notify".to_owned(),
            },
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
        check("", "nothing to do: give a command, --broker or --notify-file");
        check("size", "there is no command size");
        check("sizes digest", "unexpected argument \"digest\"");
        check("--password x", "invalid option '--password'");
        check("--broker mqtts://b --user u --password-file /p", "publish to b:8883");
        check("notice", "deliver");
        check("--notify-file /n", "notify");
        check("sizes --password=x", "invalid option '--password'");
    }
}
