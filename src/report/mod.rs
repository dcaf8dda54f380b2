//! The report of a pull: which lines of text an [`Update`] produces, and when.
//!
//! Separate from the sinks, so that the log, a pipe and a terminal show the same session; and from the clock, so that a
//! replay prints the same bytes as the live pull.
//!
//! **Invariant:** pure. Every time is `at`, in whole milliseconds since the pull began, as the caller measured it. An
//! engine's text is sanitized here, before it becomes part of a line.

pub(crate) mod bar;
mod digits;
pub(crate) mod fit;
mod image;
mod layer;
pub(crate) mod layout;
pub(crate) mod line;
pub(crate) mod moment;
pub(crate) mod page;
pub(crate) mod pages;
pub(crate) mod sanitize;
mod sizes;
pub(crate) mod stamp;
pub(crate) mod status;
pub(crate) mod throttle;

use crate::pull::layer::{Change, Layer};
use crate::pull::meter::Meter;
use crate::pull::{Pull, Update};
use crate::report::line::{About, Bar, Line, Part, Topic};
use crate::report::throttle::{Schedule, Throttle};
use std::fmt::{Arguments, Write as _};

/// The longest line for people, in characters without the stamp `[2025-11-19 10:30:15] `.
const MAX_HUMAN: usize = 1_000 - 22;

/// The longest raw line, in bytes.
const MAX_RAW: usize = 64 << 10;

/// Terminals draw this sign two cells wide and count one, hence the second blank.
const WARNING: &str = "⚠️  ";

const RULE: &str = "==========================================";

/// Turns updates into lines. The callback of every method gets the lines in their order.
#[derive(Default)]
pub(crate) struct Report {
    throttle: Throttle,
    schedule: Schedule,
    /// Updated with the pull before each event, and when time passes.
    pub(crate) meter: Meter,
    /// Whether bytes are reported; docker's CLI reports none.
    has_bytes: bool,
    shown: sizes::Shown,
    /// The layers whose `queued` line is held back; for a cached layer with the number of finished layers.
    held: Vec<(usize, Option<usize>)>,
    /// The layer that moved last.
    moving: Option<usize>,
    text: String,
    raw: String,
}

