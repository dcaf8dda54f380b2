//! Lines stay whole when the program is killed while it writes, and when many pulls write to the same log.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Checks that every line of a log is whole, except the last one if `is_torn`.
#[track_caller]
fn check_lines(log: &str, is_torn: bool) {
    let mut lines: Vec<&str> = log.split('\n').collect();
    let last = lines.pop();
    assert!(is_torn || last == Some(""), "a torn line at the end:\n{log}");
    for line in lines {
        let is_human = line.len() > 21 && line.as_bytes()[0] == b'[' && line.as_bytes()[20..22] == *b"] ";
        let is_raw = || serde_json::from_str::<serde_json::Value>(line.get(11..).unwrap_or_default()).is_ok();
        assert!(is_human || is_raw(), "a line that is not whole: {line:?}\n{log}");
    }
}

#[test]
fn two_hundred_kills_leave_a_log_that_can_be_read_and_a_pull_that_can_be_made() {
    let temp = Temp::new();
    let lines = engine_lines(
        &fs::read_to_string(format!("{FIXTURES}/dockerd-20.10.24/fresh-eight-fast.jsonl")).expect("a fixture"),
    );
    let (body, is_endless) = (stream(&lines), Arc::new(AtomicBool::new(false)));
    let endless = Arc::clone(&is_endless);
    let engine = Engine::serve(&temp.join("docker.sock"), move |request| match &request.line {
        line if line.ends_with("/_ping") => vec![Step::Write(answer(200, "OK"))],
        // Endless lines, so that the program is always writing when it is killed.
        _ if endless.load(Ordering::Relaxed) => {
            vec![Step::Write(body[..body.len() - 5].to_vec()), Step::Endless(chunk(WARNING).repeat(100))]
        }
        _ => vec![Step::Write(body.clone())],
    });
    // Without everything that depends on the time.
    let without_times = |log: &str| {
        let texts = texts(log).into_iter().filter(|text| !text.starts_with("Downloaded:") && !text.contains('%'));
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = || {
        is_endless.store(false, Ordering::Relaxed);
        let ended = run(&mut pull(&temp, &engine));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    let log = || fs::read(temp.join("log")).unwrap_or_default();
    let expected = without_times(&whole());
    let (mut seed, mut was_writing) = (1_u64, false);
    for _ in 0..200 {
        // A pseudo-random time, the same in every run, after the start of the program or after its request.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (is_early, moment) = (seed >> 63 == 1, Duration::from_micros((seed >> 33) % 12_000));
        let (before, asked) = (log().len(), engine.requests().len());
        is_endless.store(true, Ordering::Relaxed);
        let mut running = Running::start(&mut pull(&temp, &engine));
        assert!(is_early || eventually(LIMIT, || engine.requests().len() > asked + 1));
        std::thread::sleep(moment);
        let _ = running.child.kill();
        running.wait();
        let left = log()[before..].to_vec();
        let left = String::from_utf8_lossy(&left);
        check_lines(&left, true);
        was_writing |= left.contains("mind the gap");
        let (before, shown) = (log().len(), whole());
        let log = String::from_utf8_lossy(&log()[before..]).into_owned();
        check_lines(log.trim_start_matches('\n'), false);
        assert_eq!(human_lines(&log), shown);
        assert_eq!(without_times(&shown), expected);
    }
    assert!(was_writing, "none was killed while it wrote");
}

#[test]
fn a_hundred_pulls_into_one_log_write_whole_lines() {
    let temp = Temp::new();
    let lines = engine_lines(
        &fs::read_to_string(format!("{FIXTURES}/dockerd-20.10.24/reg-rst-once.jsonl")).expect("a fixture"),
    );
    let engine = Engine::new(&temp, whole(&lines));
    let image = temp.image();
    let start = |at: usize| {
        let mut command = program(&temp);
        Running::start(command.args(["--host", &engine.host(), "--log", &temp.at("log"), &format!("{image}-{at}")]))
    };
    let running: Vec<_> = (0..100).map(start).collect();
    let shown: Vec<_> = running.into_iter().map(Running::end).collect();
    let log = temp.read("log");
    let mut expected: Vec<&str> = shown.iter().flat_map(|ended| ended.stdout.lines()).collect();
    let human = human_lines(&log);
    let mut found: Vec<&str> = human.lines().collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    for line in log.lines().filter(|line| line.get(5..6) != Some("-")) {
        let raw = line.get(11..).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(raw).is_ok(), "{line}");
    }
}

#[test]
fn the_second_pull_of_an_image_leaves_the_progress_to_the_first() {
    let temp = Temp::new();
    let (engine, first) = begin(&temp);
    let before = temp.read("log");
    let pid = first.child.id();
    let _ = fs::rename(temp.join("docker.sock"), temp.join("first.sock"));
    let other = Engine::new(&temp, whole(GOOD));
    let second = run(pull(&temp, &other).args(["--record", &temp.at("r.jsonl")]));
    assert_eq!(second.code, Some(0), "{second:?}");
    let says = format!("⚠️  process {pid} is pulling this image already: watching its transfer");
    assert!(texts(&second.stdout).contains(&says.as_str()), "{}", second.stdout);
    assert!(second.stdout.contains("Layer abc123: Complete (1/1)"), "its output has all: {}", second.stdout);
    let log = temp.read("log");
    let added = texts(&log[before.len()..]);
    assert!(added.contains(&says.as_str()) && added.contains(&"✅ PULL SUCCESSFUL"), "{log}");
    assert!(!added.iter().any(|text| text.contains("Layer ")), "its progress is not in the log: {log}");
    assert!(!log[before.len()..].contains("{\"status\""), "nor its raw lines: {log}");
    let again = run(program(&temp).args(["--replay", &temp.at("r.jsonl"), "--log", &temp.at("log2")]));
    assert_eq!(again.stdout, second.stdout);
    assert_eq!(temp.read("log2"), log[before.len()..]);
    finish(&engine, first);
    // The first process has ended, so its lock is free.
    let third = run(&mut pull(&temp, &other));
    assert!(!third.stdout.contains("already"), "{}", third.stdout);
}
