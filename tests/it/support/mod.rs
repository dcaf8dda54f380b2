//! Shared by several tests: the executable in a clean environment, temporary directories, and a fake engine on a real socket.
//!
//! **Invariant:** no test depends on the speed of the machine. Events that must happen are waited for with a generous limit;
//! that something does not happen is checked after a later event has happened.

mod engine;
mod traced;

pub(crate) use engine::{Engine, LAST_CHUNK, Request, Step, answer, chunk, head, stream};
pub(crate) use traced::{Traced, TracedEnd};

use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The limit for every event that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The executable under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-pull-with-progress");

/// The directory of the fixtures.
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// A temporary directory of one test, removed with its value.
pub(crate) struct Temp {
    path: PathBuf,
    /// Unique on this machine. It is part of the names of images, too, because their locks are shared by all processes.
    name: String,
}

impl Temp {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dpwp{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(&name);
        fs::create_dir(&path).expect("a directory for the test");
        Self { path, name }
    }

    /// An image that no other test pulls.
    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:5000/{}:1", self.name)
    }

    /// The path of the file `name` in it, which need not exist.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Writes the file `name`. Returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path.join(name), content).expect("a file for the test");
        self.at(name)
    }

    /// Writes an executable shell script. Returns its path.
    pub(crate) fn script(&self, name: &str, script: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script for the test");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap_or_default()
    }
}

impl Deref for Temp {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let locks = fs::read_dir("/run/alm/lock").into_iter().flatten().flatten();
        for lock in locks.filter(|lock| lock.file_name().to_string_lossy().contains(&self.name.replace('-', "_"))) {
            let _ = fs::remove_file(lock.path());
        }
        // The states of pulls without `--state`.
        let states = ["/run/alm/pull", "/var/lib/alm/pull"].into_iter().flat_map(fs::read_dir).flatten().flatten();
        for state in states.filter(|state| state.file_name().to_string_lossy().contains(&self.name)) {
            let _ = fs::remove_file(state.path());
        }
    }
}

/// The executable, with an environment that contains only what every test needs. There is no docker on its PATH.
pub(crate) fn program(temp: &Temp) -> Command {
    clean(Command::new(PROGRAM), temp)
}

/// The same for another program, such as a shell that runs the executable.
pub(crate) fn clean(mut command: Command, temp: &Temp) -> Command {
    command.env_clear().env("LANG", "C.UTF-8").env("TZ", "UTC").env("HOME", &**temp).env("PATH", &**temp);
    command.current_dir(&**temp).stdin(Stdio::null());
    command
}

/// How a program ended, and its output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// Runs `command` with `input` on its standard input.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> Ended {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().expect("piped above");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        running.end()
    })
}

/// A running program. It is killed at the end of the test.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    /// Starts `command` with its output in pipes, unless the test has redirected it (see [`Running::start_as_is`]).
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_as_is(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    pub(crate) fn start_as_is(command: &mut Command) -> Self {
        let begun = Instant::now();
        loop {
            match command.spawn() {
                // A script that was just written is busy if another thread has forked meanwhile: that child still has it open.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && begun.elapsed() < LIMIT => {}
                child => return Self { child: child.expect("the program starts") },
            }
        }
    }

    /// Sends a signal. Fails if the program has ended.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the program still runs");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits until it ends by itself. Returns its exit code, and how long that took.
    pub(crate) fn wait(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        assert!(eventually(LIMIT, || self.has_ended()), "the program has not ended after {LIMIT:?}");
        (self.child.wait().expect("a child of ours").code(), begun.elapsed())
    }

    /// Waits for its end. Returns its whole output.
    pub(crate) fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(|| err.map(|mut err| err.read_to_end(&mut stderr)));
            scope.spawn(|| out.map(|mut out| out.read_to_end(&mut stdout)));
            let _ = self.wait();
        });
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Ended { code: self.wait().0, stdout: text(stdout), stderr: text(stderr) }
    }

    /// The peak of its memory, in KB. Works only while it runs.
    pub(crate) fn peak_memory(&self) -> u64 {
        peak_memory(self.child.id())
    }

    /// The number of times that it has gone to sleep.
    pub(crate) fn sleeps(&self) -> u64 {
        of_status(self.child.id(), "voluntary_ctxt_switches:")
    }
}

fn peak_memory(pid: u32) -> u64 {
    of_status(pid, "VmHWM:")
}

/// A number from `/proc` about a process; 0 if the process has ended.
fn of_status(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` is true. Returns whether that happened within `limit`.
pub(crate) fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The lines of a log for people, without the engine's own lines.
pub(crate) fn human_lines(log: &str) -> String {
    // `[2025-11-19 10:30:15] ` and not `[10:30:15] `
    log.split_inclusive('\n').filter(|line| line.get(5..6) == Some("-")).collect()
}

/// The lines for people, without their time stamps.
pub(crate) fn texts(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.get(5..6) == Some("-")).map(|line| &line[22..]).collect()
}

/// The engine's lines in a recording, unchanged: the data of all rows `e` and `r`.
pub(crate) fn engine_lines(recording: &str) -> Vec<String> {
    let rows = recording.lines().skip(1);
    let data = |row: &str| {
        let (_, row) = row.split_once(",\"")?;
        match row.split_at(4) {
            ("e\",{", _) => Some(row[3..row.len() - 1].to_owned()),
            ("r\",\"", _) => serde_json::from_str(&row[3..row.len() - 1]).ok(),
            _ => None,
        }
    };
    rows.filter_map(data).collect()
}
