//! An engine that fails in every way: each recorded answer with each fault, tried on the real executable.
//!
//! With every fault the program must end in time, with the right exit code, one reason and little memory, and must never
//! report a success that was none. The random numbers are the same in every run; `SEED=N` changes them. Some faults take
//! time (stalls) or have nearly the same effect on every answer (those of HTTP and JSON): only a part of them is tried,
//! unless all are requested, which takes some minutes:
//!
//! ```sh
//! FAULTS=all cargo nextest run --locked --config-file tests/nextest.toml faults
//! ```
//!
//! This file: what a fault is, and the run. The files in `faults/`: the expected result of an answer, and the faults.

mod answer;
mod asides;
mod http;
mod json;
mod places;

use crate::support::{
    Engine, FIXTURES, LIMIT, Request, Step, Temp, Traced, TracedEnd, answer as whole_answer, program, texts,
};
use answer::{Answer, Expected, Stop};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The maximum memory of a run, in bytes.
const MEMORY: u64 = 8_000_000;

/// The maximum time of a run in which the program does not have to wait for anything.
const LONG_LIMIT: Duration = Duration::from_mins(1);

/// How long a run is observed in which the program must keep waiting.
const WAITING: Duration = Duration::from_secs(2);

/// The number of places at which an answer stops, besides the ends of its chunks.
const PLACES: usize = 200;

/// The number of places at which it stalls, unless all are tried: each takes the program's shortest limit, a second.
const STALLS: usize = 12;

/// The answers that are always tried with every fault of HTTP and JSON: some of each engine, with and without layers, a
/// failed pull, and one with a warning after its end.
const CHOSEN: [&str; 8] = [
    "dockerd-20.10.24/blob-missing",
    "dockerd-20.10.24/no-matching-platform",
    "dockerd-20.10.24/platform-arm64",
    "dockerd-20.10.24/repeat-three",
    "dockerd-28.5.2-containerd/dup-layers",
    "http/dockerd-20.10.24-fresh-tiny",
    "podman-4.3.1/fresh-three",
    "podman-4.3.1/repo-not-found",
];

/// Whether every fault is tried on every answer.
fn is_all() -> bool {
    std::env::var_os("FAULTS").is_some_and(|value| value == "all")
}

fn is_chosen(answer: &Answer) -> bool {
    is_all() || CHOSEN.contains(&answer.name.as_str())
}

/// The engine's answers to requests.
#[derive(Default)]
struct Script {
    ping: Vec<Step>,
    pull: Vec<Step>,
    inspect: Vec<Step>,
}

struct Fault {
    kind: &'static str,
    /// Fixture, fault and place.
    name: String,
    script: Script,
    /// The engine's address, if the program must not use the engine of the script.
    host: Option<String>,
    /// What must be in the log besides the reason.
    says: &'static str,
    /// Whether the program runs with its shortest stall limit.
    has_short_limit: bool,
    expected: Expected,
}

impl Fault {
    /// A fault in the answer to the pull; all other requests are answered correctly.
    fn of(kind: &'static str, answer: &Answer, name: &str, pull: Vec<Step>, expected: Expected) -> Self {
        let inspect = match answer.image() {
            image if image.is_empty() => whole_answer(404, r#"{"message":"no such image"}"#),
            image => whole_answer(200, &format!(r#"{{"Id":"sha256:{image}"}}"#)),
        };
        let script = Script { ping: good_ping(), pull, inspect: vec![Step::Write(inspect)] };
        let name = format!("{}: {kind}: {name}", answer.name);
        Self { kind, name, script, host: None, says: "", has_short_limit: false, expected }
            .with_short_limit_if_stalled()
    }

    fn with_short_limit_if_stalled(mut self) -> Self {
        let Script { ping, pull, inspect } = &self.script;
        self.has_short_limit |= [ping, pull, inspect].into_iter().flatten().any(|step| matches!(step, Step::Stall));
        self
    }
}

fn good_ping() -> Vec<Step> {
    vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec())]
}

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn new(name: &str) -> Self {
        // FNV-1a.
        let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(seed() ^ 0xcbf2_9ce4_8422_2325, hash).max(1))
    }

    /// The next number, below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(random).expect("32 bits") % limit.max(1)
    }
}

fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"))
}

/// An engine, against which the program is run many times.
struct Stand {
    temp: Temp,
    engine: Engine,
    script: Arc<Mutex<Script>>,
}

