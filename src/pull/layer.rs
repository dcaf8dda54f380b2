//! One layer of an image: how far it is, and where it can go from there.
//!
//! Separate from the pull, because the effect of one event on one layer is complex enough: engines repeat themselves,
//! report more bytes than there are, download a layer again from the beginning, and leave sizes out.
//!
//! **Invariant:** the bytes of a layer decrease only if an event has announced that it is downloaded again; no count
//! exceeds its size.

use crate::pull::event::Numbers;
pub(crate) use crate::pull::event::Phase;

/// What an event changed in a layer. Its phase is the layer's present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: the engine repeated itself.
    None,
    /// The engine's numbers changed, but not what is known of the layer.
    Moved,
    /// The phase changed, without anything to show.
    Silent,
    /// The phase began, or began again.
    Began,
    /// The layer has more bytes.
    Grew,
    /// The layer is downloaded again from the beginning.
    Restarted,
}

/// Bytes of one write of the containerd store, which reports a layer only after the first of them.
const FIRST_WRITE: u64 = 1 << 20;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that the engine reported")]
pub(crate) struct Layer {
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Bytes to download: the largest total that was reported.
    pub(crate) size: Option<u64>,
    /// Bytes downloaded.
    pub(crate) done: u64,
    /// The maximum of `done`: `done` decreases when the layer is downloaded again, and the overall percentage must not.
    pub(crate) reached: u64,
    /// Bytes extracted and bytes to extract (both of the compressed layer), if the engine reports them.
    pub(crate) extracted: Option<(u64, u64)>,
    /// Whether it was counted as finished: complete or cached.
    pub(crate) is_finished: bool,
    /// Whether it was present before: none of its bytes were downloaded.
    pub(crate) is_cached: bool,
    /// Whether the engine announced it for download, and did not just find it here.
    pub(crate) is_announced: bool,
    /// Whether the size comes from the registry, and not yet from the engine.
    pub(crate) is_size_from_registry: bool,
    /// The phase and numbers of the engine's last event.
    last_event: (Phase, Numbers),
    /// Whether an event was seen that can mean that the layer is downloaded again.
    may_restart: bool,
    /// Bytes that were downloaded before the layer was downloaded again.
    before_restart: u64,
    /// The highest count that was reported; the end of the download may show that there were more bytes.
    reported: u64,
    /// The engine's first number of bytes, and below the next one.
    first: Option<u64>,
    second: Option<u64>,
}

