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

/// A pull is divided into periods of this many milliseconds, each of which begins with a read of all that has come; then the
/// state file is written: once a second, and so much earlier that what comes right after one write is within a second in the next.
pub(crate) const PERIOD: u64 = 970;

/// The longest pause while somebody sees each event: bars still move five times a second. The end of a pull is not delayed
/// by any pause: it ends the sleep.
pub(crate) const WATCHED: Duration = Duration::from_millis(195);
/// The same if events only become lines and states, of which there is one a second.
pub(crate) const UNWATCHED: Duration = Duration::from_millis(PERIOD);
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// More lines than this in one pause are many: the kernel buffers about 270 writes of the engine, after which the
/// engine blocks.
const MANY_LINES: usize = 100;

/// Up to this many unread bytes are so few that no buffer gets full within a period. The shortest line of an engine has some
/// 100 bytes.
const FEW_BYTES: u64 = 4 << 10;

/// Decides how long the engine's next lines are left unread: nearly all of a pull's cost is waking up for each line.
pub(crate) struct ReadPacer {
    max: Duration,
    last: Duration,
    /// By how much the last pause can be prolonged.
    rest: Duration,
    /// Whether it was too long once: then none is prolonged, because few bytes can be many small pieces.
    was_behind: bool,
    /// The lines read since the last pause.
    lines: usize,
}

impl ReadPacer {
    /// `max` is the longest pause. The first ones are shorter, as a pull on a fast link begins with many lines.
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, last: WATCHED, rest: Duration::ZERO, was_behind: false, lines: 0 }
    }

    /// Counts a line that was read.
    pub(crate) fn line(&mut self) {
        self.lines += 1;
    }

    /// The length of the next pause, `at` so many milliseconds after the pull began: shorter after many lines, and if the data
    /// ends within a line, because then the engine writes in small pieces. It ends with the period at the latest.
    pub(crate) fn next(&mut self, is_within_line: bool, at: u64) -> Duration {
        let lines = std::mem::take(&mut self.lines);
        let is_behind = is_within_line || lines > MANY_LINES;
        let left = Duration::from_millis(PERIOD - at % PERIOD);
        self.last = if is_behind { (self.last / 2).max(MIN_PAUSE) } else { (self.last * 2).min(self.max) };
        let pause = self.last.min(left);
        self.was_behind |= is_behind;
        self.rest = if self.was_behind { Duration::ZERO } else { self.max.min(left).saturating_sub(pause) };
        pause
    }

    /// By how much the pause that has ended is prolonged to the longest, instead of the following ones step by step: if the
    /// `unread` bytes are few.
    pub(crate) fn prolong(&mut self, unread: impl FnOnce() -> u64) -> Option<Duration> {
        let rest = Some(self.rest).filter(|rest| !rest.is_zero() && unread() <= FEW_BYTES)?;
        self.last = self.max;
        Some(rest)
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
            pacer.next(is_within_line, 0).as_micros()
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
    }

    #[test]
    fn a_pause_with_few_bytes_becomes_the_longest() {
        let mut pacer = ReadPacer::new(UNWATCHED);
        let millis = |pause: Option<Duration>| pause.map(|pause| pause.as_millis());
        // From the first pause to the end of the period, and as long from then on, without a look at the bytes.
        assert_eq!(pacer.next(false, 100).as_millis(), 390);
        assert_eq!(millis(pacer.prolong(|| FEW_BYTES)), Some(480));
        assert_eq!(pacer.next(false, 970).as_millis(), 970);
        assert_eq!(pacer.prolong(|| unreachable!()), None);
        // Many bytes; many lines before, or a part of one.
        for (lines, is_within_line, bytes) in [(0, false, FEW_BYTES + 1), (101, false, 0), (0, true, 0)] {
            let mut pacer = ReadPacer::new(UNWATCHED);
            (0..lines).for_each(|_| pacer.line());
            pacer.next(is_within_line, 0);
            assert_eq!(pacer.prolong(|| bytes), None);
        }
        // Not beyond the end of the period, nor longer than somebody wants to wait who watches.
        let mut pacer = ReadPacer::new(UNWATCHED);
        assert_eq!(pacer.next(false, 900).as_millis(), 70);
        assert_eq!(pacer.prolong(|| 0), None);
        let mut pacer = ReadPacer::new(WATCHED);
        assert_eq!(pacer.next(false, 0), WATCHED);
        assert_eq!(pacer.prolong(|| 0), None);
        // Nor after an engine has written small pieces.
        let mut pacer = ReadPacer::new(UNWATCHED);
        assert_eq!(pacer.next(true, 0).as_micros(), 97_500);
        assert_eq!(pacer.next(false, 98).as_millis(), 195);
        assert_eq!(pacer.prolong(|| 0), None);
    }

    #[test]
    fn each_period_begins_with_a_read() {
        // The times of reads that take no time themselves.
        let reads = |max| {
            let (mut pacer, mut at) = (ReadPacer::new(max), 0);
            let mut next = || {
                at += u64::try_from(pacer.next(false, at).as_millis()).unwrap();
                at
            };
            [(); 7].map(|()| next())
        };
        assert_eq!(reads(UNWATCHED), [390, 970, 1_940, 2_910, 3_880, 4_850, 5_820]);
        assert_eq!(reads(WATCHED), [195, 390, 585, 780, 970, 1_165, 1_360]);
        // After a read that was early or late.
        let mut pacer = ReadPacer::new(UNWATCHED);
        assert_eq!([1_900, 1_950, 2_909, 2_911].map(|at| pacer.next(false, at).as_millis()), [40, 780, 1, 969]);
    }
}
