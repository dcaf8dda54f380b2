//! The whole path: from an engine's answer over a socket, or from a recording, to the lines of the log.
//!
//! What a live pull of the answer writes is checked against the rules of the log; its verdict against a simple reading
//! of the body; and both against a replay of the recording that the pull made.

use super::event::{Pairs, Seen, has_failed, naive};
use super::{Delivery, directory};
use crate::args::{Log as Where, Progress, PullOptions, When};
use crate::docker::Connection;
use crate::docker::Read;
use crate::docker::Response;
use crate::docker::engine::Engine;
use crate::docker::platform::Rule;
use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::os::output::WritePolicy;
use crate::pull::failure::{Failure, Kind};
use crate::pull::layer::Phase;
use crate::pull::{End, NO_IMAGE, Verdict};
use crate::pull::{LineBuffer, MAX_LINE, split_object};
use crate::recording::{Header, Recorder};
use crate::replay;
use crate::report::line::{About, Line, Method, Opening, Retry};
use crate::report::stamp::Stamp;
use crate::session::Session;
use crate::sink::Sink;
use crate::sink::open;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::iter;
use std::ops::ControlFlow;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use time::OffsetDateTime;

/// Flags of the input. A failed pull is retried once.
const RETRY: u8 = 0x08;
/// A pull without a final status finds its image.
const IMAGE: u8 = 0x10;
/// A signal comes before the end.
const STOP: u8 = 0x20;
/// Standard output is JSON.
const JSON: u8 = 0x40;
/// Another process is pulling the same image.
const ATTACHED: u8 = 0x80;

/// The size of one read.
const PIECE: usize = 8 << 10;

const SIGTERM: i32 = 15;

/// When every pull begins.
const STARTED: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

pub fn run(data: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    let delivery = Delivery::of(data);
    WORLD.with_borrow_mut(|world| {
        if delivery.stream.starts_with(b"HTTP/") {
            return world.pull_and_replay(&delivery);
        }
        fs::write(&world.recording, delivery.stream).expect("a recording");
        let outcome = world.replay(delivery.flags & JSON != 0);
        if delivery.stream.starts_with(b"{\"") && !delivery.stream.starts_with(b"{\"version\"") {
            assert!(outcome.exit != 0 || outcome.log.contains(SUCCESSFUL), "a success that the log does not know");
            if outcome.log.contains(SUCCESSFUL) {
                assert!(may_succeed(delivery.stream, true), "a false success");
            }
            // A bare capture is a body, too.
            world.pull_and_replay(&Delivery { stream: &answer(delivery.stream), ..delivery });
        }
    });
}

