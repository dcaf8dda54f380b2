//! Parses a line into an [`Event`].
//!
//! The engine reports a pull in lines, each of them a JSON object; `docker pull` without a terminal writes the same as text.
//! Both become the same events here, so that callers need not know the source.
//!
//! **Invariant:** parsing never fails. A line that is not understood becomes [`Event::Unknown`], a line with a key `error` is
//! an error however malformed it is, and an event that only reports progress costs no allocation.

use crate::wire::{Message, Wire};
use std::borrow::Cow;

/// The longest id of a layer, in bytes: a digest with its algorithm has 71. A longer text is not taken as an id.
const MAX_ID: usize = 128;

/// How much of a malformed error line is kept, in bytes: more than is ever shown.
const MAX_MALFORMED: usize = 64 << 10;

/// What the engine does with a layer, in the engine's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `Pulling fs layer`
    Queued,
    /// `Waiting`
    Waiting,
    /// `Downloading`
    Downloading,
    /// The engine waits this many seconds before it tries the layer again.
    Retrying(u32),
    /// `Verifying Checksum`
    Verifying,
    /// `Download complete`
    Downloaded,
    /// `Extracting`
    Extracting,
    /// `Pull complete`
    Complete,
    /// `Already exists`
    Cached,
}

/// The meaning of one line. Text is as the engine sent it, and must be sanitized before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// `Pulling from library/alpine`: the manifest of an image has been resolved.
    PullingFrom(Cow<'a, str>),
    /// The layer `id` is in this phase.
    Layer {
        /// As the engine writes it: the first 12 digits of the layer's digest; podman's ids are longer.
        id: Cow<'a, str>,
        /// What the engine does with the layer.
        phase: Phase,
        /// The progress of this phase.
        numbers: Numbers,
        /// The key `hideCounts`, which only the containerd image store sends.
        hide_counts: bool,
    },
    /// `Digest: sha256:…`, the text after the colon.
    Digest(Cow<'a, str>),
    /// `Status: Downloaded newer image for …`, the text after the colon.
    Status(Cow<'a, str>),
    /// `WARNING: …`, the text after the colon.
    Warning(Cow<'a, str>),
    /// The pull has failed, and this is the engine's reason.
    Error(String),
    /// The body of a refusal: `{"message": …}`.
    Refusal(Cow<'a, str>),
    /// A line of the docker CLI that says nothing about the pull.
    Aside,
    /// A line that is not understood, unchanged.
    Unknown(&'a [u8]),
}

impl Event<'_> {
    /// Whether this announces a layer: then announcements of other layers may follow at once.
    #[must_use]
    pub fn announces(&self) -> bool {
        matches!(self, Event::Layer { phase: Phase::Queued | Phase::Waiting | Phase::Cached, .. })
    }
}

/// The numbers of a phase, as far as they are numbers of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// In bytes; `None` if the engine sent none.
    pub current: Option<u64>,
    /// In bytes; `None` if the engine does not know it. Engines express this as 0, as -1, or by leaving the key out.
    pub total: Option<u64>,
    /// The bits of values that are not numbers of bytes, 0 if there are none. Kept only to notice whether they change: such
    /// a change also shows that the engine is working.
    pub(crate) odd: u64,
}

impl Numbers {
    /// No numbers.
    pub const NONE: Self = Self { current: None, total: None, odd: 0 };

    /// `current` of `total` bytes.
    #[must_use]
    pub fn of(current: u64, total: Option<u64>) -> Self {
        Self { current: Some(current), total, odd: 0 }
    }

    /// Whether the engine sent any number.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.current.is_some() || self.total.is_some() || self.odd != 0
    }
}

/// Parses one line of the engine's JSON stream, without its line end.
#[must_use]
pub fn parse(line: &[u8]) -> Event<'_> {
    // serde_json checks only the texts that it keeps. The whole line is checked here, because a recording can contain only
    // UTF-8, and a replay must understand a line exactly if the live pull did.
    let Ok(text) = std::str::from_utf8(line) else {
        return malformed(line);
    };
    // Only objects: serde would also read an array, as values without their keys.
    let Some(Ok(wire)) = text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str::<Wire<'_>>(text))
    else {
        return malformed(line);
    };
    let error = match (wire.error_detail, wire.error) {
        // podman 3 sends an empty `error` with lines that are no error.
        (None, Some(Message::Empty)) if !wire.status.is_empty() => None,
        (detail, error) => detail.or(error),
    };
    if let Some(message) = error {
        return match message {
            Message::Text(message) => Event::Error(message),
            Message::Empty | Message::Other => malformed(line),
        };
    }
    if wire.status.is_empty() {
        return if wire.message.is_empty() { Event::Unknown(line) } else { Event::Refusal(wire.message) };
    }
    match wire.detail {
        Some(detail) if !wire.id.is_empty() && wire.id.len() <= MAX_ID => match phase(&wire.status) {
            Some(phase) => {
                Event::Layer { id: wire.id, phase, numbers: detail.numbers(), hide_counts: detail.hide_counts }
            }
            None => Event::Unknown(line),
        },
        Some(_) => Event::Unknown(line),
        // The last line of podman 3.1.
        None if wire.status == "Pull complete" && !wire.id.is_empty() && wire.id.len() <= MAX_ID => {
            Event::Layer { id: wire.id, phase: Phase::Complete, numbers: Numbers::default(), hide_counts: false }
        }
        None => message(wire.status).unwrap_or(Event::Unknown(line)),
    }
}

/// Parses one line that `docker pull` writes without a terminal.
///
/// Compiled for size, as cold code is: docker's CLI writes a few lines for each layer.
#[must_use]
#[cold]
pub fn parse_cli(line: &[u8]) -> Event<'_> {
    const ERRORS: [&str; 3] = ["Error response from daemon: ", "Error: ", "error: "];
    // A recording has the replacement character where the line was not UTF-8. A replay must not understand such a line if
    // the live pull did not.
    let Some(text) = std::str::from_utf8(line).ok().filter(|text| !text.contains('\u{fffd}')) else {
        return Event::Unknown(line);
    };
    for prefix in ERRORS {
        if let Some(reason) = text.strip_prefix(prefix) {
            return Event::Error(reason.to_owned());
        }
    }
    // The whole line, because its beginning says what could not be reached.
    if ["Cannot connect to the Docker daemon", "error during connect: "].iter().any(|start| text.starts_with(start)) {
        return Event::Error(text.to_owned());
    }
    if let Some(event) = message(Cow::Borrowed(text)) {
        return event;
    }
    // `latest: Pulling from library/alpine`, `b9bf3f3b8299: Pull complete`; the last line is the reference alone.
    if let Some((id, status)) = text.split_once(": ") {
        if let Some(repository) = status.strip_prefix("Pulling from ") {
            return Event::PullingFrom(Cow::Borrowed(repository));
        }
        if let Some(phase) = phase(status)
            && !id.is_empty()
            && id.len() <= MAX_ID
            && !id.contains(' ')
        {
            return Event::Layer { id: Cow::Borrowed(id), phase, numbers: Numbers::default(), hide_counts: false };
        }
        return if text.starts_with("Using default tag: ") { Event::Aside } else { Event::Unknown(line) };
    }
    if text.contains(' ') { Event::Unknown(line) } else { Event::Aside }
}

