//! Pulls from a fake engine on a real socket.
//!
//! This file: which requests an engine gets, and how its answers are understood. The files in `fake/`: the docker CLI in its
//! place, signals, the log, the characters of the output, hostile text, the reasons of failures.

mod alphabet;
mod client;
mod fallback;
mod hostile;
mod log;
mod neighbours;
mod reasons;
mod signals;
mod sizes;

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

#[test]
fn recordings_of_real_engines_are_pulled_as_they_are_replayed() {
    let check = |case: &str, expected: i32, in_bytes: bool| {
        let temp = Temp::new();
        let lines = engine_lines(&std::fs::read_to_string(format!("{FIXTURES}/{case}.jsonl")).expect("a fixture"));
        let body = stream(&lines);
        let engine = Engine::new(&temp, vec![if in_bytes { Step::Trickle(body) } else { Step::Write(body) }]);
        let live = run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
        assert_eq!((live.code, live.stderr.as_str()), (Some(expected), ""), "{case}: {}", live.stdout);
        replays_like(&temp, &live, case);
        assert_eq!(engine_lines(&temp.read("r.jsonl")), lines, "{case}: the stream is kept as it came");
    };
    check("dockerd-20.10.24/fresh-three", 0, true);
    check("dockerd-20.10.24/reg-rst-once", 0, false);
    check("dockerd-20.10.24/blob-corrupt", 1, true);
    check("dockerd-20.10.24/platform-arm64", 0, false);
    check("dockerd-28.5.2-containerd/fresh-eight-fast", 0, true);
    check("dockerd-28.5.2-containerd/reg-down-midpull", 1, false);
    check("podman-4.3.1/auth-none", 1, false);
}

/// Checks that a replay of `r.jsonl`, the recording of `live`, writes the same log, byte for byte.
fn replays_like(temp: &Temp, live: &Ended, case: &str) {
    let again = run(program(temp).args(["--replay", &temp.at("r.jsonl"), "--log", &temp.at("log2")]));
    assert_eq!(again.code, live.code, "{case}: {}\n{}", again.stderr, temp.read("r.jsonl"));
    assert_eq!(again.stdout, live.stdout, "{case}");
    assert_eq!(temp.read("log2"), temp.read("log"), "{case}");
}

