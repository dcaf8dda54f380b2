//! Faults of HTTP: heads, lengths, chunks, statuses, and compressed bodies.

use super::answer::{ANSWERS, Answer, Expected, failure, succeeds};
use super::{Fault, is_chosen};
use crate::support::{LAST_CHUNK, Step};
use std::io::Write as _;
use std::process::{Command, Stdio};

const MALFORMED: &str = "the engine broke off with a malformed answer: ";
const FIELDS: &str = "Api-Version: 1.41\r\nContent-Type: application/json\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

pub(super) fn faults() -> impl Iterator<Item = Fault> {
    let answers = ANSWERS.iter().filter(|answer| answer.status == 200 && answer.is_whole && is_chosen(answer));
    answers.flat_map(|answer| {
        let parts = Parts { answer, lines: answer.lines() };
        let kinds = [parts.heads(), parts.chunks(), parts.ends(), parts.lengths(), parts.statuses(), parts.packed()];
        kinds.into_iter().flatten()
    })
}

/// The name of a head, its bytes, and the reason of the failure, if it leads to one.
pub(super) type Head = (String, Vec<Step>, Option<&'static str>);

/// Heads before a chunked body, and what is wrong with them.
pub(super) fn heads() -> Vec<Head> {
    const LONG: &str = "header is longer than 64 KiB";
    let status = |line: &str| format!("{line}\r\n{FIELDS}{CHUNKED}\r\n");
    let field = |field: &str| format!("HTTP/1.1 200 OK\r\n{FIELDS}{field}\r\n{CHUNKED}\r\n");
    let instead = |field: &str| format!("HTTP/1.1 200 OK\r\n{FIELDS}{field}\r\n\r\n");
    let interim = |line: &str, count: usize| format!("{line}\r\n\r\n").repeat(count) + &status("HTTP/1.1 200 OK");
    let lines = |count| "X-Line: 0123\r\n".repeat(count);
    let mut heads: Vec<(String, String, Option<&str>)> = Vec::new();
    let mut add = |name: &str, head: String, wrong| heads.push((name.to_owned(), head, wrong));
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK", "HTTP/1.1 200 \u{20ac}", "HTTP/1.9 200 OK"] {
        add(&format!("status line {line:?}"), status(line), None);
    }
    for line in [
        "",
        "\0",
        "ICY 200 OK",
        "http/1.1 200 OK",
        "HTTP/2 200",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 two OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.12 200 OK",
        " HTTP/1.1 200 OK",
        "{\"status\":\"Status: Downloaded newer image\"}",
    ] {
        add(&format!("status line {line:?}"), status(line), Some("is not one of HTTP/1.x"));
    }
    add("status line of 1 MB", status(&format!("HTTP/1.1 200 {}", "x".repeat(1_000_000))), Some(LONG));
    add("header of 1 MB", field(&format!("X: {}", "y".repeat(1_000_000))), Some(LONG));
    add("name of 1 MB", field(&format!("{}: y", "X".repeat(1_000_000))), Some(LONG));
    add("header of 60 KB", field(&format!("X: {}", "y".repeat(60_000))), None);
    add("header of 10,000 lines", field(lines(10_000).trim_end()), Some(LONG));
    add("header of 1,000 lines", field(lines(1000).trim_end()), None);
    add("folded with a space", field("X: y\r\n z"), Some("is folded"));
    add("folded with a tab", field("X: y\r\n\tz"), Some("is folded"));
    add("folded with nothing", field("X: y\r\n "), Some("is folded"));
    for wrong in ["X", "X y", ": y", "X : y", "X Y: z", "\0: y", "X: \0", "X: \u{1b}[2J", "X: a\rb", "\u{e9}: y"] {
        add(&format!("header {wrong:?}"), field(wrong), Some("is malformed"));
    }
    for right in ["X:", "X:y", "X: \u{e9}", "X:\ty\t", "API-VERSION: 1.41", "Trailer: X", "Connection: keep-alive"] {
        add(&format!("header {right:?}"), field(right), None);
    }
    add("line feeds alone", status("HTTP/1.1 200 OK").replace('\r', ""), None);
    for right in ["transfer-encoding:CHUNKED", "Transfer-Encoding:  chunked  "] {
        add(right, instead(right), None);
    }
    for wrong in ["gzip, chunked", "chunked, chunked", "gzip", "x", "", "chunked\r\nTransfer-Encoding: chunked"] {
        add(
            &format!("transfer encoding {wrong:?}"),
            instead(&format!("Transfer-Encoding: {wrong}")),
            Some("is not supported"),
        );
    }
    for right in ["0", "5", "18446744073709551615"] {
        // A chunked body must not have a length.
        add(&format!("chunked and of length {right}"), field(&format!("Content-Length: {right}")), None);
    }
    for wrong in ["-1", "+5", "", "abc", "1e3", "0x10", "5 5", "5, 5", "18446744073709551616", "\u{665}"] {
        add(&format!("length {wrong:?}"), field(&format!("Content-Length: {wrong}")), Some("is not a number"));
    }
    add("two lengths", field("Content-Length: 5\r\nContent-Length: 6"), Some("contradicts an earlier one"));
    for coding in ["gzip", "x-gzip", "deflate", "br", "gzip, identity"] {
        add(
            &format!("claimed to be {coding}"),
            field(&format!("Content-Encoding: {coding}")),
            Some("was not asked for"),
        );
    }
    add("claimed to be itself", field("Content-Encoding: identity"), None);
    for interims in ["HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints\r\nLink: </x>", "HTTP/1.0 102 Processing"] {
        for count in [1, 16] {
            add(&format!("{count} times {interims:?} before"), interim(interims, count), None);
        }
        add(
            &format!("17 times {interims:?} before"),
            interim(interims, 17),
            Some("more than 16 interim (1xx) responses"),
        );
    }
    let step = |(name, head, wrong): (String, String, _)| (name, vec![Step::Write(head.into_bytes())], wrong);
    let endless = |name: &str, begin: &str, piece: &str, wrong| {
        let begin = Step::Write(begin.as_bytes().to_vec());
        (name.to_owned(), vec![begin, Step::Endless(piece.repeat(1000).into_bytes())], Some(wrong))
    };
    let mut heads: Vec<Head> = heads.into_iter().map(step).collect();
    heads.push(endless("status line without end", "HTTP/1.1 200 ", "x", LONG));
    heads.push(endless("header line without end", "HTTP/1.1 200 OK\r\nX: ", "y", LONG));
    heads.push(endless("header without end", "HTTP/1.1 200 OK\r\n", "X: y\r\n", LONG));
    heads.push(endless("1xx without end", "", "HTTP/1.1 100 \r\n\r\n", "more than 16 interim"));
    heads.push(endless("nothing but line ends", "", "\r\n", "is not one of HTTP/1.x"));
    heads.push(endless("nothing but zeros", "", "\0", LONG));
    heads
}

