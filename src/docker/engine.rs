//! The Docker Engine over its Unix socket.
//!
//! Every wait is cut into ticks, and after each of them the caller decides whether to continue, so a signal is answered
//! within 100 ms whatever the engine does.
//!
//! **Invariant:** no other file opens the socket, and nothing here blocks longer than a tick.

use crate::docker::Read;
pub(crate) use crate::docker::answer::Answer;
use crate::docker::config::Headers;
use crate::docker::http::{self, Response};
use crate::docker::platform::Rule;
use crate::docker::reference::{Reference, percent_encode};
use crate::docker::value;
use crate::os::wait::{OnTick, TICK, ready};
use crate::pull::failure::{Failure, Kind};
use crate::pull::{BROKEN_OFF, End};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an engine may take to answer `/_ping`.
const PING: Duration = Duration::from_secs(2);

/// The newest API version that this program was tested with (Docker 28.5).
const NEWEST: (u32, u32) = (1, 51);

/// Bytes. An answer to anything except a pull is JSON of a few KB; reading a longer one is given up before it fills the
/// memory.
const MAX_ANSWER: usize = 1 << 20;

/// How much is read at once, in bytes: as much as the engine writes, so that a burst of events takes few system calls; and
/// less of an answer, which comes when the pull itself needs its memory.
const FOR_EVENTS: usize = 8 << 10;
const FOR_ANSWER: usize = 2_000;

/// The space for an answer from the beginning: without it a longer one is copied to larger and larger places, which all
/// stay in memory. Space that is not used costs none.
const ANSWER_SPACE: usize = 12 << 10;

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
            && let Some(fields) = value::parse_fields(&answer.body, names)
        {
            return Ok(Some(fields));
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

/// The end of a stream that was cut: the engine is gone.
fn gone(reason: impl Into<String>) -> End {
    End::Cut(Some(Failure::own(Kind::EngineGone, reason)))
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

/// A request that was sent, and its answer while it is received.
pub(crate) struct Connection {
    stream: UnixStream,
    pub(crate) response: Response,
    buffer: Vec<u8>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    fn open(socket: &Path, buffer: usize, until: Instant, on_tick: OnTick<'_>) -> Result<Self, Error> {
        let path = socket.display();
        let broken = |error: io::Error| Error::Connect(format!("the engine's socket {path} cannot be used: {error}"));
        let denied = || Error::Denied(format!("permission denied on the engine's socket {path}"));
        match std::fs::metadata(socket) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(denied()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Connect(format!("there is no Docker socket at {path}")));
            }
            Err(error) => return Err(broken(error)),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(Error::Connect(format!("{path} is not a socket")));
            }
            Ok(_) => {}
        }
        let address = SocketAddrUnix::new(socket).map_err(|error| broken(error.into()))?;
        // Not std's connect, which blocks while the backlog of the socket is full.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let new = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let new = new.map_err(|error| broken(error.into()))?;
        loop {
            match rustix::net::connect(&new, &address) {
                Ok(()) => break,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                    if Instant::now() >= until {
                        return Err(Error::Connect(format!(
                            "the engine's socket {path} is busy and takes no connection"
                        )));
                    }
                    std::thread::sleep(TICK / 2);
                    if on_tick().is_break() {
                        return Err(Error::Interrupted);
                    }
                }
                Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return Err(denied()),
                Err(rustix::io::Errno::CONNREFUSED) => {
                    return Err(Error::Connect(format!("nothing listens on the Docker socket {path}")));
                }
                Err(error) => return Err(broken(error.into())),
            }
        }
        let stream = UnixStream::from(new);
        stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(TICK)))
            .and_then(|()| stream.set_write_timeout(Some(TICK)))
            .map_err(broken)?;
        Ok(Self { stream, response: Response::new(), buffer: vec![0; buffer] })
    }

    /// Sends the request in one write: on a socket that the engine is closing, a second write fails with EPIPE and
    /// hides the answer. A request is much smaller than the socket's buffer.
    fn send(&mut self, request: &[u8]) -> Result<(), Error> {
        self.stream.write_all(request).map_err(|error| Error::Broken(format!("the engine broke off: {error}")))
    }

    /// Waits at most one tick for bytes, and passes those of the body on.
    pub(crate) fn read(&mut self, body: &mut dyn FnMut(&[u8])) -> Read {
        let count = match self.stream.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) => {
                use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
                if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
                    return Read::Tick;
                }
                return Read::End(gone(format!("the engine broke off: {error}")));
            }
        };
        if count == 0 {
            return Read::End(self.ended());
        }
        if let Err(error) = self.response.feed(&self.buffer[..count], body) {
            return Read::End(gone(format!("the engine broke off with a malformed answer: {error}")));
        }
        if self.response.is_complete() {
            Read::End(self.ended())
        } else {
            Read::Bytes { more: count == self.buffer.len() }
        }
    }

    fn ended(&self) -> End {
        match self.response.head() {
            None => gone("the engine broke off before it answered"),
            // Even if the body was cut: the status alone shows the failure.
            Some(head) if head.status != 200 => End::Refused(head.status),
            Some(_) if self.response.is_complete() => End::Complete,
            // If only the end of the connection ends the body (HTTP/1.0), a cut cannot be distinguished from the end.
            Some(_) if self.response.is_unframed() => {
                gone("the engine broke off, or not: its answer has no end that could be told from a cut")
            }
            Some(_) => gone(BROKEN_OFF),
        }
    }

    /// Reads what has arrived, and returns the answer once it is complete. Never waits.
    pub(crate) fn poll_answer(&mut self, answer: &mut Vec<u8>) -> Result<Option<Answer>, Error> {
        while ready(&*self, PollFlags::IN, Duration::ZERO).unwrap_or(true) {
            match self.read(&mut |body| answer.extend_from_slice(body)) {
                Read::End(end) => return self.ended_with(end, std::mem::take(answer)).map(Some),
                Read::Bytes { .. } if answer.len() > MAX_ANSWER => {
                    return Err(Error::Broken("an answer without end".into()));
                }
                Read::Bytes { .. } => {}
                Read::Tick => break,
            }
        }
        Ok(None)
    }

    fn ended_with(&self, end: End, body: Vec<u8>) -> Result<Answer, Error> {
        match (end, self.response.head()) {
            (End::Complete | End::Refused(_), Some(head)) => Ok(Answer { status: head.status, body }),
            // An answer without a length ends with the connection.
            (_, Some(head)) if self.response.is_unframed() => Ok(Answer { status: head.status, body }),
            (End::Cut(Some(failure)), _) => Err(Error::Broken(failure.text)),
            _ => Err(Error::Broken(BROKEN_OFF.into())),
        }
    }

    /// Reads the complete answer, waiting until `until`.
    fn answer(&mut self, until: Instant, on_tick: OnTick<'_>) -> Result<Answer, Error> {
        let mut answer = Vec::with_capacity(ANSWER_SPACE);
        loop {
            match self.read(&mut |body| answer.extend_from_slice(body)) {
                Read::End(end) => return self.ended_with(end, answer),
                Read::Bytes { .. } | Read::Tick if Instant::now() >= until => {
                    return Err(Error::Broken("no answer in time".into()));
                }
                Read::Bytes { .. } if answer.len() > MAX_ANSWER => {
                    return Err(Error::Broken("an answer without end".into()));
                }
                Read::Bytes { .. } | Read::Tick => {}
            }
            if on_tick().is_break() {
                return Err(Error::Interrupted);
            }
        }
    }
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
