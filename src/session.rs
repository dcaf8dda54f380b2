//! One pull being told: the state, the report, and everything that its lines go to.
//!
//! A live pull and a replay drive the same session, so they cannot tell it differently.
//!
//! **Invariant:** a sink or a recording that fails is given up with one line on stderr; the session goes on.

use crate::args::{self, Progress, When};
use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::os::output::{Output, WritePolicy};
use crate::pull::event::{self, Event};
use crate::pull::room::Room;
use crate::pull::sizes::Sizes;
use crate::pull::snapshot::Snapshot;
use crate::pull::{End, Pull, Verdict, split_object};
use crate::recording::{Header, Recorder};
use crate::report::Report;
use crate::report::line::{Line, Method, Opening, Retry};
use crate::report::stamp::Stamp;
use crate::sink::json::Json;
use crate::sink::log::{self, Log};
use crate::sink::plain::Plain;
use crate::sink::screen::Screen;
use crate::sink::state::{self, State};
use crate::sink::{Closing, Sink};
use alm_state::{Store, Time};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// How long the closing lines of a live pull wait for a reader that is slow.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);

/// Where lines go, and what that is called when it fails.
pub(crate) type Named = (String, Box<dyn Sink>);

pub(crate) struct Session {
    pub(crate) pull: Pull,
    report: Report,
    sinks: Vec<Named>,
    recorder: Option<(String, Recorder)>,
    method: Method,
    /// The host that the image comes from, for advice.
    registry: Option<String>,
    stderr: Charset,
}

/// What a line brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Brought {
    NotUnderstood,
    /// Only what was known, or what is not understood.
    Nothing,
    Movement,
}

impl Session {
    pub(crate) fn new(sinks: Vec<Named>, recorder: Option<(String, Recorder)>, stderr: Charset) -> Self {
        let (pull, report) = (Pull::default(), Report::default());
        Self { pull, report, sinks, recorder, method: Method::Api, registry: None, stderr }
    }

    /// The pull begins: with a block at the top.
    pub(crate) fn open(&mut self, at: u64, opening: &Opening, header: Option<&Header>) {
        self.method = opening.method;
        self.registry = Reference::parse(&opening.image).ok().map(|reference| reference.registry().to_owned());
        self.record(|recorder| {
            header.map_or(Ok(()), |header| recorder.header(header))?;
            recorder.open(at, opening)
        });
        let Self { report, sinks, stderr, .. } = self;
        report.open(opening, at, &mut |line| give(sinks, line, *stderr));
        self.frame(at);
    }

    /// The engine (or docker) said this.
    pub(crate) fn line(&mut self, at: u64, line: &[u8]) -> Brought {
        let event = match self.method {
            Method::Api => event::parse(line),
            Method::Cli => event::parse_cli(line),
        };
        self.line_or_objects(at, line, event, event::parse)
    }

