//! A disk that is full or cannot be written costs the log or the recording, and never the pull.

use super::*;

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
