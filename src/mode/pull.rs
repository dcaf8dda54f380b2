//! A live pull: the event loop, when to fall back to docker, when to try again.
//!
//! **Invariant:** once a pull has begun it never falls back to docker. Every wait checks for signals on every tick, or
//! is ended by them.

mod outputs;
mod sizes;
mod store;

use crate::args::{Progress, PullOptions};
use crate::docker::Read;
use crate::docker::backend::{Backend, Source};
use crate::docker::client::{Client, ClientOptions};
use crate::docker::engine::{Engine, Error};
use crate::docker::environment::Environment;
use crate::docker::image::Image;
use crate::docker::inspect::Inspector;
use crate::docker::reference::Reference;
use crate::docker::sizes::SizesQuery;
use crate::docker::store::StoreQuery;
use crate::os::charset::Charset;
use crate::os::clock::now;
use crate::os::lock::{self, Lock};
use crate::os::signals::Signals;
use crate::os::wait::{ReadPacer, TICK, WATCHED};
use crate::pull::attempt::{self, Attempts, FailedAttempt, Fetched};
use crate::pull::failure::{Failure, Kind};
use crate::pull::{End, LineBuffer, MAX_LINE, NO_ANSWER, NO_IMAGE, Verdict};
use crate::recording::Header;
use crate::report::line::{Method, Opening, Retry};
use crate::session::{Outcome, Session};
use crate::sink::quiet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The limit for an answer of the engine that decides something, or that is shown.
const ANSWER: Duration = Duration::from_secs(10);

/// The limit for such an answer after the pull has succeeded: then it only decides about a warning.
const BRIEF_ANSWER: Duration = Duration::from_secs(2);

/// The stall limit is at least this during an extraction that shows no progress: a large layer takes long on an SD
/// card.
const EXTRACTION: Duration = Duration::from_hours(1);

/// A pull that has begun.
struct LivePull<'a> {
    options: &'a PullOptions,
    reference: &'a Reference,
    signals: Signals,
    began: Instant,
    session: Session,
    /// The request for the layers' sizes, if they are wanted.
    sizes_query: Option<SizesQuery>,
    /// The request for the engine's kind of store, which decides when a broken pull is tried again.
    store_query: StoreQuery,
}

/// Pulls `reference`; returns the exit code.
pub(crate) fn pull(reference: &Reference, options: &PullOptions) -> u8 {
    let signals = Signals::catch(true).waking();
    let (started, began) = (now(), Instant::now());
    let image = reference.to_string();
    // Two names of one image share one transfer and one state.
    let lock = lock::take(&reference.full());
    let attached = if let Lock::Held(process) = &lock { Some(process.clone()) } else { None };
    let session = outputs::session(reference, options, started, &signals, lock);
    let (sizes_query, store_query) = (sizes::sizes_query(reference, options.sizes), StoreQuery::default());
    let mut live = LivePull { options, reference, signals, began, session, sizes_query, store_query };
    let client_options = ClientOptions {
        reference,
        platform: options.platform.as_deref(),
        host: options.host.as_deref(),
        token_file: options.token_file.as_deref(),
        token_user: options.token_user.as_deref(),
    };
    let client = Client::connect(client_options, Environment::from_process(), &mut || live.signals.go_on());
    let (method, reason, engine) = match client.as_ref().map(|client| &client.backend) {
        Ok(Backend::Cli { reason, .. }) => (Method::Cli, Some(reason.clone()), None),
        Ok(Backend::Api(engine)) => (Method::Api, None, Some(engine)),
        Err(_) => (Method::Api, None, None),
    };
    let header = Header {
        image: image.clone(),
        started: Some(started),
        engine: engine.map(|engine| engine.version.clone()).unwrap_or_default(),
        api: engine.map(|engine| engine.api.clone()).unwrap_or_default(),
    };
    live.session.open(live.at(), &Opening { image, method, reason, attached }, Some(&header));
    match client {
        Ok(client) => live.run(client),
        Err(error) => {
            let end = live.cut(error);
            live.close_decided(&end)
        }
    }
}

