//! What is to be said now: the states as they are, against what was told.
//!
//! Pure: time is an argument, monotonic, so that a clock that steps changes nothing.
//!
//! **Invariant:** the broker has the newest state 5 s after it came, and 15 s while bytes move; a device at which nothing
//! changes says nothing for 6 hours.

use super::payload::{self, Seen, View, Who};
use alm_state::{Image, Time};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// Changes come in a row: a pull that ends is followed by the next image's.
const GATHERED: Duration = Duration::from_secs(5);
/// How old a bar may be that who does not watch is shown.
const WHILE_PULLING: Duration = Duration::from_secs(15);
/// How old `checked` may be, where nothing else has changed.
const FRESHENED: Duration = Duration::from_hours(6);
const BETWEEN_PROGRESS: Duration = Duration::from_secs(1);

/// What is to be said.
#[derive(Debug, PartialEq)]
pub(super) enum Say {
    State(Vec<u8>),
    Progress(Vec<u8>),
}

/// What was told over this connection.
#[derive(Debug, Default)]
pub(super) struct Planner {
    told: Option<Told>,
    /// When what has changed was seen first.
    changed: Option<Duration>,
    progress_at: Option<Duration>,
    /// Of each image that is pulled, when its progress was told, and which.
    progress: BTreeMap<String, (Duration, u64)>,
}

#[derive(Debug)]
struct Told {
    at: Duration,
    /// Of what is told at once.
    news: u64,
    /// Of what is told with the next news, or at last after [`FRESHENED`].
    all: u64,
}

impl Planner {
    /// Of `view`, for a broker that takes packets of `largest` bytes. A state is only said where `may_state`.
    pub(super) fn plan(&mut self, who: &Who, view: &View, largest: usize, may_state: bool, at: Duration) -> Vec<Say> {
        let mut say = Vec::new();
        if may_state && self.is_state_due(view, at) {
            self.told = Some(Told { at, news: news(view), all: all(view) });
            self.changed = None;
            say.push(Say::State(payload::state(who, view, largest)));
        }
        say.extend(
            self.next_progress(view, at).map(|image| Say::Progress(payload::progress(image, view.now, largest))),
        );
        say
    }

    fn is_state_due(&mut self, view: &View, at: Duration) -> bool {
        let Some(told) = &self.told else { return true };
        let since = at.saturating_sub(told.at);
        if news(view) == told.news {
            self.changed = None;
        } else if self.changed.is_none() {
            self.changed = Some(at);
        }
        self.changed.is_some_and(|changed| at.saturating_sub(changed) >= GATHERED)
            || since >= WHILE_PULLING && view.images.iter().any(Seen::is_working)
            || self.changed.is_none() && since >= FRESHENED && all(view) != told.all
    }

    /// Whose turn it is: the image that was told longest ago, of those that have moved.
    fn next_progress<'a>(&mut self, view: &'a View, at: Duration) -> Option<&'a Image> {
        let working = || view.images.iter().filter(|seen| seen.is_working()).map(|seen| &seen.image);
        self.progress.retain(|id, _| working().any(|image| image.id == *id));
        if self.progress_at.is_some_and(|last| at.saturating_sub(last) < BETWEEN_PROGRESS) {
            return None;
        }
        let moved =
            working().filter(|image| self.progress.get(&image.id).is_none_or(|(_, told)| *told != moving(image)));
        let image = moved.min_by_key(|image| self.progress.get(&image.id).map(|(told, _)| *told))?;
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

/// What of an image's progress is news.
fn moving(image: &Image) -> u64 {
    hash(&payload::progress(image, Time(0), usize::MAX))
}

/// Of all that a state tells, but for its own time.
fn all(view: &View) -> u64 {
    hash(&payload::state(&Who::default(), &View { now: clock(view.now), ..view.clone() }, usize::MAX))
}

/// Of what is worth telling at once: without the times of looks at the registry, and without what moves while bytes do.
fn news(view: &View) -> u64 {
    let mut view = View { now: clock(view.now), ..view.clone() };
    for seen in &mut view.images {
        let is_working = seen.is_working();
        let image = &mut seen.image;
        (image.time, image.checked) = (clock(image.time), None);
        // An answered look that finds the image current moves this too.
        image.succeeded = None;
        if is_working {
            (image.current, image.total, image.percent, image.exact) = (None, None, None, false);
            (image.bytes, image.received) = (None, 0);
        }
    }
    hash(&payload::state(&Who::default(), &view, usize::MAX))
}

