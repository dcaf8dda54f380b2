//! One layer of an image: how far it is, and where it can go from there.
//!
//! Apart from the pull, because what one event makes of one layer is intricate enough: engines repeat themselves, report
//! more than there is, fetch a layer again from its beginning, and leave sizes out.
//!
//! **Invariant:** bytes never go back, unless the layer is fetched again and an event has said so before; no count exceeds
//! its size.

use crate::pull::event::Numbers;

/// In the engine's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `Pulling fs layer`
    Queued,
    /// `Waiting`
    Waiting,
    Downloading,
    /// The engine waits this many seconds before it tries the layer again.
    Retrying(u64),
    /// `Verifying Checksum`
    Verifying,
    /// `Download complete`
    Downloaded,
    Extracting,
    /// `Pull complete`
    Complete,
    /// `Already exists`
    Cached,
}

/// What an event changed. The phase that it is about is the layer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: what the engine said was said before.
    None,
    /// What the engine says of bytes, but not what is known of them.
    Moved,
    /// What the engine says of the phase, without anything to show for it.
    Silent,
    /// The phase begins (again).
    Began,
    /// Its bytes have grown.
    Grew,
    /// It is fetched again from its beginning.
    Restarted,
}

/// A write of the containerd image store, which reports a layer once the first of them is done.
const FIRST_WRITE: u64 = 1 << 20;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that the engine told")]
pub(crate) struct Layer {
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Bytes to download: the largest total seen.
    pub(crate) size: Option<u64>,
    /// Bytes downloaded.
    pub(crate) done: u64,
    /// The maximum that `done` has had: it goes back when the layer is fetched again, and what is shown of the whole does not.
    pub(crate) reached: u64,
    /// Bytes extracted and bytes to extract (both compressed), where the engine reports them.
    pub(crate) extracted: Option<(u64, u64)>,
    /// It has been counted, as complete or as cached.
    pub(crate) is_finished: bool,
    /// It was there already: none of its bytes were fetched.
    pub(crate) is_cached: bool,
    /// The engine was to fetch it, and not only found it here.
    pub(crate) is_announced: bool,
    /// The size is what the registry says; the engine has not spoken of it yet.
    pub(crate) is_size_from_registry: bool,
    /// What the engine said last.
    last_event: (Phase, Numbers),
    /// The engine has said something that can mean that it fetches the layer again.
    may_restart: bool,
    /// Bytes that were fetched before the layer was fetched again.
    before_restart: u64,
    /// The highest count that was reported, which the end of the download may exceed.
    reported: u64,
    /// What the engine said of its bytes at first, and after that.
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

