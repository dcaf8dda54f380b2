//! The log: where it is, who may read it, and what happens to a pull whose log cannot be written.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Checks a pull whose log cannot be opened: it continues, and one line says why.
#[track_caller]
fn check_refused(temp: &Temp, log: &str, reason: &str) {
    let engine = Engine::new(temp, whole(GOOD));
    let ended = run(pull_without_log(temp, &engine).args(["--log", log]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("✅ PULL SUCCESSFUL"));
    assert_eq!(ended.stderr, format!("docker-pull-with-progress: log {log}: {reason}; the pull goes on without it\n"));
    let _ = fs::remove_file(temp.join("docker.sock"));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let temp = Temp::new();
    temp.write("target", "as it was\n");
    symlink(temp.join("target"), temp.join("link")).expect("a link");
    check_refused(&temp, &temp.at("link"), "is a symbolic link, which is not followed");
    assert_eq!(temp.read("target"), "as it was\n");
    symlink(temp.join("nothing"), temp.join("dangling")).expect("a link");
    check_refused(&temp, &temp.at("dangling"), "is a symbolic link, which is not followed");
    assert!(!temp.join("nothing").exists());
    let make =
        |name, kind| rustix::fs::mknodat(rustix::fs::CWD, temp.join(name), kind, 0o644.into(), 0).expect("a file");
    make("fifo", rustix::fs::FileType::Fifo);
    check_refused(&temp, &temp.at("fifo"), "is a FIFO or socket, not a regular file");
    // A FIFO with a reader can be opened.
    let _reader = fs::File::options().read(true).write(true).open(temp.join("fifo")).expect("a FIFO");
    check_refused(&temp, &temp.at("fifo"), "is a FIFO or socket, not a regular file");
    make("socket", rustix::fs::FileType::Socket);
    check_refused(&temp, &temp.at("socket"), "is a FIFO or socket, not a regular file");
    check_refused(&temp, "/dev/full", "is a device, not a regular file");
    check_refused(&temp, "/dev/null", "is a device, not a regular file");
    check_refused(&temp, temp.to_str().expect("UTF-8"), "Is a directory (os error 21)");
    check_refused(&temp, &temp.at("target/log"), "Not a directory (os error 20)");
    check_refused(&temp, "/proc/none/log", "No such file or directory (os error 2)");
}

#[test]
fn who_may_not_write_it_goes_on_without() {
    let temp = Temp::new();
    let mut command = crate::support::clean(Command::new("/usr/bin/setpriv"), &temp);
    temp.write("log", "");
    let engine = Engine::new(&temp, whole(GOOD));
    for path in [temp.join("docker.sock"), temp.to_path_buf()] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("ours");
    }
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", crate::support::PROGRAM]);
    let ended = run(command.args(["--host", &engine.host(), "--log", &temp.at("log"), &temp.image()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("Permission denied") && ended.stderr.lines().count() == 1, "{ended:?}");
    assert_eq!(temp.read("log"), "");
}

#[test]
fn a_missing_log_is_made_for_everyone_to_read() {
    for mask in ["077", "000", "777"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let mut command = crate::support::clean(Command::new("/bin/sh"), &temp);
        let arguments = format!("--host {} --log {} {}", engine.host(), temp.at("a/b/log"), temp.image());
        let ended = run(command.args(["-c", &format!("umask {mask}; exec {} {arguments}", crate::support::PROGRAM)]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let mode = |name: &str| fs::metadata(temp.join(name)).expect("made").mode() & 0o7777;
        assert_eq!((mode("a"), mode("a/b"), mode("a/b/log")), (0o755, 0o755, 0o644), "umask {mask}");
        assert_eq!(human_lines(&temp.read("a/b/log")), ended.stdout);
    }
}

#[test]
fn what_was_there_stays_and_its_mode_too() {
    let temp = Temp::new();
    let log = temp.write("log", "older\n");
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("ours");
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(&mut pull(&temp, &engine));
    assert_eq!(ended.code, Some(0));
    assert!(temp.read("log").starts_with("older\n["));
    assert_eq!(fs::metadata(&log).expect("there").mode() & 0o7777, 0o640);
}

#[test]
fn a_log_by_a_relative_name_is_found() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    assert_eq!(run(pull_without_log(&temp, &engine).args(["--log", "log"])).code, Some(0));
    assert!(temp.read("log").contains("PULL SUCCESSFUL"));
}

#[test]
fn a_line_that_was_left_torn_is_ended_first() {
    let temp = Temp::new();
    // The log after its writer was killed, or after a power cut.
    temp.write("log", "[2025-11-19 10:30:15] whole\n[2025-11-19 10:30:15] ⬇️  Layer a");
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(&mut pull(&temp, &engine));
    let log = temp.read("log");
    assert_eq!(log.lines().nth(1), Some("[2025-11-19 10:30:15] ⬇️  Layer a"), "{log}");
    assert!(human_lines(&log).ends_with(&ended.stdout), "{log}");
}

/// Starts a pull that stops in the middle until [`finish`].
pub(super) fn begin(temp: &Temp) -> (Engine, Running) {
    let rest = [chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat();
    let engine = Engine::new(temp, vec![begun(&GOOD[..3]), Step::Wait, Step::Write(rest)]);
    let running = Running::start(&mut pull(temp, &engine));
    assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")));
    (engine, running)
}

pub(super) fn finish(engine: &Engine, running: Running) -> Ended {
    engine.go();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("✅ PULL SUCCESSFUL"));
    ended
}

#[test]
fn a_rotated_log_is_opened_anew() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    temp.write("log", "");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr, "");
    assert!(!temp.read("log.1").contains("Complete") && temp.read("log").contains("✅ PULL SUCCESSFUL"));
    assert_eq!(human_lines(&(temp.read("log.1") + &temp.read("log"))), ended.stdout, "no line is lost");
}

#[test]
fn a_log_that_is_taken_away_is_made_again() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    let ended = finish(&engine, running);
    assert_eq!(human_lines(&(temp.read("log.1") + &temp.read("log"))), ended.stdout);
}

