//! The state file of pulls that succeed, fail or are killed, and of checks.

mod trouble;

use crate::support::{
    Ended, Engine, FIXTURES, LAST_CHUNK, LIMIT, Running, Step, Temp, answer, chunk, eventually, head, program, run,
    stream,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const FROM: &str = r#"{"status":"Pulling from a","id":"1"}"#;
const LAYER: &str = r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc123"}"#;
const BAR: &str = r#"{"status":"Downloading","progressDetail":{"current":12000000,"total":50000000},"id":"abc123"}"#;
const DONE: &str = r#"{"status":"Pull complete","progressDetail":{},"id":"abc123"}"#;
const DIGEST: &str = r#"{"status":"Digest: sha256:aaaa"}"#;
const STATUS: &str = r#"{"status":"Status: Downloaded newer image for a:1"}"#;
const ERROR: &str = r#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#;
const GOOD: [&str; 6] = [FROM, LAYER, BAR, DONE, DIGEST, STATUS];

/// A single attempt to pull the test's image, with its state in the test's directory.
fn pull(temp: &Temp, engine: &Engine) -> Command {
    let mut command = program(temp);
    command.args(["--retries", "0", "--no-log", "--state", &temp.at("state"), "--host", &engine.host(), &temp.image()]);
    command
}

fn file(temp: &Temp) -> String {
    format!("state/{}.json", temp.image().replace(':', "%3A").replace('/', "%2F"))
}

/// The state; null if there is none. Fails if the file is not complete.
fn state(temp: &Temp) -> Value {
    match temp.read(&file(temp)) {
        text if text.is_empty() => Value::Null,
        text => serde_json::from_str(&text).expect("a whole state"),
    }
}

fn status(temp: &Temp, args: &[&str]) -> Ended {
    run(program(temp).args(["--status", "--state", &temp.at("state")]).args(args))
}

/// An engine that sends a bar and then waits.
fn waiting(temp: &Temp, rest: Vec<u8>) -> Engine {
    let begun = [head(), chunk(FROM), chunk(LAYER), chunk(BAR)].concat();
    Engine::new(temp, vec![Step::Write(begun), Step::Wait, Step::Write(rest)])
}

/// Starts a pull and waits until its state shows progress.
fn started(temp: &Temp, engine: &Engine) -> Running {
    let running = Running::start(&mut pull(temp, engine));
    assert!(eventually(LIMIT, || state(temp)["text"] == "Downloading"), "{}", state(temp));
    running
}

fn rest() -> Vec<u8> {
    [chunk(DONE), chunk(DIGEST), chunk(STATUS), LAST_CHUNK.to_vec()].concat()
}

/// The name that the status shows, without the registry, can be given to it, unless two images are called so.
#[test]
fn an_image_is_found_by_the_name_that_is_shown() {
    let temp = Temp::new();
    let write = |id: &str| {
        let name = id.replace(':', "%3A").replace('/', "%2F");
        let row = format!(
            r#"{{"v":1,"id":"{id}","status":"Done","text":"Up to date","time":"2026-11-25T02:18:33Z","since":"2026-11-25T02:18:33Z"}}"#
        );
        temp.write(&format!("state/{name}.json"), &row);
    };
    fs::create_dir(temp.join("state")).expect("a directory");
    write("reg.example/team/app:latest");
    for name in ["app", "app:latest", "reg.example/team/app"] {
        let ended = status(&temp, &[name]);
        assert_eq!((ended.code, ended.stdout.starts_with("app:latest  up to date")), (Some(0), true), "{ended:?}");
    }
    for name in ["app:2", "team/app"] {
        assert_eq!(status(&temp, &[name]).code, Some(3), "{name}");
    }
    write("other.example/app:latest");
    assert_eq!(status(&temp, &["app"]).code, Some(3));
    assert_eq!(status(&temp, &["--forget", "other.example/app"]).code, Some(0));
    assert_eq!(status(&temp, &["--forget", "app"]).code, Some(0));
    assert_eq!(status(&temp, &[]).code, Some(3));
}

#[test]
fn a_pull_writes_its_progress_and_its_result() {
    let temp = Temp::new();
    let engine = waiting(&temp, rest());
    let running = started(&temp, &engine);
    let working = state(&temp);
    let expected = [
        ("status", "\"Working\""),
        ("percent", "16"),
        ("current", "12000000"),
        ("total", "50000000"),
        ("exact", "true"),
        ("attempt", "1"),
    ];
    for (key, value) in expected {
        assert_eq!(working[key].to_string(), value, "{key}: {working}");
    }
    assert_eq!(working["pid"], running.child.id());
    assert_eq!(working["id"], temp.image());
    assert_eq!(working["layers"][0]["percent"], 24);
    let shown = status(&temp, &[]);
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.contains("downloading  16%  12 of 50MB"), "{}", shown.stdout);
    engine.go();
    assert_eq!(running.end().code, Some(0));
    let done = state(&temp);
    assert_eq!((&done["status"], &done["text"], &done["exit"]), (&"Done".into(), &"Pulled".into(), &0.into()));
    assert_eq!((&done["digest"], &done["latest"]), (&"sha256:aaaa".into(), &"sha256:aaaa".into()));
    assert!(done["pulled"].is_string() && done["pid"].is_null() && done["layers"].is_null(), "{done}");
    assert!(status(&temp, &[]).stdout.contains("up to date, checked"));
}