#[test]
fn every_end_is_replayed_as_it_was() {
    let check = |steps: Vec<Step>, code: i32| {
        let temp = Temp::new();
        let engine = Engine::new(&temp, steps);
        let live = run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
        assert_eq!(live.code, Some(code), "{}", live.stdout);
        replays_like(&temp, &live, &live.stdout);
    };
    check(whole(GOOD), 0);
    check(whole([FROM, ERROR]), 1);
    check(vec![begun(&GOOD)], 1);
    check(vec![Step::Reset], 1);
    check(vec![Step::Write(answer(404, r#"{"message":"manifest for a:1 not found"}"#))], 1);
    check(vec![Step::Write(answer(500, "plain text"))], 1);
    check(vec![Step::Write(answer(500, ""))], 1);
    check(vec![Step::Write(b"garbage\r\n\r\n".to_vec())], 1);
    check(whole(["", "  ", FROM, "not JSON", "[1,2]", "\"x\"", "null", "{", LAYER, DONE, STATUS]), 0);
    // Not UTF-8; after the invalid byte is replaced it would be JSON.
    check(whole([b"{\"status\":\"Status: \xff\"}".to_vec()]), 1);
    check(whole([b"{\"error\":\"\xff\"}".to_vec()]), 1);
    // A carriage return within the line: JSON allows it between values.
    check(whole([FROM, "{\"status\":\r \"Status: x\"}"]), 0);
    check(whole([FROM, "{\"status\":\"a\\ud800\"}", "\u{feff}{}", &"[".repeat(100_000)]), 1);
    check(whole([FROM, &format!("{{\"error\":\"{}\"}}", "x".repeat(2_000_000))]), 1);
    // In a recording this line is longer than on the socket.
    check(whole([FROM, &"\u{1}\"".repeat(500_000), LAYER, DONE, STATUS]), 0);
}

#[test]
fn an_interrupted_pull_is_replayed_as_it_was() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Stall]);
    let running = Running::start(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
    assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")));
    running.signal(rustix::process::Signal::TERM);
    let live = running.end();
    assert_eq!(live.code, Some(143));
    assert_eq!(text_after(&live.stdout, "🛑 "), "PULL INTERRUPTED (SIGTERM)");
    replays_like(&temp, &live, "interrupted");
}

#[test]
fn the_api_is_negotiated() {
    let check = |engine_has: &str, spoken: &str| {
        let temp = Temp::new();
        let engine = Engine::with(&temp, engine_has, whole(GOOD));
        assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
        let lines: Vec<_> = engine.requests().into_iter().map(|request| request.line).collect();
        assert_eq!(lines[0], "GET /_ping");
        assert!(lines[1].starts_with(&format!("POST {spoken}/images/create?")), "{engine_has}: {lines:?}");
    };
    check("1.41", "/v1.41");
    check("1.44", "/v1.44");
    check("1.51", "/v1.51");
    check("1.99", "/v1.51");
    check("2.0", "/v1.51");
    check("", "");
    check("x", "");
}

#[test]
fn a_request_names_one_image_and_is_encoded() {
    let check = |image: &str, more: &[&str], query: &str| {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(program(&temp).args(["--no-log", "--host", &engine.host(), image]).args(more));
        assert_eq!(ended.code, Some(0), "{image}: {ended:?}");
        let request = engine.pull_request();
        assert_eq!(request.line, format!("POST /v1.41/images/create?{query}"));
        assert_eq!(request.header("x-registry-auth"), Some("e30="), "{}", request.head);
        assert_eq!(request.header("host"), Some("localhost"));
        assert_eq!(request.header("content-length"), Some("0"));
        assert_eq!(request.header("connection"), Some("close"));
        assert!(request.head.starts_with("POST ") && request.head.contains(" HTTP/1.1\r\n"), "{}", request.head);
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let encoded = format!("sha256%3A{}", "ab".repeat(32));
    // Names that no other test uses, because another test might hold the lock of the same image.
    check("q1", &[], "fromImage=q1&tag=latest");
    check("q2:3", &[], "fromImage=q2&tag=3");
    check("user/q3:a_b.c-d", &[], "fromImage=user%2Fq3&tag=a_b.c-d");
    check("localhost:5000/a/b__c:t", &[], "fromImage=localhost%3A5000%2Fa%2Fb__c&tag=t");
    check("[::1]:5000/q4:t", &[], "fromImage=%5B%3A%3A1%5D%3A5000%2Fq4&tag=t");
    check(&format!("q5@{digest}"), &[], &format!("fromImage=q5&tag={encoded}"));
    check(&format!("q6:1@{digest}"), &[], &format!("fromImage=q6&tag={encoded}"));
    check("q7", &["--platform", "linux/arm/v7"], "fromImage=q7&tag=latest&platform=linux%2Farm%2Fv7");
    check("q8", &["--platform", "a b&c=d+e"], "fromImage=q8&tag=latest&platform=a%20b%26c%3Dd%2Be");
}

#[test]
fn a_bad_reference_is_wrong_usage_before_any_socket_is_opened() {
    let long = "a".repeat(300);
    for image in ["", "UPPER", "a b", "a\tb", "a\u{1b}b", "a\nb", "a:", "a@sha256:12", ":tag", "a//b", &long, "é"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(program(&temp).args(["--host", &engine.host(), "--log", &temp.at("log"), "--", image]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{image:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{image:?}: {}", ended.stderr);
        assert!(ended.stderr.len() > 40 && !ended.stderr.contains(['\u{1b}', '\t']), "{image:?}: {}", ended.stderr);
        assert!(engine.requests().is_empty(), "{image:?}");
        assert!(!temp.join("log").exists(), "{image:?}");
    }
    let temp = Temp::new();
    for args in [&[][..], &["-x"], &["-image"], &["a", "b"], &["--retries", "x", "a"], &["--replay"], &["--check"]] {
        let ended = run(program(&temp).args(args));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{args:?}: {}", ended.stderr);
    }
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

#[test]
fn a_pull_survives_a_hang_up() {
    let temp = Temp::new();
    let engine = Engine::new(
        &temp,
        vec![begun(&GOOD[..2]), Step::Wait, Step::Write([chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat())],
    );
    let running = Running::start(&mut pull(&temp, &engine));
    assert!(eventually(LIMIT, || temp.read("log").contains("queued")));
    running.signal(rustix::process::Signal::HUP);
    engine.go();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn quiet_says_only_the_reference() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull(&temp, &engine).arg("-q"));
    assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(0), format!("{}\n", temp.image()), String::new()));
    assert!(temp.read("log").contains("PULL SUCCESSFUL"));
    drop(engine);
    let _ = std::fs::remove_file(temp.join("docker.sock"));
    let engine = Engine::new(&temp, whole([FROM, ERROR]));
    let ended = run(pull(&temp, &engine).arg("--quiet"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, format!("docker-pull-with-progress: {}: no space left on device\n", temp.image()));
}

#[test]
fn a_stream_in_any_pieces_is_the_same_session() {
    let stamps_off = |text: &str| {
        texts(text).into_iter().filter(|text| !text.starts_with("Downloaded")).collect::<Vec<_>>().join("\n")
    };
    let temp = Temp::new();
    let good = stream(GOOD);
    let expected = {
        let engine = Engine::new(&temp, vec![Step::Write(good.clone())]);
        stamps_off(&run(&mut pull(&temp, &engine)).stdout)
    };
    for at in [1, 9, 17, 40, 85, 90, 100, good.len() - 6, good.len() - 5, good.len() - 1] {
        let _ = std::fs::remove_file(temp.join("docker.sock"));
        let (first, second) = good.split_at(at);
        let engine = Engine::new(&temp, vec![Step::Write(first.to_vec()), Step::Wait, Step::Write(second.to_vec())]);
        let running = Running::start(&mut pull(&temp, &engine));
        assert!(engine.was_asked_to_pull());
        engine.go();
        let ended = running.end();
        assert_eq!((ended.code, stamps_off(&ended.stdout)), (Some(0), expected.clone()), "split at {at}");
    }
}

#[test]
fn help_goes_to_whoever_reads() {
    let temp = Temp::new();
    let check = |stdout: std::process::Stdio, code: i32| {
        let mut running = Running::start_as_is(program(&temp).arg("--help").stdout(stdout));
        assert_eq!(running.wait().0, Some(code));
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    check(writer.into(), 0);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    check(full.into(), 1);
    for (args, begins) in [(&["--help"][..], "Pulls a Docker image"), (&["-V"], "docker-pull-with-progress 0")] {
        let ended = run(program(&temp).args(args));
        assert!(ended.code == Some(0) && ended.stdout.starts_with(begins) && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn chunks_need_not_be_lines() {
    let body: String = GOOD.iter().map(|line| (*line).to_owned() + "\r\n").collect();
    for size in [1, 7, 64, 1000, 100_000] {
        let pieces = body
            .as_bytes()
            .chunks(size)
            .map(|piece| [format!("{:x};ext=\"a\"\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        let framed = [head(), pieces.collect::<Vec<_>>().concat(), b"0\r\nTrailer: x\r\n\r\n".to_vec()].concat();
        let (ended, log) = pull_of(vec![Step::Write(framed)]);
        assert_eq!(ended.code, Some(0), "chunks of {size}: {log}");
        assert!(log.contains("Layers: 1/1 completed"), "chunks of {size}: {log}");
    }
}

#[test]
fn a_pull_in_which_nothing_moves_is_given_up() {
    let temp = Temp::new();
    // The same bar repeated is no movement.
    let same = chunk(BAR).repeat(3);
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Write(same), Step::Stall]);
    let ended = run(pull(&temp, &engine).args(["--stall-timeout", "1", "--record", &temp.at("r.jsonl")]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "nothing has moved for 1s");
    assert!(engine.was_left());
    replays_like(&temp, &ended, "stalled");
}

#[test]
fn what_is_allowed_without_movement_is_not_exceeded() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Stall]);
    let begun = Instant::now();
    let ended = run(pull(&temp, &engine).args(["--stall-timeout", "4"]));
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "nothing has moved for 4s");
    let took = begun.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn an_engine_that_writes_in_small_pieces_is_not_held_up() {
    // The kernel buffers only a few writes that are not read. With a full pause after each few this would take a minute.
    let bars = (0..1000).map(bar);
    let lines = GOOD[..3].iter().map(|line| (*line).to_owned()).chain(bars).chain([DONE.to_owned(), STATUS.to_owned()]);
    let (ended, _) = pull_of(vec![Step::Trickle(stream(lines))]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_pull_does_not_wake_up_for_each_word() {
    const WORDS: u64 = 300;
    let temp = Temp::new();
    let mut steps = vec![begun(&GOOD[..3])];
    steps.extend((0..WORDS).flat_map(|at| [Step::Write(chunk(bar(at))), Step::Wait]));
    steps.push(Step::Write([chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat()));
    let engine = Engine::new(&temp, steps);
    let (began, running) = (Instant::now(), Running::start(&mut pull(&temp, &engine)));
    for _ in 1..WORDS {
        std::thread::sleep(Duration::from_millis(5));
        engine.go();
    }
    let (sleeps, took) = (running.sleeps(), began.elapsed());
    // A word takes 5 ms, for each of which there would be a pause and a wait. On a busy machine words arrive more slowly, and
    // then there are more pauses for as many words.
    let max = 20 + 2 * took.as_millis() as u64 / 50;
    assert!((1..=max).contains(&sleeps), "{sleeps} sleeps for {WORDS} words in {took:?}");
    engine.go();
    assert_eq!(running.end().code, Some(0));
}
