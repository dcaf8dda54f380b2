//! The layers' sizes in a live pull: when they are requested, and what they are used for.
//!
//! **Invariant:** if the sizes are not known, the pull is the same as without the request.

use super::{LivePull, since};
use crate::args::Sizes;
use crate::docker::agent::RegistryQuery;
use crate::docker::backend::Backend;
use crate::docker::client::Client;
use crate::docker::reference::Reference;
use crate::docker::sizes::{Finding, SizesQuery};
use crate::pull::End;
use crate::pull::failure::{Failure, Kind};
use std::ops::ControlFlow;

/// The request for the sizes, if they are wanted and there is an agent.
pub(super) fn sizes_query(reference: &Reference, sizes: Sizes) -> Option<SizesQuery> {
    let is_wanted = match sizes {
        Sizes::Always => true,
        Sizes::Never => false,
        Sizes::Auto => !reference.is_on_hub(),
    };
    is_wanted.then(SizesQuery::new).flatten()
}

impl LivePull<'_> {
    /// Continues the request for the layers' sizes and the free space. Breaks if the image cannot fit.
    pub(super) fn ask_sizes(&mut self, client: &Client<'_>) -> ControlFlow<End> {
        let (Backend::Api(engine), Some(sizes_query)) = (&client.backend, &mut self.sizes_query) else {
            return ControlFlow::Continue(());
        };
        let (reference, platform) = (self.reference, self.options.platform.as_deref());
        let credentials = client.credentials.header.as_str();
        let (query, at) = (RegistryQuery { reference, platform, credentials }, since(self.began));
        match sizes_query.step(engine, &query, &self.session.pull, at) {
            Some(Finding::Sizes(sizes)) => self.session.sizes(at, sizes),
            Some(Finding::DiskSpace(space)) => {
                if let Some(reason) = self.session.space(at, &space) {
                    return ControlFlow::Break(End::Cut(Some(Failure::own(Kind::DiskFull, reason))));
                }
            }
            None => {}
        }
        ControlFlow::Continue(())
    }
}
