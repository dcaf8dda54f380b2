//! Replays of the fixtures, compared byte for byte.
//!
//! `fixtures/ENGINE/CASE.jsonl` is a recording of a real engine, `CASE.log` beside it the log that a replay writes.
//! `UPDATE=1` renews the logs; review their difference as carefully as a change of the code.

use crate::support::{FIXTURES, Temp, engine_lines, human_lines, program, run, run_with, texts};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// The exit code of each pull, known from what the engine was made to do, and not from the program's output.
pub(crate) const CASES: &[(&str, i32)] = &[
    ("dockerd-20.10.24/auth-none", 1),
    ("dockerd-20.10.24/auth-right", 0),
    ("dockerd-20.10.24/auth-wrong", 1),
    ("dockerd-20.10.24/bad-hostname", 1),
    ("dockerd-20.10.24/blob-corrupt", 1),
    ("dockerd-20.10.24/blob-missing", 1),
    ("dockerd-20.10.24/concurrent-B", 0),
    ("dockerd-20.10.24/conn-refused", 1),
    ("dockerd-20.10.24/disk-full-110m", 1),
    ("dockerd-20.10.24/dup-layers", 0),
    ("dockerd-20.10.24/fresh-eight-fast", 0),
    ("dockerd-20.10.24/fresh-three", 0),
    ("dockerd-20.10.24/fresh-tiny", 0),
    ("dockerd-20.10.24/invalid-ref", 1),
    ("dockerd-20.10.24/kill9-dockerd-midpull", 1),
    ("dockerd-20.10.24/no-matching-platform", 1),
    ("dockerd-20.10.24/notag-three", 0),
    ("dockerd-20.10.24/partial-three-v2", 0),
    // A warning after the status.
    ("dockerd-20.10.24/platform-arm64", 0),
    ("dockerd-20.10.24/reg-rst-once", 0),
    // Cut by the client's own time limit.
    ("dockerd-20.10.24/registry-stall-midpull", 1),
    ("dockerd-20.10.24/repeat-three", 0),
    ("dockerd-20.10.24/slow-extract-zeros", 0),
    ("dockerd-20.10.24/tag-not-found", 1),
    ("dockerd-20.10.24/ver-too-new", 1),
    ("dockerd-20.10.24/ver-too-old", 1),
    ("dockerd-26.1.5/auth-wrong", 1),
    ("dockerd-26.1.5/fresh-three", 0),
    ("dockerd-26.1.5/kill9-dockerd-and-back", 0),
    ("dockerd-26.1.5/no-matching-platform", 1),
    // An error after the status.
    ("dockerd-26.1.5/platform-arm64", 1),
    ("dockerd-26.1.5/reg-down-and-back", 0),
    ("dockerd-26.1.5/same-layers", 0),
    ("dockerd-26.1.5-containerd/auth-none", 1),
    ("dockerd-26.1.5-containerd/blob-corrupt", 1),
    ("dockerd-26.1.5-containerd/dup-layers", 0),
    ("dockerd-26.1.5-containerd/fresh-eight", 0),
    ("dockerd-26.1.5-containerd/fresh-three", 0),
    ("dockerd-26.1.5-containerd/kill9-dockerd-and-back", 0),
    ("dockerd-26.1.5-containerd/no-matching-platform", 1),
    ("dockerd-26.1.5-containerd/own-platform", 0),
    ("dockerd-26.1.5-containerd/partial-three-v2", 0),
    ("dockerd-26.1.5-containerd/platform-arm64", 0),
    ("dockerd-26.1.5-containerd/reg-down-and-back", 0),
    ("dockerd-26.1.5-containerd/reg-down-midpull", 1),
    ("dockerd-26.1.5-containerd/same-layers", 0),
    ("dockerd-28.5.2/auth-wrong", 1),
    ("dockerd-28.5.2/fresh-three", 0),
    ("dockerd-28.5.2/own-platform", 0),
    ("dockerd-28.5.2/platform-arm64", 0),
    ("dockerd-28.5.2/reg-down-and-back", 0),
    ("dockerd-28.5.2-containerd/after-client-cut", 0),
    ("dockerd-28.5.2-containerd/auth-none", 1),
    ("dockerd-28.5.2-containerd/blob-corrupt", 1),
    ("dockerd-28.5.2-containerd/blob-missing", 1),
    ("dockerd-28.5.2-containerd/dup-layers", 0),
    ("dockerd-28.5.2-containerd/fresh-eight-fast", 0),
    ("dockerd-28.5.2-containerd/fresh-three", 0),
    ("dockerd-28.5.2-containerd/kill9-dockerd-and-back", 0),
    ("dockerd-28.5.2-containerd/no-matching-platform", 1),
    ("dockerd-28.5.2-containerd/otherrepo-2-samelayers", 0),
    ("dockerd-28.5.2-containerd/own-platform", 0),
    ("dockerd-28.5.2-containerd/partial-three-v2", 0),
    ("dockerd-28.5.2-containerd/reg-down-and-back", 0),
    ("dockerd-28.5.2-containerd/reg-down-midpull", 1),
    ("dockerd-28.5.2-containerd/repeat-three", 0),
    ("dockerd-28.5.2-containerd/slow-extract-zeros", 0),
    ("dockerd-28.5.2-containerd/tag-not-found", 1),
    ("dockerd-28.5.2-minapi1.44/unversioned-pull", 0),
    ("dockerd-28.5.2-minapi1.44/v1.41-pull", 1),
    ("dockerd-30.0.0-dev/engine-killed", 1),
    ("dockerd-30.0.0-dev/fresh-3-layers-slow", 0),
    ("dockerd-30.0.0-dev/private-no-login", 1),
    ("dockerd-30.0.0-dev/registry-killed-and-revived", 0),
    ("dockerd-30.0.0-dev/slow-to-unpack", 0),
    ("dockerd-30.0.0-dev-containerd/engine-killed", 1),
    ("dockerd-30.0.0-dev-containerd/fresh-3-layers-slow", 0),
    ("dockerd-30.0.0-dev-containerd/private-no-login", 1),
    ("dockerd-30.0.0-dev-containerd/registry-killed-and-revived", 0),
    ("dockerd-30.0.0-dev-containerd/slow-to-unpack", 0),
    ("podman-4.3.1/auth-none", 1),
    ("podman-4.3.1/fresh-three", 0),
    ("podman-4.3.1/repeat-three", 0),
    ("podman-4.3.1/repo-not-found", 1),
    ("podman-5.4.2/blob-corrupt", 1),
    ("podman-5.4.2/dup-layers", 0),
    ("podman-5.4.2/fresh-three", 0),
    ("podman-5.4.2/reg-down-and-back", 0),
    ("podman-5.4.2/tag-not-found", 1),
    ("podman-5.8.6/fresh-three", 0),
];