    /// The engine said this, which was not JSON and may look like it now; or docker did.
    pub(crate) fn raw_line(&mut self, at: u64, line: &[u8]) -> Brought {
        let event = match self.method {
            Method::Api => event::malformed(line),
            Method::Cli => event::parse_cli(line),
        };
        // A recording has the replacement character where the line was not UTF-8, and must not be understood better.
        let is_text = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| !text.contains('\u{fffd}'));
        let parse = |line| if is_text(line) { event::parse(line) } else { event::malformed(line) };
        self.line_or_objects(at, line, event, parse)
    }

    /// What was not understood as one object can be several: old engines end no line after each.
    fn line_or_objects<'a>(
        &mut self,
        at: u64,
        mut line: &'a [u8],
        event: Event<'a>,
        parse: impl Fn(&'a [u8]) -> Event<'a>,
    ) -> Brought {
        let is_one = self.method == Method::Cli || !matches!(event, Event::Unknown(_) | Event::Error(_));
        // Looked for only where it has to be: it is done byte by byte.
        let Some((object, rest)) = (if is_one { None } else { split_object(line) }) else {
            return self.event(at, line, event);
        };
        let mut brought = self.event(at, object, parse(object));
        line = rest;
        while let Some((object, rest)) = split_object(line) {
            brought = brought.max(self.event(at, object, parse(object)));
            line = rest;
        }
        if line.is_empty() { brought } else { brought.max(self.event(at, line, parse(line))) }
    }

    fn event(&mut self, at: u64, line: &[u8], event: Event<'_>) -> Brought {
        // A layer's event was read as JSON, unless docker said it.
        let is_json = self.method == Method::Api && matches!(event, Event::Layer { .. });
        self.record(|recorder| recorder.line(at, line, is_json));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        let announces = event.announces();
        let is_unknown = matches!(event, Event::Unknown(_));
        let update = pull.apply(event);
        report.event(pull, &update, announces, line, at, out);
        let brought = match update {
            _ if is_unknown => Brought::NotUnderstood,
            _ if update.is_movement() => Brought::Movement,
            _ => Brought::Nothing,
        };
        self.frame(at);
        brought
    }

    /// Time has passed.
    pub(crate) fn advance(&mut self, at: u64) {
        let Self { pull, report, sinks, stderr, .. } = self;
        report.advance(pull, at, &mut |line| give(sinks, line, *stderr));
        self.frame(at);
    }

    /// Shows how things stand, where that is shown at all; no line comes of it.
    pub(crate) fn frame(&mut self, at: u64) {
        let Self { pull, report, sinks, stderr, .. } = self;
        let snapshot = Snapshot { pull, meter: &report.meter, at };
        each(sinks, *stderr, &mut |sink| sink.frame(&snapshot));
    }

    /// Something of our own that a reader should know.
    pub(crate) fn warn(&mut self, at: u64, warning: &str) {
        self.record(|recorder| recorder.warning(at, warning));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        report.warn(warning, at, out);
        self.frame(at);
    }

    /// The registry has said how large the layers are.
    pub(crate) fn sizes(&mut self, at: u64, sizes: Sizes) {
        self.record(|recorder| recorder.sizes(at, &sizes));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        pull.learn_sizes(sizes);
        report.sizes(pull, at, out);
        self.frame(at);
    }

    /// Where the engine keeps its images was looked at; why the pull cannot go on, if it cannot.
    pub(crate) fn room(&mut self, at: u64, room: &Room) -> Option<String> {
        self.record(|recorder| recorder.room(at, room));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        report.room(pull.judge(room), at, out)
    }

    /// The attempt has failed, and another is to begin.
    pub(crate) fn retry(&mut self, at: u64, retry: &Retry) {
        let method = self.method;
        self.record(|recorder| recorder.retry(at, retry, method));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        pull.start_again();
        report.retry(retry, at, out);
        self.frame(at);
    }

    /// The session is over.
    pub(crate) fn close(&mut self, at: u64, end: &End, verdict: &Verdict, exit: u8) {
        let failure = if let Verdict::Failed(failure) = verdict { Some(failure) } else { None };
        self.record(|recorder| recorder.end(at, end, failure, exit));
        let Self { pull, report, sinks, stderr, registry, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.end(pull, at, out);
        while let Some(update) = pull.settle(verdict) {
            report.settled(pull, &update, at, out);
        }
        report.close(pull, verdict, registry.as_deref(), at, out);
        let closing = Closing { snapshot: Snapshot { pull, meter: &report.meter, at }, verdict, exit };
        each(sinks, *stderr, &mut |sink| sink.close(&closing));
    }

    fn record(&mut self, write: impl FnOnce(&mut Recorder) -> io::Result<()>) {
        if let Some((name, recorder)) = &mut self.recorder
            && let Err(error) = write(recorder)
        {
            let complaint = format!("{name}: {error}; the pull goes on without it");
            self.recorder = None;
            interrupt(&mut self.sinks, &complaint, self.stderr);
        }
    }
}

/// Whether to colour what goes to standard output.
pub(crate) fn is_colored(when: When) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            io::stdout().is_terminal()
                && !is_set("NO_COLOR")
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// What standard output gets, and what is said when it is no good.
pub(crate) fn stdout_sink(options: &args::Pull, stamp: Stamp, policy: WritePolicy) -> Option<Named> {
    if options.progress == Progress::Quiet {
        return None;
    }
    let output = Output::stdout().ok()?;
    let charset = Charset::from_environment(options.ascii);
    let color = is_colored(options.color);
    let has_cursor = || {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
    };
    let sink: Box<dyn Sink> = match options.progress {
        Progress::Json => Box::new(Json::new(output, stamp, charset, policy)),
        // Bars in place need a cursor to move, also when they were asked for.
        Progress::Auto | Progress::Tty if has_cursor() => Box::new(Screen::new(output, stamp, charset, color, policy)),
        _ => Box::new(Plain::new(output, stamp, charset, color, policy)),
    };
    Some(("standard output".to_owned(), sink))
}

