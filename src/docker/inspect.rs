//! The requests to an engine besides a pull: of `--check`, of `--running`, and of the pull itself.
//!
//! **Invariant:** every request has a deadline, and changes nothing. The caller decides what a missing answer means.

use crate::docker::engine::{Answer, Engine, Error};
use crate::docker::image::{self, Image};
use crate::docker::platform::{Platform, arm_variant};
use crate::docker::reference::{Reference, percent_encode};
use crate::docker::store::{self, Store};
use crate::docker::value;
use crate::os::signals::Signals;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

/// An engine, the signals that end a wait, and the deadline.
pub(crate) struct Inspector<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) signals: &'a Signals,
    pub(crate) until: Instant,
}

impl Inspector<'_> {
    /// A local image with its index, as far as the engine reports it; `None` if there is none of that name.
    pub(crate) fn image(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        // An engine that does not know the parameter ignores it; so does one with the graphdriver.
        let query = if self.engine.speaks(1, 48) { "?manifests=1" } else { "" };
        self.image_at(reference, query)
    }

    /// The part of a local image for this platform; if the engine cannot be asked for a platform, the part that it
    /// chooses itself.
    pub(crate) fn image_for(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, Error> {
        if !self.engine.speaks(1, 49) {
            return self.image_at(reference, "");
        }
        let Platform { os, architecture, variant } = platform;
        let platform = [("os", os), ("architecture", architecture), ("variant", variant)];
        let platform = value::object(platform.map(|(name, value)| (name, value.as_str().into())));
        // Text alone cannot fail to become JSON.
        let platform = serde_json::to_string(&platform).unwrap_or_default();
        self.image_at(reference, &format!("?platform={}", percent_encode(&platform)))
    }

    fn image_at(&self, reference: &Reference, query: &str) -> Result<Option<Image>, Error> {
        let path = format!("/images/{}/json{query}", percent_encode(&reference.local()));
        let image = self.engine.find(&path, Some(&image::FIELDS), self.until, &mut || self.signals.go_on());
        Ok(image?.map(Image))
    }

    /// A container; `None` if there is none of that name or id.
    pub(crate) fn container(&self, name: &str) -> Result<Option<Value>, Error> {
        let found = self.find(&format!("/containers/{}/json", percent_encode(name)))?;
        Ok(found.filter(|container| is_meant(container, name)))
    }

    /// What the registry has under the reference; the engine asks it with these credentials.
    pub(crate) fn distribution(&self, reference: &Reference, credentials: &str) -> Result<Answer, Error> {
        let path = format!("/distribution/{}/json", percent_encode(&reference.local()));
        let headers = [("X-Registry-Auth", credentials)];
        self.engine.get(&path, &headers, self.until, &mut || self.signals.go_on())
    }

    /// The engine's own platform, if it reports one.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let mut platform =
            Platform::from_json(&self.find("/version").ok()??).filter(|platform| !platform.architecture.is_empty())?;
        if platform.architecture == "arm" && platform.variant.is_empty() {
            // An engine behind a Unix socket runs on this processor.
            let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            arm_variant(&cpuinfo).clone_into(&mut platform.variant);
        }
        Some(platform)
    }

    /// The platforms of a local image and of the engine if the engine cannot run the image. `image` is requested if it
    /// is not known.
    pub(crate) fn mismatch(&self, reference: &Reference, image: Option<Image>) -> Option<(Platform, Platform)> {
        let image = image.or_else(|| self.image(reference).ok()?)?;
        let platforms = image.platforms();
        let first = platforms.first()?.clone();
        let own = self.platform()?;
        (!platforms.iter().any(|platform| own.runs(platform))).then_some((first, own))
    }

    /// Whether images are in the containerd store; `None` if the engine does not say.
    pub(crate) fn has_containerd_store(&self) -> Option<bool> {
        let info = self.find("/info").ok()??;
        Some(store::is_containerd(&info))
    }

    /// The engine's directory for images, and the bytes free there.
    pub(crate) fn space(&self) -> Option<(PathBuf, u64)> {
        let store = Store::of(&self.find("/info").ok()??)?;
        let space = store.space()?;
        Some((store.directory, space.available))
    }

    /// The JSON object at `path`; `None` if the engine answers 404.
    pub(super) fn find(&self, path: &str) -> Result<Option<Value>, Error> {
        self.engine.find(path, None, self.until, &mut || self.signals.go_on())
    }
}

/// Whether this is the container that was asked for. If no container has the name `db`, an engine answers with one whose id
/// begins with `db`. An id counts from the 12 digits on that docker prints.
fn is_meant(container: &Value, name: &str) -> bool {
    let named =
        container["Name"].as_str().is_none_or(|found| found.trim_start_matches('/') == name.trim_start_matches('/'));
    named || name.len() >= 12 && container["Id"].as_str().is_some_and(|id| id.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::is_meant;
    use serde_json::json;

    #[test]
    fn an_id_that_begins_like_the_name_is_another_container() {
        let container = json!({"Id": "db1234567890abcdef", "Name": "/backup"});
        for (name, meant) in [
            ("backup", true),
            ("/backup", true),
            ("db", false),
            ("db1234", false),
            ("db1234567890", true),
            ("db1234567890abcdef", true),
            ("db1234567891", false),
        ] {
            assert_eq!(is_meant(&container, name), meant, "{name}");
        }
        // An engine that does not say is believed.
        assert!(is_meant(&json!({"State": {}}), "db"));
    }
}