/// A head for a chunked body, and this body.
fn with_head(body: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 200 OK\r\n{FIELDS}{CHUNKED}\r\n");
    vec![Step::Write([head.as_bytes(), body].concat())]
}

/// The parts of an answer, from which faulty answers are made.
struct Parts {
    answer: &'static Answer,
    lines: Vec<&'static [u8]>,
}

impl Parts {
    fn fault(&self, name: &str, steps: Vec<Step>, expected: Expected) -> Fault {
        Fault::of("HTTP", self.answer, name, steps, expected)
    }

    /// A fault that must lead to a failure with this reason, or with the error that the engine may have sent before.
    fn wrong(&self, name: &str, steps: Vec<Step>, reason: &str) -> Fault {
        let mut reasons = self.answer.errors();
        if !reasons.is_empty() {
            // An error that was cut is shown as it arrived.
            reasons.push("the engine reported an error in a form not understood: ".to_owned());
        }
        reasons.push(reason.to_owned());
        self.fault(name, steps, Expected::Failure(reasons))
    }

    /// The lines of the body, without chunks.
    fn plain(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect()
    }

    /// The body in chunks, with the size of chunk `at` written by `write`.
    fn chunked(&self, at: usize, write: impl Fn(usize) -> String) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, line) in self.lines.iter().chain([&&b""[..]]).enumerate() {
            let is_last = number == self.lines.len();
            let size = if is_last { 0 } else { line.len() + 2 };
            let written = if number == at { write(size) } else { format!("{size:x}") };
            body.extend_from_slice(written.as_bytes());
            body.extend_from_slice(b"\r\n");
            if !is_last {
                body.extend_from_slice(line);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"\r\n");
        }
        body
    }

    fn body(&self) -> Vec<u8> {
        self.chunked(usize::MAX, |_| String::new())
    }

    fn heads(&self) -> Vec<Fault> {
        let faults = heads().into_iter().map(|(name, mut steps, wrong)| {
            steps.push(Step::Write(self.body()));
            let expected = wrong.map_or(self.answer.whole(), failure);
            self.fault(&name, steps, expected)
        });
        let cut = |name: &str, head: &str| {
            let steps = vec![Step::Write(head.as_bytes().to_vec())];
            self.fault(name, steps, failure("the engine broke off before it answered"))
        };
        let cuts = [
            cut("cut after 100", "HTTP/1.1 100 Continue\r\n\r\n"),
            cut("cut after 101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\n"),
            cut("nothing at all", ""),
        ];
        faults.chain(cuts).collect()
    }

    fn chunks(&self) -> Vec<Fault> {
        let last = self.lines.len();
        let mut faults = Vec::new();
        let mut numbers = vec![0, last / 2, last - 1, last];
        numbers.dedup();
        for at in numbers {
            let chunk = |name: &str, write: &dyn Fn(usize) -> String| {
                (format!("chunk {at} of {last}: {name}"), with_head(&self.chunked(at, write)))
            };
            // The number of leading zeros, and the text after the size.
            for (zeros, after) in
                [(0, ";"), (0, ";a"), (0, ";a=b"), (0, "; a = \"x;y\\\"\""), (0, " "), (0, " ;\t"), (20, ""), (900, "")]
            {
                let (name, steps) = chunk(&format!("{zeros} zeros, then {after:?}"), &|size| {
                    format!("{}{size:X}{after}", "0".repeat(zeros))
                });
                faults.push(self.fault(&name, steps, self.answer.whole()));
            }
            let (name, steps) = chunk("an extension of 900 bytes", &|size| format!("{size:x};{}", "a".repeat(900)));
            faults.push(self.fault(&name, steps, self.answer.whole()));
            let long = "x".repeat(2000);
            let bad = ["zz", "", "-5", "+5", "0x5", " 5", "5g", "5,5", "5 5", "\0", "\u{665}", ";a", "5\r5", "\"5\""];
            for size in bad.into_iter().chain([long.as_str()]) {
                let name = if size.len() > 10 { "a size of 2,000 letters" } else { &format!("size {size:?}") };
                let (name, steps) = chunk(name, &|_| size.to_owned());
                faults.push(self.wrong(&name, steps, MALFORMED));
            }
            for size in ["10000000000000000", "fffffffffffffffffffffffff"] {
                let (name, steps) = chunk(&format!("size {size}"), &|_| size.to_owned());
                faults.push(self.wrong(&name, steps, "is more than 64 bits"));
            }
            let (name, steps) = chunk("an extension of 2 KB", &|size| format!("{size:x};{}", "a".repeat(2000)));
            faults.push(self.wrong(&name, steps, "chunk size line is longer than 1 KiB"));
            for size in ["ffffffffffffffff", "7fffffffffffffff", "fffffff"] {
                let (name, steps) = chunk(&format!("size {size}"), &|_| size.to_owned());
                faults.push(self.wrong(&name, steps, "the engine broke off: the connection ended"));
            }
            if at < last {
                for by in [-3_isize, -2, -1, 2, 3] {
                    let (name, steps) =
                        chunk(&format!("size {by:+}"), &|size| format!("{:x}", size.saturating_add_signed(by)));
                    faults.push(self.wrong(&name, steps, MALFORMED));
                }
            }
        }
        // A fault at the end of a chunk's data.
        let body = String::from_utf8(self.body()).expect("UTF-8");
        let framed = |name: &str, body: String| self.wrong(name, with_head(body.as_bytes()), MALFORMED);
        faults.push(framed("no line end after a chunk", body.replacen("\r\n\r\n", "\r\n", 1)));
        faults.push(framed("a line end too many after a chunk", body.replacen("\r\n\r\n", "\r\n\r\n\r\n", 1)));
        faults.push(framed("a letter after a chunk", body.replacen("\r\n\r\n", "\r\nx\r\n", 1)));
        let returns = with_head(body.replace("\r\n", "\r").as_bytes());
        faults.push(self.wrong("carriage returns alone", returns, "the engine broke off"));
        let endless = [with_head(b""), vec![Step::Endless(b"a".repeat(1000))]].concat();
        faults.push(self.fault("a size without end", endless, failure("chunk size line is longer than 1 KiB")));
        faults
    }

    fn ends(&self) -> Vec<Fault> {
        let body = self.body();
        let open = &body[..body.len() - 2];
        let with = |more: &str| with_head(&[open, more.as_bytes()].concat());
        let lines = |count| "X-Line: 0123\r\n".repeat(count);
        let mut faults = Vec::new();
        for (name, trailer) in [
            ("a trailer", "X: y\r\n".to_owned()),
            ("1,000 trailers", lines(1000)),
            ("a folded one", "X: y\r\n z\r\n".into()),
        ] {
            faults.push(self.fault(name, with(&(trailer.clone() + "\r\n")), self.answer.whole()));
            faults.push(self.wrong(&format!("{name} and no end"), with(&trailer), "the engine broke off"));
        }
        faults.push(self.wrong("10,000 trailers", with(&(lines(10_000) + "\r\n")), "trailer is longer than 64 KiB"));
        for (name, piece) in [("trailers without end", "X: y\r\n"), ("a trailer without end", "X")] {
            let steps = [with(""), vec![Step::Endless(piece.repeat(1000).into_bytes())]].concat();
            faults.push(self.wrong(name, steps, "trailer is longer than 64 KiB"));
        }
        let more = format!("\r\nHTTP/1.1 500 No\r\n\r\n{}", r#"{"error":"too late"}"#);
        faults.push(self.fault("another answer after it", with(&more), self.answer.whole()));
        let steps = [with_head(&body), vec![Step::Endless(b"x".repeat(1000))]].concat();
        faults.push(self.fault("bytes without end after it", steps, self.answer.whole()));
        for count in [0, 1, self.lines.len() / 2, self.lines.len() - 1] {
            let body: Vec<u8> = Parts { answer: self.answer, lines: self.lines[..count].to_vec() }.body();
            let expected = self.complete(&self.lines[..count]);
            faults.push(self.fault(&format!("the last chunk after {count} lines"), with_head(&body), expected));
        }
        faults
    }

    /// The expected result of a body with these lines and a proper end.
    fn complete(&self, lines: &[&[u8]]) -> Expected {
        if succeeds(lines, &self.answer.image()) {
            return Expected::Success;
        }
        let mut reasons = self.answer.errors();
        if !reasons.is_empty() {
            // For an error line that was cut.
            reasons.push("reported an error in a form not understood".to_owned());
        }
        reasons.extend(["without saying that it succeeded", "something that is not understood"].map(str::to_owned));
        Expected::Failure(reasons)
    }

    fn lengths(&self) -> Vec<Fault> {
        let body = self.plain();
        let mut faults = Vec::new();
        let with = |version: &str, length: &str| {
            let head = format!("HTTP/{version} 200 OK\r\n{FIELDS}{length}\r\n");
            vec![Step::Write([head.as_bytes(), &body].concat())]
        };
        let length = |length: u64| format!("Content-Length: {length}\r\n");
        let whole = body.len();
        let last = whole - self.lines.last().map_or(0, |line| line.len() + 2);
        for version in ["1.0", "1.1"] {
            for short in [0, 1, whole / 2, last, last + 5, whole - 3, whole - 2, whole - 1, whole] {
                let lines: Vec<&[u8]> = body[..short].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
                let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.is_empty()).collect();
                let name = format!("HTTP/{version}, {short} of {whole} bytes by its length");
                faults.push(self.fault(&name, with(version, &length(short as u64)), self.complete(&lines)));
            }
            for long in [whole as u64 + 1, whole as u64 + 1000, u64::MAX] {
                let name = format!("HTTP/{version}, {long} of {whole} bytes by its length");
                faults.push(self.wrong(
                    &name,
                    with(version, &length(long)),
                    "the engine broke off: the connection ended",
                ));
            }
            let unframed = "has no end that could be told from a cut";
            faults.push(self.wrong(&format!("HTTP/{version} without a length"), with(version, ""), unframed));
            let identity = with(version, "Transfer-Encoding: identity\r\n");
            faults.push(self.wrong(&format!("HTTP/{version}, not encoded for transfer"), identity, unframed));
        }
        faults
    }

    fn statuses(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for status in
            [201, 202, 203, 206, 226, 300, 301, 302, 307, 400, 401, 403, 404, 418, 429, 500, 502, 503, 504, 599, 999]
        {
            let head = format!("HTTP/1.1 {status} X\r\n{FIELDS}Location: /v1.41/images/create?fromImage=x\r\n");
            let chunked = format!("{head}{CHUNKED}\r\n");
            let steps = vec![Step::Write([chunked.as_bytes(), &self.body()].concat())];
            faults.push(self.wrong(&format!("status {status} before it"), steps, &format!("HTTP status {status}")));
            let answers: [(&str, &str, &str); 4] = [
                ("JSON", "{\"message\":\"try again\"}\n", "try again"),
                ("plain text", "not today\n", "not today"),
                ("HTML", "<html><body>Bad Gateway</body></html>", "Bad Gateway"),
                ("nothing", "", "HTTP status"),
            ];
            for (what, body, reason) in answers {
                let length = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let unframed = format!("{head}\r\n{body}");
                for (framing, answer) in [("of a length", length), ("without a length", unframed)] {
                    let steps = vec![Step::Write(answer.into_bytes())];
                    faults.push(self.fault(&format!("status {status} with {what} {framing}"), steps, failure(reason)));
                }
            }
        }
        for status in [204, 304] {
            let head = format!("HTTP/1.1 {status} X\r\n{FIELDS}{CHUNKED}\r\n");
            let steps = vec![Step::Write([head.as_bytes(), &self.body()].concat())];
            faults.push(self.fault(&format!("status {status}"), steps, failure(format!("HTTP status {status}"))));
        }
        faults
    }

    /// Real gzip data, with and without the header that announces it.
    fn packed(&self) -> Vec<Fault> {
        let packed = gzip(&self.plain());
        let chunk = [format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n", LAST_CHUNK].concat();
        let printed = format!("HTTP/1.1 200 OK\r\n{FIELDS}{CHUNKED}Content-Encoding: gzip\r\n\r\n");
        let printed = vec![Step::Write([printed.as_bytes(), &chunk].concat())];
        vec![
            self.fault("gzip", printed, failure("content encoding `gzip` was not asked for")),
            self.fault("gzip that is not said", with_head(&chunk), failure("without saying that it succeeded")),
        ]
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new("/bin/gzip");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
    let mut stdin = child.stdin.take().expect("piped above");
    std::thread::scope(|scope| {
        // Dropped afterwards, which ends gzip's input.
        scope.spawn(move || stdin.write_all(bytes));
        child.wait_with_output().expect("gzip").stdout
    })
}
