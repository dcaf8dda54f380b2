//! Decides what is worth a notice, from the current states of images and containers and from what was noticed before.
//!
//! Uses no files, clocks or networks, so that each rule can be tested in a few lines.
//!
//! **Invariant:** the same states never lead to a second notice, and an image that is found up to date leads to none.

use alm_state::{BUILT, Container, Image, Standing, Status, Time};
use serde::{Deserialize, Serialize};

/// How many runs must fail before a notice: mobile connections fail for a night, and the next run succeeds.
const RUNS: u64 = 2;
/// A failure that lasts this long, in seconds, is worth a notice after a single run.
const LASTING: u64 = 3600;
/// The maximum of notices about different kinds of failure until the image succeeds again, and of remembered images.
const MAX_KINDS: usize = 8;
const MAX_KNOWN: usize = 256;

/// The event that a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Failed,
    Recovered,
    /// A new image was downloaded.
    NewImage,
    RolledBack,
    ContainerFailed,
    ContainerRecovered,
}

impl Outcome {
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RolledBack | Self::ContainerFailed)
    }
}

/// A notice, without the name of the device, which is the same in all notices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) outcome: Outcome,
    pub(super) image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    /// The kind of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    /// When the failure began, also for a notice of recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Time>,
    /// The number of runs that failed since then.
    #[serde(default)]
    pub(super) attempts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// The bytes that the pull downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<f64>,
    /// When this was noticed.
    pub(super) time: Time,
}

impl Notice {
    /// The key of this notice: a newer notice with the same key replaces it while it waits.
    pub(super) fn key(&self) -> String {
        let subject = self.container.as_deref().unwrap_or(&self.image);
        let outcome = match self.outcome {
            Outcome::Failed => "failed",
            Outcome::Recovered => "recovered",
            Outcome::NewImage => "new-image",
            Outcome::RolledBack => "rolled-back",
            Outcome::ContainerFailed => "container-failed",
            Outcome::ContainerRecovered => "container-recovered",
        };
        format!("{outcome}/{}/{subject}", self.kind.as_deref().unwrap_or_default())
    }
}

/// What was noticed so far; kept in a file across restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The version of the format; 0 if nothing was noticed yet. Images that were pulled before the first time are no news.
    pub(super) v: u32,
    images: Vec<KnownImage>,
    containers: Vec<KnownContainer>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct KnownImage {
    id: String,
    /// The kinds of failure that were noticed since the last success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
    /// When the failure began, and how many runs failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    #[serde(default)]
    attempts: u64,
    /// When the image of the last success was pulled, and its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pulled: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct KnownContainer {
    name: String,
    /// The failure or rollback that was noticed: its status, and when it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bad: Option<(Outcome, Option<Time>)>,
}

/// The notices that are due, and the new value of `known`. The flag of each image says whether its run was lost.
pub(super) fn due<'a>(
    images: impl Iterator<Item = (&'a Image, bool)>,
    containers: &[Container],
    now: Time,
    known: &mut Known,
) -> Vec<Notice> {
    let is_first = known.v == 0;
    known.v = 1;
    let mut notices = Vec::new();
    let images: Vec<_> = images.collect();
    for (image, lost) in &images {
        let at = known.images.iter().position(|known| known.id == image.id).unwrap_or_else(|| {
            forget_oldest(&mut known.images, |known| images.iter().any(|(image, _)| image.id == known.id));
            // An image from before the agent, or one that was only found to be current, was not downloaded now.
            let is_old = is_first || image.text != "Pulled";
            let (pulled, digest) = if is_old { (image.pulled, image.digest.clone()) } else { (None, None) };
            known.images.push(KnownImage { id: image.id.clone(), pulled, digest, ..KnownImage::default() });
            known.images.len() - 1
        });
        notices.extend(of_image(image, *lost, now, &mut known.images[at]));
    }
    for container in containers {
        let at = known.containers.iter().position(|known| known.name == container.name).unwrap_or_else(|| {
            forget_oldest(&mut known.containers, |known| containers.iter().any(|other| other.name == known.name));
            known.containers.push(KnownContainer { name: container.name.clone(), bad: None });
            known.containers.len() - 1
        });
        notices.extend(of_container(container, now, &mut known.containers[at]));
    }
    notices
}

