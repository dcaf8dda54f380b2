//! A recorded answer of an engine as bytes, and the expected result if only a part of them arrives.
//!
//! **Invariant:** the expectation is computed here, from the specification and from what the engine was made to do, without
//! using the program's own code.

use crate::goldens::CASES;
use crate::support::{FIXTURES, LAST_CHUNK, answer, chunk, engine_lines, head};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;

/// The answers that were captured byte by byte, and whether the pulls succeeded.
const RAW: &[(&str, bool)] = &[
    ("dockerd-20.10.24-conn-refused", false),
    ("dockerd-20.10.24-fresh-tiny", true),
    ("dockerd-20.10.24-kill9-dockerd-midpull", false),
    ("dockerd-20.10.24-nohost", false),
    ("podman-4.3.1-fresh-three", true),
];

/// Every fixture.
pub(super) static ANSWERS: LazyLock<Vec<Answer>> = LazyLock::new(|| {
    let recorded = CASES.iter().map(|&(case, code)| {
        let recording = fs::read_to_string(format!("{FIXTURES}/{case}.jsonl")).expect("a fixture");
        Answer::parse(case.to_owned(), bytes(&recording), code == 0)
    });
    let raw = RAW.iter().map(|&(case, succeeds)| {
        let bytes = fs::read(format!("{FIXTURES}/http/{case}.raw")).expect("a fixture");
        Answer::parse(format!("http/{case}"), bytes, succeeds)
    });
    recorded.chain(raw).collect()
});

/// The bytes of the answer from which a recording was made; with several attempts those of the last one.
fn bytes(recording: &str) -> Vec<u8> {
    let rows: Vec<&str> = recording.lines().collect();
    let is_attempt = |row: &&str| row.split_once(',').is_some_and(|(_, row)| row.starts_with("\"a\","));
    let begin = rows.iter().rposition(is_attempt).unwrap_or(0);
    let lines = engine_lines(&rows[begin..].join("\n"));
    let end: Value = recording.lines().last().and_then(|row| serde_json::from_str(row).ok()).expect("a recording");
    let end = end[2]["end"].as_str().expect("how it ended");
    if let Some(status) = end.strip_prefix("refused ") {
        return answer(status.parse().expect("an HTTP status"), &(lines.concat() + "\n"));
    }
    let body = lines.iter().flat_map(chunk);
    let last = if end == "complete" { LAST_CHUNK } else { b"" };
    head().into_iter().chain(body).chain(last.iter().copied()).collect()
}

pub(super) struct Answer {
    pub(super) name: String,
    pub(super) status: u16,
    /// The end of the head.
    pub(super) head: usize,
    /// The ends of the chunks.
    pub(super) chunks: Vec<usize>,
    lines: Vec<Line>,
    /// Whether the answer itself contains its end.
    pub(super) is_whole: bool,
    pub(super) succeeds: bool,
    pub(super) bytes: Vec<u8>,
}

struct Line {
    begins: usize,
    /// The end of its text.
    ends: usize,
    /// The end of its line end.
    next: usize,
    event: Value,
}

/// How an answer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cut,
    Reset,
    Stall,
}

/// The expected result of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    /// A failure whose reason contains one of these texts.
    Failure(Vec<String>),
    /// The pull is still waiting, because an extraction without progress may take an hour.
    Waiting,
}

/// The expectation of a failure with this reason.
pub(super) fn failure(reason: impl Into<String>) -> Expected {
    Expected::Failure(vec![reason.into()])
}

