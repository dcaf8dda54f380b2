//! Bytes to lines, wherever the pieces of a stream break.
//!
//! **Invariant:** memory is bounded whatever comes: of a line over the limit its beginning is kept, with words that say so.

use std::io::BufRead as _;

/// The longest line that is read whole, in bytes. Engines' own lines are under 1 KB; a longer one is an attack or a fault.
pub const MAX_LINE: usize = 1 << 20;

/// What is kept of a line that was too long, in bytes: as much as the log shows of any raw line (64 KiB), less the words
/// that say so. Otherwise these would be cut off again.
const KEPT_OF_TOO_LONG: usize = (64 << 10) - 64;

/// Cuts bytes into lines, wherever the pieces break. Line ends and blanks around a line are taken off, empty lines passed
/// over.
///
/// A line of more than the limit is cut to its first 64 KiB, with words at its end that say so: memory stays bounded
/// whatever comes.
#[derive(Debug)]
pub struct LineBuffer {
    partial: Vec<u8>,
    /// The length of the line so far, of which `partial` holds at most the limit.
    length: usize,
    limit: usize,
    /// Empty lines are handed on too.
    keeps_empty: bool,
    /// Where in an object of JSON the line is.
    object: Object,
    /// An object of the line was handed on already.
    is_rest: bool,
}

impl LineBuffer {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { partial: Vec::new(), length: 0, limit, keeps_empty: false, object: Object::default(), is_rest: false }
    }

    /// The same with empty lines, for a reader that counts lines.
    #[must_use]
    pub fn with_empty(limit: usize) -> Self {
        Self { keeps_empty: true, ..Self::new(limit) }
    }

    /// Whether a line has begun that has not ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.length > 0
    }

    /// Takes the next bytes and hands every line that they end to `line`.
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
        // Most pieces are whole lines.
        if !bytes.is_empty() {
            self.keep(bytes, line);
        }
    }

    /// Hands on what is left when the stream ends without a line end.
    pub fn end(&mut self, line: &mut dyn FnMut(&[u8])) {
        if self.length > 0 {
            self.flush(line);
        }
    }

    /// Keeps what is not yet a whole line. An object that ends in it is handed on: old engines end no line after it.
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
        // What follows an object up to the end of its line is no empty line.
        let keeps_empty = self.keeps_empty && !self.is_rest;
        if self.length > self.limit {
            // Less than there is, so that it can be seen whether a character ends there.
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

/// Where in an object of JSON a text is that may begin with one, byte by byte. What is no object has no end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Object {
    #[default]
    Before,
    /// So many brackets are open.
    Within(usize),
    String(usize),
    /// Behind a `\` in a string.
    Escape(usize),
    /// The text begins with something else.
    Other,
}

impl Object {
    /// Reads on; how many bytes it takes to the end of the object, if it ends in them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        if *self == Self::Other {
            return None;
        }
        let mut at = 0;
        while at < bytes.len() {
            // What changes nothing is most of it, and is passed over in a hurry.
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
                // Blanks, and the mark that Windows begins a text with.
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

/// The first object of JSON in a line that begins with one and goes on behind it, and what follows, which can be nothing
/// but blanks.
#[must_use]
pub fn split_object(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (object, rest) = line.split_at(Object::default().end(line)?);
    (!rest.is_empty()).then_some((object, rest.trim_ascii_start()))
}

/// Where the first line feed is. std's search that compares many bytes at once is behind this reader; byte by byte the
/// search takes a quarter of a replay's time.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    // Reading from memory cannot fail.
    let count = rest.skip_until(b'\n').ok()?;
    bytes[..count].ends_with(b"\n").then(|| count - 1)
}

fn emit(mut bytes: &[u8], keeps_empty: bool, line: &mut dyn FnMut(&[u8])) {
    // A recording does not keep blanks around JSON, and a replay must get what the live pull got.
    while let [b' ' | b'\t' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r'] = bytes {
        bytes = rest;
    }
    if keeps_empty || !bytes.iter().all(u8::is_ascii_whitespace) {
        line(bytes);
    }
}

/// Whether a character of UTF-8 begins (or the text ends) at `at`.
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
        // Wherever it stands in a word or a vector, and whatever stands around it.
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
        // Those of a line that was read whole are split by its reader.
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
