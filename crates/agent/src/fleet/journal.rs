//! Which lines are logged: changes, not each attempt.
//!
//! **Invariant:** a reason is logged once an hour at most, however often it recurs, so a device that is offline for a week
//! does not fill its memory card.

use std::time::Duration;

const REPEAT_AFTER: Duration = Duration::from_hours(1);

/// What was logged about the connection.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The reasons of the last hour, and when each was logged.
    logged: Vec<(String, Duration)>,
    /// Whether the last line about the connection says that there is none.
    is_down: bool,
    /// Whether a connection was ever logged.
    was_up: bool,
}

/// If there are more different reasons than this in an hour, the oldest is forgotten.
const MAX_REASONS: usize = 16;

impl Journal {
    /// The line to log for a failure, unless the same was logged within the hour.
    pub(crate) fn failure(&mut self, reason: &str, at: Duration) -> Option<String> {
        self.is_new(reason, at).then(|| reason.to_owned())
    }

    /// The line to log for a connection that failed or was lost.
    pub(crate) fn down(&mut self, reason: &str, at: Duration) -> Option<String> {
        let line = self.failure(reason, at);
        self.is_down |= line.is_some();
        line
    }

    /// The line to log for a connection: for the first one, and after a logged failure.
    pub(crate) fn up(&mut self, line: &str) -> Option<String> {
        let is_logged = self.is_down || !self.was_up;
        (self.is_down, self.was_up) = (false, true);
        is_logged.then(|| line.to_owned())
    }

    fn is_new(&mut self, reason: &str, at: Duration) -> bool {
        self.logged.retain(|(_, logged)| at.saturating_sub(*logged) < REPEAT_AFTER);
        if self.logged.iter().any(|(logged, _)| logged == reason) {
            return false;
        }
        if self.logged.len() == MAX_REASONS {
            self.logged.remove(0);
        }
        self.logged.push((reason.to_owned(), at));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_logged_once_an_hour() {
        let mut journal = Journal::default();
        let mut lines = 0;
        for second in (0..4 * 3600).step_by(7) {
            lines += usize::from(journal.down("no route", Duration::from_secs(second)).is_some());
        }
        assert_eq!(lines, 4);
        assert!(journal.down("refused", Duration::from_hours(4)).is_some());
    }

    #[test]
    fn a_connection_is_logged_after_a_failure_that_was_logged() {
        let mut journal = Journal::default();
        let at = Duration::from_secs;
        assert!(journal.up("up").is_some());
        assert!(journal.up("up").is_none());
        assert!(journal.down("lost", at(1)).is_some());
        assert!(journal.up("up").is_some());
        // A connection that flaps for a known reason is not logged each time.
        assert!(journal.down("lost", at(2)).is_none());
        assert!(journal.up("up").is_none());
    }
}
