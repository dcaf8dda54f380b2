//! How a run changes the previous state: what is kept, what is removed, what is set.
//!
//! Separate from the writers of states, because a pull, its fallback and a check must follow the same rules, and because the
//! rules can be tested here without a clock or a file.
//!
//! **Invariant:** only a success clears `failing_since`; an interruption changes neither it nor the counts.

use crate::sweep::{AHEAD, BUILT};
use crate::{Image, Status, Time, VERSION};

/// The result of a successful pull.
#[derive(Debug, Clone, Default)]
pub struct Pulled {
    /// The digest of the image, as the engine reported it.
    pub digest: Option<String>,
    /// Nothing had to be pulled.
    pub up_to_date: bool,
    /// The bytes that this run downloaded.
    pub bytes: u64,
    /// The duration of this run, in seconds.
    pub seconds: f64,
}

/// Why a pull failed, or why a check got no answer.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// The kind of failure, in kebab-case.
    pub kind: String,
    /// The reason, as a text.
    pub details: String,
    /// Advice: what the user can do.
    pub hint: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone)]
pub enum Checked {
    /// The local image is the one of the registry.
    Current {
        /// Its digest.
        digest: String,
    },
    /// The registry has another image, or there is no local image.
    Newer {
        /// The digest of the local image.
        digest: Option<String>,
        /// The digest of the registry's image, if the registry was asked.
        latest: Option<String>,
    },
    /// The check got no answer.
    Unanswered(Failure),
}

impl Image {
    /// The state of a pull that begins; `before` is the previous state, if there was one.
    #[must_use]
    pub fn begin(id: &str, before: Option<Self>, now: Time) -> Self {
        let before = before.unwrap_or_default();
        let mut image =
            Self { v: VERSION, id: id.to_owned(), text: "Pulling".to_owned(), time: now, since: now, ..before };
        image.status = Status::Working;
        image.end_run();
        image.attempt = Some(1);
        image
    }

    /// Removes what only the state of a running pull has.
    fn end_run(&mut self) {
        (self.pid, self.born, self.beat) = (None, None, None);
        (self.attempt, self.rate, self.left) = (None, None, None);
        (self.current, self.total, self.percent) = (None, None, None);
        self.exact = false;
        self.layers.clear();
    }

    /// Ends the run.
    fn end(&mut self, status: Status, text: &str, exit: u8, now: Time) {
        // After a run that did not succeed, the state still shows how far it came.
        let far = (self.current, self.total, self.percent);
        self.end_run();
        (self.status, self.since, self.time, self.exit) = (status, now, now, Some(exit));
        text.clone_into(&mut self.text);
        if status != Status::Done {
            (self.current, self.total, self.percent) = far;
        }
    }

    /// Ends the run: the pull has succeeded.
    pub fn succeed(&mut self, pulled: Pulled, now: Time) {
        let Pulled { digest, up_to_date, bytes, seconds } = pulled;
        self.end(Status::Done, if up_to_date { "Up to date" } else { "Pulled" }, 0, now);
        self.percent = Some(100);
        if !up_to_date {
            self.pulled = Some(now);
            self.bytes = Some(bytes);
        }
        if bytes > 0 {
            self.seconds = Some(seconds);
        }
        if digest.is_some() || !up_to_date {
            self.digest.clone_from(&digest);
            self.latest = digest;
            self.checked = Some(now);
        }
        self.recover(now);
    }

    /// Ends the run: the pull has failed.
    pub fn fail(&mut self, failure: Failure, exit: u8, bytes: u64, seconds: f64, now: Time) {
        self.end(Status::Error, "Failed", exit, now);
        (self.bytes, self.seconds) = (Some(bytes), Some(seconds));
        self.blame(failure);
        self.begin_failing(now);
        self.attempts = self.attempts.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
    }

    /// Ends the run: a signal ended the pull.
    pub fn interrupt(&mut self, exit: u8, bytes: u64, seconds: f64, now: Time) {
        self.end(Status::Warning, "Interrupted", exit, now);
        (self.bytes, self.seconds) = (Some(bytes), Some(seconds));
        if self.failing_since.is_none() {
            // The reason of a failed attempt, which another attempt was to follow, is not the result of the run.
            (self.kind, self.details, self.hint) = (None, None, None);
        }
    }

