//! A child process whose output is read with a time limit.
//!
//! Credential helpers and `docker pull` are programs of others: they hang, they leave children that hold the pipe open,
//! they close their output and sleep on. The caller must be able to check signals and limits meanwhile. The output is a
//! pipe that is polled, and not a socket: a helper written in shell cannot open a socket as `/dev/stdin` or
//! `/dev/stdout`. The input of a child may be larger than a pipe (a key), so it is written while the output is read,
//! whenever the pipe has room: a child may write first, read late or not at all.
//!
//! **Invariant:** no call waits much longer than one tick, and dropping a `Child` kills a child that still runs.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::os::wait::{OnTick, TICK, any_ready};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Bytes. The most that a pipe can hold of a child that has ended (1 MiB is the largest pipe that Linux gives without
/// privileges). Anything after that was written by another process.
const PIPE_MAX: usize = 1 << 20;

/// How a child is started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    /// Its standard input; `/dev/null` if there is none.
    pub(crate) input: Option<&'a [u8]>,
    /// Whether standard error is read together with the output; otherwise it is `/dev/null`.
    pub(crate) merge_stderr: bool,
    /// Whether it gets a process group of its own: then a hang-up of the terminal or Ctrl-C does not reach it, and
    /// `signal` reaches its children, too.
    pub(crate) own_group: bool,
}

/// Finds an executable in the directories of `path`. Relative directories are skipped, as in Go: otherwise a file in
/// the present directory could be executed.
pub(crate) fn program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let runs = |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0);
    let directories = env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(name)).find(runs)
}

/// Runs a program to its end, and returns its status and at most `max` bytes of its output. An error is a phrase that
/// follows the program's name, as in "docker-credential-x did not answer within 30s". `on_tick` is called with every
/// read.
pub(crate) fn collect(
    command: Command,
    setup: Setup,
    limit: Duration,
    max: usize,
    on_tick: OnTick<'_>,
) -> Result<(ExitStatus, Vec<u8>), String> {
    let mut child = Child::spawn(command, setup).map_err(|error| format!("could not be started: {error}"))?;
    let (mut output, mut buffer, mut waited) = (Vec::new(), [0; 4096], Duration::ZERO);
    loop {
        let begun = Instant::now();
        match child.read(&mut buffer).map_err(|error| format!("could not be read: {error}"))? {
            Read::Bytes(count) => output.extend_from_slice(&buffer[..count]),
            Read::Tick => {}
            Read::End(status) => return Ok((status, output)),
        }
        // At most one tick is counted for each read: a process that was stopped and continued has not waited.
        waited += begun.elapsed().min(TICK);
        if output.len() > max {
            return Err(format!("wrote more than {} KiB", max >> 10));
        }
        if waited >= limit {
            return Err(format!("did not answer within {}s", limit.as_secs()));
        }
        if on_tick().is_break() {
            return Err("was interrupted".to_owned());
        }
    }
}

/// A running child, and the read end of its output.
pub(crate) struct Child {
    process: process::Child,
    /// The input that is not written yet.
    input: Option<Input>,
    output: Option<PipeReader>,
    status: Option<ExitStatus>,
    own_group: bool,
    /// How many bytes may still be read after the child has ended.
    left: usize,
}

/// The write end of a child's input, and the bytes that are still to be written.
struct Input {
    pipe: PipeWriter,
    bytes: Vec<u8>,
    written: usize,
}

impl Input {
    /// Writes as much as the pipe has room for. Returns whether bytes are left.
    fn feed(&mut self) -> bool {
        while self.written < self.bytes.len() {
            match self.pipe.write(&self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // The child closed its input; it reports itself if that is a problem.
                Err(_) => return false,
            }
        }
        false
    }
}

/// The result of one `Child::read`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// This many bytes are at the beginning of the buffer.
    Bytes(usize),
    /// Nothing arrived in this tick: the caller can check signals and limits.
    Tick,
    /// The child has ended, and all of its output was read.
    End(ExitStatus),
}

impl Child {
    /// Starts `command`. It is consumed, because it holds the write end of the pipe open.
    pub(crate) fn spawn(mut command: Command, setup: Setup) -> io::Result<Self> {
        let (output, writer) = io::pipe()?;
        let mut input = None;
        command.stdin(match setup.input {
            Some(bytes) => {
                let (reader, pipe) = io::pipe()?;
                fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
                input = Some(Input { pipe, bytes: bytes.to_vec(), written: 0 });
                reader.into()
            }
            None => Stdio::null(),
        });
        command.stderr(if setup.merge_stderr { writer.try_clone()?.into() } else { Stdio::null() });
        command.stdout(writer);
        if setup.own_group {
            command.process_group(0);
        }
        let process = command.spawn()?;
        Ok(Self { process, input, output: Some(output), status: None, own_group: setup.own_group, left: PIPE_MAX })
    }

