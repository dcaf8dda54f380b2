//! The state file on a device with problems: full and read-only file systems, power cuts, many pulls at once, clocks that jump.
//!
//! Needs root, to mount file systems.

use super::{BAR, ERROR, FROM, GOOD, LAYER, file, pull, rest, started, state, status, waiting};
use crate::support::{
    Ended, Engine, LIMIT, PROGRAM, Running, Step, Temp, answer, chunk, clean, eventually, program, run, stream,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

/// Runs a shell script with its own mounts. In it `pull` pulls the test's image and writes the state of a device.
fn with_mounts(temp: &Temp, engine: &Engine, script: &str) -> Ended {
    let script = format!(
        "set -eu\npull() {{ {PROGRAM} --retries 0 --no-log -q --host {} \"$@\" {}; }}\nstatus() {{ {PROGRAM} --status \"$@\"; }}\n{script}",
        engine.host(),
        temp.image()
    );
    let mut command = clean(Command::new("/usr/bin/unshare"), temp);
    run(command.env("PATH", "/usr/bin:/bin").args(["--mount", "sh", "-c", &script]))
}

fn good(temp: &Temp) -> Engine {
    Engine::new(temp, vec![Step::Write(stream(GOOD))])
}

#[test]
fn read_only_file_systems_and_directories_of_others_are_no_trouble_of_a_pull() {
    let temp = Temp::new();
    let engine = good(&temp);
    let reference = temp.image();
    let ended = with_mounts(
        &temp,
        &engine,
        "mkdir lib\nmount -t tmpfs none /run\nmount -t tmpfs none /var/lib\nmount -o remount,ro /run\nmount -o remount,ro /var/lib\n\
         pull\nstatus && exit 9 || test $? = 3",
    );
    assert_eq!((ended.code, &*ended.stdout), (Some(0), &*format!("{reference}\n")), "{ended:?}");
    assert!(ended.stderr.contains(": nothing is known of any image yet"), "{ended:?}");
    // Only one of the two directories can be written: its state is read.
    let ended = with_mounts(
        &temp,
        &engine,
        "mount -t tmpfs none /run\nmount -t tmpfs none /var/lib\nmount -o remount,ro /run\npull\nls /var/lib/alm/pull\nstatus",
    );
    assert!(ended.code == Some(0) && ended.stdout.contains("up to date") && ended.stderr.is_empty(), "{ended:?}");
    // Directories of another user, or links of another user in their place.
    for place in
        ["mkdir -p /run/alm/pull\nchown 12345 /run/alm/pull", "mkdir -p /run/alm other\nln -s $PWD/other /run/alm/pull"]
    {
        let script = format!(
            "mount -t tmpfs none /run\nmount -t tmpfs none /var/lib\n{place}\nmkdir -p /var/lib/alm\ncp -a /run/alm/pull /var/lib/alm/pull\n\
             pull\nfind /run/alm/pull/ /var/lib/alm/pull/ -name '*.json'"
        );
        let ended = with_mounts(&temp, &engine, &script);
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), &*format!("{reference}\n"), ""));
        let _ = fs::remove_dir_all(temp.join("other"));
    }
}

#[test]
fn metrics_that_cannot_be_written_are_named_and_change_nothing() {
    let temp = Temp::new();
    let engine = good(&temp);
    let metrics = temp.at("none/alm.prom");
    let complaint = format!("metrics {metrics}: No such file or directory (os error 2)");
    let ended = run(pull(&temp, &engine).args(["--metrics", &metrics]));
    assert_eq!((ended.code, ended.stderr.matches(&complaint).count()), (Some(0), 1), "{ended:?}");
    assert_eq!(state(&temp)["text"], "Pulled");
    let args =
        ["--check", "--state", &temp.at("state"), "--metrics", &metrics, "--host", &engine.host(), &temp.image()];
    let ended = run(program(&temp).args(args));
    assert_eq!((ended.code, ended.stderr.matches(&complaint).count()), (Some(3), 1), "{ended:?}");
}

