//! Which store the engine of a live pull has: the containerd store is asked again at once where a pull has broken off.
//!
//! **Invariant:** nothing here is waited for longer than a further attempt may wait.

use super::LivePull;
use crate::docker::backend::Backend;
use crate::docker::client::Client;
use crate::pull::attempt;
use std::time::Duration;

/// How long an answer may take where a further attempt is to begin within 50 ms.
const AT_ONCE: Duration = Duration::from_millis(30);

impl LivePull<'_> {
    /// Goes on asking, where there can be a further attempt and the request for sizes has not asked already.
    pub(super) fn ask_store(&mut self, client: &Client<'_>) {
        let at = self.at();
        if self.store_with_sizes().is_some() {
            return;
        }
        if let (Backend::Api(engine), 1..) = (&client.backend, self.options.retries) {
            self.store_query.step(engine, &self.session.pull, at);
        }
    }

    /// Whether the engine keeps its images in the containerd store; false where it does not say so soon enough.
    pub(super) fn is_containerd(&self, backend: &Backend, reason: &str) -> bool {
        let Backend::Api(engine) = backend else { return false };
        if self.session.pull.is_containerd || attempt::is_of_containerd(reason) {
            return true;
        }
        let ask = || self.inspector(engine, AT_ONCE).has_containerd_store() == Some(true);
        self.store_with_sizes().or(self.store_query.is_containerd).unwrap_or_else(ask)
    }

    /// What was learned when sizes were asked for.
    fn store_with_sizes(&self) -> Option<bool> {
        self.sizes_query.as_ref()?.is_containerd
    }
}
