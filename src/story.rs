//! One pull being told: the state, the report, and everything that its lines go to.
//!
//! A live pull and a replay drive the same story, so they cannot tell it differently.
//!
//! **Invariant:** a sink or a recording that fails is given up with one line on stderr; the story goes on.

use crate::args::{self, Progress, When};
use crate::event::{self, Event};
use crate::json::Json;
use crate::log::{self, Log};
use crate::output::{Glyphs, Output, Patience};
use crate::plain::Plain;
use crate::pull::{End, Pull, Update, Verdict};
use crate::recording::{Header, Recorder};
use crate::reference::Reference;
use crate::report::{Closing, Line, Method, Opening, Report, Retry, Sink, Stamp};
use crate::screen::Screen;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// Where lines go, and what that is called when it fails.
pub(crate) type Named = (String, Box<dyn Sink>);

pub(crate) struct Story {
    pub(crate) pull: Pull,
    report: Report,
    sinks: Vec<Named>,
    recorder: Option<(String, Recorder)>,
    method: Method,
    /// The host that the image comes from, for advice.
    registry: Option<String>,
    stderr: Glyphs,
}

/// What a line brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brought {
    Movement,
    /// More bytes of a download: movement of which the engine has more to tell before anything can come of it.
    Bytes,
    /// Only what was known, or what is not understood.
    Nothing,
    NotUnderstood,
}

impl Story {
    pub(crate) fn new(sinks: Vec<Named>, recorder: Option<(String, Recorder)>, stderr: Glyphs) -> Self {
        let (pull, report) = (Pull::default(), Report::new());
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
        self.event(at, line, event)
    }

    /// The engine said this, which was not JSON and may look like it now; or docker did.
    pub(crate) fn raw_line(&mut self, at: u64, line: &[u8]) -> Brought {
        let event = match self.method {
            Method::Api => event::malformed(line),
            Method::Cli => event::parse_cli(line),
        };
        self.event(at, line, event)
    }

    fn event(&mut self, at: u64, line: &[u8], event: Event<'_>) -> Brought {
        self.record(|recorder| recorder.line(at, line));
        let Self { pull, report, sinks, stderr, .. } = self;
        let out = &mut |line: &Line<'_>| give(sinks, line, *stderr);
        report.advance(pull, at, out);
        let announces = event.announces();
        let is_unknown = event == Event::Unknown;
        if is_unknown {
            pull.hear(line);
        }
        let update = pull.apply(event);
        report.event(pull, &update, announces, line, at, out);
        let brought = match update {
            _ if is_unknown => Brought::NotUnderstood,
            Update::Nothing | Update::Heard => Brought::Nothing,
            Update::Downloaded(_) => Brought::Bytes,
            _ => Brought::Movement,
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
        let Self { pull, sinks, stderr, .. } = self;
        each(sinks, *stderr, &mut |sink| sink.frame(pull, at));
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

    /// The story is over.
    pub(crate) fn close(&mut self, at: u64, end: &End, verdict: &Verdict, exit: u8) {
        self.record(|recorder| recorder.end(at, end, exit));
        let Self { pull, report, sinks, stderr, registry, .. } = self;
        report.close(pull, verdict, registry.as_deref(), at, &mut |line| give(sinks, line, *stderr));
        let mut closing = Closing { at, pull, verdict, exit };
        each(sinks, *stderr, &mut |sink| sink.close(&mut closing));
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
pub(crate) fn stdout_sink(options: &args::Pull, stamp: Stamp, patience: Patience) -> Option<Named> {
    if options.progress == Progress::Quiet {
        return None;
    }
    let output = Output::stdout().ok()?;
    let glyphs = Glyphs::from_environment(options.ascii);
    let color = is_colored(options.color);
    let has_cursor = || {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
    };
    let sink: Box<dyn Sink> = match options.progress {
        Progress::Json => Box::new(Json::new(output, stamp, glyphs, patience)),
        // Bars in place need a cursor to move, also when they were asked for.
        Progress::Auto | Progress::Tty if has_cursor() => Box::new(Screen::new(output, stamp, glyphs, color, patience)),
        _ => Box::new(Plain { output, stamp, glyphs, color, patience, buffer: String::new(), colored: String::new() }),
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
            complain(&format!("{name}: {error}; the pull goes on without it"), Glyphs::from_environment(true));
            None
        }
    }
}

fn give(sinks: &mut Vec<Named>, line: &Line<'_>, stderr: Glyphs) {
    each(sinks, stderr, &mut |sink| sink.line(line));
}

/// Does it to each sink, and gives up those that fail.
fn each(sinks: &mut Vec<Named>, stderr: Glyphs, act: &mut dyn FnMut(&mut dyn Sink) -> io::Result<()>) {
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

/// Complains in the middle of the story; stderr may be the same terminal.
fn interrupt(sinks: &mut [Named], complaint: &str, stderr: Glyphs) {
    for (_, sink) in sinks {
        // What it wants to say about itself it will say when it is next used.
        let _ = sink.step_aside();
    }
    complain(complaint, stderr);
}

/// One line on stderr, if there is room for it.
pub(crate) fn complain(text: &str, glyphs: Glyphs) {
    let mut line = String::new();
    glyphs.push(&format!("{}: {}\n", env!("CARGO_PKG_NAME"), crate::text::safe(text)), &mut line);
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