    /// Waits at most one tick for output, and meanwhile writes input.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        self.read_within(buffer, TICK)
    }

    /// The same without waiting.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        self.read_within(buffer, Duration::ZERO)
    }

    /// The descriptor of the output while it is open, for poll.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    fn read_within(&mut self, buffer: &mut [u8], tick: Duration) -> io::Result<Read> {
        // Checked before the pipe is read: if the child has ended by now, the pipe already holds the rest of its output.
        self.reap()?;
        self.feed();
        if let Some(output) = &mut self.output {
            let tick = if self.status.is_some() { Duration::ZERO } else { tick };
            let mut files = vec![PollFd::new(output, PollFlags::IN)];
            files.extend(self.input.as_ref().map(|input| PollFd::new(&input.pipe, PollFlags::OUT)));
            any_ready(&mut files, tick)?;
            if files[0].revents().is_empty() {
                return Ok(self.status.map_or(Read::Tick, Read::End));
            }
            match output.read(buffer) {
                Ok(0) => self.output = None,
                Ok(count) if self.status.is_none() => return Ok(Read::Bytes(count)),
                Ok(count) if count <= self.left => {
                    self.left -= count;
                    return Ok(Read::Bytes(count));
                }
                Ok(_) => self.output = None,
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Read::Tick),
                Err(error) => return Err(error),
            }
        }
        // The output is closed, usually because the child is about to end: wait in small steps, to notice it at once.
        for _ in 0..10 {
            self.reap()?;
            if let Some(status) = self.status {
                return Ok(Read::End(status));
            }
            self.feed();
            if tick.is_zero() {
                break;
            }
            thread::sleep(tick / 10);
        }
        Ok(Read::Tick)
    }

    /// Sends a signal to the child, or to its process group if it has its own. Does nothing after the child has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // After the child was reaped, its process id may belong to another process.
        if self.status.is_none() {
            let pid = Pid::from_child(&self.process);
            // Fails only if the child is already gone.
            let _ = if self.own_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
    }

    /// Writes as much of the input as the child accepts, and closes the pipe after the last byte.
    fn feed(&mut self) {
        self.input.take_if(|input| !input.feed());
    }

    fn reap(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            self.status = self.process.try_wait()?;
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // Not `wait`: a child in an uninterruptible system call dies only when that call ends, which may be never.
        for _ in 0..10 {
            if self.reap().is_err() || self.status.is_some() {
                break;
            }
            thread::sleep(TICK / 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn shell(script: &str, setup: Setup) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Child::spawn(command, setup).unwrap()
    }

    /// The whole output, the exit code, and how many ticks it took.
    fn drain(child: &mut Child) -> (String, Option<i32>, usize) {
        let (mut all, mut buffer, mut ticks) = (Vec::new(), [0; 64], 0);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            match child.read(&mut buffer).unwrap() {
                Read::Bytes(count) => all.extend(&buffer[..count]),
                Read::Tick => ticks += 1,
                Read::End(status) => {
                    return (String::from_utf8(all).unwrap(), status.code(), ticks);
                }
            }
        }
        panic!("no end after {ticks} ticks, with {:?}", String::from_utf8_lossy(&all));
    }

    #[test]
    fn output_and_status() {
        let merge = Setup { merge_stderr: true, ..Setup::default() };
        let input = Setup { input: Some(b"in\n"), ..Setup::default() };
        for (script, setup, text, code) in [
            ("echo out; echo err >&2; exit 3", Setup::default(), "out\n", Some(3)),
            ("echo out; echo err >&2", merge, "out\nerr\n", Some(0)),
            ("cat", Setup::default(), "", Some(0)),
            ("cat; echo end", input, "in\nend\n", Some(0)),
            // Opened by name, as scripts do it; with a socket that would fail.
            ("cat /dev/stdin >/dev/stdout", input, "in\n", Some(0)),
            ("kill -9 $$", Setup::default(), "", None),
        ] {
            let (output, exit, _) = drain(&mut shell(script, setup));
            assert_eq!((output.as_str(), exit), (text, code), "{script}");
        }
        let long = drain(&mut shell("seq 1 30000", Setup::default())).0;
        assert!(long.ends_with("29999\n30000\n") && long.lines().count() == 30000);
    }

    #[test]
    fn more_input_than_a_pipe_holds_is_written_on_ticks() {
        let input = vec![b'x'; 1 << 20];
        let setup = Setup { input: Some(&input), ..Setup::default() };
        for (script, expected, code) in [
            ("wc -c", "1048576", 0),
            // A child that writes more than a pipe holds before it reads, reads late, or has closed its output before.
            ("seq 1 30000 | tail -c 200000; wc -c", "\n1048576", 0),
            ("sleep 0.3; wc -c", "1048576", 0),
            ("exec >&-; test $(wc -c) = 1048576 || exit 9; exit 5", "", 5),
            // A child that reads only a part, or nothing.
            ("head -c 100000 | wc -c; exec <&-; echo no more", "100000\nno more", 0),
            ("exit 3", "", 3),
            ("exec <&-; sleep 0.3; echo none", "none", 0),
        ] {
            let begun = Instant::now();
            let (output, exit, _) = drain(&mut shell(script, setup));
            assert!(output.trim().ends_with(expected.trim_start()), "{script}: {output}");
            assert_eq!(exit, Some(code), "{script}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{script}");
        }
        // A child that neither reads nor ends is killed.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 20"]);
        let setup = Setup { own_group: true, ..setup };
        let unanswered = collect(command, setup, Duration::from_millis(300), 100, &mut || ControlFlow::Continue(()));
        assert_eq!(unanswered.unwrap_err(), "did not answer within 0s");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let missing = Child::spawn(Command::new("/nonexistent"), Setup::default()).err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn to_read_now_is_not_to_wait() {
        let mut child = shell("exec 2>&1; sleep 0.2; echo late; exec >&-; sleep 20", Setup::default());
        let (begun, mut output, mut buffer) = (Instant::now(), Vec::<u8>::new(), [0; 64]);
        assert_eq!(child.read_now(&mut buffer).unwrap(), Read::Tick);
        assert!(begun.elapsed() < TICK, "{:?}", begun.elapsed());
        while child.output().is_some() && begun.elapsed() < Duration::from_secs(10) {
            match child.read_now(&mut buffer).unwrap() {
                Read::Bytes(count) => output.extend(&buffer[..count]),
                Read::Tick => thread::sleep(Duration::from_millis(1)),
                Read::End(status) => panic!("{status}"),
            }
        }
        assert_eq!(output, b"late\n");
        let asked = Instant::now();
        assert_eq!(child.read_now(&mut buffer).unwrap(), Read::Tick);
        assert!(asked.elapsed() < TICK, "{:?}", asked.elapsed());
    }

    #[test]
    fn a_silent_child_means_ticks() {
        let (text, code, ticks) = drain(&mut shell("sleep 0.3; echo late", Setup::default()));
        assert_eq!((text.as_str(), code), ("late\n", Some(0)));
        assert!((1..=6).contains(&ticks), "{ticks}");
    }

    #[test]
    fn a_child_that_closes_its_output_is_waited_for() {
        let (text, code, ticks) = drain(&mut shell("echo a; exec >&-; sleep 0.2; exit 5", Setup::default()));
        assert_eq!((text.as_str(), code), ("a\n", Some(5)));
        assert!((1..=6).contains(&ticks), "{ticks}");
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_does_not_keep_us() {
        let (text, code, _) = drain(&mut shell("sleep 20 & echo done", Setup::default()));
        assert_eq!((text.as_str(), code), ("done\n", Some(0)));
        // Nor does a child that never stops writing.
        let mut child = shell("yes & exit 4", Setup::default());
        let (text, code, _) = drain(&mut child);
        assert_eq!(code, Some(4));
        assert!(text.len() <= 2 * PIPE_MAX + 100);
    }

    #[test]
    fn signals_reach_the_child_or_its_group() {
        let mut child = shell("exec sleep 20", Setup::default());
        child.signal(Signal::TERM);
        assert_eq!(drain(&mut child).1, None);
        child.signal(Signal::TERM);

        let setup = Setup { own_group: true, ..Setup::default() };
        // Only the grandchild writes when it gets the signal, and the shell waits for it.
        let inner = "trap 'echo caught; exit' TERM; echo ready; while :; do sleep 0.02; done";
        let script = format!("trap : TERM; (\n{inner}\n) & wait; wait; exit 7");
        let mut child = shell(&script, setup);
        assert_eq!(child.read(&mut [0; 16]).unwrap(), Read::Bytes(6));
        child.signal(Signal::TERM);
        let (text, code, _) = drain(&mut child);
        assert_eq!((text.as_str(), code), ("caught\n", Some(7)));
    }

    #[test]
    fn dropping_ends_the_child() {
        let setup = Setup { own_group: true, ..Setup::default() };
        let child = shell("trap '' TERM; sleep 20", setup);
        let pid = Pid::from_child(&child.process);
        let begun = Instant::now();
        drop(child);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(kill_process(pid, Signal::KILL), Err(rustix::io::Errno::SRCH));
    }
}
