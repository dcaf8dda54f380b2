//! A screen of rows, each with its tone: the frame of the monitor's pages.
//!
//! Separate from [`pages`](super::pages), which fill it, because this handles the limits of small screens.
//!
//! **Invariant:** pure. A page has as many rows as the screen, none is wider than it, and all characters are in the
//! kernel's own font and in Debian's console fonts.

use crate::report::moment::Moment;
use crate::report::{sanitize, status};
use alm_state::Time;

/// From this number of columns on everything is twice as large; a console with 1080p has 240.
pub(super) const WIDE: usize = 160;

/// How a row is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// For what is well.
    Good,
    /// For what is wrong.
    Bad,
    /// For advice, and for what waits.
    Mark,
}

/// A row of the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// The facts about the device that are shown besides the states.
pub(crate) struct Device<'a> {
    pub(crate) host: &'a str,
    pub(crate) site: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    pub(crate) moment: Moment,
    /// Percent used and bytes free in Docker's directory.
    pub(crate) disk: Option<(u64, u64)>,
    /// Whether Docker's socket exists.
    pub(crate) docker: bool,
    /// When Puppet last ran.
    pub(crate) puppet: Option<Time>,
}

/// A screen that is filled from the top.
pub(super) struct Page<'a> {
    pub(super) device: &'a Device<'a>,
    pub(super) columns: usize,
    margin: usize,
    pub(super) rows: Vec<Row>,
    /// The number of rows before the last one, which is the footer.
    pub(super) max: usize,
}

impl<'a> Page<'a> {
    pub(super) fn width(&self) -> usize {
        self.columns.saturating_sub(2 * self.margin)
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.max
    }

    /// Adds a row with `left` at its left end and `right` at its right end. If they do not fit, `left` is cut first.
    pub(super) fn put(&mut self, left: &str, right: &str, tone: Tone) {
        if self.is_full() {
            return;
        }
        let width = self.width();
        let right = fit(right, width);
        let room = width - right.chars().count();
        let left = fit(left, if right.is_empty() { room } else { room.saturating_sub(2) });
        let gap = width - left.chars().count() - right.chars().count();
        let text = format!("{:margin$}{left}{:gap$}{right}{:margin$}", "", "", "", margin = self.margin);
        self.rows.push(Row { text, tone });
    }

    /// Adds the name of an image.
    pub(super) fn name(&mut self, name: &str) {
        self.put(&fit_name(name, self.width()), "", Tone::Plain);
    }

    pub(super) fn blank(&mut self) {
        self.put("", "", Tone::Plain);
    }

    /// Adds a text in as many rows as it needs.
    pub(super) fn paragraph(&mut self, text: &str, tone: Tone) {
        let mut lines = Vec::new();
        status::wrap(&in_font(text), "", Some(self.width().max(2)), &mut lines);
        for line in lines {
            self.put(&line, "", tone);
        }
    }

    /// A screen of `columns` by `rows`, with its header.
    pub(super) fn new(device: &'a Device<'a>, columns: usize, rows: usize) -> Self {
        let margin = if columns >= WIDE { 8 } else { 2.min(columns / 10) };
        let mut page = Self { device, columns, margin, rows: Vec::new(), max: rows.saturating_sub(1) };
        page.header();
        page
    }

    fn header(&mut self) {
        let Device { host, site, address, moment, .. } = *self.device;
        let (date, time) = (moment.now.date(), moment.now.time());
        let (year, month, day) = date.to_calendar_date();
        let site = site.map(|site| format!("   {site}")).unwrap_or_default();
        let address = address.map(|address| format!("   {address}")).unwrap_or_default();
        let clock =
            format!("{year:04}-{:02}-{day:02} {:02}:{:02}{address}", u8::from(month), time.hour(), time.minute());
        self.put(&format!("{host}{site}"), &clock, Tone::Plain);
        if !self.is_full() {
            self.rows.push(Row { text: "─".repeat(self.columns), tone: Tone::Plain });
        }
        self.blank();
    }

    /// The whole screen, with its footer.
    pub(super) fn finish(mut self, rows: usize) -> Vec<Row> {
        while self.rows.len() < self.max {
            self.blank();
        }
        self.rows.truncate(self.max);
        self.max += 1;
        let version = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
        self.put("log in: Alt-F2", version, Tone::Plain);
        self.rows.truncate(rows);
        self.rows
    }
}

/// `text` limited to characters that every console font has, and to `width` of them.
pub(super) fn fit(text: &str, width: usize) -> String {
    let shown = in_font(text);
    let all = shown.chars().count();
    if all > width {
        shown.chars().take(width.saturating_sub(2)).chain("..".chars()).take(width).collect()
    } else {
        shown
    }
}

/// A name likewise: its end says most, so that the beginning is cut.
pub(super) fn fit_name(name: &str, width: usize) -> String {
    let shown = in_font(name);
    let (all, dots) = (shown.chars().count(), 2.min(width));
    if all > width { "..".chars().take(dots).chain(shown.chars().skip(all + dots - width)).collect() } else { shown }
}

/// `text` limited to characters that every console font has. What was cut ends with `…`, which some fonts lack.
fn in_font(text: &str) -> String {
    let safe = sanitize::safe(text).to_string().replace('…', "..");
    safe.chars().map(|c| if is_in_font(c) { c } else { '?' }).collect()
}

/// Whether the character is in both the kernel's own font (code page 437) and Lat15, or in Latin-1.
fn is_in_font(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}' | '█' | '░' | '▒' | '─' | '│' | '■' | '≥')
}
