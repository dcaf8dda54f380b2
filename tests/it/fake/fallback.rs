//! The fallback: the docker CLI pulls if the engine's socket cannot be used.

use super::*;
use rustix::process::Signal;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// The output of `docker pull` without a terminal.
const DOCKER_SAYS: &str = "\
printf '%s\\n' 'Using default tag: latest' 'latest: Pulling from library/a' 'abc: Pulling fs layer' 'def: Already exists' \\
  'abc: Verifying Checksum' 'abc: Download complete' 'abc: Pull complete' 'Digest: sha256:00ff' \\
  'Status: Downloaded newer image for a:latest' 'docker.io/library/a:latest'";

/// A pull over the socket at `host`, with the script `docker` on PATH as the CLI.
fn fall_back(temp: &Temp, host: &str, docker: &str) -> Ended {
    temp.script("docker", docker);
    run(program(temp).args([
        "--retries",
        "0",
        "--host",
        host,
        "--log",
        &temp.at("log"),
        "--record",
        &temp.at("r.jsonl"),
        &temp.image(),
    ]))
}

/// Checks that docker's CLI pulled, for this reason.
#[track_caller]
fn check_fallback(temp: &Temp, ended: &Ended, reason: &str) {
    let log = temp.read("log");
    let shown = texts(&log);
    assert!(shown[0].starts_with("⚠️  ") && shown[0].ends_with("; using the docker CLI"), "{log}");
    assert!(shown[0].contains(reason), "{reason}: {}", shown[0]);
    assert_eq!(shown[2], "📦 PULLING IMAGE (docker CLI)");
    assert_eq!(shown[4], format!("Image: {}", temp.image()));
    assert_eq!(shown[5], "Method: docker pull CLI");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{log}");
    for line in ["💾 Layer def: Already cached (1/2)", "✅ Layer abc: Complete (2/2)", "Layers: 2/2 completed"] {
        assert!(shown.contains(&line), "{line}: {log}");
    }
    assert_eq!(ended.stdout, human_lines(&log));
    replays_like(temp, ended, reason);
}

#[test]
fn a_socket_that_is_no_good_is_a_reason() {
    let temp = Temp::new();
    let missing = format!("unix://{}", temp.at("none.sock"));
    check_fallback(&temp, &fall_back(&temp, &missing, DOCKER_SAYS), "there is no Docker socket at ");
    let temp = Temp::new();
    let file = format!("unix://{}", temp.write("file.sock", ""));
    check_fallback(&temp, &fall_back(&temp, &file, DOCKER_SAYS), "is not a socket");
    let temp = Temp::new();
    drop(UnixListener::bind(temp.join("refuses.sock")).expect("a socket"));
    let refuses = format!("unix://{}", temp.at("refuses.sock"));
    check_fallback(&temp, &fall_back(&temp, &refuses, DOCKER_SAYS), "nothing listens on the Docker socket ");
    let temp = Temp::new();
    let long = format!("unix:///{}", "x".repeat(200));
    check_fallback(&temp, &fall_back(&temp, &long, DOCKER_SAYS), "socket");
    for host in ["tcp://127.0.0.1:2375", "ssh://localhost"] {
        let temp = Temp::new();
        check_fallback(&temp, &fall_back(&temp, host, DOCKER_SAYS), &format!("{host} is not a Unix socket"));
        let temp = Temp::new();
        temp.script("docker", DOCKER_SAYS);
        let mut command = program(&temp);
        command.args(["--log", &temp.at("log"), "--record", &temp.at("r.jsonl"), &temp.image()]);
        check_fallback(&temp, &run(command.env("DOCKER_HOST", host)), &format!("{host} is not a Unix socket"));
    }
}

/// In the log and in its replay.
#[test]
fn nothing_is_advised_for_this_host_where_the_engine_is_remote() {
    for (says, advice) in [
        (
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?",
            "the engine is on another host: ",
        ),
        ("write /var/lib/docker/x: no space left on device", "on the engine's host: make room "),
        ("manifest for a:1 not found: manifest unknown", "check the image's name and tag"),
    ] {
        let temp = Temp::new();
        temp.script("docker", &format!("echo '{says}'; exit 1"));
        let mut command = program(&temp);
        command.args(["--retries", "0", "--host", "tcp://127.0.0.1:1", "--no-log", "--record", &temp.at("r.jsonl")]);
        let live = run(command.arg(temp.image()));
        let replayed = run(program(&temp).args(["--replay", &temp.at("r.jsonl")]));
        for ended in [live, replayed] {
            assert!(text_after(&ended.stdout, "💡 ").starts_with(advice), "{ended:?}");
        }
    }
}

