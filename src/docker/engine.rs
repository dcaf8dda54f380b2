//! The Docker Engine over its Unix socket: its version, its requests, its errors. [`Connection`] carries them.
//!
//! **Invariant:** once it has answered, its socket, headers and version of the API stay the same.

pub(crate) use crate::docker::answer::Answer;
use crate::docker::config::Headers;
use crate::docker::connection::{Connection, FOR_ANSWER, FOR_EVENTS};
use crate::docker::http;
use crate::docker::platform::Rule;
use crate::docker::reference::{Reference, percent_encode};
use crate::docker::value::RawFields;
use crate::os::wait::OnTick;
use crate::pull::failure::{Failure, Kind};
use serde_json::Value;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an engine may take to answer `/_ping`.
const PING: Duration = Duration::from_secs(2);

/// The newest API version that this program was tested with (Docker 28.5).
const NEWEST: (u32, u32) = (1, 51);

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no engine at the socket: the only reason to fall back.
    Connect(String),
    /// There is an engine, and this user may not connect to it.
    Denied(String),
    /// The engine broke off, or took too long.
    Broken(String),
    /// The engine answered with an error.
    Refused(Failure),
    /// The caller stopped waiting.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(reason) | Self::Denied(reason) | Self::Broken(reason) => f.write_str(reason),
            Self::Refused(failure) => write!(f, "{failure}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl Error {
    /// The error as the failure of a pull.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Connect(reason) => Failure::own(Kind::EngineDown, reason),
            Self::Denied(reason) => Failure::own(Kind::SocketDenied, reason),
            Self::Broken(reason) => Failure::own(Kind::EngineGone, reason),
            Self::Refused(failure) => failure,
            Self::Interrupted => Failure::own(Kind::Other, self.to_string()),
        }
    }
}

/// An engine that has answered.
pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
    /// Sent with every request.
    pub(crate) headers: Headers,
    /// `20.10.24+dfsg1`; empty if the engine does not report it.
    pub(crate) version: String,
    /// The version of the API that is used (`1.41`); empty if the engine reports none.
    pub(crate) api: String,
    /// How it chooses an entry of an index.
    pub(crate) rule: Rule,
}

impl Engine {
    /// Finds out whether an engine answers at `socket`, and which version of the API to use.
    pub(crate) fn ping(socket: &Path, headers: Headers, on_tick: OnTick<'_>) -> Result<Self, Error> {
        let until = Instant::now() + PING;
        let unanswered = |error| match error {
            Error::Broken(reason) => {
                Error::Connect(format!("the engine at {} does not answer: {reason}", socket.display()))
            }
            other => other,
        };
        let mut connection = Connection::open(socket, FOR_ANSWER, until, on_tick)?;
        connection.send(&http::request("GET", "/_ping", &with(&headers, &[]))).map_err(unanswered)?;
        let answer = connection.answer(until, on_tick).map_err(unanswered)?;
        // A proxy before the socket may forbid the ping and allow a pull; then the version of the API is not known.
        if answer.status != 200 && answer.status != 403 {
            let status = answer.status;
            return Err(Error::Connect(format!(
                "the engine at {} answers a ping with HTTP status {status}",
                socket.display()
            )));
        }
        let head = connection.response.head();
        let server = head.and_then(|head| head.server.as_deref()).unwrap_or_default();
        // `Docker/20.10.24+dfsg1 (linux)`
        let version = server.split_once('/').map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
        let api = head.and_then(|head| head.api_version.as_deref()).and_then(negotiate).unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let is_old = server.starts_with("Docker/") && major.is_some_and(|major| major < 23);
        let rule = if is_old { Rule::Old } else { Rule::Containerd };
        Ok(Self { socket: socket.to_owned(), headers, version: version.to_owned(), api, rule })
    }

