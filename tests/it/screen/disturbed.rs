//! What disturbs a live view: another size, a signal, Ctrl-S, a complaint, a terminal that is closed.

use super::*;
use rustix::process::Signal;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

#[test]
fn a_new_size_is_painted_anew() {
    let mut tty = Tty::at(RETRIES, 18.0, 80, 40, &[]);
    for (columns, name) in [(60, "resized-60"), (130, "resized-130"), (80, "resized-80")] {
        tty.resize(columns, 40);
        tty.signal(Signal::WINCH);
        assert!(tty.watch(QUIET));
        check(&tty.screen(), name);
        if name == "resized-60" {
            // The wrapped lines have pushed others into the history; no line of the log was overwritten.
            let all = tty.terminal.screen().text().join("\n");
            check(&(all.trim_end().to_owned() + "\n"), "resized-history");
        }
    }
    tty.assert_in_order();
}

#[test]
fn sigterm_leaves_the_terminal_in_order() {
    for speed in ["1", "0.02"] {
        let mut tty = Tty::start(80, 24, &[], &["--replay", &path(RETRIES), "--speed", speed]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            tty.watch(Duration::from_millis(50));
        }
        let shown = Instant::now();
        tty.signal(Signal::TERM);
        assert_eq!(tty.end().code(), Some(143));
        let screen = tty.screen();
        assert!(screen.contains("🛑 PULL INTERRUPTED (SIGTERM)"), "{screen}");
        assert!(screen.contains(" Stopped at: [") && !screen.contains(" Overall Progress: ["), "{screen}");
        assert!(screen.ends_with("==========================================\n"), "{screen}");
        assert!(speed != "1" || screen.contains("\n1e8e54156f91 Downloading  ["), "what was under way: {screen}");
        let last = tty.reads.last().expect("a closing block").0;
        // 100 ms on an idle machine.
        assert!(last - shown < Duration::from_millis(400), "{:?}", last - shown);
        tty.assert_in_order();
    }
}

/// What the shell and its user write while the program is stopped (Ctrl-Z) or in the background stays as it is.
#[test]
fn a_program_that_was_stopped_draws_over_nothing() {
    let mut tty = Tty::shell(80, 24);
    tty.press(format!("{PROGRAM} --replay {} --speed 0.2\n", path(RETRIES)).as_bytes());
    assert!(tty.shows("Downloading  ["), "{}", tty.screen());
    let ctrl_z = b"\x1a";
    tty.press(ctrl_z);
    assert!(tty.shows("Stopped"), "{}", tty.screen());
    tty.press(b"clear; seq -s- 1 5; fg\n");
    assert!(tty.shows("Downloading  ["), "{}", tty.screen());
    // It goes on in place: no row twice.
    tty.watch(Duration::from_millis(300));
    let screen = tty.screen();
    let foreign = screen.find("1-2-3-4-5\n").expect("what was written meanwhile");
    assert!(foreign < screen.find("Downloading  [").expect("bars"), "{screen}");
    assert_eq!(screen.matches("Overall").count(), 1, "{screen}");
    tty.press(ctrl_z);
    tty.press(b"clear; bg\n");
    tty.watch(QUIET);
    tty.press(b"seq -s- 6 9\n");
    assert!(tty.shows("6-7-8-9\n"), "{}", tty.screen());
    let began = Instant::now();
    while began.elapsed() < QUIET {
        tty.watch(QUIET);
    }
    let screen = tty.screen();
    assert!(screen.contains("6-7-8-9\n") && !screen.contains("Overall"), "{screen}");
    tty.press(b"fg\n");
    assert!(tty.shows("Overall"), "{}", tty.screen());
    let screen = tty.screen();
    assert!(screen.find("6-7-8-9\n") < screen.find("Overall"), "{screen}");
    tty.press(b"\x03");
    assert!(tty.shows("PULL INTERRUPTED (SIGINT)"), "{}", tty.screen());
    tty.press(b"exit\n");
    tty.end();
}

#[test]
fn a_stopped_terminal_misses_frames_but_no_lines() {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stopped.log");
    let _ = fs::remove_file(&log);
    let mut tty = Tty::start(80, 24, &[], &["--replay", "-", "--log", log.to_str().expect("UTF-8")]);
    let (first, all) = (until(RETRIES, 1.0), until(RETRIES, 18.0));
    tty.feed(&first);
    assert!(tty.watch(QUIET));
    let ctrl_s = b"\x13";
    tty.press(ctrl_s);
    tty.feed(&all[first.len()..]);
    let reads = tty.reads.len();
    assert!(tty.watch(QUIET));
    assert_eq!(tty.reads.len(), reads);
    assert!(fs::read_to_string(&log).expect("a log").contains("[2026-11-23 17:39:43] ⬇️  Layer 1e8e54156f91"));
    let ctrl_q = b"\x11";
    tty.press(ctrl_q);
    assert!(tty.watch(QUIET));
    check(&tty.screen(), "80");
    tty.assert_in_order();
}

#[test]
fn a_complaint_in_the_middle_is_a_line_of_its_own() {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("complaint.log");
    let _ = fs::remove_file(&log);
    let mut tty = Tty::start(80, 24, &[], &["--replay", "-", "--log", log.to_str().expect("UTF-8")]);
    let (first, all) = (until(RETRIES, 1.0), until(RETRIES, 18.0));
    tty.feed(&first);
    assert!(tty.watch(QUIET));
    // The log cannot be opened again, because there is a directory in its place.
    fs::remove_file(&log).expect("removed");
    fs::create_dir(&log).expect("a directory");
    tty.feed(&all[first.len()..]);
    assert!(tty.watch(QUIET));
    fs::remove_dir(&log).expect("removed");
    let screen = tty.screen();
    let mut expected = fs::read_to_string(path("../tests/it/screen/80.txt")).expect("the screen without it");
    let complaint: Vec<_> = screen.lines().filter(|line| line.contains("docker-pull-with-progress")).collect();
    let [complaint] = complaint[..] else { panic!("{screen}") };
    assert!(complaint.starts_with("docker-pull-with-progress: log /"), "{screen}");
    // The message may be wrapped, but must not replace another line.
    expected.retain(|c| c != '\n');
    let rest: String = screen.lines().filter(|line| expected.contains(line)).collect();
    assert_eq!(rest, expected, "{screen}");
    tty.assert_in_order();
}

#[test]
fn a_terminal_that_is_gone_does_not_stop_the_session() {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gone.log");
    let _ = fs::remove_file(&log);
    let mut tty = Tty::start(80, 24, &[], &["--replay", "-", "--log", log.to_str().expect("UTF-8")]);
    let first = until(RETRIES, 1.0);
    tty.feed(&first);
    assert!(tty.watch(QUIET));
    // The terminal hangs up when the other side is closed.
    tty.master = File::open("/dev/null").expect("nothing");
    tty.feed(&read(RETRIES)[first.len()..]);
    tty.recording = None;
    assert_eq!(tty.child.wait().expect("a status").code(), Some(0));
    assert!(fs::read_to_string(&log).expect("a log").contains("✅ PULL SUCCESSFUL"));
}
