//! The session as JSON on standard output, for programs: one object a line, with the keys of `docker compose --progress
//! json`, and as often as the log has lines.
//!
//! Separate from the report, because it needs what a line is about and not its text.
//!
//! **Invariant:** every line is one JSON object, whatever an engine or a registry sends; the last one contains the exit
//! code.

use crate::os::charset::Charset;
use crate::os::output::{Output, WritePolicy};
use crate::pull::failure::Failure;
use crate::pull::layer::{Layer, Phase};
use crate::pull::snapshot::Snapshot;
use crate::pull::{Verdict, signal_name};
use crate::report::bar;
use crate::report::line::{About, Line, Part, Topic};
use crate::report::sanitize;
use crate::report::stamp::{Stamp, rfc3339};
use crate::sink::{Closing, Sink};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;

/// Standard output as a sink.
pub(crate) struct Json {
    output: Output,
    stamp: Stamp,
    charset: Charset,
    policy: WritePolicy,
    image: String,
    /// The engine's final status.
    status: Option<String>,
}

#[derive(Default, Serialize)]
struct Row<'a> {
    time: String,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    status: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(flatten)]
    end: Option<End<'a>>,
}

/// The keys of the last object only.
#[derive(Serialize)]
struct End<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    bytes: u64,
    seconds: f64,
    layers: usize,
    exit: u8,
}

impl Json {
    pub(crate) fn new(output: Output, stamp: Stamp, charset: Charset, policy: WritePolicy) -> Self {
        Self { output, stamp, charset, policy, image: String::new(), status: None }
    }

    fn write(&mut self, row: &str, is_closing: bool) -> io::Result<()> {
        let mut line = String::new();
        if self.charset == Charset::Ascii {
            // Characters beyond ASCII occur only in strings, where JSON can escape them.
            for c in row.chars() {
                if c.is_ascii() {
                    line.push(c);
                } else {
                    let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(line, "\\u{unit:04x}"));
                }
            }
        } else {
            line.push_str(row);
        }
        line.push('\n');
        self.policy.write(&mut self.output, line.as_bytes(), is_closing)
    }
}

impl Sink for Json {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let time = rfc3339(self.stamp.time(line.at));
        let row = match line.about {
            About::Rule | About::Text => return Ok(()),
            About::Overall(snapshot) => {
                let amount = snapshot.amount();
                let is_known = amount.total > 0;
                to_string(&Row {
                    time,
                    id: &self.image,
                    status: "Working",
                    text: if snapshot.is_downloading() { "Downloading" } else { "Extracting" },
                    current: is_known.then_some(amount.done),
                    total: is_known.then_some(amount.total),
                    percent: Some(snapshot.percent()),
                    exact: is_known.then_some(amount.is_exact),
                    rate: snapshot.rate(),
                    left: snapshot.left(),
                    ..Row::default()
                })?
            }
            About::Image(topic, value) => {
                let value = sanitize::safe(value).to_string();
                match topic {
                    Topic::Name => value.clone_into(&mut self.image),
                    Topic::Status => self.status = Some(value.clone()),
                    _ => {}
                }
                let (status, text) = match topic {
                    Topic::Name => ("Working", "Pulling"),
                    Topic::Repository => ("Working", "Pulling from"),
                    Topic::Digest => ("Working", "Digest"),
                    Topic::Status => ("Working", "Status"),
                    Topic::Sizes => ("Working", "To download"),
                    Topic::Warning | Topic::Notice => ("Warning", "Warning"),
                    Topic::Retry(_) => ("Warning", "Retrying"),
                    Topic::Stuck => ("Warning", "No progress"),
                };
                let details = Some(value.as_str()).filter(|value| !value.is_empty() && topic != Topic::Name);
                to_string(&Row { time, id: &self.image, status, text, details, ..Row::default() })?
            }
            About::Restart(layer) => {
                let id = sanitize::safe(&layer.id).to_string();
                let parent_id = Some(self.image.as_str());
                to_string(&Row {
                    time,
                    id: &id,
                    parent_id,
                    status: "Warning",
                    text: "Starting again",
                    ..Row::default()
                })?
            }
            About::Layer(layer, phase) => {
                let retrying;
                let (status, text) = match phase {
                    Phase::Queued => ("Working", "Pulling fs layer"),
                    Phase::Waiting => ("Working", "Waiting"),
                    Phase::Downloading => ("Working", "Downloading"),
                    Phase::Retrying(seconds) => {
                        retrying = format!("Retrying in {seconds} seconds");
                        ("Warning", retrying.as_str())
                    }
                    Phase::Verifying => ("Working", "Verifying Checksum"),
                    Phase::Downloaded => ("Working", "Download complete"),
                    Phase::Extracting => ("Working", "Extracting"),
                    Phase::Complete => ("Done", "Pull complete"),
                    Phase::Cached => ("Done", "Already exists"),
                };
                let id = sanitize::safe(&layer.id).to_string();
                let (current, total) = bytes(layer, phase);
                let percent = match (status, current, total) {
                    ("Done", ..) => Some(100),
                    (_, Some(current), Some(total)) => Some(bar::percent(current, total)),
                    _ => None,
                };
                let parent_id = Some(self.image.as_str());
                to_string(&Row { time, id: &id, parent_id, status, text, current, total, percent, ..Row::default() })?
            }
        };
        self.write(&row, line.part == Part::Closing)
    }

    fn close(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        let Closing { snapshot, verdict, exit } = closing;
        let Snapshot { pull, at, .. } = *snapshot;
        let percent = Some(snapshot.percent());
        let (status, text, details) = match verdict {
            Verdict::Success if pull.up_to_date => ("Done", "Up to date", self.status.take()),
            Verdict::Success => ("Done", "Pulled", self.status.take()),
            Verdict::Failed(Failure { text: reason, .. }) | Verdict::Undecided(reason) => {
                ("Error", "Failed", Some(sanitize::safe(reason).to_string()))
            }
            Verdict::Interrupted(signal) => {
                ("Error", "Failed", Some(format!("interrupted by {}", signal_name(*signal))))
            }
        };
        let digest = pull.digest.as_deref().map(|digest| sanitize::safe(digest).to_string());
        // Exact in an f64 for any duration of a pull.
        #[allow(clippy::cast_precision_loss)]
        let seconds = at as f64 / 1000.0;
        let end = Some(End {
            digest: digest.as_deref(),
            bytes: pull.moved().0,
            seconds,
            layers: pull.layers.len(),
            exit: *exit,
        });
        let time = rfc3339(self.stamp.time(at));
        let row = to_string(&Row {
            time,
            id: &self.image,
            status,
            text,
            details: details.as_deref(),
            percent,
            end,
            ..Row::default()
        })?;
        self.write(&row, true)
    }
}

fn to_string(row: &Row<'_>) -> io::Result<String> {
    serde_json::to_string(row).map_err(io::Error::from)
}

/// The bytes done and the total of this phase of the layer, as far as they are known.
fn bytes(layer: &Layer, phase: Phase) -> (Option<u64>, Option<u64>) {
    match phase {
        Phase::Downloading => (Some(layer.done), layer.size),
        Phase::Extracting => layer.extracted.unzip(),
        _ => (None, None),
    }
}
