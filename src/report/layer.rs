//! The lines about one layer: queued, downloading, extracting, complete.
//!
//! Separate from the rest of the report, because each phase of a layer has its own form of line and its own throttle.
//!
//! **Invariant:** a bar never goes back, unless a line has said that the layer starts again.

use crate::pull::layer::{Change, Layer, Phase};
use crate::pull::{Pull, Update};
use crate::report::line::{About, Part};
use crate::report::{Out, Report, WithBar, bar, sanitize};
use std::fmt::{self, Arguments};

impl Report {
    /// Emits the lines for a change of a layer.
    pub(super) fn layer_event(&mut self, pull: &Pull, index: usize, change: Change, at: u64, out: Out<'_>) {
        let layer = &pull.layers[index];
        if change != Change::None && layer.is_fetched() {
            self.moving = Some(index);
        }
        match (change, layer.phase) {
            (Change::Silent, Phase::Downloading) => self.throttle.downloading(index, at),
            (Change::Silent, Phase::Complete) => self.complete(pull, index, change, at, out),
            (Change::None | Change::Moved | Change::Silent, _) | (_, Phase::Waiting) => {}
            (Change::Restarted, _) => {
                self.throttle.begin_phase(index, None);
                let line = format_args!("🔁 Layer {}: starts again", sanitize::safe(&layer.id));
                self.emit(at, Part::Body, About::Restart(layer), out, line);
                self.download(layer, index, at, out);
            }
            (_, Phase::Queued) => self.hold(index, None, at),
            (_, Phase::Cached) if self.held.is_empty() && self.throttle.is_announced(index) => {
                self.cached(pull, index, pull.finished, at, out);
            }
            (_, Phase::Cached) => self.hold(index, Some(pull.finished), at),
            (_, Phase::Downloading) => self.download(layer, index, at, out),
            (_, phase @ Phase::Retrying(seconds)) => {
                self.layer(layer, phase, at, out, format_args!(": retrying in {seconds}s"));
            }
            (_, phase @ Phase::Verifying) => {
                self.end_download(layer, index, at, out);
                self.layer(layer, phase, at, out, format_args!(": Verifying checksum..."));
            }
            (_, phase @ Phase::Downloaded) => {
                self.end_download(layer, index, at, out);
                self.layer(layer, phase, at, out, format_args!(": Download complete"));
            }
            (Change::Grew, Phase::Extracting) => self.extraction(layer, index, at, out),
            (_, phase @ Phase::Extracting) => {
                self.throttle.begin_phase(index, Some(at));
                self.layer(layer, phase, at, out, format_args!(": Extracting..."));
            }
            (_, Phase::Complete) => self.complete(pull, index, change, at, out),
        }
    }

    /// Emits the line for a layer that is complete because the pull has succeeded, although the engine never said so.
    pub(crate) fn settled(&mut self, pull: &Pull, update: &Update<'_>, at: u64, out: Out<'_>) {
        if let Update::Layer(layer, change) = update {
            self.complete(pull, *layer, *change, at, out);
        }
    }

    fn hold(&mut self, layer: usize, finished: Option<usize>, at: u64) {
        self.throttle.hold(at);
        self.held.push((layer, finished));
    }

    /// Emits the lines that were held back, `queued` ones first.
    pub(super) fn release(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        self.throttle.release();
        let held = std::mem::take(&mut self.held);
        for &(layer, _) in &held {
            if self.throttle.announce(layer) {
                let total = pull.layers.len();
                let rest = format_args!(" queued (total: {total} layers)");
                self.layer(&pull.layers[layer], Phase::Queued, at, out, rest);
            }
        }
        for (layer, finished) in held {
            if let Some(finished) = finished {
                self.cached(pull, layer, finished, at, out);
            }
        }
        self.emit_sizes(pull, at, out);
    }

    fn cached(&mut self, pull: &Pull, layer: usize, finished: usize, at: u64, out: Out<'_>) {
        let rest = format_args!(": Already cached ({finished}/{})", pull.layers.len());
        self.layer(&pull.layers[layer], Phase::Cached, at, out, rest);
    }

