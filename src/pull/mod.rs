//! The state of a pull: [`Event`]s are applied one after another, and each returns an [`Update`] with what it changed.
//!
//! Separate from the output, because three kinds of engines report the same pull in three forms, and the facts (how
//! many layers, how many bytes, whether it has succeeded) are worked out here once.
//!
//! **Invariant:** no clock, no output. Finished layers never outnumber the layers, and a pull has succeeded only if the
//! engine said so; the absence of errors is not enough.

pub(crate) mod attempt;
pub(crate) mod disk;
pub(crate) mod failure;
pub(crate) mod layer;
pub(crate) mod meter;
pub(crate) mod sizes;
pub(crate) mod snapshot;
mod tally;
mod verdict;

pub(crate) use alm_stream::{LineBuffer, MAX_LINE, event, split_object};
pub(crate) use verdict::{End, Verdict, signal_exit_code, signal_name};

use crate::pull::event::{Event, Numbers};
use crate::pull::failure::{Failure, Kind, PULL_CALL};
use crate::pull::layer::{Change, Layer, Phase};
use crate::pull::sizes::Sizes;
use crate::pull::tally::Earlier;
use std::borrow::Cow;

/// More layers than any image has (Docker allows 127). Further ones are ignored, so that a hostile stream cannot fill
/// the memory.
const MAX_LAYERS: usize = 1024;

/// The space for layers from the beginning: without it they are copied to larger and larger places, which all stay in memory.
pub(crate) const USUAL_LAYERS: usize = 48;

/// How many blobs that are not layers are kept.
const MAX_OTHERS: usize = 64;

/// The reason of a pull whose stream ended without its last chunk, as after the engine was killed.
pub(crate) const BROKEN_OFF: &str = "the engine broke off: the connection ended in the middle of the pull";

/// The reason of a pull without a final status; the two below begin with it.
pub(crate) const SILENT: &str = "the engine ended the pull without saying that it succeeded";

/// The reason of a pull without a final status and without an image; the engine's last id follows it.
pub(crate) const NO_IMAGE: &str = "the engine ended the pull without saying that it succeeded, and has no image";

/// The same if the engine could not be asked whether there is an image.
pub(crate) const NO_ANSWER: &str =
    "the engine ended the pull without saying that it succeeded, and gives no answer whether it has the image";

