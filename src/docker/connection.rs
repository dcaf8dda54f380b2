//! One request to the engine on its Unix socket, and the answer while it is received.
//!
//! Separate from `engine`, which knows what is asked; here is how.
//!
//! Every wait is cut into ticks, and after each of them the caller decides whether to continue, so a signal is answered
//! within 100 ms whatever the engine does.
//!
//! **Invariant:** no other file opens the socket, and nothing here blocks longer than a tick.

use crate::docker::Read;
use crate::docker::answer::Answer;
use crate::docker::engine::Error;
use crate::docker::http::Response;
use crate::os::wait::{OnTick, TICK, ready};
use crate::pull::failure::{Failure, Kind};
use crate::pull::{BROKEN_OFF, End};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes. An answer to anything except a pull is JSON of a few KB; reading a longer one is given up before it fills the
/// memory.
const MAX_ANSWER: usize = 1 << 20;

/// How much is read at once, in bytes: as much as the engine writes, so that a burst of events takes few system calls; and
/// less of an answer, which comes when the pull itself needs its memory.
pub(super) const FOR_EVENTS: usize = 8 << 10;
pub(super) const FOR_ANSWER: usize = 2_000;

/// The space for an answer from the beginning: without it a longer one is copied to larger and larger places, which all
/// stay in memory. Space that is not used costs none.
const ANSWER_SPACE: usize = 12 << 10;

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
    /// Connects to the engine at `socket`, trying until `until` if it is busy; `buffer` is how many bytes are read at once.
    pub(super) fn open(socket: &Path, buffer: usize, until: Instant, on_tick: OnTick<'_>) -> Result<Self, Error> {
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
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(), Error> {
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

    /// How many bytes have come and were not read; no limit if the kernel does not say.
    pub(crate) fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).unwrap_or(u64::MAX)
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
    pub(super) fn answer(&mut self, until: Instant, on_tick: OnTick<'_>) -> Result<Answer, Error> {
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

/// The end of a stream that was cut: the engine is gone.
fn gone(reason: impl Into<String>) -> End {
    End::Cut(Some(Failure::own(Kind::EngineGone, reason)))
}
