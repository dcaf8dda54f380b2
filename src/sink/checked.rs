//! Writes the result of a check into the state file.
//!
//! Separate from the sinks of a pull, because a check is no session: it has one result. It holds the image's lock only
//! while it reads, merges and writes, so that it never delays a pull.
//!
//! **Invariant:** a check never overwrites what a pull has written meanwhile, and never fails because of the state.

use crate::os::lock::{self, Lock};
use crate::sink::metrics;
use crate::sink::state::Target;
use alm_state::{Checked, Image, Memory, Time};
use std::io;

/// The state as it was when the check began.
pub(crate) struct PreviousState {
    target: Target,
    image: Option<Image>,
}

impl PreviousState {
    pub(crate) fn read(target: Target) -> Self {
        let image = target.store.image(&target.reference);
        Self { target, image }
    }

    /// Writes the result, unless a pull has begun or ended since the check began. Fails only if the requested metrics
    /// cannot be written.
    pub(crate) fn keep(self, checked: Checked) -> io::Result<()> {
        let Target { store, id, reference, metrics, .. } = &self.target;
        let Lock::Ours(_lock) = lock::take(reference) else { return Ok(()) };
        if store.image(reference) != self.image {
            return Ok(());
        }
        let kept = store.kept(reference);
        let image = Image::check(id, self.image, checked, Time::now());
        let mut memory = Memory::default();
        // A state that cannot be written is missing for its readers; the check itself is not affected.
        let _ = store.write(reference, &image, &mut memory);
        // The copy on the SD card is not written at each check, but it must not show a failure that is over, nor hide
        // one.
        if kept.is_some_and(|kept| kept.failing_since != image.failing_since) {
            let _ = store.keep(reference, &image, &mut memory);
        }
        let Some(path) = metrics else { return Ok(()) };
        metrics::write(path, store)
            .map_err(|error| io::Error::new(error.kind(), format!("metrics {}: {error}", path.display())))
    }
}
