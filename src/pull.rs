//! The state of a pull: [`Event`]s are applied one after another, each tells what it changed.
//!
//! Apart from what is shown, because three engines tell the same pull in three dialects and the truth (how many
//! layers, how many bytes, whether it has succeeded) is worked out here once.
//!
//! **Invariant:** no clock, no output. The bytes of a layer never go back, the finished layers never outnumber the
//! layers, and success is something that was said, never the absence of bad news.

use crate::bar::share;
use crate::event::{Event, Step};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Downloading,
    /// The engine waits this many seconds before it tries the layer again.
    Retrying(u64),
    Verifying,
    Downloaded,
    Extracting,
    Complete,
    Cached,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Bytes to download: the largest total seen.
    pub(crate) size: Option<u64>,
    /// Bytes downloaded.
    pub(crate) done: u64,
    /// Bytes extracted and bytes to extract (both compressed), where the engine tells.
    pub(crate) extracted: Option<(u64, u64)>,
}

impl Layer {
    /// Whether it has been counted as complete or cached.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Cached)
    }

    pub(crate) fn is_downloaded(&self) -> bool {
        matches!(self.phase, Phase::Downloaded | Phase::Extracting | Phase::Complete | Phase::Cached)
    }

    /// The engine says that all of it is here.
    fn all_here(&mut self) {
        self.done = self.size.unwrap_or(self.done);
    }

    fn learn_size(&mut self, total: u64) -> u64 {
        let size = self.size.unwrap_or(0).max(total);
        self.size = Some(size);
        size
    }
}

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
    /// Bytes that earlier attempts of this run have moved.
    moved_before: u64,
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
        let (moved_before, _) = self.moved();
        *self = Self { moved_before, ..Self::default() };
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
            Step::Announced | Step::Waiting => Update::Nothing,
            Step::Downloading(bytes) => Self::downloading(layer, at, bytes),
            Step::Retrying(seconds) => match layer.phase {
                _ if layer.is_downloaded() => Update::Nothing,
                Phase::Retrying(before) if before >= seconds => {
                    layer.phase = Phase::Retrying(seconds);
                    Update::Nothing
                }
                _ => {
                    layer.phase = Phase::Retrying(seconds);
                    Update::Retrying(at, seconds)
                }
            },
            Step::Verifying if layer.phase == Phase::Verifying || layer.is_downloaded() => Update::Nothing,
            Step::Verifying => {
                layer.phase = Phase::Verifying;
                layer.all_here();
                Update::Verifying(at)
            }
            Step::Downloaded { .. } if layer.is_downloaded() => {
                self.repeated = Some(at);
                Update::Nothing
            }
            Step::Downloaded { .. } => {
                layer.phase = Phase::Downloaded;
                layer.all_here();
                Update::DownloadComplete(at)
            }
            Step::Extracting(bytes) => {
                self.shows_extraction = true;
                Self::extracting(layer, at, bytes)
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
        self.layers.push(Layer { id: id.to_owned(), phase, size: None, done: 0, extracted: None });
        if step == Step::Cached {
            self.finished += 1;
            Update::Cached(at, self.finished)
        } else {
            Update::Queued(at)
        }
    }

    fn downloading(layer: &mut Layer, at: usize, bytes: Option<(u64, u64)>) -> Update<'static> {
        if layer.is_downloaded() {
            return Update::Nothing;
        }
        let begins = layer.phase != Phase::Downloading;
        let before = layer.done;
        // A full count is believed only when the end of the download confirms it: engines report one before a retry.
        if let Some((current, total)) = bytes.filter(|(current, total)| current < total) {
            let size = layer.learn_size(total);
            // After a retry the total is what remains.
            layer.done = layer.done.max(size - total + current);
            layer.phase = Phase::Downloading;
        } else {
            if let Some((_, total)) = bytes {
                layer.learn_size(total);
            }
            if layer.phase == Phase::Queued {
                layer.phase = Phase::Downloading;
                return Update::Silent;
            }
            return Update::Nothing;
        }
        if begins {
            Update::Downloading(at)
        } else if layer.done > before {
            Update::Downloaded(at)
        } else {
            Update::Nothing
        }
    }

    fn extracting(layer: &mut Layer, at: usize, bytes: Option<(u64, u64)>) -> Update<'static> {
        if layer.is_finished() {
            return Update::Nothing;
        }
        let begins = layer.phase != Phase::Extracting;
        if begins {
            layer.phase = Phase::Extracting;
            layer.all_here();
        }
        let before = layer.extracted;
        if let Some((current, total)) = bytes {
            if layer.size.is_none() {
                layer.done = layer.learn_size(total);
            }
            let (done, whole) = before.unwrap_or_default();
            layer.extracted = Some((done.max(current), whole.max(total)));
        }
        if begins {
            Update::Extracting(at)
        } else if layer.extracted != before {
            Update::Extracted(at)
        } else {
            Update::Nothing
        }
    }

    fn complete(&mut self, at: usize) -> Update<'static> {
        let layer = &mut self.layers[at];
        layer.phase = Phase::Complete;
        layer.all_here();
        if let Some((done, whole)) = &mut layer.extracted {
            *done = *whole;
        }
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
    pub(crate) fn may_extract_unseen(&self) -> bool {
        let shows_bytes =
            |layer: &Layer| !layer.is_finished() && layer.extracted.is_some_and(|(done, whole)| done < whole);
        !self.layers.is_empty() && self.layers.iter().all(Layer::is_downloaded) && !self.layers.iter().any(shows_bytes)
    }

    /// The bytes seen moving in this run, and whether these are all (a layer of unknown size may have moved more).
    pub(crate) fn moved(&self) -> (u64, bool) {
        let moving = || self.layers.iter().filter(|layer| !matches!(layer.phase, Phase::Cached | Phase::Queued));
        let bytes = moving().fold(self.moved_before, |sum, layer| sum.saturating_add(layer.done));
        (bytes, moving().all(|layer| layer.size.is_some()))
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