fn phase(status: &str) -> Option<Phase> {
    Some(match status {
        "Downloading" => Phase::Downloading,
        "Extracting" => Phase::Extracting,
        "Pulling fs layer" => Phase::Queued,
        "Waiting" => Phase::Waiting,
        "Already exists" => Phase::Cached,
        "Verifying Checksum" => Phase::Verifying,
        "Download complete" => Phase::Downloaded,
        "Pull complete" => Phase::Complete,
        _ => {
            let count = status.strip_prefix("Retrying in ")?.split(' ').next()?;
            Phase::Retrying(count.parse().ok()?)
        }
    })
}

/// A line about the pull as a whole.
fn message(status: Cow<'_, str>) -> Option<Event<'_>> {
    let (kind, _) = status.split_once(' ')?;
    match kind {
        "Pulling" if status.starts_with("Pulling from ") => Some(Event::PullingFrom(after(status, "Pulling from "))),
        "Digest:" => Some(Event::Digest(after(status, "Digest: "))),
        "Status:" => Some(Event::Status(after(status, "Status: "))),
        "WARNING:" => Some(Event::Warning(after(status, "WARNING: "))),
        _ => None,
    }
}

/// `text` without the `prefix` that it has.
fn after<'a>(text: Cow<'a, str>, prefix: &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[prefix.len()..]),
        Cow::Owned(text) => Cow::Owned(text[prefix.len()..].to_owned()),
    }
}