#[test]
fn an_engine_that_does_not_answer_a_ping_is_a_reason() {
    let check = |ping: Vec<Step>, reason: &str| {
        let temp = Temp::new();
        let engine = Engine::serve(&temp.join("docker.sock"), move |_| ping.clone());
        check_fallback(&temp, &fall_back(&temp, &engine.host(), DOCKER_SAYS), reason);
        assert_eq!(engine.requests().len(), 1);
    };
    check(vec![Step::Stall], "does not answer: no answer in time");
    check(vec![], "does not answer: the engine broke off before it answered");
    check(vec![Step::Reset], "does not answer: the engine broke off");
    check(vec![Step::Write(answer(503, ""))], "answers a ping with HTTP status 503");
    check(vec![Step::Write(b"SSH-2.0-x\r\n\r\n".to_vec())], "does not answer: ");
    // Endless bytes without an answer.
    check(vec![Step::Write(head()), Step::Stall], "does not answer: no answer in time");
}

#[test]
fn an_engine_that_takes_no_connection_is_a_reason() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};
    let temp = Temp::new();
    let address = SocketAddrUnix::new(temp.join("busy.sock")).expect("an address");
    let busy = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    bind(&busy, &address).expect("a socket");
    listen(&busy, 0).expect("a socket");
    let first = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    connect(&first, &address).expect("room for one");
    let host = format!("unix://{}", temp.at("busy.sock"));
    check_fallback(&temp, &fall_back(&temp, &host, DOCKER_SAYS), "is busy and takes no connection");
    // A signal does not wait for the answer.
    let mut running = Running::start(program(&temp).args(["--host", &host, "--no-log", &temp.image()]));
    std::thread::sleep(Duration::from_millis(200));
    running.signal(Signal::TERM);
    let (code, took) = running.wait();
    assert_eq!(code, Some(143));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn docker_gets_what_was_asked_for_and_its_exit_code_is_ours() {
    let temp = Temp::new();
    let host = format!("unix://{}", temp.at("none.sock"));
    temp.script(
        "docker",
        "for arg; do echo \"$arg\"; done > args; echo 'Error response from daemon: no such thing'; exit 7",
    );
    let mut command = program(&temp);
    command.args(["--retries", "0", "--host", &host, "--log", &temp.at("log"), "--record", &temp.at("r.jsonl")]);
    let ended = run(command.args(["--platform", "linux/arm64", &temp.image()]));
    assert_eq!(temp.read("args"), format!("--host\n{host}\npull\n--platform\nlinux/arm64\n{}\n", temp.image()));
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "no such thing");
    replays_like(&temp, &ended, "exit 7");

    let temp = Temp::new();
    let ended = fall_back(&temp, "tcp://127.0.0.1:1", "kill -9 $$");
    assert_eq!(ended.code, Some(137), "{ended:?}");
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "docker pull ended with exit code 137");
    replays_like(&temp, &ended, "killed");

    // If docker's output and its exit code disagree, the exit code counts.
    let temp = Temp::new();
    let ended = fall_back(&temp, "tcp://127.0.0.1:1", "echo 'Status: Downloaded newer image for a'; exit 1");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    replays_like(&temp, &ended, "exit 1");
    let temp = Temp::new();
    let ended =
        fall_back(&temp, "tcp://127.0.0.1:1", "echo 'something new'; echo 'on stderr' >&2; printf 'no line end'");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(["something new", "on stderr", "no line end"].iter().all(|line| temp.read("log").contains(line)));
    replays_like(&temp, &ended, "exit 0");
}

