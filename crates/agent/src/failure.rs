//! Why there is no answer, and the deadline of a request.
//!
//! Separate, because every other file uses both.
//!
//! **Invariant:** an error repeats neither what was sent nor an address from a server: both can contain secrets.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The kind of a failure, for the program that asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The request itself is wrong.
    Request,
    Reference,
    /// The registry requires credentials, or other ones.
    Auth,
    NotFound,
    /// A limit of time or size, or the registry's rate limit.
    Limit,
    Network,
    Tls,
    /// The engine uses a proxy that cannot be used from here.
    Proxy,
    /// The image has no entry for this platform.
    Platform,
    /// The answer is not that of a registry.
    Format,
    /// What the engine would do cannot be determined from here.
    Unsupported,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) error: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: Kind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }
}

/// The time by which a request has to be finished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// The time left; an error if there is none, because a timeout of zero means "for ever" to sockets.
    pub(crate) fn left(self) -> Result<Duration> {
        match self.0.checked_duration_since(Instant::now()) {
            Some(left) if left > Duration::from_millis(1) => Ok(left),
            _ => Err(Failure::new(Kind::Limit, "no time is left")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes() {
        let long = Deadline::after(Duration::from_mins(1));
        assert!(long.left().is_ok_and(|left| left > Duration::from_secs(50)));
        let passed = Deadline::after(Duration::ZERO).left();
        assert_eq!(passed, Err(Failure::new(Kind::Limit, "no time is left")));
    }

    #[test]
    fn kinds_as_they_are_written() {
        let line = serde_json::to_string(&Failure::new(Kind::NotFound, "x")).unwrap();
        assert_eq!(line, r#"{"kind":"not-found","error":"x"}"#);
    }
}
