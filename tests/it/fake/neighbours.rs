//! Attacks by another user of the device: root's pull is nevertheless logged completely. Only root can act as another user, so
//! these tests need root.

use super::log::{begin, finish};
use super::{GOOD, begun, pull, whole};
use crate::support::{
    Engine, LIMIT, PROGRAM, Running, Step, Temp, clean, eventually, human_lines, program, run, texts,
};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

/// The directory of root's locks.
const LOCKS: &str = "/run/alm/lock";

/// A shell of the user nobody, who can enter the directory of the test.
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
    // The first pull creates the directory of the locks.
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    let before = temp.read("log");
    assert_eq!(fs::metadata(LOCKS).expect("made").mode() & 0o7777, 0o700);

    // The user opens and locks every file that he can open, and tries to create files.
    let script = format!(
        "exec >{printed} 2>/dev/null
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
        printed = temp.at("printed"),
        flag = temp.at("flag"),
    );
    let _neighbour = Running::start(&mut nobody(&temp, &script));
    assert!(eventually(LIMIT, || temp.read("printed").contains("ready\n")), "{}", temp.read("printed"));
    let all_may_read = format!("held {}\n", temp.at("log"));
    assert!(eventually(LIMIT, || temp.read("printed").contains(&all_may_read)), "{}", temp.read("printed"));
    let printed = temp.read("printed");
    for attempt in ["no file\n", "no link\n", "no removal\n", "no move\n", "no file beside\n"] {
        assert!(printed.contains(attempt), "{attempt}: {printed}");
    }
    // A file that everyone may read can be locked by everyone; the program does not depend on such a lock.
    assert!(!printed.contains(&format!("held {LOCKS}")), "{printed}");

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
    // The owner of a file can always make it readable, whatever its mode is now.
    let ended = record("his");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("belongs to another user"), "{ended:?}");
    assert_eq!(temp.read("his"), "");
}

#[test]
fn a_neighbour_cannot_touch_the_state_nor_the_engine() {
    let temp = Temp::new();
    let (engine, pulling) = begin(&temp);
    fs::set_permissions(&engine.socket, Permissions::from_mode(0o660)).expect("ours");
    let name = temp.image().replace('/', "%2F").replace(':', "%3A");
    let file = format!("/run/alm/pull/{name}.json");
    assert!(eventually(LIMIT, || fs::exists(&file).unwrap_or(false)), "{file}");
    let script = format!(
        "exec >{printed} 2>/dev/null
        touch {flag}
        flock '{file}' -c 'echo locked; while [ -e {flag} ]; do sleep 0.1; done' &
        for name in '{file}' /run/alm/pull/x /var/lib/alm/pull/x '{file}.tmp'; do
            (: >\"$name\") || echo no file
            ln -sf /etc/passwd \"$name\" || echo no link
            mkfifo \"$name\" || echo no fifo
            rm -f \"$name\" 2>/dev/null && [ -e '{file}' ] && echo kept
        done
        mv '{file}' /tmp/x || echo no move
        /usr/bin/python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('{socket}')\" || echo no engine
        ls -l '{file}' >/dev/null && grep -q Working '{file}' && echo may look
        echo ready; wait",
        printed = temp.at("printed"),
        flag = temp.at("flag"),
        socket = engine.socket.display(),
    );
    let _neighbour = Running::start(&mut nobody(&temp, &script));
    assert!(eventually(LIMIT, || temp.read("printed").contains("ready\n")), "{}", temp.read("printed"));
    assert!(eventually(LIMIT, || temp.read("printed").contains("locked\n")), "{}", temp.read("printed"));
    let printed = temp.read("printed");
    for (attempt, count) in [("no file", 4), ("no link", 4), ("no fifo", 4), ("no move", 1), ("no engine", 1)] {
        assert_eq!(printed.matches(&format!("{attempt}\n")).count(), count, "{attempt}: {printed}");
    }
    // Everyone may read the state of a pull.
    assert!(printed.contains("may look\n"), "{printed}");
    finish(&engine, pulling);
    let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).expect("kept")).expect("JSON");
    assert_eq!(state["text"], "Pulled", "{state}");
}

