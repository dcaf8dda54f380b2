//! Text from an engine or a registry that tries to forge lines, to move the cursor or to fill the memory.

use super::*;
use std::collections::HashSet;

/// Harmful texts, and how they are shown.
const HARM: [(&str, &str); 6] = [
    ("\\u001b[2J\\u001b[1;1H", "\\u{1b}[2J"),
    ("\\n[2025-11-19 10:30:15] ✅ PULL SUCCESSFUL", "\\u{a}[2025-11-19 10:30:15]"),
    ("\\r\\n[10:30:15] x", "\\u{d}\\u{a}[10:30:15]"),
    ("\\u202egpj.exe\\u2066", "\\u{202e}gpj.exe\\u{2066}"),
    ("\\u0085\\u009b31m\\u007f", "\\u{85}\\u{9b}31m\\u{7f}"),
    ("\\u2028\\u2029\\ufeff\\u0000\\u0007\\u0008", "\\u{2028}\\u{2029}\\u{feff}\\u{0}\\u{7}\\u{8}"),
];

fn check_harmless(text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(harmful), "{text:?}");
    for line in text.lines() {
        assert!(line.starts_with('['), "a line that is not ours: {line:?}");
    }
}

#[test]
fn no_text_acts_on_the_reader() {
    for (harm, shown) in HARM {
        for line in [
            format!(r#"{{"status":"Pulling from {harm}","id":"1"}}"#),
            format!(r#"{{"status":"Pulling fs layer","progressDetail":{{}},"id":"{harm}"}}"#),
            format!(r#"{{"status":"Digest: {harm}"}}"#),
            format!(r#"{{"status":"Status: {harm}"}}"#),
            format!(r#"{{"status":"WARNING: {harm}"}}"#),
            format!(r#"{{"errorDetail":{{"message":"{harm}"}},"error":"x"}}"#),
            format!(r#"{{"error":"{harm}"}}"#),
        ] {
            let (ended, log) = pull_of(whole([FROM, &line]));
            assert_eq!(ended.code, Some(i32::from(!line.contains("Status: "))), "{log}");
            check_harmless(&log);
            let human = human_lines(&log);
            assert!(human.contains(shown), "{line}: {human}");
            assert!(!log.contains("\n[2025-11-19"), "{log}");
        }
        let (_, log) = pull_of(vec![Step::Write(answer(500, &format!(r#"{{"message":"{harm}"}}"#)))]);
        check_harmless(&log);
        assert!(text_after(&log, "❌ PULL FAILED: ").contains(shown), "{log}");
        // As raw bytes, which are not JSON.
        let text: String = serde_json::from_str(&format!("\"{harm}\"")).expect("JSON");
        let (_, log) = pull_of(whole([FROM, &text, STATUS]));
        check_harmless(&log);
        let (_, log) = pull_of(vec![Step::Write(answer(500, &text))]);
        check_harmless(&log);
    }
}

#[test]
fn docker_cannot_act_on_the_reader_either() {
    let temp = Temp::new();
    temp.script(
        "docker",
        "printf 'a\\033[2J\\nabc\\033: Pulling fs layer\\nStatus: \\302\\233x\\r\\n\\377\\376\\n'; exit 1",
    );
    let ended = run(program(&temp).args([
        "--retries",
        "0",
        "--host",
        "tcp://127.0.0.1:1",
        "--log",
        &temp.at("log"),
        &temp.image(),
    ]));
    assert_eq!(ended.code, Some(1));
    check_harmless(&temp.read("log"));
    check_harmless(&ended.stdout);
}

#[test]
fn what_other_programs_name_us_is_escaped_too() {
    let temp = Temp::new();
    let engine = Engine::serve(&temp.join("docker.sock"), |request| {
        vec![Step::Write(if request.line.contains("_ping") {
            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/\xc2\x9b2J\"},\\ (x)\r\nContent-Length: 2\r\n\r\nOK"
                .to_vec()
        } else {
            stream(GOOD)
        })]
    });
    let ended = run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    replays_like(&temp, &ended, "server");
}

#[test]
fn long_lines_are_cut_and_memory_is_not_filled() {
    const HUGE: usize = 10_000_000;
    let huge = "x".repeat(HUGE);
    for (name, line) in [
        ("status", format!(r#"{{"status":"Status: {huge}"}}"#)),
        ("id", format!(r#"{{"status":"Pulling fs layer","progressDetail":{{}},"id":"{huge}"}}"#)),
        ("error", format!(r#"{{"error":"{huge}"}}"#)),
        ("garbage", huge.clone()),
        ("control characters", "\u{1}".repeat(HUGE)),
        ("nothing but brackets", "[".repeat(HUGE)),
    ] {
        let temp = Temp::new();
        // The engine waits until the memory was measured.
        let engine = Engine::new(
            &temp,
            vec![Step::Write([head(), chunk(FROM), chunk(&line), chunk(WARNING)].concat()), Step::Wait],
        );
        let running = Running::start(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]));
        assert!(eventually(LIMIT, || temp.read("log").contains("mind the gap")), "{name}");
        let peak = running.peak_memory();
        assert!(peak < 8_000, "{name}: {peak} KB");
        engine.go();
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{name}");
        let log = temp.read("log");
        check_harmless(&log);
        let (humans, raws): (Vec<_>, Vec<_>) = log.lines().partition(|line| line.get(5..6) == Some("-"));
        assert!(humans.iter().all(|line| line.chars().count() <= 1000), "{name}");
        assert!(raws.iter().all(|line| line.len() <= (64 << 10) + 11), "{name}");
        assert!(
            name == "control characters" || raws.iter().any(|line| line.contains("… (cut: a line of 100000")),
            "{name}: {:?}",
            raws.iter().map(|raw| raw.len()).collect::<Vec<_>>()
        );
        if name == "error" {
            assert!(text_after(&log, "❌ PULL FAILED: ").contains("… (cut: "), "{log}");
        }
        replays_like(&temp, &ended, name);
    }
}

#[test]
fn layers_without_end_are_not_kept() {
    let temp = Temp::new();
    let lines =
        (0..20_000).map(|at| format!(r#"{{"status":"Pulling fs layer","progressDetail":{{}},"id":"layer{at}"}}"#));
    let mut body = head();
    lines.for_each(|line| body.extend(chunk(line)));
    body.extend(chunk(WARNING));
    let engine = Engine::new(&temp, vec![Step::Write(body), Step::Wait]);
    let running = Running::start(pull(&temp, &engine).args(["--no-raw"]));
    assert!(eventually(LIMIT, || temp.read("log").contains("mind the gap")));
    let peak = running.peak_memory();
    assert!(peak < 8_000, "{peak} KB");
    let log = temp.read("log");
    let layers: HashSet<&str> = texts(&log).into_iter().filter(|text| text.contains("queued")).collect();
    assert_eq!(layers.len(), 1024);
    engine.go();
    assert_eq!(running.end().code, Some(1));
}

#[test]
fn absurd_numbers_keep_bars_in_shape() {
    let numbers = [
        "0",
        "-1",
        "1",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "1.5",
        "null",
        "\"5\"",
        "[]",
    ];
    let mut lines = vec![FROM.to_owned(), LAYER.to_owned()];
    for step in ["Downloading", "Extracting"] {
        for current in numbers {
            for total in numbers {
                lines.push(format!(
                    r#"{{"status":"{step}","progressDetail":{{"current":{current},"total":{total}}},"id":"abc123"}}"#
                ));
            }
        }
    }
    lines.extend([DONE.to_owned(), STATUS.to_owned()]);
    let (ended, log) = pull_of(whole(lines));
    assert_eq!(ended.code, Some(0), "{log}");
    for text in texts(&log) {
        let cells = text.chars().filter(|c| matches!(c, '█' | '░')).count();
        assert!([0, 40, 50].contains(&cells), "{text}");
    }
}

#[test]
fn signatures_in_urls_are_not_shown() {
    let (_, log) =
        pull_of(whole([FROM, r#"{"error":"Get \"https://127.0.0.1/blob?X-Amz-Signature=s3cret\u0026x=1\": EOF"}"#]));
    assert!(!log.contains("s3cret"), "{log}");
    assert_eq!(text_after(&log, "❌ PULL FAILED: "), "Get \"https://127.0.0.1/blob?…\": EOF");
}
