//! Why there is no answer, and the moment when all must be done.
//!
//! Apart, because every other file ends in one of the two.
//!
//! **Invariant:** an error repeats nothing that was sent and no address that a server sent: both can hold secrets.

use std::time::{Duration, Instant};

use serde::Serialize;

/// What whoever asked can go by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// What is wrong with the request itself.
    Request,
    Reference,
    /// The registry wants other credentials, or some.
    Auth,
    NotFound,
    /// Time, size, or the registry's own rate limit.
    Limit,
    Network,
    Tls,
    /// The engine goes by a proxy that cannot be used from here.
    Proxy,
    /// The image has nothing for this platform.
    Platform,
    /// What was received is not what a registry sends.
    Format,
    /// What the engine would do cannot be known from here.
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

/// The moment when all must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// How much time is left, and never none: to sockets no time means for ever.
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