    /// Starts a pull. `platform` is the value of `--platform`, `credentials` that of `X-Registry-Auth`.
    pub(crate) fn pull(
        &self,
        reference: &Reference,
        platform: Option<&str>,
        credentials: &str,
        on_tick: OnTick<'_>,
    ) -> Result<Connection, Error> {
        let name = percent_encode(&reference.name);
        // Always a tag or a digest: without one Docker pulls every tag of the repository.
        let tag = percent_encode(reference.tag_or_digest());
        let mut target = self.target(&format!("/images/create?fromImage={name}&tag={tag}"));
        if let Some(platform) = platform {
            target.push_str("&platform=");
            target.push_str(&percent_encode(platform));
        }
        let mut connection = Connection::open(&self.socket, FOR_EVENTS, Instant::now() + PING, on_tick)?;
        connection.send(&http::request("POST", &target, &with(&self.headers, &[("X-Registry-Auth", credentials)])))?;
        Ok(connection)
    }

    /// Requests `path` (already encoded), and waits for the answer until `until`.
    pub(crate) fn get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        until: Instant,
        on_tick: OnTick<'_>,
    ) -> Result<Answer, Error> {
        let mut connection = Connection::open(&self.socket, FOR_ANSWER, until, on_tick)?;
        connection.send(&http::request("GET", &self.target(path), &with(&self.headers, headers)))?;
        connection.answer(until, on_tick)
    }

    /// Requests `path` without waiting; [`Connection::poll_answer`] returns the answer.
    pub(crate) fn begin(&self, path: &str) -> Result<Connection, Error> {
        let mut connection =
            Connection::open(&self.socket, FOR_ANSWER, Instant::now(), &mut || ControlFlow::Break(()))?;
        connection.send(&http::request("GET", &self.target(path), &with(&self.headers, &[])))?;
        Ok(connection)
    }

    /// The JSON object at `path`, or of it only the fields with these names; `None` if the engine answers 404. Any other answer
    /// is an error with the engine's message.
    pub(crate) fn find(
        &self,
        path: &str,
        names: Option<&[&str]>,
        until: Instant,
        on_tick: OnTick<'_>,
    ) -> Result<Option<Value>, Error> {
        let answer = self.get(path, &[], until, on_tick)?;
        if let (200, Some(names)) = (answer.status, names)
            && let Some(fields) = RawFields::parse(&answer.body)
        {
            return Ok(Some(fields.only(names)));
        }
        let json = answer.json();
        match answer.status {
            200 if json.is_object() => Ok(Some(json)),
            404 => Ok(None),
            status => {
                let Failure { kind, text, .. } = answer.failure(&json, &format!("GET {path}"));
                let refusal = Failure::own(kind, format!("the engine answered HTTP status {status}: {text}"));
                Err(Error::Refused(refusal))
            }
        }
    }

    /// Whether the version of the API in use is at least this.
    pub(crate) fn speaks(&self, major: u32, minor: u32) -> bool {
        version(&self.api).is_some_and(|api| api >= (major, minor))
    }

    fn target(&self, path: &str) -> String {
        if self.api.is_empty() { path.to_owned() } else { format!("/v{}{path}", self.api) }
    }
}

/// The version to use with an engine whose newest is `api`; `None` if that is not a version.
fn negotiate(api: &str) -> Option<String> {
    let (major, minor) = version(api)?.min(NEWEST);
    Some(format!("{major}.{minor}"))
}

fn version(api: &str) -> Option<(u32, u32)> {
    let (major, minor) = api.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The headers of a request: first the user's, then those of this program.
fn with<'a>(headers: &'a Headers, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_the_engines_newest_that_was_tried() {
        let check = |engine, expected: Option<&str>| assert_eq!(negotiate(engine).as_deref(), expected, "{engine}");
        check("1.41", Some("1.41"));
        check("1.51", Some("1.51"));
        check("1.52", Some("1.51"));
        check("2.0", Some("1.51"));
        check("1.9", Some("1.9"));
        check("", None);
        check("1", None);
        check("1.x", None);
        check("1.41/../..", None);
    }
}