/// The log, where one is wanted. Where it cannot be had that is said, and the pull goes on.
pub(crate) fn log_sink(path: &Path, options: &args::Pull, stamp: Stamp, brief: bool) -> Option<Named> {
    let name = format!("log {}", path.display());
    let options = log::Options { raw: options.raw, color: options.color == When::Always, brief };
    match Log::open(path, stamp, options) {
        Ok(log) => Some((name, Box::new(log))),
        Err(error) => {
            complain(&format!("{name}: {error}; the pull goes on without it"), Charset::from_environment(true));
            None
        }
    }
}

/// The state of the image, which complains of nothing but its metrics. `is_ours` tells whether its lock is ours.
pub(crate) fn state_sink(
    reference: &Reference,
    options: &args::Pull,
    is_ours: state::IsOurs,
    clock: Box<dyn Fn(u64) -> Time>,
) -> Named {
    let name = options.metrics.as_ref().map_or_else(|| "state".into(), |path| format!("metrics {}", path.display()));
    (name, Box::new(State::new(state_target(reference, options), is_ours, clock)))
}

/// Where the state of the image goes.
pub(crate) fn state_target(reference: &Reference, options: &args::Pull) -> state::Target {
    state::Target {
        store: options.state.as_deref().map_or_else(Store::of_device, Store::at),
        id: reference.to_string(),
        reference: reference.full(),
        registry: reference.registry().to_owned(),
        metrics: options.metrics.clone(),
    }
}

fn give(sinks: &mut Vec<Named>, line: &Line<'_>, stderr: Charset) {
    each(sinks, stderr, &mut |sink| sink.line(line));
}

/// Does it to each sink, and gives up those that fail.
fn each(sinks: &mut Vec<Named>, stderr: Charset, act: &mut dyn FnMut(&mut dyn Sink) -> io::Result<()>) {
    let mut complaints = Vec::new();
    sinks.retain_mut(|(name, sink)| match act(&mut **sink) {
        Ok(()) => true,
        Err(error) => {
            // Of a replay or a viewer whose reader wants no more (`| head`): he knows.
            if error.kind() != io::ErrorKind::Interrupted {
                complaints.push(format!("{name}: {error}; the pull goes on without it"));
            }
            false
        }
    });
    for complaint in complaints {
        interrupt(sinks, &complaint, stderr);
    }
}

/// Complains in the middle of the session; stderr may be the same terminal.
fn interrupt(sinks: &mut [Named], complaint: &str, stderr: Charset) {
    for (_, sink) in sinks {
        // What it wants to say about itself it will say when it is next used.
        let _ = sink.step_aside();
    }
    complain(complaint, stderr);
}

/// A recording at `path`, and what it is called.
pub(crate) fn recorder(path: &Path, stderr: Charset) -> Option<(String, Recorder)> {
    let name = format!("recording {}", path.display());
    match Recorder::create(path) {
        Ok(recorder) => Some((name, recorder)),
        Err(error) => {
            complain(&format!("{name}: {error}; the pull goes on without it"), stderr);
            None
        }
    }
}

/// All that `--quiet` says: docker's full reference, or why there is nothing to refer to.
pub(crate) fn say_quietly(reference: &Reference, verdict: &Verdict, stderr: Charset) {
    match verdict {
        Verdict::Success => {
            if let Ok(mut stdout) = Output::stdout() {
                // Without a reader there is nobody to tell; the exit code stands.
                let _ = stdout.offer(format!("{}\n", reference.full()).as_bytes(), CLOSING);
            }
        }
        Verdict::Failed(failure) => complain(&format!("{reference}: {failure}"), stderr),
        Verdict::Undecided(id) => complain(&format!("{reference}: {id}"), stderr),
        Verdict::Interrupted(signal) => complain(&format!("{reference}: interrupted by signal {signal}"), stderr),
    }
}

/// One line on stderr, if there is room for it.
pub(crate) fn complain(text: &str, charset: Charset) {
    complain_as(args::NAME, text, charset);
}

