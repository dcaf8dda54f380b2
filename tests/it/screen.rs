//! The live view on a real pseudo-terminal, read through a terminal emulator.
//!
//! `screen/CASE.txt` is the whole screen after a recording was played up to a moment; `UPDATE=1` renews them. The recording
//! comes through a pipe that is left open then, so the program stays at that moment while the screen is read.

mod disturbed;
mod frames;
mod json;
mod tty;
mod viewer;

use avt::Terminal;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tty::Tty;

const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-pull-with-progress");

/// After this time without output the screen is taken as final: four frames could have been drawn in it.
const QUIET: Duration = Duration::from_millis(400);

/// The sequences at the beginning and at the end of a frame.
const HOLD: &str = "\x1b[?2026h";
const SHOW: &str = "\x1b[?2026l";

const EIGHT: &str = "dockerd-20.10.24/fresh-eight-fast.jsonl";
const RETRIES: &str = "dockerd-20.10.24/reg-rst-once.jsonl";
const KILLED: &str = "dockerd-20.10.24/kill9-dockerd-midpull.jsonl";
const CONTAINERD: &str = "dockerd-28.5.2-containerd/fresh-eight-fast.jsonl";

fn path(fixture: &str) -> String {
    format!("{}/fixtures/{fixture}", env!("CARGO_MANIFEST_DIR"))
}

fn read(fixture: &str) -> String {
    fs::read_to_string(path(fixture)).expect(fixture)
}

/// The lines of a recording up to a moment.
fn until(fixture: &str, seconds: f64) -> String {
    let text = read(fixture);
    let is_before = |line: &&str| {
        let time = line.strip_prefix('[').and_then(|entry| entry.split(',').next());
        time.is_none_or(|time| time.parse::<f64>().expect("a time") < seconds)
    };
    text.lines().take_while(is_before).flat_map(|line| [line, "\n"]).collect()
}

fn check(screen: &str, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/screen").join(name).with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, screen).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{} is\n{expected}\nbut now\n{screen}", path.display());
}

/// Checks that no line of the terminal was wrapped, including those that have scrolled up.
fn assert_nothing_wraps(tty: &Tty, columns: usize) {
    let mut row = String::new();
    for line in tty.raw().replace("\x1b[32m", "").replace("\x1b[0m", "").replace('\r', "").lines() {
        // Drawn by the emulator.
        let mut terminal = Terminal::with_scrollback(columns, 4, None).expect("a terminal");
        terminal.feed(line);
        assert_eq!(terminal.cursor().row, 0, "{columns}: {line}");
        row.push_str(line);
    }
    assert!(!row.is_empty());
}

#[test]
fn whole_screens_at_a_moment() {
    type Case<'a> = (&'a str, &'a str, f64, u16, u16, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 10] = [
        ("80", RETRIES, 18.0, 80, 24, &[]),
        ("60", RETRIES, 18.0, 60, 20, &[]),
        ("200", RETRIES, 18.0, 200, 50, &[]),
        ("opening", RETRIES, 0.02, 80, 24, &[]),
        ("retrying", RETRIES, 4.0, 80, 24, &[]),
        ("extracting", RETRIES, 37.4, 80, 24, &[]),
        ("folded", RETRIES, 0.6, 80, 8, &[]),
        ("console", RETRIES, 18.0, 80, 24, &[("TERM", "linux")]),
        ("ascii", RETRIES, 18.0, 80, 24, &[("LC_ALL", "C")]),
        ("containerd", CONTAINERD, 1.5, 80, 24, &[]),
    ];
    for (name, recording, seconds, columns, rows, env) in cases {
        let mut tty = Tty::at(recording, seconds, columns, rows, env);
        check(&tty.screen(), name);
        assert!(name != "ascii" || tty.raw().is_ascii());
        assert!(name != "console" || !tty.raw().contains("\x1b[?"));
        tty.assert_in_order();
    }
}

#[test]
fn the_end_of_a_success_and_of_a_failure() {
    let cases = [
        ("success", EIGHT, 0, 80, 24),
        ("failure", KILLED, 1, 80, 24),
        ("success-60", EIGHT, 0, 60, 40),
        ("failure-60", KILLED, 1, 60, 40),
        ("success-200", EIGHT, 0, 200, 24),
    ];
    for (name, recording, exit, columns, rows) in cases {
        let mut tty = Tty::at(recording, 1.0, columns, rows, &[]);
        let first = until(recording, 1.0).len();
        tty.feed(&read(recording)[first..]);
        assert_eq!(tty.end().code(), Some(exit));
        check(&tty.screen(), name);
        tty.assert_in_order();
    }
}

#[test]
fn no_line_of_the_live_view_wraps() {
    for recording in [EIGHT, RETRIES, KILLED, CONTAINERD] {
        for columns in [24, 40, 60, 69, 80, 100] {
            for env in [&[][..], &[("LC_ALL", "C")], &[("TERM", "linux")]] {
                let mut tty = Tty::start(columns, 30, env, &["--replay", &path(recording), "--progress", "tty"]);
                tty.end();
                assert_nothing_wraps(&tty, columns.into());
            }
        }
    }
}

#[test]
fn colour_is_green_bars_and_can_be_had_without() {
    let green = |env: &[(&str, &str)]| {
        let tty = Tty::at(RETRIES, 18.0, 80, 24, env);
        tty.raw().matches("\x1b[32m").count()
    };
    assert!(green(&[]) > 4);
    assert_eq!(green(&[("NO_COLOR", "1")]), 0);
}

#[test]
fn where_no_cursor_moves_there_are_lines() {
    for term in ["dumb", ""] {
        let mut tty = Tty::start(80, 24, &[("TERM", term)], &["--replay", &path(EIGHT), "--progress", "tty"]);
        assert_eq!(tty.end().code(), Some(0));
        assert!(!tty.raw().contains(HOLD) && tty.raw().contains("queued"), "{term:?}: {}", tty.raw());
    }
    let output = Command::new(PROGRAM)
        .args(["--replay", &path(EIGHT), "--progress", "tty"])
        .env("TERM", "xterm")
        .output()
        .expect("the program");
    assert!(output.status.success() && !output.stdout.contains(&0x1b));
}
