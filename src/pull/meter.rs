//! How fast a pull is, and how long it may still take.
//!
//! **Invariant:** pure; speed and time left change with each sample and not with each look.

use super::Pull;
use super::layer::Phase;

/// How far back the speed looks, and how far its samples are apart, in milliseconds. Speed and time left change with
/// each sample and not with each frame: they are to be read.
const WINDOW: u64 = 10_000;
const SAMPLE: u64 = 500;

/// From how many milliseconds on a speed can be told.
const LEAST: u64 = 1_000;

/// Longer than that is not told: it would be a guess.
pub(crate) const MOST_LEFT: u64 = 100 * 3600;

/// How fast a pull is and how long it may still take, from what it was seen doing.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Time and bytes downloaded; the first one is `WINDOW` old or as old as the first byte.
    samples: Vec<(u64, u64)>,
    /// Bytes a second.
    pub(crate) speed: Option<u64>,
    /// Seconds.
    pub(crate) left: Option<u64>,
    /// Bytes that were extracted at the last sample, in all, and in how many milliseconds of extracting.
    extracted: u64,
    unpacked: u64,
    unpacking: u64,
    is_unpacking: bool,
}

impl Meter {
    /// To be called often; looks every `SAMPLE` milliseconds.
    pub(crate) fn look(&mut self, pull: &Pull, at: u64) {
        let last = self.samples.last().copied().unwrap_or_default();
        let passed = at.saturating_sub(last.0);
        if passed < SAMPLE && !self.samples.is_empty() {
            return;
        }
        let (bytes, _) = pull.moved();
        if self.samples.len() == 1 && last.1 == bytes {
            // It has not begun: what was waited for the first byte does not count.
            self.samples.clear();
        }
        self.samples.push((at, bytes));
        while self.samples.get(1).is_some_and(|second| at.saturating_sub(second.0) >= WINDOW) {
            self.samples.remove(0);
        }
        let first = self.samples[0];
        let span = at.saturating_sub(first.0);
        self.speed = (span >= LEAST).then(|| rate(bytes.saturating_sub(first.1), span));
        self.unpack(pull, passed);
        self.left = self.time_left(pull);
    }

    fn unpack(&mut self, pull: &Pull, passed: u64) {
        let parts = pull.layers.iter().filter_map(|layer| layer.extracted);
        let extracted = parts.fold(0_u64, |sum, (done, _)| sum.saturating_add(done));
        if self.is_unpacking {
            self.unpacked = self.unpacked.saturating_add(extracted.saturating_sub(self.extracted));
            self.unpacking += passed;
        }
        self.extracted = extracted;
        self.is_unpacking =
            pull.layers.iter().any(|layer| layer.phase == Phase::Extracting && layer.extracted.is_some());
    }

    /// The longer of what is left to download and to extract, at the speeds seen: the two go on side by side.
    fn time_left(&self, pull: &Pull) -> Option<u64> {
        let (mut download, mut extraction) = (0_u64, 0_u64);
        for layer in pull.layers.iter().filter(|layer| !layer.is_finished()) {
            let size = layer.size.or((layer.phase == Phase::Downloaded).then_some(layer.done))?;
            download = download.saturating_add(size.saturating_sub(layer.done));
            let (done, whole) = layer.extracted.unwrap_or((0, size));
            extraction = extraction.saturating_add(whole.saturating_sub(done));
        }
        let download = match self.speed? {
            _ if download == 0 => 0,
            0 => return None,
            speed => download.div_ceil(speed),
        };
        let extraction = match rate(self.unpacked, self.unpacking) {
            0 => 0,
            speed if self.unpacking >= LEAST => extraction.div_ceil(speed),
            _ => 0,
        };
        Some(download.max(extraction)).filter(|left| (1..MOST_LEFT).contains(left))
    }
}

/// Bytes a second.
fn rate(bytes: u64, milliseconds: u64) -> u64 {
    let rate = (u128::from(bytes) * 1000).checked_div(u128::from(milliseconds)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
