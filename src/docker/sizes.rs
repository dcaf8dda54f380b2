//! Asks `alm-agent` for the layers' sizes while the pull continues.
//!
//! When the engine has named the first layer that it fetches, it is asked over a second connection how it reaches
//! registries. With that on its standard input the agent is started, as docker starts a credential helper. If the agent
//! hangs, dies or prints nonsense, the sizes stay unknown, and the pull is not affected.
//!
//! **Invariant:** nothing here waits or fails. Secrets go to the agent's standard input and nowhere else.

use crate::docker::agent::{self, EngineFacts, RegistryQuery};
use crate::docker::connection::Connection;
use crate::docker::engine::Engine;
use crate::docker::reference::is_lower_hex;
use crate::docker::store::{self, Store};
use crate::docker::value;
use crate::os::child::{Child, Read, Setup};
use crate::pull::Pull;
use crate::pull::disk::DiskSpace;
use crate::pull::sizes::{self, Sizes};
use serde_json::Value;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The limit for the engine's answers to `/info` and `/version`.
const ENGINE_LIMIT: Duration = Duration::from_secs(2);

/// The limit that the agent gets, and the later one after which it is killed.
const AGENT_LIMIT: Duration = Duration::from_secs(4);
const AGENT_KILL: Duration = Duration::from_millis(4500);

/// Bytes. The answer for an ordinary image has some KB; a longer one is ignored.
const ANSWER_MAX: usize = 64 << 10;
const LAYERS_MAX: usize = 512;

/// Bytes; more than any image has. A wrong answer must not end a pull.
const BYTES_MAX: u64 = 1 << 40;

/// Milliseconds after the first layer, by which all layers are announced.
const ANNOUNCE_TIME: u64 = 100;

/// Milliseconds after which the engine has reported every byte that was on disk when the free space was measured: it reports
/// a layer ten times a second. Bytes that it has not reported would count twice, as used and as still to come.
const REPORT_DELAY: u64 = 200;

/// The progress of the request.
pub(crate) struct SizesQuery {
    agent: PathBuf,
    stage: Stage,
    store: Option<Store>,
    /// Whether the engine has the containerd store; `None` until it has answered.
    pub(crate) is_containerd: Option<bool>,
    /// When the first layer of this attempt was announced, in milliseconds of the pull.
    announced: Option<u64>,
    /// How many downloads had begun when the free space was measured last.
    measured: Option<usize>,
    /// The result of that, and when it was measured, in milliseconds of the pull.
    space: Option<(u64, DiskSpace)>,
}

enum Stage {
    /// For the announcement of a layer.
    Waiting,
    Engine(Request),
    Agent {
        child: Child,
        output: Vec<u8>,
        until: Instant,
    },
    Over,
}

/// A request to the engine.
struct Request {
    connection: Connection,
    body: Vec<u8>,
    /// The answer to `/info`, while `/version` is requested.
    info: Option<Value>,
    until: Instant,
}

/// What a step of the query found out.
pub(crate) enum Finding {
    Sizes(Sizes),
    DiskSpace(DiskSpace),
}

impl SizesQuery {
    /// `None` if there is no agent.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            agent: agent::find()?,
            stage: Stage::Waiting,
            store: None,
            is_containerd: None,
            announced: None,
            measured: None,
            space: None,
        })
    }

    /// Continues the request as far as possible without waiting.
    pub(crate) fn step(&mut self, engine: &Engine, query: &RegistryQuery<'_>, pull: &Pull, at: u64) -> Option<Finding> {
        if pull.has_announced() {
            self.announced.get_or_insert(at);
        } else {
            // Another attempt has begun.
            (self.announced, self.measured, self.space) = (None, None, None);
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting if self.announced.is_none() => Stage::Waiting,
            Stage::Waiting => Request::begin(engine, "/info", None, Instant::now() + ENGINE_LIMIT),
            Stage::Engine(request) => self.ask_engine(engine, query, request),
            Stage::Agent { mut child, mut output, until } => match read_output(&mut child, &mut output) {
                Output::Partial if Instant::now() < until => Stage::Agent { child, output, until },
                Output::Complete => return parse(&output).map(Finding::Sizes),
                Output::Partial | Output::Unusable => Stage::Over,
            },
            Stage::Over => Stage::Over,
        };
        self.measure_space(pull, at).map(Finding::DiskSpace)
    }

    /// Whether a later step can still find out what ends a pull that cannot fit: the sooner, the less is fetched in vain.
    pub(crate) fn is_pending(&self, pull: &Pull) -> bool {
        let is_unmeasured = pull.has_sizes() && self.measured.is_none();
        !matches!(self.stage, Stage::Over) || is_unmeasured || self.space.is_some()
    }

    /// The descriptor whose readiness ends a wait, because the request can continue.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        match &self.stage {
            Stage::Engine(request) => Some(request.connection.as_fd()),
            Stage::Agent { child, .. } => child.output(),
            Stage::Waiting | Stage::Over => None,
        }
    }

    fn ask_engine(&mut self, engine: &Engine, query: &RegistryQuery<'_>, mut request: Request) -> Stage {
        let answer = match request.connection.poll_answer(&mut request.body) {
            Ok(Some(answer)) => answer,
            Ok(None) if Instant::now() < request.until => return Stage::Engine(request),
            Ok(None) | Err(_) => return Stage::Over,
        };
        let Request { info, until, .. } = request;
        match info {
            None => {
                let Some(info) = Some(answer.json()).filter(|info| answer.status == 200 && agent::is_own(info)) else {
                    return Stage::Over;
                };
                self.is_containerd = Some(store::is_containerd(&info));
                self.store = Store::of(&info);
                Request::begin(engine, "/version", Some(info), until)
            }
            Some(info) => self.start(engine, query, &info, &answer.json()).unwrap_or(Stage::Over),
        }
    }

    /// Starts the agent.
    fn start(&self, engine: &Engine, query: &RegistryQuery<'_>, info: &Value, version: &Value) -> Option<Stage> {
        let engine = EngineFacts { info, version, ping: &engine.version };
        let request = agent::request("sizes", query, &engine, AGENT_LIMIT)?;
        let command = agent::command(&self.agent, "sizes");
        let setup = Setup { input: Some(request.as_bytes()), own_group: true, ..Setup::default() };
        Some(Stage::Agent {
            child: Child::spawn(command, setup).ok()?,
            output: Vec::new(),
            until: Instant::now() + AGENT_KILL,
        })
    }

    /// Measures the free space in the engine's directory, once all layers are known and again with each download that
    /// begins; the result is returned once the engine has reported what was on disk then.
    fn measure_space(&mut self, pull: &Pull, at: u64) -> Option<DiskSpace> {
        let is_whole =
            pull.is_fetching() || self.announced.is_some_and(|since| at >= since.saturating_add(ANNOUNCE_TIME));
        let downloads = Some(pull.downloads());
        if self.space.is_none() && pull.has_sizes() && is_whole && self.measured != downloads {
            self.measured = downloads;
            self.space = self.store.as_ref().and_then(Store::space).map(|space| (at, space));
        }
        self.space.take_if(|(since, _)| at >= since.saturating_add(REPORT_DELAY)).map(|(_, space)| space)
    }
}

