//! A recording: the result is that of a simple reader, and what was written is read back.

use super::directory;
use crate::pull::End;
use crate::pull::failure::Failure;
use crate::recording::{self, Entry, Header, Recorder};
use crate::report::line::Method;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::path::PathBuf;
use time::OffsetDateTime;

pub fn run(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let header = match recording::header(first) {
        Ok(Some(header)) => {
            assert!(serde_json::from_slice::<IgnoredAny>(first).is_ok(), "a header that is no JSON");
            header
        }
        _ => Header { image: "a:1".into(), started: None, engine: String::new(), api: String::new() },
    };
    let mut written = Written::new(&header);
    for (number, line) in lines.enumerate() {
        written.line(number as u64 * 999, line);
        match recording::entry(line, &header) {
            Ok((at, entry)) => {
                if recording::check(line).is_ok() {
                    compare(line, at, &entry);
                }
                written.entry(at, &entry);
            }
            Err(error) => assert!(!must_be_taken(line), "refused: {error}"),
        }
    }
    written.check(&header);
}

/// Whether a reader that parses the row as any JSON finds no error.
fn must_be_taken(line: &[u8]) -> bool {
    let Ok(Value::Array(items)) = serde_json::from_slice(line) else { return false };
    let [Value::Number(_), Value::String(code), data, ..] = &*items else { return false };
    match code.as_str() {
        "r" | "w" => data.is_string(),
        // Objects in which a key may occur twice, which cannot be seen here; and `s` can contain an invalid size.
        "a" | "x" | "s" => false,
        _ => true,
    }
}

/// Compares with a reader that parses the row as any JSON.
fn compare(line: &[u8], at: u64, entry: &Entry<'_>) {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
    let Value::Array(items) = &value else { panic!("no array was taken") };
    let [Value::Number(seconds), Value::String(code), data, ..] = &**items else { panic!("no row was taken") };
    let milliseconds = (seconds.as_f64().expect("a number") * 1000.0).clamp(0.0, 366.0 * 86_400_000.0);
    #[expect(clippy::cast_precision_loss, reason = "a year of milliseconds fits")]
    let is_near = (milliseconds - at as f64).abs() < 1.001;
    assert!(is_near, "{milliseconds} became {at}");
    match (code.as_str(), entry) {
        // The fast path takes everything after the code as the line.
        ("e", Entry::Line(_)) if items.len() > 3 => {}
        ("e", Entry::Line(text)) => assert_eq!(serde_json::from_slice::<Value>(text).ok().as_ref(), Some(data)),
        ("r", Entry::Raw(text)) | ("w", Entry::Warning(text)) => assert_eq!(Some(text.as_str()), data.as_str()),
        // A row "s" with neither sizes nor room is ignored.
        ("a", Entry::Open(_) | Entry::Retry(_))
        | ("x", Entry::End(..))
        | ("s", Entry::Sizes(_) | Entry::DiskSpace(_) | Entry::Other) => {}
        (code, Entry::Other) => assert!(!["e", "r", "w", "a", "x"].contains(&code), "{code} is known"),
        (code, entry) => panic!("{code} became {entry:?}"),
    }
}

/// A recording that is being written, and what has to be read back from it.
struct Written {
    recorder: Recorder,
    expected: Vec<(u64, String)>,
}

impl Written {
    fn new(header: &Header) -> Self {
        let mut recorder = Recorder::create(&path()).expect("a recording");
        recorder.header(header).expect("a header");
        Self { recorder, expected: Vec::new() }
    }

    fn line(&mut self, at: u64, line: &[u8]) {
        // As [`Lines`](crate::pull::Lines) passes them on.
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let start = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
        let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
        let line = &line[start..end];
        self.recorder.line(at, line, false).expect("a line");
        self.expected.push((at, String::from_utf8_lossy(line).into_owned()));
    }

    fn entry(&mut self, at: u64, entry: &Entry<'_>) {
        let recorder = &mut self.recorder;
        match entry {
            Entry::Open(opening) => recorder.open(at, opening),
            Entry::Retry(retry) => recorder.retry(at, retry, Method::Api),
            Entry::Warning(warning) => recorder.warning(at, warning),
            Entry::End(ended) => recorder.end(at, &ended.end, failure(&ended.end), ended.exit.unwrap_or(1)),
            // An engine's line contains no line end.
            Entry::Line(line) if !line.contains(&b'\n') => return self.line(at, line),
            Entry::Raw(line) if !line.contains('\n') => return self.line(at, line.as_bytes()),
            Entry::Line(_) | Entry::Raw(_) | Entry::Sizes(_) | Entry::DiskSpace(_) | Entry::Other => return,
        }
        .expect("a row");
        self.expected.push((at, text(entry)));
    }

    fn check(self, header: &Header) {
        let recording = std::fs::read(path()).expect("a recording");
        let mut rows = recording.strip_suffix(b"\n").expect("whole lines").split(|&byte| byte == b'\n');
        let in_milliseconds = |time: OffsetDateTime| time.replace_millisecond(time.millisecond()).expect("what it had");
        let expected = Header { started: header.started.map(in_milliseconds), ..header.clone() };
        assert_eq!(recording::header(rows.next().expect("a header")), Ok(Some(expected)));
        for expected in self.expected {
            let row = rows.next().expect("a row");
            recording::check(row).expect("what was written is whole");
            let (at, entry) = recording::entry(row, header).expect("what was written can be read");
            assert_eq!((at, text(&entry)), expected);
        }
        assert_eq!(rows.next(), None, "one row became two");
    }
}

/// The content of an entry. An engine's line is the same whether it was JSON or not.
fn text(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Line(line) => String::from_utf8_lossy(line).into_owned(),
        Entry::Raw(text) => text.clone(),
        // The kind of a failure follows from its text.
        Entry::End(ended) => {
            format!("{:?} {:?}", ended.exit.unwrap_or(1), failure(&ended.end).map(|failure| &failure.text))
        }
        entry => format!("{entry:?}"),
    }
}

/// Why a stream ended, if it is known.
fn failure(end: &End) -> Option<&Failure> {
    match end {
        End::Cut(failure) | End::Stalled(failure) => failure.as_ref(),
        _ => None,
    }
}

fn path() -> PathBuf {
    directory().join("recording")
}