#[test]
fn failing_is_shown_with_its_beginning_and_its_attempts() {
    let temp = Temp::new();
    let failing = || {
        let engine = Engine::new(&temp, vec![Step::Write(stream([FROM, LAYER, BAR, ERROR]))]);
        let ended = run(&mut pull(&temp, &engine));
        let _ = fs::remove_file(&engine.socket);
        assert_eq!(ended.code, Some(1));
        state(&temp)
    };
    let first = failing();
    assert_eq!((&first["status"], &first["kind"], &first["exit"]), (&"Error".into(), &"disk-full".into(), &1.into()));
    assert_eq!((&first["attempts"], &first["details"]), (&1.into(), &"no space left on device".into()));
    let second = failing();
    assert_eq!(second["failing_since"], first["failing_since"]);
    assert_eq!((&second["attempts"], &second["failures"]), (&2.into(), &2.into()));
    let shown = status(&temp, &[]);
    assert_eq!(shown.code, Some(1));
    assert!(
        shown.stdout.contains("FAILED since ") && shown.stdout.contains("(2 tries): no space left on device\n"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("  what to do: make room where"), "{}", shown.stdout);
    // An interruption does not change since when the image fails.
    let engine = waiting(&temp, Vec::new());
    let mut running = started(&temp, &engine);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().0, Some(143));
    let interrupted = state(&temp);
    assert_eq!((&interrupted["text"], &interrupted["exit"]), (&"Interrupted".into(), &143.into()));
    assert_eq!((&interrupted["failing_since"], &interrupted["attempts"]), (&first["failing_since"], &2.into()));
    assert_eq!(status(&temp, &[]).code, Some(0));
    let _ = fs::remove_file(&engine.socket);
    let engine = Engine::new(&temp, vec![Step::Write(stream(GOOD))]);
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    let good = state(&temp);
    assert!(good["failing_since"].is_null() && good["attempts"].is_null() && good["kind"].is_null(), "{good}");
    assert_eq!((&good["failures"], &good["received"]), (&2.into(), &86_000_000.into()));
}

