//! Writing to a terminal or a pipe without ever blocking on it.
//!
//! A pipe without a reader, a terminal that was stopped with Ctrl-S or is behind a dead SSH connection: none of them
//! may delay a pull or its end. The flags of an open file are shared with other processes and must not be changed, so a
//! terminal is opened a second time.
//!
//! **Invariant:** no call blocks longer than the wait that it was given, and only whole lines are written.

use crate::os::wait::{OnTick, TICK, ready};
use rustix::event::PollFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Linux's `PIPE_BUF`: a pipe that poll reports as writable accepts this many bytes without blocking.
const PIECE: usize = 4096;

/// How long a slow reader is waited for after a signal, which has to end the program within 100 ms.
const STOPPING: Duration = Duration::from_millis(30);

/// How long the closing lines of a live pull wait for a slow reader.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);

/// What to do if nobody reads.
pub(crate) enum WritePolicy {
    /// Drop lines: a live pull goes on. Only the closing lines wait, all of them together this long; and only for a
    /// moment once the callback says that the program is to stop.
    Live(Duration, Box<dyn FnMut() -> ControlFlow<()>>),
    /// Wait as long as the callback says so, which is called on each tick. A reader that closed the pipe is no error.
    Endless(Box<dyn FnMut() -> ControlFlow<()>>),
}

impl WritePolicy {
    /// Writes whole lines; `is_closing` marks the closing lines.
    pub(crate) fn write(&mut self, output: &mut Output, lines: &[u8], is_closing: bool) -> io::Result<()> {
        match self {
            Self::Live(..) if !is_closing => output.offer(lines, Duration::ZERO).map(drop),
            Self::Live(left, go_on) => {
                if go_on().is_break() {
                    *left = (*left).min(STOPPING);
                }
                let before = Instant::now();
                let written = output.offer(lines, *left);
                *left = left.saturating_sub(before.elapsed());
                written.map(drop)
            }
            Self::Endless(on_tick) => output.write(lines, TICK, on_tick).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => io::ErrorKind::Interrupted.into(),
                _ => error,
            }),
        }
    }
}

/// Whether standard output can show colours, and the user did not switch them off.
pub(crate) fn stdout_takes_color() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard output is a terminal whose cursor can be moved.
pub(crate) fn stdout_has_cursor() -> bool {
    let is_able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    io::stdout().is_terminal() && is_able
}

/// What may be done with the terminal on which something was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It can be drawn over.
    Same,
    /// It is somewhere above: the next frame begins below the cursor.
    Lost,
    /// Nothing, because the shell uses it (`bg`).
    Taken,
}

/// One of the program's own outputs.
pub(crate) struct Output {
    file: File,
    /// How many bytes are written at once: unlimited if the terminal could be opened a second time, non-blocking.
    piece: usize,
    /// The rest of a line that was written in part: it is written before anything else.
    rest: Vec<u8>,
}

impl Output {
    pub(crate) fn stdout() -> io::Result<Self> {
        Ok(Self::of(io::stdout().as_fd().try_clone_to_owned()?, "/proc/self/fd/1"))
    }

    pub(crate) fn stderr() -> io::Result<Self> {
        Ok(Self::of(io::stderr().as_fd().try_clone_to_owned()?, "/proc/self/fd/2"))
    }

