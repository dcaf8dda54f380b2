//! Decides whether a failed attempt is followed by another, and after how long.
//!
//! **Invariant:** pure. A failure that cannot pass by itself (a wrong name, a login, a full disk) is never retried; and
//! one run downloads its bytes from zero at most twice, because the link may be paid by volume.

use crate::pull::failure::{Failure, Kind};
use std::time::Duration;

/// Seconds before each further attempt; the last value is repeated.
const WAITS: [u64; 5] = [5, 10, 20, 40, 60];

/// Up to this time is added to each wait, so that the devices of a fleet do not all return at once.
const MAX_JITTER: Duration = Duration::from_secs(1);

/// Phrases of containerd's errors, in lower case; graphdrivers never use them.
const CONTAINERD_SAYS: [&str; 4] =
    ["failed to copy: ", "httpreadseeker", "short read: expected", "failed to do request: "];

/// What an attempt has downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    Nothing,
    /// Bytes, from where the previous attempt broke off.
    Rest,
    /// Bytes from the beginning of the layers: for the first time, or again.
    FromScratch,
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedAttempt<'a> {
    pub(crate) failure: &'a Failure,
    pub(crate) fetched: Fetched,
    /// Whether an engine had answered before this attempt failed.
    pub(crate) engine_answered: bool,
}

/// Another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// 1 for the second attempt.
    pub(crate) number: u64,
    /// Seconds before it; 0: at once.
    pub(crate) wait: u64,
}

/// The attempts of one run.
pub(crate) struct Attempts {
    /// The limit of further attempts.
    limit: u64,
    /// The number of further attempts so far.
    number: u64,
    /// The number of attempts that had a wait.
    waited: usize,
    has_moved: bool,
    was_at_once: bool,
    /// Whether the latest attempt began at once.
    is_at_once: bool,
    /// The number of attempts that downloaded from the beginning.
    from_scratch: u64,
}

impl Attempts {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, number: 0, waited: 0, has_moved: false, was_at_once: false, is_at_once: false, from_scratch: 0 }
    }

    /// Handles a failed attempt: returns the next one, or `None` if there is to be none. `is_containerd` says whether the
    /// images are in the containerd store; it is called only if the answer matters. That store deletes unfinished layers
    /// 0.1 to 0.4 s after an error; a pull that begins earlier continues them.
    pub(crate) fn next(&mut self, failed: FailedAttempt<'_>, is_containerd: &mut dyn FnMut() -> bool) -> Option<Next> {
        self.has_moved |= failed.fetched != Fetched::Nothing;
        self.from_scratch += u64::from(failed.fetched == Fetched::FromScratch);
        // An attempt that begins at once can meet that deletion, and fail because something is not found that the
        // previous attempt had found a moment before.
        let has_met_deletion = std::mem::take(&mut self.is_at_once)
            && matches!(failed.failure.kind, Kind::NotFound | Kind::Store | Kind::Damaged | Kind::Other);
        let may_pass = failed.failure.may_pass(failed.engine_answered) || has_met_deletion;
        if self.number >= self.limit || !may_pass || self.from_scratch > 1 {
            return None;
        }
        self.number += 1;
        // An engine that is gone does not return at once, and has to be asked again for its API version.
        let is_there = !matches!(failed.failure.kind, Kind::EngineGone | Kind::EngineDown);
        if self.has_moved && !self.was_at_once && is_there && is_containerd() {
            (self.was_at_once, self.is_at_once) = (true, true);
            return Some(Next { number: self.number, wait: 0 });
        }
        let wait = WAITS[self.waited.min(WAITS.len() - 1)];
        self.waited += 1;
        Some(Next { number: self.number, wait })
    }
}

/// Whether only the containerd store words the reason of a broken pull so.
pub(crate) fn is_of_containerd(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    CONTAINERD_SAYS.iter().any(|words| reason.contains(words))
}

