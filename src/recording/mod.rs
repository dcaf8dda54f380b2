//! Recordings of a pull, written and read: JSON lines, in a format like that of asciicast.
//!
//! ```text
//! {"version":1,"image":"alpine:latest","started":"2025-11-19T10:30:15.250+05:30","engine":"20.10.24","api":"1.41"}
//! [0.000,"a",{"attempt":1,"mode":"api"}]
//! [0.026,"e",{"status":"Pulling from library/alpine","id":"latest"}]
//! [0.031,"r","a line that was not JSON"]
//! [0.900,"s",{"layers":[["b9bf3f3b8299",5001727]],"total":5001727}]
//! [15.200,"x",{"end":"complete","exit":0}]
//! ```
//!
//! The first line is the header. Every further line is a row: seconds since `started`, a code, and data.
//!
//! | code | data |
//! |---|---|
//! | `a` | an attempt begins. The first one may have `reason` (why the docker CLI is used) and `attached`; later ones have `wait`, `reason`, `kind` and `retries` |
//! | `e` | the engine's JSON line, unchanged |
//! | `r` | a line that is not JSON |
//! | `w` | a warning of this program |
//! | `s` | the sizes of the layers, or the free space for them |
//! | `x` | the end, with `reason` and `kind` if the pull failed, and `credentials` if some were sent: `true`, or `"token file"` |
//!
//! Unknown codes and keys are ignored, so that later versions can add some.
//!
//! **Invariant:** what was written is read back as the same lines at the same millisecond.

mod findings;
mod recorder;

pub(crate) use recorder::Recorder;

use crate::docker::RawFields;
use crate::pull::End;
use crate::pull::disk::DiskSpace;
use crate::pull::failure::{Failure, Kind, Sent};
use crate::pull::sizes::Sizes;
use crate::report::line::{Method, Opening, Retry};
use alm_state::parse_rfc3339;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use time::OffsetDateTime;

/// The largest time in a recording, in milliseconds: a year. Larger times are set to it: no pull takes that long, and
/// `started` plus such a time might be a date that cannot be expressed.
const MAX_AT: u64 = 366 * 24 * 3600 * 1000;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) image: String,
    /// When the pull began; `None` if the recording has no valid time.
    pub(crate) started: Option<OffsetDateTime>,
    pub(crate) engine: String,
    pub(crate) api: String,
}

/// One line of a recording.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// The first attempt begins.
    Open(Opening),
    /// An attempt failed, and another one follows.
    Retry(Retry),
    /// A JSON line of the engine.
    Line(&'a [u8]),
    /// A line of the engine that was not JSON, or a line of the docker CLI.
    Raw(String),
    Warning(String),
    /// The sizes of the layers, from the registry.
    Sizes(Sizes),
    /// The free space where the engine keeps its images was measured.
    DiskSpace(DiskSpace),
    End(Ended),
    /// A row with a code that this version does not know.
    Other,
}

/// How a recorded pull ended, as far as the recording contains it.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How the stream of the last attempt ended.
    pub(crate) end: End,
    /// The exit code of the recorded run.
    pub(crate) exit: Option<u8>,
    /// The kind of the failure, if it failed.
    pub(crate) kind: Option<Kind>,
    pub(crate) credentials: Sent,
}

/// Reads the first line of a file. `None` means that there is no header: the file is a capture of an engine's JSON lines.
pub(crate) fn header(line: &[u8]) -> Result<Option<Header>, String> {
    match std::str::from_utf8(line).ok().map(serde_json::from_str::<RawFields<'_>>) {
        Some(Ok(top)) => Ok(top.raw("version").is_some_and(|version| version != "null").then(|| Header {
            image: top.text("image"),
            started: parse_rfc3339(&top.text("started")),
            engine: top.text("engine"),
            api: top.text("api"),
        })),
        _ if line.starts_with(b"HTTP/") => {
            Err("an HTTP response with its head; only the body can be replayed (curl without -i)".into())
        }
        _ if [b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{"].iter().any(|start| line.starts_with(*start)) => {
            Err("UTF-16, as PowerShell's > writes it; convert the file to UTF-8: iconv -f UTF-16 -t UTF-8".into())
        }
        // A line that begins like an engine's line but is broken is still part of a session, so it is no error here.
        _ if line.starts_with(b"{\"") && !line.starts_with(b"{\"version\"") => Ok(None),
        _ => Err("neither the header of a recording nor an engine's JSON line".into()),
    }
}

/// Reads a line of a recording after its header. The number in the result is `at`, in milliseconds.
pub(crate) fn entry<'a>(line: &'a [u8], header: &Header) -> Result<(u64, Entry<'a>), String> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let Row { at, code, data } = match Row::quick(text) {
        Some(row) => row,
        None => serde_json::from_str::<Row<'_>>(text).map_err(|error| format!("not [seconds, code, data]: {error}"))?,
    };
    // Cut to whole milliseconds. The small addend corrects fractions that binary cannot express (1.001 * 1000 =
    // 1000.999…). The cast turns negative numbers and NaN into 0.
    #[expect(clippy::cast_sign_loss, reason = "negative times are taken as 0")]
    let at = ((at * 1000.0 + 1e-4) as u64).min(MAX_AT);
    let broken = |error: serde_json::Error| format!("data of \"{code}\": {error}");
    let entry = match &*code {
        "e" => Entry::Line(data.as_bytes()),
        "r" => Entry::Raw(serde_json::from_str(data).map_err(broken)?),
        "w" => Entry::Warning(serde_json::from_str(data).map_err(broken)?),
        "s" => findings::entry(data).map_err(|error| format!("data of \"s\": {error}"))?,
        "a" => attempt(&serde_json::from_str(data).map_err(broken)?, header),
        "x" => ending(&serde_json::from_str(data).map_err(broken)?),
        _ => Entry::Other,
    };
    Ok((at, entry))
}