/// Removes the oldest entry if the list is full. The entry of an image or container that still exists is kept, however old
/// it is: without it, the same event would be noticed again.
fn forget_oldest<T>(list: &mut Vec<T>, is_here: impl Fn(&T) -> bool) {
    if list.len() >= MAX_KNOWN {
        let oldest = list.iter().position(|known| !is_here(known)).unwrap_or(0);
        list.remove(oldest);
    }
}

fn of_image(image: &Image, lost: bool, now: Time, known: &mut KnownImage) -> Option<Notice> {
    let mut notice = Notice {
        outcome: Outcome::Failed,
        image: image.id.clone(),
        container: None,
        kind: None,
        details: None,
        hint: None,
        since: None,
        attempts: 0,
        digest: None,
        bytes: None,
        seconds: None,
        time: now,
    };
    if let Some((kind, since)) = failure(image, lost, now) {
        if known.failed.iter().any(|noticed| noticed == kind) || known.failed.len() >= MAX_KINDS {
            return None;
        }
        known.failed.push(kind.to_owned());
        (known.since, known.attempts) = (Some(since), image.attempts);
        (notice.kind, notice.since, notice.attempts) = (Some(kind.to_owned()), Some(since), image.attempts);
        if lost {
            notice.details = Some("the run that pulled it ended without a word".to_owned());
            notice.hint =
                Some("run it again, and see the journal for what ended it: memory, power, a signal".to_owned());
        } else {
            (notice.details, notice.hint) = (image.details.clone(), image.hint.clone());
        }
        return Some(notice);
    }
    if image.status != Status::Done {
        return None;
    }
    let is_fetched = image.pulled.is_some() && image.pulled != known.pulled && image.bytes.unwrap_or(0) > 0;
    let is_new = is_fetched && (image.digest.is_none() || image.digest != known.digest);
    let was_failing = !known.failed.is_empty();
    if is_new {
        (notice.digest, notice.bytes, notice.seconds) = (image.digest.clone(), image.bytes, image.seconds);
    }
    if was_failing {
        (notice.since, notice.attempts) = (known.since, known.attempts);
    }
    known.failed.clear();
    (known.since, known.attempts) = (None, 0);
    (known.pulled, known.digest) = (image.pulled, image.digest.clone());
    notice.outcome = if was_failing { Outcome::Recovered } else { Outcome::NewImage };
    (was_failing || is_new).then_some(notice)
}

/// If the image has a failure that is worth a notice: its kind, and when it began.
fn failure(image: &Image, lost: bool, now: Time) -> Option<(&str, Time)> {
    // If the clock is not set, the duration is not known.
    let lasts = |since: Time| since >= BUILT && now.since(since) >= LASTING;
    if lost {
        return lasts(image.time).then_some(("lost", image.time));
    }
    let since = image.failing_since?;
    let is_over = matches!(image.status, Status::Error | Status::Warning);
    let is_worth_it = is_over && (image.attempts >= RUNS || lasts(since));
    is_worth_it.then(|| (image.kind.as_deref().unwrap_or("unknown"), since))
}

