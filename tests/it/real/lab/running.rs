//! A pull while it runs.

use super::{LIMIT, PROGRAM, Pulled};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Running {
    pub(super) name: String,
    pub(super) stem: PathBuf,
    pub(super) child: Child,
    pub(super) began: Instant,
}

impl Running {
    fn read(&self, end: &str) -> String {
        let path = self.stem.with_extension(end);
        String::from_utf8(fs::read(&path).unwrap_or_default())
            .unwrap_or_else(|_| panic!("{} is not UTF-8", path.display()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `text` is on standard output.
    #[track_caller]
    pub(crate) fn await_text(&mut self, text: &str) {
        self.await_texts(&[text]);
    }

    /// Waits until all of `texts` are on standard output, in this order.
    #[track_caller]
    pub(crate) fn await_texts(&mut self, texts: &[&str]) {
        let until = Instant::now() + LIMIT;
        loop {
            let out = self.read("out");
            if texts.iter().try_fold(out.as_str(), |rest, text| Some(rest.split_once(text)?.1)).is_some() {
                return;
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            let (err, name) = (self.read("err"), &self.name);
            assert!(!ended && Instant::now() < until, "{name} never said {texts:?}:\n{out}{err}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the pull is running");
    }

    /// Waits for the end and compares the outputs: the log without raw lines must equal standard output, and a replay of the
    /// recording must have the same output, log and exit code.
    pub(crate) fn finish(mut self) -> Pulled {
        let exit = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status.code().unwrap_or_else(|| panic!("{} died of {:?}", self.name, status.signal()));
            }
            let (out, name) = (self.read("out"), &self.name);
            assert!(self.began.elapsed() < LIMIT, "{name} does not end:\n{out}");
            thread::sleep(Duration::from_millis(5));
        };
        let took = self.began.elapsed();
        let (out, err, log) = (self.read("out"), self.read("err"), self.read("log"));
        let pulled = Pulled { name: self.name.clone(), exit, out, err, log, took };
        println!("{pulled}"); // shown if the test fails later
        pulled.check_rules();
        let again = self.stem.with_extension("again.log");
        let replay = Command::new(PROGRAM)
            .arg("--replay")
            .arg(self.stem.with_extension("rec"))
            .arg("--log")
            .arg(&again)
            .env("LC_ALL", "C.UTF-8")
            .output();
        let replay = replay.expect("the program runs");
        let replayed = String::from_utf8_lossy(&replay.stdout);
        assert_eq!(replayed, pulled.out, "the replay of {pulled}");
        assert_eq!(fs::read_to_string(again).expect("the replay's log"), pulled.log, "the replay's log of {pulled}");
        assert_eq!(replay.status.code(), Some(exit), "the replay's exit code of {pulled}");
        pulled
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
