//! The state of a pull: [`Event`]s are applied one after another, each tells what it changed.
//!
//! Apart from what is shown, because three engines tell the same pull in three dialects and the truth (how many
//! layers, how many bytes, whether it has succeeded) is worked out here once.
//!
//! **Invariant:** no clock, no output. The finished layers never outnumber the layers, and success is something that was
//! said, never the absence of bad news.

pub(crate) mod attempt;
pub(crate) mod event;
pub(crate) mod failure;
pub(crate) mod layer;
mod line_buffer;
pub(crate) mod meter;

pub(crate) use line_buffer::{LineBuffer, MAX_LINE};

use crate::pull::event::{Event, Step};
use crate::pull::layer::{Change, Layer, Phase};
use std::borrow::Cow;

/// More layers than any image has (Docker allows 127); what is announced beyond is passed over, so that a hostile
/// stream cannot fill the memory.
const MAX_LAYERS: usize = 1024;

/// The share of downloading in the whole, in percent, where an engine shows extraction too.
const DOWNLOAD_SHARE: u64 = 70;

/// Why a pull has failed whose stream ended without its last chunk: what a killed engine leaves.
pub(crate) const BROKEN_OFF: &str = "the engine broke off: the connection ended in the middle of the pull";

/// Why a pull without a final status and without an image has failed; the engine's last id follows.
pub(crate) const NO_IMAGE: &str = "the engine ended the pull without saying that it succeeded, and has no image";

/// The same where the engine could not be asked whether it has one.
pub(crate) const NO_ANSWER: &str =
    "the engine ended the pull without saying that it succeeded, and gives no answer whether it has the image";