    /// If an extraction showed a bar, it ends with a full one. `change` is silent for a layer that was present, and counted,
    /// before it was extracted.
    fn complete(&mut self, pull: &Pull, index: usize, change: Change, at: u64, out: Out<'_>) {
        let layer = &pull.layers[index];
        if layer.extracted.is_some() && self.throttle.bars(index) > 0 {
            self.extraction_bar(layer, index, (1, 1), at, out);
        }
        if change == Change::Silent {
            return;
        }
        let began = self.throttle.began(index);
        let size = layer.size.or_else(|| (layer.done > 0).then_some(layer.done));
        let details = fmt::from_fn(|f| {
            let Some(size) = size else { return Ok(()) };
            write!(f, ", {}", bar::bytes(size))?;
            began.map_or(Ok(()), |began| write!(f, " in {}s", at.saturating_sub(began) / 1000))
        });
        let rest = format_args!(": Complete ({}/{}){details}", pull.finished, pull.layers.len());
        self.layer(layer, Phase::Complete, at, out, rest);
    }

    fn download(&mut self, layer: &Layer, index: usize, at: u64, out: Out<'_>) {
        self.throttle.downloading(index, at);
        if self.throttle.is_due(index, at) {
            self.download_bar(layer, index, layer.done, at, out);
        }
    }

    /// If a download showed more than one bar, a full bar is shown before the line that ends it.
    fn end_download(&mut self, layer: &Layer, index: usize, at: u64, out: Out<'_>) {
        if let Some(size) = layer.size
            && self.throttle.bars(index) > 1
        {
            self.download_bar(layer, index, size, at, out);
        }
        self.throttle.begin_phase(index, None);
    }

    /// The progress of a download: with a bar if the size is known.
    fn download_bar(&mut self, layer: &Layer, index: usize, done: u64, at: u64, out: Out<'_>) {
        let size = layer.size.unwrap_or(0);
        let percent = bar::percent(done, size);
        if !self.throttle.note_bar(index, at, (percent, bar::shown(done), size)) {
            return;
        }
        if layer.size.is_none() {
            self.layer(layer, Phase::Downloading, at, out, format_args!(": {}", bar::bytes(done)));
            return;
        }
        let rest = format_args!(" {percent}% ({} / {})", bar::bytes(done), bar::bytes(size));
        self.layer_bar(layer, Phase::Downloading, at, out, (done, size), rest);
    }

    fn extraction(&mut self, layer: &Layer, index: usize, at: u64, out: Out<'_>) {
        if let Some(numbers) = layer.extracted
            && self.throttle.is_due(index, at)
        {
            self.extraction_bar(layer, index, numbers, at, out);
        }
    }

    fn extraction_bar(&mut self, layer: &Layer, index: usize, (done, whole): (u64, u64), at: u64, out: Out<'_>) {
        let percent = bar::percent(done, whole);
        if !self.throttle.note_bar(index, at, (percent, 0, 0)) {
            return;
        }
        self.layer_bar(layer, Phase::Extracting, at, out, (done, whole), format_args!(" {percent}%"));
    }

    /// Emits a line about a layer: sign, name, and then `rest`.
    fn layer(&mut self, layer: &Layer, phase: Phase, at: u64, out: Out<'_>, rest: Arguments<'_>) {
        let about = About::Layer(layer, phase);
        let lead = format_args!("{} Layer {}{rest}", sign(phase), sanitize::safe(&layer.id));
        self.emit(at, Part::Body, about, out, lead);
    }

    /// Emits a line about a layer with the bar of its phase.
    fn layer_bar(
        &mut self,
        layer: &Layer,
        phase: Phase,
        at: u64,
        out: Out<'_>,
        (done, whole): (u64, u64),
        rest: Arguments<'_>,
    ) {
        let word = if phase == Phase::Extracting { "Extracting " } else { "" };
        let lead = format_args!("{} Layer {}: {word}", sign(phase), sanitize::safe(&layer.id));
        let about = About::Layer(layer, phase);
        self.emit_bar(at, Part::Body, about, out, &WithBar { lead, part: done, whole, cells: bar::LAYER, rest });
    }
}

/// The sign with which a line about a layer begins.
fn sign(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued | Phase::Waiting => "📋",
        Phase::Downloading => "⬇️ ",
        Phase::Retrying(_) => "🔁",
        Phase::Verifying => "🔍",
        Phase::Downloaded | Phase::Complete => "✅",
        Phase::Extracting => "📂",
        Phase::Cached => "💾",
    }
}
