//! Splits a stream of bytes into lines, however the bytes are divided into reads.
//!
//! **Invariant:** memory is bounded for any input: of a line over the limit only the beginning is kept, with a note that it
//! was cut.

use std::io::BufRead as _;

/// The longest line that is kept whole, in bytes. Lines of engines are under 1 KB; a line over this limit is an attack or a
/// fault.
pub const MAX_LINE: usize = 1 << 20;

/// How much of a line over the limit is kept, in bytes: as much as the log shows of a raw line (64 KiB), minus space for the
/// note. Otherwise the log would cut off the note.
const KEPT_OF_TOO_LONG: usize = (64 << 10) - 64;

/// Splits bytes into lines, however they are divided into pieces. Removes line ends and blanks around a line, and skips
/// empty lines.
///
/// A line over the limit is cut to its first 64 KiB and ends with a note that says so; therefore memory is bounded for any
/// input.
#[derive(Debug)]
pub struct LineBuffer {
    partial: Vec<u8>,
    /// The length of the line so far; `partial` holds at most `limit` bytes of it.
    length: usize,
    limit: usize,
    /// Whether the caller gets empty lines too.
    keeps_empty: bool,
    /// The position within a JSON object at the end of `partial`.
    object: Object,
    /// The caller has already got an object from the beginning of this line.
    is_rest: bool,
}

impl LineBuffer {
    /// A buffer for lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { partial: Vec::new(), length: 0, limit, keeps_empty: false, object: Object::default(), is_rest: false }
    }

    /// The same with empty lines, for a reader that counts lines.
    #[must_use]
    pub fn with_empty(limit: usize) -> Self {
        Self { keeps_empty: true, ..Self::new(limit) }
    }

    /// Whether a line has begun and not yet ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.length > 0
    }

    /// Takes the next bytes, and calls `line` with every line that ends in them.
    pub fn feed(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while let Some(end) = line_end(bytes) {
            if self.length == 0 && end <= self.limit && !self.is_rest {
                emit(&bytes[..end], self.keeps_empty, line);
            } else {
                self.keep(&bytes[..end], line);
                self.flush(line);
                self.is_rest = false;
            }
            bytes = &bytes[end + 1..];
        }
        // Usually a piece consists of whole lines, and nothing is left here.
        if !bytes.is_empty() {
            self.keep(bytes, line);
        }
    }

    /// Calls `line` with the rest, if the stream ends without a line end.
    pub fn end(&mut self, line: &mut dyn FnMut(&[u8])) {
        if self.length > 0 {
            self.flush(line);
        }
    }

    /// Keeps bytes that are not yet a whole line. If a JSON object ends in them, `line` is called with it at once: old engines
    /// send no line end after it.
    fn keep(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        loop {
            if self.is_rest && self.length == 0 {
                bytes = bytes.trim_ascii_start();
            }
            let Some(end) = self.object.end(bytes) else { break };
            self.push(&bytes[..end]);
            self.flush(line);
            self.is_rest = true;
            bytes = &bytes[end..];
        }
        self.push(bytes);
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
    }

    fn flush(&mut self, line: &mut dyn FnMut(&[u8])) {
        self.object = Object::default();
        // Blanks between an object and the end of its line are not an empty line.
        let keeps_empty = self.keeps_empty && !self.is_rest;
        if self.length > self.limit {
            // Less than there is, so that the next byte shows whether a character ends here.
            let kept = KEPT_OF_TOO_LONG.min(self.limit.saturating_sub(1));
            let kept = (0..=kept).rev().find(|&at| is_boundary(&self.partial, at)).unwrap_or(0);
            self.partial.truncate(kept);
            self.partial.extend_from_slice(format!("… (cut: a line of {} bytes)", self.length).as_bytes());
        }
        emit(&self.partial, keeps_empty, line);
        self.partial.clear();
        self.partial.shrink_to(KEPT_OF_TOO_LONG);
        self.length = 0;
    }
}