    /// The state after a check; `before` is the previous state, if there was one.
    #[must_use]
    pub fn check(id: &str, before: Option<Self>, checked: Checked, now: Time) -> Self {
        let (was, since) =
            before.as_ref().map_or((None, now), |before| (Some((before.status, before.text.clone())), before.since));
        let mut image = Self { v: VERSION, id: id.to_owned(), time: now, ..before.unwrap_or_default() };
        image.end_run();
        let (status, text) = match checked {
            Checked::Current { digest } => {
                (image.digest, image.latest, image.checked) = (Some(digest.clone()), Some(digest), Some(now));
                image.recover(now);
                (Status::Done, "Up to date")
            }
            Checked::Newer { digest, latest } => {
                image.digest = digest;
                if latest.is_some() {
                    (image.latest, image.checked) = (latest, Some(now));
                }
                (Status::Warning, "Newer image")
            }
            Checked::Unanswered(failure) => {
                image.blame(failure);
                image.begin_failing(now);
                (Status::Warning, "Cannot tell")
            }
        };
        // Pulled and Up to date are both Done, so `since` stays when one follows the other. Warnings differ in their text.
        let goes_on = was.is_some_and(|(was, previous)| was == status && (status == Status::Done || previous == text));
        image.since = if goes_on { since } else { now };
        image.status = status;
        text.clone_into(&mut image.text);
        image
    }

    fn blame(&mut self, Failure { kind, details, hint }: Failure) {
        (self.kind, self.details, self.hint) = (Some(kind), Some(details), hint);
    }

    fn begin_failing(&mut self, now: Time) {
        // A time from before the clock was set, or from while it was ahead, is not valid. But after a restart the clock of a
        // Pi may be behind for a while; then an earlier `failing_since` must stay.
        let is_set = now >= BUILT;
        let is_time = |since: &Time| *since >= BUILT && (!is_set || since.0 <= now.0.saturating_add(AHEAD));
        self.failing_since = Some(self.failing_since.filter(is_time).unwrap_or(now));
    }