/// What an event changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Update<'a> {
    /// Nothing new.
    Nothing,
    /// A blob that is not a layer has moved.
    Moved,
    /// A change that no line reports.
    Silent,
    PullingFrom(Cow<'a, str>),
    Digest(Cow<'a, str>),
    Status(Cow<'a, str>),
    Warning(Cow<'a, str>),
    /// An error, or a line that was not understood; [`Pull`] keeps its text.
    Problem,
    /// A layer, by its index in [`Pull::layers`]; if the phase changed, it is the layer's present one.
    Layer(usize, Change),
}

impl Update<'_> {
    /// Whether the pull moves: any change in the engine's reports, whether or not a line shows it.
    pub(crate) fn is_movement(&self) -> bool {
        !matches!(self, Update::Nothing | Update::Problem | Update::Layer(_, Change::None))
    }
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that was seen in the stream")]
pub(crate) struct Pull {
    pub(crate) layers: Vec<Layer>,
    /// How many layers are complete or cached.
    pub(crate) finished: usize,
    /// The digest of the image, once it is known.
    pub(crate) digest: Option<String>,
    /// Whether the final status was «Image is up to date».
    pub(crate) up_to_date: bool,
    /// The layers of earlier attempts of this run.
    before: Vec<Earlier>,
    /// Blobs that events report and that were never announced as layers: configurations, manifests. Kept to notice
    /// movement.
    others: Vec<Layer>,
    /// The layer of the last event: most events are about the same layer as the one before.
    latest: usize,
    /// The blob for which the last event repeated `Download complete`.
    repeated: Option<usize>,
    /// The id of the last event, if that was not a layer.
    last_other: String,
    /// Whether a `Status:` was seen, and only warnings since.
    settled: bool,
    status_seen: bool,
    /// Whether `Pulling from …` was seen: this is Docker, not podman.
    is_docker: bool,
    /// Whether the containerd store's mark was seen.
    pub(crate) is_containerd: bool,
    shows_extraction: bool,
    /// Whether a layer waits, is being downloaded or is downloaded: all layers are announced then.
    is_fetching: bool,
    /// The layers' sizes from the registry.
    sizes: Option<Sizes>,
    /// Whether anything was seen that podman never sends.
    is_not_podman: bool,
    /// A blob that may be podman's configuration: announced after all layers had ended, with no other event since.
    configuration: Option<usize>,
    /// Whether the last event was the one with which podman ends.
    is_podmans_end: bool,
    error: Option<String>,
    /// The text of a refusal's body, else the first line that was not understood.
    unknown: Option<String>,
    refusal: bool,
    /// The percentage before the last event that could have lowered it.
    percent: u64,
}

impl Pull {
    /// Applies the next event.
    pub(crate) fn apply<'a>(&mut self, event: Event<'a>) -> Update<'a> {
        self.settled &= matches!(event, Event::Warning(_) | Event::Aside);
        let (repeated, configuration) = (self.repeated.take(), self.configuration.take());
        let was_podmans_end = std::mem::take(&mut self.is_podmans_end);
        match event {
            Event::PullingFrom(repository) => {
                self.keep_percent();
                // A second `Pulling from`: the engine starts again, at another endpoint.
                self.layers.iter_mut().for_each(Layer::expect_restart);
                self.is_docker = true;
                Update::PullingFrom(repository)
            }
            Event::Digest(digest) => {
                self.is_not_podman = true;
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
                Update::Problem
            }
            Event::Refusal(message) => {
                if !std::mem::replace(&mut self.refusal, true) {
                    self.unknown = Some(message.into_owned());
                }
                Update::Problem
            }
            Event::Unknown(line) => {
                self.note_unknown(line);
                Update::Problem
            }
            Event::Aside => {
                (self.repeated, self.configuration) = (repeated, configuration);
                self.is_podmans_end = was_podmans_end;
                Update::Silent
            }
            Event::Layer { id, phase, numbers, hide_counts } => {
                self.is_containerd |= hide_counts;
                let update = self.apply_layer(&id, phase, numbers);
                self.detect_podmans_end(&update, phase, configuration);
                update
            }
        }
    }

    /// Keeps a line that was not understood: a refusal's body can be plain text, or an HTML page of several lines.
    fn note_unknown(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        for text in self.error.iter_mut().chain(&mut self.unknown) {
            Failure::continue_page(text, &line);
        }
        self.unknown.get_or_insert_with(|| line.into_owned());
    }

    fn find(&mut self, id: &str) -> Option<usize> {
        // An engine that reports several layers does so in turn.
        let (earlier, later) = self.layers.split_at(self.latest);
        let is_it = |layer: &Layer| layer.id == id;
        let found = later.iter().position(is_it).map(|at| earlier.len() + at);
        self.latest = found.or_else(|| earlier.iter().position(is_it))?;
        Some(self.latest)
    }

    fn apply_layer(&mut self, id: &str, phase: Phase, numbers: Numbers) -> Update<'static> {
        self.is_fetching |= matches!(phase, Phase::Waiting | Phase::Downloading | Phase::Downloaded);
        self.is_not_podman |=
            matches!(phase, Phase::Waiting | Phase::Verifying | Phase::Extracting | Phase::Retrying(_));
        let found = self.find(id);
        if self.is_reweighed_by(found, phase, numbers) {
            // A layer that was finished is downloaded again, or extracted after all, perhaps before any other has moved.
            if matches!(phase, Phase::Downloading | Phase::Extracting)
                && found.is_some_and(|at| self.layers[at].is_finished)
            {
                self.percent = self.percent();
            }
            self.keep_percent();
        }
        self.last_other.clear();
        let Some(at) = found else {
            return match phase {
                Phase::Queued | Phase::Cached if self.layers.len() < MAX_LAYERS => self.announce(id, phase, numbers),
                _ => self.apply_other(id, phase, numbers),
            };
        };
        self.is_not_podman |= phase == Phase::Complete;
        let layer = &mut self.layers[at];
        let (was_finished, was_downloaded) = (layer.is_finished, layer.is_downloaded());
        let change = layer.apply(phase, numbers);
        self.shows_extraction |= matches!(phase, Phase::Extracting | Phase::Complete);
        self.finished += usize::from(layer.is_finished && !was_finished);
        if phase == Phase::Downloaded && was_downloaded {
            self.repeated = Some(at);
        }
        Update::Layer(at, change)
    }

    fn announce(&mut self, id: &str, phase: Phase, numbers: Numbers) -> Update<'static> {
        let at = self.layers.len();
        if at == 0 {
            self.layers.reserve_exact(USUAL_LAYERS);
        }
        self.latest = at;
        let mut layer = Layer::new(id);
        // The id is a digest, so the size is the same in each attempt.
        layer.size = self.before.iter().find(|known| known.id == id).and_then(|known| known.size);
        if phase == Phase::Cached {
            layer.apply(phase, numbers);
            self.finished += 1;
        }
        layer.is_announced = phase == Phase::Queued;
        self.layers.push(layer);
        self.apply_known_size(at);
        Update::Layer(at, Change::Began)
    }

    /// podman ends with the id of the image, which is that of its configuration: it announces it after all layers, and
    /// reports twice that it is here. podman 3.1 does not announce it, and reports it as complete.
    fn detect_podmans_end(&mut self, update: &Update<'_>, phase: Phase, configuration: Option<usize>) {
        match (update, phase) {
            (Update::Layer(at, Change::Began), Phase::Queued) => {
                let others = &self.layers[..*at];
                self.configuration = Some(*at).filter(|_| !others.is_empty() && all_ended(others));
            }
            (Update::Layer(at, _), Phase::Downloaded) if configuration == Some(*at) => {
                self.configuration = configuration;
                self.is_podmans_end = self.repeated == configuration;
            }
            (Update::Nothing | Update::Moved, Phase::Complete) => {
                self.is_podmans_end = !self.layers.is_empty() && all_ended(&self.layers);
            }
            _ => {}
        }
    }

    /// Whether the stream can only be a complete one of podman, which sends no final status.
    pub(crate) fn ends_as_podman(&self) -> bool {
        // Podman announces each layer: of another the beginning is missing.
        let is_whole = self.others.iter().all(|other| other.id == self.last_id());
        self.is_podmans_end && is_whole && !self.is_docker && !self.is_containerd && !self.is_not_podman
    }

    /// Blobs that were never announced (manifests, configurations) are not layers, but their movement counts.
    fn apply_other(&mut self, id: &str, phase: Phase, numbers: Numbers) -> Update<'static> {
        id.clone_into(&mut self.last_other);
        let at = self.others.iter().position(|other| other.id == id);
        let is_new = at.is_none() && self.others.len() < MAX_OTHERS;
        if is_new {
            self.others.push(Layer::new(id));
        }
        let other = if is_new { self.others.last_mut() } else { at.map(|at| &mut self.others[at]) };
        match other.map(|other| other.apply(phase, numbers)) {
            None | Some(Change::None) => Update::Nothing,
            Some(_) => Update::Moved,
        }
    }

    /// The id of the last event; empty before the first.
    fn last_id(&self) -> &str {
        match self.layers.get(self.latest) {
            Some(layer) if self.last_other.is_empty() => &layer.id,
            _ => &self.last_other,
        }
    }

    /// What the stream, which ended so, means for the pull.
    pub(crate) fn verdict(&self, end: &End) -> Verdict {
        let own = |kind, reason: &str| Verdict::Failed(Failure::own(kind, reason));
        let reason = self.unknown.as_deref().unwrap_or_default();
        match (end, &self.error) {
            (End::Signal(signal), _) => Verdict::Interrupted(*signal),
            // docker's own exit code decides.
            (End::Exited(0), _) => Verdict::Success,
            (_, Some(error)) => Verdict::Failed(Failure::reported(error)),
            (End::Cut(Some(failure)) | End::Stalled(Some(failure)), _) => Verdict::Failed(failure.clone()),
            (End::Cut(None), _) => own(Kind::EngineGone, BROKEN_OFF),
            (End::Stalled(None), _) => own(Kind::Stalled, "nothing has moved for too long"),
            (End::Refused(status), _) => Verdict::Failed(Failure::answered(*status, reason, self.refusal, PULL_CALL)),
            (End::Exited(code), _) if reason.is_empty() => {
                own(Kind::Other, &format!("docker pull ended with exit code {code}"))
            }
            (End::Exited(_), _) => Verdict::Failed(Failure::reported(reason)),
            (End::Complete, _) if self.settled => Verdict::Success,
            (End::Complete, _) if self.status_seen => {
                own(Kind::Other, "after its final status the engine went on with something that is not understood")
            }
            (End::Complete, _) if self.refusal => Verdict::Failed(Failure::reported(reason)),
            (End::Complete, _) if !self.is_docker && !self.last_id().is_empty() => {
                Verdict::Undecided(self.last_id().to_owned())
            }
            (End::Complete, _) => own(Kind::Other, SILENT),
        }
    }

    /// Makes the layers agree with the verdict, one layer for each call: after a success a layer without `Pull
    /// complete` is complete, too.
    pub(crate) fn settle(&mut self, verdict: &Verdict) -> Option<Update<'static>> {
        if *verdict != Verdict::Success {
            return None;
        }
        self.succeed();
        let at = self.layers.iter().position(|layer| !layer.is_finished || layer.phase == Phase::Extracting)?;
        let is_news = self.layers[at].complete();
        self.finished += usize::from(is_news);
        Some(Update::Layer(at, if is_news { Change::Began } else { Change::Silent }))
    }

    /// podman's configuration blob, which was counted as a layer, is removed again.
    fn succeed(&mut self) {
        if let Some(at) = self.repeated.take()
            && !self.status_seen
            && !self.layers[at].is_finished
        {
            self.layers.remove(at);
            self.latest = 0;
        }
        self.percent = 100;
    }

    /// Whether all layers are downloaded, so that only an extraction without progress can be going on. False once the
    /// engine has reported the end.
    pub(crate) fn may_extract_unseen(&self) -> bool {
        let is_over = self.status_seen || self.error.is_some();
        let shows_bytes =
            |layer: &Layer| !layer.is_at_end() && layer.extracted.is_some_and(|(done, whole)| done < whole);
        let is_here = !self.layers.is_empty() && self.layers.iter().all(Layer::is_downloaded);
        is_here && !is_over && !self.layers.iter().any(shows_bytes)
    }
}