/// What an event changed. A layer is told by its index in [`Pull::layers`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Update<'a> {
    /// Nothing that was not known before.
    Nothing,
    /// A state without a line of its own.
    Silent,
    PullingFrom(Cow<'a, str>),
    Digest(Cow<'a, str>),
    Status(Cow<'a, str>),
    Warning(Cow<'a, str>),
    /// An error, or a line that was not understood; what it says is in [`Pull`].
    Heard,
    Queued(usize),
    /// Already there; with the number of finished layers, this one included.
    Cached(usize, usize),
    /// The download of a layer begins (again).
    Downloading(usize),
    /// Its bytes have grown.
    Downloaded(usize),
    /// The engine tries it again in so many seconds.
    Retrying(usize, u64),
    Verifying(usize),
    DownloadComplete(usize),
    /// The extraction of a layer begins.
    Extracting(usize),
    /// Its bytes have grown.
    Extracted(usize),
    /// With the number of finished layers, this one included.
    Complete(usize, usize),
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last chunk.
    Complete,
    /// In the middle, for this reason where one is known.
    Cut(Option<String>),
    /// It never began: an HTTP status other than 200.
    Refused(u16),
    /// Nothing moved for as long as was allowed; for this reason where one is known.
    Stalled(Option<String>),
    /// We were told to stop.
    Signal(i32),
    /// `docker pull` has ended with this exit code.
    Exited(u8),
}

/// Whether the pull has succeeded, as far as the stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// No final status, as podman does it. It has succeeded if there is an image whose id begins with this.
    Undecided(String),
    /// The reason, in the engine's words where it gave one; not yet safe to show.
    Failed(String),
    /// The signal.
    Interrupted(i32),
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that was seen in the stream")]
pub(crate) struct Pull {
    pub(crate) layers: Vec<Layer>,
    /// How many of them are complete or cached.
    pub(crate) finished: usize,
    /// The digest of the image, once told.
    pub(crate) digest: Option<String>,
    /// Whether the final status was «Image is up to date».
    pub(crate) up_to_date: bool,
    /// Of each layer the bytes that earlier attempts of this run have moved, and the most that one of them had of it.
    before: Vec<(String, u64, u64)>,
    /// The layer that an event was last about: most events are about the same as the one before.
    latest: usize,
    /// The id that the last event repeated as `Download complete`, if it did.
    repeated: Option<usize>,
    last_id: String,
    /// A `Status:` was seen, and nothing but warnings since.
    settled: bool,
    status_seen: bool,
    /// `Pulling from …` was seen: this is Docker, not podman.
    is_docker: bool,
    /// The mark of the containerd image store was seen.
    pub(crate) is_containerd: bool,
    shows_extraction: bool,
    error: Option<String>,
    /// What the body of a refusal said, or failing that the first line not understood.
    heard: Option<String>,
    refusal: bool,
    overall: u64,
}

impl Pull {
    /// Forgets what a broken attempt has done, but for the bytes that it moved.
    pub(crate) fn start_again(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        for Layer { id, done, .. } in self.moving() {
            match before.iter_mut().find(|(known, ..)| known == id) {
                Some((_, sum, most)) => (*sum, *most) = (sum.saturating_add(*done), *done.max(most)),
                None => before.push((id.clone(), *done, *done)),
            }
        }
        *self = Self { before, is_containerd: self.is_containerd, ..Self::default() };
    }

    /// Takes the next event in.
    pub(crate) fn apply<'a>(&mut self, event: Event<'a>) -> Update<'a> {
        self.settled &= matches!(event, Event::Warning(_) | Event::Aside);
        let repeated = self.repeated.take();
        match event {
            Event::PullingFrom(repository) => {
                self.is_docker = true;
                Update::PullingFrom(repository)
            }
            Event::Digest(digest) => {
                self.digest = Some(digest.to_string());
                Update::Digest(digest)
            }
            Event::Status(status) => {
                (self.settled, self.status_seen) = (true, true);
                self.up_to_date = status.starts_with("Image is up to date");
                Update::Status(status)
            }
            Event::Warning(warning) => Update::Warning(warning),
            Event::Error(message) => {
                self.error.get_or_insert(message);
                Update::Heard
            }
            Event::Refusal(message) => {
                if !std::mem::replace(&mut self.refusal, true) {
                    self.heard = Some(message.into_owned());
                }
                Update::Heard
            }
            Event::Unknown => Update::Heard,
            Event::Aside => {
                self.repeated = repeated;
                Update::Silent
            }
            Event::Layer { id, step } => self.apply_step(&id, step),
        }
    }

    /// Remembers a line that was not understood: the body of a refusal can be plain text.
    pub(crate) fn hear(&mut self, line: &[u8]) {
        if self.heard.is_none() {
            self.heard = Some(String::from_utf8_lossy(line).into_owned());
        }
    }

    fn find(&mut self, id: &str) -> Option<usize> {
        if self.layers.get(self.latest).is_none_or(|layer| layer.id != id) {
            self.latest = self.layers.iter().position(|layer| layer.id == id)?;
        }
        Some(self.latest)
    }

    fn apply_step(&mut self, id: &str, step: Step) -> Update<'static> {
        if self.last_id != id {
            id.clone_into(&mut self.last_id);
        }
        if let Step::Downloaded { hide_counts: true } = step {
            self.is_containerd = true;
        }
        let Some(at) = self.find(id) else {
            return match step {
                Step::Announced | Step::Cached if self.layers.len() < MAX_LAYERS => self.announce(id, step),
                // Blobs that were never announced (manifests, configurations) are not layers.
                _ => Update::Nothing,
            };
        };
        let layer = &mut self.layers[at];
        match step {
            Step::Waiting if layer.phase == Phase::Queued => Update::Silent,
            Step::Downloading(bytes) => match layer.download(bytes) {
                Change::None => Update::Nothing,
                Change::Unseen => Update::Silent,
                Change::Began => Update::Downloading(at),
                Change::Grew => Update::Downloaded(at),
            },
            Step::Retrying(seconds) if layer.retry(seconds) => Update::Retrying(at, seconds),
            Step::Verifying if layer.verify() => Update::Verifying(at),
            Step::Announced | Step::Waiting | Step::Retrying(_) | Step::Verifying => Update::Nothing,
            Step::Downloaded { .. } if layer.end_download() => Update::DownloadComplete(at),
            Step::Downloaded { .. } => {
                self.repeated = Some(at);
                Update::Nothing
            }
            Step::Extracting(bytes) => {
                self.shows_extraction = true;
                match layer.extract(bytes) {
                    Change::None | Change::Unseen => Update::Nothing,
                    Change::Began => Update::Extracting(at),
                    Change::Grew => Update::Extracted(at),
                }
            }
            Step::Complete | Step::Cached if layer.is_finished() => {
                self.shows_extraction |= step == Step::Complete;
                Update::Nothing
            }
            Step::Complete => {
                self.shows_extraction = true;
                self.complete(at)
            }
            Step::Cached => {
                layer.phase = Phase::Cached;
                self.finished += 1;
                Update::Cached(at, self.finished)
            }
        }
    }

    fn announce(&mut self, id: &str, step: Step) -> Update<'static> {
        let at = self.layers.len();
        self.latest = at;
        let phase = if step == Step::Cached { Phase::Cached } else { Phase::Queued };
        self.layers.push(Layer::new(id, phase));
        if step == Step::Cached {
            self.finished += 1;
            Update::Cached(at, self.finished)
        } else {
            Update::Queued(at)
        }
    }

    fn complete(&mut self, at: usize) -> Update<'static> {
        self.layers[at].complete();
        self.finished += 1;
        Update::Complete(at, self.finished)
    }

    /// What the stream that ended so says about the pull.
    pub(crate) fn verdict(&self, end: &End) -> Verdict {
        let failed = |reason: &str| Verdict::Failed(reason.to_owned());
        match (end, &self.error) {
            (End::Signal(signal), _) => Verdict::Interrupted(*signal),
            // docker itself has decided.
            (End::Exited(0), _) => Verdict::Success,
            (_, Some(error)) => failed(error),
            (End::Cut(Some(reason)) | End::Stalled(Some(reason)), _) => failed(reason),
            (End::Cut(None), _) => failed(BROKEN_OFF),
            (End::Stalled(None), _) => failed("nothing has moved for too long"),
            (End::Refused(status), _) => match &self.heard {
                Some(reason) => failed(reason),
                None => Verdict::Failed(format!("the engine answered HTTP status {status} without a reason")),
            },
            (End::Exited(code), _) => match &self.heard {
                Some(reason) => failed(reason),
                None => Verdict::Failed(format!("docker pull ended with exit code {code}")),
            },
            (End::Complete, _) if self.settled => Verdict::Success,
            (End::Complete, _) if self.status_seen => {
                failed("after its final status the engine went on with something that is not understood")
            }
            (End::Complete, _) if self.refusal => failed(self.heard.as_deref().unwrap_or_default()),
            (End::Complete, _) if !self.is_docker && !self.last_id.is_empty() => {
                Verdict::Undecided(self.last_id.clone())
            }
            (End::Complete, _) => failed("the engine ended the pull without saying that it succeeded"),
        }
    }

    /// Success is established: what podman's configuration blob was counted as is taken back, and the layers that no
    /// `Pull complete` closed are to be closed by [`Pull::complete_next`].
    pub(crate) fn succeed(&mut self) {
        if let Some(at) = self.repeated.take()
            && !self.status_seen
            && !self.layers[at].is_finished()
        {
            self.layers.remove(at);
            self.latest = 0;
        }
        self.overall = 100;
    }

    /// Closes the next open layer.
    pub(crate) fn complete_next(&mut self) -> Option<Update<'static>> {
        let at = self.layers.iter().position(|layer| !layer.is_finished())?;
        Some(self.complete(at))
    }

    /// Whether any layer has arrived: with podman that is what a recording without an exit code has to go by.
    pub(crate) fn has_finished_layer(&self) -> bool {
        self.layers.iter().any(Layer::is_downloaded)
    }

    /// Whether all layers are downloaded, so that only an extraction can be going on, and none that shows its bytes.
    /// Once the engine has said how it ended nothing goes on.
    pub(crate) fn may_extract_unseen(&self) -> bool {
        let is_over = self.status_seen || self.error.is_some();
        let shows_bytes =
            |layer: &Layer| !layer.is_finished() && layer.extracted.is_some_and(|(done, whole)| done < whole);
        let is_here = !self.layers.is_empty() && self.layers.iter().all(Layer::is_downloaded);
        is_here && !is_over && !self.layers.iter().any(shows_bytes)
    }

    fn moving(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| !matches!(layer.phase, Phase::Cached | Phase::Queued))
    }

    /// The bytes seen moving in this run, and whether these are all (a layer of unknown size may have moved more).
    pub(crate) fn moved(&self) -> (u64, bool) {
        let done_now = |id: &str| self.moving().find(|layer| layer.id == id).map_or(0, |layer| layer.done);
        let before = self.before.iter().map(|(id, sum, most)| {
            // This store goes on where the last attempt broke off, and counts from the beginning of the layer.
            if self.is_containerd { most.saturating_sub(done_now(id)) } else { *sum }
        });
        let bytes = before.chain(self.moving().map(|layer| layer.done)).fold(0, u64::saturating_add);
        (bytes, self.moving().all(|layer| layer.size.is_some()))
    }

    /// How much of the whole is done, in percent: 70 % download and 30 % extraction (where the engine shows any), by
    /// bytes. Never back within an attempt, and 100 only once [`Pull::succeed`] was called.
    pub(crate) fn overall(&mut self) -> u64 {
        let known = self.layers.iter().filter_map(|layer| layer.size);
        let (sum, count) = known.fold((0_u128, 0_u128), |(sum, count), size| (sum + u128::from(size), count + 1));
        let mean = sum.checked_div(count).unwrap_or(1).max(1) as u64;
        let extraction =
            if self.shows_extraction || (self.is_docker && !self.is_containerd) { 100 - DOWNLOAD_SHARE } else { 0 };
        // In 128 bits, so that the sum fits whatever sizes an engine claims.
        let (mut part, mut whole) = (0_u128, 0_u128);
        for layer in &self.layers {
            let weight = layer.size.unwrap_or(mean).max(1);
            let downloaded = match layer.size {
                _ if layer.is_downloaded() => weight,
                Some(_) => layer.done,
                None => 0,
            };
            let extracted = match layer.extracted {
                _ if layer.is_finished() => weight,
                Some((done, whole)) => share(done, whole, weight),
                None => 0,
            };
            part +=
                u128::from(downloaded) * u128::from(100 - extraction) + u128::from(extracted) * u128::from(extraction);
            whole += u128::from(weight);
        }
        let percent = part.checked_div(whole).unwrap_or(0).min(99) as u64;
        self.overall = self.overall.max(percent);
        self.overall
    }
}

