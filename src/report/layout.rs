//! Lays out a line of the log for the viewer: sanitized, limited to the terminal's characters and width.
//!
//! Separate from the report that makes lines, because only the text of a line is known here: the log may be old,
//! damaged, or written by another program.
//!
//! **Invariant:** the output never moves a cursor. On a terminal no row is wider than it, and only bars, dates, rules
//! and the duration of a layer are shortened.

use crate::os::charset::Charset;
use crate::os::tail::{LONG_STAMP, Line, SHORT_STAMP, is_like};
use crate::report::line::Bar;
use crate::report::{bar, fit, sanitize};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of a line that are shown.
const MAX_LINE: usize = 64 << 10;

/// This many equal escaped characters in a row are shown as one and their number.
const MIN_RUN: usize = 4;

/// The indentation of the second and each further row of a line.
const INDENT: &str = "    ";

/// In terminals narrower than `NARROW` stamps have no date; in those narrower than `MIN` the terminal wraps the lines
/// itself.
const NARROW: usize = 70;
const MIN: usize = 24;

/// Where the date of a long stamp ends, and a blank follows before the time.
const DATE: usize = "[2025-11-19".len();

/// Lays out lines.
pub(crate) struct Layout {
    pub(crate) color: bool,
    pub(crate) charset: Charset,
    /// The terminal's width; `None` if the output is not a terminal.
    pub(crate) columns: Option<usize>,
    /// The date of the last line, if stamps are shown without it.
    date: String,
}

impl Layout {
    pub(crate) fn new(color: bool, charset: Charset) -> Self {
        Self { color, charset, columns: None, date: String::new() }
    }

    /// Appends a line of the log.
    pub(crate) fn push(&mut self, line: &Line<'_>, out: &mut String) {
        let mut text = String::from_utf8_lossy(line.bytes);
        if text.contains('\x1b') {
            // The log may have been written in colour.
            text = text.replace(bar::GREEN, "").replace(bar::DEFAULT, "").into();
        }
        let (stamp, rest) = text.split_at(stamp(&text));
        let is_cut = line.length > line.bytes.len() as u64 || rest.len() > MAX_LINE;
        // A character that was cut in half is not shown as damaged.
        let rest = if is_cut { rest[..rest.floor_char_boundary(MAX_LINE)].trim_end_matches('\u{fffd}') } else { rest };
        let mut shown = gather_runs(&sanitize::safe(rest).to_string());
        if is_cut {
            let _ = write!(shown, "… (cut: {} bytes)", line.length);
        }
        self.line(stamp, &shown, out);
    }

    /// Appends a line that is already sanitized.
    pub(crate) fn line(&mut self, stamp: &str, text: &str, out: &mut String) {
        let stamp = self.short_stamp(stamp, out);
        self.text(&stamp, text, out);
    }

    /// Appends `text` after a stamp, in as many rows as it takes.
    pub(crate) fn text(&self, stamp: &str, text: &str, out: &mut String) {
        let Some(columns) = self.columns.filter(|columns| *columns >= MIN) else {
            out.push_str(stamp);
            let (text, place) = self.convert(text, fit::find_bar(text).as_ref());
            self.row(&text, place.as_ref().map(|bar| bar.place.clone()), out);
            return;
        };
        let room = columns - stamp.len();
        let (text, bar) = self.shorten(text, room);
        out.push_str(stamp);
        for (number, row) in fit::rows(&text, room, columns - INDENT.len()).into_iter().enumerate() {
            out.push_str(if number > 0 { INDENT } else { "" });
            let place = bar.as_ref().map(|bar| bar.place.clone());
            let place = place.filter(|place| row.start <= place.start && place.end <= row.end);
            let place = place.map(|place| place.start - row.start..place.end - row.start);
            self.row(&text[row], place, out);
        }
    }

    /// The text in the terminal's characters, with its bar or rule shortened so that it fits into `room` cells.
    fn shorten(&self, text: &str, room: usize) -> (String, Option<Bar>) {
        if !text.is_empty() && text.bytes().all(|byte| byte == b'=') {
            return (text[..text.len().min(room)].to_owned(), None);
        }
        let bar = fit::find_bar(text);
        let (whole, converted) = self.convert(text, bar.as_ref());
        let excess = fit::cells(&whole).saturating_sub(room);
        let Some(bar) = bar.filter(|_| excess > 0) else {
            // The duration can be left out: the stamps imply it.
            let took = took(text).filter(|took| (1..=took.len()).contains(&excess));
            return (
                took.map_or_else(|| whole.clone(), |took| whole[..whole.len() - took.len()].to_owned()),
                converted,
            );
        };
        if let Some((text, bar)) = fit::shrink(text, &bar, excess) {
            return self.convert(&text, Some(&bar));
        }
        // The numbers say the same as the bar for which there is no room.
        let (lead, rest) = (&text[..bar.place.start], &text[bar.place.end..]);
        self.convert(&format!("{lead}{}", rest.trim_start()), None)
    }

