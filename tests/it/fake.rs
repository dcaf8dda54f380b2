//! Pulls from a fake engine on a real socket.
//!
//! This file: how the answers of an engine are understood. The files in `fake/`: the requests that it gets, its stream in any
//! pieces, recordings, the docker CLI in its place, signals, the log, standard output and its characters, hostile text, the
//! reasons of failures.

mod alphabet;
mod client;
mod fallback;
mod hostile;
mod log;
mod neighbours;
mod output;
mod pieces;
mod reasons;
mod recording;
mod requests;
mod signals;
mod sizes;
mod stall;

use crate::support::{
    Ended, Engine, FIXTURES, LAST_CHUNK, LIMIT, Request, Running, Step, Temp, answer, chunk, engine_lines, eventually,
    head, human_lines, program, run, stream, texts,
};
use std::process::Command;
use std::time::{Duration, Instant};

const FROM: &str = r#"{"status":"Pulling from a","id":"1"}"#;
const LAYER: &str = r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc123"}"#;
const BAR: &str = r#"{"status":"Downloading","progressDetail":{"current":12000000,"total":50000000},"id":"abc123"}"#;
const DONE: &str = r#"{"status":"Pull complete","progressDetail":{},"id":"abc123"}"#;
const STATUS: &str = r#"{"status":"Status: Downloaded newer image for a:1"}"#;
const ERROR: &str = r#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#;
const WARNING: &str = r#"{"status":"WARNING: mind the gap"}"#;

/// `BAR`, with this number of bytes added.
fn bar(further: u64) -> String {
    BAR.replace("12000000", &(12_000_000 + further).to_string())
}

/// A pull that succeeds.
const GOOD: [&str; 5] = [FROM, LAYER, BAR, DONE, STATUS];

/// A single attempt to pull the test's image from `engine`, with a log of its own.
fn pull(temp: &Temp, engine: &Engine) -> Command {
    let mut command = pull_without_log(temp, engine);
    command.args(["--log", &temp.at("log")]);
    command
}

fn pull_without_log(temp: &Temp, engine: &Engine) -> Command {
    let mut command = program(temp);
    command.args(["--retries", "0", "--host", &engine.host(), &temp.image()]);
    command
}

/// A complete answer with these lines.
fn whole<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<Step> {
    vec![Step::Write(stream(lines))]
}

/// The beginning of an answer: the head and these lines.
fn begun(lines: &[&str]) -> Step {
    Step::Write(lines.iter().fold(head(), |all, line| [all, chunk(line)].concat()))
}

/// The first text with this beginning, without the beginning.
#[track_caller]
fn text_after<'a>(log: &'a str, start: &str) -> &'a str {
    let found = texts(log).into_iter().find_map(|text| text.strip_prefix(start));
    found.unwrap_or_else(|| panic!("no line «{start}…» in:\n{log}"))
}

/// Pulls from an engine that answers with these steps. Returns how the program ended, and the log.
fn pull_of(steps: Vec<Step>) -> (Ended, String) {
    let temp = Temp::new();
    let engine = Engine::new(&temp, steps);
    let ended = run(&mut pull(&temp, &engine));
    let log = temp.read("log");
    assert_eq!(ended.stdout, human_lines(&log), "standard output has the log's human lines");
    (ended, log)
}

/// Checks that a replay of `r.jsonl`, the recording of `live`, writes the same log, byte for byte.
fn replays_like(temp: &Temp, live: &Ended, case: &str) {
    let again = run(program(temp).args(["--replay", &temp.at("r.jsonl"), "--log", &temp.at("log2")]));
    assert_eq!(again.code, live.code, "{case}: {}\n{}", again.stderr, temp.read("r.jsonl"));
    assert_eq!(again.stdout, live.stdout, "{case}");
    assert_eq!(temp.read("log2"), temp.read("log"), "{case}");
}