pub(crate) fn recording(case: &str) -> String {
    format!("{FIXTURES}/{case}.jsonl")
}

/// Replays the recording at `path`. Returns exit code, log and standard output; standard error must be empty.
fn replay(temp: &Temp, path: &str) -> (i32, String, String) {
    let _ = fs::remove_file(temp.join("log"));
    let ended = run(program(temp).args(["--replay", path, "--log", &temp.at("log")]));
    assert_eq!(ended.stderr, "", "{path}");
    (ended.code.expect("an exit code"), temp.read("log"), ended.stdout)
}

#[test]
fn every_recording_has_its_log_and_its_exit_code() {
    let temp = Temp::new();
    let is_update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for &(case, expected) in CASES {
        let (code, log, stdout) = replay(&temp, &recording(case));
        assert_eq!(code, expected, "{case}:\n{log}");
        assert_eq!(stdout, human_lines(&log), "{case}: standard output has the log's human lines");
        check_log(&log, case);
        let golden = format!("{FIXTURES}/{case}.log");
        if is_update {
            fs::write(&golden, &log).expect("a golden log");
        } else if fs::read_to_string(&golden).unwrap_or_default() != log {
            wrong.push(format!("{golden} differs from:\n{log}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 renews them)", wrong.join("\n"));
}

#[test]
fn every_fixture_is_in_the_table() {
    let mut found = HashSet::new();
    for engine in fs::read_dir(FIXTURES).expect("fixtures").flatten() {
        for file in fs::read_dir(engine.path()).expect("fixtures of an engine").flatten() {
            let path = file.path();
            let stem = path.with_extension("");
            let case = stem.strip_prefix(FIXTURES).expect("a fixture").to_str().expect("UTF-8").to_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("jsonl") => assert!(found.insert(case), "twice"),
                Some("log") => assert!(Path::new(&recording(&case)).exists(), "{case}.log without its recording"),
                _ => {}
            }
        }
    }
    let table: HashSet<String> = CASES.iter().map(|&(case, _)| case.to_owned()).collect();
    assert_eq!(found, table);
}

/// Checks the rules that hold for every log.
pub(crate) fn check_log(log: &str, case: &str) {
    let texts = texts(log);
    let stamps: Vec<&str> = log.lines().filter(|line| line.get(5..6) == Some("-")).map(|line| &line[1..20]).collect();
    assert!(stamps.is_sorted(), "{case}: the time goes back:\n{log}");
    let (mut bars, mut counted, mut queued) = (HashMap::new(), HashSet::new(), HashSet::new());
    let mut downloads: HashMap<&str, usize> = HashMap::new();
    let mut whole = 0;
    for text in &texts {
        let say = |what: &str| format!("{case}: {what}: {text}\n{log}");
        assert!(text.chars().count() <= 1000 - 22, "{}", say("too long"));
        let cells = text.chars().filter(|c| matches!(c, '█' | '░')).count();
        let is_whole = text.starts_with("Overall Progress: ") || text.starts_with("Stopped at: ");
        let width = if is_whole { 50 } else { 40 };
        assert!(cells == 0 || cells == width, "{}", say("a bar that is not 40 or 50 wide"));
        if let Some((n, total)) = count(text) {
            assert!(n <= total && total > 0, "{}", say("n/N"));
        }
        if is_whole {
            assert!(percent(text) >= whole, "{}", say("the whole goes back"));
            whole = percent(text);
        }
        if text.starts_with("🔁 Retry") {
            whole = 0;
            (bars, counted, queued) = (HashMap::new(), HashSet::new(), HashSet::new());
            downloads.clear();
        }
        let Some((id, what)) = text.split_once("Layer ").and_then(|(_, rest)| rest.split_once([':', ' '])) else {
            continue;
        };
        let what = what.trim_start();
        if what == "starts again" {
            bars.remove(&(id, false));
            bars.remove(&(id, true));
            downloads.remove(id);
        }
        if cells > 0 {
            let phase = what.starts_with("Extracting");
            let now = (percent(what), sizes(what));
            let before = bars.insert((id, phase), now);
            *downloads.entry(id).or_default() += usize::from(!phase);
            if let Some((percent, (done, size))) = before {
                assert!(percent <= now.0 && done <= now.1.0 && size <= now.1.1, "{}", say("a bar goes back"));
                assert!((percent, (done, size)) != now || phase, "{}", say("a bar is repeated"));
            }
        }
        if what.starts_with("Verifying") || what.starts_with("Download complete") {
            let shown = downloads.get(id).copied().unwrap_or(0);
            let last = bars.get(&(id, false)).map_or(100, |(percent, _)| *percent);
            assert!(shown < 2 || last == 100, "{}", say("a download that ends below 100 %"));
        }
        if what.starts_with("Complete") || what.starts_with("Already cached") {
            assert!(counted.insert(id), "{}", say("counted twice"));
            assert_eq!(count(text).map(|(n, _)| n), Some(counted.len()), "{}", say("n"));
        }
        if what.starts_with("queued") {
            assert!(queued.insert(id), "{}", say("queued twice"));
        } else {
            assert!(queued.contains(id), "{}", say("comes before it was queued"));
        }
    }
    check_end(&texts, log, case);
}

/// Checks the closing block.
fn check_end(texts: &[&str], log: &str, case: &str) {
    const RULE: &str = "==========================================";
    let rules: Vec<usize> = (0..texts.len()).filter(|&at| texts[at] == RULE).collect();
    let &[.., from, to] = rules.as_slice() else { panic!("{case}: no closing block:\n{log}") };
    assert_eq!(to, texts.len() - 1, "{case}: {log}");
    let mut block = texts[from + 1..to].iter();
    let mut next = || block.next().copied().unwrap_or_default();
    let first = next();
    let mut line = next();
    if first.starts_with("❌ PULL FAILED: ") && line.starts_with("💡 ") {
        line = next();
    }
    let is_success = first == "✅ PULL SUCCESSFUL";
    assert!(is_success || first.starts_with("❌ PULL FAILED: ") || first.starts_with("🛑 PULL INTERRUPTED ("), "{log}");
    assert!(line.starts_with(if is_success { "Overall Progress: [" } else { "Stopped at: [" }), "{case}: {line}");
    assert_eq!(percent(line) == 100, is_success, "{case}: 100 % only at success, and always then:\n{log}");
    let mut layers = next();
    // Everything was here in the end, including what an earlier attempt had downloaded.
    if layers.starts_with("Downloaded: ") {
        layers = next();
    }
    if !layers.is_empty() {
        let (n, total) = count(layers).expect("Layers: n/N completed");
        assert!(!is_success || n == total, "{case}: {layers}\n{log}");
        // The docker CLI reports no bytes.
        let has_bytes = !texts.contains(&"Method: docker pull CLI");
        assert!(!has_bytes || next().starts_with("Downloaded: "), "{case}: {log}");
    }
    assert_eq!(next(), "", "{case}: {log}");
}

/// Reads `(1/3)`, also if `, 50MB in 12s` follows, and `Layers: 1/3 completed`.
fn count(text: &str) -> Option<(usize, usize)> {
    let inner = match text.strip_prefix("Layers: ") {
        Some(rest) => rest.split(' ').next()?,
        None => text.rsplit_once('(')?.1.split_once(')')?.0,
    };
    let (n, total) = inner.split_once('/')?;
    Some((n.parse().ok()?, total.parse().ok()?))
}

fn percent(text: &str) -> u64 {
    let (before, _) = text.split_once('%').expect("a percentage");
    before.rsplit(' ').next().and_then(|percent| percent.parse().ok()).expect("a percentage")
}

/// Reads `(5MB / 50MB)` in bytes; 0 for a part that is missing.
fn sizes(text: &str) -> (u64, u64) {
    let bytes = |text: &str| {
        let digits = text.trim_end_matches(char::is_alphabetic);
        let scale: f64 = match &text[digits.len()..] {
            "B" => 1.0,
            "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            other => panic!("{other} is no unit"),
        };
        #[expect(clippy::cast_sign_loss, reason = "there are no negative sizes")]
        let bytes = (digits.parse::<f64>().expect("a number") * scale) as u64;
        bytes
    };
    match text.strip_suffix(')').and_then(|text| text.rsplit_once('(')?.1.split_once(" / ")) {
        Some((done, size)) => (bytes(done), bytes(size)),
        None => (0, 0),
    }
}

/// Cuts recordings after each of their lines and ends them as if nothing were wrong: only those that contain the engine's
/// final status are a success.
fn check_prefixes(engine: &str) {
    let temp = Temp::new();
    for &(case, code) in CASES.iter().filter(|(case, _)| case.starts_with(engine)) {
        let text = fs::read_to_string(recording(case)).expect("a recording");
        let lines: Vec<&str> = text.lines().collect();
        // Long ones are not cut at every line: most of their lines are bars.
        let step = 1 + lines.len() / 30;
        let is_shown = |line: &&&str| line.contains("\"Status: ");
        let has_finished = |line: &&&str| line.contains("Download complete") || line.contains("Already exists");
        for count in (1..lines.len() - 1).step_by(step) {
            let prefix = &lines[..count];
            let time = prefix[count - 1].split_once(',').filter(|_| count > 1).map_or("0", |(time, _)| &time[1..]);
            let ending = format!("[{time},\"x\",{{\"end\":\"complete\"}}]\n");
            let (exit, log, _) = replay(&temp, &temp.write("r", prefix.join("\n") + "\n" + &ending));
            check_log(&log, case);
            let word = if engine.starts_with("podman") {
                prefix.iter().find(has_finished)
            } else {
                prefix.iter().find(is_shown)
            };
            // A pull that failed in the end may have had the final status before its error.
            let is_fair = word.is_some() && (code == 0 || !prefix.iter().any(|line| line.contains("\"error\"")));
            assert!(exit == 1 || is_fair, "{case}: {count} lines are no success:\n{log}");
        }
        // Without the row of the end, and with an end in which the engine broke off.
        let whole = lines[..lines.len() - 1].join("\n") + "\n";
        for end in ["", "[9999,\"x\",{\"end\":\"cut\"}]\n", "[9999,\"x\",{\"end\":\"stalled\"}]\n"] {
            let (exit, log, _) = replay(&temp, &temp.write("r", whole.clone() + end));
            assert_eq!(exit, 1, "{case}: {log}");
            check_log(&log, case);
        }
    }
}

#[test]
fn no_prefix_of_a_pull_succeeds_graphdriver() {
    check_prefixes("dockerd-20.10.24");
    check_prefixes("dockerd-26.1.5/");
    check_prefixes("dockerd-28.5.2/");
}

#[test]
fn no_prefix_of_a_pull_succeeds_containerd() {
    check_prefixes("dockerd-26.1.5-containerd");
    check_prefixes("dockerd-28.5.2-");
}

#[test]
fn no_prefix_of_a_pull_succeeds_podman() {
    check_prefixes("podman");
}

/// Replays a file with `content`. Returns how the program ended, and its texts.
fn play(content: impl AsRef<[u8]>) -> (crate::support::Ended, String) {
    let temp = Temp::new();
    let ended = run(program(&temp).args(["--replay", &temp.write("r.jsonl", content), "--log", &temp.at("log")]));
    let log = temp.read("log");
    (ended, log)
}

/// Checks that a broken recording is answered with one line that names the place, and exit code 1.
fn check_damaged(content: impl AsRef<[u8]>, line: usize, says: &str) {
    let (ended, _) = play(&content);
    let shown = String::from_utf8_lossy(content.as_ref()).chars().take(200).collect::<String>();
    assert_eq!(ended.code, Some(1), "{shown}: {ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{shown}: {}", ended.stderr);
    assert!(ended.stderr.contains(&format!("r.jsonl: line {line}: ")), "{shown}: {}", ended.stderr);
    assert!(ended.stderr.contains(says), "{shown}: {}", ended.stderr);
    assert!(!ended.stdout.contains("SUCCESSFUL"), "{shown}");
}

const HEADER: &str = r#"{"version":1,"image":"127.0.0.1:5000/a:1","started":"2025-11-19T10:30:15.250+05:30","engine":"20.10.24","api":"1.41"}"#;

/// A recording with these lines of an engine, a tenth of a second apart, and this end.
fn recorded(lines: &[&str], end: &str) -> String {
    let rows = lines.iter().enumerate().map(|(at, line)| format!("[0.{at},\"e\",{line}]\n"));
    format!("{HEADER}\n{}[1.0,\"x\",{end}]\n", rows.collect::<String>())
}

const FROM: &str = r#"{"status":"Pulling from a","id":"1"}"#;
const STATUS: &str = r#"{"status":"Status: Downloaded newer image for 127.0.0.1:5000/a:1"}"#;
const COMPLETE: &str = r#"{"end":"complete"}"#;

#[test]
fn a_bare_capture_plays_like_its_recording() {
    let temp = Temp::new();
    for &(case, code) in CASES {
        let text = fs::read_to_string(recording(case)).expect("a recording");
        let lines = engine_lines(&text);
        // A capture does not contain the recorded end, nor a new attempt, and lines that were not JSON cannot be recognised
        // in it.
        if [r#"{"end":"cut"}"#, r#""attempt":2"#, ",\"r\","].iter().any(|known| text.contains(known)) {
            continue;
        }
        let bare = lines.join("\r\n") + "\n";
        let ended = run(program(&temp).args(["--replay", &temp.write("bare", &bare)]));
        let piped = run_with(program(&temp).args(["--replay", "-"]), bare.as_bytes());
        assert_eq!(ended.code, Some(code), "{case}: {ended:?}");
        assert_eq!(piped.code, Some(code), "{case}: {piped:?}");
        let closing = |text: &str| texts(text).last_chunk::<4>().map(|lines| lines.join("\n"));
        assert_eq!(closing(&ended.stdout), closing(&piped.stdout), "{case}");
        assert!(ended.stdout.contains("Image: not told (capture "), "{case}: {}", ended.stdout);
        check_log(&ended.stdout, case);
    }
}

#[test]
fn recordings_come_from_standard_input_too() {
    let temp = Temp::new();
    let path = recording("dockerd-20.10.24/fresh-three");
    let from_file = run(program(&temp).args(["--replay", &path]));
    let recording = fs::read(&path).expect("a recording");
    assert_eq!(run_with(program(&temp).args(["--replay", "-"]), &recording), from_file);
    // Without the last line end, and with the line ends of other systems.
    let text = String::from_utf8(recording).expect("UTF-8");
    assert_eq!(run_with(program(&temp).args(["--replay", "-"]), text.trim_end().as_bytes()), from_file);
    assert_eq!(run_with(program(&temp).args(["--replay", "-"]), text.replace('\n', "\r\n").as_bytes()), from_file);
}

#[test]
fn damaged_recordings_are_reported_with_their_line() {
    check_damaged("", 1, "empty");
    check_damaged("\n\n", 1, "empty");
    check_damaged("nonsense\n", 1, "neither the header of a recording nor an engine's JSON line");
    check_damaged([0x89, b'P', b'N', b'G', 0, 0, 0xff], 1, "neither");
    check_damaged("HTTP/1.1 200 OK\r\n\r\n", 1, "HTTP response");
    check_damaged(&HEADER[..50], 1, "neither");
    let utf_16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check_damaged([&[0xff, 0xfe], &utf_16[..]].concat(), 1, "convert the file to UTF-8");
    check_damaged(utf_16, 1, "UTF-16");
    check_damaged(HEADER.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>(), 1, "UTF-16");
    let whole = recorded(&[FROM, STATUS], COMPLETE);
    // The last line cut at every place.
    let last = whole.trim_end().rfind('\n').expect("several lines") + 1;
    for end in last + 1..whole.len() - 1 {
        check_damaged(&whole[..end], 4, "");
    }
    for row in [
        "[]",
        "[0.1]",
        "[0.1,\"e\"]",
        "{}",
        "[0.1,5,{}]",
        "[\"a\",\"e\",{}]",
        "[0.1,\"r\",{}]",
        "null",
        "[0.1,\"x\",5]",
    ] {
        check_damaged(whole.replace("[0.1,", &format!("{row}\n[0.1,")), 3, "");
    }
    // A broken event within a row that is read by the quick way.
    check_damaged(whole.replace(r#""id":"1"}]"#, r#""id":"1"]"#), 2, "");
    let mut not_text = whole.clone().into_bytes();
    not_text[HEADER.len() + 30] = 0xff;
    check_damaged(not_text, 2, "UTF-8");
    // Empty lines are skipped, but counted.
    check_damaged(whole.replace("[0.1,", "\n\n[0.1,").replace("Downloaded newer", "\u{1}"), 5, "");
}

#[test]
fn a_missing_recording_is_reported() {
    let temp = Temp::new();
    for (file, says) in [("none", "No such file"), (".", "directory"), ("/dev/null", "line 1: empty")] {
        let ended = run(program(&temp).args(["--replay", file]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{file}");
        assert!(ended.stderr.contains(file) && ended.stderr.contains(says), "{file}: {}", ended.stderr);
    }
}

#[test]
fn what_a_later_version_may_write_is_passed_over() {
    let content = recorded(&[FROM, STATUS], COMPLETE)
        .replace("{\"version\":1,", "{\"version\":99,\"new\":[{}],")
        .replace(
            "[0.1,",
            "[0.05,\"z\",{\"a\":[1]}]\n[0.06,\"e\",{\"status\":\"Status: x\",\"new\":{\"a\":1}},\"more\",2]\n[0.1,",
        )
        .replace("complete\"", "complete\",\"new\":1");
    let (ended, log) = play(content);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{log}");
    check_log(&log, "later version");
}

#[test]
fn header_values_are_shown_and_never_validated() {
    let check = |header: &str, expected: &str| {
        let content = recorded(&[FROM, STATUS], COMPLETE).replace(HEADER, header);
        let (ended, log) = play(content);
        assert_eq!(ended.code, Some(0), "{header}: {}", ended.stderr);
        assert_eq!(texts(&log)[3], format!("Image: {expected}"), "{header}");
    };
    check(r#"{"version":1}"#, "");
    check(r#"{"version":1,"image":"a\u001b[31m\nb\u202ec"}"#, "a\\u{1b}[31m\\u{a}b\\u{202e}c");
    check(r#"{"version":1,"image":"UPPER case !"}"#, "UPPER case !");
    check(r#"{"version":1,"image":"--help"}"#, "--help");
    check(r#"{"version":1,"image":["x"],"started":5,"engine":{},"api":null}"#, "");
    check(r#"{"version":"x","image":"a","started":"yesterday"}"#, "a");
    check(r#"{"version":1,"image":"a","started":"9999-12-31T23:59:59.999Z"}"#, "a");
    check(r#"{"version":1,"image":"a","started":"-9999-01-01T00:00:00Z"}"#, "a");
    check(r#"{"image":"a","version":1,"started":"2025-11-19T10:30:15.250+05:30"}"#, "a");
}

#[test]
fn times_are_those_of_the_recording() {
    let content = recorded(&[FROM, STATUS], COMPLETE).replace("[1.0,", "[75.8,");
    let (_, log) = play(content);
    let stamps: Vec<&str> = log.lines().filter(|line| line.get(5..6) == Some("-")).map(|line| &line[..21]).collect();
    assert_eq!(stamps.first(), Some(&"[2025-11-19 10:30:15]"));
    // 15.250 s and 75.8 s
    assert_eq!(stamps.last(), Some(&"[2025-11-19 10:31:31]"));
}

#[test]
fn times_that_make_no_sense_do_no_harm() {
    for time in ["-5", "1e300", "1e-300", "99999999999999999999", "0.0000000001", "-1e300"] {
        let content = recorded(&[FROM, FROM, STATUS], COMPLETE).replace("[0.1,", &format!("[{time},"));
        let (ended, log) = play(content);
        assert_eq!(ended.code, Some(0), "{time}: {}", ended.stderr);
        check_log(&log, time);
    }
}

#[test]
fn the_end_of_a_recording_decides_its_exit_code() {
    let check = |lines: &[&str], end: &str, expected: i32, says: &str| {
        let (ended, log) = play(recorded(lines, end));
        assert_eq!(ended.code, Some(expected), "{end}: {log}");
        assert!(log.contains(says), "{end}: {says}: {log}");
        check_log(&log, end);
    };
    let error = r#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#;
    let unknown = r#"{"status":"Something new"}"#;
    let warning = r#"{"status":"WARNING: mind"}"#;
    check(&[FROM, STATUS], COMPLETE, 0, "✅ PULL SUCCESSFUL");
    check(&[FROM, STATUS, warning], COMPLETE, 0, "⚠️  mind");
    check(&[FROM, STATUS, unknown], COMPLETE, 1, "❌ PULL FAILED");
    check(&[FROM, STATUS, error], COMPLETE, 1, "❌ PULL FAILED: no space left on device");
    check(&[FROM, error, STATUS], COMPLETE, 1, "❌ PULL FAILED: no space left on device");
    check(&[FROM, STATUS, r#"{"errorDetail":7}"#], COMPLETE, 1, "❌ PULL FAILED: ");
    check(&[FROM, STATUS, unknown, STATUS], COMPLETE, 0, "✅ PULL SUCCESSFUL");
    check(&[FROM], COMPLETE, 1, "❌ PULL FAILED");
    check(&[], COMPLETE, 1, "❌ PULL FAILED");
    check(&[FROM, STATUS], r#"{"end":"cut"}"#, 1, "❌ PULL FAILED: the engine broke off");
    check(&[FROM, STATUS], r#"{"end":"refused 500"}"#, 1, "❌ PULL FAILED: the engine answered HTTP status 500");
    check(&[FROM], r#"{"end":"stalled","exit":1}"#, 1, "❌ PULL FAILED: nothing has moved");
    check(&[FROM], r#"{"end":"signal 15"}"#, 143, "🛑 PULL INTERRUPTED (SIGTERM)");
    check(&[FROM], r#"{"end":"signal 2","exit":130}"#, 130, "🛑 PULL INTERRUPTED (SIGINT)");
    check(&[FROM], r#"{"end":"a word of later"}"#, 1, "❌ PULL FAILED");
    check(&[FROM], "{}", 1, "❌ PULL FAILED");
}

#[test]
fn attempts_are_shown_and_begin_anew() {
    let layer = |step: &str| format!(r#"{{"status":"{step}","progressDetail":{{}},"id":"abc"}}"#);
    let bar = r#"{"status":"Downloading","progressDetail":{"current":900000,"total":1000000},"id":"abc"}"#;
    let less = r#"{"status":"Downloading","progressDetail":{"current":100000,"total":1000000},"id":"abc"}"#;
    let rows = [
        r#"[0.000,"a",{"attempt":1,"mode":"api"}]"#.to_owned(),
        format!("[0.1,\"e\",{FROM}]"),
        format!("[0.2,\"e\",{}]", layer("Pulling fs layer")),
        format!("[0.3,\"e\",{bar}]"),
        r#"[0.4,"a",{"attempt":2,"mode":"api","wait":5,"reason":"the engine\nbroke off","retries":3}]"#.to_owned(),
        format!("[5.5,\"e\",{FROM}]"),
        format!("[5.6,\"e\",{}]", layer("Pulling fs layer")),
        format!("[5.7,\"e\",{less}]"),
        format!("[6.0,\"e\",{}]", layer("Download complete")),
        format!("[6.1,\"e\",{}]", layer("Pull complete")),
        format!("[6.2,\"e\",{STATUS}]"),
        r#"[6.3,"x",{"end":"complete","exit":0}]"#.to_owned(),
    ];
    let (ended, log) = play(format!("{HEADER}\n{}\n", rows.join("\n")));
    assert_eq!(ended.code, Some(0), "{log}");
    let shown = texts(&log);
    assert!(shown.contains(&"🔁 Retry 1/3 in 5s: the engine\\u{a}broke off"), "{log}");
    assert_eq!(shown.iter().filter(|text| text.contains("queued")).count(), 2, "{log}");
    assert!(log.contains("10% (100KB / 1MB)"), "a new attempt begins at its own bytes: {log}");
    assert!(shown.contains(&"Downloaded: 1MB in 6s (301KB/s)"), "what both attempts moved: {log}");
    check_log(&log, "attempts");
}

#[test]
fn a_pull_by_the_docker_cli_is_played_from_its_words() {
    let lines = [
        "latest: Pulling from library/alpine",
        "abc: Pulling fs layer",
        "def: Already exists",
        "abc: Verifying Checksum",
        "abc: Download complete",
        "abc: Pull complete",
        "Digest: sha256:00ff",
        "Status: Downloaded newer image for alpine:latest",
        "docker.io/library/alpine:latest",
    ];
    let rows: Vec<String> = (0..).zip(lines).map(|(at, line)| format!("[0.{at},\"r\",\"{line}\"]")).collect();
    let rows = rows.join("\n");
    let attempt = r#"[0.000,"a",{"attempt":1,"mode":"cli","reason":"there is no Docker socket at /x"}]"#;
    for exit in [0, 7] {
        let end = format!(r#"[1.0,"x",{{"end":"complete","exit":{exit}}}]"#);
        let (ended, log) = play(format!("{HEADER}\n{attempt}\n{rows}\n{end}\n"));
        assert_eq!(ended.code, Some(exit), "{log}");
        let shown = texts(&log);
        assert_eq!(shown[0], "⚠️  there is no Docker socket at /x; using the docker CLI");
        assert_eq!(shown[2], "📦 PULLING IMAGE (docker CLI)");
        assert_eq!(shown[5], "Method: docker pull CLI");
        assert!(shown.contains(&"✅ Layer abc: Complete (2/2)"), "{log}");
        assert!(log.contains("[10:30:15] abc: Pull complete\n"), "docker's own line is there: {log}");
        check_log(&log, "cli");
    }
}

#[test]
fn a_gap_is_reported_after_one_two_and_four_minutes() {
    let layer = r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#;
    let bar = r#"{"status":"Downloading","progressDetail":{"current":12000000,"total":50000000},"id":"abc"}"#;
    let content = format!(
        "{HEADER}\n[0.0,\"e\",{FROM}]\n[0.1,\"e\",{layer}]\n[1.0,\"e\",{bar}]\n[1.1,\"e\",{bar}]\n[300,\"e\",{STATUS}]\n[300,\"x\",{COMPLETE}]\n"
    );
    let (ended, log) = play(content);
    assert_eq!(ended.code, Some(0), "{log}");
    let waits: Vec<&str> = log.lines().filter(|line| line.contains('⏳')).collect();
    assert_eq!(
        waits,
        [
            "[2025-11-19 10:31:16] ⏳ No progress for 60s (abc: 12MB / 50MB)",
            "[2025-11-19 10:32:16] ⏳ No progress for 120s (abc: 12MB / 50MB)",
            "[2025-11-19 10:34:16] ⏳ No progress for 240s (abc: 12MB / 50MB)",
        ]
    );
    check_log(&log, "gap");
}

#[test]
fn raw_lines_stay_away_where_they_are_not_wanted() {
    let temp = Temp::new();
    let path = recording("dockerd-20.10.24/fresh-three");
    let ended = run(program(&temp).args(["--replay", &path, "--no-raw", "--log", &temp.at("log")]));
    assert_eq!(temp.read("log"), ended.stdout);
}

#[test]
fn speed_keeps_the_timing_of_the_recording() {
    let temp = Temp::new();
    let path = temp.write("r", recorded(&[FROM, STATUS], COMPLETE));
    let begun = std::time::Instant::now();
    let ended = run(program(&temp).args(["--replay", &path, "--speed", "4"]));
    // A second of the recording at four times its speed.
    assert!(begun.elapsed() >= std::time::Duration::from_millis(250));
    assert_eq!(ended, run(program(&temp).args(["--replay", &path])));
}