#[test]
fn without_docker_there_is_a_clear_error() {
    let temp = Temp::new();
    let host = format!("unix://{}", temp.at("none.sock"));
    let ended = run(program(&temp).args(["--host", &host, "--log", &temp.at("log"), &temp.image()]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        text_after(&ended.stdout, "❌ PULL FAILED: ").starts_with("no docker command was found on PATH ("),
        "{ended:?}"
    );
    assert!(text_after(&ended.stdout, "💡 ").contains("apt-get install docker.io"), "{ended:?}");
    assert!(texts(&ended.stdout)[0].contains("there is no Docker socket"), "{ended:?}");
    // A docker that cannot be run is ignored, and so is one in a relative directory on PATH.
    temp.write("docker", "#!/bin/sh\nexit 0\n");
    for path in [temp.to_str().expect("UTF-8"), ".", ""] {
        let mut command = program(&temp);
        command.env("PATH", path).args(["--no-log", "--host", &host, &temp.image()]);
        if path.is_empty() {
            // With this PATH the system's directories are searched, which may contain a docker.
            continue;
        }
        assert_eq!(run(&mut command).code, Some(1), "{path}");
    }
}

#[test]
fn a_forbidden_socket_is_no_reason_and_says_what_to_do() {
    let temp = Temp::new();
    temp.script("docker", "echo docker was run");
    let engine = Engine::new(&temp, whole(GOOD));
    let check = |temp: &Temp| {
        // As another user, who may read the directory but not use the socket.
        let mut command = crate::support::clean(Command::new("/usr/bin/setpriv"), temp);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", crate::support::PROGRAM]);
        let ended = run(command.args(["--no-log", "--host", &engine.host(), &temp.image()]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stdout.contains("CLI") && !ended.stdout.contains("docker was run"), "{ended:?}");
        let reason = format!("permission denied on the engine's socket {}", engine.socket.display());
        assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), reason);
        assert!(text_after(&ended.stdout, "💡 ").contains("usermod -aG docker"), "{ended:?}");
    };
    allow(&temp, 0o755);
    allow_file(&engine.socket, 0o660);
    check(&temp);
    assert!(engine.requests().is_empty());
    // The same if the directory forbids it.
    let inner = temp.join("inner");
    std::fs::create_dir(&inner).expect("a directory");
    std::fs::rename(&engine.socket, inner.join("docker.sock")).expect("a socket");
    std::os::unix::fs::symlink(inner.join("docker.sock"), &engine.socket).expect("a link");
    allow_file(&inner, 0o700);
    check(&temp);
}

fn allow(temp: &Temp, mode: u32) {
    allow_file(temp, mode);
}

fn allow_file(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
}

#[test]
fn docker_is_signalled_to_stop_and_waited_for() {
    let temp = Temp::new();
    let host = "tcp://127.0.0.1:1";
    let start = |script: &str| {
        temp.script("docker", script);
        let mut command = program(&temp);
        command.args(["--host", host, "--log", &temp.at("log"), "--record", &temp.at("r.jsonl"), &temp.image()]);
        let running = Running::start(command.env("PATH", format!("{}:/bin", temp.display())));
        assert!(eventually(LIMIT, || temp.join("began").exists()), "docker was not run");
        running
    };
    let clear = || ["began", "told", "log", "log2"].map(|name| std::fs::remove_file(temp.join(name)).is_ok());
    // docker gets time to end, and its last lines are shown.
    let running = start(
        "trap 'echo TERM > told; echo \"abc: Pull complete\"; exit 3' TERM; echo 'abc: Pulling fs layer'; : > began; while :; do sleep 0.01; done",
    );
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert_eq!(temp.read("told"), "TERM\n");
    assert!(
        ended.stdout.contains("Complete (1/1)") && ended.stdout.contains("🛑 PULL INTERRUPTED (SIGTERM)"),
        "{ended:?}"
    );
    replays_like(&temp, &ended, "docker interrupted");
    clear();
    let running = start("trap 'echo INT > told; exit 130' INT; : > began; while :; do sleep 0.01; done");
    running.signal(Signal::INT);
    assert_eq!(running.end().code, Some(130));
    assert_eq!(temp.read("told"), "INT\n");
    clear();
    // A docker that ignores the signal is killed after five seconds.
    let mut running = start("trap '' TERM; echo $$ > pid; : > began; while :; do sleep 0.1; done");
    running.signal(Signal::TERM);
    let (code, took) = running.wait();
    assert_eq!(code, Some(143));
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");
    let pid = temp.read("pid").trim().to_owned();
    let is_gone = || !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(eventually(LIMIT, is_gone), "docker outlives us");
}

#[test]
fn a_hang_up_reaches_neither_us_nor_docker() {
    let temp = Temp::new();
    temp.script("docker", &format!(": > began; while ! [ -e go ]; do sleep 0.01; done\n{DOCKER_SAYS}"));
    let mut command = program(&temp);
    command.args(["--host", "tcp://127.0.0.1:1", "--no-log", &temp.image()]);
    let running = Running::start(command.env("PATH", format!("{}:/bin", temp.display())));
    assert!(eventually(LIMIT, || temp.join("began").exists()));
    running.signal(Signal::HUP);
    temp.write("go", "");
    assert_eq!(running.end().code, Some(0));
}
