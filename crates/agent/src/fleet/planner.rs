//! What is due to be published: compares the present states with what was published.
//!
//! Pure: time is an argument, and monotonic, so that a step of the wall clock changes nothing.
//!
//! **Invariant:** a change reaches the broker within 5 s, and within 15 s while bytes move. A device without changes publishes
//! nothing for 6 hours.

use super::payload::{self, Seen, View, Who};
use alm_state::{Image, Time};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// How long changes are collected: they come in a row, as the end of one pull and the start of the next.
const DEBOUNCE: Duration = Duration::from_secs(5);
/// How often the state is published while bytes move, so that those who do not subscribe to the progress see a bar that is
/// at most this old.
const PULLING_INTERVAL: Duration = Duration::from_secs(15);
/// How old the published `checked` may be if nothing else has changed.
const REFRESH_INTERVAL: Duration = Duration::from_hours(6);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The payload of a message that is due.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    State(Vec<u8>),
    Progress(Vec<u8>),
}

/// What was published on this connection.
#[derive(Debug, Default)]
pub(super) struct Planner {
    published: Option<Published>,
    /// When the first of the unpublished changes was seen.
    changed: Option<Duration>,
    /// When any progress was published last.
    progress_at: Option<Duration>,
    /// For the id of each image that is being pulled: when its progress was published, and the hash of it.
    progress: BTreeMap<String, (Duration, u64)>,
}

#[derive(Debug)]
struct Published {
    at: Duration,
    /// The hash of what is published at once when it changes.
    urgent: u64,
    /// The hash of everything: the rest is published with the next urgent change, or after [`REFRESH_INTERVAL`].
    all: u64,
}

impl Planner {
    /// The messages of `view` that are due, for a broker that accepts payloads of `max` bytes. A state is only among them
    /// if `may_state`, which is false while the last one is not confirmed.
    pub(super) fn plan(&mut self, who: &Who, view: &View, max: usize, may_state: bool, at: Duration) -> Vec<Message> {
        let mut messages = Vec::new();
        if may_state && self.is_state_due(view, at) {
            self.published = Some(Published { at, urgent: urgent(view), all: all(view) });
            self.changed = None;
            messages.push(Message::State(payload::state(who, view, max)));
        }
        let progress = self.next_progress(view, at).and_then(|image| payload::progress(image, view.now, max));
        messages.extend(progress.map(Message::Progress));
        messages
    }

    fn is_state_due(&mut self, view: &View, at: Duration) -> bool {
        let Some(published) = &self.published else { return true };
        let since = at.saturating_sub(published.at);
        if urgent(view) == published.urgent {
            self.changed = None;
        } else if self.changed.is_none() {
            self.changed = Some(at);
        }
        self.changed.is_some_and(|changed| at.saturating_sub(changed) >= DEBOUNCE)
            || since >= PULLING_INTERVAL && view.images.iter().any(Seen::is_working)
            || self.changed.is_none() && since >= REFRESH_INTERVAL && all(view) != published.all
    }

    /// Of the images that have moved, the one whose progress was published longest ago.
    fn next_progress<'a>(&mut self, view: &'a View, at: Duration) -> Option<&'a Image> {
        let working = || view.images.iter().filter(|seen| seen.is_working()).map(|seen| &seen.image);
        self.progress.retain(|id, _| working().any(|image| image.id == *id));
        if self.progress_at.is_some_and(|last| at.saturating_sub(last) < PROGRESS_INTERVAL) {
            return None;
        }
        let moved = working()
            .filter(|image| self.progress.get(&image.id).is_none_or(|(_, published)| *published != moving(image)));
        let image = moved.min_by_key(|image| self.progress.get(&image.id).map(|(published, _)| *published))?;
        self.progress.insert(image.id.clone(), (at, moving(image)));
        self.progress_at = Some(at);
        Some(image)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The hash of an image's progress, without the time at which it is published.
fn moving(image: &Image) -> u64 {
    hash(&payload::progress(image, Time(0), usize::MAX).unwrap_or_default())
}

/// The hash of the whole state, without the time at which it is published.
fn all(view: &View) -> u64 {
    hash(&payload::state(&Who::default(), &View { now: clock(view.now), ..view.clone() }, usize::MAX))
}

/// The hash of what is published at once when it changes: without the times of checks against the registry, and without the
/// numbers that change while bytes move.
fn urgent(view: &View) -> u64 {
    let mut view = View { now: clock(view.now), ..view.clone() };
    for seen in &mut view.images {
        let is_working = seen.is_working();
        let image = &mut seen.image;
        (image.time, image.checked) = (clock(image.time), None);
        // A check that finds the image current changes this, too.
        image.succeeded = None;
        if is_working {
            (image.current, image.total, image.percent, image.exact) = (None, None, None, false);
            (image.bytes, image.received) = (None, 0);
        }
    }
    hash(&payload::state(&Who::default(), &view, usize::MAX))
}

