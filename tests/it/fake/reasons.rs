//! Reasons of failures: their kind, the advice, whether they are retried; and that a replay reports the same.

use super::{FROM, LAYER, pull, replays_like, text_after, whole};
use crate::support::{Engine, LIMIT, Request, Running, Step, Temp, answer, eventually, program, run};
use rustix::process::Signal;
use std::path::Path;

const FORBIDDEN: &str =
    "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";

/// Pulls once from an engine that answers with these steps, and replays the recording. Returns the log.
#[track_caller]
fn log_of(steps: Vec<Step>, kind: &str) -> String {
    let temp = Temp::new();
    let engine = Engine::new(&temp, steps);
    let live = run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
    assert_eq!(live.code, Some(1), "{live:?}");
    replays_like(&temp, &live, kind);
    let recording = temp.read("r.jsonl");
    let last = recording.lines().next_back().unwrap_or_default();
    assert!(last.contains(&format!("\"kind\":\"{kind}\"")), "{kind}: {last}");
    temp.read("log")
}

/// A stream that begins normally and fails for this reason.
fn fails(reason: &str) -> Vec<Step> {
    let reason = serde_json::to_string(reason).expect("a text");
    whole([FROM, LAYER, &format!(r#"{{"errorDetail":{{"message":{reason}}},"error":{reason}}}"#)])
}

/// Whether a pull with this answer is retried.
fn is_tried_again(steps: Vec<Step>) -> bool {
    let temp = Temp::new();
    let engine = Engine::new(&temp, steps);
    let mut running = Running::start(pull(&temp, &engine).args(["--retries", "1"]));
    let has_retry = || temp.read("log").contains("🔁 Retry 1/1 in 5s: ");
    assert!(eventually(LIMIT, || has_retry() || running.has_ended()));
    let is_tried_again = has_retry();
    if is_tried_again {
        running.signal(Signal::TERM);
    }
    running.wait();
    is_tried_again
}

#[test]
fn a_page_is_shown_as_its_status_and_title() {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<h1>x</h1>\r\n</body></html>\r\n";
    let log = log_of(vec![Step::Write(answer(502, page))], "server-error");
    assert_eq!(text_after(&log, "❌ PULL FAILED: "), "502 Bad Gateway");
    let log = log_of(vec![Step::Write(answer(503, "<!DOCTYPE html>\n<title>\nBack soon\n</title>\n"))], "server-error");
    assert_eq!(text_after(&log, "❌ PULL FAILED: "), "503 Back soon");
    // An HTML page of a registry, as an engine repeats it.
    let printed = "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value:";
    let page = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 403 (Forbidden)!!1</title>\n<p>That's an error.</html>\n";
    let log = log_of(fails(&format!("{printed} {page:?}")), "login");
    assert_eq!(text_after(&log, "❌ PULL FAILED: "), format!("{printed} Error 403 (Forbidden)!!1"));
}

#[test]
fn a_proxy_before_the_socket_is_named_with_the_call_that_it_forbids() {
    for body in [FORBIDDEN, "Forbidden\n", r#"{"message":"Forbidden"}"#] {
        let log = log_of(vec![Step::Write(answer(403, body))], "socket-forbidden");
        assert_eq!(text_after(&log, "❌ PULL FAILED: "), "POST /images/create was answered with 403 Forbidden");
        assert!(
            text_after(&log, "💡 ").contains("allow POST /images/create there") && !log.contains("docker login"),
            "{log}"
        );
    }
    // Also with a proxy that forbids everything, and with one that allows only a pull.
    let serve = |temp: &Temp, pull: &'static str| {
        Engine::serve(Path::new(&temp.at("docker.sock")), move |request: &Request| {
            let is_pull = request.line.starts_with("POST /images/create?");
            vec![Step::Write(if is_pull { answer(403, pull) } else { answer(403, FORBIDDEN) })]
        })
    };
    let temp = Temp::new();
    let engine = serve(&temp, FORBIDDEN);
    let ended = run(&mut pull(&temp, &engine));
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "POST /images/create was answered with 403 Forbidden");
    let check = run(program(&temp).args(["--host", &engine.host(), "--check", "h:5000/a"]));
    assert_eq!(check.code, Some(3), "{check:?}");
    let printed = "GET /images/h:5000%2Fa:latest/json was answered with 403 Forbidden";
    assert!(check.stdout.replace("%3A", ":").contains(printed), "{check:?}");
    let temp = Temp::new();
    let engine = serve(&temp, r#"{"message":"denied: denied"}"#);
    let ended = run(&mut pull(&temp, &engine));
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "denied: denied");
}

/// The docker CLI repeats the lines of the page.
#[test]
fn a_page_from_docker_is_reported_as_one_from_the_engine() {
    let temp = Temp::new();
    temp.script(
        "docker",
        "printf 'Error response from daemon: <!DOCTYPE html>\\n<title>403 Forbidden</title>\\n'; exit 1",
    );
    let mut command = program(&temp);
    command.args(["--retries", "0", "--host", "tcp://127.0.0.1:1", "--log", &temp.at("log"), &temp.image()]);
    let live = run(command.args(["--record", &temp.at("r.jsonl")]));
    assert_eq!(text_after(&live.stdout, "❌ PULL FAILED: "), "POST /images/create was answered with 403 Forbidden");
    assert!(text_after(&live.stdout, "💡 ").contains("forbids the call"), "{live:?}");
    replays_like(&temp, &live, "docker");
}

#[test]
fn only_what_may_pass_is_tried_again() {
    for status in [408, 429, 502, 503, 504] {
        assert!(is_tried_again(vec![Step::Write(answer(status, ""))]), "{status}");
    }
    assert!(is_tried_again(vec![Step::Write(answer(500, "<html><title>500 Internal Server Error</title></html>"))]));
    for reason in [
        "received unexpected HTTP status: 429 Too Many Requests",
        "http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=\"\"",
        "Get \"https://denied.example/v2/x509/manifests/latest\": unexpected EOF",
    ] {
        assert!(is_tried_again(fails(reason)), "{reason}");
    }
    for reason in [
        "toomanyrequests: You have reached your pull rate limit.",
        "failed to register layer: unexpected EOF",
        "Get \"https://timeout.example/v2/\": denied: denied",
        "Get \"https://r.example/v2/\": Proxy Authentication Required",
    ] {
        assert!(!is_tried_again(fails(reason)), "{reason}");
    }
}

#[test]
fn a_refused_token_file_has_another_remedy_than_a_refused_login() {
    let temp = Temp::new();
    temp.write("token", "secret");
    let refused = r#"{"message":"unauthorized: authentication required"}"#;
    let advice = |args: &[&str], origin: &str| {
        let _ = std::fs::remove_file(temp.join("docker.sock"));
        let engine = Engine::new(&temp, vec![Step::Write(answer(500, refused))]);
        let mut command = pull(&temp, &engine);
        let live = run(command.args(args).args(["--record", &temp.at("r.jsonl")]));
        let asked = live.stdout.contains(&format!("⚠️  127.0.0.1:5000 was asked as user ann (from {origin}"));
        assert_eq!(asked, !origin.is_empty(), "{live:?}");
        replays_like(&temp, &live, "credentials");
        text_after(&live.stdout, "💡 ").to_owned()
    };
    let token = temp.at("token");
    let of_token = advice(&["--token-file", &token, "--token-user", "ann"], &token);
    assert!(of_token.contains("--token-file") && !of_token.contains("docker logout"), "{of_token}");
    let of_none = advice(&[], "");
    assert!(of_none.contains("docker login 127.0.0.1:5000") && !of_none.contains("logout"), "{of_none}");
    std::fs::create_dir(temp.join(".docker")).expect("a directory");
    temp.write(".docker/config.json", r#"{"auths":{"127.0.0.1:5000":{"auth":"YW5uOng="}}}"#);
    let of_docker = advice(&[], &temp.at(".docker/config.json"));
    for word in ["docker login 127.0.0.1:5000", "docker logout 127.0.0.1:5000"] {
        assert!(of_docker.contains(word), "{of_docker}");
    }
}

#[test]
fn a_recording_holds_the_kind_and_an_older_one_only_the_words() {
    let replay = |rows: &str| {
        let temp = Temp::new();
        temp.write("r.jsonl", format!("{}\n{rows}\n", r#"{"version":1,"image":"a:1"}"#));
        let ended = run(program(&temp).args(["--replay", &temp.at("r.jsonl")]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        text_after(&ended.stdout, "💡 ").to_owned()
    };
    let cut = |reason: &str, kind: &str| format!(r#"[1.0,"x",{{"end":"cut","reason":"{reason}"{kind},"exit":1}}]"#);
    assert!(replay(&cut("nothing has moved for 600s", "")).starts_with("look at the network"));
    assert!(replay(&cut("no docker command was found on PATH (/bin)", "")).starts_with("install Docker"));
    assert!(replay(&cut("the engine broke off: connection refused", "")).starts_with("look at Docker"));
    assert!(replay(&cut("something", r#","kind":"disk-full""#)).starts_with("make room"));
    // A kind that only a newer version knows.
    assert!(replay(&cut("unexpected EOF", r#","kind":"newer""#)).starts_with("check that this device reaches"));
    let error = r#"[0.5,"e",{"error":"unexpected EOF"}]"#;
    let end = r#"[1.0,"x",{"end":"complete","reason":"unexpected EOF","kind":"store","exit":1}]"#;
    assert!(replay(&format!("{error}\n{end}")).starts_with("the engine could not store the image"));
}