impl Stand {
    fn new() -> Self {
        let (temp, script) = (Temp::new(), Arc::new(Mutex::new(Script::default())));
        let shared = Arc::clone(&script);
        let engine = Engine::serve(&temp.join("docker.sock"), move |request: &Request| {
            let script = shared.lock().expect("nobody panics with it");
            match request.line.as_str() {
                line if line.ends_with("/_ping") => script.ping.clone(),
                line if line.starts_with("POST ") => script.pull.clone(),
                line if line.contains("/images/") => script.inspect.clone(),
                _ => vec![Step::Write(whole_answer(404, r#"{"message":"page not found"}"#))],
            }
        });
        Self { temp, engine, script }
    }

    /// Runs the program against a fault. Returns the memory that it used, or what was wrong.
    fn run(&self, fault: &mut Fault) -> Result<Option<u64>, String> {
        let host = fault.host.clone().unwrap_or_else(|| self.engine.host());
        let stderr = File::create(self.temp.join("stderr")).expect("a file");
        let (stall, limit) = if fault.has_short_limit { ("1", LIMIT) } else { ("600", LONG_LIMIT) };
        let mut command = program(&self.temp);
        command.args(["--retries", "0", "--stall-timeout", stall, "--host", &host, "--log", &self.temp.at("log")]);
        command.arg(self.temp.image()).stdout(std::process::Stdio::null()).stderr(stderr);
        let traced = {
            // The engine does not answer before the program is traced.
            let mut script = self.script.lock().expect("nobody panics with it");
            *script = std::mem::take(&mut fault.script);
            Traced::start(&mut command)
        };
        let is_waiting = fault.expected == Expected::Waiting;
        let ended = traced.end(limit, is_waiting.then_some(WAITING));
        let (log, stderr) = (self.temp.read("log"), self.temp.read("stderr"));
        let _ = std::fs::remove_file(self.temp.join("log"));
        if let Err(wrong) = check(fault, &ended, limit, &log, &stderr) {
            return Err(format!("{}: {wrong}; it took {:?}\n{stderr}{log}", fault.name, ended.took));
        }
        Ok(ended.peak)
    }
}

fn check(fault: &Fault, ended: &TracedEnd, limit: Duration, log: &str, stderr: &str) -> Result<(), String> {
    let that = |is_so: bool, wrong: &str| if is_so { Ok(()) } else { Err(wrong.to_owned()) };
    let code = match fault.expected {
        Expected::Success => 0,
        Expected::Failure(_) => 1,
        Expected::Waiting => 143,
    };
    that(ended.took < limit, "it hangs")?;
    that(ended.code == Some(code), &format!("exit code {:?} instead of {code}", ended.code))?;
    that(stderr.is_empty(), "standard error")?;
    that(log.ends_with('\n') && log.lines().all(|line| line.starts_with('[')), "a broken line in the log")?;
    let shown = texts(log);
    let count = |start: &str| shown.iter().filter(|text| text.starts_with(start)).count();
    let ends = ["✅ PULL SUCCESSFUL", "❌ PULL FAILED: ", "🛑 PULL INTERRUPTED (SIGTERM)"].map(count);
    let expected = [code == 0, code == 1, code == 143].map(usize::from);
    that(ends == expected, "not the one end that it has")?;
    that(log.matches("SUCCESS").count() == usize::from(code == 0), "a success that is none")?;
    if let Expected::Failure(reasons) = &fault.expected {
        let reason = shown.iter().find_map(|text| text.strip_prefix("❌ PULL FAILED: ")).unwrap_or_default();
        that(!reason.trim().is_empty(), "no reason")?;
        that(reasons.iter().any(|words| reason.contains(words)), &format!("none of {reasons:?}"))?;
    }
    that(log.contains(fault.says), &format!("not said: {:?}", fault.says))?;
    that(fault.host.is_some() || ended.peak.is_some(), "could not be traced: this test needs ptrace")?;
    that(ended.peak.is_none_or(|peak| peak < MEMORY), &format!("{:?} bytes of memory", ended.peak))
}

#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
    max_memory: (u64, String),
}

impl Tally {
    fn add(&mut self, fault: &Fault, result: Result<Option<u64>, String>) {
        *self.kinds.entry(fault.kind).or_default() += 1;
        match result {
            Ok(peak) => {
                let peak = peak.unwrap_or_default();
                if peak > self.max_memory.0 {
                    self.max_memory = (peak, fault.name.clone());
                }
            }
            Err(wrong) => self.wrong.push(wrong),
        }
    }
}

/// The result as tests/proofs/README.md has it; the test of its figures begins to read at the count.
fn sentence(count: usize, wrong: usize, memory: u64, took: Duration) -> String {
    let count = count.to_string().into_bytes();
    let groups: Vec<&str> = count.rchunks(3).rev().map(|digits| str::from_utf8(digits).expect("digits")).collect();
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let memory = memory as f64 / 1e6;
    format!(
        "{} faults, {wrong} wrong, at most {memory:.1} MB of memory, in {:.0} s.\n",
        groups.join(","),
        took.as_secs_f64()
    )
}

/// Faults are made one by one as they are needed: all of them together would fill the memory.
type Queue<'a> = Mutex<Box<dyn Iterator<Item = Fault> + Send + 'a>>;

#[test]
fn no_fault_is_taken_for_a_success_or_a_reason_to_hang() {
    let begun = Instant::now();
    let sockets = asides::Sockets::new();
    let asides = sockets.faults().into_iter().chain(asides::pings()).chain(asides::inspections());
    let (with_stalls, busy): (Vec<_>, Vec<_>) = asides.partition(|fault| fault.has_short_limit);
    let cuts = places::faults(Stop::Cut, PLACES).chain(places::faults(Stop::Reset, PLACES));
    let messages = http::faults().chain(json::faults()).chain(places::deliveries());
    let stalls = places::faults(Stop::Stall, if is_all() { PLACES } else { STALLS });
    let busy: Queue<'_> = Mutex::new(Box::new(busy.into_iter().chain(messages).chain(cuts)));
    let with_stalls: Queue<'_> = Mutex::new(Box::new(with_stalls.into_iter().chain(asides::streams()).chain(stalls)));

    let tally = Mutex::new(Tally::default());
    let work = |queue: &Queue<'_>| {
        let stand = Stand::new();
        // The lock of the queue is not held while a fault is tried.
        let next = || queue.lock().expect("nobody panics with it").next();
        while let Some(mut fault) = next() {
            let result = stand.run(&mut fault);
            tally.lock().expect("nobody panics with it").add(&fault, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, |count| count.get() * 2) {
            scope.spawn(|| work(&busy));
        }
        // Many threads, because most of them only wait.
        for _ in 0..64 {
            scope.spawn(|| work(&with_stalls));
        }
    });

    let Tally { kinds, wrong, max_memory: (memory, name) } = tally.into_inner().expect("nobody panicked with it");
    let count: usize = kinds.values().sum();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let result = sentence(count, wrong.len(), memory, begun.elapsed());
    let summary =
        format!("{} (seed {})\nmost memory: {} KB ({name})\n{result}", kinds.join(", "), seed(), memory / 1000);
    // Not print!, whose output is hidden if the test passes.
    std::io::stdout().write_all(summary.as_bytes()).expect("standard output");
    if std::env::var_os("WRITE").is_some() {
        let mut section = std::process::Command::new("tests/proofs/section.py");
        section.arg("tests/proofs/README.md").arg(if is_all() { "faults-all" } else { "faults" }).arg("markdown");
        section.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(std::process::Stdio::piped());
        let mut section = section.spawn().expect("section.py runs");
        section.stdin.take().expect("a pipe").write_all(result.as_bytes()).expect("section.py reads");
        assert!(section.wait().expect("it ends").success(), "section.py");
    }
    let names: Vec<&str> = wrong.iter().filter_map(|wrong| wrong.lines().next()).collect();
    assert!(wrong.is_empty(), "{}\n\n{}", names.join("\n"), wrong[..wrong.len().min(5)].join("\n\n"));
}

#[test]
fn the_result_is_a_sentence() {
    let check = |count, expected: &str| {
        assert_eq!(sentence(count, 0, 6_912_000, Duration::from_millis(328_900)), expected);
    };
    check(55_455, "55,455 faults, 0 wrong, at most 6.9 MB of memory, in 329 s.\n");
    check(1_234_567, "1,234,567 faults, 0 wrong, at most 6.9 MB of memory, in 329 s.\n");
    check(999, "999 faults, 0 wrong, at most 6.9 MB of memory, in 329 s.\n");
}

#[test]
fn every_capture_is_played() {
    let played = |name: &str| asides::PING == name || answer::ANSWERS.iter().any(|answer| answer.name == name);
    for file in std::fs::read_dir(format!("{FIXTURES}/http")).expect("fixtures").flatten() {
        let name = format!("http/{}", file.path().file_stem().expect("a name").to_string_lossy());
        assert!(played(&name), "{name}");
    }
}
