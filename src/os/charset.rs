//! The characters that an output can show, and the one table that turns a line into pure ASCII.
//!
//! **Invariant:** what is pushed with [`Charset::Ascii`] contains only ASCII bytes.

use std::fmt::Write as _;

/// Which characters an output can show: emoji and bars on a modern terminal, only bars on the console of a Pi, pure
/// ASCII if the locale is not UTF-8 (Puppet fails a resource for a single other byte).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    All,
    /// The console of Linux: its font has block characters and no emoji.
    Console,
    Ascii,
}

impl Charset {
    /// What the locale and the terminal allow; `ascii` limits that to ASCII.
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

    /// Appends `text` to `out`, limited to these characters.
    pub(crate) fn push(self, text: &str, out: &mut String) {
        match self {
            Self::All => out.push_str(text),
            Self::Console => without_emoji(text, out),
            Self::Ascii => ascii(text, out),
        }
    }
}

/// What replaces a character in ASCII: a word for each emoji. The console of a Pi has none of these emoji, either. Two
/// blanks after an emoji become one after a word.
const WORDS: [(&str, &str); 24] = [
    ("📦 ", "BEGIN "),
    ("🔄 ", "SOURCE "),
    ("📋 ", "QUEUE "),
    ("📏 ", "TOTAL "),
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
    ("«", "'"),
    ("»", "'"),
];

/// How many rows of [`WORDS`] are emoji; the characters of the other rows are in a console's font.
const EMOJI: usize = 17;

/// Appends `text` with a word in place of the emoji that it begins with.
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

/// Appends `text` in pure ASCII; a character without a word in the table is written as `\u{e9}`.
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

    /// What a new line says that was not thought of here would be shown as `\u{1f4cf}`.
    #[test]
    fn every_character_of_the_source_has_a_word() {
        let (mut files, mut seen) = (vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))], 0);
        while let Some(file) = files.pop() {
            if file.is_dir() {
                files.extend(std::fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            // The pages of the monitor are for the console of Linux alone.
            if file.ends_with("report/page.rs") || file.ends_with("report/pages.rs") {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for text in line.split('"').filter(|text| !text.is_ascii()) {
                    // Some emoji are written apart from the blanks that follow them.
                    let is_shown = ["", " ", "  "].iter().any(|blanks| {
                        let mut out = String::new();
                        ascii(&format!("{text}{blanks}"), &mut out);
                        out.matches("\\u{").count() == text.matches("\\u{").count()
                    });
                    assert!(is_shown, "{}: {text}", file.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 30, "only {seen} lines were looked at");
    }
}
