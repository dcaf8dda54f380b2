//! Another user of the device, who tries what he can: root's pull is logged in full all the same. Only root can be somebody else
//! too, so these tests are run as root.

use super::log::{begin, finish};
use super::{GOOD, pull, whole};
use crate::support::{Engine, LIMIT, PROGRAM, Running, Temp, clean, eventually, human_lines, program, run, texts};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

/// Where root's locks are.
const LOCKS: &str = "/run/alm/lock";

/// A shell of nobody's, who can enter the directory of the test.
fn nobody(temp: &Temp, script: &str) -> Command {
    fs::set_permissions(&**temp, Permissions::from_mode(0o777)).expect("ours");
    let mut command = clean(Command::new("/usr/bin/setpriv"), temp);
    command.env("PATH", "/usr/bin:/bin");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c", script]);
    command
}

#[test]
fn a_neighbour_cannot_hold_fill_link_or_swell_anything() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    // The first pull makes the directory of the locks.
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    let before = temp.read("log");
    assert_eq!(fs::metadata(LOCKS).expect("made").mode() & 0o7777, 0o700);

    // He opens and locks all that he can open, and tries to put something there.
    let script = format!(
        "exec >{said} 2>/dev/null
        touch {flag}
        for file in {LOCKS} {LOCKS}/* /run/alm {log}; do
            flock -n \"$file\" -c \"echo held $file; while [ -e {flag} ]; do sleep 0.1; done\" &
        done
        (: >{LOCKS}/x) || echo no file
        ln -s /etc/passwd {LOCKS}/link || echo no link
        rm -rf {LOCKS} || echo no removal
        mv /run/alm /run/alm.away || echo no move
        (: >/run/alm/x) || echo no file beside
        echo ready; wait",
        log = temp.at("log"),
        said = temp.at("said"),
        flag = temp.at("flag"),
    );
    let _neighbour = Running::start(&mut nobody(&temp, &script));
    assert!(eventually(LIMIT, || temp.read("said").contains("ready\n")), "{}", temp.read("said"));
    let all_may_read = format!("held {}\n", temp.at("log"));
    assert!(eventually(LIMIT, || temp.read("said").contains(&all_may_read)), "{}", temp.read("said"));
    let said = temp.read("said");
    for attempt in ["no file\n", "no link\n", "no removal\n", "no move\n", "no file beside\n"] {
        assert!(said.contains(attempt), "{attempt}: {said}");
    }
    // What all may read can be locked by all; nothing of ours depends on such a lock.
    assert!(!said.contains(&format!("held {LOCKS}")), "{said}");

    let ended = run(&mut pull(&temp, &engine));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(!ended.stdout.contains("already"), "{}", ended.stdout);
    let log = temp.read("log");
    assert_eq!(human_lines(&log[before.len()..]), ended.stdout, "the log has it in full");
    assert!(texts(&log).iter().any(|text| text.contains("Layer abc123: Complete (1/1)")), "{log}");
}

#[test]
fn a_neighbours_pull_of_the_same_image_is_his_own() {
    let temp = Temp::new();
    let (engine, first) = begin(&temp);
    fs::set_permissions(&engine.socket, Permissions::from_mode(0o666)).expect("ours");
    let _ = fs::rename(temp.join("docker.sock"), temp.join("first.sock"));
    let other = Engine::new(&temp, whole(GOOD));
    fs::set_permissions(&other.socket, Permissions::from_mode(0o666)).expect("ours");
    fs::create_dir(temp.join("runtime")).expect("a directory");
    std::os::unix::fs::chown(temp.join("runtime"), Some(65534), Some(65534)).expect("root may");
    for runtime in [String::new(), temp.at("runtime"), "relative".to_owned(), LOCKS.to_owned()] {
        let script = format!("{PROGRAM} --no-log --retries 0 --host {} {}", other.host(), temp.image());
        let ended = run(nobody(&temp, &script).env("XDG_RUNTIME_DIR", &runtime));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{runtime}: {ended:?}");
        assert!(!ended.stdout.contains("already"), "{runtime}: {}", ended.stdout);
    }
    assert_eq!(fs::metadata(temp.join("runtime/alm/lock")).expect("made").mode() & 0o7777, 0o700);
    finish(&engine, first);
}

#[test]
fn a_recording_is_not_written_through_a_neighbours_link_nor_read_by_him() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    temp.write("precious", "precious");
    assert_eq!(run(&mut nobody(&temp, "ln -s precious link && : >his && chmod 666 his")).code, Some(0));
    let record = |name: &str| {
        run(program(&temp).args([
            "--no-log",
            "--retries",
            "0",
            "--host",
            &engine.host(),
            "--record",
            &temp.at(name),
            &temp.image(),
        ]))
    };
    let ended = record("link");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("is a symbolic link of another user, which is not followed"), "{ended:?}");
    assert_eq!(temp.read("precious"), "precious");
    assert_eq!(record("ours").stderr, "");
    let mode = |name: &str| fs::metadata(temp.join(name)).expect("written").mode() & 0o777;
    assert_eq!(mode("ours"), 0o600);
    assert_eq!(run(&mut nobody(&temp, "cat ours")).stdout, "");
    assert!(temp.read("ours").contains("Pulling fs layer"));
}
