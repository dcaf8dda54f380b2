//! The processes that send notices: secrets, core files, signals and kills.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Device, SECRET, apprise, ok, titles};
use crate::fake::{Server, answer};

/// The process `parent` and all processes that it has started.
fn family(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([parent]).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_address_is_nowhere_to_be_seen_and_a_receiver_that_hangs_keeps_nothing_waiting() {
    // One sends nothing, the other a byte per second: neither answer ever ends.
    let hang = Server::listen("127.0.0.1:0", None, |_, _| {
        thread::sleep(Duration::from_mins(1));
        false
    });
    let trickle = Server::listen("127.0.0.1:0", None, |_, stream| {
        for byte in b"HTTP/1.1 200 OK\r\nx-a: ".iter().chain([b'x'; 100].iter()) {
            if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
                break;
            }
            thread::sleep(Duration::from_secs(1));
        }
        false
    });
    let check = |server: &Server| {
        let device = Device::seen(&[apprise(server)]);
        device.fail("app:1", "network");
        let child = device.start(Some("--once"));
        wait_for("it is asked", || !server.requests().is_empty());
        let family = family(child.id());
        assert_eq!(family.len(), 2, "the service and what delivers");
        for pid in &family {
            for file in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).expect("it lives");
                assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
            }
        }
        for entry in fs::read_dir(device.outbox()).expect("the outbox").flatten() {
            let text = fs::read_to_string(entry.path()).expect("a file");
            assert!(!text.contains(SECRET) && !entry.file_name().to_string_lossy().contains(SECRET));
            assert_eq!(entry.metadata().expect("a file").mode() & 0o777, 0o600);
        }
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("no answer in time; they are tried again") && !text.contains(SECRET), "{text}");
        assert_eq!(device.waiting().values().next().expect("it waits")["unclear"], 1);
    };
    thread::scope(|scope| {
        scope.spawn(|| check(&hang));
        scope.spawn(|| check(&trickle));
    });
}

#[test]
fn no_core_file_is_left_of_the_service_or_of_what_delivers() {
    let hang = Server::listen("127.0.0.1:0", None, |_, _| {
        thread::sleep(Duration::from_mins(1));
        false
    });
    let device = Device::seen(&[apprise(&hang)]);
    device.fail("app:1", "network");
    let cores = device.scratch.0.join("cores");
    fs::create_dir_all(&cores).expect("a directory");
    let allowed = |command: &Command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]).arg(command.get_program());
        shell.args(command.get_args()).current_dir(&cores).stderr(Stdio::null()).spawn().expect("it starts")
    };
    let abort = |pid: u32| {
        assert!(Command::new("kill").args(["-ABRT", &pid.to_string()]).status().expect("kill runs").success());
    };
    let left = || fs::read_dir(&cores).expect("the directory").flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    // Another process must leave a core file here, or the rest of this test would prove nothing.
    let mut other = Command::new("sleep");
    let mut other = allowed(other.arg("60"));
    let comm = format!("/proc/{}/comm", other.id());
    wait_for("it runs", || fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep"));
    abort(other.id());
    assert!(other.wait().expect("it ends").core_dumped(), "this machine lets no process leave a core file");
    for file in left() {
        fs::remove_file(file).expect("it goes");
    }
    let mut command = device.command();
    command.arg("--once");
    let mut child = allowed(&command);
    wait_for("it is asked", || !hang.requests().is_empty());
    let delivers = family(child.id())[0];
    assert_ne!(delivers, child.id());
    abort(delivers);
    // The service counts this as an attempt with an unknown result.
    wait_for("it is noted", || device.waiting().values().all(|waiting| waiting["unclear"] == 1));
    let _ = child.wait();
    let mut service = allowed(&device.command());
    thread::sleep(Duration::from_millis(300));
    abort(service.id());
    assert!(!service.wait().expect("it ends").core_dumped());
    assert!(left().is_empty(), "{:?}", left());
}

#[test]
fn killed_at_any_step_it_loses_nothing_and_repeats_only_what_was_answered() {
    let (mut repeated, mut early) = (0, 0);
    for step in 0..60 {
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        let server = Server::start(None, move |_| {
            log.lock().expect("the log").push(Instant::now());
            thread::sleep(Duration::from_millis(8));
            answer("200 OK", &[], "")
        });
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let mut child = device.start(Some("--once"));
        thread::sleep(Duration::from_millis(step));
        child.kill().expect("killed, or it has ended");
        child.wait().expect("it ends");
        let killed = Instant::now();
        thread::sleep(Duration::from_millis(20));
        let before = received.lock().expect("the log").iter().filter(|at| **at <= killed).count();
        let is_left = !device.waiting().is_empty();
        device.once(0);
        let count = received.lock().expect("the log").len();
        assert!(device.waiting().is_empty());
        if before == 0 {
            early += 1;
            assert!((1..=2).contains(&count), "{step}");
        } else {
            // It is sent once more if its file had not been removed yet.
            assert_eq!(count, 1 + usize::from(is_left), "{step}");
        }
        repeated += usize::from(count == 2);
        // And never again after that.
        device.once(0);
        assert_eq!(received.lock().expect("the log").len(), count);
    }
    assert!(early > 0 && early < 60 && repeated < 60, "{early} before it was sent, {repeated} repeated");
}

#[test]
fn a_signal_during_an_attempt_waits_for_the_answer() {
    let server = Server::start(None, |_| {
        thread::sleep(Duration::from_millis(700));
        answer("200 OK", &[], "")
    });
    let device = Device::seen(&[apprise(&server)]);
    device.fail("app:1", "network");
    device.fail("app:2", "network");
    let child = device.start(Some("--once"));
    wait_for("it is asked", || !server.requests().is_empty());
    let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((text.matches("was delivered").count(), device.waiting().len()), (1, 1), "{text}");
    // The next run sends the message that waited, and does not repeat the first one.
    device.once(0);
    assert_eq!(titles(&server).len(), 2);
}

#[test]
fn a_service_for_notices_alone() {
    let server = ok();
    let device = Device::new(&[apprise(&server)]);
    let mut child = device.start(None);
    wait_for("it has seen the states", || device.outbox().join("noticed.json").exists());
    device.pull("app:1", "sha256:12");
    // This takes a random part of half a minute, until the next look at the states.
    wait_for("it is delivered", || !server.requests().is_empty());
    assert_eq!(titles(&server), ["pi-1 (Köln): app:1 has a new image"]);
    Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
