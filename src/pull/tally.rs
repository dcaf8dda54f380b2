//! How many bytes were fetched: in this attempt of a pull, and in those before.
//!
//! Apart from the state of the pull, because it outlives an attempt, and because what an engine counts is not always what
//! was fetched: the containerd image store counts from the beginning of a layer of which it has kept a part.
//!
//! **Invariant:** a byte counts as often as it was fetched, also when a layer was fetched again; one that was there
//! before does not, as far as the engine's numbers show.

use super::Pull;
use super::attempt::Fetched;
use super::layer::Layer;

/// A layer in earlier attempts of a run.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) id: String,
    pub(super) size: Option<u64>,
    /// Bytes that were fetched of it.
    transferred: u64,
    /// How far the last attempt that had it was with it.
    pub(super) reached: u64,
}

impl Pull {
    /// Forgets what a broken attempt has done, but for the bytes that it moved.
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

    /// Bytes of the layer that were fetched in this attempt.
    fn transferred(&self, layer: &Layer, before: &[Earlier]) -> u64 {
        if !self.is_docker && self.error.is_some() {
            // podman says of each layer that it is complete, and then that it is not.
            return layer.reported();
        }
        let kept = before.iter().find(|known| known.id == layer.id).map_or(0, |known| known.reached);
        let was_there = match (self.is_containerd, layer.has_numbers()) {
            (false, _) => 0,
            (true, true) => layer.was_there(kept),
            // It may have gone on where it was.
            (true, false) => kept,
        };
        layer.seen().saturating_sub(was_there)
    }

    /// The bytes that were fetched in this run, and whether these are all: a layer of unknown size may have moved more.
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

    /// What this attempt has brought: of what had come before, was more still there or more lost?
    pub(crate) fn fetched(&self) -> Fetched {
        if self.layers.iter().all(|layer| self.transferred(layer, &self.before) == 0) {
            return Fetched::Nothing;
        }
        if self.before.iter().all(|known| known.transferred == 0) {
            return Fetched::FromNothing;
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
        if lost > kept { Fetched::FromNothing } else { Fetched::Rest }
    }

    /// The bytes that were seen, those included that an engine had before this run: unlike what was fetched it never goes back.
    pub(crate) fn seen(&self) -> u64 {
        let before = self.before.iter().map(|known| known.transferred);
        before.chain(self.layers.iter().map(Layer::seen)).fold(0, u64::saturating_add)
    }
}