#[test]
fn metrics_replace_no_device_and_no_link() {
    let temp = Temp::new();
    let engine = good(&temp);
    std::os::unix::fs::symlink("/proc/self/fd/1", temp.at("stdout")).expect("a link");
    rustix::fs::mkfifoat(rustix::fs::CWD, temp.at("fifo"), rustix::fs::Mode::RUSR).expect("a FIFO");
    fs::create_dir(temp.at("directory")).expect("a directory");
    for (name, kind) in [("stdout", "link"), ("fifo", "FIFO or socket"), ("directory", "directory")] {
        let metrics = temp.at(name);
        let before = fs::symlink_metadata(&metrics).expect("it is there");
        let ended = run(pull(&temp, &engine).args(["--metrics", &metrics]));
        let after = fs::symlink_metadata(&metrics).expect("it is there");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let complaint =
            ended.stderr.lines().find(|line| line.contains(&format!("metrics {metrics}: "))).unwrap_or_default();
        assert!(complaint.contains(kind), "{kind}: {ended:?}");
        assert_eq!((before.file_type(), before.ino()), (after.file_type(), after.ino()), "{name}");
        assert!(!fs::exists(temp.at(&format!(".{name}.lock"))).expect("a directory"), "{name}");
    }
}

#[test]
fn a_full_file_system_leaves_no_state_that_is_not_true() {
    let temp = Temp::new();
    let engine = good(&temp);
    // A file system that is full to the last byte, with the state of a run that ended long ago but was not marked as ended.
    let script = "mkdir full\nmount -t tmpfs -o size=64k none full\npull --state full\n\
                  sed -i 's/\"Done\"/\"Working\"/' full/*.json\n\
                  cat /dev/zero >full/filler 2>/dev/null || true\n\
                  pull --state full\nls -A full | grep -v filler || true\nstatus --state full";
    let ended = with_mounts(&temp, &engine, script);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    // The space of the old state was the only space.
    assert!(ended.stdout.contains("  up to date, checked ") && !ended.stdout.contains(".tmp"), "{ended:?}");
    // A file system without a free inode.
    let script = "mkdir inodes\nmount -t tmpfs -o nr_inodes=2 none inodes\ntouch inodes/filler\npull --state inodes\nls -A inodes";
    let ended = with_mounts(&temp, &engine, script);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.ends_with("filler\n"), "{ended:?}");
}

/// Runs `command` under strace, which kills it in place of the `nth` call that renames a file, like a power cut.
fn cut(command: &Command, nth: usize) {
    let renames = "renameat,renameat2";
    let mut strace = Command::new("/usr/bin/strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={renames}"), "-e"]);
    strace.arg(format!("inject={renames}:error=EIO:signal=KILL:when={nth}"));
    strace.arg(command.get_program()).args(command.get_args());
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // strace ends in the same way as its program.
    assert_eq!(run(&mut strace).code, None, "the {nth}th rename never came");
}

