//! A line of the session, and what it says beside the engine's events.
//!
//! Between the [report](crate::report) that makes the lines and the sinks that write them.
//!
//! **Invariant:** plain values. Text under `About`, [`Opening`] and [`Retry`] is as it was received, not yet safe to show.

use crate::pull::failure::{Failure, Kind};
use crate::pull::layer::{Layer, Phase};
use crate::pull::snapshot::Snapshot;
use std::ops::Range;

/// Bytes of an ordinary line with its stamp: the bar of the whole has three in each of its 50 cells.
pub(crate) const LINE_BYTES: usize = 256;

/// Which part of the session a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Opening,
    Body,
    Closing,
}

/// What a line is about, for sinks that show it in a form of their own. Text in here is as it was received, not yet safe to
/// show.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// A line across, which divides.
    Rule,
    /// Nothing that another line does not say too: headings, the closing block.
    Text,
    Image(Topic, &'a str),
    /// How far the whole is.
    Overall(Snapshot<'a>),
    /// A layer and the phase that the line is about: the layer itself may be further on.
    Layer(&'a Layer, Phase),
    /// A layer is fetched again from its beginning.
    Restart(&'a Layer),
}

/// What a line says of the image as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Its name: the pull begins.
    Name,
    Repository,
    Digest,
    Status,
    /// A warning of the engine.
    Warning,
    /// A warning of this program.
    Notice,
    /// How much there is to fetch.
    Sizes,
    /// Why there is to be another attempt, and of what kind that is.
    Retry(Kind),
    /// The layer that moved last, when nothing has moved for long.
    Stuck,
}

/// A bar within a line: where it stands, and what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) place: Range<usize>,
    pub(crate) part: u64,
    pub(crate) whole: u64,
    /// Cells between its brackets.
    pub(crate) cells: usize,
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
    /// The bar in `text`.
    pub(crate) bar: Option<Bar>,
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
    /// Seconds until it begins; 0 is at once.
    pub(crate) wait: u64,
    /// Why the one before failed.
    pub(crate) failure: Failure,
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
