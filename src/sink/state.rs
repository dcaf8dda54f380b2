//! Writes the pull as a state file (crate `alm_state`), for programs that ask how far it is or how it ended.
//!
//! Separate from the other sinks, because it does not write lines: it rewrites a file when something changed, and otherwise
//! every 15 seconds as a sign of life. A failure to write is not reported, except for the metrics, which the user asked for.
//!
//! **Invariant:** a pull never waits or fails because of its state; only the process that holds the image's lock writes it.

use crate::os::wait::PERIOD;
use crate::pull::failure::{self, Kind};
use crate::pull::layer::{Layer, Phase};
use crate::pull::meter::Meter;
use crate::pull::snapshot::Snapshot;
use crate::pull::{Pull, Verdict};
use crate::report::line::{About, Line, Topic};
use crate::report::{bar, sanitize};
use crate::sink::metrics;
use crate::sink::{Closing, Sink};
use alm_state::{Failure, Image, MAX_LAYERS, Memory, Pulled, Store, Time};
use std::io;
use std::path::PathBuf;

/// How often the lock and the progress are polled, in milliseconds.
const POLL_INTERVAL: u64 = 250;

/// How often the state is written if nothing changes, and how often its beat is renewed, in milliseconds: readers see from it
/// that the writer is alive.
const BEAT: u64 = 15_000;

/// How long to wait after the state could not be written, in milliseconds.
const TROUBLE: u64 = 15_000;

/// How often the metrics are written during a pull, in milliseconds.
const METRICS: u64 = 60_000;

/// The space for the text of a state, and in it for each layer, in bytes. Taken at once, because a buffer that grows by and by
/// leaves its earlier places behind, in memory.
const SPACE: usize = 700;
const SPACE_OF_LAYER: usize = 110;

/// Tries to take the image's lock, and returns whether this process holds it.
pub(crate) type IsOurs = Box<dyn FnMut() -> bool>;

/// Where the state is written, and the image that it describes.
pub(crate) struct Target {
    pub(crate) store: Store,
    /// The image as the user wrote it.
    pub(crate) id: String,
    /// Docker's full reference.
    pub(crate) reference: String,
    /// The host of the image's registry, for advice.
    pub(crate) registry: String,
    pub(crate) metrics: Option<PathBuf>,
}

/// The state of an image as a sink.
pub(crate) struct State {
    target: Target,
    is_ours: IsOurs,
    /// Converts a time of the pull (milliseconds since it began) into a time of day.
    clock: Box<dyn Fn(u64) -> Time>,
    /// `None` until this process holds the lock.
    image: Option<Image>,
    /// When this image's state was last written before this run. Taken when old states are swept.
    #[expect(clippy::option_option, reason = "swept already; or not yet, with or without a state before")]
    before: Option<Option<Time>>,
    /// The bytes that all earlier pulls downloaded.
    received: u64,
    /// The bytes of this pull from before this process had the lock: another process has counted them.
    received_before: u64,
    attempt: u64,
    /// An attempt failed and the next one has not begun.
    is_waiting: bool,
    /// Why there will be another attempt.
    reason: Option<(Kind, String)>,
    /// The progress that was written last.
    written: Sign,
    next_poll: u64,
    /// When the state was last written.
    last: u64,
    /// The earliest time of the next write; later than `last` after a failure.
    not_before: u64,
    next_beat: u64,
    next_metrics: u64,
    memory: Memory,
}

/// The values that decide whether the state has to be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sign {
    text: &'static str,
    attempt: u64,
    percent: u64,
    moved: u64,
    extracted: u64,
    finished: usize,
    is_moving: bool,
}

impl State {
    pub(crate) fn new(target: Target, is_ours: IsOurs, clock: Box<dyn Fn(u64) -> Time>) -> Self {
        let mut state = Self {
            target,
            is_ours,
            clock,
            image: None,
            before: None,
            received: 0,
            received_before: 0,
            attempt: 1,
            is_waiting: false,
            reason: None,
            written: Sign::default(),
            next_poll: 0,
            last: 0,
            not_before: 0,
            next_beat: 0,
            next_metrics: METRICS,
            memory: Memory::default(),
        };
        state.begin(&Snapshot { pull: &Pull::default(), meter: &Meter::default(), at: 0 });
        state
    }