fn of_container(container: &Container, now: Time, known: &mut KnownContainer) -> Option<Notice> {
    let outcome = match container.status {
        Standing::RolledBack => Outcome::RolledBack,
        Standing::Failed => Outcome::ContainerFailed,
        Standing::Running => Outcome::ContainerRecovered,
        Standing::Proving => return None,
    };
    let bad = outcome.is_bad().then_some((outcome, container.since));
    if bad == known.bad {
        return None;
    }
    known.bad = bad;
    Some(Notice {
        outcome,
        image: container.image.clone(),
        container: Some(container.name.clone()),
        kind: None,
        details: container.details.clone().filter(|details| !details.is_empty()),
        hint: None,
        since: container.since,
        attempts: 0,
        digest: container.digest.clone().filter(|digest| !digest.is_empty()),
        bytes: None,
        seconds: None,
        time: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alm_state::{Checked, Failure, Pulled};

    /// A device with one image. Its states are made by the functions of `alm_state`, as in a pull.
    struct Sample {
        known: Known,
        image: Option<Image>,
        now: Time,
    }

    fn failure_of(kind: &str) -> Failure {
        Failure { kind: kind.into(), details: format!("details of {kind}"), hint: Some("do this".into()) }
    }

    impl Sample {
        fn new() -> Self {
            let mut sample = Self { known: Known::default(), image: None, now: Time(BUILT.0 + 1_000_000) };
            assert_eq!(sample.judged(false), "");
            sample
        }

        /// The notices after a restart: `known` is written and read back first.
        fn judged(&mut self, lost: bool) -> String {
            self.known =
                serde_json::from_str(&serde_json::to_string(&self.known).expect("JSON")).expect("what was written");
            let images = self.image.iter().map(|image| (image, lost));
            let notices = due(images, &[], self.now, &mut self.known);
            assert_eq!(due(self.image.iter().map(|image| (image, lost)), &[], self.now, &mut self.known), []);
            let shown = notices.iter().map(|notice| format!("{} {}", notice.key(), notice.attempts));
            shown.collect::<Vec<_>>().join(",")
        }

        fn begin(&mut self) -> String {
            self.now.0 += 60;
            self.image = Some(Image::begin("a:1", self.image.take(), self.now));
            self.judged(false)
        }

        fn fail(&mut self, kind: &str) -> String {
            assert_eq!(self.begin(), "");
            self.image.as_mut().expect("begun").fail(failure_of(kind), 1, 5, 1.0, self.now);
            self.judged(false)
        }

        fn pull(&mut self, digest: &str, bytes: u64) -> String {
            assert_eq!(self.begin(), "");
            let pulled = Pulled { digest: Some(digest.into()), up_to_date: false, bytes, seconds: 2.0 };
            self.image.as_mut().expect("begun").succeed(pulled, self.now);
            self.judged(false)
        }

        fn up_to_date(&mut self) -> String {
            assert_eq!(self.begin(), "");
            let pulled = Pulled { digest: Some("1".into()), up_to_date: true, bytes: 0, seconds: 2.0 };
            self.image.as_mut().expect("begun").succeed(pulled, self.now);
            self.judged(false)
        }

        fn check(&mut self, checked: Checked) -> String {
            self.now.0 += 60;
            self.image = Some(Image::check("a:1", self.image.take(), checked, self.now));
            self.judged(false)
        }

        fn wait(&mut self, seconds: i64) -> String {
            self.now.0 += seconds;
            self.judged(false)
        }
    }

    #[test]
    fn the_second_run_that_fails_is_news_and_the_first_is_not() {
        let mut sample = Sample::new();
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.fail("network"), "failed/network/a:1 2");
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.wait(100_000), "");
    }

    #[test]
    fn a_first_failure_is_news_after_an_hour() {
        let mut sample = Sample::new();
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.wait(3_500), "");
        // A run that has not ended may succeed.
        assert_eq!(sample.begin(), "");
        assert_eq!(sample.wait(3_600), "");
        sample.image.as_mut().expect("begun").interrupt(143, 0, 1.0, sample.now);
        assert_eq!(sample.judged(false), "failed/network/a:1 1");
        let unanswered = || Checked::Unanswered(failure_of("auth"));
        let mut sample = Sample::new();
        assert_eq!(sample.check(unanswered()), "");
        assert_eq!(sample.wait(3_600), "failed/auth/a:1 0");
        assert_eq!(sample.check(unanswered()), "");
    }

    #[test]
    fn one_flaky_run_makes_no_notice() {
        let mut sample = Sample::new();
        assert_eq!(sample.pull("1", 7), "new-image//a:1 0");
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.up_to_date(), "");
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.pull("2", 7), "new-image//a:1 0");
    }

    #[test]
    fn each_kind_once_until_it_goes_well_again_which_is_news() {
        let mut sample = Sample::new();
        sample.fail("network");
        assert_eq!(sample.fail("network"), "failed/network/a:1 2");
        assert_eq!(sample.fail("auth"), "failed/auth/a:1 3");
        assert_eq!(sample.fail("network"), "");
        assert_eq!(sample.fail("auth"), "");
        assert_eq!(sample.up_to_date(), "recovered//a:1 3");
        assert_eq!(sample.up_to_date(), "");
        sample.fail("network");
        assert_eq!(sample.fail("network"), "failed/network/a:1 2");
        // If the recovery brings a new image, one notice says both.
        assert_eq!(sample.pull("2", 7), "recovered//a:1 2");
        assert_eq!(sample.check(Checked::Current { digest: "2".into() }), "");
    }

    #[test]
    fn a_new_image_is_one_of_which_something_was_fetched() {
        let mut sample = Sample::new();
        assert_eq!(sample.pull("1", 7), "new-image//a:1 0");
        assert_eq!(sample.up_to_date(), "");
        // All its layers were here already.
        assert_eq!(sample.pull("2", 0), "");
        // The same image downloaded again: somebody had removed it.
        assert_eq!(sample.pull("2", 7), "");
        assert_eq!(sample.check(Checked::Newer { digest: Some("2".into()), latest: Some("3".into()) }), "");
        // A check overwrites the state before the agent has seen the pull.
        sample.now.0 += 60;
        let mut image = Image::begin("a:1", sample.image.take(), sample.now);
        image.succeed(Pulled { digest: Some("3".into()), up_to_date: false, bytes: 9, seconds: 1.0 }, sample.now);
        sample.image = Some(image);
        assert_eq!(sample.check(Checked::Current { digest: "3".into() }), "new-image//a:1 0");
    }

    #[test]
    fn what_was_here_before_the_agent_is_no_news_but_what_fails_is() {
        let mut pulled = Sample::new();
        pulled.pull("1", 7);
        pulled.known = Known::default();
        assert_eq!(pulled.judged(false), "");
        assert_eq!(pulled.pull("2", 7), "new-image//a:1 0");
        let mut failing = Sample::new();
        failing.fail("disk-full");
        failing.fail("disk-full");
        failing.known = Known::default();
        assert_eq!(failing.judged(false), "failed/disk-full/a:1 2");
        // An image of which nothing is known is found to be current: it was not downloaded now.
        let mut current = Sample::new();
        current.pull("1", 7);
        current.up_to_date();
        current.known = Known { v: 1, ..Known::default() };
        assert_eq!(current.judged(false), "");
    }

    #[test]
    fn a_run_that_was_lost_is_a_failure_after_an_hour() {
        let mut sample = Sample::new();
        sample.begin();
        assert_eq!(sample.judged(true), "");
        sample.now.0 += 3_600;
        assert_eq!(sample.judged(true), "failed/lost/a:1 0");
        assert_eq!(sample.pull("1", 7), "recovered//a:1 0");
    }

    #[test]
    fn a_clock_that_was_not_set_makes_no_hour() {
        let mut sample = Sample::new();
        let right = sample.now;
        sample.now = Time(100);
        assert_eq!(sample.fail("network"), "");
        sample.now = right;
        assert_eq!(sample.judged(false), "");
        assert_eq!(sample.fail("network"), "failed/network/a:1 2");
    }

    #[test]
    fn containers() {
        let mut known = Known::default();
        let mut judged = |status: Standing, since: i64| {
            let container = Container {
                v: 1,
                name: "web".into(),
                image: "a:1".into(),
                digest: Some("sha256:1".into()),
                status,
                since: Some(Time(BUILT.0 + since)),
                details: Some("unhealthy".into()),
            };
            let notices = due(std::iter::empty(), &[container], Time(BUILT.0 + 99), &mut known);
            notices.iter().map(Notice::key).collect::<Vec<_>>().join(",")
        };
        assert_eq!(judged(Standing::Running, 1), "");
        assert_eq!(judged(Standing::Proving, 2), "");
        assert_eq!(judged(Standing::RolledBack, 3), "rolled-back//web");
        assert_eq!(judged(Standing::RolledBack, 3), "");
        assert_eq!(judged(Standing::Proving, 4), "");
        assert_eq!(judged(Standing::RolledBack, 5), "rolled-back//web");
        assert_eq!(judged(Standing::Failed, 6), "container-failed//web");
        assert_eq!(judged(Standing::Running, 7), "container-recovered//web");
        assert_eq!(judged(Standing::Running, 8), "");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Known::default();
        for at in 0..1_000 {
            let image = Image { v: 1, id: format!("a:{at}"), status: Status::Done, ..Image::default() };
            due([(&image, false)].into_iter(), &[], BUILT, &mut known);
        }
        assert_eq!(known.images.len(), MAX_KNOWN);
        let mut failing = Image { v: 1, id: "a:old".into(), status: Status::Error, ..Image::default() };
        (failing.kind, failing.failing_since, failing.attempts) = (Some("auth".into()), Some(BUILT), 9);
        let mut known = Known::default();
        let mut noticed = 0;
        for at in 0..1_000 {
            let image = Image { v: 1, id: format!("a:{at}"), status: Status::Done, ..Image::default() };
            noticed += due([(&failing, false), (&image, false)].into_iter(), &[], BUILT, &mut known).len();
        }
        assert_eq!((noticed, known.images.len()), (1, MAX_KNOWN), "what is still here is not forgotten");
        let mut sample = Sample::new();
        sample.fail("0");
        let count = (1..40).filter(|kind| !sample.fail(&kind.to_string()).is_empty()).count();
        assert_eq!(count, MAX_KINDS);
    }
}
