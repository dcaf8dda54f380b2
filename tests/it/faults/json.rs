//! Faults of JSON, in answers with correct HTTP framing.

use super::answer::{ANSWERS, Answer, Expected, failure};
use super::{Fault, is_chosen};
use crate::support::{Step, stream};
use serde_json::Value;
use std::collections::BTreeSet;

/// A depth of nesting that no parser should follow.
const DEEP: usize = 100_000;

/// Values of a wrong type. Some of them are not JSON.
const WRONG: &[&str] = &[
    "NaN",
    "Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "-1",
    "-0",
    "1.5",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "null",
    "true",
    "\"\"",
    "\"5\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
    "\"\\q\"",
    "\"open",
    "[]",
    "{}",
    "[1,\"a\",null]",
    "{\"message\":5}",
    "{\"current\":-1,\"total\":1e400}",
    "{\"current\":18446744073709551615,\"total\":18446744073709551615}",
    "{\"current\":18446744073709551616,\"total\":18446744073709551616}",
    "{\"current\":{},\"total\":[]}",
    "{\"a\":1,\"a\":2}",
    "01",
    "+1",
    "0x10",
    "'5'",
    "",
];

pub(super) fn faults() -> impl Iterator<Item = Fault> {
    let is_fit = |answer: &&Answer| answer.status == 200 && answer.is_whole && is_chosen(answer);
    ANSWERS.iter().filter(is_fit).flat_map(|answer| {
        let lines = answer.lines();
        let is_warning = |line: &&[u8]| line.starts_with(b"{\"status\":\"WARNING: ");
        let last = lines.iter().rposition(|line| !is_warning(line)).expect("a line");
        let parts = Parts { answer, lines, last };
        [parts.fields(), parts.last_line(), parts.inserted()].into_iter().flatten()
    })
}

struct Parts {
    answer: &'static Answer,
    lines: Vec<&'static [u8]>,
    /// The index of the line that decides the result.
    last: usize,
}

impl Parts {
    fn fault(&self, name: &str, lines: &[Vec<u8>], expected: Expected) -> Fault {
        Fault::of("JSON", self.answer, name, vec![Step::Write(stream(lines))], expected)
    }

    /// The lines, after `write` has replaced some of them.
    fn lines(&self, mut write: impl FnMut(usize, &[u8]) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let line = |(at, line): (usize, &&[u8])| write(at, line).unwrap_or_else(|| line.to_vec());
        self.lines.iter().enumerate().map(line).collect()
    }

    /// A wrong value in every field of every line before the one that decides. None of them may change the result.
    fn fields(&self) -> Vec<Fault> {
        let mut paths = BTreeSet::new();
        for line in &self.lines[..self.last] {
            collect(&serde_json::from_slice(line).expect("JSON"), "", &mut paths);
        }
        let mut faults = Vec::new();
        for path in &paths {
            for wrong in WRONG {
                let lines = self.lines(|at, line| replace(line, path, wrong).filter(|_| at < self.last));
                faults.push(self.fault(&format!("{path} is {wrong}"), &lines, self.answer.whole()));
            }
            for (what, deep) in [("arrays", "[".repeat(DEEP) + &"]".repeat(DEEP)), ("objects", nested())] {
                let mut is_done = false;
                let lines = self.lines(|at, line| {
                    let replaced = replace(line, path, &deep).filter(|_| at < self.last && !is_done)?;
                    is_done = true;
                    Some(replaced)
                });
                faults.push(self.fault(&format!("{path} is {DEEP} {what} deep"), &lines, self.answer.whole()));
            }
        }
        faults
    }