type Out<'a> = &'a mut dyn FnMut(&Line<'_>);

impl Report {
    /// Emits the lines that are due by now, each with the time when it was due. To be called before each event and on
    /// each tick.
    pub(crate) fn advance(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        while let Some(due) = self.schedule.next(at) {
            self.notices(pull, due, out);
            self.meter.advance(pull, due);
            self.overall(pull, due, out);
        }
        if self.throttle.has_notices(at) {
            self.notices(pull, at, out);
        }
        self.meter.advance(pull, at);
    }

    /// Emits the lines about layers that are due by now.
    fn notices(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        if let Some(due) = self.throttle.held_until().filter(|due| at >= *due) {
            self.release(pull, due, out);
        }
        if !self.has_bytes {
            return;
        }
        while let Some((due, seconds)) = self.throttle.next_stall_notice(at) {
            let layer = self.moving.and_then(|at| pull.layers.get(at)).filter(|layer| !layer.is_at_end());
            let about = About::Image(Topic::Stuck, layer.map_or("", |layer| &layer.id));
            let body = Part::Body;
            match layer {
                Some(Layer { id, size: Some(size), done, .. }) if done < size => {
                    let (id, done, size) = (sanitize::safe(id), bar::bytes(*done), bar::bytes(*size));
                    let line = format_args!("⏳ No progress for {seconds}s ({id}: {done} / {size})");
                    self.emit(due, body, about, out, line);
                }
                Some(Layer { id, size: None, done: done @ 1.., .. }) => {
                    let (id, done) = (sanitize::safe(id), bar::bytes(*done));
                    self.emit(due, body, about, out, format_args!("⏳ No progress for {seconds}s ({id}: {done})"));
                }
                Some(Layer { id, .. }) => {
                    let id = sanitize::safe(id);
                    self.emit(due, body, about, out, format_args!("⏳ No progress for {seconds}s ({id})"));
                }
                None => self.emit(due, body, about, out, format_args!("⏳ No progress for {seconds}s")),
            }
        }
    }

    /// Emits the lines for an event that was applied to `pull`. `line` is the engine's raw line; `announces` is whether
    /// the event belongs to the announcement of layers ([`announces`](crate::pull::event::Event::announces)).
    pub(crate) fn event(
        &mut self,
        pull: &Pull,
        update: &Update<'_>,
        announces: bool,
        line: &[u8],
        at: u64,
        out: Out<'_>,
    ) {
        if !announces && !self.held.is_empty() {
            self.release(pull, at, out);
        }
        if update.is_movement() {
            self.throttle.moved(at);
            self.schedule.moved();
        }
        let is_progress = matches!(
            update,
            Update::Nothing | Update::Moved | Update::Layer(_, Change::None | Change::Moved | Change::Grew)
        );
        if !is_progress {
            self.raw.clear();
            let _ = write!(self.raw, "{}", sanitize::safe(&String::from_utf8_lossy(line)));
            sanitize::cut_bytes(&mut self.raw, MAX_RAW);
        }
        let body = Part::Body;
        match update {
            Update::Nothing | Update::Moved | Update::Silent | Update::Problem => {}
            Update::PullingFrom(name) => self.image(Topic::Repository, "🔄 Pulling from ", name, at, body, out),
            Update::Digest(digest) => self.image(Topic::Digest, "🔐 Image digest: ", digest, at, body, out),
            Update::Status(status) => self.image(Topic::Status, "📊 Status: ", status, at, body, out),
            Update::Warning(warning) => self.image(Topic::Warning, WARNING, warning, at, body, out),
            Update::Layer(layer, change) => self.layer_event(pull, *layer, *change, at, out),
        }
        if !self.raw.is_empty() {
            out(&Line { at, part: body, about: About::Text, raw: Some(&self.raw), text: None, bar: None });
            self.raw.clear();
        }
    }

    /// Emits what was held back, at the end of the stream.
    pub(crate) fn end(&mut self, pull: &Pull, at: u64, out: Out<'_>) {
        self.advance(pull, at, out);
        if !self.held.is_empty() {
            self.release(pull, at, out);
        }
    }

    /// Emits a line about the image: `lead` and `text`.
    fn image(&mut self, topic: Topic, lead: &str, text: &str, at: u64, part: Part, out: Out<'_>) {
        self.emit(at, part, About::Image(topic, text), out, format_args!("{lead}{}", sanitize::safe(text)));
    }

    fn say(&mut self, at: u64, part: Part, out: Out<'_>, line: Arguments<'_>) {
        self.emit(at, part, About::Text, out, line);
    }

    fn rule(&mut self, at: u64, part: Part, out: Out<'_>) {
        self.emit(at, part, About::Rule, out, format_args!("{RULE}"));
    }

    fn emit(&mut self, at: u64, part: Part, about: About<'_>, out: Out<'_>, line: Arguments<'_>) {
        self.text.clear();
        let _ = self.text.write_fmt(line);
        self.push(at, part, about, out, None);
    }

    fn emit_bar(&mut self, at: u64, part: Part, about: About<'_>, out: Out<'_>, line: &WithBar<'_>) {
        let &WithBar { lead, part: done, whole, cells, rest } = line;
        self.text.clear();
        let _ = self.text.write_fmt(lead);
        let start = self.text.len();
        let _ = write!(self.text, "{}", bar::bar(done, whole, cells));
        let bar = Bar { place: start..self.text.len(), part: done, whole, cells };
        let _ = self.text.write_fmt(rest);
        self.push(at, part, about, out, Some(bar));
    }

    /// Passes the line to `out`, with the raw line if that was not emitted yet.
    fn push(&mut self, at: u64, part: Part, about: About<'_>, out: Out<'_>, bar: Option<Bar>) {
        sanitize::cut(&mut self.text, MAX_HUMAN);
        let raw = Some(self.raw.as_str()).filter(|raw| !raw.is_empty());
        let bar = bar.filter(|bar| bar.place.end <= self.text.len());
        out(&Line { at, part, about, raw, text: Some(&self.text), bar });
        self.raw.clear();
    }
}

/// A line with a bar.
struct WithBar<'a> {
    lead: Arguments<'a>,
    part: u64,
    whole: u64,
    cells: usize,
    rest: Arguments<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::End;
    use crate::pull::event;
    use crate::report::line::Retry;
    use crate::report::throttle::LONG_PULL;

    /// A report and the lines that it has emitted: `milliseconds text`, raw lines in `<>`.
    struct Fixture {
        pull: Pull,
        report: Report,
        lines: Vec<String>,
    }

    impl Fixture {
        fn new() -> Self {
            Self { pull: Pull::default(), report: Report::default(), lines: Vec::new() }
        }

        fn keep(lines: &mut Vec<String>) -> impl FnMut(&Line<'_>) {
            |line| {
                if let Some(raw) = line.raw {
                    lines.push(format!("{} <{raw}>", line.at));
                }
                if let Some(text) = line.text {
                    lines.push(format!("{} {text}", line.at));
                }
            }
        }

        fn say(&mut self, at: u64, line: &str) {
            let Self { pull, report, lines } = self;
            let out = &mut Self::keep(lines);
            report.advance(pull, at, out);
            let event = event::parse(line.as_bytes());
            let announces = event.announces();
            let update = pull.apply(event);
            report.event(pull, &update, announces, line.as_bytes(), at, out);
        }

        /// Something about a layer.
        fn step(&mut self, at: u64, id: &str, status: &str) {
            self.say(at, &format!(r#"{{"status":"{status}","progressDetail":{{}},"id":"{id}"}}"#));
        }

        fn bar(&mut self, at: u64, id: &str, status: &str, current: u64, total: u64) {
            let detail = format!(r#"{{"current":{current},"total":{total}}}"#);
            self.say(at, &format!(r#"{{"status":"{status}","progressDetail":{detail},"id":"{id}"}}"#));
        }

        fn tick(&mut self, at: u64) {
            self.report.advance(&self.pull, at, &mut Self::keep(&mut self.lines));
        }

        fn close(&mut self, at: u64, end: &End) {
            let Self { pull, report, lines } = self;
            let (verdict, out) = (pull.verdict(end), &mut Self::keep(lines));
            report.end(pull, at, out);
            while let Some(update) = pull.settle(&verdict) {
                report.settled(pull, &update, at, out);
            }
            report.has_bytes = true;
            report.close(pull, &verdict, Some("127.0.0.1:5000"), at, out);
        }

        /// What was emitted since the last time, without raw lines and with bars as `[3]`, the count of their full cells.
        fn since(&mut self) -> Vec<String> {
            let lines = std::mem::take(&mut self.lines);
            let human = lines.into_iter().filter(|line| !line.contains(" <"));
            human
                .map(|line| match (line.find(['█', '░']), line.rfind(['█', '░'])) {
                    (Some(from), Some(to)) => {
                        let full = line.matches('█').count();
                        format!("{}{full}{}", &line[..from], &line[to + '█'.len_utf8()..])
                    }
                    _ => line,
                })
                .collect()
        }
    }

    #[test]
    fn queued_lines_wait_for_the_others() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.step(100, "b", "Already exists");
        fixture.step(200, "b", "Waiting");
        fixture.tick(249);
        assert!(fixture.since().is_empty());
        // Due a quarter of a second after the first, and stamped with that time however late the tick is.
        fixture.tick(400);
        let expected = [
            "250 📋 Layer a queued (total: 2 layers)",
            "250 📋 Layer b queued (total: 2 layers)",
            "250 💾 Layer b: Already cached (1/2)",
        ];
        assert_eq!(fixture.since(), expected);
        // Later ones wait for themselves; whatever is no announcement ends the waiting at once.
        fixture.step(1000, "c", "Pulling fs layer");
        fixture.step(1001, "d", "Pulling fs layer");
        fixture.step(1002, "c", "Waiting");
        assert!(fixture.since().is_empty());
        fixture.bar(1003, "c", "Downloading", 1, 4);
        let expected = [
            "1003 📋 Layer c queued (total: 4 layers)",
            "1003 📋 Layer d queued (total: 4 layers)",
            "1003 ⬇️  Layer c: [10] 25% (1B / 4B)",
        ];
        assert_eq!(fixture.since(), expected);
        // One that was announced and is there after all.
        fixture.step(2000, "d", "Already exists");
        assert_eq!(fixture.since(), ["2000 💾 Layer d: Already cached (2/4)"]);
    }

    #[test]
    fn the_order_of_announcement_and_time_does_not_matter_to_a_replay() {
        // An event that comes after the line was due: first the line, with the time it was due.
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.step(300, "b", "Pulling fs layer");
        assert_eq!(fixture.since(), ["250 📋 Layer a queued (total: 1 layers)"]);
        fixture.tick(550);
        assert_eq!(fixture.since(), ["550 📋 Layer b queued (total: 2 layers)"]);
    }

    #[test]
    fn bars_come_every_two_seconds_a_layer() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.step(0, "b", "Pulling fs layer");
        for at in (0..=5000).step_by(500) {
            fixture.bar(at, "a", "Downloading", 1 + at, 10_000);
            fixture.bar(at + 100, "b", "Downloading", 1 + at, 10_000);
        }
        let bars: Vec<String> = fixture.since().into_iter().filter(|line| line.contains('⬇')).collect();
        let expected = [
            "0 ⬇️  Layer a: [0] 0% (1B / 10KB)",
            "100 ⬇️  Layer b: [0] 0% (1B / 10KB)",
            "2000 ⬇️  Layer a: [8] 20% (2KB / 10KB)",
            "2100 ⬇️  Layer b: [8] 20% (2KB / 10KB)",
            "4000 ⬇️  Layer a: [16] 40% (4KB / 10KB)",
            "4100 ⬇️  Layer b: [16] 40% (4KB / 10KB)",
        ];
        assert_eq!(bars, expected);
    }

    #[test]
    fn bars_of_a_long_pull_come_every_ten_seconds() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        for at in (0..=320_000).step_by(1000) {
            fixture.bar(at, "a", "Downloading", 1 + at, 1_000_000);
        }
        let lines = fixture.since();
        let times: Vec<u64> = lines
            .iter()
            .filter(|line| line.contains('⬇'))
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect();
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let long = times.iter().position(|&at| at >= LONG_PULL).expect("a long pull");
        assert!(gaps[..long - 1].iter().all(|&gap| gap == 2000), "{gaps:?}");
        assert!(gaps[long..].iter().all(|&gap| gap == 10_000), "{gaps:?}");
    }

    #[test]
    fn a_bar_is_not_repeated() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.bar(0, "a", "Downloading", 1000, 1_000_000);
        fixture.bar(3000, "a", "Downloading", 1001, 1_000_000);
        fixture.bar(6000, "a", "Downloading", 1999, 1_000_000);
        fixture.bar(6001, "a", "Downloading", 2000, 1_000_000);
        let expected = [
            "0 📋 Layer a queued (total: 1 layers)",
            "0 ⬇️  Layer a: [0] 0% (1KB / 1MB)",
            "6001 ⬇️  Layer a: [0] 0% (2KB / 1MB)",
        ];
        assert_eq!(fixture.since(), expected);
    }

    #[test]
    fn each_phase_counts_anew_and_ends_full() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.bar(10, "a", "Downloading", 1, 100);
        fixture.bar(2010, "a", "Downloading", 60, 100);
        fixture.step(2500, "a", "Verifying Checksum");
        fixture.step(2600, "a", "Download complete");
        fixture.bar(2700, "a", "Extracting", 10, 100);
        fixture.bar(2800, "a", "Extracting", 20, 100);
        fixture.bar(4700, "a", "Extracting", 50, 100);
        fixture.step(4800, "a", "Pull complete");
        let expected = [
            "10 📋 Layer a queued (total: 1 layers)",
            "10 ⬇️  Layer a: [0] 1% (1B / 100B)",
            "2010 ⬇️  Layer a: [24] 60% (60B / 100B)",
            "2500 ⬇️  Layer a: [40] 100% (100B / 100B)",
            "2500 🔍 Layer a: Verifying checksum...",
            "2600 ✅ Layer a: Download complete",
            "2700 📂 Layer a: Extracting...",
            "4700 📂 Layer a: Extracting [20] 50%",
            "4800 📂 Layer a: Extracting [40] 100%",
            "4800 ✅ Layer a: Complete (1/1), 100B in 4s",
        ];
        assert_eq!(fixture.since(), expected);
    }

    #[test]
    fn a_phase_that_showed_no_later_bar_ends_without_one() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.bar(10, "a", "Downloading", 1, 100);
        fixture.bar(900, "a", "Downloading", 99, 100);
        fixture.step(1000, "a", "Download complete");
        fixture.say(1100, r#"{"status":"Extracting","progressDetail":{"current":1,"units":"s"},"id":"a"}"#);
        fixture.say(9100, r#"{"status":"Extracting","progressDetail":{"current":9,"units":"s"},"id":"a"}"#);
        fixture.step(9200, "a", "Pull complete");
        let expected = [
            "10 📋 Layer a queued (total: 1 layers)",
            "10 ⬇️  Layer a: [0] 1% (1B / 100B)",
            "1000 ✅ Layer a: Download complete",
            "1100 📂 Layer a: Extracting...",
            "9200 ✅ Layer a: Complete (1/1), 100B in 9s",
        ];
        assert_eq!(fixture.since(), expected);
    }

    #[test]
    fn a_full_count_that_nothing_confirms_is_not_shown() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.bar(10, "a", "Downloading", 30, 100);
        fixture.bar(3000, "a", "Downloading", 100, 100);
        for seconds in (1..=5).rev() {
            fixture.step(8000 - seconds * 1000, "a", &format!("Retrying in {seconds} seconds"));
        }
        fixture.bar(8000, "a", "Downloading", 10, 70);
        let expected = [
            "10 📋 Layer a queued (total: 1 layers)",
            "10 ⬇️  Layer a: [12] 30% (30B / 100B)",
            "3000 🔁 Layer a: retrying in 5s",
            "8000 ⬇️  Layer a: [16] 40% (40B / 100B)",
        ];
        assert_eq!(fixture.since(), expected);
    }

    #[test]
    fn lack_of_progress_is_reported_after_one_two_and_four_minutes() {
        let mut fixture = Fixture::new();
        fixture.report.has_bytes = true;
        // The overall lines are not compared here.
        let layers = |fixture: &mut Fixture| {
            fixture.since().into_iter().filter(|line| !line.contains("Overall")).collect::<Vec<_>>()
        };
        fixture.report.throttle.moved(0);
        fixture.tick(59_999);
        assert!(layers(&mut fixture).is_empty());
        fixture.tick(60_000);
        assert_eq!(layers(&mut fixture), ["60000 ⏳ No progress for 60s"]);
        fixture.step(60_500, "a", "Pulling fs layer");
        fixture.bar(61_000, "a", "Downloading", 12_000_000, 50_000_000);
        fixture.since();
        // The containerd store repeats itself whether or not anything moves: that is no movement.
        for at in (61_100..=301_500).step_by(100) {
            fixture.bar(at, "a", "Downloading", 12_000_000, 50_000_000);
        }
        let expected = [
            "121000 ⏳ No progress for 60s (a: 12MB / 50MB)",
            "181000 ⏳ No progress for 120s (a: 12MB / 50MB)",
            "301000 ⏳ No progress for 240s (a: 12MB / 50MB)",
        ];
        assert_eq!(layers(&mut fixture), expected);
        // Movement begins it anew; what is known of the layer is shown.
        fixture.step(400_000, "a", "Download complete");
        fixture.since();
        fixture.tick(460_000);
        assert_eq!(layers(&mut fixture), ["460000 ⏳ No progress for 60s (a)"]);
        fixture.step(470_000, "a", "Pull complete");
        fixture.since();
        fixture.tick(1_000_000);
        let expected = [
            "530000 ⏳ No progress for 60s",
            "590000 ⏳ No progress for 120s",
            "710000 ⏳ No progress for 240s",
            "950000 ⏳ No progress for 480s",
        ];
        assert_eq!(layers(&mut fixture), expected);
    }

    #[test]
    fn the_engines_lines_come_before_what_they_caused() {
        let mut fixture = Fixture::new();
        let progress = r#"{"status":"Downloading","progressDetail":{"current":2,"total":9},"id":"a"}"#;
        for (at, line) in [
            (0, r#"{"status":"Pulling from x","id":"1"}"#),
            (1, r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a"}"#),
            (300, r#"{"status":"Downloading","progressDetail":{"current":1,"total":9},"id":"a"}"#),
            (301, progress),
            (5000, progress),
            (5001, "not \u{1b} JSON"),
            (5002, r#"{"error":"full"}"#),
        ] {
            fixture.say(at, line);
        }
        let expected = [
            r#"0 <{"status":"Pulling from x","id":"1"}>"#,
            "0 🔄 Pulling from x",
            r#"1 <{"status":"Pulling fs layer","progressDetail":{},"id":"a"}>"#,
            "251 📋 Layer a queued (total: 1 layers)",
            r#"300 <{"status":"Downloading","progressDetail":{"current":1,"total":9},"id":"a"}>"#,
            "300 ⬇️  Layer a: [████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 11% (1B / 9B)",
            "5001 <not \\u{1b} JSON>",
            r#"5002 <{"error":"full"}>"#,
        ];
        assert_eq!(fixture.lines, expected);
    }

    #[test]
    fn overall_lines_depend_on_the_clock_and_not_on_the_ticks() {
        let play = |ticks: u64| {
            let mut fixture = Fixture::new();
            fixture.report.has_bytes = true;
            let mut last = 0;
            let mut to = |fixture: &mut Fixture, at: u64| {
                for tick in (last..at).step_by(usize::try_from(ticks).expect("small")).skip(1) {
                    fixture.tick(tick);
                }
                last = at;
            };
            fixture.say(0, r#"{"status":"Pulling from x","id":"1"}"#);
            for id in ["a", "b"] {
                fixture.step(20, id, "Pulling fs layer");
            }
            for second in 1..=25 {
                to(&mut fixture, second * 1000 + 3);
                fixture.bar(second * 1000 + 3, "a", "Downloading", second * 2_000_000, 70_000_000);
            }
            to(&mut fixture, 26_000);
            fixture.bar(26_000, "b", "Downloading", 1_000_000, 30_000_000);
            // Nothing moves for two minutes, and then a little in the time of longer intervals.
            to(&mut fixture, 170_001);
            fixture.bar(170_001, "b", "Downloading", 2_000_000, 30_000_000);
            to(&mut fixture, 301_000);
            fixture.bar(301_000, "b", "Downloading", 25_000_000, 30_000_000);
            to(&mut fixture, 400_000);
            fixture.tick(400_000);
            fixture.since()
        };
        let seldom = play(u64::from(u32::MAX));
        let overall: Vec<_> = seldom.iter().filter(|line| line.contains("Overall")).map(String::as_str).collect();
        assert_eq!(
            overall,
            [
                "10000 Overall Progress: [4] 9% (18MB / ≥70MB, 2.0MB/s)",
                "20000 Overall Progress: [9] 19% (38MB / ≥70MB, 2.0MB/s)",
                "30000 Overall Progress: [17] 35% (51MB / 100MB, 1.3MB/s, 38s left)",
                "180000 Overall Progress: [18] 36% (52MB / 100MB, 100KB/s, 8m00s left)",
                "360000 Overall Progress: [26] 52% (75MB / 100MB, 0B/s)",
            ]
        );
        for ticks in [1, 7, 50, 333, 500, 9_999] {
            assert_eq!(play(ticks), seldom, "a tick each {ticks} ms");
        }
    }

    #[test]
    fn the_closing_block() {
        let bar = |full| format!("[{full}]");
        let mut fixture = Fixture::new();
        fixture.say(0, r#"{"status":"Pulling from x","id":"1"}"#);
        fixture.step(0, "a", "Pulling fs layer");
        fixture.step(0, "b", "Pulling fs layer");
        fixture.bar(0, "a", "Downloading", 35_000_000, 70_000_000);
        fixture.step(9000, "a", "Download complete");
        fixture.since();
        fixture.close(15_000, &End::Cut(Some("no space left on device".into())));
        let failed = [
            format!("15000 {RULE}"),
            "15000 ❌ PULL FAILED: no space left on device".into(),
            "15000 💡 make room where Docker keeps its images (df -h /var/lib/docker; docker image prune), then pull again".into(),
            format!("15000 Stopped at: {} 35%", bar(17)),
            "15000 Layers: 0/2 completed".into(),
            "15000 Downloaded: 70MB in 15s (4.6MB/s)".into(),
            format!("15000 {RULE}"),
        ];
        assert_eq!(fixture.since(), failed);
        fixture.say(15_000, r#"{"status":"Status: Downloaded newer image for x"}"#);
        fixture.since();
        fixture.close(15_000, &End::Complete);
        let succeeded = [
            "15000 ✅ Layer a: Complete (1/2), 70MB in 15s".to_owned(),
            "15000 ✅ Layer b: Complete (2/2)".into(),
            format!("15000 {RULE}"),
            "15000 ✅ PULL SUCCESSFUL".into(),
            format!("15000 Overall Progress: {} 100%", bar(50)),
            "15000 Layers: 2/2 completed".into(),
            "15000 Downloaded: ≥70MB in 15s (4.6MB/s)".into(),
            format!("15000 {RULE}"),
        ];
        // The size of b was never known.
        assert_eq!(fixture.since(), succeeded);
        let mut fixture = Fixture::new();
        fixture.close(0, &End::Signal(15));
        let interrupted = [
            format!("0 {RULE}"),
            "0 🛑 PULL INTERRUPTED (SIGTERM)".into(),
            format!("0 Stopped at: {} 0%", bar(0)),
            format!("0 {RULE}"),
        ];
        assert_eq!(fixture.since(), interrupted);
    }

    #[test]
    fn what_is_held_back_comes_before_the_closing_block() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        fixture.close(10, &End::Signal(2));
        assert_eq!(fixture.since()[..2], ["10 📋 Layer a queued (total: 1 layers)".to_owned(), format!("10 {RULE}")]);
    }

    #[test]
    fn a_retry_is_reported_with_its_number() {
        let mut fixture = Fixture::new();
        fixture.step(0, "a", "Pulling fs layer");
        let mut retry = Retry { number: 1, limit: Some(3), wait: 5, failure: "broken\noff".into() };
        fixture.report.retry(&retry, 10, &mut Fixture::keep(&mut fixture.lines));
        retry.limit = None;
        fixture.report.retry(&retry, 20, &mut Fixture::keep(&mut fixture.lines));
        assert_eq!(fixture.since(), ["10 🔁 Retry 1/3 in 5s: broken\\u{a}off", "20 🔁 Retry 1 in 5s: broken\\u{a}off"]);
    }

    #[test]
    fn lines_are_bounded() {
        let mut fixture = Fixture::new();
        fixture.say(0, &format!(r#"{{"status":"Status: {}"}}"#, "é".repeat(50_000)));
        assert!(fixture.lines[0].len() <= MAX_RAW + 5 && fixture.lines[0].contains("… (cut: "));
        let human = &fixture.lines[1];
        assert_eq!(human.chars().count(), 2 + MAX_HUMAN);
        assert!(human.contains("… (cut: "), "{human}");
    }
}
