//! The kind of store that the engine of a live pull has: after a broken pull of the containerd store the next attempt
//! starts at once.
//!
//! **Invariant:** no answer is awaited longer than a further attempt may be delayed.

use super::LivePull;
use crate::docker::backend::Backend;
use crate::docker::client::Client;
use crate::pull::attempt;
use std::time::Duration;

/// The limit for an answer if a further attempt has to begin within 50 ms.
const AT_ONCE: Duration = Duration::from_millis(30);

impl LivePull<'_> {
    /// Continues the request, if a further attempt is possible and the request for sizes has not answered it already.
    pub(super) fn ask_store(&mut self, client: &Client<'_>) {
        let at = self.at();
        if self.store_with_sizes().is_some() {
            return;
        }
        if let (Backend::Api(engine), 1..) = (&client.backend, self.options.retries) {
            self.store_query.step(engine, &self.session.pull, at);
        }
    }

    /// Whether the engine keeps its images in the containerd store; false if it does not answer soon enough.
    pub(super) fn is_containerd(&self, backend: &Backend, reason: &str) -> bool {
        let Backend::Api(engine) = backend else { return false };
        if self.session.pull.is_containerd || attempt::is_of_containerd(reason) {
            return true;
        }
        let ask = || self.inspector(engine, AT_ONCE).has_containerd_store() == Some(true);
        self.store_with_sizes().or(self.store_query.is_containerd).unwrap_or_else(ask)
    }

    /// The answer that the request for sizes got.
    fn store_with_sizes(&self) -> Option<bool> {
        self.sizes_query.as_ref()?.is_containerd
    }
}