impl Request {
    fn begin(engine: &Engine, path: &str, info: Option<Value>, until: Instant) -> Stage {
        match engine.begin(path) {
            Ok(connection) => Stage::Engine(Self { connection, body: Vec::new(), info, until }),
            Err(_) => Stage::Over,
        }
    }
}

/// What the agent has printed so far.
enum Output {
    Partial,
    Complete,
    /// It failed, or printed more than an answer can have.
    Unusable,
}

fn read_output(child: &mut Child, output: &mut Vec<u8>) -> Output {
    let mut buffer = [0; 4096];
    loop {
        match child.read_now(&mut buffer) {
            Ok(Read::Bytes(count)) if output.len() + count <= ANSWER_MAX => output.extend_from_slice(&buffer[..count]),
            Ok(Read::Tick) => return Output::Partial,
            Ok(Read::End(status)) if status.success() => return Output::Complete,
            Ok(Read::Bytes(_) | Read::End(_)) | Err(_) => return Output::Unusable,
        }
    }
}

/// The layers in the agent's answer; `None` if the answer is malformed.
pub(crate) fn parse(answer: &[u8]) -> Option<Sizes> {
    let answer = value::parse(answer)?;
    let layers = sizes::from_json(&answer["layers"])?;
    let is_id = |id: &str| id.len() == 12 && is_lower_hex(id);
    let total = layers.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    (layers.len() <= LAYERS_MAX && total <= BYTES_MAX && layers.iter().all(|(id, _)| is_id(id))).then_some(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let check = |answer: &str, expected: Option<&[(&str, u64)]>| {
            let expected = expected.map(|list| list.iter().map(|(id, size)| ((*id).to_owned(), *size)).collect());
            assert_eq!(parse(answer.as_bytes()), expected, "{answer}");
        };
        check(
            "{\"digest\":\"sha256:1\",\"platform\":null,\"layers\":[[\"b9bf3f3b8299\",5001727],[\"000000000000\",0]],\"total\":7,\"asked\":\"x\"}\n",
            Some(&[("b9bf3f3b8299", 5_001_727), ("000000000000", 0)]),
        );
        check(r#"{"layers":[]}"#, Some(&[]));
        for wrong in [
            "",
            "null",
            "{}",
            r#"{"kind":"auth","error":"the registry wants credentials"}"#,
            r#"{"layers":[["b9bf3f3b8299",-1]]}"#,
            r#"{"layers":[["b9bf3f3b8299",1.5]]}"#,
            r#"{"layers":[["b9bf3f3b8299"]]}"#,
            r#"{"layers":[["b9bf3f3b829",1]]}"#,
            r#"{"layers":[["B9BF3F3B8299",1]]}"#,
            r#"{"layers":[["b9bf3f3b8299",9223372036854775808]]}"#,
            r#"{"layers":[["b9bf3f3b8299",18446744073709551615],["b9bf3f3b8298",1]]}"#,
            r#"{"layers":[]} {"layers":[]}"#,
            "\u{1b}[31m",
        ] {
            check(wrong, None);
        }
        let many = |count: usize| format!(r#"{{"layers":[{}]}}"#, vec![r#"["b9bf3f3b8299",1]"#; count].join(","));
        assert_eq!(parse(many(LAYERS_MAX).as_bytes()).map(|layers| layers.len()), Some(LAYERS_MAX));
        check(&many(LAYERS_MAX + 1), None);
        check(&many(20_000), None);
    }
}
