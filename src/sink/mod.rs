//! Where the lines of a session go: the log, a pipe, a terminal, the state file.
//!
//! **Invariant:** a sink that failed is not used again, and the other sinks do not notice.

pub(crate) mod checked;
pub(crate) mod complaint;
mod frame;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod open;
pub(crate) mod plain;
pub(crate) mod quiet;
pub(crate) mod screen;
pub(crate) mod state;

use crate::os::charset::Charset;
use crate::pull::Verdict;
use crate::pull::snapshot::Snapshot;
use crate::report::bar;
use crate::report::line::{Bar, Line};
use std::io;

/// Once so many bytes are held back they are written; and the space for them and a last line.
const MAX_HELD: usize = 512;
const HELD_SPACE: usize = 1024;

/// An output of the session. It is not used again after an error.
pub(crate) trait Sink {
    /// Writes one line, or holds it back until [`flush`](Self::flush): the lines of one read are written at once.
    fn line(&mut self, line: &Line<'_>) -> io::Result<()>;

    /// Writes what was held back, and draws the present state, if the sink shows it. Called after the lines of each read and on
    /// each tick.
    fn frame(&mut self, _snapshot: &Snapshot<'_>) -> io::Result<()> {
        self.flush()
    }

    /// Writes the lines that were held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Leaves the terminal to something else that is about to be written there; what was held back for it is written first.
    fn step_aside(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Called after the last line.
    fn close(&mut self, _closing: &Closing<'_>) -> io::Result<()> {
        self.flush()
    }
}

/// A sink, and its name in complaints.
pub(crate) type NamedSink = (String, Box<dyn Sink>);

/// How the session ended.
pub(crate) struct Closing<'a> {
    pub(crate) snapshot: Snapshot<'a>,
    pub(crate) verdict: &'a Verdict,
    pub(crate) exit: u8,
}

/// Appends a line in these characters; its bar is green if `is_colored`.
fn push(text: &str, bar: Option<&Bar>, is_colored: bool, charset: Charset, out: &mut String) {
    match bar.filter(|_| is_colored) {
        Some(bar) => {
            charset.push(&text[..bar.place.start], out);
            out.push_str(bar::GREEN);
            charset.push(&text[bar.place.clone()], out);
            out.push_str(bar::DEFAULT);
            charset.push(&text[bar.place.end..], out);
        }
        None => charset.push(text, out),
    }
}
