//! Standard output: what is written to it, and what happens where nobody reads it.

use super::*;
use std::fs::File;
use std::process::Stdio;

#[test]
fn quiet_says_only_the_reference() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(pull(&temp, &engine).arg("-q"));
    assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(0), format!("{}\n", temp.image()), String::new()));
    assert!(temp.read("log").contains("PULL SUCCESSFUL"));
    drop(engine);
    let _ = std::fs::remove_file(temp.join("docker.sock"));
    let engine = Engine::new(&temp, whole([FROM, ERROR]));
    let ended = run(pull(&temp, &engine).arg("--quiet"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, format!("docker-pull-with-progress: {}: no space left on device\n", temp.image()));
}

#[test]
fn help_goes_to_whoever_reads() {
    let temp = Temp::new();
    let check = |stdout: Stdio, code: i32| {
        let mut running = Running::start_as_is(program(&temp).arg("--help").stdout(stdout));
        assert_eq!(running.wait().0, Some(code));
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    check(writer.into(), 0);
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    check(full.into(), 1);
    for (args, begins) in [(&["--help"][..], "Pulls a Docker image"), (&["-V"], "docker-pull-with-progress 0")] {
        let ended = run(program(&temp).args(args));
        assert!(ended.code == Some(0) && ended.stdout.starts_with(begins) && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_closed_standard_output_does_not_stop_a_pull() {
    let check = |stdout: Stdio, stderr: &str| {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let mut running = Running::start_as_is(pull(&temp, &engine).stdout(stdout).stderr(Stdio::piped()));
        assert_eq!(running.wait().0, Some(0));
        assert!(temp.read("log").contains("✅ PULL SUCCESSFUL"));
        let printed = running.end().stderr;
        assert!(printed.contains(stderr) && printed.lines().count() == usize::from(!stderr.is_empty()), "{printed}");
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    check(writer.into(), "standard output: Broken pipe");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    check(full.into(), "standard output: No space left on device");
    check(Stdio::null(), "");
}

#[test]
fn standard_streams_may_be_missing() {
    for closed in ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let mut command = crate::support::clean(Command::new("/bin/sh"), &temp);
        let arguments =
            ["--host", &engine.host(), "--log", &temp.at("log"), "--record", &temp.at("r"), &temp.image()].join(" ");
        let ended = run(command.args(["-c", &format!("exec {} {arguments} {closed}", crate::support::PROGRAM)]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{closed}");
        let log = temp.read("log");
        assert!(log.contains("✅ PULL SUCCESSFUL"), "{closed}: {log}");
        let recording = temp.read("r");
        assert!(!recording.contains("========="), "{closed}: the output is in a file of ours: {recording}");
    }
}
