//! What the session is told to: the log, a pipe, a terminal.
//!
//! **Invariant:** a sink that failed is not used again, and the others never learn of it.

mod frame;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod plain;
pub(crate) mod screen;

use crate::pull::{Pull, Verdict};
use crate::report::line::Line;
use std::io;

/// Where the session goes. After an error a sink is not used again.
pub(crate) trait Sink {
    /// Writes one line.
    fn line(&mut self, line: &Line<'_>) -> io::Result<()>;

    /// Shows how things stand, if it shows that at all. Called after each event and on each tick.
    fn frame(&mut self, _pull: &mut Pull, _at: u64) -> io::Result<()> {
        Ok(())
    }

    /// Something else is about to be written to the terminal.
    fn step_aside(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The last line is out.
    fn close(&mut self, _closing: &mut Closing<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// How the session ended.
pub(crate) struct Closing<'a> {
    pub(crate) at: u64,
    pub(crate) pull: &'a mut Pull,
    pub(crate) verdict: &'a Verdict,
    pub(crate) exit: u8,
}