/// The position within a JSON object, for a text that may begin with one; updated byte by byte. A text that begins with
/// something else never reaches an end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Object {
    #[default]
    Before,
    /// Within the object, with this many brackets open.
    Within(usize),
    String(usize),
    /// Within a string, after a `\`.
    Escape(usize),
    /// The text begins with something else.
    Other,
}

impl Object {
    /// Reads more bytes. Returns the number of bytes up to the end of the object, if it ends in them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        if *self == Self::Other {
            return None;
        }
        let mut at = 0;
        while at < bytes.len() {
            // Most bytes change nothing and are skipped quickly.
            let rest = bytes[at..].iter();
            at += match self {
                Self::Within(_) => rest.take_while(|byte| !matches!(byte, b'{' | b'}' | b'[' | b']' | b'"')).count(),
                Self::String(_) => rest.take_while(|byte| !matches!(byte, b'"' | b'\\')).count(),
                _ => 0,
            };
            let Some(byte) = bytes.get(at) else { break };
            at += 1;
            *self = match (*self, byte) {
                (Self::Before, b'{') => Self::Within(1),
                // Blanks, and the byte order mark with which Windows begins a text.
                (Self::Before, byte) if byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(byte) => Self::Before,
                (Self::Before | Self::Other, _) => {
                    *self = Self::Other;
                    return None;
                }
                (Self::Within(1), b'}' | b']') => {
                    *self = Self::Before;
                    return Some(at);
                }
                (Self::Within(depth), b'}' | b']') => Self::Within(depth - 1),
                (Self::Within(depth), b'{' | b'[') => Self::Within(depth + 1),
                (Self::String(depth), b'"') => Self::Within(depth),
                (Self::String(depth), b'\\') => Self::Escape(depth),
                (Self::Within(depth), b'"') | (Self::Escape(depth), _) => Self::String(depth),
                (other, _) => other,
            };
        }
        None
    }
}

/// Splits a line after the JSON object that it begins with. The second part may consist of blanks only. `None` if the line
/// does not begin with an object, or ends with it.
#[must_use]
pub fn split_object(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (object, rest) = line.split_at(Object::default().end(line)?);
    (!rest.is_empty()).then_some((object, rest.trim_ascii_start()))
}

/// The index of the first line feed. std has a search that compares many bytes at once, but offers it only through a reader;
/// a search byte by byte takes a quarter of a replay's time.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    // Reading from memory cannot fail.
    let count = rest.skip_until(b'\n').ok()?;
    bytes[..count].ends_with(b"\n").then(|| count - 1)
}

fn emit(mut bytes: &[u8], keeps_empty: bool, line: &mut dyn FnMut(&[u8])) {
    // A recording does not keep blanks around JSON, and a replay must get the same line as the live pull.
    while let [b' ' | b'\t' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r'] = bytes {
        bytes = rest;
    }
    if keeps_empty || !bytes.iter().all(u8::is_ascii_whitespace) {
        line(bytes);
    }
}

