//! An HTTP/1.1 response as a push state machine, and the bytes of a request. Separate from the socket, because where a
//! response ends decides whether a pull has succeeded, and without a socket every split of a real capture can be
//! tested.
//!
//! **Invariant:** `is_complete` is true only if the peer itself marked the end of the body; a cut connection never
//! looks complete, wherever it was cut. Between two calls at most one partial line is kept, never the body.

use std::fmt;
use std::mem;

/// Bytes of all heads of a response together, and again of its trailers. Real ones have less than 1 KiB; the limit only
/// stops a peer that never ends them.
const HEAD_LIMIT: usize = 64 * 1024;
/// Bytes of a chunk's size line: a u64 needs 16 digits, the rest is for leading zeros and extensions, which nobody
/// sends.
const SIZE_LINE_LIMIT: usize = 1024;
/// Bytes: the line end after a chunk's data is CR LF, or LF alone.
const LINE_END_LIMIT: usize = 2;
/// Docker sends no 1xx responses; a proxy in front of it may send one or two.
const INTERIM_LIMIT: u8 = 16;
const CHUNK_END: &str = "chunk does not end where its size says";
/// How many characters of an invalid value an error repeats.
const SHOWN: usize = 60;

/// The head of the final response: its status and the two headers that this program reads.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) api_version: Option<String>,
    pub(crate) server: Option<String>,
}

/// Nothing depends on which error it is, so there is one variant for each form of sentence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    /// Which part of the response it is, its text, and what is wrong with it.
    Text(&'static str, String, &'static str),
    Framing(&'static str),
}

impl Error {
    fn text(what: &'static str, text: &[u8], wrong: &'static str) -> Self {
        let end = if text.len() > SHOWN { "..." } else { "" };
        let shown = text[..text.len().min(SHOWN)].escape_ascii();
        Self::Text(what, format!("{shown}{end}"), wrong)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(what, text, wrong) => write!(f, "{what} `{text}` {wrong}"),
            Self::Framing(wrong) => f.write_str(wrong),
        }
    }
}

impl std::error::Error for Error {}

/// What is known of the head so far.
#[derive(Debug, Default)]
struct Fields {
    head: Head,
    length: Option<u64>,
    /// `None` if there is no Transfer-Encoding.
    chunked: Option<bool>,
}

#[derive(Debug)]
enum State {
    StatusLine,
    Header(Fields),
    /// The bytes left of a body with a Content-Length; in the next variant, of a chunk.
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Unframed,
    Complete,
    Failed(Error),
}