/// Reduces a time to "before the build" or "after it": the correction of a wrong clock counts as a change, and the passing of
/// time does not.
fn clock(time: Time) -> Time {
    if time < alm_state::BUILT { Time(0) } else { alm_state::BUILT }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alm_state::Status;

    const NOON: Time = Time(1_795_000_000);

    fn image(id: &str, status: Status, text: &str) -> Image {
        Image { v: 1, id: id.into(), status, text: text.into(), time: NOON, since: NOON, ..Image::default() }
    }

    fn view(images: Vec<Image>) -> View {
        View {
            images: images.into_iter().map(|image| Seen { image, lost: false }).collect(),
            containers: vec![],
            now: NOON,
        }
    }

    /// What was published in each of these seconds: `s` is a state, `p` progress.
    fn published(planner: &mut Planner, view: &View, seconds: std::ops::Range<u64>) -> Vec<(u64, &'static str)> {
        let mut published = Vec::new();
        for second in seconds {
            let now = Time(view.now.0 + i64::try_from(second).expect("a second"));
            for message in planner.plan(
                &Who::default(),
                &View { now, ..view.clone() },
                usize::MAX,
                true,
                Duration::from_secs(second),
            ) {
                published.push((second, if matches!(message, Message::State(_)) { "s" } else { "p" }));
            }
        }
        published
    }

    #[test]
    fn a_state_is_published_at_once_and_not_again_while_nothing_changes() {
        let mut planner = Planner::default();
        let idle = view(vec![image("a:1", Status::Done, "Pulled")]);
        assert_eq!(published(&mut planner, &idle, 0..30_000), [(0, "s")]);
        assert_eq!(published(&mut planner, &view(vec![]), 30_000..30_100), [(30_005, "s")]);
    }

    #[test]
    fn an_empty_state_is_published_too() {
        assert_eq!(published(&mut Planner::default(), &view(vec![]), 0..10), [(0, "s")]);
    }

    #[test]
    fn changes_are_gathered_and_a_change_back_is_none() {
        let mut planner = Planner::default();
        let one = view(vec![image("a:1", Status::Done, "Pulled")]);
        let two = view(vec![image("a:1", Status::Error, "Failed")]);
        assert_eq!(published(&mut planner, &one, 0..10), [(0, "s")]);
        assert_eq!(published(&mut planner, &two, 10..13), []);
        assert_eq!(published(&mut planner, &one, 13..30), []);
        assert_eq!(published(&mut planner, &two, 30..60), [(35, "s")]);
    }

    #[test]
    fn registry_checks_are_published_every_six_hours() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Done, "Up to date")]);
        let mut count = 0;
        for check in 0..48 {
            let at = Time(NOON.0 + check * 1_800);
            (seen.images[0].image.checked, seen.images[0].image.time, seen.images[0].image.succeeded) =
                (Some(at), at, Some(at));
            let from = u64::try_from(check).expect("positive") * 1_800;
            count += published(&mut planner, &seen, from..from + 1_800).len();
        }
        assert_eq!(count, 4);
    }

    #[test]
    fn while_bytes_move_the_state_every_15_seconds_and_progress_every_second() {
        let mut planner = Planner::default();
        let mut pulling = image("a:1", Status::Working, "Downloading");
        let mut all = Vec::new();
        for second in 0..40 {
            pulling.current = Some(second * 1_000);
            all.extend(published(&mut planner, &view(vec![pulling.clone()]), second..second + 1));
        }
        assert_eq!(
            all.iter().filter(|published| published.1 == "s").map(|published| published.0).collect::<Vec<_>>(),
            [0, 15, 30]
        );
        assert_eq!(all.iter().filter(|published| published.1 == "p").count(), 40);
        // One that does not move is not repeated.
        assert_eq!(published(&mut planner, &view(vec![pulling]), 40..45), []);
    }

    #[test]
    fn two_that_are_pulled_take_turns_within_one_message_a_second() {
        let mut planner = Planner::default();
        let mut ids = String::new();
        for half in 0..20_u64 {
            let images =
                ["a", "b"].map(|id| Image { current: Some(half), ..image(id, Status::Working, "Downloading") });
            let messages = planner.plan(
                &Who::default(),
                &view(images.to_vec()),
                usize::MAX,
                false,
                Duration::from_millis(half * 500),
            );
            for message in messages {
                let Message::Progress(payload) = message else { panic!("a state") };
                ids.push(if String::from_utf8_lossy(&payload).contains("\"id\":\"a\"") { 'a' } else { 'b' });
            }
        }
        assert_eq!(ids, "ababababab");
    }

    #[test]
    fn a_lost_run_is_published_and_is_no_work() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Working, "Downloading")]);
        assert_eq!(published(&mut planner, &seen, 0..1), [(0, "s"), (0, "p")]);
        seen.images[0].lost = true;
        assert_eq!(published(&mut planner, &seen, 1..100), [(6, "s")]);
    }

    #[test]
    fn a_corrected_clock_is_published_and_a_step_is_not() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Done, "Pulled")]);
        seen.now = Time(100);
        assert_eq!(published(&mut planner, &seen, 0..10), [(0, "s")]);
        seen.now = NOON;
        assert_eq!(published(&mut planner, &seen, 10..20), [(15, "s")]);
        seen.now = Time(NOON.0 + 86_400 * 365);
        assert_eq!(published(&mut planner, &seen, 20..100), []);
    }

    #[test]
    fn a_new_planner_publishes_everything_again() {
        let idle = view(vec![image("a:1", Status::Done, "Pulled")]);
        assert_eq!(published(&mut Planner::default(), &idle, 50..60), [(50, "s")]);
    }
}
