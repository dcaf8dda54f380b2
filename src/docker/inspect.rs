//! What an engine is asked beside a pull.
//!
//! **Invariant:** no question decides a pull by having no answer: what is not known is none, and soon enough.

use crate::docker::engine::Engine;
use crate::docker::reference::{Reference, percent_encode};
use crate::os::signals::Signals;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An engine, and the signals that end the waiting.
pub(crate) struct Inspector<'a> {
    engine: &'a Engine,
    signals: &'a Signals,
}

/// The engine has given no answer, or none that is understood.
#[derive(Debug)]
pub(crate) struct NoAnswer;

impl<'a> Inspector<'a> {
    pub(crate) fn new(engine: &'a Engine, signals: &'a Signals) -> Self {
        Self { engine, signals }
    }

    /// The id of a local image, without its algorithm; none where there is no such image.
    pub(crate) fn image_id(&self, reference: &Reference) -> Result<Option<String>, NoAnswer> {
        let Some(image) = self.ask(&format!("/images/{}/json", percent_encode(&reference.local())))? else {
            return Ok(None);
        };
        Ok(Some(image["Id"].as_str().ok_or(NoAnswer)?.trim_start_matches("sha256:").to_owned()))
    }

    /// Whether images are kept in the containerd store.
    pub(crate) fn has_containerd_store(&self) -> bool {
        let info = self.ask("/info").ok().flatten();
        info.is_some_and(|info| info["DriverStatus"].to_string().contains("io.containerd.snapshotter"))
    }

    /// The directory of the images, and the bytes free there.
    pub(crate) fn room(&self) -> Option<(PathBuf, u64)> {
        let root = PathBuf::from(self.ask("/info").ok()??["DockerRootDir"].as_str()?);
        let disk = rustix::fs::statvfs(&root).ok()?;
        Some((root, disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// What the engine has at `path`; none where it has nothing there.
    fn ask(&self, path: &str) -> Result<Option<Value>, NoAnswer> {
        let found = self.engine.find(path, Instant::now() + LIMIT, &mut || self.signals.came().is_none());
        found.map_err(|_| NoAnswer)
    }
}
