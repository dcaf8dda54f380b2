//! Bytes to lines, and a line to an [`Event`].
//!
//! The engine tells of a pull in lines, a JSON object each; `docker pull` without a terminal tells the same in words.
//! Both become the same events here, so that nothing above knows which of the two spoke.
//!
//! **Invariant:** parsing never fails. What is not understood is [`Event::Unknown`], what holds a key `error` is an
//! error however malformed, and an event that only moves a bar costs no allocation.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The longest line that is read whole, in bytes. Engines' own lines are under 1 KB; a longer one is an attack or a fault.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// What is kept of a line that was too long, in bytes: as much as the log shows of any raw line (64 KiB), less the words
/// that tell of the rest. Otherwise these would be cut off again.
const KEPT_OF_TOO_LONG: usize = (64 << 10) - 64;

/// The longest id of a layer, in bytes: a digest with its algorithm has 71. What is longer is no id.
const MAX_ID: usize = 128;

/// What one line says. Text is the engine's own and not yet made safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// `Pulling from library/alpine`: the manifest of an image has been resolved.
    PullingFrom(Cow<'a, str>),
    /// Something about the layer `id`.
    Layer { id: Cow<'a, str>, step: Step },
    /// `Digest: sha256:…`, the text after the colon.
    Digest(Cow<'a, str>),
    /// `Status: Downloaded newer image for …`, the text after the colon.
    Status(Cow<'a, str>),
    /// `WARNING: …`, the text after the colon.
    Warning(Cow<'a, str>),
    /// The engine says that the pull has failed, and why.
    Error(String),
    /// The body of a refusal: `{"message": …}`.
    Refusal(Cow<'a, str>),
    /// Said by the docker CLI for its own purposes; tells nothing about the pull.
    Aside,
    /// Not understood.
    Unknown,
}

impl Event<'_> {
    /// Whether it announces a layer, so that more of them may be about to follow.
    pub(crate) fn announces(&self) -> bool {
        matches!(self, Event::Layer { step: Step::Announced | Step::Waiting | Step::Cached, .. })
    }
}

/// What happened to a layer, in the engine's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `Pulling fs layer`
    Announced,
    /// `Waiting`
    Waiting,
    /// `Already exists`
    Cached,
    /// `Downloading`, with bytes (current, total) where it has both
    Downloading(Option<(u64, u64)>),
    /// `Retrying in N seconds`
    Retrying(u64),
    /// `Verifying Checksum`
    Verifying,
    /// `Download complete`; `hide_counts` is the mark of the containerd image store
    Downloaded { hide_counts: bool },
    /// `Extracting`, with bytes (current, total) where it has both; seconds (`units`) are no bytes
    Extracting(Option<(u64, u64)>),
    /// `Pull complete`
    Complete,
}

/// Understands one line of the engine's JSON stream, without its line end.
pub(crate) fn parse(line: &[u8]) -> Event<'_> {
    // Checked first, although serde_json would check what it keeps: a recording can hold only UTF-8, and a replay must
    // understand what the live pull understood.
    let Ok(text) = std::str::from_utf8(line) else {
        return malformed(line);
    };
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(text) else {
        return malformed(line);
    };
    if let Some(message) = wire.error_detail.or(wire.error) {
        return match message {
            Message(Some(message)) => Event::Error(message),
            Message(None) => malformed(line),
        };
    }
    if wire.status.is_empty() {
        return if wire.message.is_empty() { Event::Unknown } else { Event::Refusal(wire.message) };
    }
    match wire.detail {
        Some(detail) if !wire.id.is_empty() && wire.id.len() <= MAX_ID => match step(&wire.status, &detail) {
            Some(step) => Event::Layer { id: wire.id, step },
            None => Event::Unknown,
        },
        Some(_) => Event::Unknown,
        None => message(wire.status),
    }
}

/// Understands one line that `docker pull` writes without a terminal.
pub(crate) fn parse_cli(line: &[u8]) -> Event<'_> {
    const ERRORS: [&str; 4] = ["Error response from daemon: ", "error during connect: ", "Error: ", "error: "];
    // A recording has the replacement character where the line was not UTF-8, and must not be understood better.
    let Some(text) = std::str::from_utf8(line).ok().filter(|text| !text.contains('\u{fffd}')) else {
        return Event::Unknown;
    };
    for prefix in ERRORS {
        if let Some(reason) = text.strip_prefix(prefix) {
            return Event::Error(reason.to_owned());
        }
    }
    if text.starts_with("Cannot connect to the Docker daemon") {
        return Event::Error(text.to_owned());
    }
    match message(Cow::Borrowed(text)) {
        Event::Unknown => {}
        event => return event,
    }
    // `latest: Pulling from library/alpine`, `b9bf3f3b8299: Pull complete`; and at the end the bare reference.
    if let Some((id, status)) = text.split_once(": ") {
        if let Some(repository) = status.strip_prefix("Pulling from ") {
            return Event::PullingFrom(Cow::Borrowed(repository));
        }
        if let Some(step) = step(status, &Detail::default())
            && !id.is_empty()
            && id.len() <= MAX_ID
            && !id.contains(' ')
        {
            return Event::Layer { id: Cow::Borrowed(id), step };
        }
        return if text.starts_with("Using default tag: ") { Event::Aside } else { Event::Unknown };
    }
    if text.contains(' ') { Event::Unknown } else { Event::Aside }
}

fn step(status: &str, detail: &Detail) -> Option<Step> {
    Some(match status {
        "Downloading" => Step::Downloading(detail.bytes()),
        "Extracting" => Step::Extracting(detail.bytes()),
        "Pulling fs layer" => Step::Announced,
        "Waiting" => Step::Waiting,
        "Already exists" => Step::Cached,
        "Verifying Checksum" => Step::Verifying,
        "Download complete" => Step::Downloaded { hide_counts: detail.hide_counts },
        "Pull complete" => Step::Complete,
        _ => {
            let count = status.strip_prefix("Retrying in ")?.split(' ').next()?;
            Step::Retrying(count.parse().ok()?)
        }
    })
}

/// A line about the pull as a whole.
fn message(status: Cow<'_, str>) -> Event<'_> {
    let Some((kind, _)) = status.split_once(' ') else { return Event::Unknown };
    match kind {
        "Pulling" if status.starts_with("Pulling from ") => Event::PullingFrom(after(status, "Pulling from ")),
        "Digest:" => Event::Digest(after(status, "Digest: ")),
        "Status:" => Event::Status(after(status, "Status: ")),
        "WARNING:" => Event::Warning(after(status, "WARNING: ")),
        _ => Event::Unknown,
    }
}

/// `text` without the `prefix` that it has.
fn after<'a>(text: Cow<'a, str>, prefix: &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[prefix.len()..]),
        Cow::Owned(text) => Cow::Owned(text[prefix.len()..].to_owned()),
    }
}