#[derive(Debug)]
pub(crate) struct Response {
    state: State,
    head: Option<Head>,
    /// The partial line of a head, a chunk size, a line end or a trailer.
    line: Vec<u8>,
    /// How many more bytes the present part may have.
    room: usize,
    interim: u8,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self { state: State::StatusLine, head: None, line: Vec::new(), room: HEAD_LIMIT, interim: 0 }
    }

    /// Parses the next bytes from the socket, and passes every piece of the decoded body to `body` at once. What
    /// follows the end of the body is ignored. After an error every later call returns the same error.
    pub(crate) fn feed(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.advance(bytes, body).inspect_err(|error| self.state = State::Failed(error.clone()))
    }

    /// The final (not 1xx) head, once it is complete.
    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether the peer marked the end of the body: last chunk with trailers and empty line, Content-Length reached, or
    /// a status without a body.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Whether the body ends only with the connection, so that a cut cannot be noticed.
    pub(crate) fn is_unframed(&self) -> bool {
        matches!(self.state, State::Unframed)
    }

    fn advance(&mut self, mut bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Length(left) | State::Chunk(left) => {
                    let size = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    let (piece, rest) = bytes.split_at(size);
                    bytes = rest;
                    *left -= size as u64;
                    match self.state {
                        State::Length(0) => self.state = State::Complete,
                        State::Chunk(0) => self.enter(State::ChunkEnd, LINE_END_LIMIT),
                        _ => {}
                    }
                    body(piece);
                }
                State::Unframed => body(mem::take(&mut bytes)),
                State::Complete | State::Failed(_) => return Ok(()),
                _ => {
                    if self.take_line(&mut bytes)? {
                        let mut line = mem::take(&mut self.line);
                        self.end_line(line.strip_suffix(b"\r").unwrap_or(&line))?;
                        // Kept, so that the next chunk's size needs no allocation.
                        line.clear();
                        self.line = line;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves bytes up to a line feed into `line`. Returns true once the line is complete; the line feed is removed.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        let Some(room) = self.room.checked_sub(part.len()) else {
            return Err(Error::Framing(match self.state {
                State::ChunkSize => "chunk size line is longer than 1 KiB",
                State::ChunkEnd => CHUNK_END,
                State::Trailer => "trailer is longer than 64 KiB",
                _ => "header is longer than 64 KiB",
            }));
        };
        self.room = room;
        self.line.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
        *bytes = rest;
        Ok(end.is_some())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), Error> {
        match &mut self.state {
            State::StatusLine => {
                let mut fields = Fields::default();
                fields.head.status = status(line)?;
                self.state = State::Header(fields);
            }
            State::Header(fields) if !line.is_empty() => fields.add(line)?,
            State::Header(fields) => {
                let fields = mem::take(fields);
                self.end_head(fields)?;
            }
            State::ChunkSize => match chunk_size(line)? {
                0 => self.enter(State::Trailer, HEAD_LIMIT),
                left => self.state = State::Chunk(left),
            },
            State::ChunkEnd if !line.is_empty() => return Err(Error::Framing(CHUNK_END)),
            State::ChunkEnd => self.enter(State::ChunkSize, SIZE_LINE_LIMIT),
            State::Trailer if line.is_empty() => self.state = State::Complete,
            // Other trailers are skipped; the other states have no lines.
            _ => {}
        }
        Ok(())
    }

    fn end_head(&mut self, fields: Fields) -> Result<(), Error> {
        if fields.head.status < 200 {
            self.interim += 1;
            if self.interim > INTERIM_LIMIT {
                return Err(Error::Framing("more than 16 interim (1xx) responses"));
            }
            // The limit is not reset: it counts all heads together.
            self.state = State::StatusLine;
            return Ok(());
        }
        // If both are present, Transfer-Encoding is the one that counts (RFC 9112, 6.3).
        let state = match (fields.head.status, fields.chunked, fields.length) {
            (204 | 304, ..) => State::Complete,
            (_, Some(true), _) => State::ChunkSize,
            (_, _, Some(0)) => State::Complete,
            (_, _, Some(left)) => State::Length(left),
            (_, _, None) => State::Unframed,
        };
        self.enter(state, SIZE_LINE_LIMIT);
        self.head = Some(fields.head);
        Ok(())
    }

    fn enter(&mut self, state: State, room: usize) {
        self.state = state;
        self.room = room;
    }
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Error> {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(Error::text("header line", line, "is folded"));
        }
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        // A control character must not be passed on: the API version becomes part of the next request's first line.
        let clean = |value: &&[u8]| !value.iter().any(|&b| b.is_ascii_control() && b != b'\t');
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        let value = value.map(<[u8]>::trim_ascii).filter(clean);
        let Some(value) = value.filter(|_| is_name) else {
            return Err(Error::text("header line", line, "is malformed"));
        };
        let text = || Some(String::from_utf8_lossy(value).into_owned());
        match name.to_ascii_lowercase().as_slice() {
            b"api-version" => self.head.api_version = text(),
            b"server" => self.head.server = text(),
            b"content-length" => {
                let wrong = |wrong| Error::text("content length", value, wrong);
                let length = number(value, 10).ok_or_else(|| wrong("is not a number"))?;
                if self.length.is_some_and(|earlier| earlier != length) {
                    return Err(wrong("contradicts an earlier one"));
                }
                self.length = Some(length);
            }
            b"transfer-encoding" => {
                let chunked = value.eq_ignore_ascii_case(b"chunked");
                let known = chunked || value.eq_ignore_ascii_case(b"identity");
                if self.chunked.is_some() || !known {
                    return Err(Error::text("transfer encoding", value, "is not supported"));
                }
                self.chunked = Some(chunked);
            }
            b"content-encoding" if !value.eq_ignore_ascii_case(b"identity") => {
                return Err(Error::text("content encoding", value, "was not asked for"));
            }
            _ => {}
        }
        Ok(())
    }
}