/// Checks that a line is valid JSON. [`entry`] does not check this for an engine's line, to be fast.
pub(crate) fn check(line: &[u8]) -> Result<(), String> {
    std::str::from_utf8(line)
        .map_err(|error| error.to_string())
        .and_then(|line| serde_json::from_str::<IgnoredAny>(line).map_err(|error| error.to_string()))
        .map(|_| ())
        .map_err(|error| format!("not [seconds, code, data]: {error}"))
}

/// `[seconds, code, data, …]`
struct Row<'a> {
    at: f64,
    code: Cow<'a, str>,
    data: &'a str,
}

impl<'a> Row<'a> {
    /// Reads the usual form of an engine's line without parsing its JSON: it is parsed once more as an event anyway,
    /// and a replay spends most of its time here. That later parsing finds broken JSON, but not a fourth item of the
    /// row, which no version writes.
    fn quick(text: &'a str) -> Option<Self> {
        let (at, rest) = text.strip_prefix('[')?.split_once(',')?;
        let data = rest.strip_prefix("\"e\",")?.strip_suffix(']').filter(|data| data.starts_with("{\"status\":"))?;
        if at.len() > 20 || !at.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        Some(Self { at: serde_json::from_str(at).ok()?, code: Cow::Borrowed("e"), data })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Row<'de>, A::Error> {
                let missing = |at| serde::de::Error::invalid_length(at, &"three");
                let at = items.next_element()?.ok_or_else(|| missing(0))?;
                let code = items.next_element::<String>()?.ok_or_else(|| missing(1))?;
                let data = items.next_element::<&RawValue>()?.ok_or_else(|| missing(2))?;
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Row { at, code: Cow::Owned(code), data: data.get() })
            }
        }
        deserializer.deserialize_seq(Rows)
    }
}