    /// Begins to write, if this process can take the lock.
    fn begin(&mut self, snapshot: &Snapshot<'_>) {
        if self.image.is_none() && (self.is_ours)() {
            let before = self.target.store.image(&self.target.reference);
            self.before = Some(before.as_ref().map(|before| before.time));
            self.received = before.as_ref().map_or(0, |before| before.received);
            self.received_before = snapshot.pull.moved().0;
            self.image = Some(Image::begin(&self.target.id, before, (self.clock)(snapshot.at)));
            self.write(snapshot);
            // A failure is reported at the end of the pull.
            let _ = self.write_metrics();
        }
    }

    fn sign(&self, snapshot: &Snapshot<'_>) -> Sign {
        let (pull, percent) = (snapshot.pull, snapshot.percent());
        let extracted = pull.layers.iter().filter_map(|layer| layer.extracted);
        Sign {
            text: self.text(pull),
            attempt: self.attempt,
            percent,
            moved: pull.moved().0,
            extracted: extracted.fold(0, |sum, (done, _)| sum.wrapping_add(done)),
            finished: pull.finished,
            is_moving: snapshot.meter.speed.is_some_and(|speed| speed > 0),
        }
    }

    fn text(&self, pull: &Pull) -> &'static str {
        let mut to_fetch = pull.layers.iter().filter(|layer| !layer.is_cached).peekable();
        if self.is_waiting {
            "Retrying"
        } else if to_fetch.peek().is_none() {
            "Pulling"
        } else if to_fetch.clone().all(Layer::is_downloaded) {
            "Extracting"
        } else if to_fetch.all(|layer| matches!(layer.phase, Phase::Queued | Phase::Waiting)) {
            "Pulling"
        } else {
            "Downloading"
        }
    }

    /// Writes the current state of the pull.
    fn write(&mut self, snapshot: &Snapshot<'_>) {
        let (sign, at) = (self.sign(snapshot), snapshot.at);
        let now = (self.clock)(at);
        let Some(image) = &mut self.image else { return };
        sign.text.clone_into(&mut image.text);
        (image.time, image.attempt) = (now, Some(self.attempt));
        let pid = std::process::id();
        if image.pid.is_none() {
            (image.pid, image.born) = (Some(pid), alm_state::born(pid));
        }
        // Not at each write: it takes a system call, and these are slow after a sleep.
        if at >= self.next_beat {
            image.beat = Some(alm_state::boottime());
            self.next_beat = at.saturating_add(BEAT);
        }
        if let Some((kind, reason)) = self.reason.take() {
            image.kind = Some(kind.name().to_owned());
            (image.details, image.hint) = (Some(reason), None);
        }
        fill(image, snapshot, sign.percent);
        self.memory.reserve(SPACE + image.layers.len() * SPACE_OF_LAYER);
        image.received = self.received.saturating_add(sign.moved.saturating_sub(self.received_before));
        let written = self.target.store.write(&self.target.reference, image, &mut self.memory);
        self.not_before = if written.is_ok() { at } else { at.saturating_add(TROUBLE) };
        (self.written, self.last) = (sign, at);
    }

    fn write_metrics(&self) -> io::Result<()> {
        self.target.metrics.as_ref().map_or(Ok(()), |path| metrics::write(path, &self.target.store))
    }

    /// Writes how the pull ended, to the history as well. Fails only if the metrics cannot be written: the user asked for them.
    fn end(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        let Closing { snapshot, verdict, exit } = closing;
        let (pull, at) = (snapshot.pull, snapshot.at);
        let now = (self.clock)(at);
        let bytes = pull.moved().0;
        // An f64 is exact for times far longer than a pull.
        #[expect(clippy::cast_precision_loss)]
        let seconds = at as f64 / 1000.0;
        let Some(image) = &mut self.image else { return Ok(()) };
        fill(image, snapshot, snapshot.percent());
        image.received = self.received.saturating_add(bytes.saturating_sub(self.received_before));
        match verdict {
            Verdict::Success => {
                let digest = pull.digest.as_deref().map(|digest| sanitize::safe(digest).to_string());
                image.succeed(Pulled { digest, up_to_date: pull.up_to_date, bytes, seconds }, now);
            }
            Verdict::Failed(failure) => {
                image.fail(state_failure(failure, &self.target.registry), *exit, bytes, seconds, now);
            }
            // Does not get here: the mode has asked the engine by then and decided.
            Verdict::Undecided(_) => {}
            Verdict::Interrupted(_) => image.interrupt(*exit, bytes, seconds, now),
        }
        let Target { store, reference, .. } = &self.target;
        // Readers of states miss a state that cannot be written; that is no reason to fail the pull.
        let _ = store.write(reference, image, &mut self.memory);
        if !matches!(verdict, Verdict::Interrupted(_)) {
            // Not after a signal: the process has to end at once, and an SD card can be slow.
            let _ = store.keep(reference, image, &mut self.memory);
        }
        self.write_metrics()
    }
}

