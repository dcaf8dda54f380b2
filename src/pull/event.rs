//! A line to an [`Event`].
//!
//! The engine tells of a pull in lines, a JSON object each; `docker pull` without a terminal tells the same in words.
//! Both become the same events here, so that nothing above knows which of the two spoke.
//!
//! **Invariant:** parsing never fails. What is not understood is [`Event::Unknown`], what holds a key `error` is an
//! error however malformed, and an event that only moves a bar costs no allocation.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

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
    // An array would do for serde: values without their keys.
    let Some(Ok(wire)) = text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str::<Wire<'_>>(text))
    else {
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
                let is_key =
                    line.get(at + 1..).and_then(|rest| rest.iter().find(|b| !b.is_ascii_whitespace())) == Some(&b':');
                if depth == 1 && is_key && is_error(&line[start - 1..=at]) {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether the text in quotes is such a key, of which there are many spellings: `"\u0065rror"`.
fn is_error(quoted: &[u8]) -> bool {
    serde_json::from_slice::<String>(quoted).is_ok_and(|name| name == "error" || name == "errorDetail")
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
        impl Visitor<'_> for Text {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: &str, step: Step) -> Event<'_> {
        Event::Layer { id: Cow::Borrowed(id), step }
    }

    #[test]
    fn every_shape_on_the_wire() {
        let check = |line: &str, expected| assert_eq!(parse(line.as_bytes()), expected, "{line}");
        // The graphdriver's.
        check(r#"{"status":"Pulling from three","id":"latest"}"#, Event::PullingFrom("three".into()));
        check(r#"{"status":"Already exists","progressDetail":{},"id":"b9b"}"#, layer("b9b", Step::Cached));
        check(r#"{"status":"Pulling fs layer","progressDetail":{},"id":"b9b"}"#, layer("b9b", Step::Announced));
        check(r#"{"status":"Waiting","progressDetail":{},"id":"3e1"}"#, layer("3e1", Step::Waiting));
        check(
            r#"{"status":"Downloading","progressDetail":{"current":65117,"total":5001727},"progress":"[\u003e   ]  65.12kB/5.002MB","id":"b9b"}"#,
            layer("b9b", Step::Downloading(Some((65_117, 5_001_727)))),
        );
        check(r#"{"status":"Downloading","progressDetail":{},"id":"124"}"#, layer("124", Step::Downloading(None)));
        check(r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"0d8"}"#, layer("0d8", Step::Retrying(5)));
        check(r#"{"status":"Retrying in 1 second","progressDetail":{},"id":"0d8"}"#, layer("0d8", Step::Retrying(1)));
        check(r#"{"status":"Verifying Checksum","progressDetail":{},"id":"b9b"}"#, layer("b9b", Step::Verifying));
        let downloaded = |hide_counts| layer("b9b", Step::Downloaded { hide_counts });
        check(r#"{"status":"Download complete","progressDetail":{},"id":"b9b"}"#, downloaded(false));
        check(
            r#"{"status":"Extracting","progressDetail":{"current":65536,"total":5001727},"progress":"…","id":"b9b"}"#,
            layer("b9b", Step::Extracting(Some((65_536, 5_001_727)))),
        );
        check(r#"{"status":"Pull complete","progressDetail":{},"id":"b9b"}"#, layer("b9b", Step::Complete));
        check(r#"{"status":"Digest: sha256:9760a0"}"#, Event::Digest("sha256:9760a0".into()));
        check(r#"{"status":"Status: Image is up to date for a"}"#, Event::Status("Image is up to date for a".into()));
        check(r#"{"status":"WARNING: mind"}"#, Event::Warning("mind".into()));
        // The containerd store's.
        check(r#"{"status":"Download complete","progressDetail":{"hidecounts":true},"id":"b9b"}"#, downloaded(true));
        check(
            r#"{"status":"Pull complete","progressDetail":{"hidecounts":true},"id":"b9b"}"#,
            layer("b9b", Step::Complete),
        );
        check(
            r#"{"status":"Extracting","progressDetail":{"current":1,"units":"s"},"progress":"1 s","id":"b9b"}"#,
            layer("b9b", Step::Extracting(None)),
        );
        check(
            r#"{"status":"Extracting","progressDetail":{"current":1,"total":9,"units":"s"},"id":"b9b"}"#,
            layer("b9b", Step::Extracting(None)),
        );
        // Keys in any order, escapes, keys of later versions.
        check(
            r#"{"id":"b\u0039b","new":{"a":[1]},"progressDetail":{"total":9,"new":1,"current":5},"status":"Down\u006coading"}"#,
            layer("b9b", Step::Downloading(Some((5, 9)))),
        );
        // Refusals.
        check(r#"{"message":"no such image"}"#, Event::Refusal("no such image".into()));
        check(r#"{"message":""}"#, Event::Unknown);
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        for line in [
            "",
            "{}",
            "null",
            "[]",
            "5",
            "\"error\"",
            "not JSON",
            "{\"status\":\"Downloading\"",
            r#"{"status":"Something new"}"#,
            r#"{"status":"Something new","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Downloading","progressDetail":{}}"#,
            r#"{"status":"Downloading","progressDetail":{},"id":""}"#,
            r#"{"status":"Downloading","id":"a"}"#,
            r#"{"status":"Status:"}"#,
            r#"{"status":"Status: x","progressDetail":{},"id":"a"}"#,
            r#"{"status":5,"progressDetail":{},"id":"a"}"#,
            r#"{"status":"Downloading","progressDetail":5,"id":"a"}"#,
            r#"{"status":"Downloading","progressDetail":{},"id":5}"#,
            r#"{"status":"Downloading","status":"Downloading","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Retrying in a while","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Retrying in -1 seconds","progressDetail":{},"id":"a"}"#,
            r#"{"status":"\ud800"}"#,
            r#"{"aux":{"error":"x"}}"#,
            r#"{"aux":"error"}"#,
            r#"{"status":"Status: x"} {"status":"Status: x"}"#,
            r#"{"status":"\"error\":"}"#,
            r#"["Status: x"]"#,
        ] {
            assert_eq!(parse(line.as_bytes()), Event::Unknown, "{line}");
        }
        assert_eq!(parse(b"{\"status\":\"Status: \xff\"}"), Event::Unknown);
        let id = "x".repeat(MAX_ID + 1);
        let line = format!(r#"{{"status":"Waiting","progressDetail":{{}},"id":"{id}"}}"#);
        assert_eq!(parse(line.as_bytes()), Event::Unknown);
        let line = line.replacen('x', "", 1);
        assert_eq!(parse(line.as_bytes()), layer(&id[1..], Step::Waiting));
        for bracket in ["[", "{\"a\":", "{\"progressDetail\":["] {
            assert_eq!(parse(bracket.repeat(100_000).as_bytes()), Event::Unknown);
        }
    }

    #[test]
    fn numbers_that_are_none_are_not_known() {
        let check = |current: &str, total: &str, expected| {
            let line = format!(
                r#"{{"status":"Downloading","progressDetail":{{"current":{current},"total":{total}}},"id":"a"}}"#
            );
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        };
        let unknown = || layer("a", Step::Downloading(None));
        check("0", "1", layer("a", Step::Downloading(Some((0, 1)))));
        check("18446744073709551615", "9", layer("a", Step::Downloading(Some((u64::MAX, 9)))));
        check("5", "0", unknown());
        check("-1", "5", unknown());
        check("1", "-5", unknown());
        check("18446744073709551616", "5", unknown());
        check("1.5", "5", unknown());
        check("1e3", "5", unknown());
        check("null", "5", unknown());
        check("\"1\"", "5", unknown());
        check("{\"message\":\"1\"}", "[1,[2]]", unknown());
        check("true", "5", unknown());
        // These are not JSON, or no number that fits: the line is not understood, and is no error.
        check("NaN", "5", Event::Unknown);
        check("1e400", "5", Event::Unknown);
        check("01", "5", Event::Unknown);
    }

    #[test]
    fn an_error_is_an_error_however_malformed() {
        let check = |line: &str, expected: &str| {
            assert_eq!(parse(line.as_bytes()), Event::Error(expected.to_owned()), "{line}");
        };
        check(r#"{"errorDetail":{"message":"full"},"error":"x"}"#, "full");
        check(r#"{"error":"x","errorDetail":{"message":"full"}}"#, "full");
        check(r#"{"errorDetail":{"code":401,"message":"full"},"error":"x","progressDetail":{}}"#, "full");
        check(r#"{"error":"x"}"#, "x");
        check(r#"{"errorDetail":"x"}"#, "x");
        check(r#"{"status":"Status: fine","error":"x"}"#, "x");
        check(r#"{"status":"Downloading","progressDetail":{},"id":"a","error":"x"}"#, "x");
        for line in [
            r#"{"errorDetail":7}"#,
            r#"{"errorDetail":null}"#,
            r#"{"errorDetail":true}"#,
            r#"{"errorDetail":1.5}"#,
            r#"{"errorDetail":-1}"#,
            r#"{"errorDetail":{}}"#,
            r#"{"errorDetail":{"code":1}}"#,
            r#"{"errorDetail":{"message":""}}"#,
            r#"{"errorDetail":{"message":5}}"#,
            r#"{"errorDetail":{"message":{"message":"x"}}}"#,
            r#"{"errorDetail":[{"message":"x"}]}"#,
            r#"{"error":""}"#,
            r#"{"error":null}"#,
            r#"{"error":{"message":null}}"#,
            r#"{"error":"a","error":"b"}"#,
            r#"{"error":"\ud800"}"#,
            r#"{"status":5,"\u0065rror":"x"}"#,
            r#"{"status":5,"error":"x"}"#,
            r#"{"error" : "cut"#,
            r#"{"error":"#,
            r#"{"error"  :"#,
            r#"{"status":"a\"b","errorDetail":{"mess"#,
            r#"{"a":[{"b":"}"}],"error":1e400}"#,
            r#"{"errorDetail":{"message":"a"}} trailing"#,
            r#"  {"error":}"#,
        ] {
            let expected = format!("the engine reported an error in a form not understood: {line}");
            assert_eq!(parse(line.as_bytes()), Event::Error(expected), "{line}");
        }
        assert!(matches!(parse(b"{\"error\":\"\xff\"}"), Event::Error(_)));
        let deep = format!("{{\"error\":{}", "[".repeat(100_000));
        assert!(matches!(parse(deep.as_bytes()), Event::Error(_)));
    }

    #[test]
    fn what_docker_writes_without_a_terminal() {
        let check = |line: &str, expected| assert_eq!(parse_cli(line.as_bytes()), expected, "{line}");
        check("Using default tag: latest", Event::Aside);
        check("latest: Pulling from library/alpine", Event::PullingFrom("library/alpine".into()));
        check("b9b: Pulling fs layer", layer("b9b", Step::Announced));
        check("b9b: Waiting", layer("b9b", Step::Waiting));
        check("b9b: Already exists", layer("b9b", Step::Cached));
        check("b9b: Verifying Checksum", layer("b9b", Step::Verifying));
        check("b9b: Download complete", layer("b9b", Step::Downloaded { hide_counts: false }));
        check("b9b: Pull complete", layer("b9b", Step::Complete));
        check("b9b: Retrying in 5 seconds", layer("b9b", Step::Retrying(5)));
        check("Digest: sha256:00", Event::Digest("sha256:00".into()));
        check("Status: Downloaded newer image for a", Event::Status("Downloaded newer image for a".into()));
        check("WARNING: mind", Event::Warning("mind".into()));
        check("docker.io/library/alpine:latest", Event::Aside);
        check("Error response from daemon: no such thing", Event::Error("no such thing".into()));
        check("error during connect: EOF", Event::Error("EOF".into()));
        let down = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
        check(down, Event::Error(down.into()));
        check("something: new", Event::Unknown);
        check("a b: Pull complete", Event::Unknown);
        check(": Pull complete", Event::Unknown);
        check("something new", Event::Unknown);
        check("Status: \u{fffd}", Event::Unknown);
        assert_eq!(parse_cli(b"Status: \xff"), Event::Unknown);
    }
}
