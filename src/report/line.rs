//! A line of the session, and what there is to tell beside the engine's events.
//!
//! Between the [report](crate::report) that makes the lines and the sinks that write them.
//!
//! **Invariant:** plain values. Text under `About`, [`Opening`] and [`Retry`] is as it came, not yet safe to show.

use crate::pull::layer::{Layer, Phase};

/// Which part of the session a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Opening,
    Body,
    Closing,
}

/// What a line tells, for sinks that tell it in a way of their own. Text in here is as it came, not yet safe to show.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// Nothing that no other line tells: rules, headings, the closing block.
    Looks,
    Image(Topic, &'a str),
    /// A layer and the phase that the line is about: the layer itself may be further on.
    Layer(&'a Layer, Phase),
}

/// What is told of the image as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Its name: the pull begins.
    Name,
    Repository,
    Digest,
    Status,
    Warning,
    /// Why there is to be another attempt.
    Retry,
    /// The layer that moved last, when nothing has moved for long.
    Stuck,
}

/// One step of the session: a line for people, or what the engine said, or both.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Milliseconds since the pull began.
    pub(crate) at: u64,
    pub(crate) part: Part,
    pub(crate) about: About<'a>,
    /// The engine's own line, which caused this one.
    pub(crate) raw: Option<&'a str>,
    /// Safe, of bounded length, without stamp or line end; `None` where the raw line is all there is to say.
    pub(crate) text: Option<&'a str>,
}

/// How an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Api,
    Cli,
}

/// What is known when an attempt begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) image: String,
    pub(crate) method: Method,
    /// Why the fallback is used.
    pub(crate) reason: Option<String>,
    /// The process that is pulling the same image already.
    pub(crate) attached: Option<String>,
}

/// Another attempt that is to begin after a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// 1 for the second attempt.
    pub(crate) number: u64,
    /// How many there may be.
    pub(crate) limit: Option<u64>,
    /// Seconds until it begins.
    pub(crate) wait: u64,
    /// Why the one before failed.
    pub(crate) reason: String,
}

/// The name of a signal that this program answers to.
pub(crate) fn signal_name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".into(),
        2 => "SIGINT".into(),
        9 => "SIGKILL".into(),
        15 => "SIGTERM".into(),
        other => format!("signal {other}"),
    }
}
