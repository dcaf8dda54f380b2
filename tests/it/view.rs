//! The viewer of the log.
//!
//! No test depends on speed: every expected event is waited for, and limits are many times the usual duration.

use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
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

/// A viewer that follows the log, and its output so far.
struct Follower {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Follower {
    fn new(command: &mut Command) -> Self {
        let mut follower = Self::unread(command);
        follower.read();
        follower
    }

    fn unread(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, shown: Arc::default() }
    }

    fn read(&mut self) {
        let (mut stdout, shown) = (self.child.stdout.take().unwrap(), Arc::clone(&self.shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut rest = Vec::new();
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..count]);
                let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let lines: Vec<u8> = rest.drain(..whole).collect();
                shown.lock().unwrap().push_str(str::from_utf8(&lines).unwrap());
            }
        });
    }

    fn shows(&self, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while *self.shown.lock().unwrap() != expected && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        assert_eq!(*self.shown.lock().unwrap(), expected);
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Whether the viewer has this file open.
    fn holds(&self, file: &Path) -> bool {
        let wanted = fs::metadata(file).unwrap();
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok()).any(|open| open.ino() == wanted.ino())
    }

    /// The peak of its resident memory, in KB.
    fn peak(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the viewer ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends the viewer with a signal. Returns its exit code and its output on stderr.
    fn end(&mut self, signal: Signal) -> (i32, String) {
        self.send(signal);
        // A signal that arrives before the program catches signals ends it like any other program.
        let status = self.exit();
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (code, stderr)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
fn who_may_read_it() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::with("secret", BARE);
    let copy = place.0.join("alm-pull");
    fs::copy(EXE, &copy).unwrap();
    let refuses = |expected: &str| {
        let mut command = Command::new(&copy);
        let (code, stdout, stderr) = run(command.arg("--log").arg(place.log()).uid(65534).gid(65534).env_clear());
        assert_eq!((code, stdout.len(), stderr.lines().count()), (1, 0, 1), "{stderr}");
        assert!(stderr.contains("permission denied") && stderr.contains(expected), "{stderr}");
    };
    fs::set_permissions(place.log(), Permissions::from_mode(0o600)).unwrap();
    refuses("only root may read it");
    fs::set_permissions(place.log(), Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(place.log(), Some(1), Some(4)).unwrap();
    refuses("only root and user daemon and group adm may read it");
    let directory = place.0.join("closed");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
    fs::remove_file(place.log()).unwrap();
    symlink(directory.join("log"), place.log()).unwrap();
    let mut command = Command::new(&copy);
    let (code, _, stderr) = run(command.arg("--log").arg(directory.join("log")).uid(65534).gid(65534));
    let expected = format!("only root and group root may enter {}", directory.display());
    assert!(code == 1 && stderr.contains(&expected), "{stderr}");
}

#[test]
fn what_is_no_log() {
    let place = Place::new("kinds");
    let fifo = place.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = place.0.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&place.0, &fifo, &socket, Path::new("/dev/zero"), Path::new("/dev/tty"), &fifo.join("x")] {
        for follow in ["", "-f"] {
            let (code, stdout, stderr) = run(program("alm-pull", follow).arg("--log").arg(path));
            assert_eq!((code, stdout.len(), stderr.lines().count()), (1, 0, 1), "{}: {stderr}", path.display());
            assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
        }
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

#[test]
fn follows_rotation_truncation_and_what_appears_later() {
    let place = Place::new("follow");
    fs::remove_dir(&place.0).unwrap();
    let follower = place.follow("-n 2");
    sleep(Duration::from_millis(300));
    fs::create_dir(&place.0).unwrap();
    sleep(Duration::from_millis(300));
    // A log that appears later is shown from its beginning: all of it is new.
    place.append(&lines(1..=3));
    follower.shows(&lines(1..=3));
    place.append("[2025-11-19 10:30:17] li");
    sleep(Duration::from_millis(500));
    follower.shows(&lines(1..=3));
    place.append("ne 4\n[10:30:17] raw\n");
    follower.shows(&lines(1..=4));
    // A writer that has not noticed the rotation yet, while the new log already has lines.
    let late = OpenOptions::new().append(true).open(place.log()).unwrap();
    follower.send(Signal::STOP);
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(6..=6));
    (&late).write_all(lines(5..=5).as_bytes()).unwrap();
    follower.send(Signal::CONT);
    follower.shows(&lines(1..=6));
    (&late).write_all(lines(7..=7).as_bytes()).unwrap();
    follower.shows(&lines(1..=7));
    // A generation that appears and is rotated away while the viewer is stopped; the first of three ends with half a line.
    follower.send(Signal::STOP);
    place.append("[2025-11-19 10:30:17] half");
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(8..=9));
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(10..=10));
    follower.send(Signal::CONT);
    let rotated = format!("{}[2025-11-19 10:30:17] half\n{}", lines(1..=7), lines(8..=10));
    follower.shows(&rotated);
    fs::write(place.log(), "").unwrap();
    sleep(Duration::from_millis(500));
    place.append(&lines(11..=11));
    follower.shows(&format!("{rotated}{}", lines(11..=11)));
    // The log is deleted and created again, long after the rotation: the content of .1 is old.
    sleep(Duration::from_millis(2500));
    fs::remove_file(place.log()).unwrap();
    sleep(Duration::from_millis(300));
    place.append(&lines(12..=12));
    follower.shows(&format!("{rotated}{}", lines(11..=12)));
}