impl Layer {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            phase: Phase::Queued,
            size: None,
            done: 0,
            reached: 0,
            extracted: None,
            is_finished: false,
            is_cached: false,
            is_announced: false,
            is_size_from_registry: false,
            last_event: (Phase::Queued, Numbers::default()),
            may_restart: false,
            before_restart: 0,
            reported: 0,
            first: None,
            second: None,
        }
    }

    pub(crate) fn is_downloaded(&self) -> bool {
        matches!(self.phase, Phase::Downloaded | Phase::Extracting | Phase::Complete | Phase::Cached)
    }

    /// Whether its phase is the last one: complete or cached.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Cached)
    }

    /// Whether the engine has begun to download it.
    pub(crate) fn is_fetched(&self) -> bool {
        !self.is_cached && !matches!(self.phase, Phase::Queued | Phase::Waiting)
    }

    /// Bytes that were downloaded since the layer was first seen; more than its size if it was downloaded again.
    pub(crate) fn seen(&self) -> u64 {
        self.before_restart.saturating_add(self.done)
    }

    /// The same for an engine whose report that the whole layer was downloaded cannot be believed.
    pub(crate) fn reported(&self) -> u64 {
        self.before_restart.saturating_add(self.reported)
    }

    /// How many of these bytes the containerd store had kept from an earlier pull: it counts from the beginning of the
    /// layer. `kept` is how far this run had come with it before, 0 if the layer is new to the run.
    ///
    /// The store does not report what it kept, so this compares the first two numbers of bytes that it reports, a tenth of
    /// a second apart. The second number of a new layer is about twice the first. The first number of a continued layer
    /// includes the kept bytes, so the second is only a little larger.
    pub(crate) fn was_there(&self, kept: u64) -> u64 {
        let first = self.first.unwrap_or(0);
        // The store writes whole megabytes from where it continues.
        let begins_at_zero = first.is_multiple_of(FIRST_WRITE) && !kept.is_multiple_of(FIRST_WRITE);
        match self.second {
            _ if kept > 0 && first >= kept && begins_at_zero => 0,
            _ if kept > 0 && first >= kept => kept,
            _ if first <= FIRST_WRITE || first < kept / 2 => 0,
            _ if kept > 0 => first,
            Some(second) if second.saturating_sub(first) <= first / 4 => first,
            _ => 0,
        }
    }

    /// Whether its bytes were reported at all.
    pub(crate) fn has_numbers(&self) -> bool {
        self.first.is_some()
    }

    /// Notes that the engine may download it again, because it started the pull again, at another endpoint.
    pub(crate) fn expect_restart(&mut self) {
        self.may_restart = true;
    }

    /// Applies the engine's event.
    pub(crate) fn apply(&mut self, phase: Phase, numbers: Numbers) -> Change {
        let difference = self.note(phase, numbers);
        let is_change = match phase {
            Phase::Queued => {
                self.may_restart = true;
                false
            }
            Phase::Waiting => {
                if self.phase == Phase::Queued {
                    self.phase = Phase::Waiting;
                }
                false
            }
            Phase::Downloading => match self.download(numbers) {
                Change::None => false,
                change => return change,
            },
            Phase::Extracting => match self.extract(numbers) {
                Change::None => false,
                change => return change,
            },
            Phase::Retrying(seconds) => self.retry(seconds),
            Phase::Verifying => self.verify(),
            Phase::Downloaded => self.end_download(),
            Phase::Complete => self.complete(),
            Phase::Cached => self.exists(),
        };
        if is_change { Change::Began } else { difference }
    }

    /// Keeps the event, and returns how it differs from the one before.
    fn note(&mut self, phase: Phase, numbers: Numbers) -> Change {
        let (before, known) = &mut self.last_event;
        let is_same = match (*before, phase) {
            // The wait is counted down.
            (Phase::Retrying(before), Phase::Retrying(now)) => now <= before,
            (before, now) => before == now,
        };
        *before = phase;
        if is_same && (*known == numbers || !numbers.has_any()) {
            return Change::None;
        }
        *known = numbers;
        if is_same { Change::Moved } else { Change::Silent }
    }

    fn download(&mut self, numbers: Numbers) -> Change {
        // A late repetition of an event about a layer that is complete.
        if self.is_downloaded() && !self.may_restart && !self.is_cached {
            return Change::None;
        }
        let Some(done) = self.count(numbers) else {
            if matches!(self.phase, Phase::Queued | Phase::Waiting | Phase::Retrying(_)) {
                self.phase = Phase::Downloading;
            }
            return Change::None;
        };
        if self.first.is_none() {
            self.first = Some(done);
        } else if self.second.is_none() {
            self.second = Some(done);
        }
        let (begins, before) = (self.phase != Phase::Downloading, self.done);
        (self.phase, self.is_cached) = (Phase::Downloading, false);
        if done < before && self.may_restart {
            self.before_restart = self.before_restart.saturating_add(before);
            (self.done, self.reported) = (done, done);
            (self.extracted, self.may_restart) = (None, false);
            return Change::Restarted;
        }
        self.may_restart = false;
        self.done = done.max(before);
        self.reported = self.done;
        self.reached = self.reached.max(self.done);
        match self.done > before {
            _ if begins => Change::Began,
            true => Change::Grew,
            false => Change::None,
        }
    }

    /// The number of bytes of the layer that these numbers mean.
    fn count(&mut self, numbers: Numbers) -> Option<u64> {
        let current = numbers.current?;
        match (numbers.total, self.size) {
            (Some(total), _) if current < total => {
                // After a retry, the total is only the remainder.
                Some(self.learn_size(total) - total + current)
            }
            // A full count counts only after the end of the download has confirmed it: engines report one before a
            // retry.
            (Some(total), _) if current == total => {
                self.learn_size(total);
                None
            }
            (_, Some(size)) if current == size => None,
            (_, size) => {
                // More bytes than the size: the size was wrong.
                self.size = size.filter(|size| current < *size);
                Some(current)
            }
        }
    }

    /// The engine waits before it tries again. Returns whether this is new: it counts the seconds down.
    fn retry(&mut self, seconds: u32) -> bool {
        let is_expected = std::mem::replace(&mut self.may_restart, true);
        let is_known = match self.phase {
            _ if self.is_downloaded() && !is_expected => return false,
            Phase::Retrying(before) => before >= seconds,
            _ => false,
        };
        self.phase = Phase::Retrying(seconds);
        !is_known
    }

    /// All bytes are here and are being verified. Returns whether this is new.
    fn verify(&mut self) -> bool {
        let is_change = self.phase != Phase::Verifying && !self.is_downloaded();
        if is_change {
            self.phase = Phase::Verifying;
            self.all_here();
        }
        is_change
    }

    /// All bytes are here. Returns whether this is new.
    fn end_download(&mut self) -> bool {
        let is_change = !self.is_downloaded();
        if is_change {
            self.phase = Phase::Downloaded;
            self.all_here();
        }
        is_change
    }

    fn extract(&mut self, numbers: Numbers) -> Change {
        // A layer that was present can still have to be extracted.
        if self.phase == Phase::Complete {
            return Change::None;
        }
        let begins = self.phase != Phase::Extracting;
        if begins {
            self.phase = Phase::Extracting;
            self.all_here();
        }
        let before = self.extracted;
        if let Numbers { current: Some(current), total: Some(total), .. } = numbers {
            // The reported total may have been only the remainder after a broken connection.
            self.learn_size(total);
            self.all_here();
            // The first total stays: of a larger one the same bytes would be a smaller part.
            let (done, whole) = before.filter(|(_, whole)| *whole > 0).unwrap_or((0, total));
            self.extracted = Some((done.max(current).min(whole), whole));
        }
        match self.extracted != before {
            _ if begins => Change::Began,
            true => Change::Grew,
            false => Change::None,
        }
    }

    /// The layer was present before. Returns whether this is new.
    fn exists(&mut self) -> bool {
        if self.is_finished {
            return false;
        }
        (self.phase, self.is_cached, self.is_finished) = (Phase::Cached, true, true);
        true
    }

    /// Downloaded and extracted. Returns whether this is new.
    pub(crate) fn complete(&mut self) -> bool {
        self.phase = Phase::Complete;
        self.all_here();
        if let Some((done, whole)) = &mut self.extracted {
            *done = *whole;
        }
        !std::mem::replace(&mut self.is_finished, true)
    }

    /// The engine reported that all bytes are here. If it found them, they were not downloaded.
    fn all_here(&mut self) {
        if !self.is_cached {
            self.done = self.size.unwrap_or(self.done);
            self.reached = self.reached.max(self.done);
        }
    }

    /// Takes the size from the registry, unless the engine has reported one.
    pub(crate) fn learn_from_registry(&mut self, size: u64) {
        if self.size.is_none() {
            (self.size, self.is_size_from_registry) = (Some(size.max(self.done)), true);
            if self.is_downloaded() {
                self.all_here();
            }
        }
    }

    fn learn_size(&mut self, total: u64) -> u64 {
        let known = self.size.filter(|_| !std::mem::take(&mut self.is_size_from_registry));
        // The bytes that are here can be more than a total that is only the remainder.
        let size = known.unwrap_or(self.done).max(total);
        self.size = Some(size);
        size
    }
}
