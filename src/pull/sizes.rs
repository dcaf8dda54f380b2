//! The sizes of the layers as the registry reports them.
//!
//! Separate from the events, because these sizes have another source, can arrive at any time, and can be wrong.
//!
//! **Invariant:** an answer without one of the announced layers belongs to another image, so all of it is dropped. A size that
//! the engine reports replaces the registry's.

use super::Pull;
use super::layer::Layer;
use serde_json::Value;

/// The layers of an image and their sizes, as its registry lists them.
pub(crate) type Sizes = Vec<(String, u64)>;

/// Reads `[["b9bf3f3b8299",5001727],…]`, ids with sizes in bytes; `None` for anything else.
pub(crate) fn from_json(layers: &Value) -> Option<Sizes> {
    let layer = |layer: &Value| match layer.as_array()?.as_slice() {
        [id, size] => Some((id.as_str()?.to_owned(), size.as_u64()?)),
        _ => None,
    };
    layers.as_array()?.iter().map(layer).collect()
}

/// What a pull has to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToFetch {
    pub(crate) bytes: u64,
    pub(crate) layers: usize,
    /// The number of layers that are here already; `layers` does not include them.
    pub(crate) cached: usize,
}

impl Pull {
    /// Applies the sizes that the registry reports; none of them if an announced layer is missing.
    pub(crate) fn learn_sizes(&mut self, sizes: Sizes) {
        self.keep_percent();
        self.sizes = Some(sizes);
        for at in 0..self.layers.len() {
            self.apply_known_size(at);
        }
    }

    /// Applies the registry's size to the layer with the index `at`. To be called when a layer is announced, and when the
    /// sizes arrive.
    pub(super) fn apply_known_size(&mut self, at: usize) {
        let Some(sizes) = &self.sizes else { return };
        let layer = &mut self.layers[at];
        match sizes.iter().find(|(id, _)| *id == layer.id) {
            Some((_, size)) => layer.learn_from_registry(*size),
            // The engine also reports layers that are here already, some of them of other images.
            None if !layer.is_announced => {}
            None => self.forget_sizes(),
        }
    }

    fn forget_sizes(&mut self) {
        self.sizes = None;
        for layer in self.layers.iter_mut().filter(|layer| layer.is_size_from_registry) {
            (layer.size, layer.is_size_from_registry) = (None, false);
        }
    }

    pub(crate) fn has_sizes(&self) -> bool {
        self.sizes.is_some()
    }

    /// Whether the engine has announced a layer that it will download.
    pub(crate) fn has_announced(&self) -> bool {
        self.layers.iter().any(|layer| layer.is_announced)
    }

    /// Whether the engine has begun to download: all layers are announced by then.
    pub(crate) fn is_fetching(&self) -> bool {
        self.is_fetching
    }

    /// The number of layers whose download the engine has reported bytes of.
    pub(crate) fn downloads(&self) -> usize {
        self.layers.iter().filter(|layer| layer.has_numbers()).count()
    }

