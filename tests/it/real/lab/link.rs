//! A link between an engine and another host, which can be slow, stall or break (`tests/lab/link.py`).

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const LINK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/link.py");

/// A running link; `tests/lab/link.py` describes its commands.
pub(crate) struct Link {
    pub(crate) address: String,
    child: Child,
    answers: RefCell<BufReader<ChildStdout>>,
}

impl Link {
    /// A link to a registry with `rate` bytes per second.
    pub(crate) fn to(registry: &str, rate: u64) -> Self {
        Self::open(registry.as_ref(), rate)
    }

    /// A link that makes a Unix socket reachable over TCP.
    pub(crate) fn to_socket(path: &Path) -> Self {
        Self::open(path.as_os_str(), 0)
    }

    fn open(target: &OsStr, rate: u64) -> Self {
        let mut command = Command::new(LINK);
        // The link ends when its input ends, so it ends with the test even if that is killed.
        command.arg(target).arg(rate.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{LINK}: {error}"));
        let answers = RefCell::new(BufReader::new(child.stdout.take().expect("a pipe")));
        let mut link = Self { address: String::new(), child, answers };
        link.address = link.answer();
        link
    }

    fn answer(&self) -> String {
        let mut line = String::new();
        self.answers.borrow_mut().read_line(&mut line).expect("an answer");
        assert!(line.ends_with('\n'), "{LINK} has ended");
        line.trim_end().to_owned()
    }

    fn order(&self, order: &str) -> String {
        let mut orders = self.child.stdin.as_ref().expect("a pipe");
        orders.write_all(format!("{order}\n").as_bytes()).expect("the link runs");
        self.answer()
    }

    pub(crate) fn set_rate(&self, rate: u64) {
        self.order(&format!("rate {rate}"));
    }

    pub(crate) fn stall(&self) {
        self.order("stall");
    }

    pub(crate) fn reset(&self) {
        self.order("reset");
    }

    /// The number of bytes that came from the target.
    pub(crate) fn carried(&self) -> u64 {
        self.order("carried").parse().expect("a number")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
