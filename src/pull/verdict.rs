//! How a stream ended, what that means for the pull, and the exit code.
//!
//! **Invariant:** the exit code 0 means success and nothing else.

use crate::pull::failure::Failure;

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last chunk.
    Complete,
    /// The connection ended within it; with the reason, if it is known.
    Cut(Option<Failure>),
    /// It never began: the HTTP status was not 200.
    Refused(u16),
    /// Nothing moved for the stall limit; with the reason, if it is known.
    Stalled(Option<Failure>),
    /// This signal was caught.
    Signal(i32),
    /// `docker pull` has ended with this exit code.
    Exited(u8),
}

/// Whether the pull has succeeded, according to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// There was no final status, as podman does it. The pull has succeeded if there is an image whose id begins with
    /// this text.
    Undecided(String),
    Failed(Failure),
    /// The caught signal.
    Interrupted(i32),
}

impl Verdict {
    /// The exit code of a pull with this end: in the fallback docker's own.
    pub(crate) fn exit_code(&self, end: &End) -> u8 {
        match (self, end) {
            (Self::Success, _) => 0,
            (Self::Interrupted(signal), _) => signal_exit_code(*signal),
            (Self::Failed(_) | Self::Undecided(_), End::Exited(code)) => *code,
            (Self::Failed(_) | Self::Undecided(_), _) => 1,
        }
    }
}

/// The exit code of a program that a signal ended, as in shells.
pub(crate) fn signal_exit_code(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// The name of a signal that ends this program.
pub(crate) fn signal_name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".into(),
        2 => "SIGINT".into(),
        9 => "SIGKILL".into(),
        15 => "SIGTERM".into(),
        other => format!("signal {other}"),
    }
}
