//! One pull: its state, the report that turns it into lines, and the sinks that the lines go to.
//!
//! A live pull and a replay drive the same session, so they cannot show it differently.
//!
//! **Invariant:** a sink or a recording that fails is dropped with one line on stderr; the session continues.

use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::pull::disk::DiskSpace;
use crate::pull::event::{self, Event};
use crate::pull::failure::NOT_A_SOCKET;
use crate::pull::sizes::Sizes;
use crate::pull::snapshot::Snapshot;
use crate::pull::{End, Pull, Verdict, split_object};
use crate::recording::{Header, Recorder};
use crate::report::Report;
use crate::report::line::{Line, Method, Opening, Retry};
use crate::sink::complaint::complain;
use crate::sink::{Closing, NamedSink, Sink};
use std::io;

pub(crate) struct Session {
    pub(crate) pull: Pull,
    report: Report,
    sinks: Vec<NamedSink>,
    recorder: Option<(String, Recorder)>,
    method: Method,
    /// The host of the registry, for advice.
    registry: Option<String>,
    /// The engine is on another host.
    is_remote: bool,
    stderr: Charset,
}

/// What a line of the stream changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Nothing: this version does not know such a line.
    NotUnderstood,
    /// Nothing that counts as movement: a repetition, or an error that the engine reports.
    Nothing,
    /// The pull has moved.
    Movement,
}

impl Session {
    pub(crate) fn new(sinks: Vec<NamedSink>, recorder: Option<(String, Recorder)>, stderr: Charset) -> Self {
        let (pull, report) = (Pull::default(), Report::default());
        Self { pull, report, sinks, recorder, method: Method::Api, registry: None, is_remote: false, stderr }
    }

    /// Opens the session with the block at the top of the log.
    pub(crate) fn open(&mut self, at: u64, opening: &Opening, header: Option<&Header>) {
        self.method = opening.method;
        self.is_remote = opening.reason.as_ref().is_some_and(|reason| reason.ends_with(NOT_A_SOCKET));
        self.registry = Reference::parse(&opening.image).ok().map(|reference| reference.registry().to_owned());
        self.record(|recorder| {
            header.map_or(Ok(()), |header| recorder.header(header))?;
            recorder.open(at, opening)
        });
        let Self { report, sinks, stderr, .. } = self;
        report.open(opening, at, &mut |line| emit(sinks, line, *stderr));
        self.frame(at);
    }

    /// Applies a line of the engine's stream, or of docker's output. Sinks that show the present state wait for
    /// [`frame`](Self::frame), because lines arrive many at once.
    pub(crate) fn line(&mut self, at: u64, line: &[u8]) -> Outcome {
        let event = match self.method {
            Method::Api => event::parse(line),
            Method::Cli => event::parse_cli(line),
        };
        self.line_or_objects(at, line, event, event::parse)
    }

