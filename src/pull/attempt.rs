//! Whether a failed attempt is followed by another, and after how long.
//!
//! **Invariant:** pure. What cannot pass by itself (a name, a login, a full disk) is never tried again.

use crate::pull::failure::Kind;

/// Seconds before each further attempt; the last one stays.
const WAITS: [u64; 5] = [5, 10, 20, 40, 60];

/// The attempts of one run.
pub(crate) struct Attempts {
    /// How many further ones there may be.
    limit: u64,
    /// How many there were.
    number: u64,
    /// How many attempts broke off after the run had moved bytes.
    after_bytes: u64,
}

impl Attempts {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, number: 0, after_bytes: 0 }
    }

    /// An attempt has failed for a reason of this kind: the number of the next (1 for the second attempt) and the seconds
    /// before it, where there is to be one. `has_moved`: this run has moved bytes; `was_there`: the engine had answered before.
    ///
    /// An engine that throws away what a broken pull has fetched gets one further attempt after bytes were moved: more
    /// would fetch the same again and again over a link that is perhaps paid for.
    pub(crate) fn next(
        &mut self,
        kind: Kind,
        has_moved: bool,
        was_there: bool,
        keeps_layers: &mut dyn FnMut() -> bool,
    ) -> Option<(u64, u64)> {
        self.after_bytes += u64::from(has_moved);
        let may_pass = match kind {
            Kind::Unreachable | Kind::ServerError | Kind::EngineGone | Kind::Stalled => true,
            Kind::EngineDown => was_there,
            _ => false,
        };
        if self.number >= self.limit || !may_pass || (has_moved && self.after_bytes > 1 && !keeps_layers()) {
            return None;
        }
        let wait = WAITS[usize::try_from(self.number).unwrap_or(usize::MAX).min(WAITS.len() - 1)];
        self.number += 1;
        Some((self.number, wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_and_end_with_the_limit() {
        let mut attempts = Attempts::new(7);
        let next = || attempts.next(Kind::Unreachable, false, true, &mut || unreachable!("nothing has moved"));
        let all: Vec<_> = std::iter::from_fn(next).collect();
        assert_eq!(all, [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (7, 60)]);
        assert_eq!(Attempts::new(0).next(Kind::Unreachable, false, true, &mut || true), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let next = |kind, was_there| Attempts::new(1).next(kind, false, was_there, &mut || true).is_some();
        for kind in [Kind::Unreachable, Kind::ServerError, Kind::EngineGone, Kind::Stalled] {
            assert!(next(kind, true) && next(kind, false), "{kind:?}");
        }
        assert!(next(Kind::EngineDown, true) && !next(Kind::EngineDown, false));
        for kind in [Kind::Login, Kind::NotFound, Kind::DiskFull] {
            assert!(!next(kind, true), "{kind:?}");
        }
    }

    #[test]
    fn bytes_are_not_fetched_again_and_again() {
        let mut attempts = Attempts::new(9);
        assert_eq!(attempts.next(Kind::EngineGone, true, true, &mut || false), Some((1, 5)));
        assert_eq!(attempts.next(Kind::EngineGone, true, true, &mut || true), Some((2, 10)));
        assert_eq!(attempts.next(Kind::EngineGone, true, true, &mut || false), None);
    }
}