/// Whether a UTF-8 character begins, or the text ends, at the index `at`.
fn is_boundary(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| byte & 0xC0 != 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that result from these pieces.
    fn cut<'a>(limit: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut lines, mut found) = (LineBuffer::new(limit), Vec::new());
        let mut keep = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        pieces.for_each(|piece| lines.feed(piece, &mut keep));
        lines.end(&mut keep);
        found
    }

    #[test]
    fn lines_are_the_same_wherever_the_pieces_break() {
        let text = "one\r\n\r\n\n  \r\ntwo é\rstill two\r\r\n \tthree \n\u{1F4E6}\u{c}\n\nlast".as_bytes();
        let expected = ["one", "two é\rstill two", "three", "\u{1F4E6}\u{c}", "last"];
        assert_eq!(cut(100, [text].into_iter()), expected);
        for at in 0..=text.len() {
            assert_eq!(cut(100, [&text[..at], &text[at..]].into_iter()), expected, "split at {at}");
        }
        for size in 1..=text.len() {
            assert_eq!(cut(100, text.chunks(size)), expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_first_line_end_is_found() {
        let check = |text: &str, expected| assert_eq!(line_end(text.as_bytes()), expected, "{text:?}");
        check("", None);
        check("a", None);
        check("\n", Some(0));
        check("a\r\nb\n", Some(2));
        // At each position within a machine word or a vector register, and with any bytes around it.
        for (before, after) in (0..70).flat_map(|before| [0, 1, 40].map(|after| (before, after))) {
            let text = format!("{}\n{}", "\u{b}".repeat(before), "\n".repeat(after));
            check(&text, Some(before));
            check(&text[..before], None);
        }
    }

    #[test]
    fn long_lines_are_cut_and_say_how_long_they_were() {
        let check = |text: &str, expected: &[&str]| {
            for size in 1..=text.len() {
                assert_eq!(cut(10, text.as_bytes().chunks(size)), expected, "{text:?} in pieces of {size}");
            }
        };
        check("0123456789\nx\n", &["0123456789", "x"]);
        check("0123456789a\nx\n", &["012345678… (cut: a line of 11 bytes)", "x"]);
        check("012345678é0\nx", &["012345678… (cut: a line of 12 bytes)", "x"]);
        check("ééééééé\n", &["éééé… (cut: a line of 14 bytes)"]);
        check("0123456789abc", &["012345678… (cut: a line of 13 bytes)"]);
        let long = vec![b'x'; MAX_LINE];
        assert_eq!(cut(MAX_LINE, long.chunks(4096))[0].len(), MAX_LINE);
        let longer = vec![b'x'; MAX_LINE + 1];
        let line = &cut(MAX_LINE, longer.chunks(4096))[0];
        assert!(line.ends_with("xx… (cut: a line of 1048577 bytes)") && line.len() <= 64 << 10, "{}", line.len());
    }

    #[test]
    fn objects_are_lines_wherever_the_pieces_break() {
        let text = r#"{"a":"}\"{"}{"b":[{},[]]} {"c":1}
{"d":2}}tail
  {"e":{}}
not{"f":1}{"g"
{"open":"#;
        // Several objects of a line that is in one piece are split by the caller.
        let objects = |lines: Vec<String>| {
            let mut found = Vec::new();
            for line in &lines {
                let mut rest = line.as_bytes();
                while let Some((object, more)) = split_object(rest) {
                    found.push(String::from_utf8_lossy(object).into_owned());
                    rest = more;
                }
                found.extend((!rest.is_empty()).then(|| String::from_utf8_lossy(rest).into_owned()));
            }
            found
        };
        let expected = [
            r#"{"a":"}\"{"}"#,
            r#"{"b":[{},[]]}"#,
            r#"{"c":1}"#,
            r#"{"d":2}"#,
            "}tail",
            r#"{"e":{}}"#,
            r#"not{"f":1}{"g""#,
            r#"{"open":"#,
        ];
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            assert_eq!(objects(cut(100, [first, second].into_iter())), expected, "split at {at}");
        }
        for size in 1..=text.len() {
            assert_eq!(objects(cut(100, text.as_bytes().chunks(size))), expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_object_is_handed_on_when_it_ends() {
        let mut found = Vec::new();
        let mut lines = LineBuffer::with_empty(100);
        let mut keep = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        lines.feed(b"{\"a\":1}", &mut keep);
        assert!(!lines.is_within());
        // The rest of that line is no empty line; the next one is.
        lines.feed(b"\r\n\n{\"b\"", &mut keep);
        lines.feed(b":2}\n", &mut keep);
        lines.end(&mut keep);
        assert_eq!(found, [r#"{"a":1}"#, "", r#"{"b":2}"#]);
    }

    #[test]
    fn empty_lines_count_where_lines_are_counted() {
        let mut found = Vec::new();
        let mut lines = LineBuffer::with_empty(10);
        lines.feed(b"\n\r\na\n", &mut |line| found.push(line.len()));
        lines.end(&mut |line| found.push(line.len()));
        assert_eq!(found, [0, 0, 1]);
    }
}
