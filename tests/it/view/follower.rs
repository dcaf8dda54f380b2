//! A viewer that follows the log, as a process whose output a test reads.

use super::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

pub(super) struct Follower {
    pub(super) child: Child,
    /// Its output so far.
    pub(super) shown: Arc<Mutex<String>>,
}

impl Follower {
    pub(super) fn new(command: &mut Command) -> Self {
        let mut follower = Self::unread(command);
        follower.read();
        follower
    }

    pub(super) fn unread(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, shown: Arc::default() }
    }

    pub(super) fn read(&mut self) {
        let (mut stdout, shown) = (self.child.stdout.take().unwrap(), Arc::clone(&self.shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut rest = Vec::new();
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..count]);
                let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let lines: Vec<u8> = rest.drain(..whole).collect();
                shown.lock().unwrap().push_str(str::from_utf8(&lines).unwrap());
            }
        });
    }

    pub(super) fn shows(&self, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while *self.shown.lock().unwrap() != expected && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        assert_eq!(*self.shown.lock().unwrap(), expected);
    }

    pub(super) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Whether the viewer has this file open.
    pub(super) fn holds(&self, file: &Path) -> bool {
        let wanted = fs::metadata(file).unwrap();
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok()).any(|open| open.ino() == wanted.ino())
    }

    /// The peak of its resident memory, in KB.
    pub(super) fn peak(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the viewer ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends the viewer with a signal. Returns its exit code and its output on stderr.
    pub(super) fn end(&mut self, signal: Signal) -> (i32, String) {
        self.send(signal);
        // A signal that arrives before the program catches signals ends it like any other program.
        let status = self.exit();
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (code, stderr)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
