//! Fits lines to a terminal: how many cells a text takes, where it is wrapped, and how bars are shortened.
//!
//! **Invariant:** pure. The number of cells is never underestimated: a line that ends early is better than one that the
//! terminal wraps.

use crate::report::bar;
use crate::report::line::Bar;
use std::ops::Range;

/// A bar with fewer cells is useless.
pub(crate) const MIN_BAR: usize = 5;

/// How many cells a terminal needs at most for `text`.
pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

/// Two cells for every character that some terminal shows as an emoji, and for all characters from Hangul on that are
/// not symbols. A variation selector has no cell of its own.
fn cells_of(c: char) -> usize {
    match c {
        '\u{fe00}'..='\u{fe0f}' => 0,
        ..'\u{1100}' | '\u{1160}'..='\u{22ff}' | '\u{2400}'..='\u{25ff}' | '\u{27c0}'..='\u{2aff}' => 1,
        _ => 2,
    }
}

/// `text` with its bar shortened by `excess` cells; `None` if the bar would get too short.
pub(crate) fn shrink(text: &str, bar: &Bar, excess: usize) -> Option<(String, Bar)> {
    let cells = bar.cells.checked_sub(excess).filter(|cells| *cells >= MIN_BAR)?;
    let drawn = bar::bar(bar.part, bar.whole, cells).to_string();
    let (lead, rest) = (&text[..bar.place.start], &text[bar.place.end..]);
    let place = lead.len()..lead.len() + drawn.len();
    Some((format!("{lead}{drawn}{rest}"), Bar { place, cells, ..bar.clone() }))
}

/// Finds the bar in a line that was read from a log, by the text before it.
pub(crate) fn find_bar(line: &str) -> Option<Bar> {
    let start = line.find("[█").or_else(|| line.find("[░"))?;
    let cells = &line[start + 1..start + line[start..].find(']')?];
    let count = cells.chars().count();
    let part = cells.chars().take_while(|c| *c == '█').count();
    let is_bar = cells.chars().skip(part).all(|c| c == '░');
    let is_in_place = line[..start].ends_with(": ") || line[..start].ends_with(" Extracting ");
    let place = start..start + cells.len() + 2;
    (is_bar && is_in_place).then_some(Bar { place, part: part as u64, whole: count as u64, cells: count })
}

/// The rows into which `text` is wrapped: the first of at most `first` cells, the others of at most `others`. It is
/// broken at blanks; within a word only if the word is longer than a row.
pub(crate) fn rows(text: &str, first: usize, others: usize) -> Vec<Range<usize>> {
    let (mut rows, mut start, mut room) = (Vec::new(), 0, first);
    loop {
        let (mut used, mut blank) = (0, None);
        let overflow = text[start..].char_indices().find(|(at, c)| {
            used += cells_of(*c);
            if *c == ' ' && *at > 0 && used > room / 4 {
                blank = Some(start + at);
            }
            used > room
        });
        let Some((end, c)) = overflow else {
            rows.push(start..text.len());
            return rows;
        };
        // At least one character in each row, however narrow the terminal is.
        let end = start + if end == 0 { c.len_utf8() } else { end };
        let stop = blank.unwrap_or(end);
        rows.push(start..stop);
        start = stop + usize::from(blank.is_some());
        if start == text.len() {
            return rows;
        }
        room = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_never_too_few() {
        let check = |text, expected| assert_eq!(cells(text), expected, "{text}");
        check("", 0);
        check("[2025-11-19 10:30:15] ", 22);
        check("[██░░] ≥…×", 10);
        check("⬇️  Layer", 9);
        check("⚠️  ", 4);
        check("✅ 📦 💾 🔁 ⏳ 🛑", 17);
        check("café", 4);
        check("图像 이미지 イメージ", 6 + 2 + 12);
    }

    #[test]
    fn bars_are_found_where_they_belong() {
        let bar = bar::bar(1, 4, bar::LAYER).to_string();
        let check = |line: String, expected: Option<(u64, usize)>| {
            let found = find_bar(&line);
            assert_eq!(found.as_ref().map(|bar| (bar.part, bar.cells)), expected, "{line}");
            assert!(found.is_none_or(|found| line[found.place] == bar), "{line}");
        };
        check(format!("⬇️  Layer a: {bar} 25% (1MB / 4MB)"), Some((10, 40)));
        check(format!("📂 Layer a: Extracting {bar} 25%"), Some((10, 40)));
        check(format!("❌ PULL FAILED: a{bar}"), None);
        check(format!("⬇️  Layer a: [{}] 50%", "░█".repeat(20)), None);
        check("⬇️  Layer a: [█".into(), None);
        let line = format!("⬇️  Layer a: {bar} 25%");
        let (shorter, found) = shrink(&line, &find_bar(&line).expect("a bar"), 32).expect("room");
        assert_eq!((shorter.as_str(), found.cells), ("⬇️  Layer a: [██░░░░░░] 25%", 8));
        assert_eq!(&shorter[found.place], "[██░░░░░░]");
        assert!(shrink(&line, &find_bar(&line).expect("a bar"), 36).is_none());
    }

    #[test]
    fn texts_are_broken_at_blanks() {
        let check = |text: &str, first, others, expected: &[&str]| {
            let rows: Vec<&str> = rows(text, first, others).into_iter().map(|row| &text[row]).collect();
            assert_eq!(rows, expected);
        };
        check("", 5, 5, &[""]);
        check("abc", 3, 3, &["abc"]);
        check("abc def", 3, 3, &["abc", "def"]);
        check("abc def ghi", 7, 4, &["abc def", "ghi"]);
        check("abcdefgh", 3, 4, &["abc", "defg", "h"]);
        check("a digest: 0123456789", 12, 10, &["a digest:", "0123456789"]);
        check("图像图像", 3, 5, &["图", "像图", "像"]);
        check("图像", 1, 1, &["图", "像"]);
        // A blank so early would leave a row nearly empty.
        check("⚠️  0123456789abcdef", 16, 10, &["⚠️  0123456789ab", "cdef"]);
    }
}