    /// Whether nothing is going on with it any more.
    pub(crate) fn is_still(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Cached)
    }

    /// Whether the engine has begun to fetch it.
    pub(crate) fn is_fetched(&self) -> bool {
        !self.is_cached && !matches!(self.phase, Phase::Queued | Phase::Waiting)
    }

    /// Bytes that were fetched since the layer was first seen; more than its size where it was fetched again.
    pub(crate) fn seen(&self) -> u64 {
        self.before_restart.saturating_add(if self.is_cached { 0 } else { self.done })
    }

    /// The same, where the engine's report that all of it was fetched is not to be believed.
    pub(crate) fn reported(&self) -> u64 {
        self.before_restart.saturating_add(if self.is_cached { 0 } else { self.reported })
    }

    /// How many of these the containerd image store had kept from an earlier pull: it counts from the beginning of the
    /// layer. `kept` is how far this run had come with it before, 0 where the layer is new to the run.
    ///
    /// The store does not say what it had. What a fresh layer has at first was fetched within a tenth of a second, and then
    /// comes on at that rate; a layer that goes on has much at first, and then little more.
    pub(crate) fn was_there(&self, kept: u64) -> u64 {
        let first = self.first.unwrap_or(0);
        // It writes whole megabytes from where it goes on.
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

    /// The engine may be about to fetch it again: it has begun the pull anew, at another endpoint.
    pub(crate) fn expect_restart(&mut self) {
        self.may_restart = true;
    }

    /// Takes in what the engine says of the layer.
    pub(crate) fn apply(&mut self, phase: Phase, numbers: Numbers) -> Change {
        let is_new = self.note(phase, numbers);
        let is_news = match phase {
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
        if is_news { Change::Began } else { is_new }
    }

    /// Whether that is something else than what the engine said before.
    fn note(&mut self, phase: Phase, numbers: Numbers) -> Change {
        let (before, known) = &mut self.last_event;
        let is_same = match (*before, phase) {
            // A wait is counted down.
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
        // It is said of a layer that is there, and nothing has come between: a late word.
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

    /// How many bytes of the layer these numbers mean.
    fn count(&mut self, numbers: Numbers) -> Option<u64> {
        let current = numbers.current?;
        match (numbers.total, self.size) {
            (Some(total), _) if current < total => {
                // After a retry the total is what remains.
                Some(self.learn_size(total) - total + current)
            }
            // A full count is believed only when the end of the download confirms it: engines report one before a retry.
            (Some(total), _) if current == total => {
                self.learn_size(total);
                None
            }
            (_, Some(size)) if current == size => None,
            (_, size) => {
                // What has more bytes than its size is of another size.
                self.size = size.filter(|size| current < *size);
                Some(current)
            }
        }
    }

    /// The engine waits before it tries again; whether that is news, for it counts the seconds down.
    fn retry(&mut self, seconds: u64) -> bool {
        let is_expected = std::mem::replace(&mut self.may_restart, true);
        let is_known = match self.phase {
            _ if self.is_downloaded() && !is_expected => return false,
            Phase::Retrying(before) => before >= seconds,
            _ => false,
        };
        self.phase = Phase::Retrying(seconds);
        !is_known
    }

    /// All of it is here and is being verified; whether that is news.
    fn verify(&mut self) -> bool {
        let is_news = self.phase != Phase::Verifying && !self.is_downloaded();
        if is_news {
            self.phase = Phase::Verifying;
            self.all_here();
        }
        is_news
    }

    /// All of it is here; whether that is news.
    fn end_download(&mut self) -> bool {
        let is_news = !self.is_downloaded();
        if is_news {
            self.phase = Phase::Downloaded;
            self.all_here();
        }
        is_news
    }

    fn extract(&mut self, numbers: Numbers) -> Change {
        // What was there already can still have to be unpacked.
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
            // What the download reported may have been no more than the remainder after a broken connection.
            self.done = self.learn_size(total);
            self.reached = self.reached.max(self.done);
            let (done, whole) = before.unwrap_or_default();
            let whole = whole.max(total);
            self.extracted = Some((done.max(current).min(whole), whole));
        }
        match self.extracted != before {
            _ if begins => Change::Began,
            true => Change::Grew,
            false => Change::None,
        }
    }

    /// It was there already; whether that is news.
    fn exists(&mut self) -> bool {
        if self.is_finished {
            return false;
        }
        // What was fetched of it before is not forgotten.
        (self.before_restart, self.done) = (self.seen(), 0);
        (self.phase, self.is_cached, self.is_finished) = (Phase::Cached, true, true);
        true
    }

    /// Downloaded and extracted; whether that is news.
    pub(crate) fn complete(&mut self) -> bool {
        self.phase = Phase::Complete;
        self.all_here();
        if let Some((done, whole)) = &mut self.extracted {
            *done = *whole;
        }
        !std::mem::replace(&mut self.is_finished, true)
    }

    /// The engine says that all of it is here.
    fn all_here(&mut self) {
        self.done = self.size.unwrap_or(self.done);
        self.reached = self.reached.max(self.done);
    }

    /// Takes in what the registry says of its size, which is worth less than what the engine says.
    pub(crate) fn learn_from_registry(&mut self, size: u64) {
        if self.size.is_none() {
            (self.size, self.is_size_from_registry) = (Some(size), true);
            if self.is_downloaded() && !self.is_cached {
                self.all_here();
            }
        }
    }

    fn learn_size(&mut self, total: u64) -> u64 {
        let known = self.size.filter(|_| !std::mem::take(&mut self.is_size_from_registry));
        let size = known.unwrap_or(0).max(total);
        self.size = Some(size);
        size
    }
}
