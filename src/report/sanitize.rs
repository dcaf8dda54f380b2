//! Sanitizes text from elsewhere: escapes hostile characters, cuts signatures off, bounds the length.
//!
//! An engine passes on what a registry sends, and a registry can send anything; the people who read the log trust it.
//!
//! **Invariant:** the output has no control, C1 or bidi character, so it is one line and moves no cursor.

use alm_state::is_hostile;
use std::fmt::{self, Display};

/// Bytes of a text that are read: the longest raw line. This bounds the memory that escapes can take.
const MAX_SHOWN: usize = 64 << 10;

/// `text` to be shown: characters that act on a terminal or on the reading order are written as `\u{1b}`, and the query
/// string of every URL is cut off, because it can contain a signature.
pub(crate) fn safe(text: &str) -> impl Display {
    fmt::from_fn(move |f| {
        let text = text.trim_ascii_end();
        let mut rest = &text[..text.floor_char_boundary(MAX_SHOWN)];
        while let Some(start) = query(rest) {
            write_escaped(f, &rest[..start])?;
            f.write_str("?…")?;
            rest = &rest[start..];
            rest = &rest[url_end(rest)..];
        }
        write_escaped(f, rest)?;
        if text.len() > MAX_SHOWN { write!(f, "… (cut: {} bytes)", text.len()) } else { Ok(()) }
    })
}

/// The start of the query string of the first URL that has one.
fn query(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(scheme) = text[from..].find("://") {
        let start = from + scheme + 3;
        let end = start + url_end(&text[start..]);
        if let Some(query) = text[start..end].find('?')
            && start + query + 1 < end
            && &text[start + query..end] != "?…"
        {
            return Some(start + query);
        }
        from = end;
    }
    None
}

/// Where a URL ends: at a blank, a control character or a quote. (JSON writes `&` as `\u0026`, which belongs to the
/// URL.)
fn url_end(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || is_hostile(c) || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let end = text.find(ends).unwrap_or(text.len());
    end - usize::from(end < text.len() && text[..end].ends_with('\\'))
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut plain = 0;
    for (at, c) in text.char_indices().filter(|&(_, c)| is_hostile(c)) {
        f.write_str(&text[plain..at])?;
        write!(f, "\\u{{{:x}}}", u32::from(c))?;
        plain = at + c.len_utf8();
    }
    f.write_str(&text[plain..])
}

/// Cuts `text` to at most `max` characters, and appends how many there were.
pub(crate) fn cut(text: &mut String, max: usize) {
    // A text of at most this many bytes cannot have more characters.
    if text.len() <= max {
        return;
    }
    let all = text.chars().count();
    if all > max {
        let notice = format!("… (cut: {all} characters)");
        let kept = max.saturating_sub(notice.chars().count());
        let end = text.char_indices().nth(kept).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text.push_str(&notice);
    }
}

/// Cuts `text` to about `max` bytes, and says so.
pub(crate) fn cut_bytes(text: &mut String, max: usize) {
    if text.len() > max {
        let notice = format!("… (cut: {} bytes)", text.len());
        let end = (0..=max.saturating_sub(notice.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(&notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_written_out() {
        let check = |text, expected| assert_eq!(safe(text).to_string(), expected);
        check("plain 📦 text", "plain 📦 text");
        check("\x1b[2J\x07", "\\u{1b}[2J\\u{7}");
        check("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c");
        check("\u{85}\u{9b}31m\u{7f}", "\\u{85}\\u{9b}31m\\u{7f}");
        check("abc\u{202e}fed\u{2066}x\u{200f}", "abc\\u{202e}fed\\u{2066}x\\u{200f}");
        check("a\u{2028}b\u{feff}c", "a\\u{2028}b\\u{feff}c");
        check("trailing newline\n", "trailing newline");
        check("", "");
    }

    #[test]
    fn query_strings_are_cut() {
        let check = |text, expected| assert_eq!(safe(text).to_string(), expected);
        check(r#"Get "https://s3/x?Sig=abc&y=1": EOF"#, r#"Get "https://s3/x?…": EOF"#);
        check("https://a/b?c", "https://a/b?…");
        check(r#"{"error":"Get \"https://a/b?c=1\u0026d=2\": EOF"}"#, r#"{"error":"Get \"https://a/b?…\": EOF"}"#);
        check("https://a/?x http://b/?y=z.", "https://a/?… http://b/?…");
        check("https://a/b?… again", "https://a/b?… again");
        check("is it? yes://no", "is it? yes://no");
        check("https://plain/path: EOF?", "https://plain/path: EOF?");
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let mut text = "é".repeat(3000);
        cut(&mut text, 100);
        assert_eq!(text.chars().count(), 100);
        assert!(text.ends_with("é… (cut: 3000 characters)"), "{text}");
        let mut text = "é".repeat(100);
        cut(&mut text, 100);
        assert_eq!(text.chars().count(), 100);
        assert!(!text.contains("cut"));
        let mut text = "é".repeat(100_000);
        cut_bytes(&mut text, 65_536);
        assert!(text.len() <= 65_536 && text.ends_with("é… (cut: 200000 bytes)"));
    }
}
