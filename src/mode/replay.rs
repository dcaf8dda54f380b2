//! Plays a recorded stream as if it were a pull.
//!
//! **Invariant:** what it prints is what the live pull printed, times included, and its exit code is that pull's.

use crate::args::{Log as Where, Progress, PullOptions};
use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::os::clock::now;
use crate::os::output::WritePolicy;
use crate::os::signals::Signals;
use crate::os::wait::{TICK, ready};
use crate::pull::failure::{Failure, Kind, Sent};
use crate::pull::{End, LineBuffer, MAX_LINE, NO_IMAGE, SILENT, Verdict, signal_exit_code};
use crate::recording::{self, Ended, Entry, Header};
use crate::report::line::{Method, Opening};
use crate::report::stamp::Stamp;
use crate::session::{Outcome, Session};
use crate::sink::complaint::complain;
use crate::sink::{open, quiet};
use alm_state::Time;
use rustix::event::PollFlags;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A row contains one line of an engine and a few characters more. A line that was not JSON is kept as a JSON string,
/// in which a control character takes six bytes.
const MAX_ROW: usize = 6 * MAX_LINE + 64;

/// A recording that is being played.
struct Player<'a> {
    options: &'a PullOptions,
    path: &'a Path,
    signals: Signals,
    speed: Option<f64>,
    began: Instant,
    /// Opened by the first entry.
    session: Option<Session>,
    /// Whether there was a line that is not empty.
    has_begun: bool,
    /// The recording's header; `None` for a bare capture.
    header: Option<Header>,
    method: Method,
    /// Milliseconds of the latest entry. It never decreases, whatever the recording contains.
    at: u64,
    number: usize,
    end: Option<Ended>,
    error: Option<String>,
}

/// Plays the recording at `path` (`-` is standard input); returns the exit code.
pub(crate) fn replay(path: &Path, speed: Option<f64>, options: &PullOptions) -> u8 {
    let charset = Charset::from_environment(options.ascii);
    let name = path.display();
    let opened = if path.as_os_str() == "-" {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            complain(&format!("{name}: {error}"), charset);
            return 1;
        }
    };
    // Caught only now: opening a FIFO blocks until somebody writes to it, and until then a signal has to end the
    // process.
    let signals = Signals::catch(false);
    let mut player = Player {
        options,
        path,
        signals: signals.clone(),
        speed,
        began: Instant::now(),
        session: None,
        has_begun: false,
        header: None,
        method: Method::Api,
        at: 0,
        number: 0,
        end: None,
        error: None,
    };
    let mut lines = LineBuffer::with_empty(MAX_ROW);
    let mut buffer = vec![0; 16 << 10];
    loop {
        match ready(&file, PollFlags::IN, TICK)
            .and_then(|ready| if ready { file.read(&mut buffer).map(Some) } else { Ok(None) })
        {
            Ok(Some(0)) => {
                lines.end(&mut |line| player.line(line));
                break;
            }
            Ok(Some(count)) => lines.feed(&buffer[..count], &mut |line| player.line(line)),
            Ok(None) => player.tick(player.at),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => player.error = Some(format!("{name}: {error}")),
        }
        if let Some(signal) = signals.pending() {
            // A first line without a line end counts as well.
            player.has_begun |= lines.is_within();
            return player.interrupt(signal);
        }
        if player.error.is_some() || player.end.is_some() {
            break;
        }
    }
    match player.finish() {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error, charset);
            1
        }
    }
}