/// Reads the data of a row `a`.
fn attempt(data: &RawFields<'_>, header: &Header) -> Entry<'static> {
    let number: u64 = data.text("attempt").parse().unwrap_or(1);
    if number > 1 {
        let failure = failure(&data.text("reason"), Kind::from_name(&data.text("kind")));
        let wait = data.text("wait").parse().unwrap_or(0);
        return Entry::Retry(Retry { number: number - 1, limit: data.text("retries").parse().ok(), wait, failure });
    }
    let given = |name| Some(data.text(name)).filter(|text| !text.is_empty());
    Entry::Open(Opening {
        image: header.image.clone(),
        method: if data.text("mode") == "cli" { Method::Cli } else { Method::Api },
        reason: given("reason"),
        attached: given("attached"),
    })
}

/// Reads the data of a row `x`.
fn ending(data: &RawFields<'_>) -> Entry<'static> {
    let kind = Kind::from_name(&data.text("kind"));
    let reason = Some(data.text("reason")).filter(|reason| !reason.is_empty()).map(|reason| failure(&reason, kind));
    let end = data.text("end");
    let (word, number) = end.split_once(' ').unwrap_or((&end, ""));
    let end = match word {
        "complete" => End::Complete,
        "refused" => End::Refused(number.parse().unwrap_or(0)),
        "stalled" => End::Stalled(reason),
        "signal" => End::Signal(number.parse().unwrap_or(0)),
        _ => End::Cut(reason),
    };
    let credentials = match &*data.text("credentials") {
        "true" => Sent::Docker,
        "token file" => Sent::TokenFile,
        _ => Sent::None,
    };
    Entry::End(Ended { end, exit: data.text("exit").parse().ok(), kind, credentials })
}

/// A recorded failure. Early versions recorded no kind; then it is found from the text.
fn failure(reason: &str, kind: Option<Kind>) -> Failure {
    kind.map_or_else(|| Failure::recorded(reason), |kind| Failure::own(kind, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_header() -> Header {
        Header { image: "a:1".into(), started: None, engine: String::new(), api: String::new() }
    }

    /// The text that `write` writes.
    fn written(write: impl FnOnce(&mut Recorder) -> std::io::Result<()>) -> String {
        let path = std::env::temp_dir().join(format!(
            "recording-test-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut recorder = Recorder::create(&path).unwrap();
        write(&mut recorder).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text
    }

    #[test]
    fn what_is_written_is_the_format() {
        let started = parse_rfc3339("2025-11-19T10:30:15.250+05:30");
        let header = Header { image: "a\"\u{1b}:1".into(), started, engine: "20.10".into(), api: "1.41".into() };
        let check = |text: String, expected: &str| assert_eq!(text, format!("{expected}\n"));
        check(
            written(|to| to.header(&header)),
            r#"{"version":1,"image":"a\"\u001b:1","started":"2025-11-19T10:30:15.250+05:30","engine":"20.10","api":"1.41"}"#,
        );
        let mut opening = Opening { image: "a:1".into(), method: Method::Api, reason: None, attached: None };
        check(written(|to| to.open(0, &opening)), r#"[0.000,"a",{"attempt":1,"mode":"api"}]"#);
        opening =
            Opening { method: Method::Cli, reason: Some("no".into()), attached: Some("process 1".into()), ..opening };
        check(
            written(|to| to.open(5, &opening)),
            r#"[0.005,"a",{"attempt":1,"mode":"cli","reason":"no","attached":"process 1"}]"#,
        );
        let failure = Failure::own(Kind::EngineGone, "off");
        let retry = Retry { number: 2, limit: Some(3), wait: 5, failure };
        check(
            written(|to| to.retry(61_001, &retry, Method::Api)),
            r#"[61.001,"a",{"attempt":3,"mode":"api","wait":5,"retries":3,"reason":"off","kind":"engine-gone"}]"#,
        );
        check(written(|to| to.line(26, br#"{"a" : 1}"#, false)), r#"[0.026,"e",{"a" : 1}]"#);
        check(written(|to| to.line(26, br#"{"a" : 1}"#, true)), r#"[0.026,"e",{"a" : 1}]"#);
        check(written(|to| to.line(31, b"not \"JSON\"", false)), r#"[0.031,"r","not \"JSON\""]"#);
        check(written(|to| to.line(31, b"{\"a\":\"\xff\"}", false)), "[0.031,\"r\",\"{\\\"a\\\":\\\"\u{fffd}\\\"}\"]");
        check(written(|to| to.warning(1, "mind\n")), r#"[0.001,"w","mind\n"]"#);
        let check_end = |end, exit, expected| check(written(|to| to.end(15_200, &end, None, exit)), expected);
        check_end(End::Complete, 0, r#"[15.200,"x",{"end":"complete","exit":0}]"#);
        check_end(End::Exited(7), 7, r#"[15.200,"x",{"end":"complete","exit":7}]"#);
        check_end(End::Cut(None), 1, r#"[15.200,"x",{"end":"cut","exit":1}]"#);
        check_end(End::Refused(404), 1, r#"[15.200,"x",{"end":"refused 404","exit":1}]"#);
        check_end(End::Stalled(None), 1, r#"[15.200,"x",{"end":"stalled","exit":1}]"#);
        check_end(End::Signal(15), 143, r#"[15.200,"x",{"end":"signal 15","exit":143}]"#);
        let mut failure = Failure::own(Kind::Login, "no \"a\"");
        check(
            written(|to| to.end(15_200, &End::Refused(500), Some(&failure), 1)),
            r#"[15.200,"x",{"end":"refused 500","reason":"no \"a\"","kind":"login","exit":1}]"#,
        );
        failure.credentials = Sent::Docker;
        check(
            written(|to| to.end(15_200, &End::Complete, Some(&failure), 1)),
            r#"[15.200,"x",{"end":"complete","reason":"no \"a\"","kind":"login","credentials":true,"exit":1}]"#,
        );
        failure.credentials = Sent::TokenFile;
        check(
            written(|to| to.end(15_200, &End::Complete, Some(&failure), 1)),
            r#"[15.200,"x",{"end":"complete","reason":"no \"a\"","kind":"login","credentials":"token file","exit":1}]"#,
        );
    }

    #[test]
    fn a_recording_is_its_owners_alone() {
        use std::fs::Permissions;
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let path = std::env::temp_dir().join(format!("recording-mode-{}", std::process::id()));
        let mode = || std::fs::metadata(&path).unwrap().mode() & 0o777;
        Recorder::create(&path).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::write(&path, "before").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        Recorder::create(&path).unwrap();
        assert_eq!((mode(), std::fs::read_to_string(&path).unwrap()), (0o600, String::new()));
        std::fs::remove_file(&path).unwrap();
        if rustix::process::geteuid().is_root() {
            let target = path.with_extension("target");
            std::fs::write(&target, "precious").unwrap();
            std::os::unix::fs::symlink(&target, &path).unwrap();
            std::os::unix::fs::lchown(&path, Some(65534), None).unwrap();
            let error = Recorder::create(&path).err().expect("refused").to_string();
            assert_eq!(error, "is a symbolic link of another user, which is not followed");
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(&target).unwrap();
        }
    }

    #[test]
    fn times_are_read_back_to_the_millisecond() {
        for at in (0..3_000_000).step_by(97).chain([0, 1, 999, 1000, 1001, 86_400_000, MAX_AT]) {
            for row in [
                format!("[{}.{:03},\"e\",{{\"status\":1}}]", at / 1000, at % 1000),
                format!("[{}.{:03} ,\"e\", {{}}]", at / 1000, at % 1000),
            ] {
                assert_eq!(entry(row.as_bytes(), &a_header()).unwrap().0, at, "{row}");
            }
        }
        let check = |time: &str, expected| {
            assert_eq!(entry(format!("[{time},\"z\",0]").as_bytes(), &a_header()).unwrap().0, expected, "{time}");
        };
        check("0", 0);
        check("-1", 0);
        check("1e3", 1_000_000);
        check("0.0104", 10);
        check("38.5549", 38_554);
        check("1e300", MAX_AT);
    }

    #[test]
    fn both_parsers_of_a_row_agree() {
        for row in [
            r#"[0.5,"e",{"status":"a"}]"#,
            r#"[12,"e",{"status":"a]","b":[1,"x"]}]"#,
            r#"[0.001,"e",{"status":"\",\"e\",{\"status\":"}]"#,
        ] {
            let quick = Row::quick(row).expect("the short form");
            let slow: Row<'_> = serde_json::from_str(row).unwrap();
            assert_eq!(
                (quick.at.to_bits(), &quick.code, quick.data),
                (slow.at.to_bits(), &slow.code, slow.data),
                "{row}"
            );
        }
        for row in [
            r#"[0.5, "e",{"status":"a"}]"#,
            r#"[-1,"e",{"status":"a"}]"#,
            r#"[1e3,"e",{"status":"a"}]"#,
            r#"["x","e",{"status":"a"}]"#,
            r#"[0.5,"z",{},"e",{"status":"a"}]"#,
            r#"[0.5,"e",{"id":"a","status":"b"}]"#,
            r#"[0.5,"e",{"status":"a"}"#,
            r#"[,"e",{"status":"a"}]"#,
        ] {
            assert!(Row::quick(row).is_none(), "{row}");
        }
    }

    #[test]
    fn a_first_line_is_a_header_a_capture_or_neither() {
        let image = |line: &str| header(line.as_bytes()).map(|header| header.map(|header| header.image));
        assert_eq!(image(r#"{"version":1,"image":"a"}"#), Ok(Some("a".into())));
        assert_eq!(image(r#"{"version":null}"#), Ok(None));
        assert_eq!(image(r#"{"version":2,"image":5}"#), Ok(Some("5".into())));
        assert_eq!(image(r#"{"status":"Pulling from a","id":"1"}"#), Ok(None));
        assert_eq!(image(r#"{"status":"cut"#), Ok(None));
        assert_eq!(image(r#"{"errorDetail":{},"error":"x"}"#), Ok(None));
        for line in [r#"{"version":1"#, "", "[]", "[0.1,\"e\",{}]", "null", "text", "HTTP/1.1 200 OK"] {
            assert!(image(line).is_err(), "{line}");
        }
    }

    #[test]
    fn entries() {
        let check = |row: &str, expected: &str| {
            let (_, entry) = entry(row.as_bytes(), &a_header()).unwrap();
            assert_eq!(format!("{entry:?}"), expected, "{row}");
        };
        check(r#"[0,"r","a\nb"]"#, r#"Raw("a\nb")"#);
        check(r#"[0,"w","mind"]"#, r#"Warning("mind")"#);
        check(r#"[0,"zz",{"a":1}]"#, "Other");
        check(r#"[0,"\u007a",{"a":1},5]"#, "Other");
        check(
            r#"[0,"a",{"mode":"cli","attempt":1}]"#,
            r#"Open(Opening { image: "a:1", method: Cli, reason: None, attached: None })"#,
        );
        check(
            r#"[0,"a",{"mode":5,"attempt":"x","new":[]}]"#,
            r#"Open(Opening { image: "a:1", method: Api, reason: None, attached: None })"#,
        );
        check(
            r#"[0,"a",{"attempt":2,"wait":5,"retries":3,"reason":"off"}]"#,
            r#"Retry(Retry { number: 1, limit: Some(3), wait: 5, failure: Failure { kind: Other, text: "off", credentials: None, is_proxy_away: false, is_remote: false } })"#,
        );
        check(
            r#"[0,"a",{"attempt":3,"reason":"off","kind":"proxy"}]"#,
            r#"Retry(Retry { number: 2, limit: None, wait: 0, failure: Failure { kind: Proxy, text: "off", credentials: None, is_proxy_away: false, is_remote: false } })"#,
        );
        let check = |row: &str, end: End, exit, kind, credentials| match entry(row.as_bytes(), &a_header()) {
            Ok((_, Entry::End(ended))) => {
                let read = (ended.end, ended.exit, ended.kind, ended.credentials);
                assert_eq!(read, (end, exit, kind, credentials), "{row}");
            }
            other => panic!("{row}: {other:?}"),
        };
        check(r#"[0,"x",{"end":"complete","exit":0}]"#, End::Complete, Some(0), None, Sent::None);
        check(r#"[0,"x",{"end":"complete"}]"#, End::Complete, None, None, Sent::None);
        check(r#"[0,"x",{"end":"complete","exit":256}]"#, End::Complete, None, None, Sent::None);
        check(r#"[0,"x",{"end":"refused 404"}]"#, End::Refused(404), None, None, Sent::None);
        check(r#"[0,"x",{"end":"refused"}]"#, End::Refused(0), None, None, Sent::None);
        check(r#"[0,"x",{"end":"stalled"}]"#, End::Stalled(None), None, None, Sent::None);
        check(r#"[0,"x",{"end":"signal 15","exit":143}]"#, End::Signal(15), Some(143), None, Sent::None);
        check(r#"[0,"x",{}]"#, End::Cut(None), None, None, Sent::None);
        let login = Some(Kind::Login);
        let row = r#"[0,"x",{"end":"complete","reason":"off","kind":"login","credentials":true}]"#;
        check(row, End::Complete, None, login, Sent::Docker);
        let row = r#"[0,"x",{"end":"complete","reason":"off","kind":"login","credentials":"token file"}]"#;
        check(row, End::Complete, None, login, Sent::TokenFile);
        check(r#"[0,"x",{"end":"complete","kind":"newer","credentials":[]}]"#, End::Complete, None, None, Sent::None);
        let cut = |kind, text: &str| End::Cut(Some(Failure::own(kind, text)));
        check(r#"[0,"x",{"end":"cut","reason":"off"}]"#, cut(Kind::Other, "off"), None, None, Sent::None);
        check(
            r#"[0,"x",{"end":"cut","reason":"off","kind":"login"}]"#,
            cut(Kind::Login, "off"),
            None,
            login,
            Sent::None,
        );
        let old = "the engine broke off: connection refused";
        let row = format!(r#"[0,"x",{{"end":"cut","reason":"{old}"}}]"#);
        check(&row, cut(Kind::EngineGone, old), None, None, Sent::None);
        for row in [
            "",
            "[",
            "[]",
            "[0]",
            "[0,\"e\"]",
            "{}",
            "5",
            "[0,5,{}]",
            "[\"0\",\"e\",{}]",
            "[0,\"e\",{}",
            "[0,\"r\",5]",
            "[0,\"x\",5]",
            "[0,\"a\",null]",
        ] {
            assert!(entry(row.as_bytes(), &a_header()).is_err(), "{row}");
        }
        assert_eq!(entry(b"[0,\"e\",\"\xff\"]", &a_header()).unwrap_err(), "not UTF-8");
        assert!(check_is_broken(r#"[0,"e",{"status":"a"]"#) && !check_is_broken(r#"[0,"e",{"status":"a"}]"#));
    }

    fn check_is_broken(row: &str) -> bool {
        super::check(row.as_bytes()).is_err()
    }
}
