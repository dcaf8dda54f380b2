//! `--progress json`: the lines of each recording, and what they have in common with the log.

use super::{EIGHT, PROGRAM, RETRIES, path, read, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn start_json(env: &[(&str, &str)]) -> Child {
    Command::new(PROGRAM)
        .args(["--replay", "-", "--progress", "json"])
        .env("LC_ALL", "C.UTF-8")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program")
}

/// The output of `--progress json` for a recording, as text and parsed, and the exit code.
fn json(recording: String, env: &[(&str, &str)]) -> (String, Vec<Value>, i32) {
    let mut child = start_json(env);
    let mut pipe = child.stdin.take().expect("the pipe");
    let feeder = std::thread::spawn(move || drop(pipe.write_all(recording.as_bytes())));
    let output = child.wait_with_output().expect("an end");
    feeder.join().expect("fed");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let rows = text.lines().map(parse).collect();
    (text, rows, output.status.code().expect("a code"))
}

#[test]
fn every_capture_is_json_and_ends_with_its_end() {
    let mut count = 0;
    for engine in fs::read_dir(path("")).expect("fixtures").flatten() {
        for file in fs::read_dir(engine.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_none_or(|kind| kind != "jsonl") {
                continue;
            }
            let (text, rows, exit) = json(fs::read_to_string(file.path()).expect("a recording"), &[]);
            let last = rows.last().unwrap_or_else(|| panic!("{}: silent", file.path().display()));
            assert_eq!(last["exit"], exit, "{text}");
            assert_eq!(last["text"] == "Failed", exit != 0, "{text}");
            assert_eq!(rows.iter().filter(|row| !row["exit"].is_null()).count(), 1, "{text}");
            assert!(last["details"].is_string() || exit == 0, "{text}");
            for row in &rows {
                assert!(row["time"].is_string() && row["id"].is_string() && row["text"].is_string(), "{row}");
                assert!(["Working", "Done", "Warning", "Error"].contains(&row["status"].as_str().expect("a status")));
                assert!(row["parent_id"].is_null() || row["parent_id"] == last["id"], "{row}");
            }
            count += 1;
        }
    }
    assert!(count > 3);
}

#[test]
fn the_words_of_json() {
    let (text, rows, _) = json(read(EIGHT), &[]);
    let find = |what: &str, of: &str| rows.iter().find(|row| row["text"] == what && row["id"] == of).expect(&text);
    let row = find("Downloading", "1e8e54156f91");
    let (current, total) = (row["current"].as_u64().expect("bytes"), row["total"].as_u64().expect("bytes"));
    assert_eq!(row["percent"], current * 100 / total);
    assert_eq!(row["parent_id"], "127.0.0.1:5000/eight:latest");
    let row = find("Pull complete", "5b3348b0b36b");
    assert!(row["status"] == "Done" && row["percent"] == 100, "{row}");
    let last = rows.last().expect("an end");
    assert!(last["id"] == "127.0.0.1:5000/eight:latest" && last["text"] == "Pulled" && last["status"] == "Done");
    assert!(last["layers"] == 8 && last["percent"] == 100 && last["seconds"] == 3.009, "{last}");
    assert!(last["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{last}");
    assert!(last["details"].as_str().is_some_and(|status| status.starts_with("Downloaded newer image")), "{last}");
    assert!(last["bytes"].as_u64() > Some(220_000_000), "{last}");
}

/// The overall progress in JSON has the same times and values as in the log.
#[test]
fn the_whole_in_json_is_the_whole_of_the_log() {
    let cases = [RETRIES, "dockerd-28.5.2-containerd/fresh-three.jsonl", "podman-5.4.2/reg-down-and-back.jsonl"];
    for recording in cases {
        let (_, rows, _) = json(read(recording), &[]);
        let image = &rows.last().expect("an end")["id"];
        let is_whole = |row: &&Value| row["id"] == *image && row["exit"].is_null() && !row["percent"].is_null();
        let overall: Vec<&Value> = rows.iter().filter(is_whole).collect();
        let log = read(&recording.replace(".jsonl", ".log"));
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("Overall Progress: ")).collect();
        // The last of these lines belongs to the closing block.
        let lines = &lines[..lines.len() - 1];
        assert!(!lines.is_empty() && overall.len() == lines.len(), "{lines:?}\n{overall:?}");
        for (row, line) in overall.iter().zip(lines) {
            let number = |name: &str| row[name].as_u64();
            assert!(row["status"] == "Working" && row["parent_id"].is_null(), "{row}");
            assert!(row["text"] == "Downloading" || row["text"] == "Extracting", "{row}");
            assert!(line.contains(&format!("] {}%", row["percent"])), "{line}: {row}");
            assert!(number("current") <= number("total") && number("current").is_some(), "{row}");
            let bound = if row["exact"] == true { "" } else { "≥" };
            let total = format!(" / {bound}{}MB", number("total").expect("bytes") / 1_000_000);
            assert!(line.contains(&total) || number("total") > Some(1_000_000_000), "{line}: {row}");
            assert_eq!(line.contains(" left)"), row["left"].is_u64(), "{line}: {row}");
            assert_eq!(line.contains("B/s"), row["rate"].is_u64(), "{line}: {row}");
            // The same times as in the log, to the second.
            assert_eq!(row["time"].as_str().map(|time| &time[11..19]), Some(&line[12..20]), "{line}: {row}");
        }
    }
}

#[test]
fn hostile_text_stays_text_in_json() {
    let hostile = r#"{"version":1,"image":"a\"b\u001b[2J:é","started":"2025-11-19T10:30:15.250+05:30"}
[0.1,"e",{"status":"Pulling fs layer","progressDetail":{},"id":"\"}\n\u009b\u202e📦"}]
[0.2,"e",{"errorDetail":{"message":"\"quoted\" \\ https://x/?Signature=secret\n{"},"error":""}]
[0.2,"x",{"end":"complete"}]
"#;
    for env in [&[][..], &[("LC_ALL", "C")]] {
        let (text, rows, exit) = json(hostile.to_owned(), env);
        assert_eq!((rows.len(), exit), (3, 1), "{text}");
        assert!(!text.contains(['\u{9b}', '\u{202e}']) && !text.contains("secret"), "{text}");
        assert_eq!(text.is_ascii(), !env.is_empty());
        assert_eq!(rows[1]["id"], "\"}\\u{a}\\u{9b}\\u{202e}📦");
        assert_eq!(rows[2]["time"], "2025-11-19T10:30:15.450+05:30");
    }
}

#[test]
fn json_ends_with_its_end_on_a_signal_too() {
    let mut child = start_json(&[]);
    let fed = until(RETRIES, 3.0);
    child.stdin.as_mut().expect("the pipe").write_all(fed.as_bytes()).expect("fed");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).expect("the program");
    let mut text = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut text).expect("UTF-8");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert!(last["text"] == "Failed" && last["exit"] == 130, "{last}");
    assert_eq!(last["details"], "interrupted by SIGINT");
}
