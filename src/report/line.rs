//! A line of the session, and what else the session has to say: its opening and its retries.
//!
//! The interface between the [report](crate::report), which makes lines, and the sinks, which write them.
//!
//! **Invariant:** plain values. The text in `About`, [`Opening`] and [`Retry`] is as it was received, and not
//! sanitized.

use crate::pull::failure::{Failure, Kind};
use crate::pull::layer::{Layer, Phase};
use crate::pull::snapshot::Snapshot;
use std::ops::Range;

/// Bytes of an ordinary line with its stamp: each of the overall bar's 50 characters takes three bytes.
pub(crate) const LINE_BYTES: usize = 256;

/// Which part of the session a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Opening,
    Body,
    Closing,
}

/// What a line is about, for sinks with a form of their own. The text in it is as it was received, and not sanitized.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// A horizontal line.
    Rule,
    /// Nothing that other lines do not report, too: headings, the closing block.
    Text,
    Image(Topic, &'a str),
    /// The overall progress.
    Overall(Snapshot<'a>),
    /// A layer, and the phase that the line is about; the layer itself may have reached a later phase.
    Layer(&'a Layer, Phase),
    /// A layer is downloaded again from the beginning.
    Restart(&'a Layer),
}

/// Which fact about the image a line reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Its name: the pull begins.
    Name,
    Repository,
    Digest,
    Status,
    /// A warning from the engine.
    Warning,
    /// A warning from this program.
    Notice,
    /// How many bytes have to be downloaded.
    Sizes,
    /// Why there is another attempt, and the kind of that failure.
    Retry(Kind),
    /// Nothing has moved for long; the text is the layer that moved last.
    Stuck,
}

/// A bar within a line: its place, and what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) place: Range<usize>,
    pub(crate) part: u64,
    pub(crate) whole: u64,
    /// Characters between its brackets.
    pub(crate) cells: usize,
}

/// One step of the session: a line for people, an engine's raw line, or both.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Milliseconds since the pull began.
    pub(crate) at: u64,
    pub(crate) part: Part,
    pub(crate) about: About<'a>,
    /// The engine's raw line that caused this one.
    pub(crate) raw: Option<&'a str>,
    /// Sanitized, of bounded length, without stamp and line end; `None` if there is only the raw line.
    pub(crate) text: Option<&'a str>,
    /// The bar in `text`.
    pub(crate) bar: Option<Bar>,
}

/// How the image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Api,
    Cli,
}

/// What is known when the pull begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) image: String,
    pub(crate) method: Method,
    /// Why the fallback is used.
    pub(crate) reason: Option<String>,
    /// The process that is already pulling the same image.
    pub(crate) attached: Option<String>,
}

/// Another attempt, after a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// 1 is the second attempt.
    pub(crate) number: u64,
    /// The limit of further attempts, if there is one.
    pub(crate) limit: Option<u64>,
    /// Seconds until it begins; 0: at once.
    pub(crate) wait: u64,
    /// Why the previous attempt failed.
    pub(crate) failure: Failure,
}
