//! How a stream ended, what that makes of the pull, and the exit code of both.
//!
//! **Invariant:** 0 is a success and nothing else.

use crate::pull::failure::Failure;

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last chunk.
    Complete,
    /// In the middle, for this reason where one is known.
    Cut(Option<Failure>),
    /// It never began: an HTTP status other than 200.
    Refused(u16),
    /// Nothing moved for as long as was allowed; for this reason where one is known.
    Stalled(Option<Failure>),
    /// This signal was caught.
    Signal(i32),
    /// `docker pull` has ended with this exit code.
    Exited(u8),
}

/// Whether the pull has succeeded, as far as the stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// No final status, as podman does it. It has succeeded if there is an image whose id begins with this.
    Undecided(String),
    Failed(Failure),
    /// The signal.
    Interrupted(i32),
}

impl Verdict {
    /// The exit code of a pull that ended so: docker's own where it failed.
    pub(crate) fn exit_code(&self, end: &End) -> u8 {
        match (self, end) {
            (Self::Success, _) => 0,
            (Self::Interrupted(signal), _) => signal_exit_code(*signal),
            (Self::Failed(_) | Self::Undecided(_), End::Exited(code)) => *code,
            (Self::Failed(_) | Self::Undecided(_), _) => 1,
        }
    }
}

/// The exit code of a program that a signal ended, as shells have it.
pub(crate) fn signal_exit_code(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}