/// Any time on the same side of the build as this one: that a clock was put right is news, that it goes is none.
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

    /// The letters of what was said at each second from `from` to `to`: `s`, `p`.
    fn said(planner: &mut Planner, view: &View, seconds: std::ops::Range<u64>) -> Vec<(u64, &'static str)> {
        let mut said = Vec::new();
        for second in seconds {
            let now = Time(view.now.0 + i64::try_from(second).expect("a second"));
            for say in planner.plan(
                &Who::default(),
                &View { now, ..view.clone() },
                usize::MAX,
                true,
                Duration::from_secs(second),
            ) {
                said.push((second, if matches!(say, Say::State(_)) { "s" } else { "p" }));
            }
        }
        said
    }

    #[test]
    fn told_at_once_then_never_where_nothing_changes() {
        let mut planner = Planner::default();
        let idle = view(vec![image("a:1", Status::Done, "Pulled")]);
        assert_eq!(said(&mut planner, &idle, 0..30_000), [(0, "s")]);
        assert_eq!(said(&mut planner, &view(vec![]), 30_000..30_100), [(30_005, "s")]);
    }

    #[test]
    fn nothing_known_is_told_too() {
        assert_eq!(said(&mut Planner::default(), &view(vec![]), 0..10), [(0, "s")]);
    }

    #[test]
    fn changes_are_gathered_and_a_change_back_is_none() {
        let mut planner = Planner::default();
        let one = view(vec![image("a:1", Status::Done, "Pulled")]);
        let two = view(vec![image("a:1", Status::Error, "Failed")]);
        assert_eq!(said(&mut planner, &one, 0..10), [(0, "s")]);
        assert_eq!(said(&mut planner, &two, 10..13), []);
        assert_eq!(said(&mut planner, &one, 13..30), []);
        assert_eq!(said(&mut planner, &two, 30..60), [(35, "s")]);
    }

    #[test]
    fn looks_at_the_registry_are_told_every_six_hours() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Done, "Up to date")]);
        let mut count = 0;
        for look in 0..48 {
            let at = Time(NOON.0 + look * 1_800);
            (seen.images[0].image.checked, seen.images[0].image.time, seen.images[0].image.succeeded) =
                (Some(at), at, Some(at));
            let from = u64::try_from(look).expect("positive") * 1_800;
            count += said(&mut planner, &seen, from..from + 1_800).len();
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
            all.extend(said(&mut planner, &view(vec![pulling.clone()]), second..second + 1));
        }
        assert_eq!(all.iter().filter(|said| said.1 == "s").map(|said| said.0).collect::<Vec<_>>(), [0, 15, 30]);
        assert_eq!(all.iter().filter(|said| said.1 == "p").count(), 40);
        // One that does not move is not repeated.
        assert_eq!(said(&mut planner, &view(vec![pulling]), 40..45), []);
    }

    #[test]
    fn two_that_are_pulled_take_turns_within_one_message_a_second() {
        let mut planner = Planner::default();
        let mut ids = String::new();
        for half in 0..20_u64 {
            let images =
                ["a", "b"].map(|id| Image { current: Some(half), ..image(id, Status::Working, "Downloading") });
            let say = planner.plan(
                &Who::default(),
                &view(images.to_vec()),
                usize::MAX,
                false,
                Duration::from_millis(half * 500),
            );
            for say in say {
                let Say::Progress(payload) = say else { panic!("a state") };
                ids.push(if String::from_utf8_lossy(&payload).contains("\"id\":\"a\"") { 'a' } else { 'b' });
            }
        }
        assert_eq!(ids, "ababababab");
    }

    #[test]
    fn a_lost_run_is_told_and_is_no_work() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Working, "Downloading")]);
        assert_eq!(said(&mut planner, &seen, 0..1), [(0, "s"), (0, "p")]);
        seen.images[0].lost = true;
        assert_eq!(said(&mut planner, &seen, 1..100), [(6, "s")]);
    }

    #[test]
    fn a_clock_that_is_put_right_is_told_and_one_that_steps_is_not() {
        let mut planner = Planner::default();
        let mut seen = view(vec![image("a:1", Status::Done, "Pulled")]);
        seen.now = Time(100);
        assert_eq!(said(&mut planner, &seen, 0..10), [(0, "s")]);
        seen.now = NOON;
        assert_eq!(said(&mut planner, &seen, 10..20), [(15, "s")]);
        seen.now = Time(NOON.0 + 86_400 * 365);
        assert_eq!(said(&mut planner, &seen, 20..100), []);
    }

    #[test]
    fn a_new_planner_tells_all_again() {
        let idle = view(vec![image("a:1", Status::Done, "Pulled")]);
        assert_eq!(said(&mut Planner::default(), &idle, 50..60), [(50, "s")]);
    }
}
