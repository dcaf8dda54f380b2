//! Waiting: for a descriptor, in ticks on which signals are checked; and the pause between two reads.
//!
//! **Invariant:** nothing waits longer than its limit; a signal ends every wait.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::Duration;

/// The longest wait of one read: short enough to answer a signal within 100 ms.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Called on every tick of a longer wait; returns whether to continue.
pub(crate) type OnTick<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// Waits at most `time` until `file` is ready for `flags`. A descriptor that failed or hung up is ready, too: the
/// following read or write reports it. With no flags only that ends the wait early.
pub(crate) fn ready(file: impl AsFd, flags: PollFlags, time: Duration) -> io::Result<bool> {
    any_ready(&mut [PollFd::new(&file, flags)], time)
}

/// The same for several descriptors: returns whether one of them is ready.
pub(crate) fn any_ready(files: &mut [PollFd<'_>], time: Duration) -> io::Result<bool> {
    let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    match poll(files, Some(&time)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The longest pause while somebody sees each event: bars still move nearly five times a second. The end of a pull is not
/// delayed by any pause: it ends the sleep. Five of these pauses are a little less than a second, so that a state file of each
/// second has what came a second ago.
pub(crate) const WATCHED: Duration = Duration::from_millis(195);
/// The same, and two in a second, if events only become lines and states, of which there is one a second.
pub(crate) const UNWATCHED: Duration = Duration::from_millis(490);
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// More lines than this in one pause are many: the kernel buffers about 270 writes of the engine, after which the
/// engine blocks.
const MANY_LINES: usize = 100;

/// Decides how long the engine's next lines are left unread: nearly all of a pull's cost is waking up for each line.
pub(crate) struct ReadPacer {
    max: Duration,
    last: Duration,
    /// The lines read since the last pause.
    lines: usize,
}

impl ReadPacer {
    /// `max` is the longest pause.
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, last: max, lines: 0 }
    }

    /// Counts a line that was read.
    pub(crate) fn line(&mut self) {
        self.lines += 1;
    }

    /// The length of the next pause: shorter after many lines, and if the data ends within a line, because then the
    /// engine writes in small pieces.
    pub(crate) fn next(&mut self, is_within_line: bool) -> Duration {
        let lines = std::mem::take(&mut self.lines);
        let is_behind = is_within_line || lines > MANY_LINES;
        self.last = if is_behind { (self.last / 2).max(MIN_PAUSE) } else { (self.last * 2).min(self.max) };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_the_shorter_the_more_is_read() {
        let mut pacer = ReadPacer::new(WATCHED);
        let mut next = |lines, is_within_line| {
            (0..lines).for_each(|_| pacer.line());
            pacer.next(is_within_line).as_micros()
        };
        assert_eq!(
            [0, 100, 101, 101, 100, 0, 0].map(|lines| next(lines, false)),
            [195_000, 195_000, 97_500, 48_750, 97_500, 195_000, 195_000]
        );
        assert_eq!(
            [0; 9].map(|lines| next(lines, true)),
            [97_500, 48_750, 24_375, 12_187, 6_093, 3_046, 1_523, 1_000, 1_000]
        );
        assert_eq!(next(0, false), 2_000);
        let mut unwatched = ReadPacer::new(UNWATCHED);
        let next = |is_within_line| unwatched.next(is_within_line).as_millis();
        assert_eq!([false, true, true, false, false, false].map(next), [490, 245, 122, 245, 490, 490]);
    }
}
