//! The layers' sizes in a live pull: when they are asked for, and what is done with them.
//!
//! **Invariant:** a pull without them is as it would be without the question.

use super::Live;
use crate::args::Sizes;
use crate::docker::agent::Question;
use crate::docker::backend::Backend;
use crate::docker::client::Client;
use crate::docker::reference::Reference;
use crate::docker::sizes::{Asking, Learned};
use crate::pull::End;
use crate::pull::failure::{Failure, Kind};

/// Who is to be asked, where somebody is.
pub(super) fn asking(reference: &Reference, sizes: Sizes) -> Option<Asking> {
    let is_wanted = match sizes {
        Sizes::Always => true,
        Sizes::Never => false,
        Sizes::Auto => !reference.is_on_hub(),
    };
    is_wanted.then(Asking::new).flatten()
}

impl Live<'_> {
    /// Goes on asking how large the layers are and where they are to fit; the end where they cannot.
    pub(super) fn ask_sizes(&mut self, client: &Client<'_>) -> Option<End> {
        let Backend::Api(engine) = &client.backend else { return None };
        let (reference, platform) = (self.reference, self.options.platform.as_deref());
        let credentials = client.credentials.header.as_str();
        let (question, at) = (Question { reference, platform, credentials }, self.at());
        match self.asking.as_mut()?.step(engine, &question, &self.session.pull, at)? {
            Learned::Sizes(sizes) => {
                self.session.sizes(at, sizes);
                None
            }
            Learned::Room(room) => {
                let reason = self.session.room(at, &room)?;
                Some(End::Cut(Some(Failure::own(Kind::DiskFull, reason))))
            }
        }
    }
}