/// `scale * part / whole`, floored, at most `scale`; 0 of an empty whole.
pub(crate) fn share(part: u64, whole: u64, scale: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(part.min(whole)) * u128::from(scale) / u128::from(whole);
    // `part` is at most `whole`, so the share is at most `scale`, which is a u64.
    share as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Announced, Cached, Complete, Downloading, Extracting, Retrying, Verifying, Waiting};

    const DOWNLOADED: Step = Step::Downloaded { hide_counts: false };

    fn step(pull: &mut Pull, id: &str, step: Step) -> Update<'static> {
        pull.apply_in_test(Event::Layer { id: id.to_owned().into(), step })
    }

    fn say(pull: &mut Pull, text: &str) {
        pull.apply_in_test(crate::pull::event::parse_cli(text.to_owned().as_bytes()));
    }

    impl Pull {
        /// As [`Pull::apply`], of which only what owns nothing comes back.
        fn apply_in_test(&mut self, event: Event<'_>) -> Update<'static> {
            match self.apply(event) {
                Update::Queued(at) => Update::Queued(at),
                Update::Cached(at, finished) => Update::Cached(at, finished),
                Update::Downloading(at) => Update::Downloading(at),
                Update::Downloaded(at) => Update::Downloaded(at),
                Update::Retrying(at, seconds) => Update::Retrying(at, seconds),
                Update::Verifying(at) => Update::Verifying(at),
                Update::DownloadComplete(at) => Update::DownloadComplete(at),
                Update::Extracting(at) => Update::Extracting(at),
                Update::Extracted(at) => Update::Extracted(at),
                Update::Complete(at, finished) => Update::Complete(at, finished),
                Update::Silent => Update::Silent,
                Update::Nothing => Update::Nothing,
                _ => Update::Heard,
            }
        }
    }

    #[test]
    fn a_layer_goes_its_way_once() {
        let mut pull = Pull::default();
        for (what, expected) in [
            (Announced, Update::Queued(0)),
            (Announced, Update::Nothing),
            (Waiting, Update::Silent),
            (Downloading(Some((1, 10))), Update::Downloading(0)),
            (Waiting, Update::Nothing),
            (Downloading(Some((1, 10))), Update::Nothing),
            (Downloading(None), Update::Nothing),
            (Downloading(Some((5, 10))), Update::Downloaded(0)),
            (Downloading(Some((3, 10))), Update::Nothing),
            (Verifying, Update::Verifying(0)),
            (Verifying, Update::Nothing),
            (DOWNLOADED, Update::DownloadComplete(0)),
            (DOWNLOADED, Update::Nothing),
            (Verifying, Update::Nothing),
            (Retrying(5), Update::Nothing),
            (Downloading(Some((6, 10))), Update::Nothing),
            (Extracting(Some((2, 10))), Update::Extracting(0)),
            (Extracting(Some((2, 10))), Update::Nothing),
            (Extracting(Some((1, 10))), Update::Nothing),
            (Extracting(Some((9, 10))), Update::Extracted(0)),
            (Extracting(None), Update::Nothing),
            (Complete, Update::Complete(0, 1)),
            (Complete, Update::Nothing),
            (Cached, Update::Nothing),
            (Extracting(Some((1, 10))), Update::Nothing),
            (DOWNLOADED, Update::Nothing),
        ] {
            assert_eq!(step(&mut pull, "a", what), expected, "{what:?}");
        }
        assert_eq!((pull.layers.len(), pull.finished, pull.moved()), (1, 1, (10, true)));
    }

    #[test]
    fn after_a_broken_connection_the_bytes_go_on() {
        // As dockerd 20.10 told it: a false 100 %, waits, then the total is what remains.
        let mut pull = Pull::default();
        step(&mut pull, "a", Announced);
        let mut check = |what, expected, done| {
            assert_eq!(step(&mut pull, "a", what), expected, "{what:?}");
            assert_eq!(pull.layers[0].done, done, "{what:?}");
        };
        check(Downloading(Some((9_469_531, 120_036_820))), Update::Downloading(0), 9_469_531);
        check(Downloading(Some((120_036_820, 120_036_820))), Update::Nothing, 9_469_531);
        check(Retrying(5), Update::Retrying(0, 5), 9_469_531);
        check(Retrying(4), Update::Nothing, 9_469_531);
        check(Retrying(1), Update::Nothing, 9_469_531);
        check(Downloading(Some((556_572, 110_075_769))), Update::Downloading(0), 10_517_623);
        check(Downloading(Some((1_113_628, 110_075_769))), Update::Downloaded(0), 11_074_679);
        check(Downloading(Some((110_075_769, 110_075_769))), Update::Nothing, 11_074_679);
        // A second wait is told again, as is a longer one after it.
        check(Retrying(10), Update::Retrying(0, 10), 11_074_679);
        check(Retrying(9), Update::Nothing, 11_074_679);
        check(Retrying(15), Update::Retrying(0, 15), 11_074_679);
        // Begun anew from nothing: nothing is shown until it is further than it was.
        check(Downloading(Some((1, 120_036_820))), Update::Downloading(0), 11_074_679);
        check(Downloading(Some((11_000_000, 120_036_820))), Update::Nothing, 11_074_679);
        check(DOWNLOADED, Update::DownloadComplete(0), 120_036_820);
    }

    #[test]
    fn a_download_that_was_never_seen_unfinished_is_no_news() {
        let mut pull = Pull::default();
        step(&mut pull, "a", Announced);
        assert_eq!(step(&mut pull, "a", Downloading(Some((112, 112)))), Update::Silent);
        assert_eq!(step(&mut pull, "a", Downloading(Some((113, 112)))), Update::Nothing);
        assert_eq!(pull.moved(), (0, true));
        step(&mut pull, "a", DOWNLOADED);
        assert_eq!(pull.moved(), (112, true));
    }

    #[test]
    fn absurd_numbers_do_not_break_the_arithmetic() {
        let numbers = [0, 1, 2, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX];
        let mut pull = Pull::default();
        step(&mut pull, "a", Announced);
        step(&mut pull, "b", Announced);
        let mut before = 0;
        for current in numbers {
            for total in numbers {
                step(&mut pull, "a", Downloading(Some((current, total))));
                step(&mut pull, "b", Extracting(Some((current, total))));
                let layer = &pull.layers[0];
                assert!(layer.done <= layer.size.unwrap_or(0) && layer.done >= before, "{current}/{total}");
                before = layer.done;
                assert!(pull.overall() < 100);
            }
        }
        step(&mut pull, "a", Complete);
        step(&mut pull, "b", Complete);
        assert_eq!(pull.overall(), 99);
    }

    #[test]
    fn each_id_counts_once() {
        let mut pull = Pull::default();
        say(&mut pull, "1: Pulling from a");
        // The containerd store says of a layer that it is there after it has announced it, and then that it is complete.
        for (id, what, expected) in [
            ("a", Announced, Update::Queued(0)),
            ("b", Announced, Update::Queued(1)),
            ("a", Announced, Update::Nothing),
            ("a", Cached, Update::Cached(0, 1)),
            ("a", Complete, Update::Nothing),
            ("c", Cached, Update::Cached(2, 2)),
            ("c", Cached, Update::Nothing),
            ("c", Announced, Update::Nothing),
            // Never announced: a manifest or a configuration.
            ("d", Downloading(Some((1, 2))), Update::Nothing),
            ("d", DOWNLOADED, Update::Nothing),
            ("d", Complete, Update::Nothing),
            ("b", Complete, Update::Complete(1, 3)),
        ] {
            assert_eq!(step(&mut pull, id, what), expected, "{id} {what:?}");
        }
        assert_eq!((pull.layers.len(), pull.finished), (3, 3));
    }

    #[test]
    fn layers_without_end_are_not_kept() {
        let mut pull = Pull::default();
        for id in 0..10 * MAX_LAYERS {
            step(&mut pull, &id.to_string(), Announced);
        }
        assert_eq!(pull.layers.len(), MAX_LAYERS);
    }

    #[test]
    fn podmans_configuration_is_no_layer() {
        let mut pull = Pull::default();
        for (id, what) in [
            ("a", Announced),
            ("a", Downloading(Some((5, 10)))),
            ("a", DOWNLOADED),
            ("config", Announced),
            ("config", DOWNLOADED),
            ("config", DOWNLOADED),
        ] {
            step(&mut pull, id, what);
        }
        assert_eq!(pull.verdict(&End::Complete), Verdict::Undecided("config".into()));
        assert!(pull.has_finished_layer());
        pull.succeed();
        assert_eq!(pull.complete_next(), Some(Update::Complete(0, 1)));
        assert_eq!(pull.complete_next(), None);
        assert_eq!((pull.layers.len(), pull.finished, pull.overall()), (1, 1, 100));
        assert_eq!(pull.moved(), (10, true));
    }

    #[test]
    fn another_attempt_begins_anew_and_keeps_what_was_moved() {
        let mut pull = Pull::default();
        step(&mut pull, "a", Announced);
        step(&mut pull, "a", Downloading(Some((900, 1000))));
        assert!(pull.overall() > 80);
        pull.start_again();
        assert_eq!((pull.overall(), pull.layers.len(), pull.moved()), (0, 0, (900, true)));
        step(&mut pull, "a", Announced);
        step(&mut pull, "a", Downloading(Some((100, 1000))));
        assert_eq!(pull.moved(), (1000, true));
        pull.start_again();
        assert_eq!(pull.moved(), (1000, true));
    }

    #[test]
    fn what_the_containerd_store_has_kept_moves_once() {
        let mut pull = Pull::default();
        for what in [Announced, Downloading(Some((600, 1000)))] {
            step(&mut pull, "a", what);
            step(&mut pull, "b", what);
        }
        pull.start_again();
        // It goes on at 600, and with the other at 500, which was not yet on the disk.
        for (id, what) in [
            ("a", Announced),
            ("b", Announced),
            ("a", Downloading(Some((600, 1000)))),
            ("b", Downloading(Some((500, 1000)))),
            ("a", Step::Downloaded { hide_counts: true }),
        ] {
            step(&mut pull, id, what);
        }
        assert_eq!(pull.moved(), (1600, true));
        pull.start_again();
        assert_eq!(pull.moved(), (1600, true));
        step(&mut pull, "b", Announced);
        step(&mut pull, "b", Downloading(Some((900, 1000))));
        assert_eq!(pull.moved(), (1900, true));
    }

    #[test]
    fn the_extraction_tells_the_size_of_a_layer_whose_rest_alone_was_told() {
        let mut pull = Pull::default();
        for what in [Announced, Retrying(5), Downloading(Some((100, 700))), DOWNLOADED] {
            step(&mut pull, "a", what);
        }
        assert_eq!(pull.moved(), (700, true));
        step(&mut pull, "a", Extracting(Some((10, 1000))));
        assert_eq!((pull.moved(), pull.layers[0].size), ((1000, true), Some(1000)));
    }

    #[test]
    fn the_whole_is_weighed_by_bytes() {
        let check = |is_docker: bool, steps: &[(&str, Step)], expected: u64| {
            let mut pull = Pull::default();
            if is_docker {
                say(&mut pull, "1: Pulling from a");
            }
            for &(id, what) in steps {
                step(&mut pull, id, what);
            }
            assert_eq!(pull.overall(), expected, "{steps:?}");
        };
        check(true, &[], 0);
        check(true, &[("a", Announced)], 0);
        check(true, &[("a", Announced), ("a", Downloading(Some((50, 100))))], 35);
        // Where no extraction is to be expected all is download.
        check(false, &[("a", Announced), ("a", Downloading(Some((50, 100))))], 50);
        check(true, &[("a", Announced), ("a", Downloading(Some((50, 100)))), ("a", DOWNLOADED)], 70);
        check(true, &[("a", Announced), ("a", Extracting(Some((50, 100))))], 85);
        check(true, &[("a", Announced), ("a", Extracting(None))], 70);
        // A large layer weighs more than a small one, an unknown one as much as the mean.
        let (large, small) = (Downloading(Some((1, 900))), Downloading(Some((99, 100))));
        check(true, &[("a", Announced), ("b", Announced), ("a", large), ("b", small)], 7);
        check(true, &[("a", Announced), ("b", Announced), ("a", large), ("a", Complete)], 50);
        check(true, &[("a", Cached), ("b", Announced)], 50);
        check(true, &[("a", Complete)], 0);
        check(true, &[("a", Announced), ("a", Complete)], 99);
    }

    #[test]
    fn the_whole_never_goes_back() {
        let mut pull = Pull::default();
        say(&mut pull, "1: Pulling from a");
        step(&mut pull, "a", Announced);
        step(&mut pull, "a", Downloading(Some((99, 100))));
        assert_eq!(pull.overall(), 69);
        step(&mut pull, "b", Announced);
        step(&mut pull, "b", Downloading(Some((1, 1_000_000))));
        assert_eq!(pull.overall(), 69);
    }

    #[test]
    fn the_verdict() {
        const FROM: &str = "1: Pulling from a";
        const STATUS: &str = "Status: Downloaded newer image for a:1";
        const ERROR: &str = "Error: no space left";
        const WARNING: &str = "WARNING: mind";
        const LAYER: &str = "abc: Pulling fs layer";
        const READY: &str = "abc: Download complete";
        let failed = |reason: &str| Verdict::Failed(reason.to_owned());
        let check = |said: &[&str], end: End, expected: Verdict| {
            let mut pull = Pull::default();
            for text in said {
                say(&mut pull, text);
            }
            assert_eq!(pull.verdict(&end), expected, "{said:?} {end:?}");
        };
        check(&[FROM, STATUS], End::Complete, Verdict::Success);
        check(&[STATUS, WARNING, WARNING], End::Complete, Verdict::Success);
        let strange = "after its final status the engine went on with something that is not understood";
        check(&[FROM, STATUS, "something new"], End::Complete, failed(strange));
        check(&[FROM, STATUS, READY], End::Complete, failed(strange));
        check(&[FROM, STATUS, READY, STATUS], End::Complete, Verdict::Success);
        check(&[FROM, STATUS, ERROR], End::Complete, failed("no space left"));
        check(&[ERROR, FROM, STATUS], End::Complete, failed("no space left"));
        check(&[ERROR, "Error: second"], End::Complete, failed("no space left"));
        let silent = "the engine ended the pull without saying that it succeeded";
        check(&[], End::Complete, failed(silent));
        check(&[FROM], End::Complete, failed(silent));
        check(&[FROM, LAYER, READY], End::Complete, failed(silent));
        check(&[LAYER, READY], End::Complete, Verdict::Undecided("abc".into()));
        check(&[LAYER, READY, ERROR], End::Complete, failed("no space left"));
        check(&[FROM, STATUS], End::Cut(None), failed(BROKEN_OFF));
        check(&[FROM, STATUS], End::Cut(Some("why".into())), failed("why"));
        check(&[FROM, ERROR], End::Cut(Some("why".into())), failed("no space left"));
        check(&[FROM], End::Stalled(None), failed("nothing has moved for too long"));
        check(&[FROM], End::Stalled(Some("why".into())), failed("why"));
        check(&[], End::Refused(404), failed("the engine answered HTTP status 404 without a reason"));
        check(&[FROM, STATUS], End::Refused(500), failed("the engine answered HTTP status 500 without a reason"));
        check(&[FROM, STATUS], End::Signal(15), Verdict::Interrupted(15));
        check(&[ERROR], End::Signal(2), Verdict::Interrupted(2));
        // docker decides by its exit code alone.
        check(&[ERROR], End::Exited(0), Verdict::Success);
        check(&[], End::Exited(0), Verdict::Success);
        check(&[STATUS], End::Exited(1), failed("docker pull ended with exit code 1"));
        check(&[ERROR], End::Exited(1), failed("no space left"));
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let check = |lines: &[&str], expected: &str| {
            let mut pull = Pull::default();
            for line in lines {
                let event = crate::pull::event::parse(line.as_bytes());
                if event == Event::Unknown {
                    pull.hear(line.as_bytes());
                }
                pull.apply(event);
            }
            assert_eq!(pull.verdict(&End::Refused(400)), Verdict::Failed(expected.into()), "{lines:?}");
        };
        check(&[r#"{"message":"no such image"}"#], "no such image");
        check(&["plain text", "and more"], "plain text");
        check(&["plain text", r#"{"message":"no such image"}"#, r#"{"message":"second"}"#], "no such image");
        check(&[r#"{"error":"broken"}"#, r#"{"message":"no such image"}"#], "broken");
    }

    #[test]
    fn an_extraction_may_go_on_unseen_once_all_is_downloaded() {
        let mut pull = Pull::default();
        assert!(!pull.may_extract_unseen());
        step(&mut pull, "a", Announced);
        step(&mut pull, "b", Announced);
        step(&mut pull, "a", DOWNLOADED);
        assert!(!pull.may_extract_unseen());
        step(&mut pull, "b", DOWNLOADED);
        assert!(pull.may_extract_unseen());
        step(&mut pull, "a", Extracting(Some((1, 10))));
        assert!(!pull.may_extract_unseen(), "this engine shows its extraction");
        step(&mut pull, "a", Extracting(Some((10, 10))));
        assert!(pull.may_extract_unseen());
        for last in [Event::Status("Downloaded newer image".into()), Event::Error("no space left".into())] {
            let mut pull = Pull::default();
            step(&mut pull, "a", Announced);
            step(&mut pull, "a", DOWNLOADED);
            assert!(pull.may_extract_unseen());
            pull.apply_in_test(last);
            assert!(!pull.may_extract_unseen(), "the engine has said how it ended");
        }
    }
}