    fn recover(&mut self, now: Time) {
        self.succeeded = Some(now);
        (self.kind, self.details, self.hint) = (None, None, None);
        (self.failing_since, self.attempts) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time this many seconds after [`BUILT`], so that it counts as valid.
    fn at(seconds: i64) -> Time {
        Time(BUILT.0 + 1_000_000 + seconds)
    }

    fn failure() -> Failure {
        Failure { kind: "disk-full".into(), details: "no space left on device".into(), hint: Some("make room".into()) }
    }

    fn failed(before: Option<Image>, now: Time) -> Image {
        let mut image = Image::begin("a:1", before, now);
        image.fail(failure(), 1, 5, 1.0, now);
        image
    }

    fn pulled(before: Option<Image>, now: Time) -> Image {
        let mut image = Image::begin("a:1", before, now);
        image.received += 10;
        image.succeed(Pulled { digest: Some("sha256:1".into()), up_to_date: false, bytes: 10, seconds: 2.0 }, now);
        image
    }

    fn interrupted(before: Option<Image>, now: Time) -> Image {
        let mut image = Image::begin("a:1", before, now);
        image.interrupt(143, 3, 1.0, now);
        image
    }

    fn current() -> Checked {
        Checked::Current { digest: "sha256:1".into() }
    }

    fn newer() -> Checked {
        Checked::Newer { digest: Some("sha256:1".into()), latest: Some("sha256:2".into()) }
    }

    fn check(before: Option<Image>, checked: Checked, now: Time) -> Image {
        Image::check("a:1", before, checked, now)
    }

    #[track_caller]
    fn assert_failing(image: &Image, since: Option<Time>, attempts: u64, failures: u64) {
        assert_eq!((image.failing_since, image.attempts, image.failures), (since, attempts, failures));
    }

    #[test]
    fn failing_begins_once_and_ends_with_a_success() {
        let image = failed(None, at(1));
        assert_failing(&image, Some(at(1)), 1, 1);
        assert_eq!((image.status, &*image.text, image.exit), (Status::Error, "Failed", Some(1)));
        let image = failed(Some(image), at(2));
        assert_failing(&image, Some(at(1)), 2, 2);
        let image = interrupted(Some(image), at(3));
        assert_failing(&image, Some(at(1)), 2, 2);
        assert_eq!((image.status, &*image.text, image.exit), (Status::Warning, "Interrupted", Some(143)));
        // The registry answers, but its image has not been pulled yet.
        let image = check(Some(image), newer(), at(4));
        assert_failing(&image, Some(at(1)), 2, 2);
        assert_eq!((image.kind.as_deref(), image.exit), (Some("disk-full"), Some(143)));
        let image = check(Some(image), current(), at(5));
        assert_failing(&image, None, 0, 2);
        assert_eq!((image.kind, image.details, image.hint), (None, None, None));
        let image = pulled(Some(failed(Some(failed(None, at(1))), at(2))), at(3));
        assert_failing(&image, None, 0, 2);
    }

    #[test]
    fn a_check_without_an_answer_begins_failing_and_is_no_attempt() {
        let image = check(Some(pulled(None, at(1))), Checked::Unanswered(failure()), at(2));
        assert_eq!((image.status, &*image.text), (Status::Warning, "Cannot tell"));
        assert_failing(&image, Some(at(2)), 0, 0);
        assert_eq!((image.digest.as_deref(), image.checked, image.since), (Some("sha256:1"), Some(at(1)), at(2)));
        let image = check(Some(image), Checked::Unanswered(failure()), at(3));
        assert_eq!((image.since, image.time), (at(2), at(3)));
        let image = failed(Some(image), at(4));
        assert_failing(&image, Some(at(2)), 1, 1);
    }

    #[test]
    fn a_run_keeps_what_is_known_and_begins_its_own() {
        let mut image = pulled(None, at(1));
        assert_eq!(
            (image.latest.as_deref(), image.pulled, image.checked),
            (Some("sha256:1"), Some(at(1)), Some(at(1)))
        );
        image.layers.push(crate::Layer::default());
        let image = Image::begin("a:1", Some(Image { beat: Some(1), rate: Some(5), ..image }), at(9));
        assert_eq!(
            (image.status, &*image.text, image.since, image.attempt),
            (Status::Working, "Pulling", at(9), Some(1))
        );
        assert_eq!((image.digest.as_deref(), image.pulled, image.received), (Some("sha256:1"), Some(at(1)), 10));
        assert_eq!((image.beat, image.rate, image.percent, image.layers.len()), (None, None, None, 0));
        assert_eq!((image.exit, image.bytes), (Some(0), Some(10)));
    }

    #[test]
    fn the_progress_of_a_broken_pull_is_kept() {
        let mut image = Image::begin("a:1", None, at(1));
        (image.current, image.total, image.percent, image.left) = (Some(88), Some(214), Some(41), Some(3));
        image.fail(failure(), 1, 88, 1.0, at(2));
        assert_eq!((image.current, image.total, image.percent, image.left), (Some(88), Some(214), Some(41), None));
    }

    #[test]
    fn an_image_that_was_here_was_not_pulled() {
        let mut image = Image::begin("a:1", Some(pulled(None, at(1))), at(5));
        image.succeed(Pulled { digest: Some("sha256:1".into()), up_to_date: true, bytes: 0, seconds: 0.1 }, at(6));
        assert_eq!((&*image.text, image.pulled, image.checked), ("Up to date", Some(at(1)), Some(at(6))));
        assert_eq!((image.bytes, image.seconds), (Some(10), Some(2.0)));
    }

    #[test]
    fn what_the_engine_did_not_name_is_not_known() {
        let mut image = Image::begin("a:1", Some(pulled(None, at(1))), at(5));
        image.succeed(Pulled { digest: None, up_to_date: false, bytes: 3, seconds: 0.1 }, at(6));
        assert_eq!((image.digest, image.latest, image.pulled), (None, None, Some(at(6))));
    }

    #[test]
    fn being_well_goes_on_and_warnings_differ() {
        let image = check(Some(pulled(None, at(1))), current(), at(2));
        assert_eq!(
            (image.status, &*image.text, image.since, image.pulled),
            (Status::Done, "Up to date", at(1), Some(at(1)))
        );
        let image = check(Some(image), newer(), at(3));
        assert_eq!((image.since, image.latest.as_deref(), image.succeeded), (at(3), Some("sha256:2"), Some(at(2))));
        let image = check(Some(image), newer(), at(4));
        assert_eq!(image.since, at(3));
        let image = check(Some(image), Checked::Newer { digest: None, latest: None }, at(5));
        assert_eq!((image.digest, image.latest.as_deref(), image.checked), (None, Some("sha256:2"), Some(at(4))));
    }

    #[test]
    fn a_clock_that_was_wrong_is_forgotten() {
        // Before the network was up, and with a clock that was a year ahead.
        let image = failed(Some(failed(None, Time(100))), at(1));
        assert_failing(&image, Some(at(1)), 2, 2);
        let image = failed(Some(failed(None, at(31_536_000))), at(1));
        assert_failing(&image, Some(at(1)), 2, 2);
        // During one run the clock is behind, by hours or by decades: the valid time from before is kept.
        for behind in [at(-7_200), Time(100)] {
            let image = failed(Some(failed(Some(failed(None, at(1))), behind)), at(2));
            assert_failing(&image, Some(at(1)), 3, 3);
        }
        // If the clock is right, a failure that lasts a year is kept.
        let image = failed(Some(failed(None, at(1))), at(31_536_000));
        assert_failing(&image, Some(at(1)), 2, 2);
    }
}