/// The time that is added to a wait. `nanoseconds` are those of the wall clock: devices that fail in the same moment
/// differ at least in its last digits, and each digit changes the whole result. `process` is this process's id.
pub(crate) fn jitter(nanoseconds: u32, process: u32) -> Duration {
    // The multiplier of Fibonacci hashing, 2^64 divided by the golden ratio.
    let mixed = (u64::from(process) << 32 ^ u64::from(nanoseconds)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let top = mixed >> 32;
    Duration::from_nanos((top * MAX_JITTER.as_nanos() as u64) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn next(
        attempts: &mut Attempts,
        kind: Kind,
        fetched: Fetched,
        is_containerd: &mut dyn FnMut() -> bool,
    ) -> Option<Next> {
        let failure = Failure::own(kind, "x");
        attempts.next(FailedAttempt { failure: &failure, fetched, engine_answered: true }, is_containerd)
    }

    /// The waits before the attempts that follow failed ones with these downloads.
    fn waits(kind: Kind, is_containerd: bool, all: &[Fetched]) -> Vec<Option<u64>> {
        let mut attempts = Attempts::new(9);
        let wait = |fetched| next(&mut attempts, kind, fetched, &mut || is_containerd).map(|next| next.wait);
        all.iter().copied().map(wait).collect()
    }

    #[test]
    fn the_waits_grow_and_end_with_the_limit() {
        let mut attempts = Attempts::new(7);
        let all: Vec<_> = std::iter::from_fn(|| {
            let ask = &mut || unreachable!("nothing has moved");
            next(&mut attempts, Kind::Unreachable, Fetched::Nothing, ask).map(|next| (next.number, next.wait))
        })
        .collect();
        assert_eq!(all, [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (7, 60)]);
        assert_eq!(next(&mut Attempts::new(0), Kind::Unreachable, Fetched::Rest, &mut || true), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let next = |kind, engine_answered| {
            let failure = Failure::own(kind, "x");
            Attempts::new(1)
                .next(FailedAttempt { failure: &failure, fetched: Fetched::Nothing, engine_answered }, &mut || true)
                .is_some()
        };
        for kind in [Kind::Unreachable, Kind::ServerError, Kind::EngineGone, Kind::Stalled] {
            assert!(next(kind, true) && next(kind, false), "{kind:?}");
        }
        assert!(next(Kind::EngineDown, true) && !next(Kind::EngineDown, false));
        for kind in [Kind::Login, Kind::NotFound, Kind::DiskFull] {
            assert!(!next(kind, true), "{kind:?}");
        }
    }

    #[test]
    fn the_containerd_store_is_asked_again_at_once() {
        use Fetched::{FromScratch, Nothing, Rest};
        let check = |all: &[Fetched], expected: &[Option<u64>]| {
            assert_eq!(waits(Kind::Unreachable, true, all), expected, "{all:?}");
        };
        check(&[FromScratch, Rest, Rest, Rest], &[Some(0), Some(5), Some(10), Some(20)]);
        // The first attempt after bytes have moved, in any position.
        check(&[Nothing, FromScratch, Nothing, Rest], &[Some(5), Some(0), Some(10), Some(20)]);
        check(&[FromScratch, Rest, FromScratch], &[Some(0), Some(5), None]);
        assert_eq!(waits(Kind::Stalled, true, &[FromScratch]), [Some(0)]);
        assert_eq!(waits(Kind::EngineGone, true, &[FromScratch, Rest]), [Some(5), Some(10)]);
        assert_eq!(waits(Kind::EngineDown, true, &[FromScratch]), [Some(5)]);
    }

    #[test]
    fn what_an_attempt_at_once_does_not_find_is_tried_again() {
        use Fetched::{FromScratch, Nothing};
        let mut attempts = Attempts::new(9);
        let mut wait = |kind, fetched| next(&mut attempts, kind, fetched, &mut || true).map(|next| next.wait);
        assert_eq!(wait(Kind::Unreachable, FromScratch), Some(0));
        assert_eq!(wait(Kind::Store, Nothing), Some(5));
        // Not twice.
        assert_eq!(wait(Kind::Store, Nothing), None);
        for (kind, expected) in [
            (Kind::NotFound, Some(5)),
            (Kind::Damaged, Some(5)),
            (Kind::Other, Some(5)),
            (Kind::Login, None),
            (Kind::DiskFull, None),
        ] {
            let mut attempts = Attempts::new(9);
            let mut wait = |kind, fetched| next(&mut attempts, kind, fetched, &mut || true).map(|next| next.wait);
            assert_eq!(wait(kind, Nothing), None, "{kind:?} before anything has come");
            assert_eq!(wait(Kind::Unreachable, FromScratch), Some(0));
            assert_eq!(wait(kind, Nothing), expected, "{kind:?}");
        }
    }

    #[test]
    fn bytes_are_not_fetched_again_and_again() {
        use Fetched::{FromScratch, Nothing, Rest};
        for (is_containerd, first) in [(false, 5), (true, 0)] {
            let next = |all: &[Fetched]| waits(Kind::Unreachable, is_containerd, all);
            assert_eq!(next(&[FromScratch, FromScratch]), [Some(first), None]);
            // What fetched nothing or went on does not count.
            assert!(next(&[FromScratch, Nothing, Rest, Nothing, Rest]).iter().all(Option::is_some));
            assert_eq!(next(&[FromScratch, Nothing, Rest, FromScratch]).last(), Some(&None));
        }
    }

    #[test]
    fn jitter_takes_many_values() {
        let values = |clock: &dyn Fn(u32) -> u32| {
            let all: BTreeSet<_> = (0..1000).map(|step| jitter(clock(step), 4711)).collect();
            assert!(all.iter().all(|jitter| *jitter < MAX_JITTER));
            assert!(all.first() < Some(&(MAX_JITTER / 50)) && all.last() > Some(&(MAX_JITTER / 50 * 49)), "{all:?}");
            all.len()
        };
        // Also of a clock that counts whole microseconds or milliseconds.
        for clock in [1, 1_000, 1_000_000] {
            assert_eq!(values(&|step| step * clock), 1000, "{clock}");
        }
        assert_ne!(jitter(5, 1), jitter(5, 2));
    }

    #[test]
    fn containerds_words() {
        for reason in [
            "failed to copy: read tcp 127.0.0.1:33146->127.0.0.1:5006: read: connection reset by peer",
            "short read: expected 9003010 bytes but got 1096704: unexpected EOF",
        ] {
            assert!(is_of_containerd(reason), "{reason}");
        }
        assert!(!is_of_containerd("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer"));
    }
}
