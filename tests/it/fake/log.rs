//! The log: where it is, who may read it, and what is refused as one.

mod disk;
mod rotation;
mod writers;

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

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
fn without_a_log_none_is_written() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull_without_log(&temp, &engine).arg("--no-log"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let names: Vec<_> = fs::read_dir(&*temp).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["docker.sock"]);
}
