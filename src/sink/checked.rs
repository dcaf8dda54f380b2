//! What a check found out, kept in the state file.
//!
//! Apart from the sinks of a pull because a check is no session: it has one answer. It takes the image's lock for
//! reading, merging and writing alone, so that it never holds up a pull.
//!
//! **Invariant:** a check never undoes what a pull wrote meanwhile, and never fails for its state.

use crate::os::lock::{self, Lock};
use crate::sink::metrics;
use crate::sink::state::Target;
use alm_state::{Checked, Image, Time};
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

    /// Keeps what was found out, unless a pull has begun or ended since. Fails where the metrics that were asked for cannot be
    /// written.
    pub(crate) fn keep(self, checked: Checked) -> io::Result<()> {
        let Target { store, id, reference, metrics, .. } = &self.target;
        let Lock::Ours(_lock) = lock::take(reference) else { return Ok(()) };
        if store.image(reference) != self.image {
            return Ok(());
        }
        let kept = store.kept(reference);
        let image = Image::check(id, self.image, checked, Time::now());
        let mut buffer = Vec::new();
        // What cannot be written is missing for those who read states, and for no one else.
        let _ = store.write(reference, &image, &mut buffer);
        // An SD card is not to be written at each check, but it must not show a failure that is over, nor hide one.
        if kept.is_some_and(|kept| kept.failing_since != image.failing_since) {
            let _ = store.keep(reference, &image, &mut buffer);
        }
        let Some(path) = metrics else { return Ok(()) };
        metrics::write(path, store)
            .map_err(|error| io::Error::new(error.kind(), format!("metrics {}: {error}", path.display())))
    }
}
