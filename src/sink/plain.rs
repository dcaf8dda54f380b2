//! The session on standard output, line by line: for pipes, Puppet, and terminals that are none.
//!
//! Apart from the log because an output has an alphabet ([`Charset`]) and readers that may not read ([`WritePolicy`]).
//!
//! **Invariant:** the raw lines of the engine never come here.

use crate::os::charset::{self, Charset};
use crate::os::output::{Output, WritePolicy};
use crate::report::line::{Line, Part};
use crate::report::stamp::Stamp;
use crate::sink::Sink;
use std::io;

/// Standard output as a sink.
pub(crate) struct Plain {
    pub(crate) output: Output,
    pub(crate) stamp: Stamp,
    pub(crate) charset: Charset,
    pub(crate) color: bool,
    pub(crate) policy: WritePolicy,
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
            charset::push_green(text, &mut self.colored);
            self.charset.push(&self.colored, &mut self.buffer);
        } else {
            self.charset.push(text, &mut self.buffer);
        }
        self.buffer.push('\n');
        self.policy.write(&mut self.output, self.buffer.as_bytes(), line.part == Part::Closing)
    }
}
