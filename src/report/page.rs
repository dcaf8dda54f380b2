//! A screen full of rows, each with its tone: the frame of the monitor's pages.
//!
//! Apart from [`pages`](super::pages), which say what is on them, because here is what a small screen makes difficult.
//!
//! **Invariant:** pure. A page has as many rows as the screen, each as many cells as it is wide, and only characters that
//! the kernel's own font and Debian's console fonts have.

use crate::report::moment::Moment;
use crate::report::{sanitize, status};
use alm_state::Time;

/// From how many columns on everything is twice as large: 1080p has 240.
pub(super) const WIDE: usize = 160;

/// How a row is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// What goes well.
    Good,
    /// What is wrong.
    Bad,
    /// What to do, and what waits.
    Mark,
}

/// A row of the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// What there is to show beside the states.
pub(crate) struct Device<'a> {
    pub(crate) host: &'a str,
    pub(crate) site: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    pub(crate) moment: Moment,
    /// Percent used and bytes free where Docker keeps its images.
    pub(crate) disk: Option<(u64, u64)>,
    /// Whether Docker's socket is there.
    pub(crate) docker: bool,
    /// When Puppet last ran.
    pub(crate) puppet: Option<Time>,
}

/// A screen that is being filled from the top.
pub(super) struct Page<'a> {
    pub(super) device: &'a Device<'a>,
    pub(super) columns: usize,
    margin: usize,
    pub(super) rows: Vec<Row>,
    /// How many rows there are before the last one, which is the foot.
    pub(super) max: usize,
}

impl<'a> Page<'a> {
    pub(super) fn width(&self) -> usize {
        self.columns.saturating_sub(2 * self.margin)
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.max
    }

    /// A row with something at its left and something at its right end; what has no room is cut, the left first.
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

    pub(super) fn blank(&mut self) {
        self.put("", "", Tone::Plain);
    }

    /// Text over as many rows as it needs.
    pub(super) fn paragraph(&mut self, text: &str, tone: Tone) {
        let mut lines = Vec::new();
        status::wrap(text, "", Some(self.width().max(2)), &mut lines);
        for line in lines {
            self.put(&line, "", tone);
        }
    }

    /// The screen of `columns` by `rows`, with its head.
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

    /// The whole screen, with its foot.
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

/// `text` in characters that every console font has, at most `width` of them.
pub(super) fn fit(text: &str, width: usize) -> String {
    let safe = sanitize::safe(text).to_string();
    let all = safe.chars().count();
    let cut = if all > width { width.saturating_sub(2) } else { all };
    let shown = safe.chars().take(cut).map(|c| if is_in_font(c) { c } else { '?' });
    if all > width { shown.chain("..".chars()).take(width).collect() } else { shown.collect() }
}

/// What the kernel's own font (code page 437) and Lat15 share, and Latin-1.
fn is_in_font(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}' | '█' | '░' | '▒' | '─' | '│' | '■')
}
