//! One layer of an image: how far it is, and where it can go from there.
//!
//! **Invariant:** bytes never go back, and no count exceeds its size.

/// In the engine's order.
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

/// What an event about bytes changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that was not known before.
    None,
    /// The phase, without a byte to show for it.
    Unseen,
    /// The phase begins (again).
    Began,
    /// Its bytes have grown.
    Grew,
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
    pub(crate) fn new(id: &str, phase: Phase) -> Self {
        Self { id: id.to_owned(), phase, size: None, done: 0, extracted: None }
    }

    /// Whether it has been counted as complete or cached.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Cached)
    }

    pub(crate) fn is_downloaded(&self) -> bool {
        matches!(self.phase, Phase::Downloaded | Phase::Extracting | Phase::Complete | Phase::Cached)
    }

    /// Takes in the bytes (current, total) of a download.
    pub(crate) fn download(&mut self, bytes: Option<(u64, u64)>) -> Change {
        if self.is_downloaded() {
            return Change::None;
        }
        let begins = self.phase != Phase::Downloading;
        let before = self.done;
        // A full count is believed only when the end of the download confirms it: engines report one before a retry.
        if let Some((current, total)) = bytes.filter(|(current, total)| current < total) {
            let size = self.learn_size(total);
            // After a retry the total is what remains.
            self.done = self.done.max(size - total + current);
            self.phase = Phase::Downloading;
        } else {
            if let Some((_, total)) = bytes {
                self.learn_size(total);
            }
            if self.phase == Phase::Queued {
                self.phase = Phase::Downloading;
                return Change::Unseen;
            }
            return Change::None;
        }
        match self.done > before {
            _ if begins => Change::Began,
            true => Change::Grew,
            false => Change::None,
        }
    }

    /// The engine waits before it tries again; whether that is news, for it counts the seconds down.
    pub(crate) fn retry(&mut self, seconds: u64) -> bool {
        let is_known = match self.phase {
            _ if self.is_downloaded() => return false,
            Phase::Retrying(before) => before >= seconds,
            _ => false,
        };
        self.phase = Phase::Retrying(seconds);
        !is_known
    }

    /// All of it is here and is being verified; whether that is news.
    pub(crate) fn verify(&mut self) -> bool {
        let is_news = self.phase != Phase::Verifying && !self.is_downloaded();
        if is_news {
            self.phase = Phase::Verifying;
            self.all_here();
        }
        is_news
    }

    /// All of it is here; whether that is news.
    pub(crate) fn end_download(&mut self) -> bool {
        let is_news = !self.is_downloaded();
        if is_news {
            self.phase = Phase::Downloaded;
            self.all_here();
        }
        is_news
    }

    /// Takes in the bytes (current, total) of an extraction.
    pub(crate) fn extract(&mut self, bytes: Option<(u64, u64)>) -> Change {
        if self.is_finished() {
            return Change::None;
        }
        let begins = self.phase != Phase::Extracting;
        if begins {
            self.phase = Phase::Extracting;
            self.all_here();
        }
        let before = self.extracted;
        if let Some((current, total)) = bytes {
            // What the download told may have been no more than the rest after a broken connection.
            self.done = self.learn_size(total);
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

    /// Downloaded and extracted.
    pub(crate) fn complete(&mut self) {
        self.phase = Phase::Complete;
        self.all_here();
        if let Some((done, whole)) = &mut self.extracted {
            *done = *whole;
        }
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
