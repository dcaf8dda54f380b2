//! What the journal is told: changes, not tries.
//!
//! **Invariant:** a reason that lasts is told once an hour, whatever happens how often; a device that is offline for a week
//! has filled no card.

use std::time::Duration;

const REMINDED: Duration = Duration::from_hours(1);

/// Which line was told when, of one subject.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    told: Vec<(String, Duration)>,
    /// Whether the last that was told of the connection is that there is none.
    is_down: bool,
    /// Whether a connection was told of at all.
    was_up: bool,
}

/// More different reasons than this in an hour, and the oldest is forgotten.
const MOST: usize = 16;

impl Journal {
    /// The line to be written where something went wrong, unless it was told within the hour.
    pub(crate) fn wrong(&mut self, reason: &str, at: Duration) -> Option<String> {
        self.is_news(reason, at).then(|| reason.to_owned())
    }

    /// The line for a connection that was not to be had, or was lost.
    pub(crate) fn down(&mut self, reason: &str, at: Duration) -> Option<String> {
        let line = self.wrong(reason, at);
        self.is_down |= line.is_some();
        line
    }

    /// The line for a connection: after one that said that there was none, and the first.
    pub(crate) fn up(&mut self, line: &str) -> Option<String> {
        let is_told = self.is_down || !self.was_up;
        (self.is_down, self.was_up) = (false, true);
        is_told.then(|| line.to_owned())
    }

    fn is_news(&mut self, reason: &str, at: Duration) -> bool {
        self.told.retain(|(_, told)| at.saturating_sub(*told) < REMINDED);
        if self.told.iter().any(|(told, _)| told == reason) {
            return false;
        }
        if self.told.len() == MOST {
            self.told.remove(0);
        }
        self.told.push((reason.to_owned(), at));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_an_hour() {
        let mut journal = Journal::default();
        let mut lines = 0;
        for second in (0..4 * 3600).step_by(7) {
            lines += usize::from(journal.down("no route", Duration::from_secs(second)).is_some());
        }
        assert_eq!(lines, 4);
        assert!(journal.down("refused", Duration::from_hours(4)).is_some());
    }

    #[test]
    fn a_connection_is_told_after_a_failure_that_was_told() {
        let mut journal = Journal::default();
        let at = Duration::from_secs;
        assert!(journal.up("up").is_some());
        assert!(journal.up("up").is_none());
        assert!(journal.down("lost", at(1)).is_some());
        assert!(journal.up("up").is_some());
        // It flaps: the reason is known, and so is that it comes back.
        assert!(journal.down("lost", at(2)).is_none());
        assert!(journal.up("up").is_none());
    }
}
