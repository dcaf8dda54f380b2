//! The live view on a real pseudo-terminal, read through a terminal emulator.
//!
//! `screen/CASE.txt` is the whole screen after a recording was played up to a moment; `UPDATE=1` renews them. The recording
//! comes through a pipe that is left open then, so the program stays at that moment while the screen is read.

mod json;
mod viewer;

use avt::Terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

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

/// The program on a terminal.
struct Tty {
    master: File,
    child: Child,
    recording: Option<ChildStdin>,
    terminal: Terminal,
    /// The text of each read, and its time.
    reads: Vec<(Instant, String)>,
    partial: Vec<u8>,
}

impl Tty {
    fn start(columns: u16, rows: u16, env: &[(&str, &str)], args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other side");
        let path = ptsname(&master, Vec::new()).expect("its name").into_string().expect("in ASCII");
        resize(&master, columns, rows);
        let slave = OpenOptions::new().read(true).write(true).open(path).expect("its other side");
        let mut child = Command::new(PROGRAM)
            .args(args)
            .env_clear()
            .envs([("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(slave.try_clone().expect("a copy"))
            .stderr(slave)
            .spawn()
            .expect("the program");
        let recording = child.stdin.take();
        let terminal = Terminal::with_scrollback(columns.into(), rows.into(), None).expect("a terminal");
        Self { master: File::from(master), child, recording, terminal, reads: Vec::new(), partial: Vec::new() }
    }

    /// Plays a recording up to a moment.
    fn at(recording: &str, seconds: f64, columns: u16, rows: u16, env: &[(&str, &str)]) -> Self {
        let mut tty = Self::start(columns, rows, env, &["--replay", "-", "--progress", "tty"]);
        tty.feed(&until(recording, seconds));
        // On a busy machine the start can take longer than `QUIET`.
        let started = Instant::now();
        while tty.reads.is_empty() && started.elapsed() < Duration::from_secs(20) {
            tty.watch(QUIET);
        }
        assert!(tty.watch(QUIET), "it goes on");
        tty
    }

    fn feed(&mut self, lines: &str) {
        self.recording.as_mut().expect("the pipe").write_all(lines.as_bytes()).expect("a reader");
    }

    /// Reads until there was no output for `quiet`. Returns whether more may follow.
    fn watch(&mut self, quiet: Duration) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: quiet.subsec_nanos().into() };
        let mut buffer = [0; 16 << 10];
        while poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait)).expect("poll") > 0 {
            match self.master.read(&mut buffer) {
                Ok(count @ 1..) => {
                    self.partial.extend_from_slice(&buffer[..count]);
                    let whole = match std::str::from_utf8(&self.partial) {
                        Ok(text) => text.len(),
                        Err(error) => error.valid_up_to(),
                    };
                    let text = String::from_utf8(self.partial.drain(..whole).collect()).expect("checked");
                    self.terminal.feed(text.as_str());
                    self.reads.push((Instant::now(), text));
                }
                // Linux returns EIO when no process has the other side open any more.
                _ => return false,
            }
        }
        true
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.terminal.resize(columns.into(), rows.into());
        resize(&self.master, columns, rows);
    }

    fn press(&mut self, key: &[u8]) {
        self.master.write_all(key).expect("a keyboard");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program");
    }

    /// Waits for the end.
    fn end(&mut self) -> ExitStatus {
        self.recording = None;
        let started = Instant::now();
        while self.watch(QUIET) {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
        }
        self.child.wait().expect("a status")
    }

    /// The screen as text.
    fn screen(&self) -> String {
        let lines = self.terminal.screen().visible_lines();
        let text: Vec<String> = lines.map(|line| line.text().trim_end().to_owned()).collect();
        text.join("\n").trim_end().to_owned() + "\n"
    }

    fn raw(&self) -> String {
        self.reads.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Checks what must always hold: the cursor is visible, below everything, and without colour.
    fn assert_in_order(&mut self) {
        let (cursor, screen) = (self.terminal.cursor(), self.screen());
        let below = screen.lines().count();
        assert!(cursor.visible);
        assert_eq!((cursor.col, cursor.row), (0, below), "{screen}");
        self.terminal.feed("x");
        assert!(self.terminal.screen().line(below).expect("a line").cells()[0].pen().is_default());
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // The program still runs after a failed test, or if the test did not wait for its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a new size");
}

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

#[test]
fn no_more_than_ten_frames_a_second_each_one_write() {
    for speed in ["1", "13"] {
        let mut tty = Tty::start(80, 24, &[], &["--replay", &path(RETRIES), "--speed", speed]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            tty.watch(Duration::from_millis(1));
        }
        tty.signal(Signal::STOP);
        assert!(tty.watch(QUIET));
        let raw = tty.raw();
        let frames = raw.matches(HOLD).count();
        assert!((10..=26).contains(&frames), "{frames} frames in 2.5 s");
        // The kernel counts the calls of write(2).
        let io = fs::read_to_string(format!("/proc/{}/io", tty.child.id())).expect("its counts");
        let writes = io.lines().find_map(|line| line.strip_prefix("syscw: ")).expect("the count");
        assert_eq!(writes, frames.to_string());
        assert!(raw.starts_with(HOLD) && raw.ends_with(SHOW) && raw.matches(SHOW).count() == frames, "{raw:?}");
        assert!(!raw.contains("\x1b[2J") && !raw.contains("\x1b[H"), "clears the screen: {raw:?}");
    }
}

#[test]
fn as_fast_as_possible_draws_few_frames() {
    let mut tty = Tty::at(RETRIES, 1.0, 80, 24, &[]);
    let row = |done: u32| {
        let detail = format!(r#""progressDetail":{{"current":{},"total":120036820}}"#, 10_000_000 + done * 100);
        format!("[2.0,\"e\",{{\"status\":\"Downloading\",{detail},\"id\":\"1e8e54156f91\"}}]\n")
    };
    let lines: String = (0..20_000).map(row).collect();
    let mut pipe = tty.recording.take().expect("the pipe");
    let feeder = std::thread::spawn(move || {
        let _ = pipe.write_all(lines.as_bytes());
        pipe
    });
    let begun = Instant::now();
    assert!(tty.watch(QUIET));
    let frames = tty.raw().matches(HOLD).count();
    assert!(frames as u128 <= begun.elapsed().as_millis() / 100 + 3, "{frames} frames");
    drop(feeder.join());
}

#[test]
fn nothing_is_written_when_nothing_moves() {
    let mut tty = Tty::at(RETRIES, 18.0, 80, 24, &[]);
    let reads = tty.reads.len();
    std::thread::sleep(Duration::from_secs(1));
    assert!(tty.watch(QUIET));
    assert_eq!(tty.reads.len(), reads);
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
