//! What an engine is asked beside a pull.
//!
//! **Invariant:** no question decides a pull by having no answer: what is not known is none, and soon enough.

use crate::engine::Engine;
use crate::reference::{Reference, percent_encode};
use crate::signals::Signals;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An engine, and the signals that end the waiting.
pub(crate) struct Questions<'a> {
    engine: &'a Engine,
    signals: &'a Signals,
}

impl<'a> Questions<'a> {
    pub(crate) fn new(engine: &'a Engine, signals: &'a Signals) -> Self {
        Self { engine, signals }
    }

    /// The id of a local image, without its algorithm.
    pub(crate) fn image_id(&self, reference: &Reference) -> Option<String> {
        let image = self.ask(&format!("/images/{}/json", percent_encode(&reference.local())))?;
        Some(image["Id"].as_str()?.trim_start_matches("sha256:").to_owned())
    }

    /// Whether images are kept in the containerd store.
    pub(crate) fn has_containerd_store(&self) -> bool {
        self.ask("/info").is_some_and(|info| info["DriverStatus"].to_string().contains("io.containerd.snapshotter"))
    }

    /// The directory of the images, and the bytes free there.
    pub(crate) fn room(&self) -> Option<(PathBuf, u64)> {
        let root = PathBuf::from(self.ask("/info")?["DockerRootDir"].as_str()?);
        let disk = rustix::fs::statvfs(&root).ok()?;
        Some((root, disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let answer = self.engine.get(path, &[], Instant::now() + LIMIT, &mut || self.signals.came().is_none()).ok()?;
        if answer.status == 200 { serde_json::from_slice(&answer.body).ok() } else { None }
    }
}
