//! Captures of the stream alone: cut, from Windows, of old versions, without line ends, of docker's command line.

use super::*;

/// Replays a capture with exactly these bytes from standard input.
fn bare(temp: &Temp, capture: &[u8]) -> Ended {
    run_with(program(temp).args(["--replay", "-"]), capture)
}

/// Captures of an engine, cut at their beginning and at their end.
fn check_cut_captures(engine: &str) {
    let temp = Temp::new();
    for &(case, code) in CASES.iter().filter(|(case, _)| case.starts_with(engine)) {
        let text = fs::read_to_string(recording(case)).expect("a recording");
        let lines = engine_lines(&text);
        if text.contains("\"attempt\":2") || text.contains(",\"r\",") {
            continue;
        }
        let is_shown = |lines: &[String]| {
            let last = lines.iter().rfind(|line| !line.contains("\"WARNING: "));
            last.is_some_and(|line| line.contains("\"Status: "))
        };
        let step = 1 + lines.len() / 12;
        for from in (0..lines.len().min(8)).chain((8..lines.len()).step_by(step)) {
            for to in (from..lines.len()).step_by(step).chain(lines.len().saturating_sub(4)..lines.len()) {
                let part = lines.get(from..to).unwrap_or_default();
                let capture = part.join("\n") + "\n";
                if part.is_empty() {
                    continue;
                }
                let ended = bare(&temp, capture.as_bytes());
                assert!(ended.code == Some(1) || is_shown(part), "{case}: {from}..{to}: {ended:?}");
                // From a capture that was cut one cannot conclude what the engine did.
                assert!(!ended.stdout.contains("the engine ended the pull"), "{case}: {from}..{to}: {ended:?}");
                // Cut in the middle of the next line.
                let torn = format!("{capture}{}", &lines[to][..lines[to].len() / 2]);
                let ended = bare(&temp, torn.as_bytes());
                assert_eq!(ended.code, Some(1), "{case}: {from}..{to} and a half: {ended:?}");
            }
        }
        // Without their first lines, captures of podman cannot be judged either: one line says that a layer was here already,
        // and a layer that is in an image twice is announced twice.
        let is_podmans = engine == "podman" && lines[0].contains("Pulling fs layer");
        let is_missed = |from: usize| lines[..from].iter().any(|line| !lines[from..].contains(line));
        for from in (1..lines.len().min(8)).filter(|&from| is_podmans && is_missed(from)) {
            let ended = bare(&temp, (lines[from..].join("\n") + "\n").as_bytes());
            assert_eq!(ended.code, Some(1), "{case}: from {from}: {ended:?}");
        }
        let ended = bare(&temp, (lines.join("\n") + "\n").as_bytes());
        assert!(ended.code == Some(code) || text.contains("\"cut\""), "{case}: {ended:?}");
    }
}

#[test]
fn a_capture_that_was_cut_is_no_success_graphdriver() {
    check_cut_captures("dockerd-20.10.24/fresh");
    check_cut_captures("dockerd-20.10.24/partial");
    check_cut_captures("dockerd-28.5.2/");
    check_cut_captures("dockerd-30.0.0-dev/");
}

#[test]
fn a_capture_that_was_cut_is_no_success_containerd() {
    check_cut_captures("dockerd-26.1.5-containerd/");
    check_cut_captures("dockerd-30.0.0-dev-containerd/");
}

#[test]
fn a_capture_that_was_cut_is_no_success_podman() {
    check_cut_captures("podman");
}

/// With the byte order mark with which Windows begins a text.
#[test]
fn a_file_from_windows_is_read() {
    let temp = Temp::new();
    let path = recording("dockerd-30.0.0-dev/slow-to-unpack");
    let text = fs::read_to_string(path).expect("a recording");
    let closing = |ended: &Ended| ended.stdout.split_once("✅ PULL SUCCESSFUL").map(|(_, closing)| closing.len());
    for plain in [text.clone(), engine_lines(&text).join("\r\n"), engine_lines(&text).concat()] {
        let expected = bare(&temp, plain.as_bytes());
        let marked = bare(&temp, format!("\u{feff}{plain}").as_bytes());
        assert_eq!((marked.code, closing(&marked)), (Some(0), closing(&expected)), "{marked:?}");
    }
    assert_eq!(bare(&temp, "\u{feff}x".as_bytes()).code, Some(1));
}