#[test]
fn a_power_cut_between_writing_and_renaming_leaves_what_was_there() {
    let temp = Temp::new();
    let engine = good(&temp);
    // Without an earlier state, and with one.
    cut(&pull(&temp, &engine), 1);
    assert_eq!(state(&temp), Value::Null);
    assert_eq!(status(&temp, &[]).code, Some(3));
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    let before = state(&temp);
    cut(&pull(&temp, &engine), 1);
    assert_eq!(state(&temp), before);
    // At the end of a run: the run counts as lost when its beat is old.
    cut(&pull(&temp, &engine), 2);
    assert_eq!(state(&temp)["status"], "Working");
    let is_temporary = |name: &str| name.starts_with('.');
    let names = || -> Vec<String> {
        let entries = fs::read_dir(temp.join("state")).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(names().iter().any(|name| is_temporary(name)), "{:?}", names());
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    assert_eq!(state(&temp)["received"], 100_000_000, "{}", state(&temp));
    assert!(!names().iter().any(|name| is_temporary(name)), "{:?}", names());
}

#[test]
fn what_is_kept_is_on_the_disk_before_it_has_its_name() {
    let temp = Temp::new();
    let engine = good(&temp);
    let trace = temp.at("trace");
    let script = format!(
        "mount -t tmpfs none /run\nmount -t tmpfs none /var/lib\n\
         strace -y -o {trace} -e trace=fsync,renameat,renameat2 {PROGRAM} --no-log -q --host {} {}",
        engine.host(),
        temp.image()
    );
    assert_eq!(with_mounts(&temp, &engine, &script).code, Some(0));
    let calls: Vec<String> =
        temp.read("trace").lines().filter(|line| line.contains("/var/lib")).map(str::to_owned).collect();
    let [file, rename, directory] = calls.as_slice() else { panic!("{calls:?}") };
    assert!(file.starts_with("fsync(") && file.contains(".tmp>"), "{file}");
    assert!(rename.starts_with("renameat"), "{rename}");
    assert!(directory.starts_with("fsync(") && directory.contains("/var/lib/alm/pull>"), "{directory}");
}

#[test]
fn a_pull_that_is_killed_at_whatever_moment_leaves_a_whole_state() {
    let temp = Temp::new();
    let bars = (1..200_u32).flat_map(|at| chunk(BAR.replace("12000000", &(at * 200_000).to_string())));
    let body = [crate::support::head(), chunk(FROM), chunk(LAYER), bars.collect(), rest()].concat();
    let engine = Engine::new(&temp, vec![Step::Trickle(body)]);
    for moment in 0..40 {
        let mut running = Running::start(&mut pull(&temp, &engine));
        std::thread::sleep(std::time::Duration::from_millis(moment));
        let _ = running.child.kill();
        running.wait();
        let state = state(&temp);
        assert!(state.is_null() || state["v"] == 1, "{state}");
        let _ = serde_json::from_str::<Value>(&status(&temp, &["--json"]).stdout).expect("whole JSON");
    }
}

#[test]
fn ten_thousand_foreign_files_and_links_change_nothing() {
    let temp = Temp::new();
    fs::create_dir(temp.join("state")).expect("a directory");
    let secret = temp.write("secret", "not ours");
    for at in 0..5_000 {
        temp.write(&format!("state/foreign%2F{at}.json"), "{\"v\":1");
        std::os::unix::fs::symlink(&secret, temp.join(format!("state/link%2F{at}.json"))).expect("a link");
    }
    // A link in the place of the state, and in the place of its temporary file.
    std::os::unix::fs::symlink(&secret, temp.at(&file(&temp))).expect("a link");
    let engine = good(&temp);
    let ended = run(&mut pull(&temp, &engine));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!((state(&temp)["text"].as_str(), temp.read("secret").as_str()), (Some("Pulled"), "not ours"));
    let rows: Vec<Value> = serde_json::from_str(&status(&temp, &["--json"]).stdout).expect("JSON");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(fs::exists(temp.join("state/foreign%2F1.json")).expect("it can be asked"));
}

#[test]
fn a_check_that_ends_after_a_pull_writes_nothing() {
    let temp = Temp::new();
    let asked = temp.at("asked.sock");
    let slow = Engine::serve(Path::new(&asked), |request| match &request.line {
        line if line.contains("/_ping") => {
            vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec())]
        }
        line if line.contains("/distribution/") => {
            vec![Step::Wait, Step::Write(answer(200, r#"{"Descriptor":{"digest":"sha256:old"}}"#))]
        }
        _ => vec![Step::Write(answer(200, r#"{"Id":"sha256:1","RepoDigests":["a@sha256:older"]}"#))],
    });
    let args = ["--check", "--state", &temp.at("state"), "--host", &slow.host(), &temp.image()];
    let check = Running::start(program(&temp).args(args));
    assert!(eventually(LIMIT, || slow.requests().iter().any(|request| request.line.contains("/distribution/"))));
    let engine = good(&temp);
    assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
    let pulled = state(&temp);
    slow.go();
    assert_eq!(check.end().code, Some(1));
    assert_eq!(state(&temp), pulled);
}

#[test]
fn an_attached_run_that_is_interrupted_leaves_the_other_its_state() {
    let temp = Temp::new();
    let engine = waiting(&temp, rest());
    let first = started(&temp, &engine);
    let attached = Running::start(&mut pull(&temp, &engine));
    assert!(
        eventually(LIMIT, || engine.requests().iter().filter(|request| request.line.starts_with("POST ")).count() == 2)
    );
    attached.signal(Signal::INT);
    assert_eq!(attached.end().code, Some(130));
    assert_eq!((&state(&temp)["pid"], &state(&temp)["status"]), (&first.child.id().into(), &"Working".into()));
    // One step for each of the two pulls.
    engine.go();
    engine.go();
    assert_eq!(first.end().code, Some(0));
    assert_eq!(state(&temp)["text"], "Pulled");
    assert!(state(&temp)["failing_since"].is_null());
}

#[test]
fn a_clock_that_jumps_by_a_year_makes_nobody_fail_for_a_year() {
    let temp = Temp::new();
    let fail = || {
        let engine = Engine::new(&temp, vec![Step::Write(stream([FROM, LAYER, ERROR]))]);
        assert_eq!(run(&mut pull(&temp, &engine)).code, Some(1));
        let _ = fs::remove_file(&engine.socket);
        state(&temp)
    };
    fail();
    // States that were written while the clock was far ahead, or not yet set.
    for wrong in ["2099-01-01T00:00:00Z", "1970-01-01T00:00:07Z"] {
        let mut written = state(&temp);
        for key in ["time", "since", "failing_since"] {
            written[key] = wrong.into();
        }
        temp.write(&file(&temp), written.to_string());
        let shown = status(&temp, &[]);
        assert_eq!(shown.code, Some(1));
        let failing = fail();
        assert_eq!((&failing["failing_since"], &failing["since"]), (&failing["time"], &failing["time"]));
        assert!(!failing.to_string().contains(&wrong[..4]), "{failing}");
    }
    assert_eq!(state(&temp)["attempts"], 3);
}
#[test]
fn a_pull_neither_waits_nor_fails_for_its_state() {
    let temp = Temp::new();
    // A file in the place of the directory, a pipe in the place of the state, and a link that leads elsewhere.
    let engine = || Engine::new(&temp, vec![Step::Write(stream(GOOD))]);
    temp.write("state", "");
    let served = engine();
    let ended = run(&mut pull(&temp, &served));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    fs::remove_file(temp.at("state")).expect("a file");
    let _ = fs::remove_file(&served.socket);
    fs::create_dir(temp.at("state")).expect("a directory");
    let path = temp.at(&file(&temp));
    rustix::fs::mknodat(rustix::fs::CWD, &*path, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("a pipe");
    let served = engine();
    let ended = run(&mut pull(&temp, &served));
    assert_eq!((ended.code, &*ended.stderr, &state(&temp)["text"]), (Some(0), "", &"Pulled".into()));
    let _ = fs::remove_file(&served.socket);
    fs::remove_file(&path).expect("a state");
    let other = temp.write("other", "not ours");
    std::os::unix::fs::symlink(&other, &path).expect("a link");
    let served = engine();
    assert_eq!(run(&mut pull(&temp, &served)).code, Some(0));
    assert_eq!((temp.read("other").as_str(), &state(&temp)["text"]), ("not ours", &"Pulled".into()));
}

#[test]
fn many_pulls_at_once_leave_whole_states_and_one_file_of_metrics() {
    const PULLS: usize = 100;
    // Two pulls of each image, one of which attaches to the transfer of the other.
    const IMAGES: usize = PULLS / 2;
    let temp = Temp::new();
    let engine = Engine::new(&temp, vec![Step::Write(stream(GOOD))]);
    let metrics = temp.at("alm.prom");
    let pulls: Vec<Running> = (0..PULLS)
        .map(|at| {
            let mut command = program(&temp);
            command.args([
                "--no-log",
                "-q",
                "--state",
                &temp.at("state"),
                "--metrics",
                &metrics,
                "--host",
                &engine.host(),
            ]);
            Running::start(command.arg(format!("{}-{}", temp.image(), at % IMAGES)))
        })
        .collect();
    assert!(pulls.into_iter().all(|pull| pull.end().code == Some(0)));
    let rows: Vec<Value> = serde_json::from_str(&status(&temp, &["--json"]).stdout).expect("JSON");
    assert_eq!(rows.iter().filter(|row| row["text"] == "Pulled").count(), IMAGES);
    let metrics = temp.read("alm.prom");
    assert_eq!(metrics.matches("alm_pull_last_exit_code{").count(), IMAGES, "{metrics}");
    let left = fs::read_dir(&*temp)
        .expect("a directory")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("alm.prom."));
    assert_eq!(left.count(), 0);
}
