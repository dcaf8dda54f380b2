//! `alm pull` on a terminal: its lines fit the width, also after a resize.

use super::{QUIET, Tty, assert_nothing_wraps, check, read};
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn the_viewer_fits_its_lines() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let log = directory.join("viewed.log");
    let log = log.to_str().expect("UTF-8");
    let torn = format!("{}{}\n", read("dockerd-20.10.24/kill9-dockerd-midpull.log"), "\0".repeat(3000));
    fs::write(log, torn).expect("a log");
    // The path of the log is not compared.
    let heading = format!("Log of image pulls: {log}");
    for (columns, name) in [(60, "view-60"), (80, "view-80"), (200, "view-200")] {
        for (locale, suffix) in [("C.UTF-8", ""), ("C", "-ascii")] {
            let mut tty = Tty::start(columns, 70, &[("LC_ALL", locale)], &["--view", "--log", log]);
            assert_eq!(tty.end().code(), Some(0));
            assert_nothing_wraps(&tty, columns.into());
            let screen = tty.screen();
            assert!(screen.replace(['\n', ' '], "").starts_with(&heading.replace(' ', "")), "{screen}");
            let first =
                screen.lines().position(|line| line.starts_with("2026") || line.starts_with('[')).expect("a line");
            let shown: String = screen.lines().skip(first).flat_map(|line| [line, "\n"]).collect();
            check(&shown, &format!("{name}{suffix}"));
            assert!(suffix.is_empty() || tty.raw().is_ascii());
        }
    }
}

#[test]
fn the_viewer_follows_a_terminal_that_is_resized() {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("resized.log");
    fs::write(&log, "").expect("a log");
    let mut tty = Tty::start(200, 40, &[], &["--view", "-f", "--log", log.to_str().expect("UTF-8")]);
    let bar = read("dockerd-20.10.24/kill9-dockerd-midpull.log");
    let bar = bar.lines().find(|line| line.contains("Layer") && line.contains('█')).expect("a bar");
    let wait_for = |tty: &mut Tty, rows: usize| {
        let mut file = OpenOptions::new().append(true).open(&log).expect("the log");
        writeln!(file, "{bar}").expect("written");
        let started = Instant::now();
        while tty.raw().matches('%').count() < rows {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", tty.raw());
            tty.watch(QUIET);
        }
        tty.raw().lines().last().expect("a line").replace("\x1b[32m", "").replace("\x1b[0m", "").chars().count()
    };
    let wide = wait_for(&mut tty, 1);
    tty.resize(80, 40);
    let narrow = wait_for(&mut tty, 2);
    tty.resize(60, 40);
    let narrower = wait_for(&mut tty, 3);
    assert!(wide > 80 && narrow <= 80 && narrow > 60 && narrower <= 60, "{wide} {narrow} {narrower}");
    tty.signal(Signal::INT);
    assert_eq!(tty.end().code(), Some(130));
}
