//! One line of an engine: what is understood is JSON that says so, by a naive reading.

use super::Delivery;
use crate::pull::LineBuffer;
use crate::pull::event::{Event, Step, malformed, parse, parse_cli};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The longest id that is one.
const MAX_ID: usize = 128;

pub fn run(data: &[u8]) {
    let delivery = Delivery::of(data);
    lines(&delivery);
    let line = delivery.stream;
    let _ = parse_cli(line);
    let event = parse(line);
    let text = std::str::from_utf8(line);
    if !matches!(event, Event::Unknown | Event::Error(_)) {
        let is_object =
            |text: &str| text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert!(text.is_ok_and(is_object), "no object, yet {event:?}");
    }
    match text.ok().and_then(|text| serde_json::from_str::<Pairs>(text).ok()) {
        Some(Pairs(pairs)) => compare(&event, &pairs, line),
        // No object, or one that a naive reader cannot hold (too deep, a number too large): the key alone decides.
        None if !line.windows(5).any(|word| word == b"error") && !line.contains(&b'\\') => {
            assert!(!matches!(event, Event::Error(_)), "no key says so, yet {event:?}");
        }
        None => {}
    }
}

/// Lines are the same wherever the pieces break, and none is longer than allowed.
fn lines(delivery: &Delivery<'_>) {
    const LIMIT: usize = 80;
    let cut = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut lines, mut found) = (LineBuffer::new(LIMIT), Vec::new());
        let mut keep = |line: &[u8]| {
            assert!(line.len() <= LIMIT + 64 && !line.contains(&b'\n') && !line.ends_with(b"\r"), "{line:?}");
            found.push(line.to_vec());
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
        // A message that is there twice, once as no text, is not to be seen in a `Value`.
        Some(Event::Error(_)) if *event == malformed(line) => {}
        // Nor is a count that is there twice.
        Some(Event::Layer { .. }) if *event == malformed(line) && has_count_twice(line) => {}
        Some(expected) => assert_eq!(*event, expected),
        None => assert_eq!(*event, malformed(line)),
    }
}

fn has_count_twice(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let is_twice = |name: &&str| text.matches(&format!("\"{name}\"")).count() > 1;
    text.contains('\\') || ["current", "total", "units", "hidecounts"].iter().any(is_twice)
}

/// Whether the engine says that the pull has failed.
pub(super) fn has_failed(pairs: &[(String, Value)]) -> bool {
    pairs.iter().any(|(key, _)| key == "error" || key == "errorDetail")
}

/// What the line says; nothing where it is not as an engine would write it.
pub(super) fn naive(pairs: &[(String, Value)]) -> Option<Event<'static>> {
    // A key that is there twice is nothing that can be relied on.
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
    let step = match progress {
        Some(progress) => Some(step(status, progress).ok()?),
        None => None,
    };

    if let Some(value) = detail.or(error) {
        let reason = value.as_str().or_else(|| value.get("message")?.as_str());
        return reason.filter(|reason| !reason.is_empty()).map(|reason| Event::Error(reason.to_owned()));
    }
    if status.is_empty() {
        return Some(if message.is_empty() { Event::Unknown } else { Event::Refusal(message.to_owned().into()) });
    }
    let rest = |prefix| status.strip_prefix(prefix).map(|rest| rest.to_owned().into());
    Some(match step {
        Some(Some(step)) if (1..=MAX_ID).contains(&id.len()) => Event::Layer { id: id.to_owned().into(), step },
        Some(_) => Event::Unknown,
        None => rest("Pulling from ")
            .map(Event::PullingFrom)
            .or_else(|| rest("Digest: ").map(Event::Digest))
            .or_else(|| rest("Status: ").map(Event::Status))
            .or_else(|| rest("WARNING: ").map(Event::Warning))
            .unwrap_or(Event::Unknown),
    })
}

/// The step of a layer, if it is one; an error where its details are not as an engine would write them.
fn step(status: &str, progress: &Value) -> Result<Option<Step>, ()> {
    let progress = progress.as_object().ok_or(())?;
    let hide_counts = progress.get("hidecounts").map_or(Some(false), Value::as_bool).ok_or(())?;
    let number = |name| progress.get(name).and_then(Value::as_u64);
    let bytes = number("current").zip(number("total"));
    let bytes = bytes.filter(|&(_, total)| total > 0 && !progress.contains_key("units"));
    Ok(Some(match status {
        "Downloading" => Step::Downloading(bytes),
        "Extracting" => Step::Extracting(bytes),
        "Pulling fs layer" => Step::Announced,
        "Waiting" => Step::Waiting,
        "Already exists" => Step::Cached,
        "Verifying Checksum" => Step::Verifying,
        "Download complete" => Step::Downloaded { hide_counts },
        "Pull complete" => Step::Complete,
        _ => match status.strip_prefix("Retrying in ").and_then(|rest| rest.split(' ').next()?.parse().ok()) {
            Some(seconds) => Step::Retrying(seconds),
            None => return Ok(None),
        },
    }))
}
