//! The program on a pseudo-terminal, whose output is drawn by a terminal emulator.

use super::{PROGRAM, QUIET, until};
use avt::Terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(super) struct Tty {
    pub(super) master: File,
    pub(super) child: Child,
    pub(super) recording: Option<ChildStdin>,
    pub(super) terminal: Terminal,
    /// The text of each read, and its time.
    pub(super) reads: Vec<(Instant, String)>,
    partial: Vec<u8>,
}

impl Tty {
    pub(super) fn start(columns: u16, rows: u16, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut tty = Self::spawn(columns, rows, Command::new(PROGRAM).args(args).stdin(Stdio::piped()), env);
        tty.recording = tty.child.stdin.take();
        tty
    }

    /// A shell with job control, as after a login.
    pub(super) fn shell(columns: u16, rows: u16) -> Self {
        let mut shell = Command::new("setsid");
        let mut tty = Self::spawn(columns, rows, shell.args(["--ctty", "bash", "--norc", "-i"]), &[("PS1", "$ ")]);
        assert!(tty.shows("$"), "{}", tty.screen());
        tty
    }

    /// Waits until the screen contains `text`; returns whether it does.
    pub(super) fn shows(&mut self, text: &str) -> bool {
        let started = Instant::now();
        while !self.screen().contains(text) && started.elapsed() < Duration::from_secs(20) {
            self.watch(Duration::from_millis(50));
        }
        self.screen().contains(text)
    }

    /// Starts the command with its outputs, and its input unless that is another one, on a new terminal.
    fn spawn(columns: u16, rows: u16, command: &mut Command, env: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other side");
        let path = ptsname(&master, Vec::new()).expect("its name").into_string().expect("in ASCII");
        resize(&master, columns, rows);
        let slave = OpenOptions::new().read(true).write(true).open(path).expect("its other side");
        if command.get_program() != PROGRAM {
            command.stdin(slave.try_clone().expect("a copy"));
        }
        let child = command
            .env_clear()
            .envs([("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")])
            .envs(env.iter().copied())
            .stdout(slave.try_clone().expect("a copy"))
            .stderr(slave)
            .spawn()
            .expect("the program");
        let terminal = Terminal::with_scrollback(columns.into(), rows.into(), None).expect("a terminal");
        Self { master: File::from(master), child, recording: None, terminal, reads: Vec::new(), partial: Vec::new() }
    }

    /// Plays a recording up to a moment.
    pub(super) fn at(recording: &str, seconds: f64, columns: u16, rows: u16, env: &[(&str, &str)]) -> Self {
        let mut tty = Self::start(columns, rows, env, &["--replay", "-", "--progress", "tty"]);
        tty.feed(&until(recording, seconds));
        // On a busy machine the start can take longer than `QUIET`.
        let started = Instant::now();
        while tty.reads.is_empty() && started.elapsed() < Duration::from_secs(20) {
            tty.watch(QUIET);
        }
        assert!(tty.watch(QUIET), "it goes on");
        tty
    }

    pub(super) fn feed(&mut self, lines: &str) {
        self.recording.as_mut().expect("the pipe").write_all(lines.as_bytes()).expect("a reader");
    }

    /// Reads until there was no output for `quiet`. Returns whether more may follow.
    pub(super) fn watch(&mut self, quiet: Duration) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: quiet.subsec_nanos().into() };
        let mut buffer = [0; 16 << 10];
        while poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait)).expect("poll") > 0 {
            match self.master.read(&mut buffer) {
                Ok(count @ 1..) => {
                    self.partial.extend_from_slice(&buffer[..count]);
                    let whole = match std::str::from_utf8(&self.partial) {
                        Ok(text) => text.len(),
                        Err(error) => error.valid_up_to(),
                    };
                    let text = String::from_utf8(self.partial.drain(..whole).collect()).expect("checked");
                    self.terminal.feed(text.as_str());
                    self.reads.push((Instant::now(), text));
                }
                // Linux returns EIO when no process has the other side open any more.
                _ => return false,
            }
        }
        true
    }

    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        self.terminal.resize(columns.into(), rows.into());
        resize(&self.master, columns, rows);
    }

    pub(super) fn press(&mut self, key: &[u8]) {
        self.master.write_all(key).expect("a keyboard");
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program");
    }

    /// Waits for the end.
    pub(super) fn end(&mut self) -> ExitStatus {
        self.recording = None;
        let started = Instant::now();
        while self.watch(QUIET) {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
        }
        self.child.wait().expect("a status")
    }

    /// The screen as text.
    pub(super) fn screen(&self) -> String {
        let lines = self.terminal.screen().visible_lines();
        let text: Vec<String> = lines.map(|line| line.text().trim_end().to_owned()).collect();
        text.join("\n").trim_end().to_owned() + "\n"
    }

    pub(super) fn raw(&self) -> String {
        self.reads.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Checks what must always hold: the cursor is visible, below everything, and without colour.
    pub(super) fn assert_in_order(&mut self) {
        let (cursor, screen) = (self.terminal.cursor(), self.screen());
        let below = screen.lines().count();
        assert!(cursor.visible);
        assert_eq!((cursor.col, cursor.row), (0, below), "{screen}");
        self.terminal.feed("x");
        assert!(self.terminal.screen().line(below).expect("a line").cells()[0].pen().is_default());
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // The program still runs after a failed test, or if the test did not wait for its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a new size");
}
