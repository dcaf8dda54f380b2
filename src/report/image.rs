//! The lines about the image as a whole: the block at the top, the overall progress, another attempt, and the closing
//! block.
//!
//! Separate from the lines about layers, which follow the engine's events.
//!
//! **Invariant:** pure, like all of the report; a full bar is shown only if the pull has succeeded.

use crate::pull::snapshot::{Amount, Snapshot};
use crate::pull::{Pull, Verdict, signal_name};
use crate::report::line::{About, LINE_BYTES, Method, Opening, Part, Retry, Topic};
use crate::report::throttle::Throttle;
use crate::report::{Out, Report, WARNING, WithBar, bar, sanitize};
use std::fmt;

impl Report {
    /// The block at the top; before it the reason, if the fallback is used.
    pub(crate) fn open(&mut self, opening: &Opening, at: u64, out: Out<'_>) {
        // Allocated now, and not with the first long line.
        self.text.reserve(LINE_BYTES);
        self.throttle.moved(at);
        self.has_bytes = opening.method == Method::Api;
        let (mode, method) = match opening.method {
            Method::Api => ("enhanced mode", "Docker Socket API (detailed progress)"),
            Method::Cli => ("docker CLI", "docker pull CLI"),
        };
        if let Some(reason) = &opening.reason {
            let about = About::Image(Topic::Notice, reason);
            let line = format_args!("⚠️  {}; using the docker CLI", sanitize::safe(reason));
            self.emit(at, Part::Opening, about, out, line);
        }
        self.rule(at, Part::Opening, out);
        self.say(at, Part::Opening, out, format_args!("📦 PULLING IMAGE ({mode})"));
        self.rule(at, Part::Opening, out);
        self.image(Topic::Name, "Image: ", &opening.image, at, Part::Opening, out);
        self.say(at, Part::Opening, out, format_args!("Method: {method}"));
        self.rule(at, Part::Opening, out);
        if let Some(process) = &opening.attached {
            let warning = format!("{process} is pulling this image already: watching its transfer");
            self.warn(&warning, at, out);
        }
    }

    /// A warning of this program.
    pub(crate) fn warn(&mut self, warning: &str, at: u64, out: Out<'_>) {
        self.image(Topic::Notice, WARNING, warning, at, Part::Body, out);
    }

    /// Announces another attempt after a failed one.
    pub(crate) fn retry(&mut self, retry: &Retry, at: u64, out: Out<'_>) {
        self.throttle = Throttle::default();
        self.held.clear();
        self.moving = None;
        self.throttle.moved(at);
        // Not only from the next sample on: a state that is written now may stay for the whole wait.
        self.meter.left = None;
        let Retry { number, limit, wait, failure } = retry;
        let about = About::Image(Topic::Retry(failure.kind), &failure.text);
        let reason = sanitize::safe(&failure.text);
        let limit = limit.map(|limit| format!("/{limit}")).unwrap_or_default();
        let when = if *wait == 0 { "at once".to_owned() } else { format!("in {wait}s") };
        self.emit(at, Part::Body, about, out, format_args!("🔁 Retry {number}{limit} {when}: {reason}"));
    }

    /// The overall progress, at the time when it was due.
    pub(super) fn overall(&mut self, pull: &Pull, due: u64, out: Out<'_>) {
        if !self.has_bytes || pull.layers.is_empty() {
            return;
        }
        // A copy, because the line borrows the whole report.
        let meter = self.meter.clone();
        let snapshot = Snapshot { pull, meter: &meter, at: due };
        let percent = snapshot.percent();
        let facts = facts(&snapshot);
        let line = WithBar {
            lead: format_args!("Overall Progress: "),
            part: percent,
            whole: 100,
            cells: bar::OVERALL,
            rest: format_args!(" {percent}%{facts}"),
        };
        self.emit_bar(due, Part::Body, About::Overall(snapshot), out, &line);
    }

    /// The closing block. `registry` is named in advice.
    pub(crate) fn close(&mut self, pull: &Pull, verdict: &Verdict, registry: Option<&str>, at: u64, out: Out<'_>) {
        let closing = Part::Closing;
        self.rule(at, closing, out);
        match verdict {
            Verdict::Success => self.say(at, closing, out, format_args!("✅ PULL SUCCESSFUL")),
            Verdict::Interrupted(signal) => {
                self.say(at, closing, out, format_args!("🛑 PULL INTERRUPTED ({})", signal_name(*signal)));
            }
            // The engine is asked before this; undecided here means that nothing confirmed a success.
            Verdict::Undecided(_) => self.say(at, closing, out, format_args!("❌ PULL FAILED")),
            Verdict::Failed(failure) => {
                self.say(at, closing, out, format_args!("❌ PULL FAILED: {}", sanitize::safe(&failure.text)));
                if let Some(advice) = failure.advice(registry) {
                    self.say(at, closing, out, format_args!("💡 {}", sanitize::safe(&advice)));
                }
            }
        }
        let percent = pull.percent();
        let lead = if *verdict == Verdict::Success { "Overall Progress" } else { "Stopped at" };
        let line = WithBar {
            lead: format_args!("{lead}: "),
            part: percent,
            whole: 100,
            cells: bar::OVERALL,
            rest: format_args!(" {percent}%"),
        };
        self.emit_bar(at, closing, About::Text, out, &line);
        let layers = pull.layers.len();
        if layers > 0 {
            self.say(at, closing, out, format_args!("Layers: {}/{layers} completed", pull.finished));
        }
        let (moved, is_all) = pull.moved();
        // Also with bytes of an earlier attempt, after which everything was already present.
        if self.has_bytes && (layers > 0 || moved > 0) {
            let (bound, count, seconds) = (if is_all { "" } else { "≥" }, bar::bytes(moved), at / 1000);
            match bar::speed(moved, at).filter(|_| moved > 0) {
                Some(speed) => {
                    self.say(at, closing, out, format_args!("Downloaded: {bound}{count} in {seconds}s ({speed})"));
                }
                None => self.say(at, closing, out, format_args!("Downloaded: {bound}{count} in {seconds}s")),
            }
        }
        self.rule(at, closing, out);
    }
}

/// ` (52MB / 70MB, 5.2MB/s, 4s left)`; parts that are not known are left out.
fn facts(snapshot: &Snapshot<'_>) -> impl fmt::Display + use<> {
    let Amount { done, total, is_exact } = snapshot.amount();
    let (rate, left) = (snapshot.rate(), snapshot.left());
    fmt::from_fn(move |f| {
        if total == 0 {
            return Ok(());
        }
        let bound = if is_exact { "" } else { "≥" };
        write!(f, " ({} / {bound}{}", bar::bytes(done), bar::bytes(total))?;
        if let Some(speed) = rate.and_then(|rate| bar::speed(rate, 1000)) {
            write!(f, ", {speed}")?;
        }
        if let Some(left) = left {
            write!(f, ", {}", bar::left(left))?;
        }
        f.write_str(")")
    })
}
