//! What a terminal shows of a pull at one moment: a line for each layer that is being fetched, and the overall progress
//! below.
//!
//! Separate from the terminal, so that every width and every moment can be tested as text.
//!
//! **Invariant:** pure. Every line is narrower than the terminal, and the area lower. Every character takes one cell,
//! for which ids are limited to ASCII. Finished layers are not here, but in the log above.

use crate::pull::Pull;
use crate::pull::layer::{Layer, Phase};
use crate::pull::snapshot::{Amount, Snapshot};
use crate::report::bar;
use crate::report::fit::MIN_BAR;
use std::fmt::{self, Display, Write as _};

/// Cells of an id as docker shows it, and of a phase (`Retrying 25s`).
const ID: usize = 12;
const PHASE: usize = 12;

/// Cells of `100%` with a blank before it, and of `123MB / 456MB` with two.
const PERCENT: usize = 5;
const BYTES: usize = 15;

/// Cells of `Overall `.
const LABEL: usize = 8;

/// From this width on the overall progress takes one line and not two: bar, percentage and the longest numbers.
const ONE_LINE: usize = LABEL + bar::OVERALL + 2 + PERCENT + 60;

/// Appends the lines of the layers and of the overall progress: at most `rows - 1` lines, each at most `columns - 1`
/// wide.
pub(crate) fn draw(snapshot: &Snapshot<'_>, columns: usize, rows: usize, out: &mut String) {
    let (width, max) = (columns.saturating_sub(1), rows.saturating_sub(1));
    let whole = if width >= ONE_LINE { 1 } else { 2 }.min(max);
    // If possible, one row is left for the log above.
    layers(snapshot.pull, columns, (max - whole).saturating_sub(1), out);
    if whole > 0 {
        overall(snapshot, width, whole, out);
    }
}

/// Appends a line for each layer that is being fetched. If there are more than `max`, one line counts those that wait.
pub(crate) fn layers(pull: &Pull, columns: usize, max: usize, out: &mut String) {
    let open = || pull.layers.iter().filter(|layer| !layer.is_at_end());
    let mut count = [0; 3];
    open().for_each(|layer| count[rank(layer.phase)] += 1);
    let mut room = if count.iter().sum::<usize>() > max { max.saturating_sub(1) } else { max };
    let mut shown = count.map(|count| {
        let shown = count.min(room);
        room -= shown;
        shown
    });
    for (count, shown) in count.iter_mut().zip(shown) {
        *count -= shown;
    }
    for layer in open() {
        let left = &mut shown[rank(layer.phase)];
        if *left > 0 {
            *left -= 1;
            line(columns.saturating_sub(1), out, |out| layer_line(layer, columns.saturating_sub(1), out));
        }
    }
    if max > 0 && count != [0; 3] {
        line(columns.saturating_sub(1), out, |out| {
            let words = ["active", "downloaded", "waiting"];
            let parts = count.iter().zip(words).filter(|(count, _)| **count > 0);
            parts
                .enumerate()
                .try_for_each(|(at, (count, word))| write!(out, "{}{count} {word}", if at == 0 { "+ " } else { ", " }))
        });
    }
}

/// The order of layers: first those that move, then those that wait for extraction.
fn rank(phase: Phase) -> usize {
    match phase {
        Phase::Queued | Phase::Waiting => 2,
        Phase::Downloaded => 1,
        _ => 0,
    }
}

fn layer_line(layer: &Layer, width: usize, out: &mut String) -> fmt::Result {
    out.extend(layer.id.chars().take(ID).map(|c| if c.is_ascii_graphic() { c } else { '?' }));
    let id = layer.id.chars().count().min(ID);
    write!(out, "{:1$} ", "", ID - id)?;
    let (done, whole) = match (layer.phase, layer.extracted, layer.size) {
        (Phase::Queued | Phase::Waiting, ..) => (0, None),
        (Phase::Extracting, extracted, _) => extracted.map_or((0, None), |(done, whole)| (done, Some(whole))),
        (_, _, size) => (layer.done, size),
    };
    let whole = whole.filter(|whole| *whole > 0);
    let cells = width.saturating_sub(ID + 1 + PHASE + 1 + PERCENT + 2);
    let has_bytes = cells >= MIN_BAR + 3 + BYTES;
    let cells = if has_bytes { cells - BYTES } else { cells }.min(bar::LAYER);
    if width < ID + 1 + PHASE + PERCENT {
        return whole.map_or(Ok(()), |whole| write!(out, "{:>3}%", bar::percent(done, whole)));
    }
    match layer.phase {
        Phase::Queued | Phase::Waiting => write!(out, "{:PHASE$}", "Waiting"),
        Phase::Downloading => write!(out, "{:PHASE$}", "Downloading"),
        Phase::Retrying(seconds) => write!(out, "{:PHASE$}", Text(format_args!("Retrying {seconds}s"))),
        Phase::Verifying => write!(out, "{:PHASE$}", "Verifying"),
        Phase::Downloaded => write!(out, "{:PHASE$}", "Downloaded"),
        Phase::Extracting => write!(out, "{:PHASE$}", "Extracting"),
        Phase::Complete | Phase::Cached => write!(out, "{:PHASE$}", "Complete"),
    }?;
    let Some(whole) = whole else {
        // Bytes of an unknown size are placed where they would be beside a bar.
        if done > 0 && has_bytes {
            let cells = 1 + cells + 2 + PERCENT + BYTES;
            write!(out, "{:>cells$}", Text(format_args!("{}", bar::bytes(done))))?;
        }
        return Ok(());
    };
    if cells >= MIN_BAR {
        write!(out, " {}", bar::bar(done, whole, cells))?;
    }
    write!(out, " {:>3}%", bar::percent(done, whole))?;
    if has_bytes {
        // A downloaded layer has only one number.
        let is_all = done >= whole && layer.phase != Phase::Extracting;
        let part = fmt::from_fn(|f| if is_all { Ok(()) } else { write!(f, "{} / ", bar::bytes(done)) });
        write!(out, "  {:>1$}", Text(format_args!("{part}{}", bar::bytes(whole))), BYTES - 2)?;
    }
    Ok(())
}