    /// The text in the terminal's characters, and the new place of its bar.
    fn convert(&self, text: &str, bar: Option<&Bar>) -> (String, Option<Bar>) {
        let mut out = String::new();
        let Some(bar) = bar else {
            self.charset.push(text, &mut out);
            return (out, None);
        };
        self.charset.push(&text[..bar.place.start], &mut out);
        let start = out.len();
        self.charset.push(&text[bar.place.clone()], &mut out);
        let place = start..out.len();
        self.charset.push(&text[bar.place.end..], &mut out);
        (out, Some(Bar { place, ..bar.clone() }))
    }

    fn row(&self, row: &str, bar: Option<std::ops::Range<usize>>, out: &mut String) {
        match bar.filter(|_| self.color) {
            Some(bar) => {
                let (lead, rest) = (&row[..bar.start], &row[bar.end..]);
                let _ = write!(out, "{lead}{}{}{}{rest}", bar::GREEN, &row[bar], bar::DEFAULT);
            }
            None => out.push_str(row),
        }
        out.push('\n');
    }

    /// The stamp as far as there is room for it: in a narrow terminal without its date, which is printed on a row of
    /// its own when it changes.
    fn short_stamp<'a>(&mut self, stamp: &'a str, out: &mut String) -> Cow<'a, str> {
        let is_narrow = self.columns.is_some_and(|columns| columns < NARROW);
        if !is_narrow || stamp.len() < LONG_STAMP.len() {
            return stamp.into();
        }
        let (date, time) = (&stamp[1..DATE], &stamp[DATE + 1..]);
        if self.date != date {
            date.clone_into(&mut self.date);
            let _ = writeln!(out, "{date}");
        }
        // From here on it looks like the stamp of a raw line, which has no date, either.
        format!("[{time}").into()
    }
}

/// The length of the stamp at the beginning of `line`; the text after it is converted to the terminal's characters.
fn stamp(line: &str) -> usize {
    [LONG_STAMP, SHORT_STAMP].into_iter().find(|model| is_like(line.as_bytes(), model)).map_or(0, str::len)
}

/// The ` in 12s` at the end of a complete layer's line.
fn took(text: &str) -> Option<&str> {
    let is_layer = text.starts_with("✅ Layer ") && text.contains(": Complete (");
    let took = &text[text.rfind(" in ").filter(|_| is_layer)?..];
    took[4..].strip_suffix('s')?.bytes().all(|byte| byte.is_ascii_digit()).then_some(took)
}