#[test]
fn old_podmans_are_understood() {
    let temp = Temp::new();
    let line =
        |status: &str, id: &str| format!(r#"{{"status":"{status}","progressDetail":{{}},"id":"{id}","error":""}}"#);
    let lines = [
        line("Pulling fs layer", "aaa"),
        line("Pulling fs layer", "bbb"),
        line("Download complete", "aaa"),
        line("Download complete", "bbb"),
        line("Pull complete", "0123456789ab"),
    ];
    for count in 1..lines.len() {
        let ended = bare(&temp, (lines[..count].join("\n") + "\n").as_bytes());
        assert_eq!(ended.code, Some(1), "{count} lines: {ended:?}");
    }
    for whole in [lines.join("\n"), lines.join("\n").replace(",\"progressDetail\":{},\"id\":\"0", ",\"id\":\"0")] {
        let ended = bare(&temp, whole.as_bytes());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(texts(&ended.stdout).contains(&"Layers: 2/2 completed"), "{}", ended.stdout);
    }
    let failed = lines.join("\n").replace("\"error\":\"\"}\n", "\"error\":null}\n");
    assert_eq!(bare(&temp, failed.as_bytes()).code, Some(1));
}

#[test]
fn objects_need_no_line_end_between_them() {
    let temp = Temp::new();
    let lines = engine_lines(&fs::read_to_string(recording("dockerd-30.0.0-dev/slow-to-unpack")).expect("a recording"));
    let closing = |ended: &Ended| {
        texts(&ended.stdout)
            .iter()
            .filter(|text| !text.contains("Downloaded:"))
            .skip(4)
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let expected = bare(&temp, (lines.join("\n") + "\n").as_bytes());
    assert_eq!(expected.code, Some(0));
    for between in ["", " ", "\t", "\r"] {
        let ended = bare(&temp, lines.join(between).as_bytes());
        assert_eq!((ended.code, closing(&ended)), (Some(0), closing(&expected)), "{between:?}");
    }
    // In a recording: as a line that was not JSON, and as an event.
    let header = r#"{"version":1,"image":"a:1"}"#;
    for row in [
        format!("[0.5,\"r\",{}]", serde_json::to_string(&lines.concat()).expect("JSON")),
        format!("[0.5,\"e\",{}]", lines.concat()),
    ] {
        let recording = format!("{header}\n{row}\n[1.0,\"x\",{{\"end\":\"complete\"}}]\n");
        let ended = bare(&temp, recording.as_bytes());
        assert_eq!((ended.code, closing(&ended)), (Some(0), closing(&expected)), "{row}");
    }
    // Over the socket: byte by byte and in chunks of any size. An object is shown when it ends, not with the next one.
    let body = lines.concat();
    let mut answers = vec![Step::Trickle(stream([&body]))];
    answers.extend([1, 7, 64, 1000, 100_000].map(|size| {
        let pieces = body.as_bytes().chunks(size);
        let pieces = pieces.flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        Step::Write([head(), pieces.collect(), LAST_CHUNK.to_vec()].concat())
    }));
    for answer in answers {
        let temp = Temp::new();
        let engine = Engine::new(&temp, vec![answer]);
        let args = ["--retries", "0", "--no-log", "--host", &engine.host(), "--record", &temp.at("r"), &temp.image()];
        let ended = run(program(&temp).args(args));
        assert_eq!((ended.code, closing(&ended)), (Some(0), closing(&expected)));
        assert_eq!(engine_lines(&temp.read("r")), lines, "each is a row of its own");
    }
    let temp = Temp::new();
    let unended = |text: &str| [format!("{:x}\r\n", text.len()).as_bytes(), text.as_bytes(), b"\r\n"].concat();
    let rest = [unended(STATUS), LAST_CHUNK.to_vec()].concat();
    let engine = Engine::new(&temp, vec![Step::Write([head(), unended(FROM)].concat()), Step::Wait, Step::Write(rest)]);
    let args = ["--retries", "0", "--host", &engine.host(), "--log", &temp.at("log"), &temp.image()];
    let running = Running::start(program(&temp).args(args));
    assert!(eventually(Duration::from_secs(10), || temp.read("log").contains("🔄 Pulling from a")));
    engine.go();
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn dockers_cli_shows_no_bytes_and_is_not_taken_for_stalled() {
    let temp = Temp::new();
    let rows = [
        r#"{"version":1,"image":"a:1","started":"2025-11-19T10:30:00.000Z"}"#,
        r#"[0.0,"a",{"attempt":1,"mode":"cli","reason":"no socket"}]"#,
        r#"[0.1,"r","1: Pulling from a"]"#,
        r#"[0.2,"r","abc: Pulling fs layer"]"#,
        r#"[700.0,"r","abc: Download complete"]"#,
        r#"[701.0,"r","abc: Pull complete"]"#,
        r#"[701.0,"r","Status: Downloaded newer image for a:1"]"#,
        r#"[702.0,"x",{"end":"complete","exit":0}]"#,
    ];
    let ended = bare(&temp, (rows.join("\n") + "\n").as_bytes());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown = texts(&ended.stdout);
    assert!(!ended.stdout.contains('⏳') && !ended.stdout.contains("Downloaded:"), "{}", ended.stdout);
    assert_eq!(shown.iter().filter(|text| text.starts_with("Overall Progress: ")).count(), 1, "{}", ended.stdout);
}
