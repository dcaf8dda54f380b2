//! Whether the bytes that are still to come fit into the engine's directory for images.
//!
//! An engine notices a full disk only after the bytes were downloaded, and then discards them. How much it needs at
//! least was measured: the graphdriver extracts a layer while it is downloaded; the containerd store keeps it both
//! compressed and extracted.
//!
//! **Invariant:** pure. An image that could fit is never refused: unknown sizes count as zero.

use super::Pull;
use super::layer::Layer;

/// The file system of the engine's directory for images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    pub(crate) is_containerd: bool,
    /// Whether the file system does not compress: an extracted layer takes at least as much space as the compressed one.
    pub(crate) is_uncompressed: bool,
    /// Bytes free for root, and so for the engine: statvfs's `f_bfree`.
    pub(crate) free: u64,
    /// Bytes free for other users, without the blocks that are reserved for root: statvfs's `f_bavail`.
    pub(crate) available: u64,
}

/// The result of a check of the free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpaceCheck {
    Fits,
    /// It may not fit: these are the bytes to download, and the bytes available.
    Tight {
        to_fetch: u64,
        available: u64,
    },
    /// It cannot fit: these are the bytes needed at least, and the bytes free.
    Full {
        need: u64,
        free: u64,
    },
}

impl Pull {
    /// Checks whether the rest of the image fits; it does if the sizes are not known.
    pub(crate) fn check_space(&self, space: &DiskSpace) -> SpaceCheck {
        if !self.has_sizes() {
            return SpaceCheck::Fits;
        }
        let open = || self.layers.iter().filter(|layer| !layer.is_at_end());
        let sum = |bytes: &dyn Fn(&Layer) -> u64| open().map(bytes).fold(0, u64::saturating_add);
        let to_fetch = sum(&to_fetch);
        let need = if space.is_containerd {
            // A layer without a download may be kept from an earlier pull, and then needs no bytes.
            let packed = sum(&|layer| if layer.has_numbers() { self::to_fetch(layer) } else { 0 });
            // A layer that was downloaded is being extracted, or is extracted: Docker 26 reports neither.
            let unpacked = sum(&|layer| if layer.is_downloaded() { 0 } else { layer.size.unwrap_or(0) });
            packed.saturating_add(if space.is_uncompressed { unpacked } else { 0 })
        } else {
            // The graphdriver extracts one layer at a time and then deletes its compressed bytes: as many will be free again, or
            // have become free since the measurement.
            let fetched = self.layers.iter().filter(|layer| layer.is_downloaded() && !layer.is_cached);
            to_fetch.saturating_sub(fetched.filter_map(|layer| layer.size).max().unwrap_or(0))
        };
        // Measured at its peak, a pull took 1.3 to 4.2 times its download with the graphdriver and 2 to 4.9 times with the
        // containerd store, depending on how well the layers are compressed.
        let wanted = to_fetch.saturating_mul(if space.is_containerd { 4 } else { 3 });
        if need > space.free {
            SpaceCheck::Full { need, free: space.free }
        } else if wanted > space.available {
            SpaceCheck::Tight { to_fetch, available: space.available }
        } else {
            SpaceCheck::Fits
        }
    }
}

/// The bytes of a layer that are still to be downloaded.
fn to_fetch(layer: &Layer) -> u64 {
    if layer.is_downloaded() { 0 } else { layer.size.unwrap_or(0).saturating_sub(layer.done) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::event;

    const MB: u64 = 1_000_000;

    fn say(pull: &mut Pull, id: &str, status: &str, detail: &str) {
        pull.apply(event::parse(
            format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#).as_bytes(),
        ));
    }

    /// An image of 60 MB in three layers.
    fn pull() -> Pull {
        let mut pull = Pull::default();
        for id in ["a", "b", "c"] {
            say(&mut pull, id, "Pulling fs layer", "");
        }
        pull.learn_sizes(["a", "b", "c"].map(|id| (id.to_owned(), 20 * MB)).into());
        pull
    }

    fn space(is_containerd: bool, is_uncompressed: bool, free: u64) -> DiskSpace {
        DiskSpace { is_containerd, is_uncompressed, free, available: u64::MAX }
    }

    /// The minimum that is not refused.
    fn min(pull: &Pull, is_containerd: bool, is_uncompressed: bool) -> u64 {
        let (mut min, mut max) = (0, 1 << 40);
        while min < max {
            let middle = u64::midpoint(min, max);
            match pull.check_space(&space(is_containerd, is_uncompressed, middle)) {
                SpaceCheck::Full { need, free } => {
                    assert_eq!(free, middle);
                    assert!(need > middle);
                    min = middle + 1;
                }
                _ => max = middle,
            }
        }
        min
    }

    #[test]
    fn the_minimum_that_is_needed() {
        let mut pull = pull();
        // Both stores, and the containerd store on a file system that compresses.
        let needs =
            |pull: &Pull| [min(pull, false, true), min(pull, true, true), min(pull, true, false)].map(|n| n / MB);
        assert_eq!(needs(&pull), [60, 60, 0], "nothing is seen to be fetched");
        say(&mut pull, "a", "Downloading", r#""current":5000000,"total":20000000"#);
        assert_eq!(needs(&pull), [55, 75, 15]);
        say(&mut pull, "b", "Downloading", r#""current":0,"total":20000000"#);
        say(&mut pull, "c", "Downloading", r#""current":0,"total":20000000"#);
        assert_eq!(needs(&pull), [55, 115, 55]);
        say(&mut pull, "a", "Download complete", "");
        assert_eq!(needs(&pull), [20, 80, 40], "it may be unpacked already, and what was packed is deleted then");
        say(&mut pull, "a", "Extracting", r#""current":1,"units":"s""#);
        assert_eq!(needs(&pull), [20, 80, 40]);
        say(&mut pull, "a", "Pull complete", "");
        assert_eq!(needs(&pull), [20, 80, 40], "it was complete only after the free space was measured, perhaps");
        say(&mut pull, "b", "Already exists", "");
        assert_eq!(needs(&pull), [0, 40, 20]);
    }

    #[test]
    fn tight_is_three_and_four_times() {
        let pull = pull();
        for (is_containerd, wanted) in [(false, 180 * MB), (true, 240 * MB)] {
            let check = |available| pull.check_space(&DiskSpace { available, ..space(is_containerd, true, u64::MAX) });
            assert_eq!(check(wanted), SpaceCheck::Fits);
            assert_eq!(check(wanted - 1), SpaceCheck::Tight { to_fetch: 60 * MB, available: wanted - 1 });
        }
    }

    #[test]
    fn nothing_known_is_no_reason() {
        let full = space(true, true, 0);
        let mut pull = Pull::default();
        assert_eq!(pull.check_space(&full), SpaceCheck::Fits);
        say(&mut pull, "a", "Pulling fs layer", "");
        say(&mut pull, "a", "Downloading", r#""current":0,"total":20000000"#);
        assert_eq!(pull.check_space(&full), SpaceCheck::Fits, "the sizes are the engine's alone");
        pull.learn_sizes(vec![("a".into(), u64::MAX), ("b".into(), u64::MAX)]);
        say(&mut pull, "b", "Pulling fs layer", "");
        assert_eq!(pull.check_space(&full), SpaceCheck::Full { need: u64::MAX, free: 0 });
    }
}