/// Files that docker's own client would read completely.
#[test]
fn a_neighbours_configuration_swells_nothing() {
    let huge = |path: &str| {
        let file = fs::File::create(path).expect("ours");
        file.set_len(200_000_000).expect("a hole");
    };
    let check = |name: &str, prepare: &dyn Fn(&Temp), variable: (&str, &str), args: &[&str], says: &str| {
        let temp = Temp::new();
        fs::create_dir_all(temp.join(".docker/contexts/meta")).expect("a directory");
        prepare(&temp);
        let engine = Engine::new(&temp, vec![begun(&GOOD), Step::Stall]);
        let mut command = pull(&temp, &engine);
        if args.first() == Some(&"no host") {
            temp.script("docker", "exec /bin/sleep 5");
            command = program(&temp);
            command.args(["--log", &temp.at("log"), "--retries", "0", &temp.image()]);
        } else {
            command.args(args.iter().map(|arg| arg.replace("TEMP", temp.to_str().expect("UTF-8"))));
        }
        let running = Running::start(command.env(variable.0, variable.1));
        let is_shown = || temp.read("log").contains(says);
        assert!(eventually(LIMIT, is_shown), "{name}: {}", temp.read("log"));
        assert!(running.peak_memory() < 12_000, "{name}: {} KB", running.peak_memory());
    };
    let none = ("UNUSED", "");
    let config = |temp: &Temp| temp.at(".docker/config.json");
    check("200 MB", &|temp| huge(&config(temp)), none, &[], "is larger than 1024 KiB");
    let link = |temp: &Temp| std::os::unix::fs::symlink("/dev/zero", config(temp)).expect("a link");
    check("a device", &link, none, &[], "is a device, not a regular file");
    check(
        "a directory",
        &|temp| fs::create_dir(config(temp)).expect("ours"),
        none,
        &[],
        "is a directory, not a regular",
    );
    let fifo = |temp: &Temp| {
        assert!(Command::new("mkfifo").arg(config(temp)).status().expect("mkfifo").success());
    };
    check("a FIFO", &fifo, none, &[], "is a FIFO or socket, not a regular file");
    let token = |temp: &Temp| huge(&temp.at("token"));
    check("a token", &token, none, &["--token-file", "TEMP/token"], "is larger than");
    // The directory of a context is named by the hash of the context's name.
    let meta = |temp: &Temp| {
        let name = "ed9d7ebd2a0e1b8d6c0f2c5f3e2c0d2c";
        for hash in [name, "3fdba35f04dc8c462986c992bcf875546257113072a909c162f7e470e581e278"] {
            fs::create_dir_all(temp.join(format!(".docker/contexts/meta/{hash}"))).expect("a directory");
            huge(&temp.at(&format!(".docker/contexts/meta/{hash}/meta.json")));
        }
    };
    check("a context", &meta, ("DOCKER_CONTEXT", "his"), &["no host"], "was not found in");
}

/// The directory with docker's configuration, which contains the token, is readable only for its owner.
#[test]
fn a_token_is_not_put_where_a_neighbour_could_take_its_place() {
    let temp = Temp::new();
    fs::create_dir(temp.join("runtime")).expect("a directory");
    std::os::unix::fs::chown(temp.join("runtime"), Some(65534), Some(65534)).expect("root may");
    let token = temp.write("token", "secret");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("ours");
    temp.script("docker", "echo \"$2\" > where; stat -c '%a %u' \"$2\" \"$2/config.json\" > modes");
    let mut command = program(&temp);
    command.args(["--no-log", "--host", "tcp://127.0.0.1:1", "--token-file", &token, &temp.image()]);
    command.env("XDG_RUNTIME_DIR", temp.at("runtime")).env("PATH", format!("{}:/usr/bin:/bin", temp.display()));
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let place = temp.read("where");
    assert!(place.starts_with("/run/") || place.starts_with("/dev/shm/"), "{place}");
    assert_eq!(temp.read("modes"), "700 0\n600 0\n");
}