#[test]
fn a_pull_by_dockers_command_line_writes_the_same() {
    let temp = Temp::new();
    // A shell that waits in the place of the pull, so that the state can be read meanwhile.
    rustix::fs::mknodat(rustix::fs::CWD, temp.at("go"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let says =
        "printf '%s\\n' '1: Pulling from a' 'abc123: Pulling fs layer' 'abc123: Download complete'; read -r line <go
        [ \"$line\" = well ] || { echo 'Error response from daemon: no space left on device' >&2; exit 1; }
        printf '%s\\n' 'abc123: Pull complete' 'Digest: sha256:00ff' 'Status: Downloaded newer image for a:1'";
    temp.script("docker", says);
    let pull = |go: &str| {
        let host = format!("unix://{}", temp.at("none.sock"));
        let args = ["--retries", "0", "--no-log", "--state", &temp.at("state"), "--host", &host, &temp.image()];
        let running = Running::start(program(&temp).args(args));
        assert!(eventually(LIMIT, || state(&temp)["text"] == "Extracting"), "{}", state(&temp));
        assert_eq!(state(&temp)["pid"], running.child.id());
        assert!(state(&temp)["current"].is_null(), "bytes are not known: {}", state(&temp));
        fs::write(temp.at("go"), go).expect("docker reads");
        running.end().code
    };
    assert_eq!(pull("well\n"), Some(0));
    let done = state(&temp);
    assert_eq!((&done["text"], &done["digest"], &done["exit"]), (&"Pulled".into(), &"sha256:00ff".into(), &0.into()));
    assert_eq!(pull("ill\n"), Some(1));
    let failed = state(&temp);
    assert_eq!((&failed["text"], &failed["kind"]), (&"Failed".into(), &"disk-full".into()));
    assert_eq!((&failed["digest"], &failed["attempts"]), (&"sha256:00ff".into(), &1.into()));
}

#[test]
fn a_retry_is_shown_with_its_reason_until_it_has_begun() {
    let temp = Temp::new();
    // The first connection breaks off, the second one continues.
    let pulls = std::sync::atomic::AtomicUsize::new(0);
    let engine = Engine::serve(std::path::Path::new(&temp.at("docker.sock")), move |request| match &request.line {
        line if line.contains("/_ping") => {
            vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec())]
        }
        line if line.starts_with("POST ") => {
            let begun = [head(), chunk(FROM), chunk(LAYER), chunk(BAR)].concat();
            match pulls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => vec![Step::Write(begun)],
                _ => vec![Step::Write(begun), Step::Wait, Step::Write(rest())],
            }
        }
        _ => vec![Step::Write(answer(404, r#"{"message":"no such image"}"#))],
    });
    let args = ["--retries", "1", "--no-log", "--state", &temp.at("state"), "--host", &engine.host(), &temp.image()];
    let running = Running::start(program(&temp).args(args));
    assert!(eventually(LIMIT, || state(&temp)["text"] == "Retrying"), "{}", state(&temp));
    let retrying = state(&temp);
    assert_eq!((&retrying["status"], &retrying["attempt"]), (&"Working".into(), &2.into()));
    assert!(retrying["details"].is_string() && retrying["failing_since"].is_null(), "{retrying}");
    assert!(status(&temp, &[]).stdout.contains("  attempt 2: "), "{}", status(&temp, &[]).stdout);
    assert!(eventually(LIMIT, || state(&temp)["text"] == "Downloading"), "{}", state(&temp));
    assert_eq!(state(&temp)["attempt"], 2);
    engine.go();
    assert_eq!(running.end().code, Some(0));
    let done = state(&temp);
    assert_eq!((&done["text"], &done["attempt"], &done["details"]), (&"Pulled".into(), &Value::Null, &Value::Null));
}

#[test]
fn a_pull_that_was_killed_is_lost() {
    let temp = Temp::new();
    let engine = waiting(&temp, Vec::new());
    let mut running = started(&temp, &engine);
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.child.id())).expect("it runs");
    let born = stat.split(' ').nth(21).expect("a name without blanks");
    assert_eq!(state(&temp)["born"].to_string(), born);
    running.child.kill().expect("it runs");
    running.wait();
    // Its number belongs to another by now, as after a while it will: the beat alone would take a minute. The other one
    // began later, which is said here by an earlier time: this test may have begun in the same hundredth of a second.
    let text = temp
        .read(&file(&temp))
        .replace(&format!("\"pid\":{}", running.child.id()), &format!("\"pid\":{}", std::process::id()))
        .replace(&format!("\"born\":{born}"), "\"born\":1");
    temp.write(&file(&temp), text);
    let shown = status(&temp, &[]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stdout.contains("LOST, last heard of just now at 16%"), "{}", shown.stdout);
    let rows: Value = serde_json::from_str(&status(&temp, &["--json"]).stdout).expect("JSON");
    assert_eq!((&rows[0]["lost"], &rows[0]["status"]), (&true.into(), &"Working".into()));
}

#[test]
fn a_pull_that_joins_writes_nothing_until_the_other_is_gone() {
    let temp = Temp::new();
    let engine = waiting(&temp, rest());
    let mut first = started(&temp, &engine);
    let pid = first.child.id();
    let mut second = Running::start(&mut pull(&temp, &engine));
    assert!(eventually(LIMIT, || engine.requests().len() >= 4));
    second.signal(Signal::TERM);
    assert_eq!(second.wait().0, Some(143));
    assert_eq!((&state(&temp)["pid"], &state(&temp)["text"]), (&pid.into(), &"Downloading".into()));
    let third = Running::start(&mut pull(&temp, &engine));
    assert!(eventually(LIMIT, || engine.requests().len() >= 6));
    first.child.kill().expect("it runs");
    first.wait();
    assert!(eventually(LIMIT, || state(&temp)["pid"] == third.child.id()), "{}", state(&temp));
}

#[test]
fn a_check_writes_what_it_found_and_never_undoes_a_pull() {
    let temp = Temp::new();
    let image = r#"{"Id":"sha256:1","RepoDigests":["a@sha256:aaaa"]}"#;
    let answers = |digest: &str| {
        let registry = format!("{{\"Descriptor\":{{\"digest\":\"{digest}\"}}}}");
        Engine::serve(std::path::Path::new(&temp.at("docker.sock")), move |request| {
            vec![Step::Write(match &request.line {
                line if line.contains("/_ping") => {
                    b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec()
                }
                line if line.contains("/distribution/") && registry.contains("none") => {
                    answer(500, r#"{"message":"dial tcp: connection refused"}"#)
                }
                line if line.contains("/distribution/") => answer(200, &registry),
                _ => answer(200, image),
            })]
        })
    };
    let check = |digest: &str, code: i32| {
        let engine = answers(digest);
        let args = ["--check", "--state", &temp.at("state"), "--host", &engine.host(), &temp.image()];
        let ended = run(program(&temp).args(args));
        let _ = fs::remove_file(&engine.socket);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        state(&temp)
    };
    let current = check("sha256:aaaa", 0);
    assert_eq!(
        (&current["status"], &current["text"], &current["digest"]),
        (&"Done".into(), &"Up to date".into(), &"sha256:aaaa".into())
    );
    let newer = check("sha256:bbbb", 1);
    assert_eq!(
        (&newer["status"], &newer["text"], &newer["latest"]),
        (&"Warning".into(), &"Newer image".into(), &"sha256:bbbb".into())
    );
    assert!(newer["failing_since"].is_null());
    let unknown = check("none", 3);
    assert_eq!((&unknown["text"], &unknown["kind"]), (&"Cannot tell".into(), &"unreachable".into()));
    assert!(unknown["failing_since"].is_string());
    assert_eq!(status(&temp, &[]).code, Some(0));
    // A check does not change the state while a pull is running.
    let engine = waiting(&temp, Vec::new());
    let running = started(&temp, &engine);
    fs::remove_file(&engine.socket).expect("a socket");
    assert_eq!(check("sha256:aaaa", 0)["pid"], running.child.id());
}

#[test]
fn a_replay_leaves_no_state_unless_asked_to() {
    let temp = Temp::new();
    let recording = format!("{FIXTURES}/dockerd-20.10.24/fresh-three.jsonl");
    assert_eq!(run(program(&temp).args(["-q", "--replay", &recording])).code, Some(0));
    assert!(!fs::exists(temp.at("state")).expect("it can be asked"));
    assert_eq!(run(program(&temp).args(["-q", "--replay", &recording, "--state", &temp.at("state")])).code, Some(0));
    let text = temp.read("state/127.0.0.1%3A5005%2Fthree%3Alatest.json");
    let state: Value = serde_json::from_str(&text).expect("a state");
    assert_eq!((&state["bytes"], &state["time"]), (&75_023_462.into(), &"2026-11-23T17:36:09Z".into()));
}

#[test]
fn what_is_forgotten_is_not_known() {
    let temp = Temp::new();
    let shown = status(&temp, &[]);
    assert_eq!((shown.code, &*shown.stdout), (Some(3), ""));
    assert!(shown.stderr.contains("nothing is known of any image yet"), "{}", shown.stderr);
    // Who was started speaks.
    let shown =
        run(program(&temp).arg0("/usr/bin/alm").args(["status", "--forget", "app", "--state", &temp.at("state")]));
    assert_eq!((shown.code, &*shown.stderr), (Some(3), "alm status: nothing is known of app:latest\n"));
    assert_eq!(status(&temp, &["--json"]).stdout, "[]\n");
    let engine = Engine::new(&temp, vec![Step::Write(stream(GOOD))]);
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    assert_eq!(status(&temp, &["docker.io/library/other"]).code, Some(3));
    assert_eq!(status(&temp, &[&temp.image()]).code, Some(0));
    assert_eq!(status(&temp, &["--forget", &temp.image()]).code, Some(0));
    assert_eq!(status(&temp, &["--forget", &temp.image()]).code, Some(3));
}

#[test]
fn a_status_in_ascii_is_ascii() {
    let temp = Temp::new();
    let engine = Engine::new(
        &temp,
        vec![Step::Write(stream([FROM, LAYER, ERROR.replace("no space", "caf\u{e9}: no space").as_str()]))],
    );
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(1));
    let shown = status(&temp, &["--ascii"]);
    assert!(shown.stdout.is_ascii() && shown.stdout.contains("caf\\u{e9}"), "{}", shown.stdout);
}
