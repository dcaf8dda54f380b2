//! The story on standard output, line by line: for pipes, Puppet, and terminals that are none.
//!
//! Apart from the log because an output has an alphabet ([`Glyphs`]) and readers that may not read ([`Patience`]).
//!
//! **Invariant:** the raw lines of the engine never come here.

use crate::line::{Line, Part};
use crate::output::{Glyphs, Output, Patience};
use crate::sink::Sink;
use crate::stamp::Stamp;
use crate::text;
use std::io;

/// Standard output as a sink.
pub(crate) struct Plain {
    pub(crate) output: Output,
    pub(crate) stamp: Stamp,
    pub(crate) glyphs: Glyphs,
    pub(crate) color: bool,
    pub(crate) patience: Patience,
    pub(crate) buffer: String,
    pub(crate) colored: String,
}

impl Sink for Plain {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(text) = line.text else { return Ok(()) };
        self.buffer.clear();
        self.stamp.push(line.at, &mut self.buffer);
        if self.color {
            self.colored.clear();
            text::push_green(text, &mut self.colored);
            self.glyphs.push(&self.colored, &mut self.buffer);
        } else {
            self.glyphs.push(text, &mut self.buffer);
        }
        self.buffer.push('\n');
        self.patience.write(&mut self.output, self.buffer.as_bytes(), line.part == Part::Closing)
    }
}
