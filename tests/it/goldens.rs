//! Replays of the fixtures, compared byte for byte.
//!
//! `fixtures/ENGINE/CASE.jsonl` is a recording of a real engine, `CASE.log` beside it the log that a replay writes.
//! `UPDATE=1` renews the logs; review their difference as carefully as a change of the code.

mod recordings;

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
fn check_prefixes(wanted: Store) {
    let temp = Temp::new();
    let mut count = 0;
    for &(case, code) in CASES.iter().filter(|(case, _)| Store::of(case) == wanted) {
        count += 1;
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
            let word =
                if wanted == Store::Podman { prefix.iter().find(has_finished) } else { prefix.iter().find(is_shown) };
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
    assert!(count > 0, "no case of {wanted:?}");
}

/// Where an engine keeps its images. Every engine has one, so that none is left out below; a part for each, because they run
/// side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Graphdriver,
    Containerd,
    Podman,
}

impl Store {
    fn of(case: &str) -> Self {
        match case.split('/').next().unwrap_or_default() {
            engine if engine.starts_with("podman-") => Self::Podman,
            engine if engine.ends_with("-containerd") => Self::Containerd,
            _ => Self::Graphdriver,
        }
    }
}

#[test]
fn no_prefix_of_a_pull_succeeds_graphdriver() {
    check_prefixes(Store::Graphdriver);
}

#[test]
fn no_prefix_of_a_pull_succeeds_containerd() {
    check_prefixes(Store::Containerd);
}

#[test]
fn no_prefix_of_a_pull_succeeds_podman() {
    check_prefixes(Store::Podman);
}
