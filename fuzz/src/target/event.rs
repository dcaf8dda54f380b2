//! One line of an engine: what is understood is JSON that says so, according to a simple reader.

use super::Delivery;
use crate::pull::event::{Event, malformed, parse, parse_cli};
use crate::pull::layer::Phase;
use crate::pull::{LineBuffer, split_object};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The longest text that counts as an id.
const MAX_ID: usize = 128;

pub fn run(data: &[u8]) {
    let delivery = Delivery::of(data);
    lines(&delivery);
    let line = delivery.stream;
    let _ = parse_cli(line);
    let event = parse(line);
    let text = std::str::from_utf8(line);
    if !matches!(event, Event::Unknown(_) | Event::Error(_)) {
        let is_object =
            |text: &str| text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert!(text.is_ok_and(is_object), "no object, yet {event:?}");
    }
    match text.ok().and_then(|text| serde_json::from_str::<Pairs>(text).ok()) {
        Some(Pairs(pairs)) => compare(&event, &pairs, line),
        // Not an object, or one that a simple reader cannot represent (too deep, a number too large): then only the key
        // counts.
        None if !line.windows(5).any(|word| word == b"error") && !line.contains(&b'\\') => {
            assert!(!matches!(event, Event::Error(_)), "no key says so, yet {event:?}");
        }
        None => {}
    }
}

/// The lines are the same wherever the pieces break, and none is longer than allowed.
fn lines(delivery: &Delivery<'_>) {
    const LIMIT: usize = 80;
    let cut = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut lines, mut found) = (LineBuffer::new(LIMIT), Vec::new());
        let mut keep = |line: &[u8]| {
            assert!(line.len() <= LIMIT + 64 && !line.contains(&b'\n') && !line.ends_with(b"\r"), "{line:?}");
            // If a line arrived in one piece, its reader splits the objects in it.
            let mut rest = line;
            while let Some((object, more)) = split_object(rest) {
                found.push(object.to_vec());
                rest = more;
            }
            found.extend((!rest.is_empty()).then(|| rest.to_vec()));
        };
        pieces.for_each(|piece| lines.feed(piece, &mut keep));
        lines.end(&mut keep);
        found
    };
    let whole = cut(&mut [delivery.stream].into_iter());
    assert_eq!(cut(&mut delivery.pieces(usize::from).map(|(_, piece)| piece)), whole);
}