/// The event of a line that is not JSON in UTF-8. It is an error if its object has a key `error` or `errorDetail` at the top
/// level, and otherwise unknown.
#[must_use]
#[cold]
pub fn malformed(line: &[u8]) -> Event<'_> {
    if has_error_key(line) {
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_MALFORMED)]);
        Event::Error(format!("the engine reported an error in a form not understood: {line}"))
    } else {
        Event::Unknown(line)
    }
}

/// Finds the key without a JSON parser, because the line may be cut or broken after it.
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

/// Whether the text in quotes is such a key. JSON allows many spellings, such as `"\u0065rror"`.
fn is_error(quoted: &[u8]) -> bool {
    // Parsed as text, as everywhere in the program: serde_json's reader for bytes would be additional code.
    let name = std::str::from_utf8(quoted).ok().and_then(|quoted| serde_json::from_str::<String>(quoted).ok());
    name.is_some_and(|name| name == "error" || name == "errorDetail")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: &str, phase: Phase) -> Event<'_> {
        numbers(id, phase, Numbers::NONE)
    }

    fn numbers(id: &str, phase: Phase, numbers: Numbers) -> Event<'_> {
        Event::Layer { id: Cow::Borrowed(id), phase, numbers, hide_counts: false }
    }

    #[test]
    fn every_shape_on_the_wire() {
        let check = |line: &str, expected| assert_eq!(parse(line.as_bytes()), expected, "{line}");
        // Lines of the graphdriver store.
        check(r#"{"status":"Pulling from three","id":"latest"}"#, Event::PullingFrom("three".into()));
        check(r#"{"status":"Already exists","progressDetail":{},"id":"b9b"}"#, layer("b9b", Phase::Cached));
        check(r#"{"status":"Pulling fs layer","progressDetail":{},"id":"b9b"}"#, layer("b9b", Phase::Queued));
        check(r#"{"status":"Waiting","progressDetail":{},"id":"3e1"}"#, layer("3e1", Phase::Waiting));
        check(
            r#"{"status":"Downloading","progressDetail":{"current":65117,"total":5001727},"progress":"[\u003e   ]  65.12kB/5.002MB","id":"b9b"}"#,
            numbers("b9b", Phase::Downloading, Numbers::of(65_117, Some(5_001_727))),
        );
        check(r#"{"status":"Downloading","progressDetail":{},"id":"124"}"#, layer("124", Phase::Downloading));
        check(r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"0d8"}"#, layer("0d8", Phase::Retrying(5)));
        check(r#"{"status":"Retrying in 1 second","progressDetail":{},"id":"0d8"}"#, layer("0d8", Phase::Retrying(1)));
        check(r#"{"status":"Verifying Checksum","progressDetail":{},"id":"b9b"}"#, layer("b9b", Phase::Verifying));
        let marked =
            |phase| Event::Layer { id: Cow::Borrowed("b9b"), phase, numbers: Numbers::NONE, hide_counts: true };
        check(r#"{"status":"Download complete","progressDetail":{},"id":"b9b"}"#, layer("b9b", Phase::Downloaded));
        check(
            r#"{"status":"Extracting","progressDetail":{"current":65536,"total":5001727},"progress":"…","id":"b9b"}"#,
            numbers("b9b", Phase::Extracting, Numbers::of(65_536, Some(5_001_727))),
        );
        check(r#"{"status":"Pull complete","progressDetail":{},"id":"b9b"}"#, layer("b9b", Phase::Complete));
        check(r#"{"status":"Digest: sha256:9760a0"}"#, Event::Digest("sha256:9760a0".into()));
        check(r#"{"status":"Status: Image is up to date for a"}"#, Event::Status("Image is up to date for a".into()));
        check(r#"{"status":"WARNING: mind"}"#, Event::Warning("mind".into()));
        // Lines of the containerd store.
        check(
            r#"{"status":"Download complete","progressDetail":{"hidecounts":true},"id":"b9b"}"#,
            marked(Phase::Downloaded),
        );
        check(r#"{"status":"Pull complete","progressDetail":{"hidecounts":true},"id":"b9b"}"#, marked(Phase::Complete));
        check(
            r#"{"status":"Extracting","progressDetail":{"current":1,"units":"s"},"progress":"1 s","id":"b9b"}"#,
            layer("b9b", Phase::Extracting),
        );
        check(
            r#"{"status":"Extracting","progressDetail":{"current":1,"total":9,"units":"s"},"id":"b9b"}"#,
            layer("b9b", Phase::Extracting),
        );
        // Keys in any order, escapes, keys of later versions.
        check(
            r#"{"id":"b\u0039b","new":{"a":[1]},"progressDetail":{"total":9,"new":1,"current":5},"status":"Down\u006coading"}"#,
            numbers("b9b", Phase::Downloading, Numbers::of(5, Some(9))),
        );
        // Refusals.
        check(r#"{"message":"no such image"}"#, Event::Refusal("no such image".into()));
        check(r#"{"message":""}"#, Event::Unknown(br#"{"message":""}"#));
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
            assert!(matches!(parse(line.as_bytes()), Event::Unknown(_)), "{line}");
        }
        assert!(matches!(parse(b"{\"status\":\"Status: \xff\"}"), Event::Unknown(_)));
        let id = "x".repeat(MAX_ID + 1);
        let line = format!(r#"{{"status":"Waiting","progressDetail":{{}},"id":"{id}"}}"#);
        assert!(matches!(parse(line.as_bytes()), Event::Unknown(_)));
        let line = line.replacen('x', "", 1);
        assert_eq!(parse(line.as_bytes()), layer(&id[1..], Phase::Waiting));
        for bracket in ["[", "{\"a\":", "{\"progressDetail\":["] {
            assert!(matches!(parse(bracket.repeat(100_000).as_bytes()), Event::Unknown(_)));
        }
    }

    #[test]
    fn numbers_that_are_none_are_not_known() {
        let read = |detail: &str| {
            let line = format!(r#"{{"status":"Downloading","progressDetail":{{{detail}}},"id":"a"}}"#);
            match parse(line.as_bytes()) {
                Event::Layer { id, phase: Phase::Downloading, numbers, .. } if id == "a" => numbers,
                other => panic!("{line}: {other:?}"),
            }
        };
        let check = |current: &str, total: &str, expected: (Option<u64>, Option<u64>)| {
            let numbers = read(&format!(r#""current":{current},"total":{total}"#));
            assert_eq!((numbers.current, numbers.total), expected, "{current} {total}");
            assert!(numbers.has_any());
        };
        check("0", "1", (Some(0), Some(1)));
        check("18446744073709551615", "9", (Some(u64::MAX), Some(9)));
        check("5", "0", (Some(5), None));
        check("5", "-1", (Some(5), None));
        check("5", "-9223372036854775808", (Some(5), None));
        check("5", "9223372036854775808", (Some(5), Some(1 << 63)));
        check("5", "null", (Some(5), None));
        check("-1", "5", (None, Some(5)));
        check("18446744073709551616", "5", (None, Some(5)));
        check("1.9", "5.0", (Some(1), Some(5)));
        check("1e3", "5e3", (Some(1000), Some(5000)));
        check("-0.5", "1e300", (None, None));
        check("null", "5", (None, Some(5)));
        check("\"1\"", "5", (None, Some(5)));
        check("true", "5", (None, Some(5)));
        assert_eq!(read(r#""current":{"message":"1"},"total":[1,[2]]"#), Numbers::NONE);
        // Go leaves out a count of 0; and a time is not a count.
        assert_eq!(read(r#""total":5"#).current, Some(0));
        assert_eq!(read(r#""current":5"#), Numbers::of(5, None));
        assert_eq!(read(r#""current":5,"total":9,"units":"s""#), Numbers::NONE);
        // A value that is not a number of bytes is still seen to change.
        assert_ne!(read(r#""current":-1"#), read(r#""current":-2"#));
        assert_ne!(read(r#""current":1e300"#), read(r#""current":2e300"#));
        // These are not JSON, or numbers out of range: the line is not understood, and is not an error.
        for current in ["NaN", "1e400", "01"] {
            let line = format!(r#"{{"status":"Downloading","progressDetail":{{"current":{current}}},"id":"a"}}"#);
            assert_eq!(parse(line.as_bytes()), Event::Unknown(line.as_bytes()));
        }
    }

    #[test]
    fn old_podmans_say_of_good_lines_that_there_is_no_error() {
        let check = |line: &str, expected| assert_eq!(parse(line.as_bytes()), expected, "{line}");
        check(r#"{"status":"Waiting","progressDetail":{},"id":"a","error":""}"#, layer("a", Phase::Waiting));
        check(r#"{"error":"","status":"Status: fine"}"#, Event::Status("fine".into()));
        check(r#"{"status":"Pull complete","id":"a","error":""}"#, layer("a", Phase::Complete));
        for line in [
            r#"{"status":"","error":""}"#,
            r#"{"status":"a","error":null}"#,
            r#"{"status":"a","errorDetail":""}"#,
            r#"{"status":"a","errorDetail":{}}"#,
            r#"{"status":"a","errorDetail":{"message":""},"error":""}"#,
            r#"{"status":"a","errorDetail":null,"error":""}"#,
        ] {
            assert!(matches!(parse(line.as_bytes()), Event::Error(_)), "{line}");
        }
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
        check("b9b: Pulling fs layer", layer("b9b", Phase::Queued));
        check("b9b: Waiting", layer("b9b", Phase::Waiting));
        check("b9b: Already exists", layer("b9b", Phase::Cached));
        check("b9b: Verifying Checksum", layer("b9b", Phase::Verifying));
        check("b9b: Download complete", layer("b9b", Phase::Downloaded));
        check("b9b: Pull complete", layer("b9b", Phase::Complete));
        check("b9b: Retrying in 5 seconds", layer("b9b", Phase::Retrying(5)));
        check("Digest: sha256:00", Event::Digest("sha256:00".into()));
        check("Status: Downloaded newer image for a", Event::Status("Downloaded newer image for a".into()));
        check("WARNING: mind", Event::Warning("mind".into()));
        check("docker.io/library/alpine:latest", Event::Aside);
        check("Error response from daemon: no such thing", Event::Error("no such thing".into()));
        check("error during connect: EOF", Event::Error("error during connect: EOF".into()));
        let down = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
        check(down, Event::Error(down.into()));
        check("something: new", Event::Unknown(b"something: new"));
        check("a b: Pull complete", Event::Unknown(b"a b: Pull complete"));
        check(": Pull complete", Event::Unknown(b": Pull complete"));
        check("something new", Event::Unknown(b"something new"));
        check("Status: \u{fffd}", Event::Unknown("Status: \u{fffd}".as_bytes()));
        assert_eq!(parse_cli(b"Status: \xff"), Event::Unknown(b"Status: \xff"));
    }
}