impl Player<'_> {
    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if self.error.is_some() || self.end.is_some() || self.signals.pending().is_some() {
            return;
        }
        if let Err(error) = self.play(line) {
            self.error = Some(format!("{}: line {}: {error}", self.path.display(), self.number));
        }
    }

    fn play(&mut self, line: &[u8]) -> Result<(), String> {
        let mut line = line;
        if !std::mem::replace(&mut self.has_begun, true) {
            // Windows begins files with it.
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            self.header = recording::header(line)?;
            if self.header.is_some() {
                return Ok(());
            }
        }
        let Some(header) = &self.header else {
            self.on_engine_line(line);
            return Ok(());
        };
        let (at, entry) = recording::entry(line, header)?;
        self.wait(at.max(self.at));
        if self.signals.pending().is_some() {
            return Ok(());
        }
        let at = self.at;
        match entry {
            Entry::Open(opening) if self.session.is_none() => self.open(&opening),
            Entry::Retry(retry) => self.session().retry(at, &retry),
            Entry::Warning(text) => self.session().warn(at, &text),
            Entry::Sizes(sizes) => self.session().sizes(at, sizes),
            // If the space was too small, the closing entry contains that.
            Entry::DiskSpace(space) => drop(self.session().space(at, &space)),
            // The fast path did not understand the row: it may be broken, and not just hold an unknown line.
            Entry::Line(text) if self.on_engine_line(text) == Outcome::NotUnderstood => recording::check(line)?,
            Entry::Line(_) | Entry::Open(_) | Entry::Other => {}
            Entry::Raw(text) => {
                let session = self.session();
                session.raw_line(at, text.as_bytes());
                session.frame(at);
            }
            Entry::End(ended) => self.end = Some(ended),
        }
        Ok(())
    }

    fn on_engine_line(&mut self, line: &[u8]) -> Outcome {
        let at = self.at;
        let session = self.session();
        let outcome = session.line(at, line);
        session.frame(at);
        outcome
    }

    /// The session; opened with the defaults if the recording has no header.
    fn session(&mut self) -> &mut Session {
        if self.session.is_none() {
            let image = match &self.header {
                Some(header) => header.image.clone(),
                None => format!("not told (capture {})", self.path.display()),
            };
            self.open(&Opening { image, method: Method::Api, reason: None, attached: None });
        }
        self.session.as_mut().expect("begun above")
    }

    fn open(&mut self, opening: &Opening) {
        let stamp = Stamp(self.header.as_ref().and_then(|header| header.started).unwrap_or_else(now));
        let signals = self.signals.clone();
        let policy = WritePolicy::Endless(Box::new(move || signals.go_on()));
        let mut sinks: Vec<_> = open::stdout(self.options, stamp, policy).into_iter().collect();
        if let Where::File(path) = &self.options.log {
            sinks.extend(open::log(path, self.options, stamp, opening.attached.is_some()));
        }
        if self.options.state.is_some()
            && let Ok(reference) = Reference::parse(&opening.image)
        {
            let clock = move |at| Time(stamp.time(at).unix_timestamp());
            let target =
                open::state_target(reference.to_string(), reference.full(), reference.registry(), self.options);
            sinks.push(open::state(target, Box::new(|| true), Box::new(clock)));
        }
        let mut session = Session::new(sinks, None, Charset::from_environment(self.options.ascii));
        session.open(self.at, opening, None);
        self.method = opening.method;
        self.session = Some(session);
    }

    fn tick(&mut self, at: u64) {
        if let Some(session) = &mut self.session {
            session.advance(at);
        }
    }

    /// With `--speed`, waits until the entry is due, and meanwhile lets the session show that time passes.
    fn wait(&mut self, until: u64) {
        if let Some(speed) = self.speed {
            // A time that does not fit a `Duration` is treated as never.
            let due = Duration::try_from_secs_f64(Duration::from_millis(until).as_secs_f64() / speed)
                .unwrap_or(Duration::MAX);
            while let Some(left) = due.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero()) {
                if self.signals.pending().is_some() {
                    return;
                }
                std::thread::sleep(left.min(TICK));
                // The cast saturates.
                #[allow(clippy::cast_sign_loss)]
                let now = (self.began.elapsed().as_secs_f64() * speed * 1000.0) as u64;
                self.at = now.clamp(self.at, until);
                self.tick(self.at);
            }
        }
        self.at = until;
    }

    /// Handles a signal: closes the session as a live pull would, if it was opened.
    fn interrupt(mut self, signal: i32) -> u8 {
        let exit = signal_exit_code(signal);
        if self.has_begun {
            self.close(&End::Signal(signal), &Verdict::Interrupted(signal), exit);
        }
        exit
    }

    fn close(&mut self, end: &End, verdict: &Verdict, exit: u8) {
        let at = self.at;
        self.session().close(at, end, verdict, exit);
        let image = self.header.as_ref().and_then(|header| Reference::parse(&header.image).ok());
        if let Some(image) = image.filter(|_| self.options.progress == Progress::Quiet) {
            quiet::write(&image.to_string(), &image.full(), verdict, Charset::from_environment(self.options.ascii));
        }
    }

    fn finish(mut self) -> Result<u8, String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // The signal may have come during the wait for the last line.
        if let Some(signal) = self.signals.pending() {
            return Ok(self.interrupt(signal));
        }
        if !self.has_begun {
            return Err(format!("{}: line 1: empty; there is nothing to replay", self.path.display()));
        }
        let unknown = |end| Ended { end, exit: None, kind: None, credentials: Sent::None };
        let Ended { end, exit, kind, credentials } = match self.end.take() {
            Some(Ended { end: End::Complete, exit: Some(exit), kind, credentials }) if self.method == Method::Cli => {
                Ended { end: End::Exited(exit), exit: Some(exit), kind, credentials }
            }
            Some(ended) => ended,
            None if self.header.is_none() => unknown(End::Complete),
            None => unknown(End::Cut(None)),
        };
        let session = self.session();
        let mut verdict = match session.pull.verdict(&end) {
            Verdict::Undecided(id) => match exit {
                Some(0) => Verdict::Success,
                None if session.pull.ends_as_podman() => Verdict::Success,
                _ => Verdict::Failed(Failure::own(Kind::Other, format!("{NO_IMAGE} {id}"))),
            },
            verdict => verdict,
        };
        if let Verdict::Failed(failure) = &mut verdict {
            if self.header.is_none() && failure.text.starts_with(SILENT) {
                // Nobody knows whether it was the engine.
                "the capture ends without saying that the pull succeeded".clone_into(&mut failure.text);
            }
            // The live pull knew the kind from more than the text.
            failure.kind = kind.unwrap_or(failure.kind);
            failure.credentials = credentials;
        }
        let exit = exit.unwrap_or_else(|| verdict.exit_code(&end));
        self.close(&end, &verdict, exit);
        // The wait was interrupted: a signal came while the reader was slow.
        Ok(self.signals.pending().map_or(exit, signal_exit_code))
    }
}