#[test]
fn podman_is_asked_for_the_image() {
    let lines = engine_lines(
        &std::fs::read_to_string(format!("{FIXTURES}/podman-4.3.1/fresh-three.jsonl")).expect("a fixture"),
    );
    let last = lines.last().expect("a last line");
    let (_, id) = last.split_once(r#""id":""#).expect("an id");
    let id = id.split('"').next().unwrap_or_default().to_owned();
    let check = |inspected: Vec<u8>, expected: i32| {
        let temp = Temp::new();
        let pulled = stream(&lines);
        let engine = Engine::serve(&temp.join("docker.sock"), move |request: &Request| {
            vec![Step::Write(match &request.line {
                line if line.ends_with("/_ping") => answer(200, "OK"),
                line if line.starts_with("POST ") => pulled.clone(),
                _ => inspected.clone(),
            })]
        });
        let live = run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
        assert_eq!(live.code, Some(expected), "{}", live.stdout);
        replays_like(&temp, &live, "podman");
        let asked: Vec<_> = engine.requests().into_iter().map(|request| request.line).skip(2).collect();
        let path = temp.image().replace('/', "%2F").replace(':', "%3A");
        assert_eq!(asked, [format!("GET /images/{path}/json")], "asked once");
        let shown = text_after(&live.stdout, "Layers: ");
        assert_eq!(shown == "3/3 completed", expected == 0, "{}", live.stdout);
    };
    check(answer(200, &format!(r#"{{"Id":"{id}","RepoTags":[]}}"#)), 0);
    check(answer(200, &format!(r#"{{"Id":"sha256:{id}"}}"#)), 0);
    check(answer(200, r#"{"Id":"sha256:0000"}"#), 1);
    check(answer(200, "{}"), 1);
    check(answer(200, "not JSON"), 1);
    check(answer(404, r#"{"message":"no such image"}"#), 1);
    check(answer(500, ""), 1);
    check(Vec::new(), 1);
}

#[test]
fn refusals_are_reported_in_the_engines_words() {
    let check = |status: u16, body: &str, reason: &str, advice: &str| {
        let (ended, log) = pull_of(vec![Step::Write(answer(status, body))]);
        assert_eq!(ended.code, Some(1), "{log}");
        assert_eq!(text_after(&log, "❌ PULL FAILED: "), reason);
        assert!(advice.is_empty() || text_after(&log, "💡 ").contains(advice), "{log}");
        assert_eq!(log.contains("💡"), !advice.is_empty(), "{log}");
    };
    let unknown = "manifest for a:1 not found: manifest unknown";
    check(404, &format!(r#"{{"message":"{unknown}"}}"#), unknown, "tag");
    check(404, &format!("{{\"message\":\"{unknown}\"}}\n"), unknown, "tag");
    check(
        500,
        r#"{"message":"Get \"http://h/v2/\": no basic auth credentials"}"#,
        r#"Get "http://h/v2/": no basic auth credentials"#,
        "docker login",
    );
    check(
        401,
        r#"{"message":"unauthorized: authentication required"}"#,
        "unauthorized: authentication required",
        "docker login",
    );
    check(
        500,
        r#"{"message":"toomanyrequests: You have reached your pull rate limit."}"#,
        "toomanyrequests: You have reached your pull rate limit.",
        "limits",
    );
    check(400, "client version 1.11 is too old.", "client version 1.11 is too old.", "update");
    check(500, "", "the engine answered HTTP status 500 without a reason", "");
    check(418, "{}", "{}", "");
    check(301, "", "the engine answered HTTP status 301 without a reason", "");
    check(500, r#"{"message":"a\u001b[2J\nb"}"#, "a\\u{1b}[2J\\u{a}b", "");
    // A redirect is not followed, and a status of success without a stream is not a success.
    check(204, "", "the engine answered HTTP status 204 without a reason", "");
}

#[test]
fn only_the_word_of_the_engine_is_success() {
    let check = |steps: Vec<Step>, code: i32, says: &str| {
        let (ended, log) = pull_of(steps);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{says}: {log}");
        assert!(log.contains(says), "{says}: {log}");
        assert_eq!(log.contains("PULL SUCCESSFUL"), code == 0, "{log}");
    };
    let unknown = r#"{"status":"Something new"}"#;
    let unframed = |version: &str| format!("HTTP/{version} 200 OK\r\n\r\n{}\r\n", GOOD.join("\r\n")).into_bytes();
    check(whole(GOOD), 0, "Layers: 1/1 completed");
    check(vec![begun(&GOOD)], 1, "the engine broke off");
    check(vec![begun(&GOOD), Step::Write(b"0\r\n".to_vec())], 1, "the engine broke off");
    check(vec![begun(&GOOD), Step::Write(b"zz\r\n".to_vec())], 1, "malformed");
    check(vec![Step::Write(unframed("1.0"))], 1, "no end that could be told from a cut");
    check(vec![Step::Write(unframed("1.1"))], 1, "no end that could be told from a cut");
    check(vec![Step::Write(answer(200, &GOOD.join("\n")))], 0, "Layers: 1/1 completed");
    check(vec![Step::Write(answer(200, ""))], 1, "without saying that it succeeded");
    check(vec![], 1, "the engine broke off before it answered");
    check(vec![Step::Write(b"HTTP/1.1 200".to_vec())], 1, "the engine broke off before it answered");
    check(vec![begun(&GOOD), Step::Write(chunk(ERROR)), Step::Write(LAST_CHUNK.to_vec())], 1, "no space left");
    check(whole([FROM, STATUS, unknown]), 1, "not understood");
    check(whole([FROM, STATUS, "garbage"]), 1, "not understood");
    check(whole([FROM, STATUS, WARNING]), 0, "⚠️  mind the gap");
    check(whole([FROM, STATUS, WARNING, LAYER]), 1, "not understood");
    check(whole([FROM, STATUS, r#"{"errorDetail":null}"#]), 1, "a form not understood");
    check(whole([FROM, STATUS, r#"{"error":{"a":1}}"#]), 1, "a form not understood");
    check(whole([FROM, STATUS, r#"{"errorDetail":{"message":"x"#]), 1, "a form not understood");
    check(whole([FROM, LAYER, DONE]), 1, "without saying that it succeeded");
    check(whole([ERROR, FROM, STATUS]), 1, "no space left");
}

#[test]
fn nothing_falls_back_once_an_engine_has_answered() {
    let temp = Temp::new();
    temp.script("docker", "echo docker was run; exit 0");
    for steps in [vec![], vec![Step::Reset], vec![begun(&GOOD)], vec![Step::Write(answer(500, ""))]] {
        let _ = std::fs::remove_file(temp.join("docker.sock"));
        let engine = Engine::new(&temp, steps);
        let ended = run(&mut pull(&temp, &engine));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stdout.contains("docker was run") && !ended.stdout.contains("CLI"), "{ended:?}");
    }
}
