//! The session on standard output, line by line: for pipes, Puppet, and terminals without a cursor.
//!
//! Separate from the log, because an output has a [`Charset`], and readers that may not read ([`WritePolicy`]).
//!
//! **Invariant:** the engine's raw lines are never written here.

use crate::os::charset::Charset;
use crate::os::output::{Output, WritePolicy};
use crate::report::line::{LINE_BYTES, Line, Part};
use crate::report::stamp::Stamp;
use crate::sink::{Sink, push};
use std::io;

/// Standard output as a sink.
pub(crate) struct Plain {
    output: Output,
    stamp: Stamp,
    charset: Charset,
    color: bool,
    policy: WritePolicy,
    buffer: String,
}

impl Plain {
    pub(crate) fn new(output: Output, stamp: Stamp, charset: Charset, color: bool, policy: WritePolicy) -> Self {
        Self { output, stamp, charset, color, policy, buffer: String::with_capacity(LINE_BYTES) }
    }
}

impl Sink for Plain {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(text) = line.text else { return Ok(()) };
        self.buffer.clear();
        self.stamp.push(line.at, &mut self.buffer);
        push(text, line.bar.as_ref(), self.color, self.charset, &mut self.buffer);
        self.buffer.push('\n');
        self.policy.write(&mut self.output, self.buffer.as_bytes(), line.part == Part::Closing)
    }
}
