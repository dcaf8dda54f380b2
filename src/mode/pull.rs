//! A live pull: the event loop, when to fall back to docker, when to try again.
//!
//! **Invariant:** once a pull has begun nothing falls back, and every wait looks at signals on every tick or is ended by them.

use crate::args::{Progress, Pull as Options};
use crate::docker::auth::{self, Found};
use crate::docker::cli::{self, Ended, PrivateConfig};
use crate::docker::endpoint::{self, Endpoint, Variables};
use crate::docker::engine::{Engine, Error, Read};
use crate::docker::environment::Environment;
use crate::docker::inspect::{Inspector, NoAnswer};
use crate::docker::reference::Reference;
use crate::os::lock::{self, Lock};
use crate::os::signals::{self, Signals};
use crate::os::wait::{MAX_PAUSE, ReadPacer, TICK};
use crate::os::{charset::Charset, output::WritePolicy};
use crate::pull::attempt::Attempts;
use crate::pull::failure::Kind;
use crate::pull::{End, LineBuffer, MAX_LINE, NO_ANSWER, NO_IMAGE, Verdict};
use crate::recording::Header;
use crate::report::line::{Method, Opening, Retry};
use crate::report::stamp::Stamp;
use crate::session::{self, Brought, CLOSING, Session, log_sink, now, recorder, stdout_sink};
use crate::sink::log;
use std::time::{Duration, Instant};

/// How long an engine that broke off may take to come back.
const RESTART: Duration = Duration::from_mins(1);

/// The least that is allowed for an extraction of which nothing is to be seen: a large layer takes long on an SD card.
const EXTRACTION: Duration = Duration::from_hours(1);

/// A pull on its way.
struct Live<'a> {
    options: &'a Options,
    reference: &'a Reference,
    signals: Signals,
    began: Instant,
    session: Session,
}

/// How an image can be pulled.
enum Way {
    Api(Engine),
    Cli {
        reason: String,
        /// The engine that was meant, for a docker that is not to look for it itself.
        address: String,
    },
    /// Not at all.
    No(End),
}

/// Pulls `reference`; the exit code.
pub(crate) fn pull(reference: &Reference, options: &Options) -> u8 {
    let signals = Signals::catch(true).waking();
    let (started, began) = (now(), Instant::now());
    let charset = Charset::from_environment(options.ascii);
    let image = reference.to_string();
    let lock = lock::take(&image);
    let attached = if let Lock::Held(process) = &lock { Some(process.clone()) } else { None };

    let told = signals.clone();
    let policy = WritePolicy::Live(CLOSING, Box::new(move || told.came().is_some()));
    let mut sinks: Vec<_> = stdout_sink(options, Stamp(started), policy).into_iter().collect();
    let log = options.log.path(log::PATH);
    sinks.extend(log.and_then(|path| log_sink(path, options, Stamp(started), attached.is_some())));
    let recorder = options.record.as_deref().and_then(|path| recorder(path, charset));
    let session = Session::new(sinks, recorder, charset);
    let mut live = Live { options, reference, signals, began, session };

    let environment = Environment::from_process();
    let way = live.way(&environment);
    let (method, reason, engine) = match &way {
        Way::Api(engine) => (Method::Api, None, Some(engine)),
        Way::Cli { reason, .. } => (Method::Cli, Some(reason.clone()), None),
        Way::No(_) => (Method::Api, None, None),
    };
    let header = Header {
        image: image.clone(),
        started: Some(started),
        engine: engine.map(|engine| engine.version.clone()).unwrap_or_default(),
        api: engine.map(|engine| engine.api.clone()).unwrap_or_default(),
    };
    live.session.open(live.at(), &Opening { image, method, reason, attached }, Some(&header));
    live.run(&way, &environment)
}