/// A line that is no JSON in UTF-8. It is an error all the same where an object has a key `error` or `errorDetail` at its top.
pub(crate) fn malformed(line: &[u8]) -> Event<'_> {
    if has_error_key(line) {
        Event::Error(format!(
            "the engine reported an error in a form not understood: {}",
            String::from_utf8_lossy(line)
        ))
    } else {
        Event::Unknown
    }
}

/// Finds the key without a JSON parser, since the line may be cut or broken behind it.
fn has_error_key(line: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while at < line.len() {
        match line[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let start = at + 1;
                at = start;
                while at < line.len() && line[at] != b'"' {
                    at += 1 + usize::from(line[at] == b'\\');
                }
                let name = line.get(start..at).unwrap_or_default();
                let is_key =
                    line.get(at + 1..).and_then(|rest| rest.iter().find(|b| !b.is_ascii_whitespace())) == Some(&b':');
                if depth == 1 && is_key && (name == b"error" || name == b"errorDetail") {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// A line as the engine writes it. Keys not named here (`progress`, `aux`, …) are passed over.
#[derive(serde::Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(default, rename = "progressDetail")]
    detail: Option<Detail>,
    #[serde(default, deserialize_with = "present")]
    error: Option<Message>,
    #[serde(default, rename = "errorDetail", deserialize_with = "present")]
    error_detail: Option<Message>,
}

#[derive(serde::Deserialize, Default)]
struct Detail {
    #[serde(default)]
    current: Count,
    #[serde(default)]
    total: Count,
    #[serde(default)]
    units: Given,
    #[serde(default, rename = "hidecounts")]
    hide_counts: bool,
}

impl Detail {
    fn bytes(&self) -> Option<(u64, u64)> {
        match (self.current.0, self.total.0, self.units.0) {
            // A total of nothing is how Go writes «unknown».
            (Some(current), Some(total), false) if total > 0 => Some((current, total)),
            _ => None,
        }
    }
}

/// The message of an error, where it can be read. The key alone makes the error, whatever its value.
struct Message(Option<String>);

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Message>, D::Error> {
    deserializer.deserialize_any(Lenient).map(|value| match value {
        Value::Text(text) if !text.is_empty() => Some(Message(Some(text))),
        _ => Some(Message(None)),
    })
}

/// A number of bytes; what is none (negative, a fraction, a word) is not known.
#[derive(Default)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|value| match value {
            Value::Number(number) => Self(Some(number)),
            _ => Self(None),
        })
    }
}