/// Converts a failure of a pull to the one of the state file.
pub(crate) fn state_failure(failure: &failure::Failure, registry: &str) -> Failure {
    Failure {
        kind: failure.kind.name().to_owned(),
        details: sanitize::safe(&failure.text).to_string(),
        hint: failure.advice(Some(registry)).map(|hint| sanitize::safe(&hint).to_string()),
    }
}

/// Sets the numbers of the pull in `image`.
fn fill(image: &mut Image, snapshot: &Snapshot<'_>, percent: u64) {
    let pull = snapshot.pull;
    let to_fetch = || pull.layers.iter().filter(|layer| !layer.is_cached);
    let amount = snapshot.amount();
    let is_known = amount.done > 0 || to_fetch().any(|layer| layer.size.is_some());
    image.current = is_known.then_some(amount.done);
    image.total = is_known.then_some(amount.total);
    image.exact = is_known && amount.is_exact;
    image.percent = (!pull.layers.is_empty()).then_some(percent);
    image.rate = snapshot.rate();
    image.left = snapshot.left();
    // A vector that grows leaves its earlier places in memory.
    image.layers.reserve_exact(to_fetch().take(MAX_LAYERS).count().saturating_sub(image.layers.len()));
    let mut count = 0;
    for layer in to_fetch().take(MAX_LAYERS) {
        if count == image.layers.len() {
            image.layers.push(alm_state::Layer::default());
        }
        fill_layer(&mut image.layers[count], layer);
        count += 1;
    }
    image.layers.truncate(count);
}

fn fill_layer(out: &mut alm_state::Layer, layer: &Layer) {
    if out.id != layer.id {
        out.id = sanitize::safe(&layer.id).to_string();
    }
    let text = match layer.phase {
        Phase::Queued | Phase::Waiting => "Waiting",
        Phase::Downloading => "Downloading",
        Phase::Retrying(_) => "Retrying",
        Phase::Verifying => "Verifying Checksum",
        Phase::Downloaded => "Download complete",
        Phase::Extracting => "Extracting",
        Phase::Complete => "Pull complete",
        Phase::Cached => "Already exists",
    };
    if out.text != text {
        text.clone_into(&mut out.text);
    }
    (out.current, out.total) = match layer.phase {
        Phase::Extracting => layer.extracted.unzip(),
        Phase::Complete => (layer.size, layer.size),
        _ => ((layer.size.is_some() || layer.done > 0).then_some(layer.done), layer.size),
    };
    out.percent = match (layer.phase, out.current, out.total) {
        (Phase::Complete, ..) => Some(100),
        (_, Some(current), Some(total)) => Some(bar::percent(current, total)),
        _ => None,
    };
}