/// `\u{0}\u{0}\u{0}…` as `\u{0}×3000`: a device that loses power leaves a log with holes.
fn gather_runs(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("\\u{") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let unit = &rest[..rest.find('}').map_or(rest.len(), |end| end + 1)];
        let mut count = 0;
        while let Some(after) = rest.strip_prefix(unit) {
            (rest, count) = (after, count + 1);
        }
        if count < MIN_RUN {
            out.extend(std::iter::repeat_n(unit, count));
        } else {
            let _ = write!(out, "{unit}×{count}");
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str], columns: Option<usize>, charset: Charset, color: bool) -> String {
        let (mut layout, mut out) = (Layout { columns, ..Layout::new(color, charset) }, String::new());
        for line in lines {
            layout.push(&Line { bytes: line.as_bytes(), length: line.len() as u64 }, &mut out);
        }
        out
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_and_no_word_is_lost() {
        let bar = bar::bar(17, 40, bar::LAYER).to_string();
        let stamp = "[2025-11-19 10:30:15] ";
        let lines = [
            format!("{stamp}=========================================="),
            format!("{stamp}⬇️  Layer b9bf3f3b8299: {bar} 42% (123MB / 456MB)"),
            format!("{stamp}Overall Progress: {} 99% (123MB / ≥456MB, 1.2MB/s, 1h30m left)", bar::bar(1, 2, 50)),
            format!("{stamp}🔐 Image digest: sha256:{}", "0123456789abcdef".repeat(4)),
            format!(
                "{stamp}❌ PULL FAILED: {} 图像图像图像图像图像图像 café\u{7}",
                "no space left on device ".repeat(9)
            ),
            format!("[10:30:15] {{\"id\":\"{}\"}}", "x".repeat(500)),
            "no stamp at all, but a line that is longer than a narrow terminal has columns".to_owned(),
            String::new(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let words = |text: &str| -> String {
            text.chars().filter(|c| !c.is_whitespace() && !"[]█░#.=".contains(*c)).collect()
        };
        for charset in [Charset::All, Charset::Console, Charset::Ascii] {
            let whole = words(&read(&lines, None, charset, false)).replace("2025-11-19", "");
            for columns in MIN..=250 {
                let shown = read(&lines, Some(columns), charset, false);
                for row in shown.lines() {
                    assert!(fit::cells(row) <= columns, "{columns}: {row}\n{shown}");
                }
                assert_eq!(words(&shown).replace("2025-11-19", ""), whole, "{columns}\n{shown}");
                let colored = read(&lines, Some(columns), charset, true);
                assert_eq!(colored.replace(bar::GREEN, "").replace(bar::DEFAULT, ""), shown);
                let bars = colored.matches(bar::GREEN).count();
                assert!(bars == 2 || (bars == 1 && columns < 100) || columns < 80, "{columns}: {colored}");
            }
        }
    }

    #[test]
    fn rows_of_narrow_and_wide_terminals() {
        let bar = bar::bar(10, 40, bar::LAYER).to_string();
        let line = format!("[2025-11-19 10:30:17] ⬇️  Layer b9bf3f3b8299: {bar} 25% (5MB / 20MB)");
        let next = line.replace("11-19", "11-20");
        let check = |columns, expected: &str| {
            assert_eq!(read(&[&line, &line, &next], Some(columns), Charset::All, false), expected);
        };
        let wide = format!("{line}\n{line}\n{next}\n");
        check(200, &wide);
        let row = |date| format!("[{date} 10:30:17] ⬇️  Layer b9bf3f3b8299: [███░░░░░░░░░░░] 25% (5MB / 20MB)\n");
        let narrower = [row("2025-11-19"), row("2025-11-19"), row("2025-11-20")].concat();
        check(79, &narrower);
        let row = "[10:30:17] ⬇️  Layer b9bf3f3b8299: [█░░░░░] 25% (5MB / 20MB)\n";
        check(60, &format!("2025-11-19\n{row}{row}2025-11-20\n{row}"));
        let row = "[10:30:17] ⬇️  Layer b9bf3f3b8299: 25% (5MB / 20MB)\n";
        check(55, &format!("2025-11-19\n{row}{row}2025-11-20\n{row}"));
    }

    #[test]
    fn how_long_a_layer_took_goes_before_its_line_is_broken() {
        let check = |columns, text: &str, expected: &str| {
            let line = format!("[2025-11-19 10:30:17] {text}");
            let shown = read(&[&line], Some(columns), Charset::All, false);
            assert_eq!(shown.lines().skip_while(|row| row.starts_with("2025")).collect::<Vec<_>>().join("|"), expected);
        };
        let line = "✅ Layer b9bf3f3b8299: Complete (10/12), 120MB in 125s";
        check(80, line, &format!("[2025-11-19 10:30:17] {line}"));
        check(60, line, "[10:30:17] ✅ Layer b9bf3f3b8299: Complete (10/12), 120MB");
        check(69, line, &format!("[10:30:17] {line}"));
        // Not enough, or not such a line.
        check(50, line, "[10:30:17] ✅ Layer b9bf3f3b8299: Complete|    (10/12), 120MB in 125s");
        check(
            60,
            &format!("❌ PULL FAILED: a{line}"),
            "[10:30:17] ❌ PULL FAILED: a✅ Layer b9bf3f3b8299: Complete|    (10/12), 120MB in 125s",
        );
        check(
            60,
            &line.replace("125s", "hours"),
            "[10:30:17] ✅ Layer b9bf3f3b8299: Complete (10/12), 120MB in|    hours",
        );
    }

    #[test]
    fn runs_are_shown_by_their_length() {
        let check = |text: &str, expected| assert_eq!(gather_runs(&sanitize::safe(text).to_string()), expected);
        check(&"\0".repeat(3000), "\\u{0}×3000");
        check("a\0\0\0b\x1b[0m", "a\\u{0}\\u{0}\\u{0}b\\u{1b}[0m");
        check(&format!("{}{}x", "\0".repeat(4), "\x1b".repeat(5)), "\\u{0}×4\\u{1b}×5x");
        check("\\u{", "\\u{");
        assert_eq!(read(&["\0\0\0\0\0"], None, Charset::Ascii, false), "\\u{0}x5\n");
    }
}
