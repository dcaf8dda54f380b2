//! A pull at one moment, as every sink gets it.
//!
//! Separate from the state, because percent, bytes and speed must be the same wherever they are shown.
//!
//! **Invariant:** reading a snapshot changes nothing. The percentage never decreases within an attempt, and is 100 only
//! after [`Pull::settle`] for a success.

use crate::pull::event::Numbers;
use crate::pull::layer::{Layer, Phase};
use crate::pull::meter::Meter;
use crate::pull::{Pull, share};

/// The percentage of the whole that is downloading, if the engine reports extraction, too.
const DOWNLOAD_SHARE: u64 = 70;

/// A pull at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) pull: &'a Pull,
    pub(crate) meter: &'a Meter,
    /// Milliseconds since the pull began.
    pub(crate) at: u64,
}

/// The bytes to download, without those of cached layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) done: u64,
    /// The sizes of the layers; for a layer of unknown size the bytes that it has.
    pub(crate) total: u64,
    /// Whether all sizes are known.
    pub(crate) is_exact: bool,
}

impl Snapshot<'_> {
    /// The overall progress in percent.
    pub(crate) fn percent(&self) -> u64 {
        self.pull.percent()
    }

    pub(crate) fn amount(&self) -> Amount {
        let mut amount = Amount { done: 0, total: 0, is_exact: true };
        for layer in &self.pull.layers {
            // A layer that is present after all has the bytes that were downloaded before, and no more are needed.
            let size = if layer.is_cached { Some(layer.reached) } else { layer.size };
            amount.done = amount.done.saturating_add(layer.reached);
            amount.total = amount.total.saturating_add(size.unwrap_or(0).max(layer.reached));
            amount.is_exact &= size.is_some();
        }
        amount
    }

    /// Whether there is anything left to download.
    pub(crate) fn is_downloading(&self) -> bool {
        self.pull.layers.iter().any(|layer| !layer.is_downloaded())
    }

    /// Bytes a second, while there is anything to download.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.meter.speed.filter(|_| self.is_downloading())
    }

    /// The seconds left, if all sizes are known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.meter.left
    }
}

impl Pull {
    /// The overall progress in percent, by bytes: 70 % for download and 30 % for extraction (if the engine reports
    /// any).
    pub(crate) fn percent(&self) -> u64 {
        let known = self.layers.iter().filter_map(|layer| layer.size);
        let (sum, count) = known.fold((0_u128, 0_u128), |(sum, count), size| (sum + u128::from(size), count + 1));
        let mean = sum.checked_div(count).unwrap_or(1).max(1) as u64;
        let extraction =
            if self.shows_extraction || (self.is_docker && !self.is_containerd) { 100 - DOWNLOAD_SHARE } else { 0 };
        // In 128 bits, so that the sum fits whatever sizes an engine reports.
        let (mut part, mut whole) = (0_u128, 0_u128);
        for layer in &self.layers {
            let weight = layer.size.unwrap_or(mean).max(1);
            let downloaded = match layer.size {
                _ if layer.is_downloaded() => weight,
                Some(_) => layer.reached.min(weight),
                None => 0,
            };
            let extracted = match layer.extracted {
                _ if layer.is_finished => weight,
                Some((done, whole)) => share(done, whole, weight),
                None => 0,
            };
            part +=
                u128::from(downloaded) * u128::from(100 - extraction) + u128::from(extracted) * u128::from(extraction);
            whole += u128::from(weight);
        }
        let percent = part.checked_div(whole).unwrap_or(0).min(99) as u64;
        self.percent.max(percent)
    }

    /// Keeps the percentage before an event that changes how the layers are weighted, because it must not decrease. Not
    /// before any layer has moved: then the layers are still being announced.
    pub(super) fn keep_percent(&mut self) {
        // A small layer is often downloaded without a report of its bytes.
        let has_moved = |layer: &Layer| {
            layer.reached > 0 || layer.extracted.is_some() || (layer.is_downloaded() && !layer.is_cached)
        };
        if self.layers.iter().any(has_moved) {
            self.percent = self.percent();
        }
    }

    /// Whether an event for a layer (`None`: a new one) can change how the layers are weighted.
    pub(super) fn is_reweighed_by(&self, layer: Option<usize>, phase: Phase, numbers: Numbers) -> bool {
        let Some(layer) = layer.and_then(|at| self.layers.get(at)) else { return true };
        let is_more = |known: Option<u64>| numbers.total.is_some_and(|total| known.is_none_or(|known| known < total));
        match phase {
            // More bytes than the total makes the size unknown, and a cached layer may be downloaded again.
            Phase::Downloading => {
                let is_unknown = numbers.current.is_some() && numbers.current >= numbers.total.or(layer.size);
                layer.is_downloaded()
                    || layer.is_size_from_registry
                    || is_more(layer.size)
                    || (is_unknown && layer.size.is_some())
            }
            Phase::Extracting => !self.shows_extraction || is_more(layer.size),
            _ => true,
        }
    }
}