/// The whole milliseconds since `began`.
// In each caller it would be larger.
#[inline(never)]
fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl LivePull<'_> {
    /// Milliseconds since the pull began.
    fn at(&self) -> u64 {
        since(self.began)
    }

    fn inspector<'b>(&'b self, engine: &'b Engine, limit: Duration) -> Inspector<'b> {
        Inspector { engine, signals: &self.signals, until: Instant::now() + limit }
    }

    /// Turns an error of the engine into the end of a stream.
    fn cut(&self, error: Error) -> End {
        match (error, self.signals.pending()) {
            (_, Some(signal)) => End::Signal(signal),
            (error, None) => End::Cut(Some(error.failure())),
        }
    }

    /// Makes attempts until one of them decides; returns the exit code.
    // As a part of `main` it would be larger by a fifth.
    #[inline(never)]
    fn run(mut self, mut client: Client<'_>) -> u8 {
        if let Err(reason) = client.log_in(&mut || self.signals.go_on()) {
            return self.close_decided(&End::Cut(Some(Failure::own(Kind::Other, reason))));
        }
        let mut attempts = Attempts::new(self.options.retries);
        loop {
            for warning in client.take_warnings() {
                self.session.warn(self.at(), &warning);
            }
            let end = self.attempt(&client);
            let backend = &client.backend;
            let (end, mut verdict, image) = self.verdict(backend, end);
            let Verdict::Failed(failure) = &mut verdict else {
                if let (Verdict::Success, Backend::Api(engine)) = (&verdict, backend) {
                    self.check_platform(engine, image);
                }
                return self.close(&end, &verdict);
            };
            failure.credentials = client.sent();
            let failure = failure.clone();
            let engine_answered = matches!(backend, Backend::Api(_));
            // Only the containerd store keeps the bytes of a broken pull; with the graphdriver each attempt starts from zero.
            let keeps = self.session.pull.is_containerd || attempt::is_of_containerd(&failure.text);
            let fetched = match self.session.pull.fetched() {
                Fetched::Rest if !keeps && matches!(failure.kind, Kind::EngineGone) => Fetched::FromScratch,
                fetched => fetched,
            };
            let failed = FailedAttempt { failure: &failure, fetched, engine_answered };
            let Some(next) = attempts.next(failed, &mut || self.is_containerd(backend, &failure.text)) else {
                let is_too_large = matches!(&end, End::Cut(Some(own)) if own.kind == Kind::DiskFull);
                self.explain(&client, failure.kind, is_too_large);
                return self.close(&end, &verdict);
            };
            let limit = Some(self.options.retries);
            let retry = Retry { number: next.number, limit, wait: next.wait, failure };
            self.session.retry(self.at(), &retry);
            // A retry without a wait uses the connection and credentials that are at hand.
            if next.wait > 0
                && let ControlFlow::Break(end) = self.prepare(&mut client, next.wait)
            {
                return self.close_decided(&end);
            }
        }
    }

    /// Makes one attempt.
    fn attempt(&mut self, client: &Client<'_>) -> End {
        let signals = self.signals.clone();
        let began = self.began;
        let at = move || since(began);
        let session = &mut self.session;
        let on_tick = &mut || {
            // The engine sends nothing until it has the manifest, which can take minutes.
            session.advance(at());
            signals.go_on()
        };
        let mut source = match client.begin(on_tick) {
            Ok(source) => source,
            Err(error) => return self.cut(error),
        };
        let mut lines = LineBuffer::new(MAX_LINE);
        let max_pause = outputs::max_pause(self.options);
        let (mut idle, mut before, mut pacer) = (Duration::ZERO, Instant::now(), ReadPacer::new(max_pause));
        loop {
            if let Some(signal) = signals.pending()
                && let ControlFlow::Break(end) = source.stop(signal)
            {
                return end;
            }
            let mut has_moved = false;
            let session = &mut self.session;
            let mut on_line = |line: &[u8]| {
                pacer.line();
                has_moved |= session.line(at(), line) == Outcome::Movement;
            };
            match source.read(&mut |body| lines.feed(body, &mut on_line)) {
                // Data that is not read would fill the socket's buffer and block the engine. A state written of this part
                // alone would be a period late for the rest.
                Read::Bytes { more: true } => self.session.flush(),
                Read::Bytes { more: false } | Read::Tick => {
                    self.session.advance(at());
                    if let ControlFlow::Break(end) = self.ask_sizes(client) {
                        return end;
                    }
                    self.ask_store(client);
                    // A recording contains the times of the live pull.
                    if let Source::Api(connection) = &source
                        && self.options.record.is_none()
                    {
                        let sizes_query = self.sizes_query.as_ref();
                        let is_pending = sizes_query.is_some_and(|query| query.is_pending(&self.session.pull));
                        let pause = pacer.next(lines.is_within(), self.at());
                        let descriptor = sizes_query.and_then(SizesQuery::descriptor);
                        signals.sleep(if is_pending { pause.min(WATCHED) } else { pause }, connection, descriptor);
                        if !is_pending && let Some(rest) = pacer.prolong(|| connection.unread()) {
                            signals.sleep(rest, connection, descriptor);
                        }
                    }
                }
                Read::End(end) => {
                    lines.end(&mut on_line);
                    // The engine may be asked about this end, and not answer for a while.
                    self.session.frame(self.at());
                    return end;
                }
            }
            // docker's CLI prints no progress unless it writes to a terminal, so its silence means nothing.
            let Source::Api(_) = source else { continue };
            // At most one round is counted: a process that was stopped and continued has not stalled.
            idle = if has_moved { Duration::ZERO } else { idle + before.elapsed().min(max_pause + TICK) };
            before = Instant::now();
            if let Some(limit) = self.stall_limit().filter(|limit| idle >= *limit) {
                let reason = format!("nothing has moved for {}s", limit.as_secs());
                return End::Stalled(Some(Failure::own(Kind::Stalled, reason)));
            }
        }
    }

    /// After how much time without movement the pull counts as stalled, in its present phase.
    fn stall_limit(&self) -> Option<Duration> {
        let limit = Some(Duration::from_secs(self.options.stall_timeout)).filter(|limit| !limit.is_zero())?;
        Some(if self.session.pull.may_extract_unseen() { limit.max(EXTRACTION) } else { limit })
    }

    /// Decides whether the pull has succeeded, and asks the engine if the stream does not say. Returns the end too,
    /// which changes if the engine does not answer, and the image if it was asked for.
    fn verdict(&self, backend: &Backend, end: End) -> (End, Verdict, Option<Image>) {
        let (id, engine) = match (self.session.pull.verdict(&end), backend) {
            (Verdict::Undecided(id), Backend::Api(engine)) => (id, engine),
            (verdict, _) => return (end, verdict, None),
        };
        match self.inspector(engine, ANSWER).image(self.reference) {
            Ok(Some(image)) if image.id().is_some_and(|found| found.starts_with(&id)) => {
                (end, Verdict::Success, Some(image))
            }
            Ok(image) if image.as_ref().is_none_or(|image| image.id().is_some()) => {
                (end, Verdict::Failed(Failure::own(Kind::Other, format!("{NO_IMAGE} {id}"))), None)
            }
            Ok(_) | Err(_) => {
                let unanswered = End::Cut(Some(Failure::own(Kind::Other, format!("{NO_ANSWER} {id}"))));
                let end = self.signals.pending().map_or(unanswered, End::Signal);
                let verdict = self.session.pull.verdict(&end);
                (end, verdict, None)
            }
        }
    }

    /// Warns if an image that was pulled without `--platform` cannot run here. That is a mistake in the image, not a
    /// failure of the pull: the machine may have an emulator.
    fn check_platform(&mut self, engine: &Engine, image: Option<Image>) {
        if self.options.platform.is_some() {
            return;
        }
        if let Some((platform, own)) = self.inspector(engine, BRIEF_ANSWER).mismatch(self.reference, image) {
            let warning = format!(
                "the image is for {platform}, and this engine runs {own}: without an emulator its programs end with an \
                 «exec format error»; another tag or --platform may fit"
            );
            self.session.warn(self.at(), &warning);
        }
    }

    /// Adds facts that help a reader to understand the failure. `is_too_large`: this program ended the pull, because the
    /// image cannot fit.
    fn explain(&mut self, client: &Client<'_>, kind: Kind, is_too_large: bool) {
        let (registry, credentials) = (self.reference.registry(), &client.credentials);
        let text = match (kind, &client.backend) {
            (Kind::Login, Backend::Api(_)) => match &credentials.user {
                Some(user) => format!("{registry} was asked as user {user} (from {})", credentials.origin),
                None => format!("no credentials for {registry} were found (looked in: {})", credentials.origin),
            },
            (Kind::DiskFull | Kind::Store, Backend::Api(engine)) => {
                let Some((root, free)) = self.inspector(engine, ANSWER).space() else { return };
                let root = root.display();
                if is_too_large {
                    // The reason names the free space already: what is free for root, as the engine runs as root.
                    format!("the engine keeps its images in {root}")
                } else {
                    format!("{} free where the engine keeps its images ({root})", crate::report::bar::bytes(free))
                }
            }
            _ => return,
        };
        self.session.warn(self.at(), &text);
    }

    /// Waits before another attempt, and until an engine that restarts is back. Breaks with the end if there is to be
    /// no further attempt.
    fn prepare(&mut self, client: &mut Client<'_>, seconds: u64) -> ControlFlow<End> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let jitter = attempt::jitter(clock.subsec_nanos(), std::process::id());
        let until = Instant::now() + Duration::from_secs(seconds) + jitter;
        while Instant::now() < until {
            std::thread::sleep(TICK.min(until - Instant::now()));
            if let Some(signal) = self.signals.pending() {
                return ControlFlow::Break(End::Signal(signal));
            }
            self.session.advance(self.at());
        }
        // The engine may have been replaced by another one meanwhile.
        self.store_query = StoreQuery::default();
        let Self { session, signals, began, .. } = self;
        let renewed = client.renew(&mut || {
            session.advance(since(*began));
            signals.go_on()
        });
        match renewed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(self.cut(error)),
        }
    }

    /// Closes the session with an end that needs no verdict.
    fn close_decided(self, end: &End) -> u8 {
        let verdict = self.session.pull.verdict(end);
        self.close(end, &verdict)
    }

    fn close(mut self, end: &End, verdict: &Verdict) -> u8 {
        let exit = verdict.exit_code(end);
        let at = self.at();
        self.session.close(at, end, verdict, exit);
        if self.options.progress == Progress::Quiet {
            quiet::write(
                &self.reference.to_string(),
                &self.reference.full(),
                verdict,
                Charset::from_environment(self.options.ascii),
            );
        }
        exit
    }
}
