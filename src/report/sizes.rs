//! The lines about the layers' sizes from the registry: how much has to be downloaded, and whether it fits.
//!
//! Separate from the lines about what the engine reports.
//!
//! **Invariant:** pure, like all of the report; each of the two lines is shown once at most.

use crate::pull::Pull;
use crate::pull::disk::SpaceCheck;
use crate::pull::sizes::ToFetch;
use crate::report::line::{Part, Topic};
use crate::report::{Out, Report, WARNING, bar};
use std::fmt::Write as _;

/// Which of the lines were shown.
#[derive(Default)]
pub(crate) struct Shown {
    /// The sizes are known, and are shown after the lines that name the layers.
    is_due: bool,
    is_tight: bool,
}

impl Report {
    /// Handles the layers' sizes.
    pub(crate) fn sizes(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        self.shown.is_due = true;
        self.emit_sizes(pull, at, out);
    }

    /// Emits the line, unless lines that name layers are still held back.
    pub(super) fn emit_sizes(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        if !self.shown.is_due || !self.held.is_empty() {
            return;
        }
        let Some(ToFetch { bytes, layers, cached }) = pull.to_fetch() else { return };
        self.shown.is_due = false;
        let word = if layers == 1 { "layer" } else { "layers" };
        let mut text = format!("{} in {layers} {word}", bar::bytes(bytes));
        if cached > 0 {
            let _ = write!(text, " ({cached} cached)");
        }
        self.image(Topic::Sizes, "📏 To download: ", &text, at, Part::Body, out);
    }

    /// Handles a check of the free space. Returns why the pull cannot continue, if it cannot.
    pub(crate) fn space(&mut self, check: SpaceCheck, at: u64, out: Out<'_>) -> Option<String> {
        match check {
            SpaceCheck::Fits => None,
            SpaceCheck::Tight { to_fetch, available } => {
                if !std::mem::replace(&mut self.shown.is_tight, true) {
                    let (bytes, available) = (bar::bytes(to_fetch), bar::bytes(available));
                    let text = format!(
                        "{bytes} to download and {available} free where the engine keeps its images: unpacked they may not fit"
                    );
                    self.image(Topic::Notice, WARNING, &text, at, Part::Body, out);
                }
                None
            }
            SpaceCheck::Full { need, free } => Some(format!(
                "no space left on device for this image: it needs at least {} more where the engine keeps its images, and {} are free",
                bar::bytes(need),
                bar::bytes(free)
            )),
        }
    }
}