/// The same, as the program that was started.
pub(crate) fn complain_as(program: &str, text: &str, charset: Charset) {
    let mut line = String::new();
    charset.push(&format!("{program}: {}\n", crate::report::sanitize::safe(text)), &mut line);
    if let Ok(mut stderr) = Output::stderr() {
        // Where even that fails there is nobody left to tell.
        let _ = stderr.offer(line.as_bytes(), Duration::from_millis(50));
    }
}

/// The time of now in the local offset, in whole milliseconds.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Response;
    use crate::pull::{LineBuffer, MAX_LINE};
    use crate::recording::{self, Entry};
    use allocation_counter::{AllocationInfo, measure};
    use std::fs::File;
    use std::path::PathBuf;

    const LAYERS: u64 = 4;
    const SIZE: u64 = 500_000_000;

    /// Each layer tells of itself so often, in milliseconds: what engines do.
    const EVERY: u64 = 100;

    /// What engines send again and again. `CURRENT`, `TOTAL` and `ID` are filled in.
    const FORMS: [&str; 4] = [
        // Both stores; the classic one escapes the `>` at first, in a key that is passed over.
        r#"{"status":"Downloading","progressDetail":{"current":CURRENT,"total":TOTAL},"progress":"[\u003e  ]  1MB/2MB","id":"ID"}"#,
        // The classic store.
        r#"{"status":"Extracting","progressDetail":{"current":CURRENT,"total":TOTAL},"progress":"[=\u003e ]  1MB/2MB","id":"ID"}"#,
        // The containerd store.
        r#"{"status":"Extracting","progressDetail":{"current":CURRENT,"units":"s"},"progress":"1 s","id":"ID"}"#,
        // Numbers that mean nothing.
        r#"{"status":"Downloading","progressDetail":{"current":CURRENT,"total":-1},"id":"ID"}"#,
    ];

    /// Where the bytes come from.
    #[derive(Debug, Clone, Copy)]
    enum Source {
        Socket,
        Recording,
    }

    /// A pull of four layers as bytes, each piece with the time of its coming.
    struct Stream {
        source: Source,
        pieces: Vec<(u64, Vec<u8>)>,
    }

    impl Stream {
        /// `rounds` of progress, with all that comes before and after in a pull.
        fn new(source: Source, form: &str, rounds: u64) -> Self {
            let mut stream = Self { source, pieces: Vec::new() };
            if let Source::Socket = source {
                stream.pieces.push((0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()));
            }
            stream.push(0, r#"{"status":"Pulling from a","id":"latest"}"#);
            let each = |stream: &mut Self, at, line: &str| {
                for layer in 0..LAYERS {
                    let id = format!("{layer:012}");
                    stream.push(at, &line.replace("ID", &id).replace("TOTAL", &(SIZE + layer).to_string()));
                }
            };
            each(&mut stream, 0, r#"{"status":"Pulling fs layer","progressDetail":{},"id":"ID"}"#);
            for round in 0..rounds {
                // From the half of the download to its end, so that no line is longer than the first.
                let current = (SIZE / 2 + SIZE / 2 * round / rounds).to_string();
                each(&mut stream, EVERY * round, &form.replace("CURRENT", &current));
            }
            let at = EVERY * rounds;
            each(&mut stream, at, r#"{"status":"Pull complete","progressDetail":{},"id":"ID"}"#);
            stream.push(at, r#"{"status":"Digest: sha256:0"}"#);
            stream.push(at, r#"{"status":"Status: Downloaded newer image for a:latest"}"#);
            stream
        }

        fn push(&mut self, at: u64, line: &str) {
            let bytes = match self.source {
                Source::Socket => format!("{:x}\r\n{line}\r\n\r\n", line.len() + 2),
                Source::Recording => format!("[{}.{:03},\"e\",{line}]\n", at / 1000, at % 1000),
            };
            // In two, as reads do it when it comes to that.
            let (first, second) = bytes.as_bytes().split_at(bytes.len() / 2);
            self.pieces.extend([(at, first.to_vec()), (at, second.to_vec())]);
        }

        /// The pieces from the time `from` on.
        fn position(&self, from: u64) -> usize {
            self.pieces.iter().position(|(at, _)| *at >= from).expect("the stream lasts so long")
        }
    }

    /// A pull that is told to the log, to standard output and to a recording.
    struct Told {
        directory: PathBuf,
        session: Session,
        response: Response,
        lines: LineBuffer,
        header: Header,
    }

    impl Told {
        fn new() -> Self {
            let name = format!("session-test-{}-{:?}", std::process::id(), std::thread::current().id());
            let directory = std::env::temp_dir().join(name);
            let stamp = Stamp(OffsetDateTime::UNIX_EPOCH);
            let options = log::Options { raw: true, color: false, brief: false };
            let log = Log::open(&directory.join("log"), stamp, options).unwrap();
            let null = File::options().write(true).open("/dev/null").unwrap();
            let (output, policy) = (Output::of(null.into(), "/dev/null"), WritePolicy::Endless(Box::new(|| true)));
            let plain = Plain::new(output, stamp, Charset::All, true, policy);
            let sinks: Vec<Named> = vec![("log".into(), Box::new(log)), ("stdout".into(), Box::new(plain))];
            let recorder = Recorder::create(&directory.join("recording")).unwrap();
            let mut session = Session::new(sinks, Some(("recording".into(), recorder)), Charset::All);
            let (image, empty) = ("a:latest".to_owned(), String::new());
            let header = Header { image: image.clone(), started: None, engine: empty.clone(), api: empty };
            session.open(0, &Opening { image, method: Method::Api, reason: None, attached: None }, Some(&header));
            Self { directory, session, response: Response::new(), lines: LineBuffer::new(MAX_LINE), header }
        }

        fn hear(&mut self, source: Source, pieces: &[(u64, Vec<u8>)]) {
            let Self { session, response, lines, header, .. } = self;
            for (at, piece) in pieces {
                match source {
                    Source::Socket => {
                        let mut tell = |line: &[u8]| assert_ne!(session.line(*at, line), Brought::NotUnderstood);
                        response.feed(piece, &mut |body| lines.feed(body, &mut tell)).unwrap();
                    }
                    Source::Recording => lines.feed(piece, &mut |row| match recording::entry(row, header) {
                        Ok((time, Entry::Line(line))) if time == *at => {
                            assert_ne!(session.line(time, line), Brought::NotUnderstood);
                        }
                        other => panic!("{other:?}"),
                    }),
                }
            }
        }

        fn close(&mut self, at: u64) {
            let verdict = self.session.pull.verdict(&End::Complete);
            assert_eq!(verdict, Verdict::Success);
            self.session.close(at, &End::Complete, &verdict, 0);
            assert_eq!(self.session.sinks.len(), 2, "a sink has failed");
        }

        /// How many bars of layers the log has.
        fn bars(&self) -> usize {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap();
            log.lines().filter(|line| line.contains(" Layer ") && line.ends_with([')', '%'])).count()
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.directory).unwrap();
        }
    }

    #[test]
    fn an_event_that_moves_a_bar_allocates_nothing() {
        for (source, form) in [Source::Socket, Source::Recording].into_iter().flat_map(|s| FORMS.map(|f| (s, f))) {
            let rounds = 3_500;
            let stream = Stream::new(source, form, rounds);
            // Until every layer has had two bars; then through the change to rarer lines to the end of the download.
            let (begin, end) = (stream.position(3_000), stream.position(EVERY * rounds));
            let mut told = Told::new();
            told.hear(source, &stream.pieces[..begin]);
            let before = told.bars();
            let counted = measure(|| told.hear(source, &stream.pieces[begin..end]));
            assert_eq!(counted, AllocationInfo::default(), "{source:?} {form}");
            let bars = told.bars() - before;
            assert!(bars == 0 || bars > 150, "{bars} bars: {source:?} {form}");
            assert_eq!(bars > 0, form.contains("TOTAL"), "{source:?} {form}");
            told.hear(source, &stream.pieces[end..]);
            told.close(EVERY * rounds);
        }
    }

    #[test]
    fn a_longer_pull_allocates_no_more() {
        for (source, form) in [Source::Socket, Source::Recording].into_iter().flat_map(|s| FORMS.map(|f| (s, f))) {
            let [short, long] = [100, 1_000].map(|rounds| {
                let stream = Stream::new(source, form, rounds);
                measure(|| {
                    let mut told = Told::new();
                    told.hear(source, &stream.pieces);
                    told.close(EVERY * rounds);
                })
            });
            assert!(short.count_total > 0, "{short:?}");
            assert_eq!(long, short, "{source:?} {form}");
        }
    }
}
