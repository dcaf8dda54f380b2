//! How many bytes were downloaded: in this attempt of a pull, and in earlier ones.
//!
//! Separate from the state of the pull, because it outlives an attempt, and because an engine's numbers are not always
//! what was downloaded: the containerd store counts from the beginning of a layer, even if it had kept a part.
//!
//! **Invariant:** a byte counts each time it is downloaded. A byte that was present before does not count, as far as the
//! engine's numbers show it.

use super::Pull;
use super::attempt::Fetched;
use super::layer::Layer;

/// A layer of earlier attempts.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) id: String,
    pub(super) size: Option<u64>,
    /// Its bytes that were downloaded.
    transferred: u64,
    /// Its bytes at the end of the last attempt that reported it.
    pub(super) reached: u64,
}

impl Pull {
    /// Resets the state after a failed attempt, except for the bytes that it downloaded.
    pub(crate) fn start_again(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        for layer in self.layers.iter().filter(|layer| layer.is_fetched() || layer.seen() > 0) {
            let (transferred, reached) = (self.transferred(layer, &before), layer.done);
            match before.iter_mut().find(|known| known.id == layer.id) {
                Some(known) => {
                    (known.transferred, known.reached) = (known.transferred.saturating_add(transferred), reached);
                    known.size = known.size.max(layer.size);
                }
                None => before.push(Earlier { id: layer.id.clone(), size: layer.size, transferred, reached }),
            }
        }
        let sizes = self.sizes.take();
        *self = Self { before, sizes, is_containerd: self.is_containerd, ..Self::default() };
    }

    /// The bytes of the layer that were downloaded in this attempt.
    fn transferred(&self, layer: &Layer, before: &[Earlier]) -> u64 {
        if !self.is_docker && self.error.is_some() {
            // podman reports each layer as complete, and later that it is not.
            return layer.reported();
        }
        let kept = before.iter().find(|known| known.id == layer.id).map_or(0, |known| known.reached);
        let was_there = match (self.is_containerd, layer.has_numbers()) {
            (false, _) => 0,
            (true, true) => layer.was_there(kept),
            // It may have continued where the earlier attempt ended.
            (true, false) => kept,
        };
        layer.seen().saturating_sub(was_there)
    }

    /// The bytes that were downloaded in this run, and whether that is exact: a layer of unknown size may have had
    /// more.
    pub(crate) fn moved(&self) -> (u64, bool) {
        let before = self.before.iter().map(|known| known.transferred);
        let now = self.layers.iter().map(|layer| self.transferred(layer, &self.before));
        let is_known = |layer: &Layer| match layer.size {
            Some(_) => layer.has_numbers() || !self.is_containerd || self.before.is_empty(),
            None => false,
        };
        let has_false_ends = !self.is_docker && self.error.is_some();
        let is_all = !has_false_ends
            && self.layers.iter().filter(|layer| layer.is_fetched()).all(is_known)
            && self.before.iter().all(|known| known.size.is_some());
        (before.chain(now).fold(0, u64::saturating_add), is_all)
    }

    /// What this attempt has downloaded: whether more of it continued earlier attempts, or more of it repeated them.
    pub(crate) fn fetched(&self) -> Fetched {
        if self.layers.iter().all(|layer| self.transferred(layer, &self.before) == 0) {
            return Fetched::Nothing;
        }
        if self.before.iter().all(|known| known.transferred == 0) {
            return Fetched::FromScratch;
        }
        let (mut kept, mut lost) = (0_u64, 0_u64);
        for layer in &self.layers {
            let before = self.before.iter().find(|known| known.id == layer.id).map_or(0, |known| known.reached);
            let is_there = match (layer.is_cached, layer.has_numbers()) {
                (true, _) => before,
                (false, true) => layer.was_there(before).min(before),
                // Not begun, or too small to be reported.
                (false, false) => continue,
            };
            kept = kept.saturating_add(is_there);
            lost = lost.saturating_add(before - is_there);
        }
        if lost > kept { Fetched::FromScratch } else { Fetched::Rest }
    }

    /// The bytes that were seen, including those that the engine had before this run. Unlike `moved` it never
    /// decreases.
    pub(crate) fn seen(&self) -> u64 {
        let before = self.before.iter().map(|known| known.transferred);
        before.chain(self.layers.iter().map(Layer::seen)).fold(0, u64::saturating_add)
    }
}
