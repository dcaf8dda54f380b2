//! The request on standard input, and the one line that answers it.
//!
//! Separate from `sizes`, which knows registries and no pipes.
//!
//! **Invariant:** exactly one line is written, shorter than 64 KiB, so that a pipe holds it without a reader.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::What;
use crate::endpoint::Info;
use crate::failure::{Deadline, Failure, Kind, Result};
use crate::sizes;

/// Bytes. The engine's `/info` and a keychain's credentials have some kilobytes.
const REQUEST_MAX: u64 = 1 << 20;

/// The limit for the answer if the request names none, and below the largest that it can name.
const LIMIT: Duration = Duration::from_secs(4);
const LIMIT_MAX: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
pub(crate) struct Request {
    /// Optional: the command line says it, too.
    #[serde(rename = "do")]
    what: Option<What>,
    pub(crate) image: String,
    /// The value of `--platform`.
    pub(crate) platform: Option<String>,
    /// `Os/Arch` from the engine's `GET /version`, and not the kernel's from `/info`: 32-bit engines run on 64-bit
    /// kernels.
    pub(crate) engine: Option<String>,
    /// `Version` from `GET /version`: engines before 23 choose the platform by another rule.
    #[serde(default)]
    pub(crate) version: String,
    /// From `GET /info`; required, because it lists proxies and insecure registries.
    pub(crate) info: Info,
    #[serde(default)]
    pub(crate) auth: Auth,
    limit_ms: Option<u64>,
    /// The engine's directory of certificates for registries, if it is not docker's default.
    certs_d: Option<PathBuf>,
}

/// The object that is sent base64-encoded in X-Registry-Auth.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Auth {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) identitytoken: String,
    pub(crate) registrytoken: String,
}

impl Auth {
    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_empty() && self.identitytoken.is_empty() && self.registrytoken.is_empty()
    }
}

impl Request {
    pub(crate) fn certs_d(&self) -> PathBuf {
        self.certs_d.clone().unwrap_or_else(|| "/etc/docker/certs.d".into())
    }
}

/// Answers the request: the line with its line end, and the exit code.
pub(crate) fn answer(what: What, input: impl Read) -> (String, u8) {
    let (line, code) = match reply(what, input) {
        Ok(line) => (line, 0),
        Err(failure) => (line_of(&failure), 1),
    };
    (line + "\n", code)
}

fn line_of(answer: &impl Serialize) -> String {
    // Cannot fail: there are no maps with keys other than strings.
    serde_json::to_string(answer).unwrap_or_default()
}

fn reply(what: What, input: impl Read) -> Result<String> {
    let request = read(input)?;
    if request.what.is_some_and(|asked| asked != what) {
        return Err(Failure::new(Kind::Request, "what is to be done differs between the command line and `do`"));
    }
    let limit = request.limit_ms.map_or(LIMIT, Duration::from_millis).min(LIMIT_MAX);
    let deadline = Deadline::after(limit);
    match what {
        What::Sizes => sizes::sizes(&request, deadline).map(|sizes| line_of(&sizes)),
        What::Digest => sizes::digest(&request, deadline).map(|digest| line_of(&json!({ "digest": digest }))),
    }
}

fn read(input: impl Read) -> Result<Request> {
    let mut text = Vec::new();
    let read = input.take(REQUEST_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::new(Kind::Request, format!("standard input cannot be read: {error}")))?;
    if text.len() as u64 > REQUEST_MAX {
        return Err(Failure::new(Kind::Request, "the request is longer than 1 MiB"));
    }
    // Only the position is taken from serde's message, whose text can repeat the input.
    serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::new(Kind::Request, format!("standard input is not a request (line {line}, column {column})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: What, input: &[u8], error: &str) {
        let (line, code) = answer(what, input);
        assert_eq!((line.as_str(), code), (format!("{error}\n").as_str(), 1), "{}", input.escape_ascii());
    }

    #[test]
    fn what_is_no_request() {
        let at = |line, column| {
            format!(r#"{{"kind":"request","error":"standard input is not a request (line {line}, column {column})"}}"#)
        };
        check(What::Sizes, b"", &at(1, 0));
        check(What::Sizes, b"{}", &at(1, 2));
        check(What::Sizes, br#"{"image":"a","info":{},"auth":{"password":1234}}"#, &at(1, 46));
        // serde would repeat the text.
        check(What::Sizes, br#"{"image":"a","info":"hunter2"}"#, &at(1, 29));
        let long = vec![b' '; (1 << 20) + 1];
        check(What::Sizes, &long, r#"{"kind":"request","error":"the request is longer than 1 MiB"}"#);
        check(
            What::Digest,
            br#"{"do":"sizes","image":"a","info":{}}"#,
            r#"{"kind":"request","error":"what is to be done differs between the command line and `do`"}"#,
        );
    }

    #[test]
    fn no_time_is_an_answer_too() {
        let request = br#"{"do":"sizes","image":"127.0.0.1:1/a","info":{"RegistryConfig":{}},"limit_ms":0}"#;
        check(What::Sizes, request, r#"{"kind":"limit","error":"no time is left"}"#);
    }
}