impl Sink for State {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if let About::Image(Topic::Retry(kind), reason) = line.about {
            self.attempt += 1;
            self.is_waiting = true;
            self.reason = Some((kind, sanitize::safe(reason).to_string()));
            self.next_poll = 0;
        } else if self.is_waiting && !matches!(line.about, About::Image(Topic::Stuck | Topic::Warning, _)) {
            self.is_waiting = false;
        }
        Ok(())
    }

    fn frame(&mut self, snapshot: &Snapshot<'_>) -> io::Result<()> {
        let at = snapshot.at;
        if at < self.next_poll {
            return Ok(());
        }
        let period = at / PERIOD;
        self.next_poll = (at + POLL_INTERVAL).min((period + 1) * PERIOD);
        if self.image.is_none() {
            if period != self.last / PERIOD {
                self.last = at;
                self.begin(snapshot);
            }
            return Ok(());
        }
        if let Some(before) = self.before.take() {
            self.target.store.sweep(&self.target.reference, before, (self.clock)(at));
        }
        let sign = self.sign(snapshot);
        let is_urgent = (sign.text, sign.attempt) != (self.written.text, self.written.attempt)
            || (self.written.is_moving && !sign.is_moving);
        let is_due = is_urgent || (sign != self.written && period != self.last / PERIOD) || at >= self.next_beat;
        if is_due && at >= self.not_before {
            self.write(snapshot);
        }
        if at >= self.next_metrics {
            self.next_metrics = at.saturating_add(METRICS);
            let _ = self.write_metrics();
        }
        Ok(())
    }

    fn close(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        // The process that held the lock may have ended together with the transfer that both watched; then this one writes
        // the result. But its own interruption must not be written over the state of that other process.
        if self.image.is_none() && !matches!(closing.verdict, Verdict::Interrupted(_)) {
            self.begin(&closing.snapshot);
        }
        self.end(closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::event;
    use allocation_counter::measure;
    use std::path::Path;

    struct Temp(PathBuf);

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn temp(name: &str) -> Temp {
        Temp(std::env::temp_dir().join(format!("alm-sink-{}-{name}", std::process::id())))
    }

    fn state(directory: &Path, is_ours: IsOurs) -> State {
        let target = Target {
            store: Store::at(directory),
            id: "alpine:latest".into(),
            reference: "docker.io/library/alpine:latest".into(),
            registry: "docker.io".into(),
            metrics: None,
        };
        State::new(target, is_ours, Box::new(|at| Time(1_795_573_113 + i64::try_from(at / 1_000).unwrap_or(0))))
    }

    fn bar(pull: &mut Pull, bytes: u64) {
        let line = format!(
            r#"{{"status":"Downloading","progressDetail":{{"current":{bytes},"total":1000000000}},"id":"abc"}}"#
        );
        pull.apply(event::parse(line.as_bytes()));
    }

    fn pull() -> Pull {
        let mut pull = Pull::default();
        pull.apply(event::parse(br#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#));
        bar(&mut pull, 1);
        pull
    }

    #[test]
    fn what_moves_is_written_once_a_second_and_costs_nothing_between() {
        let temp = temp("steady");
        let mut state = state(&temp.0, Box::new(|| true));
        let (mut pull, meter, mut times) = (pull(), Meter::default(), Vec::new());
        for at in (10..10_000).step_by(10) {
            bar(&mut pull, at * 1_000 + 2);
            let snapshot = Snapshot { pull: &pull, meter: &meter, at };
            let before = state.last;
            let used = measure(|| state.frame(&snapshot).expect("it never fails"));
            if state.last == before {
                assert_eq!(used.count_total, 0, "at {at}");
            } else {
                times.push(at);
            }
        }
        // The first write is the change to Downloading.
        assert_eq!(times, [10, 970, 1_940, 2_910, 3_880, 4_850, 5_820, 6_790, 7_760, 8_730, 9_700]);
    }

    #[test]
    fn a_pull_that_stands_still_beats_and_its_rate_falls_once() {
        let temp = temp("still");
        let mut state = state(&temp.0, Box::new(|| true));
        let pull = pull();
        let meter = |speed| {
            let mut meter = Meter::default();
            meter.speed = Some(speed);
            meter
        };
        let (moving, still) = (meter(5), meter(0));
        let mut times = Vec::new();
        for at in (50..60_000).step_by(50) {
            let meter = if at < 10_000 { &moving } else { &still };
            let before = state.last;
            state.frame(&Snapshot { pull: &pull, meter, at }).expect("it never fails");
            if state.last != before {
                times.push(at);
            }
        }
        assert_eq!(times, [50, 10_200, 15_050, 30_100, 45_150]);
    }

    #[test]
    fn who_has_not_the_lock_writes_nothing_until_it_has() {
        let temp = temp("lock");
        let mut asked = 0;
        let is_ours = move || {
            asked += 1;
            asked > 3
        };
        let mut state = state(&temp.0, Box::new(is_ours));
        let (pull, meter) = (pull(), Meter::default());
        let mut began = None;
        for at in (0..5_000).step_by(50) {
            state.frame(&Snapshot { pull: &pull, meter: &meter, at }).expect("it never fails");
            if began.is_none() && Store::at(&temp.0).image("docker.io/library/alpine:latest").is_some() {
                began = Some(at);
            }
        }
        assert_eq!(began, Some(2_950));
    }
}