/// The keys of an object and their values, one by one and in their order.
pub(super) struct Pairs(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn compare(event: &Event<'_>, pairs: &[(String, Value)], line: &[u8]) {
    if has_failed(pairs) {
        assert!(matches!(event, Event::Error(_)), "an error was missed: {event:?}");
    }
    match naive(pairs) {
        // A `Value` does not show that a message is there twice, once not as a string.
        Some(Seen::Other(error)) if error.starts_with("Error(") && *event == malformed(line) => {}
        // Nor that a number is there twice.
        Some(Seen::Layer { .. }) if has_count_twice(line) => {}
        Some(expected) => assert_eq!(Seen::of(event), expected),
        // Numbers that no engine writes in this form are read nevertheless.
        None if matches!(event, Event::Layer { .. }) => {}
        None => assert_eq!(*event, malformed(line)),
    }
}

fn has_count_twice(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let is_twice = |name: &&str| text.matches(&format!("\"{name}\"")).count() > 1;
    text.contains('\\') || ["current", "total", "units", "hidecounts"].iter().any(is_twice)
}

/// Whether the engine reports that the pull has failed. An empty error beside a status is none: podman 3 writes it on
/// good lines.
pub(super) fn has_failed(pairs: &[(String, Value)]) -> bool {
    let has_status =
        pairs.iter().any(|(key, value)| key == "status" && value.as_str().is_some_and(|text| !text.is_empty()));
    pairs.iter().any(|(key, value)| key == "errorDetail" || (key == "error" && !(has_status && value == "")))
}

/// What the line says; `None` if it is not in an engine's form.
pub(super) fn naive(pairs: &[(String, Value)]) -> Option<Seen> {
    // A key that is there twice cannot be relied on.
    let get = |name: &str| {
        let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = found.next();
        if found.next().is_some() { Err(()) } else { Ok(first) }
    };
    let text = |name: &str| match get(name) {
        Ok(None) => Some(""),
        Ok(Some(value)) => value.as_str(),
        Err(()) => None,
    };
    let (status, id, message) = (text("status")?, text("id")?, text("message")?);
    let (error, detail) = (get("error").ok()?, get("errorDetail").ok()?);
    let progress = get("progressDetail").ok()?.filter(|value| !value.is_null());
    let layer = match progress {
        Some(progress) => Some(layer(id, status, progress).ok()?),
        None => None,
    };
    let other = |event: Event<'_>| Some(Seen::of(&event));

    if let Some(value) = detail.or(error.filter(|error| status.is_empty() || *error != "")) {
        let reason = value.as_str().or_else(|| value.get("message")?.as_str());
        return other(Event::Error(reason.filter(|reason| !reason.is_empty())?.to_owned()));
    }
    if status.is_empty() {
        return if message.is_empty() { Some(Seen::Unknown) } else { other(Event::Refusal(message.to_owned().into())) };
    }
    let is_id = (1..=MAX_ID).contains(&id.len());
    let rest = |prefix| status.strip_prefix(prefix).map(|rest| rest.to_owned().into());
    match layer {
        Some(Some(layer)) if is_id => Some(layer),
        Some(_) => Some(Seen::Unknown),
        // The last event of podman 3.1.
        None if status == "Pull complete" && is_id => {
            Some(Seen::Layer { id: id.to_owned(), phase: Phase::Complete, hide_counts: false, bytes: (None, None) })
        }
        None => rest("Pulling from ")
            .map(Event::PullingFrom)
            .or_else(|| rest("Digest: ").map(Event::Digest))
            .or_else(|| rest("Status: ").map(Event::Status))
            .or_else(|| rest("WARNING: ").map(Event::Warning))
            .map_or(Some(Seen::Unknown), other),
    }
}

/// The part of an event that a simple reader sees, too: the numbers without their notation, a line without its text.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Layer { id: String, phase: Phase, hide_counts: bool, bytes: (Option<u64>, Option<u64>) },
    Unknown,
    Other(String),
}

impl Seen {
    pub(super) fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Layer { id, phase, numbers, hide_counts } => Self::Layer {
                id: id.to_string(),
                phase: *phase,
                hide_counts: *hide_counts,
                bytes: (numbers.current, numbers.total),
            },
            Event::Unknown(_) => Self::Unknown,
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// The phase of a layer, the mark and the bytes; an error if the details are not in an engine's form.
fn layer(id: &str, status: &str, progress: &Value) -> Result<Option<Seen>, ()> {
    let progress = progress.as_object().ok_or(())?;
    let hide_counts = progress.get("hidecounts").map_or(Some(false), Value::as_bool).ok_or(())?;
    let number = |name| match progress.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(()),
    };
    let total = number("total")?.filter(|&total| total > 0);
    // Go omits a 0.
    let current = number("current")?.or(total.map(|_| 0));
    let bytes = if progress.contains_key("units") { (None, None) } else { (current, total) };
    let phase = match status {
        "Downloading" => Phase::Downloading,
        "Extracting" => Phase::Extracting,
        "Pulling fs layer" => Phase::Queued,
        "Waiting" => Phase::Waiting,
        "Already exists" => Phase::Cached,
        "Verifying Checksum" => Phase::Verifying,
        "Download complete" => Phase::Downloaded,
        "Pull complete" => Phase::Complete,
        _ => match status.strip_prefix("Retrying in ").and_then(|rest| rest.split(' ').next()?.parse().ok()) {
            Some(seconds) => Phase::Retrying(seconds),
            None => return Ok(None),
        },
    };
    Ok(Some(Seen::Layer { id: id.to_owned(), phase, hide_counts, bytes }))
}