/// Text that is padded as one piece.
struct Text<'a>(fmt::Arguments<'a>);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

fn overall(snapshot: &Snapshot<'_>, width: usize, rows: usize, out: &mut String) {
    let percent = snapshot.percent();
    let has_label = width >= LABEL + bar::OVERALL + 2 + PERCENT;
    let indent = if has_label { LABEL } else { 0 };
    let cells = bar::OVERALL.min(width.saturating_sub(2 + PERCENT));
    let is_one_line = rows == 1 && width >= ONE_LINE;
    line(width, out, |out| {
        out.push_str(if has_label { "Overall " } else { "" });
        if cells >= MIN_BAR {
            write!(out, "{} ", bar::bar(percent, 100, cells))?;
        }
        write!(out, "{percent:>3}%")?;
        if is_one_line { facts(snapshot, 2, width - (LABEL + bar::OVERALL + 2 + PERCENT), out) } else { Ok(()) }
    });
    if rows > 1 {
        line(width, out, |out| facts(snapshot, indent, width, out));
    }
}

/// Appends layers, bytes, speed and time left, in this order, as far as they fit into `room` cells; `before` is the
/// number of blanks before them.
fn facts(snapshot: &Snapshot<'_>, mut before: usize, mut room: usize, out: &mut String) -> fmt::Result {
    let Amount { done, total, is_exact } = snapshot.amount();
    let bound = if is_exact { "" } else { "≥" };
    let mut add = |fact: fmt::Arguments<'_>| {
        let fact = fact.to_string();
        let cells = before + fact.chars().count();
        if cells > room {
            // Shorter facts after this one are left out, too: they could be mistaken for it.
            room = 0;
            return Ok(());
        }
        room -= cells;
        write!(out, "{:1$}{fact}", "", std::mem::replace(&mut before, 2))
    };
    let layers = snapshot.pull.layers.len();
    if layers > 0 {
        add(format_args!("{}/{layers} layers", snapshot.pull.finished))?;
    }
    if total > 0 {
        add(format_args!("{} / {bound}{}", bar::bytes(done), bar::bytes(total)))?;
    }
    if let Some(speed) = snapshot.rate().and_then(|rate| bar::speed(rate, 1000)) {
        add(format_args!("{speed}"))?;
    }
    snapshot.left().map_or(Ok(()), |left| add(format_args!("{}", bar::left(left))))
}