/// The whole milliseconds since then.
fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Live<'_> {
    /// Milliseconds since the pull began.
    fn at(&self) -> u64 {
        since(self.began)
    }

    fn way(&self, environment: &Environment) -> Way {
        let go_on = &mut || self.signals.came().is_none();
        match endpoint::find(
            self.options.host.as_deref(),
            &Variables::from_process(),
            environment.config_directory().as_deref(),
        ) {
            Endpoint::Other { reason, address } => Way::Cli { reason, address },
            Endpoint::Unix(socket) => match Engine::ping(&socket, go_on) {
                Ok(engine) => Way::Api(engine),
                Err(Error::Connect(reason)) => Way::Cli { reason, address: format!("unix://{}", socket.display()) },
                Err(error) => Way::No(self.cut(error)),
            },
        }
    }

    /// An error of the engine as the end of a stream.
    fn cut(&self, error: Error) -> End {
        match (error, self.signals.came()) {
            (_, Some(signal)) => End::Signal(signal),
            (error, None) => End::Cut(Some(error.to_string())),
        }
    }

    /// Attempts until one decides.
    fn run(mut self, way: &Way, environment: &Environment) -> u8 {
        let credentials = match self.credentials(way, environment) {
            Ok(found) => found,
            Err(reason) => return self.close_told(&End::Cut(Some(reason))),
        };
        for warning in &credentials.warnings {
            self.session.warn(self.at(), warning);
        }
        let mut attempts = Attempts::new(self.options.retries);
        loop {
            let end = match way {
                Way::Api(engine) => self.attempt(engine, &credentials.header),
                Way::Cli { address, .. } => self.attempt_cli(address, credentials.docker_config.as_deref()),
                Way::No(end) => end.clone(),
            };
            let (end, verdict) = self.verdict(way, end);
            let Verdict::Failed(reason) = &verdict else { return self.close(&end, &verdict) };
            let kind = Kind::of(reason);
            let has_moved = self.session.pull.moved().0 > 0;
            let next = match way {
                Way::No(_) => None,
                _ => attempts.next(kind, has_moved, matches!(way, Way::Api(_)), &mut || self.keeps_layers(way)),
            };
            let Some((number, wait)) = next else {
                self.explain(way, kind, &credentials);
                return self.close(&end, &verdict);
            };
            let retry = Retry { number, limit: Some(self.options.retries), wait, reason: reason.clone() };
            self.session.retry(self.at(), &retry);
            if let Some(end) = self.wait_for_retry(way, wait) {
                return self.close_told(&end);
            }
        }
    }

    /// What the registry is sent. Docker's CLI finds its own, unless there is a token file.
    fn credentials(&self, way: &Way, environment: &Environment) -> Result<Found, String> {
        let registry = self.reference.registry();
        match (&self.options.token_file, way) {
            (Some(file), _) => auth::from_token_file(file, self.options.token_user.as_deref(), registry),
            (None, Way::Api(_)) => Ok(auth::find(registry, environment, &mut || self.signals.came().is_some())),
            (None, Way::Cli { .. } | Way::No(_)) => Ok(Found::default()),
        }
    }

    /// One pull over the socket.
    fn attempt(&mut self, engine: &Engine, credentials: &str) -> End {
        let signals = self.signals.clone();
        let (began, session) = (self.began, &mut self.session);
        let at = move || since(began);
        let go_on = &mut || {
            // The engine is silent until it has the manifest, which can take minutes.
            session.advance(at());
            signals.came().is_none()
        };
        let mut connection = match engine.pull(self.reference, self.options.platform.as_deref(), credentials, go_on) {
            Ok(connection) => connection,
            Err(error) => return self.cut(error),
        };
        let mut lines = LineBuffer::new(MAX_LINE);
        let (mut idle, mut before, mut rest) = (Duration::ZERO, Instant::now(), ReadPacer::new());
        loop {
            if let Some(signal) = signals.came() {
                return End::Signal(signal);
            }
            let mut has_moved = false;
            let session = &mut self.session;
            let mut tell = |line: &[u8]| {
                rest.line();
                has_moved |= session.line(at(), line) == Brought::Movement;
            };
            match connection.read(&mut |body| lines.feed(body, &mut tell)) {
                // What is left unread would pile up, and then hold the engine up.
                Read::Bytes { more: true } => {}
                Read::Bytes { more: false } | Read::Tick => {
                    self.session.advance(at());
                    // A recording keeps the times as they are.
                    if self.options.record.is_none() {
                        signals.rest(rest.next(lines.is_within()), &connection);
                    }
                }
                Read::End(end) => {
                    lines.end(&mut tell);
                    return end;
                }
            }
            // Never more than a round at once: a process that was stopped and goes on has not stalled.
            idle = if has_moved { Duration::ZERO } else { idle + before.elapsed().min(MAX_PAUSE + TICK) };
            before = Instant::now();
            if let Some(limit) = self.stall_limit().filter(|limit| idle >= *limit) {
                return End::Stalled(Some(format!("nothing has moved for {}s", limit.as_secs())));
            }
        }
    }

    /// How long nothing may move at this point of the pull.
    fn stall_limit(&self) -> Option<Duration> {
        let limit = Some(Duration::from_secs(self.options.stall_timeout)).filter(|limit| !limit.is_zero())?;
        Some(if self.session.pull.may_extract_unseen() { limit.max(EXTRACTION) } else { limit })
    }

    /// One pull by docker's CLI.
    fn attempt_cli(&mut self, address: &str, config: Option<&str>) -> End {
        let signals = self.signals.clone();
        let image = self.reference.to_string();
        let began = self.began;
        let at = || since(began);
        let config = match config.map(PrivateConfig::create).transpose() {
            Ok(config) => config,
            Err(reason) => return End::Cut(Some(reason)),
        };
        let request = cli::Request {
            image: &image,
            platform: self.options.platform.as_deref(),
            // With another configuration docker would not find the engine of the user's own.
            host: self.options.host.as_deref().or(config.is_some().then_some(address)),
            config: config.as_ref().map(PrivateConfig::path),
        };
        let session = std::cell::RefCell::new(&mut self.session);
        let ended = cli::pull(
            &request,
            &mut |line| {
                session.borrow_mut().line(at(), line);
            },
            &mut || session.borrow_mut().advance(at()),
            &mut || signals.came(),
        );
        match ended {
            Ok(Ended::Exit(code)) => End::Exited(code),
            Ok(Ended::Signal(signal)) => End::Signal(signal),
            Err(reason) => End::Cut(Some(reason)),
        }
    }

    /// Whether the pull has succeeded, asking the engine where the stream does not tell; and the end, which can be that it
    /// did not answer.
    fn verdict(&self, way: &Way, end: End) -> (End, Verdict) {
        let (id, engine) = match (self.session.pull.verdict(&end), way) {
            (Verdict::Undecided(id), Way::Api(engine)) => (id, engine),
            (verdict, _) => return (end, verdict),
        };
        match Inspector::new(engine, &self.signals).image_id(self.reference) {
            Ok(Some(found)) if found.starts_with(&id) => (end, Verdict::Success),
            Ok(_) => (end, Verdict::Failed(format!("{NO_IMAGE} {id}"))),
            Err(NoAnswer) => {
                let unanswered = End::Cut(Some(format!("{NO_ANSWER} {id}")));
                let end = self.signals.came().map_or(unanswered, End::Signal);
                let verdict = self.session.pull.verdict(&end);
                (end, verdict)
            }
        }
    }

    /// Whether the engine keeps what a broken pull has fetched: the containerd store does, the graphdriver does not.
    fn keeps_layers(&self, way: &Way) -> bool {
        let Way::Api(engine) = way else { return false };
        self.session.pull.is_containerd || Inspector::new(engine, &self.signals).has_containerd_store()
    }

    /// What a reader should know beside the reason.
    fn explain(&mut self, way: &Way, kind: Kind, credentials: &Found) {
        let registry = self.reference.registry();
        let text = match (kind, way) {
            (Kind::Login, Way::Api(_)) => match &credentials.user {
                Some(user) => format!("{registry} was asked as user {user} (from {})", credentials.origin),
                None => format!("no credentials for {registry} were found (looked in: {})", credentials.origin),
            },
            (Kind::DiskFull, Way::Api(engine)) => {
                let Some((root, free)) = Inspector::new(engine, &self.signals).room() else { return };
                format!(
                    "{} free where the engine keeps its images ({})",
                    crate::report::bar::bytes(free),
                    root.display()
                )
            }
            _ => return,
        };
        self.session.warn(self.at(), &text);
    }

    /// Waits before another attempt, and for an engine that is on its way back; the end where there is to be none.
    fn wait_for_retry(&mut self, way: &Way, seconds: u64) -> Option<End> {
        // Less than a second more by chance, so that a fleet does not come back in one moment.
        let jitter = Instant::now().elapsed().subsec_nanos() ^ std::process::id() ^ now().nanosecond();
        let until = Instant::now() + Duration::from_secs(seconds) + Duration::from_millis(u64::from(jitter % 1000));
        while Instant::now() < until {
            std::thread::sleep(TICK.min(until - Instant::now()));
            if let Some(signal) = self.signals.came() {
                return Some(End::Signal(signal));
            }
            self.session.advance(self.at());
        }
        let Way::Api(engine) = way else { return None };
        let until = Instant::now() + RESTART;
        loop {
            let signals = &self.signals;
            match Engine::ping(&engine.socket, &mut || signals.came().is_none()) {
                Ok(_) => return None,
                Err(_) if self.signals.came().is_none() && Instant::now() < until => std::thread::sleep(TICK),
                Err(error) => return Some(self.cut(error)),
            }
            self.session.advance(self.at());
        }
    }

    /// Closes with an end that decides by itself.
    fn close_told(self, end: &End) -> u8 {
        let verdict = self.session.pull.verdict(end);
        self.close(end, &verdict)
    }

    fn close(mut self, end: &End, verdict: &Verdict) -> u8 {
        let exit = match (verdict, end) {
            (Verdict::Success, _) => 0,
            (Verdict::Interrupted(signal), _) => signals::exit_code(*signal),
            (_, End::Exited(code)) => *code,
            _ => 1,
        };
        let at = self.at();
        self.session.close(at, end, verdict, exit);
        if self.options.progress == Progress::Quiet {
            session::say_quietly(self.reference, verdict, Charset::from_environment(self.options.ascii));
        }
        exit
    }
}