fn all_ended(layers: &[Layer]) -> bool {
    layers.iter().all(Layer::is_downloaded)
}

/// `scale * part / whole`, rounded down, at most `scale`; 0 if `whole` is 0.
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
    use crate::pull::meter::Meter;
    use crate::pull::snapshot::Snapshot;
    /// An engine's event about a layer, without its id.
    type LayerEvent = (Phase, Numbers);

    const ANNOUNCED: LayerEvent = (Phase::Queued, Numbers::NONE);
    const WAITING: LayerEvent = (Phase::Waiting, Numbers::NONE);
    const CACHED: LayerEvent = (Phase::Cached, Numbers::NONE);
    const VERIFYING: LayerEvent = (Phase::Verifying, Numbers::NONE);
    const DOWNLOADED: LayerEvent = (Phase::Downloaded, Numbers::NONE);
    const COMPLETE: LayerEvent = (Phase::Complete, Numbers::NONE);

    fn retrying(seconds: u32) -> LayerEvent {
        (Phase::Retrying(seconds), Numbers::NONE)
    }

    fn downloading(current: u64, total: u64) -> LayerEvent {
        (Phase::Downloading, Numbers::of(current, Some(total)))
    }

    fn unknown(current: u64) -> LayerEvent {
        (Phase::Downloading, Numbers::of(current, None))
    }

    fn extracting(current: u64, total: u64) -> LayerEvent {
        (Phase::Extracting, Numbers::of(current, Some(total)))
    }

    fn step(pull: &mut Pull, id: &str, (phase, numbers): LayerEvent) -> Update<'static> {
        pull.apply_in_test(Event::Layer { id: id.to_owned().into(), phase, numbers, hide_counts: false })
    }

    /// The change of the first layer.
    fn change(pull: &mut Pull, event: LayerEvent) -> Change {
        match step(pull, "a", event) {
            Update::Layer(0, change) => change,
            other => panic!("{other:?}"),
        }
    }

    fn say(pull: &mut Pull, text: &str) {
        pull.apply_in_test(crate::pull::event::parse_cli(text.to_owned().as_bytes()));
    }

    impl Pull {
        /// [`Pull::apply`], for updates that own nothing.
        fn apply_in_test(&mut self, event: Event<'_>) -> Update<'static> {
            match self.apply(event) {
                Update::Layer(at, change) => Update::Layer(at, change),
                Update::Moved => Update::Moved,
                Update::Silent => Update::Silent,
                Update::Nothing => Update::Nothing,
                _ => Update::Problem,
            }
        }
    }

    #[test]
    fn a_layer_goes_through_its_phases_once() {
        let mut pull = Pull::default();
        for (event, expected) in [
            (ANNOUNCED, Change::Began),
            (WAITING, Change::Silent),
            (WAITING, Change::None),
            (downloading(1, 10), Change::Began),
            (downloading(1, 10), Change::None),
            ((Phase::Downloading, Numbers::NONE), Change::None),
            (downloading(1, 10), Change::None),
            (downloading(5, 10), Change::Grew),
            // Not shown, but the engine's number has changed.
            (downloading(3, 10), Change::Moved),
            (WAITING, Change::Silent),
            (downloading(3, 10), Change::Silent),
            (VERIFYING, Change::Began),
            (VERIFYING, Change::None),
            (DOWNLOADED, Change::Began),
            (DOWNLOADED, Change::None),
            (VERIFYING, Change::Silent),
            (downloading(6, 10), Change::Silent),
            (extracting(2, 10), Change::Began),
            (extracting(2, 10), Change::None),
            (extracting(1, 10), Change::Moved),
            (extracting(9, 10), Change::Grew),
            ((Phase::Extracting, Numbers::NONE), Change::None),
            ((Phase::Extracting, Numbers::of(3, None)), Change::Moved),
            (COMPLETE, Change::Began),
            (COMPLETE, Change::None),
            (CACHED, Change::Silent),
            (extracting(1, 10), Change::Silent),
            (DOWNLOADED, Change::Silent),
        ] {
            assert_eq!(change(&mut pull, event), expected, "{event:?}");
        }
        assert_eq!((pull.layers.len(), pull.finished, pull.moved()), (1, 1, (10, true)));
    }

    /// Applies the event to the first layer, and checks the change and the layer's bytes.
    #[track_caller]
    fn check(pull: &mut Pull, event: LayerEvent, expected: Change, done: u64) {
        assert_eq!(change(pull, event), expected, "{event:?}");
        assert_eq!(pull.layers[0].done, done, "{event:?}");
    }

    #[test]
    fn after_a_broken_connection_the_bytes_go_on() {
        // As dockerd 20.10 reported it: a false 100 %, waits, then the total is what remains.
        let pull = &mut Pull::default();
        check(pull, ANNOUNCED, Change::Began, 0);
        check(pull, downloading(9_469_531, 120_036_820), Change::Began, 9_469_531);
        check(pull, downloading(120_036_820, 120_036_820), Change::Moved, 9_469_531);
        check(pull, retrying(5), Change::Began, 9_469_531);
        check(pull, retrying(4), Change::None, 9_469_531);
        check(pull, retrying(1), Change::None, 9_469_531);
        check(pull, downloading(556_572, 110_075_769), Change::Began, 10_517_623);
        check(pull, downloading(1_113_628, 110_075_769), Change::Grew, 11_074_679);
        check(pull, downloading(110_075_769, 110_075_769), Change::Moved, 11_074_679);
        // A second wait is shown again, as is a longer one after it.
        check(pull, retrying(10), Change::Began, 11_074_679);
        check(pull, retrying(9), Change::None, 11_074_679);
        check(pull, retrying(15), Change::Began, 11_074_679);
        assert_eq!(pull.moved(), (11_074_679, true));
    }

    #[test]
    fn a_layer_that_is_fetched_again_begins_at_its_beginning() {
        let pull = &mut Pull::default();
        say(pull, "1: Pulling from a");
        check(pull, ANNOUNCED, Change::Began, 0);
        check(pull, downloading(600, 1000), Change::Began, 600);
        let percent = pull.percent();
        // Less than before, and no event has announced it: not shown.
        check(pull, downloading(500, 1000), Change::Moved, 600);
        check(pull, retrying(5), Change::Began, 600);
        check(pull, downloading(1000, 1000), Change::Silent, 600);
        let amount = |pull: &Pull| Snapshot { pull, meter: &Meter::default(), at: 0 }.amount();
        let before = amount(pull);
        assert_eq!((before.done, before.total, before.is_exact), (600, 1000, true));
        check(pull, downloading(100, 1000), Change::Restarted, 100);
        assert_eq!((pull.percent(), pull.moved()), (percent, (700, true)));
        // The overall progress stands still until it is passed.
        assert_eq!(amount(pull), before);
        check(pull, downloading(50, 1000), Change::Moved, 100);
        check(pull, downloading(599, 1000), Change::Grew, 599);
        assert_eq!(amount(pull), before);
        check(pull, downloading(900, 1000), Change::Grew, 900);
        assert_eq!((amount(pull).done, pull.moved()), (900, (1500, true)));
        check(pull, DOWNLOADED, Change::Began, 1000);
        check(pull, COMPLETE, Change::Began, 1000);
        // The mirror fails elsewhere, and all is fetched from another place.
        let percent = pull.percent();
        say(pull, "1: Pulling from a");
        check(pull, ANNOUNCED, Change::Silent, 1000);
        check(pull, downloading(10, 1000), Change::Restarted, 10);
        assert_eq!((pull.percent(), pull.finished, pull.layers[0].is_at_end()), (percent, 1, false));
        check(pull, DOWNLOADED, Change::Began, 1000);
        check(pull, extracting(1, 1000), Change::Began, 1000);
        check(pull, COMPLETE, Change::Silent, 1000);
        assert_eq!((pull.finished, pull.layers.len(), pull.moved()), (1, 1, (2600, true)));
    }

    #[test]
    fn sizes_that_are_not_known() {
        let pull = &mut Pull::default();
        check(pull, ANNOUNCED, Change::Began, 0);
        check(pull, unknown(0), Change::Began, 0);
        check(pull, unknown(7), Change::Grew, 7);
        check(pull, unknown(7), Change::None, 7);
        check(pull, unknown(5), Change::Moved, 7);
        assert_eq!((pull.layers[0].size, pull.moved()), (None, (7, false)));
        // A total that is smaller than the bytes so far is ignored.
        check(pull, downloading(12, 9), Change::Grew, 12);
        assert_eq!(pull.layers[0].size, None);
        check(pull, downloading(15, 90), Change::Grew, 15);
        check(pull, unknown(16), Change::Grew, 16);
        assert_eq!(pull.layers[0].size, Some(90));
        check(pull, unknown(91), Change::Grew, 91);
        assert_eq!(pull.layers[0].size, None);
        check(pull, retrying(5), Change::Began, 91);
        check(pull, unknown(1), Change::Restarted, 1);
        check(pull, DOWNLOADED, Change::Began, 1);
        assert_eq!(pull.moved(), (92, false));
    }

    #[test]
    fn what_is_there_can_still_be_unpacked_or_fetched_after_all() {
        let pull = &mut Pull::default();
        check(pull, CACHED, Change::Began, 0);
        check(pull, (Phase::Extracting, Numbers::NONE), Change::Began, 0);
        check(pull, extracting(1, 9), Change::Grew, 0);
        assert_eq!((pull.finished, pull.moved()), (1, (0, true)));
        check(pull, COMPLETE, Change::Silent, 0);
        let pull = &mut Pull::default();
        check(pull, CACHED, Change::Began, 0);
        check(pull, downloading(1, 9), Change::Began, 1);
        assert_eq!((pull.finished, pull.moved()), (1, (1, true)));
    }

    #[test]
    fn what_is_no_layer_moves_too() {
        let mut pull = Pull::default();
        for (event, expected) in [
            (downloading(1, 9), Update::Moved),
            (downloading(1, 9), Update::Nothing),
            (unknown(2), Update::Moved),
            (DOWNLOADED, Update::Moved),
            (DOWNLOADED, Update::Nothing),
        ] {
            assert_eq!(step(&mut pull, "manifest", event), expected, "{event:?}");
        }
        assert!(pull.layers.is_empty() && pull.moved() == (0, true));
    }

    #[test]
    fn only_podman_ends_so() {
        let check = |events: &[(&str, LayerEvent)], expected: bool| {
            let mut pull = Pull::default();
            for &(id, event) in events {
                assert!(!pull.ends_as_podman(), "{events:?} before {id} {event:?}");
                step(&mut pull, id, event);
            }
            assert_eq!(pull.ends_as_podman(), expected, "{events:?}");
        };
        let (a, b) = (("a", ANNOUNCED), ("a", DOWNLOADED));
        let [c, d] = [("c", ANNOUNCED), ("c", DOWNLOADED)];
        check(&[a, b, c, d, d], true);
        check(&[("a", CACHED), c, d, d], true);
        check(&[c, d, d], false);
        check(&[a, c, b, d, d], false);
        check(&[a, c, d, d], false);
        check(&[d, a, b, ("e", ANNOUNCED), ("e", DOWNLOADED), ("e", DOWNLOADED)], false);
        check(&[("c", downloading(1, 2)), a, b, ("image", COMPLETE)], false);
        // A layer that is twice in the image.
        check(&[a, ("d", ANNOUNCED), ("d", DOWNLOADED), b, b], false);
        // podman 3.1
        check(&[a, b, ("image", COMPLETE)], true);
        check(&[a, ("image", COMPLETE)], false);
        check(&[("image", COMPLETE)], false);
        for foreign in [WAITING, VERIFYING, retrying(5), extracting(1, 2), COMPLETE] {
            check(&[a, ("a", foreign), b, c, d, d], false);
        }
    }

    #[test]
    fn a_download_that_was_never_seen_unfinished_is_no_news() {
        let mut pull = Pull::default();
        step(&mut pull, "a", ANNOUNCED);
        assert_eq!(change(&mut pull, downloading(112, 112)), Change::Silent);
        assert_eq!(pull.moved(), (0, true));
        step(&mut pull, "a", DOWNLOADED);
        assert_eq!(pull.moved(), (112, true));
    }

    #[test]
    fn absurd_numbers_do_not_break_the_arithmetic() {
        let numbers = [0, 1, 2, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX];
        let mut pull = Pull::default();
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "b", ANNOUNCED);
        let mut before = 0;
        for current in numbers {
            for total in numbers {
                step(&mut pull, "a", downloading(current, total));
                step(&mut pull, "b", extracting(current, total));
                let layer = &pull.layers[0];
                assert!(layer.done <= layer.size.unwrap_or(0) && layer.done >= before, "{current}/{total}");
                before = layer.done;
                assert!(pull.percent() < 100);
            }
        }
        step(&mut pull, "a", COMPLETE);
        step(&mut pull, "b", COMPLETE);
        assert_eq!(pull.percent(), 99);
    }

    /// A layer that exists after all keeps the bytes that were shown of it, and needs no more.
    #[test]
    fn what_is_there_after_all_takes_no_bytes_away() {
        let amount = |pull: &Pull| Snapshot { pull, meter: &Meter::default(), at: 0 }.amount();
        let pull = &mut Pull::default();
        check(pull, ANNOUNCED, Change::Began, 0);
        check(pull, downloading(6, 10), Change::Began, 6);
        check(pull, CACHED, Change::Began, 6);
        assert_eq!(
            (amount(pull).done, amount(pull).total, amount(pull).is_exact, pull.moved()),
            (6, 6, true, (6, true))
        );
        // Extracted, it was not downloaded.
        check(pull, extracting(1, 10), Change::Began, 6);
        check(pull, downloading(2, 10), Change::Began, 6);
        check(pull, downloading(7, 10), Change::Grew, 7);
        assert_eq!((amount(pull).done, amount(pull).total, pull.moved()), (7, 10, (7, true)));
    }

    /// Its size is known only then, and weighs less than was assumed.
    #[test]
    fn what_is_there_and_extracted_takes_no_percent_away() {
        let pull = &mut Pull::default();
        step(pull, "a", ANNOUNCED);
        step(pull, "a", downloading(1000, 1000));
        step(pull, "b", CACHED);
        assert_eq!(pull.percent(), 50);
        step(pull, "b", extracting(1, 9));
        assert_eq!(pull.percent(), 50);
    }

    /// Whatever an engine says, only a layer that is downloaded again loses bytes.
    #[test]
    fn nothing_decreases_in_a_stream_that_contradicts_itself() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let mut restarts = 0;
        for stream in 0..3000 {
            let mut pull = Pull::default();
            say(&mut pull, "1: Pulling from a");
            step(&mut pull, "a", ANNOUNCED);
            step(&mut pull, "b", ANNOUNCED);
            let mut amount = 0;
            for _ in 0..40 {
                let (current, total) = (random(100), [None, Some(0), Some(50), Some(90), Some(random(200))]);
                let numbers = Numbers::of(current, total[random(5) as usize]);
                let event = match random(12) {
                    0 => ANNOUNCED,
                    1 => CACHED,
                    2 => VERIFYING,
                    3 => DOWNLOADED,
                    4 => COMPLETE,
                    5 => retrying(random(9) as u32),
                    6 | 7 => (Phase::Extracting, numbers),
                    _ => (Phase::Downloading, numbers),
                };
                if random(12) == 0 {
                    say(&mut pull, "1: Pulling from a");
                }
                let id = ["a", "b"][random(2) as usize];
                let known = |pull: &Pull| {
                    pull.layers
                        .iter()
                        .find(|layer| layer.id == id)
                        .map(|layer| (layer.done, layer.extracted.unwrap_or((0, 1)), layer.size))
                };
                let before = known(&pull).expect("a layer");
                let update = step(&mut pull, id, event);
                let after = known(&pull).expect("a layer");
                let context = format!("{stream}: {before:?} {event:?} {after:?}");
                if matches!(update, Update::Layer(_, Change::Restarted)) {
                    restarts += 1;
                } else {
                    let ((part, whole), (now, all)) = (before.1, after.1);
                    assert!(after.0 >= before.0 && share(now, all, whole) >= part, "{context}");
                }
                assert!(after.2.is_none_or(|size| size >= after.0), "{context}");
                let now = Snapshot { pull: &pull, meter: &Meter::default(), at: 0 }.amount();
                assert!(now.done >= amount && now.total >= now.done, "{context}");
                amount = now.done;
            }
        }
        assert!(restarts > 1000, "{restarts}");
    }

    #[test]
    fn each_id_counts_once() {
        let mut pull = Pull::default();
        say(&mut pull, "1: Pulling from a");
        // After the announcement the containerd store reports a layer as already present, and then as complete.
        for (id, what, expected) in [
            ("a", ANNOUNCED, Update::Layer(0, Change::Began)),
            ("b", ANNOUNCED, Update::Layer(1, Change::Began)),
            ("a", ANNOUNCED, Update::Layer(0, Change::None)),
            ("a", CACHED, Update::Layer(0, Change::Began)),
            ("a", COMPLETE, Update::Layer(0, Change::Silent)),
            ("c", CACHED, Update::Layer(2, Change::Began)),
            ("c", CACHED, Update::Layer(2, Change::None)),
            ("c", ANNOUNCED, Update::Layer(2, Change::Silent)),
            // Never announced: a manifest or a configuration.
            ("d", downloading(1, 2), Update::Moved),
            ("d", DOWNLOADED, Update::Moved),
            ("d", COMPLETE, Update::Moved),
            ("b", COMPLETE, Update::Layer(1, Change::Began)),
        ] {
            assert_eq!(step(&mut pull, id, what), expected, "{id} {what:?}");
        }
        assert_eq!((pull.layers.len(), pull.finished), (3, 3));
    }

    #[test]
    fn layers_without_end_are_not_kept() {
        let mut pull = Pull::default();
        for id in 0..10 * MAX_LAYERS {
            step(&mut pull, &id.to_string(), ANNOUNCED);
        }
        assert_eq!(pull.layers.len(), MAX_LAYERS);
    }

    #[test]
    fn podmans_configuration_is_no_layer() {
        let mut pull = Pull::default();
        for (id, what) in [
            ("a", ANNOUNCED),
            ("a", downloading(5, 10)),
            ("a", DOWNLOADED),
            ("config", ANNOUNCED),
            ("config", DOWNLOADED),
            ("config", DOWNLOADED),
        ] {
            step(&mut pull, id, what);
        }
        assert_eq!(pull.verdict(&End::Complete), Verdict::Undecided("config".into()));
        assert!(pull.ends_as_podman());
        assert_eq!(pull.settle(&Verdict::Success), Some(Update::Layer(0, Change::Began)));
        assert_eq!(pull.settle(&Verdict::Success), None);
        assert_eq!((pull.layers.len(), pull.finished, pull.percent()), (1, 1, 100));
        assert_eq!(pull.moved(), (10, true));
    }

    #[test]
    fn another_attempt_begins_anew_and_keeps_what_was_moved() {
        let mut pull = Pull::default();
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "a", downloading(900, 1000));
        assert!(pull.percent() > 80);
        pull.start_again();
        assert_eq!((pull.percent(), pull.layers.len(), pull.moved()), (0, 0, (900, true)));
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "a", downloading(100, 1000));
        assert_eq!(pull.moved(), (1000, true));
        pull.start_again();
        assert_eq!(pull.moved(), (1000, true));
    }

    /// An event of the containerd store about a layer of ten megabytes, in megabytes.
    fn store(pull: &mut Pull, id: &str, current: u64) {
        step(pull, id, ANNOUNCED);
        step(pull, id, downloading(current << 20, 10 << 20));
        pull.is_containerd = true;
    }

    #[test]
    fn what_the_containerd_store_has_kept_moves_once() {
        let mut pull = Pull::default();
        let check = |pull: &Pull, megabytes: u64| assert_eq!(pull.moved(), (megabytes << 20, true));
        store(&mut pull, "a", 6);
        store(&mut pull, "b", 6);
        check(&pull, 12);
        pull.start_again();
        // It continues at 6, and the other one at 5, whose last part was not yet on the disk.
        store(&mut pull, "a", 6);
        store(&mut pull, "b", 5);
        step(&mut pull, "a", DOWNLOADED);
        check(&pull, 16);
        pull.start_again();
        check(&pull, 16);
        store(&mut pull, "b", 9);
        check(&pull, 20);
        // The store deleted it after an error.
        pull.start_again();
        store(&mut pull, "b", 1);
        step(&mut pull, "b", DOWNLOADED);
        check(&pull, 30);
    }

    #[test]
    fn what_was_there_before_the_run_has_not_come() {
        let check = |counts: &[u64], expected: u64| {
            let mut pull = Pull::default();
            for &count in counts {
                store(&mut pull, "a", count);
            }
            step(&mut pull, "a", DOWNLOADED);
            assert_eq!(pull.moved(), (expected << 20, true), "{counts:?}");
            assert_eq!(pull.seen(), 10 << 20);
        };
        check(&[7, 7, 8], 3);
        check(&[6, 7, 8], 4);
        // As much in the second tenth of a second as in the first.
        check(&[4, 8], 10);
        check(&[3, 5, 6], 10);
        check(&[1, 1, 1], 10);
        check(&[1], 10);
    }

    #[test]
    fn an_attempt_goes_on_or_fetches_from_nothing() {
        use crate::pull::attempt::Fetched::{FromScratch, Nothing, Rest};
        let mut pull = Pull::default();
        let mut attempt = |counts: &[(&str, u64)]| {
            for (id, count) in counts {
                step(&mut pull, id, ANNOUNCED);
                store(&mut pull, id, *count);
            }
            let fetched = pull.fetched();
            pull.start_again();
            fetched
        };
        assert_eq!(attempt(&[]), Nothing);
        assert_eq!(attempt(&[("a", 1), ("a", 4), ("a", 6)]), FromScratch);
        assert_eq!(attempt(&[]), Nothing);
        assert_eq!(attempt(&[("a", 6), ("a", 7)]), Rest);
        // A layer that no attempt had begun counts as neither.
        assert_eq!(attempt(&[("a", 7), ("a", 8), ("b", 1), ("b", 4)]), Rest);
        // From nothing, also when it comes further than before.
        assert_eq!(attempt(&[("a", 1), ("a", 5), ("a", 9), ("b", 1)]), FromScratch);
        assert_eq!(attempt(&[("c", 1), ("c", 2)]), Rest);
    }

    #[test]
    fn a_podman_that_fails_says_before_that_all_is_here() {
        let mut pull = Pull::default();
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "a", downloading(30, 100));
        step(&mut pull, "a", DOWNLOADED);
        say(&mut pull, "Error: broken");
        assert_eq!(pull.moved(), (30, false));
        pull.start_again();
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "a", DOWNLOADED);
        assert_eq!(pull.moved(), (130, true));
    }

    #[test]
    fn the_extraction_shows_the_size_of_a_layer_whose_remainder_alone_was_known() {
        let mut pull = Pull::default();
        for what in [ANNOUNCED, retrying(5), downloading(100, 700), DOWNLOADED] {
            step(&mut pull, "a", what);
        }
        assert_eq!(pull.moved(), (700, true));
        step(&mut pull, "a", extracting(10, 1000));
        assert_eq!((pull.moved(), pull.layers[0].size), ((1000, true), Some(1000)));
    }

    #[test]
    fn the_whole_is_weighed_by_bytes() {
        let check = |is_docker: bool, steps: &[(&str, LayerEvent)], expected: u64| {
            let mut pull = Pull::default();
            if is_docker {
                say(&mut pull, "1: Pulling from a");
            }
            for &(id, what) in steps {
                step(&mut pull, id, what);
            }
            assert_eq!(pull.percent(), expected, "{steps:?}");
        };
        check(true, &[], 0);
        check(true, &[("a", ANNOUNCED)], 0);
        check(true, &[("a", ANNOUNCED), ("a", downloading(50, 100))], 35);
        // Where no extraction is to be expected all is download.
        check(false, &[("a", ANNOUNCED), ("a", downloading(50, 100))], 50);
        check(true, &[("a", ANNOUNCED), ("a", downloading(50, 100)), ("a", DOWNLOADED)], 70);
        check(true, &[("a", ANNOUNCED), ("a", extracting(50, 100))], 85);
        check(true, &[("a", ANNOUNCED), ("a", (Phase::Extracting, Numbers::NONE))], 70);
        // A large layer weighs more than a small one, an unknown one as much as the mean.
        let (large, small) = (downloading(1, 900), downloading(99, 100));
        check(true, &[("a", ANNOUNCED), ("b", ANNOUNCED), ("a", large), ("b", small)], 7);
        check(true, &[("a", ANNOUNCED), ("b", ANNOUNCED), ("a", large), ("a", COMPLETE)], 50);
        check(true, &[("a", CACHED), ("b", ANNOUNCED)], 50);
        check(true, &[("a", COMPLETE)], 0);
        check(true, &[("a", ANNOUNCED), ("a", COMPLETE)], 99);
    }

    #[test]
    fn the_whole_never_goes_back() {
        let mut pull = Pull::default();
        say(&mut pull, "1: Pulling from a");
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "a", downloading(99, 100));
        assert_eq!(pull.percent(), 69);
        step(&mut pull, "b", ANNOUNCED);
        step(&mut pull, "b", downloading(1, 1_000_000));
        assert_eq!(pull.percent(), 69);
    }

    #[test]
    fn the_verdict() {
        const FROM: &str = "1: Pulling from a";
        const STATUS: &str = "Status: Downloaded newer image for a:1";
        const ERROR: &str = "Error: no space left";
        const WARNING: &str = "WARNING: mind";
        const LAYER: &str = "abc: Pulling fs layer";
        const READY: &str = "abc: Download complete";
        let failed = |reason: &str| Verdict::Failed(Failure::own(Kind::Other, reason));
        let check = |lines: &[&str], end: End, expected: Verdict| {
            let mut pull = Pull::default();
            for text in lines {
                say(&mut pull, text);
            }
            let verdict = match pull.verdict(&end) {
                Verdict::Failed(failure) => failed(&failure.text),
                verdict => verdict,
            };
            assert_eq!(verdict, expected, "{lines:?} {end:?}");
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
    fn a_refusal_is_reported_in_its_own_words() {
        let check = |lines: &[&str], expected: &str| {
            let mut pull = Pull::default();
            for line in lines {
                let event = crate::pull::event::parse(line.as_bytes());
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
        step(&mut pull, "a", ANNOUNCED);
        step(&mut pull, "b", ANNOUNCED);
        step(&mut pull, "a", DOWNLOADED);
        assert!(!pull.may_extract_unseen());
        step(&mut pull, "b", DOWNLOADED);
        assert!(pull.may_extract_unseen());
        step(&mut pull, "a", extracting(1, 10));
        assert!(!pull.may_extract_unseen(), "this engine shows its extraction");
        step(&mut pull, "a", extracting(10, 10));
        assert!(pull.may_extract_unseen());
        for last in [Event::Status("Downloaded newer image".into()), Event::Error("no space left".into())] {
            let mut pull = Pull::default();
            step(&mut pull, "a", ANNOUNCED);
            step(&mut pull, "a", DOWNLOADED);
            assert!(pull.may_extract_unseen());
            pull.apply_in_test(last);
            assert!(!pull.may_extract_unseen(), "the engine has said how it ended");
        }
    }
}
