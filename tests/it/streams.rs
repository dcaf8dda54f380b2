//! Unusual streams of engines: numbers without meaning, layers that start again, captures that were cut, objects without a line
//! end.
//!
//! Mostly recordings, with times that no test could wait for.

mod captures;

use crate::goldens::{CASES, check_log, recording};
use crate::support::{
    Ended, Engine, LAST_CHUNK, Running, Step, Temp, chunk, engine_lines, eventually, head, program, run, run_with,
    stream, texts,
};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const FROM: &str = r#"{"status":"Pulling from a","id":"1"}"#;
const LAYER: &str = r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#;
const STATUS: &str = r#"{"status":"Status: Downloaded newer image for a:1"}"#;

/// An event of the layer `abc`.
fn abc(status: &str, detail: &str) -> String {
    format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"abc"}}"#)
}

fn downloading(detail: impl AsRef<str>) -> String {
    abc("Downloading", detail.as_ref())
}

fn bytes(current: u64, total: u64) -> String {
    downloading(format!("\"current\":{current},\"total\":{total}"))
}

/// Replays these events at these seconds, followed by a success ten seconds later.
fn play(events: &[(u64, String)], more: &[&str]) -> (Ended, String) {
    let temp = Temp::new();
    let end = events.last().map_or(0, |(at, _)| at + 10);
    let mut rows = vec![r#"{"version":1,"image":"a:1","started":"2025-11-19T10:30:00.000Z"}"#.to_owned()];
    rows.extend(events.iter().map(|(at, line)| format!("[{at}.0,\"e\",{line}]")));
    rows.push(format!("[{end},\"e\",{STATUS}]"));
    rows.push(format!("[{end},\"x\",{{\"end\":\"complete\"}}]"));
    let path = temp.write("r.jsonl", rows.join("\n") + "\n");
    let ended = run(program(&temp).args(["--replay", &path, "--log", &temp.at("log")]).args(more));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{rows:?}");
    check_log(&temp.read("log"), &rows.join("\n"));
    (ended, temp.read("log"))
}

/// The events of one layer, beginning with its announcement, this many seconds apart.
fn every(seconds: u64, lines: impl IntoIterator<Item = String>) -> Vec<(u64, String)> {
    let begin = [(0, FROM.to_owned()), (0, LAYER.to_owned())];
    begin.into_iter().chain((1..).map(|n| n * seconds).zip(lines)).collect()
}

/// The lines about the layer `abc`, without their common beginning.
fn of_abc(log: &str) -> Vec<String> {
    texts(log).iter().filter_map(|text| text.split_once("Layer abc")).map(|(_, what)| what.to_owned()).collect()
}

#[test]
fn a_layer_of_unknown_size_shows_its_bytes() {
    let smallest = format!(",\"total\":{}", i64::MIN);
    for total in [
        "",
        ",\"total\":-1",
        ",\"total\":0",
        ",\"total\":5",
        ",\"total\":1.5",
        ",\"total\":null",
        ",\"total\":\"x\"",
        &smallest,
    ] {
        let lines = (1..=7).map(|n| downloading(format!("\"current\":{}{total}", n * 1_500_000)));
        let (_, log) = play(&every(1, lines), &[]);
        let expected =
            [" queued (total: 1 layers)", ": 1MB", ": 4MB", ": 7MB", ": 10MB", ": Complete (1/1), 10MB in 16s"];
        assert_eq!(of_abc(&log), expected, "{total}: {log}");
        assert!(texts(&log).contains(&"Downloaded: ≥10MB in 17s (617KB/s)"), "{total}: {log}");
    }
}

#[test]
fn programs_get_the_bytes_without_a_total() {
    let lines = (1..=3).map(|n| downloading(format!("\"current\":{}", n * 2_000_000)));
    let (ended, _) = play(&every(2, lines), &["--progress", "json"]);
    let rows = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let rows: Vec<Value> = rows.filter(|row| row["id"] == "abc" && row["text"] == "Downloading").collect();
    let current: Vec<_> = rows.iter().map(|row| row["current"].as_u64()).collect();
    assert_eq!(current, [Some(2_000_000), Some(4_000_000), Some(6_000_000)]);
    assert!(rows.iter().all(|row| row.get("total").is_none() && row.get("percent").is_none()), "{rows:?}");
}

#[test]
fn what_changes_is_movement_and_what_is_repeated_is_none() {
    let check = |name: &str, begin: &[String], line: &dyn Fn(u64) -> String, moves: bool| {
        // Half a minute apart, for five minutes.
        let events = every(30, begin.iter().cloned().chain((0..10).map(line)));
        let (_, log) = play(&events, &[]);
        assert_eq!(!log.contains('⏳'), moves, "{name}: {log}");
    };
    let none: &[String] = &[];
    check("bytes", none, &|n| bytes(n * 1000, 9_000_000), true);
    check("the same bytes", none, &|_| bytes(1000, 9_000_000), false);
    for total in
        ["", ",\"total\":-1", ",\"total\":0", ",\"total\":1", ",\"total\":9223372036854775808", ",\"total\":2.5"]
    {
        check(total, none, &|n| downloading(format!("\"current\":{}{total}", 10 + n)), true);
        check(total, none, &|_| downloading(format!("\"current\":10{total}")), false);
    }
    check("negative", none, &|n| downloading(format!("\"current\":-{n},\"total\":9")), true);
    check("floats", none, &|n| downloading(format!("\"current\":{n}.5,\"total\":90.0")), true);
    check("the same float", none, &|_| downloading("\"current\":1.5,\"total\":90.0"), false);
    check("a total that changes", none, &|n| bytes(5, 90 + n), true);
    check("less than before", &[bytes(5000, 9000)], &|n| bytes(n, 9000), true);
    check("from its beginning", &[bytes(5000, 9000), abc("Retrying in 5 seconds", "")], &|n| bytes(n, 9000), true);
    check("a wait counted down", none, &|n| abc(&format!("Retrying in {} seconds", 90 - n), ""), false);
    check("without numbers", none, &|_| downloading(""), false);
    check("seconds", none, &|n| abc("Extracting", &format!("\"current\":{n},\"units\":\"s\"")), false);
    check("extracting", none, &|n| abc("Extracting", &format!("\"current\":{n},\"total\":90")), true);
    check("extracting the same", none, &|_| abc("Extracting", "\"current\":5,\"total\":90"), false);
    check("extracting without a total", none, &|n| abc("Extracting", &format!("\"current\":{n}")), true);
    check(
        "extracting more than there is",
        none,
        &|n| abc("Extracting", &format!("\"current\":{},\"total\":9", 50 + n)),
        true,
    );
    let cached = &[abc("Already exists", "")];
    check("extracting what was there", cached, &|n| abc("Extracting", &format!("\"current\":{n},\"total\":90")), true);
    check("verifying", none, &|n| abc("Verifying Checksum", &format!("\"current\":{n},\"total\":90")), true);
    let here = &[bytes(5, 9), abc("Download complete", ""), abc("Pull complete", "")];
    check("after its end", here, &|n| bytes(n, 900), true);
    check("what is no layer", none, &|n| bytes(n, 900).replace("abc", "def"), true);
    check("the same of what is no layer", none, &|_| bytes(5, 900).replace("abc", "def"), false);
}

#[test]
fn a_layer_that_starts_again_says_so_once() {
    let retry = |from: u64| (1..=from).rev().map(|n| abc(&format!("Retrying in {n} seconds"), ""));
    let lines = [bytes(20_000_000, 50_000_000), bytes(50_000_000, 50_000_000)]
        .into_iter()
        .chain(retry(2))
        .chain([5, 9, 30].map(|n| bytes(n * 1_000_000, 50_000_000)))
        .chain([abc("Download complete", ""), abc("Pull complete", "")]);
    let (_, log) = play(&every(2, lines), &["--no-raw"]);
    let bar = |full: usize, rest: &str| format!(": [{}{}] {rest}", "█".repeat(full), "░".repeat(40 - full));
    let expected = [
        " queued (total: 1 layers)".to_owned(),
        bar(16, "40% (20MB / 50MB)"),
        ": retrying in 2s".to_owned(),
        ": starts again".to_owned(),
        bar(4, "10% (5MB / 50MB)"),
        bar(7, "18% (9MB / 50MB)"),
        bar(24, "60% (30MB / 50MB)"),
        bar(40, "100% (50MB / 50MB)"),
        ": Download complete".to_owned(),
        ": Complete (1/1), 50MB in 16s".to_owned(),
    ];
    assert_eq!(of_abc(&log), expected, "{log}");
    // Bytes that were downloaded twice are counted twice; the overall progress does not change during the second time.
    assert!(texts(&log).iter().any(|text| text.starts_with("Downloaded: 70MB in ")), "{log}");
    let whole: Vec<_> = texts(&log).into_iter().filter(|text| text.starts_with("Overall")).collect();
    assert!(whole[0].contains("28% (20MB / 50MB"), "{log}");
    // If the total is only the rest, the layer does not start again.
    let lines = [bytes(20_000_000, 50_000_000)].into_iter().chain(retry(2)).chain([bytes(1_000_000, 29_000_000)]);
    let (_, log) = play(&every(2, lines), &[]);
    assert!(!log.contains("starts again") && log.contains("44% (22MB / 50MB)"), "{log}");
}

/// A layer that is there can still have to be extracted. It was counted already, so its bar ends it.
#[test]
fn a_layer_that_is_extracted_although_it_exists_ends_full() {
    let extracting = |n: u64| abc("Extracting", &format!("\"current\":{n},\"total\":90"));
    let bar =
        |full: usize, percent: u64| format!(": Extracting [{}{}] {percent}%", "█".repeat(full), "░".repeat(40 - full));
    let begin = [abc("Already exists", "")].into_iter().chain([9, 45, 80].map(extracting));
    for end in [vec![abc("Pull complete", ""), abc("Pull complete", "")], vec![]] {
        let (_, log) = play(&every(2, begin.clone().chain(end.clone())), &["--no-raw"]);
        let expected = [
            " queued (total: 1 layers)".to_owned(),
            ": Already cached (1/1)".to_owned(),
            ": Extracting...".to_owned(),
            bar(20, 50),
            bar(35, 88),
            bar(40, 100),
        ];
        assert_eq!(of_abc(&log), expected, "{end:?}: {log}");
        assert!(texts(&log).contains(&"Layers: 1/1 completed"), "{log}");
    }
    // Seconds, as the containerd store shows them, are no bar, and end without one.
    let seconds = |n: u64| abc("Extracting", &format!("\"current\":{n},\"units\":\"s\""));
    let lines = [abc("Already exists", "")].into_iter().chain((1..5).map(seconds)).chain([abc("Pull complete", "")]);
    let (_, log) = play(&every(2, lines), &["--no-raw"]);
    assert_eq!(of_abc(&log)[1..], [": Already cached (1/1)", ": Extracting..."], "{log}");
}

#[test]
fn a_pull_that_begins_anew_at_another_endpoint_goes_on() {
    for size in [",\"total\":50000000", ""] {
        let of = |n: u64| downloading(format!("\"current\":{}{size}", n * 1_000_000));
        let whole = |n: u64| [of(n), abc("Download complete", "")];
        let again = [FROM.to_owned(), LAYER.to_owned()];
        let once = whole(40).into_iter().chain([abc("Pull complete", "")]);
        let lines = once.chain(again).chain(whole(10)).chain([abc("Pull complete", "")]);
        let (_, log) = play(&every(2, lines), &["--no-raw"]);
        let shown = texts(&log);
        assert_eq!(shown.iter().filter(|text| text.starts_with("🔄 Pulling from")).count(), 2, "{log}");
        for (text, count) in [("queued", 1), ("starts again", 1), ("Download complete", 2), ("Complete (1/1)", 1)] {
            assert_eq!(of_abc(&log).iter().filter(|what| what.contains(text)).count(), count, "{text}: {log}");
        }
        let count = if size.is_empty() { "Downloaded: ≥50MB in " } else { "Downloaded: 100MB in " };
        assert!(shown.iter().any(|text| text.starts_with(count)), "{log}");
    }
}

/// Small layers are often finished without a report of their bytes; then a mirror fails, and they are downloaded again.
#[test]
fn the_overall_progress_never_goes_back_when_a_finished_layer_is_downloaded_again() {
    let other = |line: String| line.replace("abc", "def");
    let lower = |log: &str| {
        let bars = texts(log).into_iter().filter_map(|text| text.strip_prefix("Overall Progress: [")?.split_once("] "));
        let percents: Vec<u32> = bars.filter_map(|(_, rest)| rest.split_once('%')?.0.parse().ok()).collect();
        assert!(percents.iter().filter(|percent| (1..100).contains(*percent)).count() > 4, "{log}");
        percents.windows(2).any(|two| two[1] < two[0])
    };
    for begin in [
        vec![abc("Download complete", ""), abc("Pull complete", "")],
        vec![abc("Verifying Checksum", ""), abc("Download complete", "")],
        vec![abc("Already exists", "")],
    ] {
        let again = [FROM.to_owned(), LAYER.to_owned(), other(LAYER.to_owned())];
        let slowly = |n: u64| [bytes(n * 1_000_000, 70_000_000), other(bytes(n * 1_000_000, 50_000_000))];
        let lines =
            [other(LAYER.to_owned())].into_iter().chain(begin.clone()).chain(again).chain((1..7).flat_map(slowly));
        let (_, log) = play(&every(8, lines), &[]);
        assert!(!lower(&log), "{begin:?}: {log}");
    }
}

#[test]
fn the_stall_limit_counts_movement_of_every_kind() {
    let temp = Temp::new();
    let line = |n: u64| downloading(format!("\"current\":{},\"total\":-1", n * 1000));
    let mut steps = vec![Step::Write([head(), chunk(FROM), chunk(LAYER)].concat())];
    steps.extend((0..8).flat_map(|n| [Step::Wait, Step::Write(chunk(line(n)))]));
    steps.push(Step::Write([chunk(STATUS), LAST_CHUNK.to_vec()].concat()));
    let engine = Engine::new(&temp, steps);
    let args = ["--stall-timeout", "1", "--retries", "0", "--no-log", "--host", &engine.host(), &temp.image()];
    let running = Running::start(program(&temp).args(args));
    assert!(eventually(Duration::from_secs(10), || engine.requests().len() >= 2));
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(400));
        engine.go();
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // The containerd store repeats the same numbers: that is no movement.
    let temp = Temp::new();
    let begin = Step::Write([head(), chunk(FROM), chunk(LAYER)].concat());
    let engine = Engine::new(&temp, vec![begin, Step::Endless(chunk(line(5)))]);
    let args = ["--stall-timeout", "1", "--retries", "0", "--no-log", "--host", &engine.host(), &temp.image()];
    let ended = run(program(&temp).args(args));
    assert!(ended.code == Some(1) && ended.stdout.contains("nothing has moved for 1s"), "{ended:?}");
}