#[test]
fn a_log_that_becomes_a_link_is_given_up() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    temp.write("target", "");
    symlink(temp.join("target"), temp.join("log")).expect("a link");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("is a symbolic link"), "{}", ended.stderr);
    assert_eq!(temp.read("target"), "");
}

#[test]
fn a_directory_that_goes_away_is_made_again() {
    let temp = Temp::new();
    let rest = [chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat();
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Wait, Step::Write(rest)]);
    let running = Running::start(pull_without_log(&temp, &engine).args(["--log", &temp.at("d/log")]));
    assert!(eventually(LIMIT, || temp.read("d/log").contains("12MB / 50MB")));
    fs::remove_dir_all(temp.join("d")).expect("removed");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr, "");
    assert!(temp.read("d/log").contains("✅ PULL SUCCESSFUL"));
}

#[test]
fn a_thousand_rotations_in_mid_pull_lose_no_line() {
    const ROTATIONS: usize = 1000;
    const LINES: usize = 4 * ROTATIONS;
    let temp = Temp::new();
    // A few lines at a time, so that the pull lasts as long as the rotations.
    let warning = |at| chunk(format!(r#"{{"status":"WARNING: number {at}"}}"#));
    let mut steps = vec![Step::Write([head(), chunk(FROM)].concat())];
    for first in (0..LINES).step_by(4) {
        let mut lines: Vec<u8> = (first..first + 4).flat_map(warning).collect();
        // A line without content makes this as long as one read: after a full read the next one follows without a pause.
        let frame = chunk(" ".repeat(4096)).len() - 4096;
        lines.extend(chunk(" ".repeat(8192 - frame - lines.len())));
        steps.extend([Step::Write(lines), Step::Wait]);
    }
    steps.push(Step::Write([chunk(STATUS), LAST_CHUNK.to_vec()].concat()));
    let engine = Engine::new(&temp, steps);
    let running = Running::start(pull(&temp, &engine).arg("--quiet"));
    let mut rotated = 0;
    while rotated < ROTATIONS {
        assert!(eventually(LIMIT, || fs::rename(temp.join("log"), temp.join(format!("log.{rotated}"))).is_ok()));
        rotated += 1;
        engine.go();
    }
    let ended = running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let logs = (0..rotated).map(|at| temp.read(&format!("log.{at}"))).collect::<String>() + &temp.read("log");
    let warnings: Vec<&str> = texts(&logs).into_iter().filter_map(|text| text.strip_prefix("⚠️  number ")).collect();
    let expected: Vec<String> = (0..LINES).map(|at| at.to_string()).collect();
    assert_eq!(warnings, expected, "every line once and in order");
    assert!(logs.contains("✅ PULL SUCCESSFUL"));
}

/// Checks that every line of a log is whole, except the last one if `is_torn`.
#[track_caller]
fn check_lines(log: &str, is_torn: bool) {
    let mut lines: Vec<&str> = log.split('\n').collect();
    let last = lines.pop();
    assert!(is_torn || last == Some(""), "a torn line at the end:\n{log}");
    for line in lines {
        let is_human = line.len() > 21 && line.as_bytes()[0] == b'[' && line.as_bytes()[20..22] == *b"] ";
        let is_raw = || serde_json::from_str::<serde_json::Value>(line.get(11..).unwrap_or_default()).is_ok();
        assert!(is_human || is_raw(), "a line that is not whole: {line:?}\n{log}");
    }
}

#[test]
fn two_hundred_kills_leave_a_log_that_can_be_read_and_a_pull_that_can_be_made() {
    let temp = Temp::new();
    let lines = engine_lines(
        &fs::read_to_string(format!("{FIXTURES}/dockerd-20.10.24/fresh-eight-fast.jsonl")).expect("a fixture"),
    );
    let (body, is_endless) = (stream(&lines), Arc::new(AtomicBool::new(false)));
    let endless = Arc::clone(&is_endless);
    let engine = Engine::serve(&temp.join("docker.sock"), move |request| match &request.line {
        line if line.ends_with("/_ping") => vec![Step::Write(answer(200, "OK"))],
        // Endless lines, so that the program is always writing when it is killed.
        _ if endless.load(Ordering::Relaxed) => {
            vec![Step::Write(body[..body.len() - 5].to_vec()), Step::Endless(chunk(WARNING).repeat(100))]
        }
        _ => vec![Step::Write(body.clone())],
    });
    // Without everything that depends on the time.
    let without_times = |log: &str| {
        let texts = texts(log).into_iter().filter(|text| !text.starts_with("Downloaded:") && !text.contains('%'));
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = || {
        is_endless.store(false, Ordering::Relaxed);
        let ended = run(&mut pull(&temp, &engine));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    let log = || fs::read(temp.join("log")).unwrap_or_default();
    let expected = without_times(&whole());
    let (mut seed, mut was_writing) = (1_u64, false);
    for _ in 0..200 {
        // A pseudo-random time, the same in every run, after the start of the program or after its request.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (is_early, moment) = (seed >> 63 == 1, Duration::from_micros((seed >> 33) % 12_000));
        let (before, asked) = (log().len(), engine.requests().len());
        is_endless.store(true, Ordering::Relaxed);
        let mut running = Running::start(&mut pull(&temp, &engine));
        assert!(is_early || eventually(LIMIT, || engine.requests().len() > asked + 1));
        std::thread::sleep(moment);
        let _ = running.child.kill();
        running.wait();
        let left = log()[before..].to_vec();
        let left = String::from_utf8_lossy(&left);
        check_lines(&left, true);
        was_writing |= left.contains("mind the gap");
        let (before, shown) = (log().len(), whole());
        let log = String::from_utf8_lossy(&log()[before..]).into_owned();
        check_lines(log.trim_start_matches('\n'), false);
        assert_eq!(human_lines(&log), shown);
        assert_eq!(without_times(&shown), expected);
    }
    assert!(was_writing, "none was killed while it wrote");
}

/// A mounted file system, unmounted at the end.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(directory: std::path::PathBuf, options: &str) -> Self {
        let _ = fs::create_dir(&directory);
        let mut command = Command::new("/bin/mount");
        let mounted = command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&directory).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a file system: run it as root");
        Self(directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("/bin/umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_cannot_be_written_costs_the_log_and_not_the_pull() {
    let temp = Temp::new();
    let _mounted = Mounted::new(temp.join("disk"), "size=64k,mode=755,ro");
    check_refused(&temp, &temp.at("disk/log"), "Read-only file system (os error 30)");
    check_refused(&temp, &temp.at("disk/a/log"), "Read-only file system (os error 30)");
}

#[test]
fn a_disk_that_can_no_longer_be_written_costs_the_rest_of_the_log() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::create_dir(temp.join("before")).expect("a directory");
    // The path of the log is the same, but its directory is on another file system now.
    let bound = Command::new("/bin/mount").arg("--bind").args([&*temp, &temp.join("before")]).status();
    assert!(bound.is_ok_and(|status| status.success()), "this test mounts a file system: run it as root");
    let _bound = Mounted(temp.join("before"));
    let mounted = Mounted::new(temp.to_path_buf(), "size=64k,mode=755,ro");
    let ended = finish(&engine, running);
    drop(mounted);
    let log = temp.at("log");
    assert_eq!(
        ended.stderr,
        format!(
            "docker-pull-with-progress: log {log}: Read-only file system (os error 30); the pull goes on without it\n"
        )
    );
    assert!(temp.read("log").contains("12MB / 50MB") && !temp.read("log").contains("Complete"));
}

#[test]
fn a_full_disk_costs_the_log_and_not_the_pull() {
    let temp = Temp::new();
    let disk = temp.join("disk");
    let _mounted = Mounted::new(disk.clone(), "size=64k,mode=755");
    // All but the last bytes of a page.
    let mut filler = fs::File::create(disk.join("filler")).expect("a file");
    let log = temp.write("disk/log", "x".repeat(4096 - 100) + "\n");
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull_without_log(&temp, &engine).args(["--log", &log]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("✅ PULL SUCCESSFUL"));
    let printed = format!(
        "docker-pull-with-progress: log {log}: No space left on device (os error 28); the pull goes on without it\n"
    );
    assert_eq!(ended.stderr, printed);
    let _ = fs::remove_file(temp.join("docker.sock"));
    // A recording on the same full disk.
    fs::remove_file(&log).expect("removed");
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull_without_log(&temp, &engine).args(["--no-log", "--record", &temp.at("disk/r")]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("recording ") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

#[test]
fn a_line_after_a_torn_one_is_a_line_of_its_own() {
    // A limit on the size of files leads to a short write, and then to failed ones. The signal for that would end the program.
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let mut command = crate::support::clean(Command::new("/bin/sh"), &temp);
    let arguments = format!("--host {} --log {} {}", engine.host(), temp.at("log"), temp.image());
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {} {arguments}", crate::support::PROGRAM);
    let ended = run(command.args(["-c", &script]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("File too large") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    assert_eq!(temp.read("log").len(), 512);
}

#[test]
fn a_hundred_pulls_into_one_log_write_whole_lines() {
    let temp = Temp::new();
    let lines = engine_lines(
        &fs::read_to_string(format!("{FIXTURES}/dockerd-20.10.24/reg-rst-once.jsonl")).expect("a fixture"),
    );
    let engine = Engine::new(&temp, whole(&lines));
    let image = temp.image();
    let start = |at: usize| {
        let mut command = program(&temp);
        Running::start(command.args(["--host", &engine.host(), "--log", &temp.at("log"), &format!("{image}-{at}")]))
    };
    let running: Vec<_> = (0..100).map(start).collect();
    let shown: Vec<_> = running.into_iter().map(Running::end).collect();
    let log = temp.read("log");
    let mut expected: Vec<&str> = shown.iter().flat_map(|ended| ended.stdout.lines()).collect();
    let human = human_lines(&log);
    let mut found: Vec<&str> = human.lines().collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    for line in log.lines().filter(|line| line.get(5..6) != Some("-")) {
        let raw = line.get(11..).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(raw).is_ok(), "{line}");
    }
}

#[test]
fn the_second_pull_of_an_image_leaves_the_progress_to_the_first() {
    let temp = Temp::new();
    let (engine, first) = begin(&temp);
    let before = temp.read("log");
    let pid = first.child.id();
    let _ = fs::rename(temp.join("docker.sock"), temp.join("first.sock"));
    let other = Engine::new(&temp, whole(GOOD));
    let second = run(pull(&temp, &other).args(["--record", &temp.at("r.jsonl")]));
    assert_eq!(second.code, Some(0), "{second:?}");
    let says = format!("⚠️  process {pid} is pulling this image already: watching its transfer");
    assert!(texts(&second.stdout).contains(&says.as_str()), "{}", second.stdout);
    assert!(second.stdout.contains("Layer abc123: Complete (1/1)"), "its output has all: {}", second.stdout);
    let log = temp.read("log");
    let added = texts(&log[before.len()..]);
    assert!(added.contains(&says.as_str()) && added.contains(&"✅ PULL SUCCESSFUL"), "{log}");
    assert!(!added.iter().any(|text| text.contains("Layer ")), "its progress is not in the log: {log}");
    assert!(!log[before.len()..].contains("{\"status\""), "nor its raw lines: {log}");
    let again = run(program(&temp).args(["--replay", &temp.at("r.jsonl"), "--log", &temp.at("log2")]));
    assert_eq!(again.stdout, second.stdout);
    assert_eq!(temp.read("log2"), log[before.len()..]);
    finish(&engine, first);
    // The first process has ended, so its lock is free.
    let third = run(&mut pull(&temp, &other));
    assert!(!third.stdout.contains("already"), "{}", third.stdout);
}

#[test]
fn without_a_log_none_is_written() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull_without_log(&temp, &engine).arg("--no-log"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let names: Vec<_> = fs::read_dir(&*temp).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["docker.sock"]);
}

#[test]
fn a_recording_that_cannot_be_written_is_given_up() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    for (path, reason) in [("/none/r", "No such file"), ("/dev/full", "No space left"), (".", "directory")] {
        let ended = run(pull(&temp, &engine).args(["--record", path]));
        assert_eq!(ended.code, Some(0), "{path}: {ended:?}");
        assert!(
            ended.stderr.starts_with(&format!("docker-pull-with-progress: recording {path}: {reason}"))
                || ended.stderr.contains(reason),
            "{ended:?}"
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    // An existing recording is overwritten.
    temp.write("r", "x".repeat(100_000));
    assert_eq!(run(pull(&temp, &engine).args(["--record", &temp.at("r")])).code, Some(0));
    assert!(temp.read("r").starts_with("{\"version\":1,") && temp.read("r").len() < 10_000);
}