/// Whether a key has a value.
#[derive(Default)]
struct Given(bool);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Any JSON value, of which only numbers, texts and the text under `message` are kept.
enum Value {
    Number(u64),
    Text(String),
    Other,
}

struct Lenient;

impl<'de> Visitor<'de> for Lenient {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut message = Value::Other;
        while let Some(key) = map.next_key::<String>()? {
            if key == "message" {
                message = map.next_value_seed(Shallow)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(message)
    }
}

/// A value in which no `message` is looked for: nesting cannot make the parser recurse.
struct Shallow;

impl<'de> serde::de::DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Cuts bytes into lines, wherever the pieces break. Line ends (`\n`, `\r\n`) are taken off, empty lines passed over.
///
/// A line of more than the limit is cut to its first 64 KiB, with words at its end that say so: memory stays bounded
/// whatever comes.
pub(crate) struct Lines {
    partial: Vec<u8>,
    /// The length of the line so far, of which `partial` holds at most the limit.
    length: usize,
    limit: usize,
    /// Empty lines are handed on too.
    keeps_empty: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { partial: Vec::new(), length: 0, limit, keeps_empty: false }
    }

    /// The same with empty lines, for a reader that counts lines.
    pub(crate) fn with_empty(limit: usize) -> Self {
        Self { keeps_empty: true, ..Self::new(limit) }
    }

    /// Takes the next bytes and hands every line that they end to `line`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            if self.length == 0 && end <= self.limit {
                emit(&bytes[..end], self.keeps_empty, line);
            } else {
                self.keep(&bytes[..end]);
                self.flush(line);
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Hands on what is left when the stream ends without a line end.
    pub(crate) fn end(&mut self, line: &mut dyn FnMut(&[u8])) {
        if self.length > 0 {
            self.flush(line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
    }

    fn flush(&mut self, line: &mut dyn FnMut(&[u8])) {
        if self.length > self.limit {
            let kept = self.limit.min(KEPT_OF_TOO_LONG);
            let kept = (0..=kept).rev().find(|&at| is_boundary(&self.partial, at)).unwrap_or(0);
            self.partial.truncate(kept);
            self.partial.extend_from_slice(format!("… (cut: a line of {} bytes)", self.length).as_bytes());
        }
        emit(&self.partial, self.keeps_empty, line);
        self.partial.clear();
        self.partial.shrink_to(KEPT_OF_TOO_LONG);
        self.length = 0;
    }
}

fn emit(mut bytes: &[u8], keeps_empty: bool, line: &mut dyn FnMut(&[u8])) {
    while let [rest @ .., b'\r'] = bytes {
        bytes = rest;
    }
    if keeps_empty || !bytes.iter().all(u8::is_ascii_whitespace) {
        line(bytes);
    }
}

/// Whether a character of UTF-8 begins (or the text ends) at `at`.
fn is_boundary(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| byte & 0xC0 != 0x80)
}