fn status(line: &[u8]) -> Result<u16, Error> {
    let code = match line.strip_prefix(b"HTTP/1.") {
        Some([b'0'..=b'9', b' ', code @ ..]) => code.split(|&byte| byte == b' ').next(),
        _ => None,
    };
    code.filter(|code| code.len() == 3 && !code.starts_with(b"0"))
        .and_then(|code| u16::try_from(number(code, 10)?).ok())
        .ok_or_else(|| Error::text("status line", line, "is not one of HTTP/1.x"))
}

fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let end = line.iter().position(|&byte| byte == b';');
    let size = line[..end.unwrap_or(line.len())].trim_ascii_end();
    let is_hex = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
    let wrong = ["is not a hexadecimal number", "is more than 64 bits"][usize::from(is_hex)];
    number(size, 16).ok_or_else(|| Error::text("chunk size", line, wrong))
}

/// Digits only: `from_str_radix` would accept a sign, too.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let digits = text.iter().map(|byte| char::from(*byte).to_digit(radix).map(u64::from));
    let mut digits = digits.peekable();
    digits.peek()?;
    digits.try_fold(0_u64, |number, digit| number.checked_mul(radix.into())?.checked_add(digit?))
}

/// The bytes of a request without a body. The target must be percent-encoded, and the header values without line ends:
/// nothing is escaped here. `Connection: close` makes the engine close the connection after the answer, so that a
/// blocked reader notices the end.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if method == "POST" {
        text.push_str("Content-Length: 0\r\n");
    }
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../fixtures/http/dockerd-20.10.24-fresh-tiny.raw");
    const PODMAN: &[u8] = include_bytes!("../../fixtures/http/podman-4.3.1-fresh-three.raw");
    const REFUSED: &[u8] = include_bytes!("../../fixtures/http/dockerd-20.10.24-conn-refused.raw");
    const PING: &[u8] = include_bytes!("../../fixtures/http/dockerd-28.5.2-containerd-_ping-GET.raw");
    const KILLED: &[u8] = include_bytes!("../../fixtures/http/dockerd-20.10.24-kill9-dockerd-midpull.raw");
    const NOHOST: &[u8] = include_bytes!("../../fixtures/http/dockerd-20.10.24-nohost.raw");
    const COMPLETE: [&[u8]; 4] = [TINY, PODMAN, REFUSED, PING];

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Response, Vec<u8>, Result<(), Error>) {
        let (mut response, mut body) = (Response::new(), Vec::new());
        let mut result = Ok(());
        for piece in pieces {
            result = response.feed(piece, &mut |bytes| {
                assert!(!bytes.is_empty());
                body.extend_from_slice(bytes);
            });
        }
        (response, body, result)
    }

    fn read_whole(input: &[u8]) -> (Response, Vec<u8>) {
        let (response, body, result) = read([input]);
        result.unwrap();
        (response, body)
    }

    /// The result for `input`, as `end status body`; it must be the same in one piece and byte by byte.
    fn check(input: impl AsRef<[u8]>, expected: &str) {
        let input = input.as_ref();
        for size in [input.len(), 1] {
            let (response, body, result) = read(input.chunks(size));
            result.unwrap();
            let end = match (response.is_complete(), response.is_unframed()) {
                (true, false) => "complete",
                (false, true) => "unframed",
                (false, false) => "open",
                (true, true) => unreachable!(),
            };
            let status = response.head().map_or("-".to_owned(), |head| head.status.to_string());
            let actual = format!("{end} {status} {}", String::from_utf8(body).unwrap());
            assert_eq!(actual, expected, "{} in pieces of {size}", input.escape_ascii());
        }
    }

    fn check_error(input: impl AsRef<[u8]>, expected: &str) {
        let input = input.as_ref();
        for size in [input.len(), 1] {
            let (mut response, _, result) = read(input.chunks(size));
            let error = result.expect_err(expected);
            assert_eq!(error.to_string(), expected, "in pieces of {size}");
            assert_eq!(response.feed(b"\r\n0\r\n\r\n", &mut |_| panic!("body after an error")), Err(error));
            assert!(!response.is_complete() && !response.is_unframed());
        }
    }

    #[test]
    fn a_chunk_a_piece_at_a_time() {
        let mut response = Response::new();
        let mut body = Vec::new();
        for (piece, expected) in [
            (CHUNKED, ""),
            ("", ""),
            ("2", ""),
            ("\r", ""),
            ("\n", ""),
            ("a", "a"),
            ("b", "b"),
            ("\r", ""),
            ("\n0", ""),
            ("00A;x=", ""),
            ("\"y\" \r\n0123", "0123"),
            ("456789\r", "456789"),
            ("\n0\r\n", ""),
            ("Trailer: x\r\n", ""),
            ("\r", ""),
        ] {
            body.clear();
            response.feed(piece.as_bytes(), &mut |bytes| body.extend_from_slice(bytes)).unwrap();
            assert_eq!(str::from_utf8(&body).unwrap(), expected, "{piece:?}");
            assert!(!response.is_complete(), "{piece:?}");
        }
        response.feed(b"\n", &mut |_| panic!("body after its end")).unwrap();
        assert!(response.is_complete());
        response.feed(b"2\r\nab\r\n", &mut |_| panic!("body after its end")).unwrap();
        assert!(response.is_complete());
    }

    #[test]
    fn framing() {
        check("HTTP/1.1 200 OK\r\n", "open - ");
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "open 200 ab");
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", "complete 200 abc");
        check("HTTP/1.1 200 OK\nContent-Length:3\n\nabc", "complete 200 abc");
        check("HTTP/1.1 200 OK\r\ncontent-length: 003\r\nCONTENT-LENGTH: 3 \r\n\r\nabc", "complete 200 abc");
        check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "complete 200 ");
        check("HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", "complete 500 ");
        check("HTTP/1.1 204 No Content\r\n\r\nx", "complete 204 ");
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nx", "complete 304 ");
        check("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "complete 204 ");
        check("HTTP/1.0 200 OK\r\n\r\nab", "unframed 200 ab");
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab", "unframed 200 ab");
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\nContent-Length: 1\r\n\r\nab", "complete 200 a");
        check("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\na", "complete 200 a");
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "complete 200 ab",
        );
    }

    #[test]
    fn chunks() {
        for (body, expected) in [
            ("", "open 200 "),
            ("0\r\n", "open 200 "),
            ("0\r\n\r\n", "complete 200 "),
            ("0\n\n", "complete 200 "),
            ("2\nab\n0\n\n", "complete 200 ab"),
            ("2\r\nab\r\n", "open 200 ab"),
            ("2\r\nab\r\n0", "open 200 ab"),
            ("2\r\nab\r\n0\r\nX: y\r\n", "open 200 ab"),
            ("2\r\nab\r\n0\r\nX: y\r\n\r\n", "complete 200 ab"),
            ("2;name=value\r\n\r\n\r\n0;last\r\n\r\n", "complete 200 \r\n"),
            ("2 ;name\r\nab\r\n1 \r\nc\r\n0\r\n\r\n", "complete 200 abc"),
            ("000000000000000000000000000000000000a\r\n0123456789\r\n000\r\n\r\n", "complete 200 0123456789"),
            ("ffffffffffffffff\r\nab", "open 200 ab"),
            ("FFFFFFFFFFFFFFFF\r\nab", "open 200 ab"),
        ] {
            check(format!("{CHUNKED}{body}"), expected);
        }
    }

    #[test]
    fn interim_heads_are_skipped() {
        let early = "HTTP/1.1 103 Early Hints\r\nServer: proxy\r\nContent-Length: 9\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        check(early, "open - ");
        check(format!("{early}{last}"), "complete 200 a");
        check(format!("{}{last}", early.repeat(16)), "complete 200 a");
        check_error(format!("{}{last}", early.repeat(17)), "more than 16 interim (1xx) responses");
        let (response, _) = read_whole(format!("{early}{last}").as_bytes());
        assert_eq!(response.head(), Some(&Head { status: 200, ..Head::default() }));
    }

    #[test]
    fn malformed_heads() {
        for (line, shown) in [
            ("", ""),
            ("HTTP/2 200", "HTTP/2 200"),
            ("HTTP/1.1", "HTTP/1.1"),
            ("HTTP/1.1 ", "HTTP/1.1 "),
            ("HTTP/1.1 20", "HTTP/1.1 20"),
            ("HTTP/1.1 2000", "HTTP/1.1 2000"),
            ("HTTP/1.1 099 X", "HTTP/1.1 099 X"),
            ("HTTP/1.1 2x0 OK", "HTTP/1.1 2x0 OK"),
            ("HTTP/1.1  200 OK", "HTTP/1.1  200 OK"),
            ("HTTP/1.x 200 OK", "HTTP/1.x 200 OK"),
            ("http/1.1 200 OK", "http/1.1 200 OK"),
            ("\x1b[31mSSH-2.0 \u{e9}", "\\x1b[31mSSH-2.0 \\xc3\\xa9"),
        ] {
            check_error(format!("{line}\r\n"), &format!("status line `{shown}` is not one of HTTP/1.x"));
        }
        for (line, expected) in [
            ("no colon", "header line `no colon` is malformed"),
            (": no name", "header line `: no name` is malformed"),
            ("Server : x", "header line `Server : x` is malformed"),
            ("Api-Version: 1.41\rX", "header line `Api-Version: 1.41\\rX` is malformed"),
            ("Server: a\0b", "header line `Server: a\\x00b` is malformed"),
            (" folded", "header line ` folded` is folded"),
            ("Server: a\r\n\tb", "header line `\\tb` is folded"),
            ("Content-Length: ", "content length `` is not a number"),
            ("Content-Length: -1", "content length `-1` is not a number"),
            ("Content-Length: +1", "content length `+1` is not a number"),
            ("Content-Length: 0x1", "content length `0x1` is not a number"),
            ("Content-Length: 1, 1", "content length `1, 1` is not a number"),
            ("Content-Length: 18446744073709551616", "content length `18446744073709551616` is not a number"),
            ("Content-Length: 1\r\nContent-Length: 2", "content length `2` contradicts an earlier one"),
            ("Transfer-Encoding: gzip", "transfer encoding `gzip` is not supported"),
            ("Transfer-Encoding: gzip, chunked", "transfer encoding `gzip, chunked` is not supported"),
            ("Transfer-Encoding: ", "transfer encoding `` is not supported"),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "transfer encoding `chunked` is not supported",
            ),
            ("Content-Encoding: gzip", "content encoding `gzip` was not asked for"),
        ] {
            check_error(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), expected);
        }
    }

    #[test]
    fn malformed_chunks() {
        for (body, expected) in [
            ("\r\n", "chunk size `` is not a hexadecimal number"),
            (";x\r\n", "chunk size `;x` is not a hexadecimal number"),
            (" 2\r\n", "chunk size ` 2` is not a hexadecimal number"),
            ("+2\r\n", "chunk size `+2` is not a hexadecimal number"),
            ("-1\r\n", "chunk size `-1` is not a hexadecimal number"),
            ("0x2\r\n", "chunk size `0x2` is not a hexadecimal number"),
            ("2 2\r\n", "chunk size `2 2` is not a hexadecimal number"),
            ("2\r3\n", "chunk size `2\\r3` is not a hexadecimal number"),
            ("{\"status\":\r\n", "chunk size `{\\\"status\\\":` is not a hexadecimal number"),
            ("10000000000000000\r\n", "chunk size `10000000000000000` is more than 64 bits"),
            ("2\r\nabc\r\n", "chunk does not end where its size says"),
            ("2\r\nabc\n", "chunk does not end where its size says"),
            ("2\r\nab0\r\n\r\n", "chunk does not end where its size says"),
            ("2\r\nab\r\r\n", "chunk does not end where its size says"),
            ("2\r\nab\r\n\r\n", "chunk size `` is not a hexadecimal number"),
        ] {
            check_error(format!("{CHUNKED}{body}"), expected);
        }
    }

    #[test]
    fn endless_parts_are_cut_off() {
        let long = "x".repeat(HEAD_LIMIT);
        let many = "X: y\r\n".repeat(HEAD_LIMIT / 6);
        let status = "HTTP/1.1 200 OK\r\n";
        check_error(format!("{long}\n"), "header is longer than 64 KiB");
        check_error(format!("{long}x"), "header is longer than 64 KiB");
        check_error(format!("{status}Server: {long}"), "header is longer than 64 KiB");
        check_error(format!("{status}{many}"), "header is longer than 64 KiB");
        check_error(format!("{CHUNKED}{}", "0".repeat(1025)), "chunk size line is longer than 1 KiB");
        check_error(format!("{CHUNKED}1;{long}"), "chunk size line is longer than 1 KiB");
        check_error(format!("{CHUNKED}0\r\n{long}x"), "trailer is longer than 64 KiB");
        check_error(format!("{CHUNKED}0\r\n{many}{many}"), "trailer is longer than 64 KiB");
        check_error(
            format!("HTTP/1.1 100 Continue\r\n{}\r\n{status}{}", &many[..39_996], &many[..39_996]),
            "header is longer than 64 KiB",
        );
    }

    #[test]
    fn captures() {
        let heads = COMPLETE.map(|capture| {
            let (response, body) = read_whole(capture);
            assert!(response.is_complete());
            let Head { status, api_version, server } = response.head.unwrap();
            format!("{status} {} {} {}", api_version.unwrap(), server.unwrap(), body.len())
        });
        assert_eq!(
            heads,
            [
                "200 1.41 Docker/20.10.24+dfsg1 (linux) 1029",
                "200 1.41 Libpod/4.3.1 (linux) 4592",
                "500 1.41 Docker/20.10.24+dfsg1 (linux) 102",
                "200 1.51 Docker/28.5.2+dfsg4 (linux) 2",
            ]
        );
        assert_eq!(read_whole(PING).1, b"OK");
        check(NOHOST, "unframed 400 400 Bad Request: missing required Host header");
    }

    #[test]
    fn the_stream_of_a_killed_engine_is_never_complete() {
        let (response, body) = read_whole(KILLED);
        assert!(body.ends_with(b"\"id\":\"12414bf0d23c\"}\r\n"));
        assert!(!response.is_complete() && !response.is_unframed());
    }

    #[test]
    fn no_proper_prefix_is_complete() {
        for capture in COMPLETE {
            for end in 0..capture.len() {
                assert!(!read_whole(&capture[..end]).0.is_complete(), "{end}");
            }
        }
    }

    #[test]
    fn the_body_is_the_same_for_every_split() {
        for capture in [TINY, PODMAN, REFUSED, PING, KILLED, NOHOST] {
            let (whole, expected) = read_whole(capture);
            let same = |(response, body, result): (Response, Vec<u8>, Result<(), Error>)| {
                assert_eq!(result, Ok(()));
                assert_eq!(response.head, whole.head);
                assert_eq!(response.is_complete(), whole.is_complete());
                assert!(body == expected);
            };
            for at in 0..=capture.len() {
                same(read([&capture[..at], &capture[at..]]));
            }
            for size in 1..=64 {
                same(read(capture.chunks(size)));
            }
        }
    }

    #[test]
    fn memory_stays_small() {
        let (response, _, _) = read(PODMAN.chunks(1));
        assert!(response.line.capacity() <= 128, "{}", response.line.capacity());
        assert!(size_of::<Response>() <= 256, "{}", size_of::<Response>());
    }

    #[test]
    fn requests() {
        assert_eq!(
            request("GET", "/_ping", &[]).escape_ascii().to_string(),
            r"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            request("POST", "/v1.41/images/create?fromImage=a&tag=b", &[("X-Registry-Auth", "e30=")])
                .escape_ascii()
                .to_string(),
            r"POST /v1.41/images/create?fromImage=a&tag=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\nX-Registry-Auth: e30=\r\n\r\n"
        );
    }
}