/// Appends what `write` writes, cut to `width` cells, and a line end.
fn line(width: usize, out: &mut String, write: impl FnOnce(&mut String) -> fmt::Result) {
    let start = out.len();
    // Writing to a String cannot fail.
    let _ = write(out);
    if let Some((end, _)) = out[start..].char_indices().nth(width) {
        out.truncate(start + end);
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::event;
    use crate::pull::meter::{MAX_LEFT, Meter};

    const MB: u64 = 1_000_000;

    fn event(pull: &mut Pull, id: &str, status: &str, bytes: Option<(u64, u64)>) {
        let detail = bytes.map(|(current, total)| format!("\"current\":{current},\"total\":{total}"));
        let detail = detail.unwrap_or_default();
        let line = format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#);
        pull.apply(event::parse(line.as_bytes()));
    }

    /// One layer in each phase, and more that wait.
    fn pull() -> Pull {
        let mut pull = Pull::default();
        pull.apply(event::parse(br#"{"status":"Pulling from x","id":"latest"}"#));
        for id in ["cached", "complete", "extracting1234", "f\u{e9}e", "downloading0", "retrying", "w1", "w2", "w3"] {
            event(&mut pull, id, "Pulling fs layer", None);
        }
        event(&mut pull, "cached", "Already exists", None);
        event(&mut pull, "complete", "Extracting", Some((5 * MB, 5 * MB)));
        event(&mut pull, "complete", "Pull complete", None);
        event(&mut pull, "extracting1234", "Extracting", Some((1 << 62, u64::MAX)));
        event(&mut pull, "f\u{e9}e", "Downloading", Some((5, 999_999_999)));
        event(&mut pull, "f\u{e9}e", "Download complete", None);
        event(&mut pull, "downloading0", "Downloading", Some((12 * MB, 50 * MB)));
        event(&mut pull, "retrying", "Downloading", Some((1, 12_345)));
        event(&mut pull, "retrying", "Retrying in 25 seconds", None);
        pull
    }

    fn drawn(pull: &Pull, meter: &Meter, columns: usize, rows: usize) -> String {
        let mut out = String::new();
        draw(&Snapshot { pull, meter, at: 0 }, columns, rows, &mut out);
        out
    }

    #[test]
    fn bytes_of_an_unknown_size_stand_where_others_do() {
        let mut pull = Pull::default();
        for id in ["known", "unknown"] {
            event(&mut pull, id, "Pulling fs layer", None);
        }
        event(&mut pull, "known", "Downloading", Some((12 * MB, 50 * MB)));
        let line = br#"{"status":"Downloading","progressDetail":{"current":7000000,"total":-1},"id":"unknown"}"#;
        pull.apply(event::parse(line));
        let drawn = |columns| drawn(&pull, &Meter::default(), columns, 24);
        let wide = drawn(100);
        let mut lines = wide.lines();
        let (known, unknown) = (lines.next().expect("a layer"), lines.next().expect("a layer"));
        assert!(known.ends_with("12MB / 50MB") && unknown.ends_with("         7MB"), "{wide}");
        assert_eq!(known.chars().count(), unknown.chars().count(), "{wide}");
        assert_eq!(unknown.split_whitespace().collect::<Vec<_>>(), ["unknown", "Downloading", "7MB"]);
        for columns in 1..100 {
            assert!(drawn(columns).lines().all(|line| line.chars().count() < columns), "{columns}");
        }
    }

    #[test]
    fn no_width_and_no_height_is_passed() {
        let pull = pull();
        let mut meter = Meter::default();
        (meter.speed, meter.left) = (Some(u64::MAX), Some(MAX_LEFT - 1));
        for columns in (1..=200).chain([1000]) {
            for rows in 1..=30 {
                let area = drawn(&pull, &meter, columns, rows);
                assert!(
                    area.lines().count() < rows.max(2) && (rows > 1 || area.is_empty()),
                    "{columns}x{rows}\n{area}"
                );
                // No character here is wider than one cell, so characters can be counted.
                assert!(area.chars().all(|c| c.is_ascii() || "█░≥".contains(c)), "{area}");
                assert!(area.lines().all(|line| line.chars().count() < columns), "{columns}x{rows}\n{area}");
            }
        }
        for columns in 20..=200 {
            let area = drawn(&pull, &meter, columns, 30);
            assert!(area.contains('%') && area.contains("downloading0") && area.contains("2/9 layers"), "{area}");
        }
    }

    #[test]
    fn what_waits_is_folded() {
        let pull = pull();
        let check = |pull: &Pull, rows, expected: &[&str]| {
            let area = drawn(pull, &Meter::default(), 40, rows);
            let words = area.lines().map(|line| line.split_once(" [").map_or(line, |(words, _)| words.trim_end()));
            let words: Vec<_> = words.take_while(|line| !line.starts_with('[')).collect();
            assert_eq!(words, expected, "{area}");
        };
        let [extracting, downloaded] = ["extracting12 Extracting", "f?e          Downloaded"];
        let [downloading, retrying] = ["downloading0 Downloading", "retrying     Retrying 25s"];
        let waiting = ["w1           Waiting", "w2           Waiting", "w3           Waiting"];
        let [w1, w2, w3] = waiting;
        check(&pull, 11, &[extracting, downloaded, downloading, retrying, w1, w2, w3]);
        check(&pull, 10, &[extracting, downloaded, downloading, retrying, w1, "+ 2 waiting"]);
        check(&pull, 8, &[extracting, downloading, retrying, "+ 1 downloaded, 3 waiting"]);
        check(&pull, 6, &[extracting, "+ 2 active, 1 downloaded, 3 waiting"]);
        check(&pull, 5, &["+ 3 active, 1 downloaded, 3 waiting"]);
        check(&pull, 4, &[]);
    }
}
