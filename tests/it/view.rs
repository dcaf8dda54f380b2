//! The viewer of the log.
//!
//! No test depends on speed: every expected event is waited for, and limits are many times the usual duration.

mod files;
mod follow;
mod follower;

use follower::Follower;
use rustix::process::Signal;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_docker-pull-with-progress");
const GREEN: &str = "[2025-11-19 10:30:17] ⬇️  Layer abc: \x1b[32m[██░░]\x1b[0m 50% (5MB / 10MB)\n";
const BARE: &str = "[2025-11-19 10:30:17] ⬇️  Layer abc: [██░░] 50% (5MB / 10MB)\n";
const ASCII: &str = "[2025-11-19 10:30:17] DOWN Layer abc: [##..] 50% (5MB / 10MB)\n";

/// The directory of one test, with a log in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("view-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(name: &str, log: impl AsRef<[u8]>) -> Self {
        let place = Self::new(name);
        fs::write(place.log(), log).unwrap();
        place
    }

    fn log(&self) -> PathBuf {
        self.0.join("docker-pull.log")
    }

    fn old(&self) -> PathBuf {
        self.0.join("docker-pull.log.1")
    }

    fn append(&self, text: &str) {
        append(&self.log(), text);
    }

    /// `alm-pull` with these arguments, for this log, with only a locale in the environment.
    fn alm(&self, args: &str) -> Command {
        let mut command = program("alm-pull", args);
        command.arg("--log").arg(self.log());
        command
    }

    fn shows(&self, args: &str, expected: &str) {
        let (code, stdout, stderr) = run(&mut self.alm(args));
        assert_eq!((code, &*stdout, &*stderr), (0, expected, ""), "{args}");
    }

    fn follow(&self, args: &str) -> Follower {
        Follower::new(&mut self.alm(&format!("-f {args}")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn program(name: &str, args: &str) -> Command {
    let mut command = Command::new(EXE);
    command.arg0(name).args(args.split_whitespace()).env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The output of `alm-pull` with `args` on a terminal.
fn on_terminal(place: &Place, environment: &str, args: &str) -> String {
    let line = format!("{environment} exec -a alm-pull {EXE} --log {} {args}", place.log().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/bash");
    let (code, stdout, _) = run(command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").stdin(Stdio::null()));
    assert_eq!(code, 0);
    stdout.replace("\r\n", "\n")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}

fn lines(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.fold(String::new(), |mut text, number| {
        writeln!(text, "[2025-11-19 10:30:17] line {number}").unwrap();
        text
    })
}

#[test]
fn names_help_and_wrong_usage() {
    let says = |name, args, expected: &str| {
        let (code, stdout, stderr) = run(&mut program(name, args));
        assert!(code == 0 && stderr.is_empty() && stdout.starts_with(expected), "{name} {args}: {stdout}{stderr}");
    };
    says("alm", "", "Usage: alm pull");
    says("alm", "help", "Usage: alm pull");
    says("alm", "--help", "Usage: alm pull");
    says("alm", "--version", "docker-pull-with-progress ");
    for (name, args) in [("/usr/bin/alm", "pull --help"), ("alm-pull", "-h"), ("any", "--view --help")] {
        says(name, args, "Shows the progress");
    }
    let refuses = |name, args, reason: &str| {
        let (code, stdout, stderr) = run(&mut program(name, args));
        assert_eq!((code, stdout.len(), stderr.lines().count()), (2, 0, 1), "{name} {args}: {stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    };
    refuses("alm", "push", "unknown command 'push'");
    refuses("alm", "-x", "'-x'");
    refuses("alm", "pull --nonsense", "'--nonsense'");
    refuses("alm-pull", "more", "more");
    refuses("alm-pull", "-n", "-n");
    refuses("alm-pull", "-n many", "whole number, not 'many'");
    refuses("any", "--view -n -1", "whole number");
}

#[test]
fn the_last_lines_without_the_raw_ones() {
    let mut log = String::new();
    for number in 1..=120 {
        log += "[10:30:16] {\"status\":\"Waiting\"}\n[10:30:16] not even JSON\n[10:30:16] \n";
        log += &lines(number..=number);
    }
    let place = Place::with("last", &log);
    place.shows("", &lines(71..=120));
    place.shows("-n 3", &lines(118..=120));
    place.shows("--lines=1", &lines(120..=120));
    place.shows("-n0", "");
    place.shows("-n 1000", &lines(1..=120));
    place.shows(
        "-n 3 --raw",
        &format!("[10:30:16] not even JSON\n[10:30:16]\n{}", lines(120..=120)).replace("16]\n", "16] \n"),
    );
    place.append("[2025-11-19 10:30:17] half");
    place.shows("-n 2", &format!("{}[2025-11-19 10:30:17] half\n", lines(120..=120)));
    // Right after a rotation.
    fs::rename(place.log(), place.old()).unwrap();
    fs::write(place.log(), lines(121..=122)).unwrap();
    place.shows("-n 2", &lines(121..=122));
    place.shows("-n 4", &format!("{}[2025-11-19 10:30:17] half\n{}", lines(120..=120), lines(121..=122)));
    fs::remove_file(place.log()).unwrap();
    place.shows("-n 2", &format!("{}[2025-11-19 10:30:17] half\n", lines(120..=120)));
    // A link is followed.
    symlink(place.old(), place.log()).unwrap();
    place.shows("-n 1", "[2025-11-19 10:30:17] half\n");
}

#[test]
fn on_a_terminal_a_heading_and_green_bars() {
    let place = Place::with("terminal", GREEN);
    let heading = format!("Log of image pulls: {}\n", place.log().display());
    assert_eq!(on_terminal(&place, "", ""), format!("{heading}{GREEN}"));
    assert_eq!(on_terminal(&place, "NO_COLOR=1", ""), format!("{heading}{BARE}"));
    assert_eq!(on_terminal(&place, "LC_ALL=C TERM=dumb", ""), format!("{heading}{ASCII}"));
    let console = BARE.replace("⬇️  ", "DOWN ");
    assert_eq!(on_terminal(&place, "TERM=linux", "--color=never"), format!("{heading}{console}"));
    place.shows("", BARE);
    place.shows("--color=always", GREEN);
    place.shows("--ascii", ASCII);
    let (_, stdout, _) = run(place.alm("").env_clear());
    assert_eq!(stdout, ASCII);
}

#[test]
fn no_log_yet_and_an_empty_one() {
    let place = Place::new("none");
    let says = |args, expected: &str| {
        let (code, stdout, stderr) = run(&mut place.alm(args));
        assert_eq!((code, &*stdout), (0, ""));
        assert!(stderr.contains(expected) && stderr.contains("next image pull"), "{stderr}");
        assert!(stderr.contains("journalctl -u puppet"), "{stderr}");
    };
    says("", "There is no log ");
    says("-n 0", "There is no log ");
    fs::write(place.log(), "").unwrap();
    says("", "is empty");
    for exists in [true, false] {
        let mut follower = place.follow("");
        let mut printed = String::new();
        while !printed.contains("Waiting for the next pull") {
            let mut byte = [0];
            follower.child.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
            printed.push(char::from(byte[0]));
        }
        assert_eq!(printed.contains("is empty"), exists);
        place.append(&lines(1..=1));
        follower.shows(&lines(1..=1));
        assert_eq!(follower.end(Signal::INT).0, 130);
        fs::remove_file(place.log()).unwrap();
    }
}

#[test]
fn hostile_bytes_are_shown_harmless() {
    let mut log = b"\xff\xfe \0 \x1b[2J\x1b]0;title\x07 \xe2\x80\xae \r x\n".to_vec();
    log.extend_from_slice("é".repeat(40_000).as_bytes());
    log.extend_from_slice(b"\n[10:30:15] \x1b[2J\n");
    let place = Place::with("hostile", &log);
    let first = "\u{fffd}\u{fffd} \\u{0} \\u{1b}[2J\\u{1b}]0;title\\u{7} \\u{202e} \\u{d} x\n";
    let cut = format!("{}… (cut: 80000 bytes)\n", "é".repeat(32 << 10));
    place.shows("", &format!("{first}{cut}"));
    place.shows("-n 1 --raw", "[10:30:15] \\u{1b}[2J\n");
}

#[test]
fn huge_logs_take_little_memory_and_time() {
    let place = Place::new("huge");
    let log = File::create(place.log()).unwrap();
    log.set_len(2 << 30).unwrap();
    log.write_at(format!("\n{}", lines(1..=60)).as_bytes(), 2 << 30).unwrap();
    let before = Instant::now();
    let follower = place.follow("");
    follower.shows(&lines(11..=60));
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(follower.peak() < 8_000, "{} KB", follower.peak());
    // A line of 100 MB, with other lines before it.
    let log = File::create(place.log()).unwrap();
    log.write_at(format!("{}[2025-11-19 10:30:17] ", lines(1..=2)).as_bytes(), 0).unwrap();
    log.write_at(format!("\n{}", lines(3..=3)).as_bytes(), 100 << 20).unwrap();
    let follower = place.follow("-n 3");
    wait_until("the last line", || follower.shown.lock().unwrap().ends_with(&lines(3..=3)));
    let shown = follower.shown.lock().unwrap().clone();
    assert!(shown.starts_with(&lines(2..=2)) && shown.lines().count() == 3 && shown.len() < 500_000);
    let cut = format!("\\u{{0}}×65536… (cut: {} bytes)\n", (100 << 20) - lines(1..=2).len());
    assert!(shown.contains(&cut), "{shown}");
    assert!(follower.peak() < 8_000, "{} KB", follower.peak());
}