/// An answer with this body.
fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    [head.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

const SUCCESSFUL: &str = "] ✅ PULL SUCCESSFUL\n";

/// The result.
#[derive(Debug, PartialEq)]
struct Outcome {
    exit: u8,
    log: String,
    stdout: String,
}

/// The files and the socket.
struct World {
    log: PathBuf,
    recording: PathBuf,
    stdout: File,
    listener: UnixListener,
    engine: Engine,
    reference: Reference,
}

impl World {
    fn new() -> Self {
        let [log, recording, stdout, socket] =
            ["log", "recording", "stdout", "socket"].map(|name| directory().join(name));
        let stdout = OpenOptions::new().read(true).append(true).create(true).open(stdout).expect("a file");
        rustix::stdio::dup2_stdout(&stdout).expect("a standard output of our own");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (version, api, headers) = ("20.10".into(), "1.41".into(), Vec::new());
        let engine = Engine { socket, headers, version, api, rule: Rule::Old };
        let reference = Reference::parse("127.0.0.1:5000/a:1").expect("a reference");
        Self { log, recording, stdout, listener, engine, reference }
    }

    fn options(&mut self, is_json: bool) -> PullOptions {
        let _ = fs::remove_file(&self.log);
        self.stdout.set_len(0).expect("an empty file");
        PullOptions {
            progress: if is_json { Progress::Json } else { Progress::Plain },
            log: Where::File(self.log.clone()),
            ascii: true,
            color: When::Never,
            ..PullOptions::default()
        }
    }

    /// Reads what was written since the last call, and checks it.
    fn outcome(&self, exit: u8, is_json: bool) -> Outcome {
        // Without anything to replay there is no log.
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let stdout = fs::read_to_string(directory().join("stdout")).expect("UTF-8");
        check_log(&log);
        check_stdout(&stdout, is_json);
        Outcome { exit, log, stdout }
    }

    fn replay(&mut self, is_json: bool) -> Outcome {
        let options = self.options(is_json);
        let exit = replay::replay(&self.recording, None, &options);
        self.outcome(exit, is_json)
    }

    fn pull_and_replay(&mut self, delivery: &Delivery<'_>) {
        let live = self.pull(delivery);
        assert_eq!(live.log.contains(SUCCESSFUL), live.exit == 0, "exit {}: {}", live.exit, live.log);
        let replayed = self.replay(delivery.flags & JSON != 0);
        assert_eq!(replayed, live, "a replay is not what the live pull was");
    }

    /// Does what `mode::pull` does, with a clock that the input controls.
    fn pull(&mut self, delivery: &Delivery<'_>) -> Outcome {
        let is_json = delivery.flags & JSON != 0;
        let options = self.options(is_json);
        let attached = (delivery.flags & ATTACHED != 0).then(|| "process 1".to_owned());
        let policy = WritePolicy::Endless(Box::new(|| ControlFlow::Continue(())));
        let stamp = Stamp(STARTED);
        let mut sinks: Vec<_> = open::stdout(&options, stamp, policy).into_iter().collect();
        sinks.extend(open::log(&self.log, &options, stamp, attached.is_some()));
        sinks.push(("a check".to_owned(), Box::new(Check::default())));
        let recorder = Recorder::create(&self.recording).expect("a recording");
        let mut session = Session::new(sinks, Some(("a recording".to_owned(), recorder)), Charset::Ascii);

        let image = self.reference.to_string();
        let Engine { version: engine, api, .. } = &self.engine;
        let header = Header { image: image.clone(), started: Some(STARTED), engine: engine.clone(), api: api.clone() };
        let opening = Opening { image, method: Method::Api, reason: None, attached };
        session.open(0, &opening, Some(&header));
        let mut at = 0;
        let mut end = self.attempt(delivery, &mut session, &mut at);
        let mut verdict = session.pull.verdict(&end);
        if let Verdict::Failed(failure) = &verdict
            && delivery.flags & RETRY != 0
        {
            let retry = Retry { number: 1, limit: Some(3), wait: 5, failure: failure.clone() };
            session.retry(at, &retry);
            at += 5000;
            end = self.attempt(delivery, &mut session, &mut at);
            verdict = session.pull.verdict(&end);
        }
        let has_image = delivery.flags & IMAGE != 0;
        let verdict = match verdict {
            Verdict::Undecided(_) if has_image => Verdict::Success,
            Verdict::Undecided(id) => Verdict::Failed(Failure::own(Kind::Other, format!("{NO_IMAGE} {id}"))),
            verdict => verdict,
        };
        if verdict == Verdict::Success {
            assert_eq!(end, End::Complete, "a false success");
            assert!(may_succeed(&body(delivery.stream), has_image), "a false success");
        }
        let exit = verdict.exit_code(&end);
        session.close(at, &end, &verdict, exit);
        assert!(session.pull.finished <= session.pull.layers.len());
        self.outcome(exit, is_json)
    }

    /// One attempt, in which the input is the engine's answer.
    fn attempt(&self, delivery: &Delivery<'_>, session: &mut Session, at: &mut u64) -> End {
        let mut connection =
            self.engine.pull(&self.reference, None, "e30=", &mut || ControlFlow::Continue(())).expect("a connection");
        let (mut peer, _) = self.listener.accept().expect("a connection");
        // Otherwise the unread request would reset the connection.
        assert!(peer.read(&mut [0; 1024]).expect("a request") > 0);
        let mut lines = LineBuffer::new(MAX_LINE);
        let pieces = delivery.pieces(|byte| 1 + usize::from(byte) * usize::from(byte) / 8);
        for (byte, piece) in pieces.flat_map(|(byte, piece)| piece.chunks(PIECE).map(move |piece| (byte, piece))) {
            peer.write_all(piece).expect("room in the socket");
            if let Read::End(end) = read(&mut connection, &mut lines, session, *at) {
                return end;
            }
            // Up to a minute, so that lines that are due by time occur, too.
            *at += u64::from(byte) * 237;
            session.advance(*at);
        }
        if delivery.flags & STOP != 0 {
            return End::Signal(SIGTERM);
        }
        drop::<UnixStream>(peer);
        match read(&mut connection, &mut lines, session, *at) {
            Read::End(end) => end,
            read => panic!("no end: {read:?}"),
        }
    }
}

fn read(connection: &mut Connection, lines: &mut LineBuffer, session: &mut Session, at: u64) -> Read {
    let mut on_line = |line: &[u8]| {
        session.line(at, line);
    };
    let read = connection.read(&mut |body| lines.feed(body, &mut on_line));
    if let Read::End(_) = read {
        lines.end(&mut on_line);
    }
    read
}

/// The decoded body.
fn body(answer: &[u8]) -> Vec<u8> {
    let (mut response, mut body) = (Response::new(), Vec::new());
    let _ = response.feed(answer, &mut |bytes| body.extend_from_slice(bytes));
    assert!(response.is_complete() && response.head().is_some_and(|head| head.status == 200), "a false success");
    body
}

/// Whether these lines may be those of a successful pull, according to a simple reader.
fn may_succeed(lines: &[u8], has_image: bool) -> bool {
    let (mut is_docker, mut has_status) = (false, false);
    let objects = lines.split(|&byte| byte == b'\n').flat_map(objects);
    for line in objects.filter_map(|object| std::str::from_utf8(object).ok()) {
        match serde_json::from_str(line) {
            Ok(Pairs(pairs)) if has_failed(&pairs) => return false,
            Ok(Pairs(pairs)) => match naive(&pairs) {
                Some(Seen::Other(event)) if event.starts_with("PullingFrom(") => is_docker = true,
                Some(Seen::Other(event)) if event.starts_with("Status(") => has_status = true,
                _ => {}
            },
            // JSON that a simple reader cannot represent can mean anything.
            Err(_) => has_status |= serde_json::from_str::<IgnoredAny>(line).is_ok(),
        }
    }
    has_status || (has_image && !is_docker)
}

/// The objects of a line: old engines put several on one line. Whether they are split correctly is checked by `event`.
fn objects(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    iter::from_fn(move || {
        let (object, more) = split_object(rest).unwrap_or((rest, &[]));
        rest = more;
        (!object.is_empty()).then_some(object)
    })
}

/// Checks the log: whole lines, each with its stamp, nothing that acts on a terminal, and never more layers done than
/// there are.
fn check_log(log: &str) {
    assert!(log.is_empty() || log.ends_with('\n'), "the last line is torn: {log:?}");
    for line in log.split_terminator('\n') {
        assert!(!line.contains(is_hostile), "a hostile character: {line:?}");
        let (stamp, text) = line.strip_prefix('[').and_then(|line| line.split_once("] ")).expect("a stamp");
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if shape == "00:00:00" {
            assert!(text.len() <= 64 << 10, "a long raw line: {line}");
            continue;
        }
        assert_eq!(shape, "0000-00-00 00:00:00", "{line}");
        assert!(line.chars().count() <= 1000, "a long line: {line}");
        if let Some((done, all)) = counts(text) {
            assert!(done <= all, "{done} of {all}: {line}");
        }
    }
}

/// `2` and `3` of `✅ Layer a: Complete (2/3)`. An engine's text cannot begin a line, so it cannot imitate one.
fn counts(text: &str) -> Option<(u64, u64)> {
    let (_, count) = if text.starts_with("✅ Layer ") || text.starts_with("💾 Layer ") {
        // Size and duration may follow.
        let (before, rest) = text.split_once(" (")?;
        (before, rest.split_once(')')?.0)
    } else {
        text.strip_suffix(" completed")?.split_once("Layers: ").filter(|(before, _)| before.is_empty())?
    };
    let (done, all) = count.split_once('/')?;
    Some((done.parse().ok()?, all.parse().ok()?))
}

/// What must never be in the log.
fn is_hostile(c: char) -> bool {
    let code = u32::from(c);
    code < 0x20
        || (0x7f..0xa0).contains(&code)
        || [0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff].contains(&code)
        || (0x202a..=0x202e).contains(&code)
        || (0x2066..=0x2069).contains(&code)
}

fn check_stdout(stdout: &str, is_json: bool) {
    assert!(stdout.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')), "not ASCII: {stdout:?}");
    assert!(stdout.is_empty() || stdout.ends_with('\n'), "the last line is torn: {stdout:?}");
    if is_json {
        for line in stdout.lines() {
            let object: Value = serde_json::from_str(line).expect("JSON");
            assert!(object["id"].is_string() && object["status"].is_string() && object["text"].is_string(), "{line}");
            assert!(object["percent"].as_u64().unwrap_or(0) <= 100, "{line}");
        }
    }
}

/// A sink that checks the lines about layers: bytes and percentages of a phase never decrease, except for a percentage
/// after the engine has reported a larger size.
#[derive(Default)]
struct Check {
    /// Done, size and percent, of a layer in a phase.
    seen: HashMap<(String, bool), (u64, u64, u64)>,
    at: u64,
}

impl Sink for Check {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        assert!(line.at >= self.at, "time goes back: {line:?}");
        self.at = line.at;
        let Some(text) = line.text else { return Ok(()) };
        assert!(!text.contains(is_hostile), "{text:?}");
        if text.starts_with("🔁 Retry ") {
            self.seen.clear();
        }
        if let About::Restart(layer) = line.about {
            self.seen.retain(|(id, _), _| *id != layer.id);
        }
        let About::Layer(layer, phase) = line.about else { return Ok(()) };
        let is_extraction = phase == Phase::Extracting;
        let (done, size) = match phase {
            Phase::Downloading => (layer.done, layer.size.unwrap_or(0)),
            Phase::Extracting => layer.extracted.unwrap_or_default(),
            _ => return Ok(()),
        };
        let Some(percent) = percent(text) else { return Ok(()) };
        assert!(percent <= 100 && done <= size, "{text}");
        let now = (done, size, percent);
        if let Some(before) = self.seen.insert((layer.id.clone(), is_extraction), now) {
            assert!(before.0 <= done && before.1 <= size, "bytes go back from {before:?} to {now:?}: {text}");
            assert!(before.2 <= percent || before.1 < size, "back from {before:?} to {now:?}: {text}");
        }
        Ok(())
    }
}

/// `50` of `⬇️  Layer a: [██░░] 50% (5MB / 10MB)`.
fn percent(text: &str) -> Option<u64> {
    let (start, _) = text.rsplit_once('%')?;
    start.rsplit_once("] ")?.1.parse().ok()
}
