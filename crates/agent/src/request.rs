//! What is asked on standard input, and the one line that answers it.
//!
//! Apart from `sizes`, which knows registries and nothing of pipes.
//!
//! **Invariant:** exactly one line is written, shorter than 64 KiB, so that a pipe takes it whole without a reader.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::What;
use crate::endpoint::Info;
use crate::failure::{Deadline, Failure, Kind, Result};
use crate::sizes;

/// The engine's `/info` and what a keychain holds are some kilobytes.
const REQUEST_MAX: u64 = 1 << 20;

/// The time for an answer where the request names no limit, and the maximum that it may name.
const LIMIT: Duration = Duration::from_secs(4);
const LIMIT_MAX: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
pub(crate) struct Request {
    /// May be missing: the command line says it.
    #[serde(rename = "do")]
    what: Option<What>,
    pub(crate) image: String,
    /// As given with `--platform`.
    pub(crate) platform: Option<String>,
    /// `Os/Arch` of the engine's GET /version, and not the kernel's of /info: 32-bit engines run on 64-bit kernels.
    pub(crate) engine: Option<String>,
    /// `Version` of GET /version: before 23 another rule chose the platform.
    #[serde(default)]
    pub(crate) version: String,
    /// Of GET /info; no sizes without it, for it has the proxies and insecure registries.
    pub(crate) info: Info,
    #[serde(default)]
    pub(crate) auth: Auth,
    limit_ms: Option<u64>,
    /// Where the engine's certificates for registries are, if not in docker's own place.
    certs_d: Option<PathBuf>,
}

/// The very object that goes base64-coded into X-Registry-Auth.
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

/// The line, with its end, and the exit code.
pub(crate) fn answer(what: What, input: impl Read) -> (String, u8) {
    let (line, code) = match reply(what, input) {
        Ok(line) => (line, 0),
        Err(failure) => (line_of(&failure), 1),
    };
    (line + "\n", code)
}

fn line_of(answer: &impl Serialize) -> String {
    // Maps with keys that are no text could fail; there are none.
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
        return Err(Failure::new(Kind::Request, "the question is longer than 1 MiB"));
    }
    // Only the place is taken from serde's own message: its text can repeat what stands there.
    serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::new(Kind::Request, format!("standard input is not a question (line {line}, column {column})"))
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
            format!(r#"{{"kind":"request","error":"standard input is not a question (line {line}, column {column})"}}"#)
        };
        check(What::Sizes, b"", &at(1, 0));
        check(What::Sizes, b"{}", &at(1, 2));
        check(What::Sizes, br#"{"image":"a","info":{},"auth":{"password":1234}}"#, &at(1, 46));
        // serde would repeat the text.
        check(What::Sizes, br#"{"image":"a","info":"hunter2"}"#, &at(1, 29));
        let long = vec![b' '; (1 << 20) + 1];
        check(What::Sizes, &long, r#"{"kind":"request","error":"the question is longer than 1 MiB"}"#);
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
