//! Pulls with `--record`: a replay of the recording has the same output, log and exit code as the pull.

use super::*;

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