impl Answer {
    fn parse(name: String, bytes: Vec<u8>, succeeds: bool) -> Self {
        let head = find(&bytes, 0, b"\r\n\r\n").expect("a head") + 4;
        let top = String::from_utf8_lossy(&bytes[..head]);
        let status = top[9..12].parse().expect("an HTTP status");
        let (mut chunks, mut lines, mut is_whole) = (Vec::new(), Vec::new(), top.contains("Content-Length: "));
        let line = |begins, next| {
            let text = bytes[begins..next].trim_ascii_end();
            Line { begins, ends: begins + text.len(), next, event: json(text) }
        };
        if top.contains("Transfer-Encoding: chunked") {
            let mut at = head;
            while at < bytes.len() {
                let begins = find(&bytes, at, b"\r\n").expect("the size of a chunk") + 2;
                let size = str::from_utf8(&bytes[at..begins - 2]).ok();
                let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).expect("the size of a chunk");
                let next = begins + size;
                if size > 0 {
                    assert_eq!(find(&bytes, begins, b"\n"), Some(next - 1), "{name}: a chunk is a line");
                    lines.push(line(begins, next));
                }
                is_whole = size == 0;
                at = next + 2;
                chunks.push(at);
            }
        } else {
            lines.push(line(head, bytes.len()));
        }
        Self { name, status, head, chunks, lines, is_whole, succeeds, bytes }
    }

    /// The engine's lines.
    pub(super) fn lines(&self) -> Vec<&[u8]> {
        self.lines.iter().map(|line| &self.bytes[line.begins..line.ends]).collect()
    }

    /// The image that the engine has after the pull.
    pub(super) fn image(&self) -> String {
        let id = self.lines.last().and_then(|line| line.event["id"].as_str());
        id.filter(|_| self.succeeds).unwrap_or_default().to_owned()
    }

    /// The errors that the engine reports in it, up to the length at which a reason may be cut.
    pub(super) fn errors(&self) -> Vec<String> {
        self.lines.iter().filter_map(|line| error(&line.event)).collect()
    }

    /// The expected result of the complete answer.
    pub(super) fn whole(&self) -> Expected {
        self.until(self.bytes.len(), Stop::Cut)
    }

    /// The expected result if the answer stops before the byte `place`.
    pub(super) fn until(&self, place: usize, stop: Stop) -> Expected {
        let broken = if stop == Stop::Stall { "nothing has moved for 1s" } else { "the engine broke off" };
        let is_over = self.is_whole && place == self.bytes.len();
        if place < self.head {
            return failure(if stop == Stop::Cut { "the engine broke off before it answered" } else { broken });
        }
        if self.status != 200 {
            // The HTTP status says that the pull failed; the reason is in the part of the body that arrived.
            return match start(String::from_utf8_lossy(&self.bytes[self.head..place]).trim_end()) {
                _ if stop != Stop::Cut && !is_over => failure(broken),
                message if message.is_empty() => failure(format!("HTTP status {}", self.status)),
                message => failure(error(&json(&self.bytes[self.head..place])).unwrap_or(message)),
            };
        }
        // A JSON object ends with its last bracket. Any other line without a line end counts only if nothing more can follow.
        let needs_end = |line: &Line| stop == Stop::Stall && !line.event.is_object();
        let is_here = |line: &&Line| place >= if needs_end(line) { line.next } else { line.ends };
        let lines: Vec<&Value> = self.lines.iter().take_while(is_here).map(|line| &line.event).collect();
        if let Some(error) = lines.iter().find_map(|line| error(line)) {
            return failure(error);
        }
        if is_over {
            assert!(self.succeeds, "{}: a pull that has failed without a reason", self.name);
            return Expected::Success;
        }
        if stop == Stop::Stall {
            return if may_extract(&lines) { Expected::Waiting } else { failure(broken) };
        }
        // A line with this key is an error, however malformed.
        let torn = self.lines.get(lines.len()).and_then(|line| self.bytes.get(line.begins..place)).unwrap_or_default();
        let torn = String::from_utf8_lossy(torn);
        let is_error = torn.contains(r#""errorDetail":"#) || torn.contains(r#""error":"#);
        failure(if is_error { "reported an error in a form not understood" } else { broken })
    }
}

/// Whether a stream with these lines and a proper end is a success; `image` is the image that the engine has.
pub(super) fn succeeds(lines: &[&[u8]], image: &str) -> bool {
    let events: Vec<Value> = lines.iter().map(|line| json(line)).collect();
    let says = |event: &Value, word: &str| event["status"].as_str().is_some_and(|status| status.starts_with(word));
    if events.iter().any(|event| event.get("error").or(event.get("errorDetail")).is_some()) {
        return false;
    }
    if events.iter().any(|event| says(event, "Status: ") || says(event, "Pulling from ")) {
        let last = events.iter().rfind(|event| !says(event, "WARNING: "));
        return last.is_some_and(|last| says(last, "Status: "));
    }
    let last = events.iter().rev().find_map(|event| event["id"].as_str());
    last.is_some_and(|id| image.starts_with(id))
}

/// Whether all layers are downloaded and their extraction shows no progress: then it may still be running.
fn may_extract(events: &[&Value]) -> bool {
    // For each layer: whether it is downloaded, is finished, has shown progress of its extraction.
    let mut layers: HashMap<&str, (bool, bool, bool)> = HashMap::new();
    for event in events {
        let (status, detail) = (event["status"].as_str().unwrap_or_default(), &event["progressDetail"]);
        if status.starts_with("Status: ") {
            return false;
        }
        let Some(id) = event["id"].as_str().filter(|_| detail.is_object()) else { continue };
        if matches!(status, "Pulling fs layer" | "Already exists") {
            layers.entry(id).or_default();
        }
        let Some((downloaded, finished, seen)) = layers.get_mut(id) else { continue };
        *downloaded |= matches!(status, "Already exists" | "Download complete" | "Extracting" | "Pull complete");
        *finished |= matches!(status, "Already exists" | "Pull complete");
        if let (Some(current), Some(total), "Extracting") =
            (detail["current"].as_u64(), detail["total"].as_u64(), status)
        {
            *seen = current < total;
        }
    }
    let is_unseen = |&(downloaded, finished, seen): &(bool, bool, bool)| downloaded && (finished || !seen);
    !layers.is_empty() && layers.values().all(is_unseen)
}

/// The error in a line, or the message of a refusal.
fn error(line: &Value) -> Option<String> {
    [&line["errorDetail"]["message"], &line["error"], &line["message"]].into_iter().find_map(Value::as_str).map(start)
}

/// The beginning of a text, up to the length at which a reason may be cut.
fn start(text: &str) -> String {
    text.chars().take_while(|c| *c != '?').take(60).collect()
}

fn json(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_default()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
}