#[test]
fn a_log_that_becomes_unreadable_ends_it() {
    let place = Place::with("spoilt", lines(1..=1));
    let mut follower = place.follow("");
    follower.shows(&lines(1..=1));
    fs::remove_file(place.log()).unwrap();
    fs::create_dir(place.log()).unwrap();
    assert_eq!(follower.exit().code(), Some(1));
}

#[test]
fn ends_quietly() {
    let place = Place::with("end", lines(1..=1));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut follower = place.follow("");
        follower.shows(&lines(1..=1));
        assert_eq!(follower.end(signal), (code, String::new()));
    }
    // A reader that ends while there is no output.
    let mut follower = Follower::unread(&mut place.alm("-f"));
    let mut line = [0; 10];
    follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    drop(follower.child.stdout.take());
    assert_eq!(follower.exit().code(), Some(0));
    // A reader that ends in the middle of the output.
    fs::write(place.log(), lines(1..=100_000)).unwrap();
    let mut follower = Follower::unread(&mut place.alm("-n 100000"));
    follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    drop(follower.child.stdout.take());
    assert_eq!(follower.exit().code(), Some(0));
    // A reader that does not read.
    for args in ["-n 100000", "-f -n 100000"] {
        let mut follower = Follower::unread(&mut place.alm(args));
        follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        sleep(Duration::from_millis(200));
        assert_eq!(follower.end(Signal::INT), (130, String::new()));
    }
}

#[test]
fn an_idle_log_costs_nothing() {
    let place = Place::with("idle", lines(1..=1));
    let follower = place.follow("");
    follower.shows(&lines(1..=1));
    let ticks = || {
        let stat = follower.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    sleep(Duration::from_secs(4));
    // A tick is 10 ms.
    assert!(ticks() - before <= 3, "{} ticks", ticks() - before);
}

#[test]
fn a_slow_reader_loses_nothing() {
    let place = Place::with("slow", lines(1..=20_000));
    let mut follower = Follower::unread(&mut place.alm("-f -n 20000"));
    for number in 20_001..=20_006 {
        // Only the last generation is kept, so the viewer must open each of them even though its reader does not read.
        wait_until("the generation is held", || follower.holds(&place.log()));
        fs::rename(place.log(), place.old()).unwrap();
        place.append(&lines(number..=number));
    }
    wait_until("the generation is held", || follower.holds(&place.log()));
    follower.read();
    follower.shows(&lines(1..=20_006));
}

/// Writes lines as the log does: checks whether the path still leads to its file, and opens the path again if not.
fn write_like_the_log(path: &Path, name: char, written: &AtomicUsize, is_over: &AtomicBool) {
    let open = || OpenOptions::new().append(true).create(true).open(path).unwrap();
    let mut file = open();
    for number in 1.. {
        let own = file.metadata().unwrap();
        if !fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino())) {
            file = open();
        }
        let line = format!("[10:30:17] {{}}\n[2025-11-19 10:30:17] {name} {number}\n");
        assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
        written.store(number, Ordering::SeqCst);
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        sleep(Duration::from_micros(700));
    }
}

#[test]
fn a_thousand_rotations_lose_nothing() {
    let place = Place::with("thousand", "");
    let follower = place.follow("-n 0");
    wait_until("the log is held", || follower.holds(&place.log()));
    let written = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let is_over = AtomicBool::new(false);
    // The number of lines of each writer that are shown; the end of the test checks that there are no gaps. Only new output is
    // read here: reading all of it each time takes longer and longer, and more would be written meanwhile.
    let (mut checked, mut counts) = (0, [0; 2]);
    let mut seen = || {
        let shown = follower.shown.lock().unwrap();
        let new = &shown[checked..];
        let new = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        checked += new.len();
        for (count, name) in counts.iter_mut().zip([" A ", " B "]) {
            *count += new.matches(name).count();
        }
        counts
    };
    let reach = |counts: [usize; 2], min: [usize; 2]| counts[0] >= min[0] && counts[1] >= min[1];
    thread::scope(|scope| {
        for (name, written) in ['A', 'B'].into_iter().zip(&written) {
            let (path, is_over) = (place.log(), &is_over);
            scope.spawn(move || write_like_the_log(&path, name, written, is_over));
        }
        let now = || [&written[0], &written[1]].map(|written| written.load(Ordering::SeqCst));
        let (mut last, mut before_last) = ([0; 2], [0; 2]);
        for number in 0..1000 {
            // Only `.1` is kept, so the generation that is overwritten must have been seen. The one that becomes `.1` need not
            // have been: the viewer may miss it and read it from `.1`.
            wait_until("the generation in .1 is seen", || reach(seen(), before_last));
            fs::rename(place.log(), place.old()).unwrap();
            // Counted after the rename: a writer's next line may still go to the old file, but the one after it goes to the
            // new file, however long this thread had to wait before the rename.
            (last, before_last) = (now().map(|count| count + 2), last);
            if number % 2 == 0 {
                // As logrotate does with `create`; otherwise the writer creates the file.
                append(&place.log(), "");
            }
            wait_until("the generation has a line of each", || reach(now(), last));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let total = written.map(AtomicUsize::into_inner);
    let count = || follower.shown.lock().unwrap().lines().count();
    wait_until("all is shown", || count() >= total[0] + total[1]);
    sleep(Duration::from_millis(300));
    let shown = follower.shown.lock().unwrap();
    for (name, total) in ["A", "B"].into_iter().zip(total) {
        let numbers = shown.lines().filter_map(|line| line.strip_prefix(&format!("[2025-11-19 10:30:17] {name} ")));
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
    }
    assert_eq!(shown.lines().count(), total[0] + total[1]);
}