    /// The final status with errors in it, so that it does not count.
    fn last_line(&self) -> Vec<Fault> {
        let last = self.lines[self.last];
        let Some(rest) = last.strip_prefix(b"{\"status\":\"Status: ") else { return Vec::new() };
        let text = str::from_utf8(last).expect("UTF-8");
        let mut faults = Vec::new();
        let no = ["without saying that it succeeded", "something that is not understood"];
        let mut add = |name: &str, line: Vec<u8>, is_status: bool| {
            let lines = self.lines(|at, _| (at == self.last).then(|| line.clone()));
            let no = Expected::Failure(no.map(str::to_owned).to_vec());
            faults.push(self.fault(&format!("final {name}"), &lines, if is_status { Expected::Success } else { no }));
        };
        for wrong in WRONG {
            add(&format!("status {wrong}"), replace(last, "status", wrong).expect("a status"), false);
        }
        let with = |more: &str| format!("{},{more}}}", text.trim_end_matches('}')).into_bytes();
        for more in
            ["\"aux\":{\"a\":[1]}", "\"progress\":5", "\"message\":\"x\"", "\"progressDetail\":null", "\"x\":1e5"]
        {
            add(&format!("status and {more}"), with(more), true);
        }
        for more in [
            "\"status\":\"Status: x\"",
            "\"status\":\"Downloading\"",
            "\"id\":5",
            "\"id\":\"\\ud800\"",
            "\"id\":\"x\",\"id\":\"x\"",
            "\"message\":5",
            "\"progressDetail\":{}",
            "\"progressDetail\":5",
            "\"x\":NaN",
            "\"x\":'y'",
            "x:5",
            "",
        ] {
            add(&format!("status and {more}"), with(more), false);
        }
        add("status and what is deep", with(&format!("\"x\":{}", nested())), true);
        add("status with blanks", format!(" \t{{ {} \r}} ", &text[1..text.len() - 1]).into_bytes(), true);
        // Old engines send no line end after an object.
        add("status twice in a line", [last, last].concat(), true);
        add("status with more behind it", [last, b"x"].concat(), false);
        add("status with a zero behind it", [last, b"\0"].concat(), false);
        add("status in an array", [b"[", last, b"]"].concat(), false);
        add("status without its end", last[..last.len() - 1].to_vec(), false);
        add("status with a mark before it", [b"\xef\xbb\xbf", last].concat(), false);
        add(
            "status in UTF-16",
            text.encode_utf16().flat_map(u16::to_le_bytes).filter(|byte| *byte != b'\n').collect(),
            false,
        );
        for bytes in [&b"\xff"[..], b"\xed\xa0\x80", b"\xc0\xaf", b"\n", b"\t", b"\\ud83d"] {
            let line = [b"{\"status\":\"Status: ", bytes, rest].concat();
            add(&format!("status with {:?}", bytes.escape_ascii().to_string()), line, false);
        }
        add("status of 2 MB", [b"{\"status\":\"Status: ", "x".repeat(2_000_000).as_bytes(), rest].concat(), false);
        add("status of 500 KB", [b"{\"status\":\"Status: ", "x".repeat(500_000).as_bytes(), rest].concat(), true);
        faults
    }

    /// Lines that no engine sends, in the middle of the stream.
    fn inserted(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |name: &str, line: &[u8], expected: Expected| {
            let mut lines = self.lines(|_, _| None);
            lines.insert(self.last / 2, line.to_vec());
            faults.push(self.fault(&format!("a line {name}"), &lines, expected));
        };
        let deep = [("of arrays", "[".repeat(DEEP)), ("of objects", nested()), ("of quotes", "\"".repeat(DEEP))];
        for (name, line) in &deep {
            add(name, line.as_bytes(), self.answer.whole());
        }
        for line in
            [&b""[..], b" ", b"\0", b"\xff\xfe", b"null", b"5", b"\"x\"", b"{", b"}", b"{}", b"\xef\xbb\xbf", b"0\r"]
        {
            add(&format!("{:?}", line.escape_ascii().to_string()), line, self.answer.whole());
        }
        add("of 2 MB", "x".repeat(2_000_000).as_bytes(), self.answer.whole());
        // A line with such a key is an error, whatever its value is, and there must be some reason.
        for wrong in WRONG {
            for error in
                ["{\"error\":@}", "{\"errorDetail\":@}", "{\"errorDetail\":{\"message\":@}}", "{\"a\":[{}],\"error\":@"]
            {
                let line = error.replace('@', wrong);
                add(&line, line.as_bytes(), failure(""));
            }
        }
        let unclear =
            || Expected::Failure([vec!["in a form not understood".to_owned()], self.answer.errors()].concat());
        add("of two errors", br#"{"error":"a","error":"b"}"#, unclear());
        add("of an error that is deep", format!("{{\"errorDetail\":{}}}", nested()).as_bytes(), unclear());
        faults
    }
}

fn nested() -> String {
    "{\"a\":".repeat(DEEP) + "1" + &"}".repeat(DEEP)
}

/// The names of all fields: `progressDetail.current`.
fn collect(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}").trim_start_matches('.').to_owned();
        collect(value, &path, paths);
        paths.insert(path);
    }
}

/// The line with `wrong` as the value of that field, if it has the field.
fn replace(line: &[u8], path: &str, wrong: &str) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    *value.pointer_mut(&format!("/{}", path.replace('.', "/")))? = Value::from("@");
    Some(value.to_string().replacen("\"@\"", wrong, 1).into_bytes())
}