    /// What there is to download in all; `None` if a size is unknown or if nothing is to be downloaded.
    pub(crate) fn to_fetch(&self) -> Option<ToFetch> {
        self.sizes.as_ref()?;
        let mut whole = ToFetch { bytes: 0, layers: 0, cached: 0 };
        for Layer { is_cached, size, .. } in &self.layers {
            if *is_cached {
                whole.cached += 1;
            } else {
                whole.bytes = whole.bytes.saturating_add((*size)?);
                whole.layers += 1;
            }
        }
        Some(whole).filter(|whole| whole.layers > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::event;

    fn say(pull: &mut Pull, id: &str, status: &str, detail: &str) {
        pull.apply(event::parse(
            format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#).as_bytes(),
        ));
    }

    fn announced(ids: &[&str]) -> Pull {
        let mut pull = Pull::default();
        for id in ids {
            say(&mut pull, id, "Pulling fs layer", "");
        }
        pull
    }

    fn sizes(list: &[(&str, u64)]) -> Sizes {
        list.iter().map(|(id, size)| ((*id).to_owned(), *size)).collect()
    }

    fn known(pull: &Pull) -> Vec<Option<u64>> {
        pull.layers.iter().map(|layer| layer.size).collect()
    }

    #[test]
    fn cached_layers_leave_the_total() {
        let mut pull = announced(&["a", "b", "c"]);
        assert_eq!(pull.to_fetch(), None);
        pull.learn_sizes(sizes(&[("a", 10), ("b", 20), ("c", 40), ("of another platform", 80)]));
        assert_eq!(pull.to_fetch(), Some(ToFetch { bytes: 70, layers: 3, cached: 0 }));
        say(&mut pull, "b", "Already exists", "");
        assert_eq!(pull.to_fetch(), Some(ToFetch { bytes: 50, layers: 2, cached: 1 }));
        // A layer that is announced after the sizes arrived, and one that is never announced.
        say(&mut pull, "of another platform", "Pulling fs layer", "");
        say(&mut pull, "here", "Already exists", "");
        assert_eq!(pull.to_fetch(), Some(ToFetch { bytes: 130, layers: 3, cached: 2 }));
        for id in ["a", "c", "of another platform"] {
            say(&mut pull, id, "Already exists", "");
        }
        assert_eq!(pull.to_fetch(), None);
    }

    #[test]
    fn what_the_engine_says_stands_above_it() {
        let mut pull = announced(&["a", "b"]);
        say(&mut pull, "a", "Downloading", r#""current":1,"total":7"#);
        pull.learn_sizes(sizes(&[("a", 1 << 63), ("b", 1 << 63)]));
        assert_eq!(known(&pull), [Some(7), Some(1 << 63)]);
        say(&mut pull, "b", "Downloading", r#""current":2,"total":9"#);
        assert_eq!((known(&pull), pull.layers[1].done), (vec![Some(7), Some(9)], 2));
        // From then on, as without the registry, the largest total that the engine reported.
        say(&mut pull, "b", "Downloading", r#""current":1,"total":5"#);
        assert_eq!((known(&pull), pull.layers[1].done), (vec![Some(7), Some(9)], 5));
    }

    #[test]
    fn an_answer_that_lacks_a_layer_is_forgotten() {
        let mut pull = announced(&["a", "b"]);
        pull.learn_sizes(sizes(&[("a", 10)]));
        assert_eq!((known(&pull), pull.has_sizes()), (vec![None, None], false));

        let mut pull = announced(&["a", "b"]);
        say(&mut pull, "b", "Downloading", r#""current":1,"total":7"#);
        pull.learn_sizes(sizes(&[("a", 10), ("b", 20)]));
        // An attestation is not announced, and so need not be in the answer.
        say(&mut pull, "attestation", "Download complete", "");
        assert_eq!(known(&pull), [Some(10), Some(7)]);
        say(&mut pull, "c", "Pulling fs layer", "");
        assert_eq!((known(&pull), pull.has_sizes()), (vec![None, Some(7), None], false));
    }

    #[test]
    fn another_attempt_knows_them_too() {
        let mut pull = announced(&["a"]);
        pull.learn_sizes(sizes(&[("a", 10), ("b", 20)]));
        pull.start_again();
        say(&mut pull, "b", "Pulling fs layer", "");
        assert_eq!(known(&pull), [Some(20)]);
    }

    #[test]
    fn the_percentage_does_not_go_back() {
        let mut pull = announced(&["a", "b"]);
        say(&mut pull, "a", "Downloading", r#""current":5,"total":10"#);
        let before = pull.percent();
        pull.learn_sizes(sizes(&[("a", 10), ("b", 1_000_000)]));
        assert_eq!(pull.percent(), before);
        say(&mut pull, "b", "Downloading", r#""current":1,"total":10"#);
        assert!(pull.percent() >= before);
    }
}
