//! The characters that an output can show, and the one table by which a line becomes pure ASCII.
//!
//! **Invariant:** what is pushed in ASCII has no other byte.

use std::fmt::Write as _;

/// Which characters an output can show: emoji and bars on a modern terminal, bars alone on the console of a Pi, pure
/// ASCII where the locale is not UTF-8 (Puppet fails a resource for a single other byte).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    All,
    /// The console of Linux: its font has blocks and no emoji.
    Console,
    Ascii,
}

impl Charset {
    /// What the locale and the terminal allow; `ascii` asks for no more than that.
    pub(crate) fn from_environment(ascii: bool) -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale =
            set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_ascii_lowercase();
        if ascii || !(locale.contains("utf-8") || locale.contains("utf8")) {
            Self::Ascii
        } else if set("TERM").as_deref() == Some("linux") {
            Self::Console
        } else {
            Self::All
        }
    }

    /// Appends `text` to `out` in these characters.
    pub(crate) fn push(self, text: &str, out: &mut String) {
        match self {
            Self::All => out.push_str(text),
            Self::Console => without_emoji(text, out),
            Self::Ascii => ascii(text, out),
        }
    }
}

/// What stands for a character where only ASCII may be shown: a word for each emoji. The console of a Pi has none of
/// these in its font either. Two blanks after an emoji are one after a word.
const WORDS: [(&str, &str); 21] = [
    ("📦 ", "BEGIN "),
    ("🔄 ", "SOURCE "),
    ("📋 ", "QUEUE "),
    ("⬇️  ", "DOWN "),
    ("🔍 ", "CHECK "),
    ("✅ ", "OK "),
    ("📂 ", "UNPACK "),
    ("💾 ", "CACHED "),
    ("🔐 ", "DIGEST "),
    ("📊 ", "RESULT "),
    ("⏳ ", "WAIT "),
    ("🔁 ", "RETRY "),
    ("⚠️  ", "WARNING "),
    ("❌ ", "ERROR "),
    ("💡 ", "HINT "),
    ("🛑 ", "STOP "),
    ("█", "#"),
    ("░", "."),
    ("…", "..."),
    ("≥", ">="),
    ("×", "x"),
];

/// How many rows of [`WORDS`] are emoji; the others are characters that a console font has.
const EMOJI: usize = 16;

/// `text` with a word for the emoji that it begins with.
pub(crate) fn without_emoji(text: &str, out: &mut String) {
    for (emoji, word) in &WORDS[..EMOJI] {
        if let Some(rest) = text.strip_prefix(emoji) {
            out.push_str(word);
            out.push_str(rest);
            return;
        }
    }
    out.push_str(text);
}

/// `text` in pure ASCII; a character that no word stands for is written as `\u{e9}`.
pub(crate) fn ascii(text: &str, out: &mut String) {
    let mut rest = text;
    'next: while let Some(c) = rest.chars().next() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for (from, to) in &WORDS {
                if let Some(after) = rest.strip_prefix(from) {
                    out.push_str(to);
                    rest = after;
                    continue 'next;
                }
            }
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        rest = &rest[c.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_emoji_has_a_word() {
        let show = |text| {
            let mut out = String::new();
            ascii(text, &mut out);
            out
        };
        assert_eq!(show("⬇️  Layer abc: [██░░] 50% (5MB / 10MB)"), "DOWN Layer abc: [##..] 50% (5MB / 10MB)");
        assert_eq!(show("⚠️  café ≥1KB…"), "WARNING caf\\u{e9} >=1KB...");
        assert!(WORDS.iter().all(|(_, word)| word.is_ascii()));
        assert!(WORDS.iter().enumerate().all(|(at, (from, _))| from.ends_with(' ') == (at < EMOJI)));
    }
}
