//! A child process whose output is read with a time limit.
//!
//! Credential helpers and `docker pull` are programs of others: they hang, they leave children of their own holding
//! the pipe, they close their output and sleep on. Whoever runs one must be able to look at signals and limits
//! meanwhile. The output is a pipe that is polled, not a socket: a helper written in shell that opens `/dev/stdin` or
//! `/dev/stdout` by name cannot do so with a socket.
//!
//! **Invariant:** no call waits much longer than one tick, and a child that still runs is ended with its `Child`.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, PipeReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::os::wait::{TICK, ready};
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// What every pipe takes without a reader (a page, where the user's share of pipe memory is used up).
const INPUT_MAX: usize = 4096;

/// The most that one pipe holds of a child that has ended (1 MiB is the largest pipe Linux gives unasked). What comes
/// after it was written by somebody else.
const PIPE_MAX: usize = 1 << 20;

/// How a child is to be started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    /// Its standard input, at most 4096 bytes; without it `/dev/null`.
    pub(crate) input: Option<&'a [u8]>,
    /// Standard error comes with the output; otherwise it goes to `/dev/null`.
    pub(crate) merge_stderr: bool,
    /// A process group of its own: a hang-up of the terminal or Ctrl-C does not reach it, and `signal` reaches its
    /// children too.
    pub(crate) own_group: bool,
}

/// An executable in one of the directories of `path`. Relative ones are passed over, as Go does it: they would run what
/// lies in whatever directory we were started in.
pub(crate) fn program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let runs = |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0);
    let directories = env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(name)).find(runs)
}

/// Runs a program to its end: its status and what it wrote, at most `max` bytes. An error is a predicate, as in
/// "docker-credential-x did not answer within 30s". `tick` is called with every read and answers whether to give up.
pub(crate) fn collect(
    command: Command,
    setup: Setup,
    limit: Duration,
    max: usize,
    tick: &mut dyn FnMut() -> bool,
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
        // No more than a tick for each, so that a stopped and resumed process has not waited.
        waited += begun.elapsed().min(TICK);
        if output.len() > max {
            return Err(format!("wrote more than {} KiB", max >> 10));
        }
        if waited >= limit {
            return Err(format!("did not answer within {}s", limit.as_secs()));
        }
        if tick() {
            return Err("was interrupted".to_owned());
        }
    }
}

/// A running child, and the reading end of its output.
pub(crate) struct Child {
    process: process::Child,
    output: Option<PipeReader>,
    status: Option<ExitStatus>,
    own_group: bool,
    /// How much may still come out of the pipe once the child has ended.
    left: usize,
}

/// What one `Child::read` brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes at the beginning of the buffer.
    Bytes(usize),
    /// Nothing in this tick: time to look at signals and limits.
    Tick,
    /// The child has ended and all it wrote has been read.
    End(ExitStatus),
}

impl Child {
    /// Starts `command`, which is taken because it keeps the writing end of the pipe open as long as it lives.
    pub(crate) fn spawn(mut command: Command, setup: Setup) -> io::Result<Self> {
        let (output, writer) = io::pipe()?;
        command.stdin(match setup.input {
            Some(bytes) if bytes.len() > INPUT_MAX => return Err(ErrorKind::InvalidInput.into()),
            Some(bytes) => {
                let (reader, mut writer) = io::pipe()?;
                writer.write_all(bytes)?;
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
        Ok(Self { process, output: Some(output), status: None, own_group: setup.own_group, left: PIPE_MAX })
    }

    /// Waits for output for one tick at most.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        // Asked before the pipe is looked at: what the pipe holds once the child is gone is all that it wrote.
        self.reap()?;
        if let Some(output) = &mut self.output {
            let tick = if self.status.is_some() { Duration::ZERO } else { TICK };
            if !ready(&*output, PollFlags::IN, tick)? {
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
        // The output is closed, most often because the child is about to end: in steps, so that it is seen at once.
        for _ in 0..10 {
            self.reap()?;
            if let Some(status) = self.status {
                return Ok(Read::End(status));
            }
            thread::sleep(TICK / 10);
        }
        Ok(Read::Tick)
    }

    /// Sends a signal to the child, or to its group where it has one of its own; nothing once it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // A number that has been waited for may belong to somebody else by now.
        if self.status.is_none() {
            let pid = Pid::from_child(&self.process);
            // Fails only for a child that is gone already.
            let _ = if self.own_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
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
        // Not `wait`: a child in an uninterruptible system call dies when that call ends, which may be never.
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

    fn shell(script: &str, setup: Setup) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Child::spawn(command, setup).unwrap()
    }

    /// The whole output, the exit code, and how many ticks it took; far from for ever.
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
        let full = [b'x'; INPUT_MAX];
        for (script, setup, text, code) in [
            ("echo out; echo err >&2; exit 3", Setup::default(), "out\n", Some(3)),
            ("echo out; echo err >&2", merge, "out\nerr\n", Some(0)),
            ("cat", Setup::default(), "", Some(0)),
            ("cat; echo end", input, "in\nend\n", Some(0)),
            // By name, as scripts do it; sockets refuse it.
            ("cat /dev/stdin >/dev/stdout", input, "in\n", Some(0)),
            ("exit 0", Setup { input: Some(&full), ..Setup::default() }, "", Some(0)),
            ("kill -9 $$", Setup::default(), "", None),
        ] {
            let (output, exit, _) = drain(&mut shell(script, setup));
            assert_eq!((output.as_str(), exit), (text, code), "{script}");
        }
        let long = drain(&mut shell("seq 1 30000", Setup::default())).0;
        assert!(long.ends_with("29999\n30000\n") && long.lines().count() == 30000);
    }

    #[test]
    fn too_much_input_and_a_missing_program_are_refused() {
        let setup = Setup { input: Some(&[0; INPUT_MAX + 1]), ..Setup::default() };
        let refused = Child::spawn(Command::new("/bin/true"), setup).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let missing = Child::spawn(Command::new("/nonexistent"), Setup::default()).err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_silent_child_gives_ticks() {
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
        // One that never stops talking does not either.
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
        // The grandchild alone writes when it is told to end, and the shell waits for that.
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
