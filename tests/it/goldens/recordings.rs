//! Recordings as a user may have them: bare captures, damaged files, later versions, each end and each attempt.

use super::*;

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