    /// Applies a line that a recording keeps as text: docker's, or one of the engine's that was not JSON. It may look
    /// like JSON now.
    pub(crate) fn raw_line(&mut self, at: u64, line: &[u8]) -> Outcome {
        let event = match self.method {
            Method::Api => event::malformed(line),
            Method::Cli => event::parse_cli(line),
        };
        // A recording has U+FFFD in place of bytes that were not UTF-8. The replay must not understand such a line if
        // the live pull did not.
        let is_text = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| !text.contains('\u{fffd}'));
        let parse = |line| if is_text(line) { event::parse(line) } else { event::malformed(line) };
        self.line_or_objects(at, line, event, parse)
    }

    /// Applies a line, or if that is not one JSON object each object in it: old engines put several on one line.
    fn line_or_objects<'a>(
        &mut self,
        at: u64,
        mut line: &'a [u8],
        event: Event<'a>,
        parse: impl Fn(&'a [u8]) -> Event<'a>,
    ) -> Outcome {
        let is_one = self.method == Method::Cli || !matches!(event, Event::Unknown(_) | Event::Error(_));
        // Split only if it has to be, because that reads the line byte by byte.
        let Some((object, rest)) = (if is_one { None } else { split_object(line) }) else {
            return self.event(at, line, event);
        };
        let mut outcome = self.event(at, object, parse(object));
        line = rest;
        while let Some((object, rest)) = split_object(line) {
            outcome = outcome.max(self.event(at, object, parse(object)));
            line = rest;
        }
        if line.is_empty() { outcome } else { outcome.max(self.event(at, line, parse(line))) }
    }

    fn event(&mut self, at: u64, line: &[u8], event: Event<'_>) -> Outcome {
        // An event of a layer was parsed from JSON, unless it comes from docker.
        let is_json = self.method == Method::Api && matches!(event, Event::Layer { .. });
        self.record(|recorder| recorder.line(at, line, is_json));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
        report.advance(pull, at, out);
        let announces = event.announces();
        let is_unknown = matches!(event, Event::Unknown(_));
        let update = pull.apply(event);
        report.event(pull, &update, announces, line, at, out);
        match update {
            _ if is_unknown => Outcome::NotUnderstood,
            _ if update.is_movement() => Outcome::Movement,
            _ => Outcome::Nothing,
        }
    }

    /// Handles that time has passed: emits the lines that are due.
    pub(crate) fn advance(&mut self, at: u64) {
        let Self { pull, report, sinks, stderr, .. } = self;
        report.advance(pull, at, &mut |line| emit(sinks, line, *stderr));
        self.frame(at);
    }

    /// Lets the sinks write the lines that they held back.
    pub(crate) fn flush(&mut self) {
        each(&mut self.sinks, self.stderr, &mut |sink| sink.flush());
    }

    /// Lets the sinks that show the present state draw it; emits no line.
    pub(crate) fn frame(&mut self, at: u64) {
        let Self { pull, report, sinks, stderr, .. } = self;
        let snapshot = Snapshot { pull, meter: &report.meter, at };
        each(sinks, *stderr, &mut |sink| sink.frame(&snapshot));
    }

    /// Emits a warning of the program itself.
    pub(crate) fn warn(&mut self, at: u64, warning: &str) {
        self.record(|recorder| recorder.warning(at, warning));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
        report.advance(pull, at, out);
        report.warn(warning, at, out);
        self.frame(at);
    }

    /// Handles the layers' sizes from the registry.
    pub(crate) fn sizes(&mut self, at: u64, sizes: Sizes) {
        self.record(|recorder| recorder.sizes(at, &sizes));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
        report.advance(pull, at, out);
        pull.learn_sizes(sizes);
        report.sizes(pull, at, out);
        self.frame(at);
    }

    /// Handles a measurement of the free space where the engine keeps its images. Returns why the pull cannot continue,
    /// if it cannot.
    pub(crate) fn space(&mut self, at: u64, space: &DiskSpace) -> Option<String> {
        self.record(|recorder| recorder.space(at, space));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
        report.advance(pull, at, out);
        let reason = report.space(pull.check_space(space), at, out);
        self.frame(at);
        reason
    }

    /// Handles that the attempt failed, and that another follows.
    pub(crate) fn retry(&mut self, at: u64, retry: &Retry) {
        let method = self.method;
        self.record(|recorder| recorder.retry(at, retry, method));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
        report.advance(pull, at, out);
        pull.start_again();
        report.retry(retry, at, out);
        self.frame(at);
    }

    /// Closes the session with the closing block.
    pub(crate) fn close(&mut self, at: u64, end: &End, verdict: &Verdict, exit: u8) {
        let remote;
        let verdict = match verdict {
            Verdict::Failed(failure) if self.is_remote => {
                remote = Verdict::Failed(failure.clone().of_remote_engine());
                &remote
            }
            verdict => verdict,
        };
        let failure = if let Verdict::Failed(failure) = verdict { Some(failure) } else { None };
        self.record(|recorder| recorder.end(at, end, failure, exit));
        let Self { pull, report, sinks, stderr, registry, .. } = self;
        let out = &mut |line: &Line<'_>| emit(sinks, line, *stderr);
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
            report_complaint(&mut self.sinks, &complaint, self.stderr);
        }
    }
}

fn emit(sinks: &mut Vec<NamedSink>, line: &Line<'_>, stderr: Charset) {
    each(sinks, stderr, &mut |sink| sink.line(line));
}

