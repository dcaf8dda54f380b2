//! The session on standard output, line by line: for pipes, Puppet, and terminals without a cursor.
//!
//! Separate from the log, because an output has a [`Charset`], and readers that may not read ([`WritePolicy`]).
//!
//! **Invariant:** the engine's raw lines are never written here.

use crate::os::charset::Charset;
use crate::os::output::{Output, WritePolicy};
use crate::report::line::{Line, Part};
use crate::report::stamp::Stamp;
use crate::sink::{HELD_SPACE, MAX_HELD, Sink, push};
use std::io;

/// Standard output as a sink.
pub(crate) struct Plain {
    output: Output,
    stamp: Stamp,
    charset: Charset,
    color: bool,
    policy: WritePolicy,
    /// Lines that are not written yet.
    held: String,
    /// Closing lines have come.
    is_closing: bool,
}

impl Plain {
    pub(crate) fn new(output: Output, stamp: Stamp, charset: Charset, color: bool, policy: WritePolicy) -> Self {
        let held = String::with_capacity(HELD_SPACE);
        Self { output, stamp, charset, color, policy, held, is_closing: false }
    }
}

impl Sink for Plain {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(text) = line.text else { return Ok(()) };
        self.is_closing |= line.part == Part::Closing;
        self.stamp.push(line.at, &mut self.held);
        push(text, line.bar.as_ref(), self.color, self.charset, &mut self.held);
        self.held.push('\n');
        if self.held.len() < MAX_HELD { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let written = self.policy.write(&mut self.output, self.held.as_bytes(), self.is_closing);
        self.held.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::Pull;
    use crate::pull::meter::Meter;
    use crate::pull::snapshot::Snapshot;
    use crate::report::line::About;
    use std::io::{PipeReader, Read as _};
    use std::ops::ControlFlow;
    use std::time::Duration;
    use time::OffsetDateTime;

    fn plain() -> (PipeReader, Plain) {
        let (reader, writer) = io::pipe().unwrap();
        let policy = WritePolicy::Live(Duration::ZERO, Box::new(|| ControlFlow::Continue(())));
        let stamp = Stamp(OffsetDateTime::UNIX_EPOCH);
        (reader, Plain::new(Output::of(writer.into(), "/nonexistent"), stamp, Charset::All, false, policy))
    }

    fn line(text: &str) -> Line<'_> {
        Line { at: 0, part: Part::Body, raw: None, text: Some(text), about: About::Text, bar: None }
    }

    #[test]
    fn the_lines_of_a_read_are_written_at_once() {
        let (mut reader, mut plain) = plain();
        plain.line(&line("first")).unwrap();
        plain.line(&line("second")).unwrap();
        let (pull, meter) = (Pull::default(), Meter::default());
        plain.frame(&Snapshot { pull: &pull, meter: &meter, at: 0 }).unwrap();
        let mut buffer = [0; 4096];
        let stamp = "[1970-01-01 00:00:00]";
        // A pipe returns what was written by then.
        let count = reader.read(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..count]).unwrap(), format!("{stamp} first\n{stamp} second\n"));
        let long = "x".repeat(MAX_HELD);
        plain.line(&line(&long)).unwrap();
        plain.line(&line("before a complaint")).unwrap();
        plain.step_aside().unwrap();
        drop(plain);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("{stamp} {long}\n{stamp} before a complaint\n"));
    }
}