    /// An output on `shared`; `path` is the same terminal, if it is one.
    pub(crate) fn of(shared: OwnedFd, path: &str) -> Self {
        let (mut file, mut piece) = (File::from(shared), PIECE);
        // poll reports a terminal as writable, and a write of more bytes than it accepts blocks nevertheless.
        if file.is_terminal() {
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
            // If that is refused (another user's terminal, no /proc), the shared descriptor is used, and polled before
            // each piece.
            if let Ok(own) = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path) {
                (file, piece) = (own, usize::MAX);
            }
        }
        Self { file, piece, rest: Vec::new() }
    }

    /// Writes `bytes` (whole lines) if there is room within `wait`, and returns whether it did. Lines that do not fit
    /// are dropped, but never half of one: the rest of a line is written before anything else.
    pub(crate) fn offer(&mut self, bytes: &[u8], wait: Duration) -> io::Result<bool> {
        let until = Instant::now() + wait;
        let rest = std::mem::take(&mut self.rest);
        let mut left = self.write_some(&rest, until)?;
        if left > 0 {
            self.rest = rest[rest.len() - left..].to_vec();
            return Ok(false);
        }
        left = self.write_some(bytes, until)?;
        if left > 0 && left < bytes.len() {
            self.rest = bytes[bytes.len() - left..].to_vec();
        }
        Ok(left < bytes.len())
    }

    /// Writes all of `bytes`, however long that takes, as long as `on_tick` says so; it is called after each `tick`.
    pub(crate) fn write(&mut self, bytes: &[u8], tick: Duration, on_tick: OnTick<'_>) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        for bytes in [&rest, bytes] {
            let mut left = bytes.len();
            while left > 0 {
                left = self.write_some(&bytes[bytes.len() - left..], Instant::now() + tick)?;
                if left > 0 && on_tick().is_break() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        Ok(())
    }

    /// Columns and rows of the terminal; 80 and 24 if it does not report them (a serial line).
    pub(crate) fn size(&self) -> (usize, usize) {
        match rustix::termios::tcgetwinsize(&self.file) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// What may be done with what was drawn here. `continued` is set if this program was stopped since the last call: meanwhile
    /// others have written on the terminal. A program that has never been stopped is not asked for its group: `timeout` gives
    /// one of its own to what it starts.
    pub(crate) fn place(&self, continued: &AtomicBool) -> Place {
        if !continued.load(Ordering::Relaxed) {
            Place::Same
        } else if rustix::termios::tcgetpgrp(&self.file).is_ok_and(|group| group != rustix::process::getpgrp()) {
            Place::Taken
        } else {
            continued.store(false, Ordering::Relaxed);
            Place::Lost
        }
    }

    /// Writes what fits until then, and returns how many bytes are left. The limit is for all pieces together: a reader
    /// that accepts a little again and again (a serial line) must not delay us as long as it likes.
    fn write_some(&mut self, bytes: &[u8], until: Instant) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            if !ready(&self.file, PollFlags::OUT, until.saturating_duration_since(Instant::now()))? {
                break;
            }
            match self.file.write(&bytes[written..bytes.len().min(written.saturating_add(self.piece))]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(bytes.len() - written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read as _};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    const NOW: Duration = Duration::ZERO;

    fn pipe() -> (PipeReader, Output) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, Output::of(writer.into(), "/nonexistent"))
    }

    /// The bytes that can be read without waiting.
    fn drain(reader: &PipeReader) -> Vec<u8> {
        let mut file = File::from(reader.as_fd().try_clone_to_owned().unwrap());
        let mut found = Vec::new();
        while ready(&file, PollFlags::IN, NOW).unwrap() {
            let mut buffer = [0; 4096];
            let count = file.read(&mut buffer).unwrap();
            found.extend_from_slice(&buffer[..count]);
        }
        found
    }

    #[test]
    fn lines_that_do_not_fit_are_left_out_whole() {
        let (reader, mut output) = pipe();
        let mut offered = 0;
        // Far more than a pipe holds, in lines whose length does not divide a page.
        for number in 0..5000 {
            let line = format!("{number:0>100}\n");
            output.offer(line.as_bytes(), NOW).unwrap();
            offered += line.len();
        }
        let first = drain(&reader);
        assert!(first.len() > 10_000 && first.len() < offered);
        output.offer(b"next\n", NOW).unwrap();
        let mut all = first;
        all.extend(drain(&reader));
        let text = String::from_utf8(all).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.last(), Some(&"next"));
        assert!(lines[..lines.len() - 1].iter().all(|line| line.len() == 100), "half a line");
        assert!(lines.is_sorted());
    }

    #[test]
    fn a_long_line_goes_on_where_it_was_broken_off() {
        let (reader, mut output) = pipe();
        let long = format!("{}\n", "x".repeat(200_000));
        output.offer(long.as_bytes(), NOW).unwrap();
        output.offer(b"left out\n", NOW).unwrap();
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.extend(drain(&reader));
            if output.rest.is_empty() {
                break;
            }
            output.offer(b"left out\n", NOW).unwrap();
        }
        all.extend(drain(&reader));
        let text = String::from_utf8(all).unwrap();
        assert!(text.starts_with(&long));
        assert!(text[long.len()..].lines().all(|line| line == "left out"));
    }

    #[test]
    fn whoever_waits_loses_nothing() {
        let (mut reader, mut output) = pipe();
        let bytes = b"0123456789\n".repeat(50_000);
        let expected = bytes.clone();
        std::thread::scope(|scope| {
            let read = scope.spawn(move || {
                let mut all = vec![0; expected.len()];
                reader.read_exact(&mut all).map(|()| all == expected)
            });
            output.write(&bytes, Duration::from_millis(1), &mut || ControlFlow::Continue(())).unwrap();
            assert!(read.join().unwrap().unwrap());
        });
    }

    #[test]
    fn waiting_ends_when_the_tick_says_so() {
        let (_reader, mut output) = pipe();
        let bytes = vec![b'x'; 1 << 20];
        let mut ticks = 0;
        let error = output.write(&bytes, Duration::from_millis(1), &mut || {
            ticks += 1;
            if ticks < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(ticks, 3);
        let begun = Instant::now();
        output.offer(b"x\n", Duration::from_millis(20)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_reader_that_takes_a_little_again_and_again_is_not_waited_for_longer() {
        let (mut reader, mut output) = pipe();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // A page in 5 ms: all of it would take more than a second.
            scope.spawn(|| {
                let mut page = [0; PIECE];
                while !is_over.load(Ordering::Relaxed) {
                    let _ = reader.read(&mut page).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
                // Read to the end, so that the writer is not blocked.
                reader.read_to_end(&mut Vec::new()).unwrap();
            });
            let begun = Instant::now();
            let bytes = vec![b'x'; 1 << 20];
            assert!(output.offer(&bytes, Duration::from_millis(100)).unwrap(), "a part of it was taken");
            let offered = begun.elapsed();
            let mut asked = 0;
            let error = output.write(&[], Duration::from_millis(10), &mut || {
                asked += 1;
                if asked < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Interrupted);
            let written = begun.elapsed().saturating_sub(offered);
            is_over.store(true, Ordering::Relaxed);
            drop(output);
            assert!(offered >= Duration::from_millis(100), "{offered:?}");
            assert!(offered < Duration::from_millis(500) && written < Duration::from_millis(500), "{written:?}");
        });
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error() {
        let (reader, mut output) = pipe();
        drop(reader);
        assert_eq!(output.offer(b"x\n", NOW).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