/// Calls `act` for each sink, and drops the sinks for which it fails.
fn each(sinks: &mut Vec<NamedSink>, stderr: Charset, act: &mut dyn FnMut(&mut dyn Sink) -> io::Result<()>) {
    let mut complaints = Vec::new();
    sinks.retain_mut(|(name, sink)| match act(&mut **sink) {
        Ok(()) => true,
        Err(error) => {
            // In a replay or a viewer the reader closed the pipe (`| head`) on purpose: no complaint.
            if error.kind() != io::ErrorKind::Interrupted {
                complaints.push(format!("{name}: {error}; the pull goes on without it"));
            }
            false
        }
    });
    for complaint in complaints {
        report_complaint(sinks, &complaint, stderr);
    }
}

/// Writes a complaint to stderr, which may be the terminal that a sink draws on.
fn report_complaint(sinks: &mut [NamedSink], complaint: &str, stderr: Charset) {
    for (_, sink) in sinks {
        // An error of the sink itself is reported when it is used next.
        let _ = sink.step_aside();
    }
    complain(complaint, stderr);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Response;
    use crate::os::output::{Output, WritePolicy};
    use crate::pull::failure::{Failure, Kind};
    use crate::pull::{LineBuffer, MAX_LINE};
    use crate::recording::{self, Entry};
    use crate::report::stamp::Stamp;
    use crate::sink::log::{self, Log};
    use crate::sink::plain::Plain;
    use allocation_counter::{AllocationInfo, measure};
    use std::cell::RefCell;
    use std::fs::File;
    use std::ops::ControlFlow;
    use std::path::PathBuf;
    use std::rc::Rc;
    use time::OffsetDateTime;

    const LAYERS: u64 = 4;
    const SIZE: u64 = 500_000_000;

    /// How often each layer is reported, in milliseconds: what engines do.
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

    /// A pull that goes to the log, to standard output and to a recording.
    struct Fixture {
        directory: PathBuf,
        session: Session,
        response: Response,
        lines: LineBuffer,
        header: Header,
    }

    impl Fixture {
        fn new() -> Self {
            let name = format!("session-test-{}-{:?}", std::process::id(), std::thread::current().id());
            let directory = std::env::temp_dir().join(name);
            let stamp = Stamp(OffsetDateTime::UNIX_EPOCH);
            let options = log::Options { raw: true, color: false, brief: false };
            let log = Log::open(&directory.join("log"), stamp, options).unwrap();
            let null = File::options().write(true).open("/dev/null").unwrap();
            let (output, policy) =
                (Output::of(null.into(), "/dev/null"), WritePolicy::Endless(Box::new(|| ControlFlow::Continue(()))));
            let plain = Plain::new(output, stamp, Charset::All, true, policy);
            let sinks: Vec<NamedSink> = vec![("log".into(), Box::new(log)), ("stdout".into(), Box::new(plain))];
            let recorder = Recorder::create(&directory.join("recording")).unwrap();
            let mut session = Session::new(sinks, Some(("recording".into(), recorder)), Charset::All);
            let (image, empty) = ("a:latest".to_owned(), String::new());
            let header = Header { image: image.clone(), started: None, engine: empty.clone(), api: empty };
            session.open(0, &Opening { image, method: Method::Api, reason: None, attached: None }, Some(&header));
            Self { directory, session, response: Response::new(), lines: LineBuffer::new(MAX_LINE), header }
        }

        fn feed(&mut self, source: Source, pieces: &[(u64, Vec<u8>)]) {
            let Self { session, response, lines, header, .. } = self;
            for (at, piece) in pieces {
                match source {
                    Source::Socket => {
                        let mut on_line = |line: &[u8]| assert_ne!(session.line(*at, line), Outcome::NotUnderstood);
                        response.feed(piece, &mut |body| lines.feed(body, &mut on_line)).unwrap();
                    }
                    Source::Recording => lines.feed(piece, &mut |row| match recording::entry(row, header) {
                        Ok((time, Entry::Line(line))) if time == *at => {
                            assert_ne!(session.line(time, line), Outcome::NotUnderstood);
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

    impl Drop for Fixture {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.directory).unwrap();
        }
    }

    #[test]
    fn what_shows_the_state_is_drawn_once_for_all_lines_of_a_read() {
        struct Drawn(Rc<RefCell<Vec<u64>>>);
        impl Sink for Drawn {
            fn line(&mut self, _: &Line<'_>) -> io::Result<()> {
                Ok(())
            }

            fn frame(&mut self, snapshot: &Snapshot<'_>) -> io::Result<()> {
                self.0.borrow_mut().push(snapshot.pull.layers[0].done);
                Ok(())
            }
        }
        let drawn = Rc::new(RefCell::new(Vec::new()));
        let mut session = Session::new(vec![("state".into(), Box::new(Drawn(drawn.clone())))], None, Charset::All);
        session.line(7, br#"{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}"#);
        for bytes in [5, 20, 70] {
            let bar = format!(
                r#"{{"status":"Downloading","progressDetail":{{"current":{bytes},"total":99}},"id":"0123456789ab"}}"#
            );
            assert_eq!(session.line(7, bar.as_bytes()), Outcome::Movement);
        }
        assert_eq!(*drawn.borrow(), [0; 0]);
        session.advance(7);
        assert_eq!(*drawn.borrow(), [70]);
    }

    #[test]
    fn an_attempt_that_failed_leaves_no_time_left() {
        struct Left(Rc<RefCell<Option<u64>>>);
        impl Sink for Left {
            fn line(&mut self, _: &Line<'_>) -> io::Result<()> {
                Ok(())
            }

            fn frame(&mut self, snapshot: &Snapshot<'_>) -> io::Result<()> {
                *self.0.borrow_mut() = snapshot.left();
                Ok(())
            }
        }
        let left = Rc::new(RefCell::new(None));
        let mut session = Session::new(vec![("state".into(), Box::new(Left(left.clone())))], None, Charset::All);
        session.line(0, br#"{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}"#);
        for second in 0..=2_u64 {
            let (at, status) = (second * 1_000, r#""status":"Downloading","id":"0123456789ab""#);
            let bar = format!(r#"{{{status},"progressDetail":{{"current":{},"total":100}}}}"#, second * 10);
            session.line(at, bar.as_bytes());
            session.advance(at);
        }
        session.advance(2_500);
        assert!(left.borrow().is_some());
        let failure = Failure::own(Kind::EngineGone, "the engine broke off");
        session.retry(2_501, &Retry { number: 1, limit: None, wait: 5, failure });
        assert_eq!(*left.borrow(), None);
    }

    #[test]
    fn an_event_that_moves_a_bar_allocates_nothing() {
        for (source, form) in [Source::Socket, Source::Recording].into_iter().flat_map(|s| FORMS.map(|f| (s, f))) {
            let rounds = 3_500;
            let stream = Stream::new(source, form, rounds);
            // Until every layer has had two bars; then through the change to rarer lines to the end of the download.
            let (begin, end) = (stream.position(3_000), stream.position(EVERY * rounds));
            let mut fixture = Fixture::new();
            fixture.feed(source, &stream.pieces[..begin]);
            let before = fixture.bars();
            let counted = measure(|| fixture.feed(source, &stream.pieces[begin..end]));
            assert_eq!(counted, AllocationInfo::default(), "{source:?} {form}");
            let bars = fixture.bars() - before;
            assert!(bars == 0 || bars > 150, "{bars} bars: {source:?} {form}");
            assert_eq!(bars > 0, form.contains("TOTAL"), "{source:?} {form}");
            fixture.feed(source, &stream.pieces[end..]);
            fixture.close(EVERY * rounds);
        }
    }

    #[test]
    fn a_longer_pull_allocates_no_more() {
        for (source, form) in [Source::Socket, Source::Recording].into_iter().flat_map(|s| FORMS.map(|f| (s, f))) {
            let [short, long] = [100, 1_000].map(|rounds| {
                let stream = Stream::new(source, form, rounds);
                measure(|| {
                    let mut fixture = Fixture::new();
                    fixture.feed(source, &stream.pieces);
                    fixture.close(EVERY * rounds);
                })
            });
            assert!(short.count_total > 0, "{short:?}");
            assert_eq!(long, short, "{source:?} {form}");
        }
    }
}
