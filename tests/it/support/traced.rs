//! A program whose memory is measured at the moment when it ends.
//!
//! The peak that `wait4` reports for a child includes the memory of its parent, and `/proc` has nothing about a process that
//! has ended. Therefore the program is traced, and stopped at its end while its memory is read.

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A running program. It is killed when the thread that started it ends.
pub(crate) struct Traced {
    child: Child,
    begun: Instant,
}

/// How it ended.
pub(crate) struct TracedEnd {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The peak of its memory, in bytes; `None` if it ended before it could be traced.
    pub(crate) peak: Option<u64>,
    pub(crate) took: Duration,
}

impl Traced {
    pub(crate) fn start(command: &mut Command) -> Self {
        let begun = Instant::now();
        let traced = Self { child: command.spawn().expect("the program starts"), begun };
        // Fails if it has ended already.
        let _ = ptrace::seize(traced.pid(), Options::PTRACE_O_TRACEEXIT | Options::PTRACE_O_EXITKILL);
        traced
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end, and kills it after `limit`. If `terminate` is given, sends SIGTERM after that time.
    pub(crate) fn end(self, limit: Duration, mut terminate: Option<Duration>) -> TracedEnd {
        let (pid, begun, mut peak) = (self.pid(), self.begun, None);
        // Fails if the process was killed while it was stopped.
        let go_on = |signal| ptrace::cont(pid, signal).unwrap_or_default();
        loop {
            let took = begun.elapsed();
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)).expect("a child of this thread") {
                WaitStatus::Exited(_, code) => return TracedEnd { code: Some(code), peak, took },
                WaitStatus::Signaled(..) => return TracedEnd { code: None, peak, took },
                WaitStatus::PtraceEvent(_, _, event) => {
                    if event == Event::PTRACE_EVENT_EXIT as i32 {
                        peak = Some(super::peak_memory(self.child.id()) * 1024);
                    }
                    go_on(None);
                }
                WaitStatus::Stopped(_, signal) => go_on(Some(signal)),
                _ => {
                    if terminate.take_if(|after| took > *after).is_some() {
                        let _ = kill(pid, Signal::SIGTERM);
                    }
                    if took > limit {
                        let _ = kill(pid, Signal::SIGKILL);
                    }
                    // Short compared to the time that it takes anyway.
                    std::thread::sleep((took / 8).clamp(Duration::from_micros(100), Duration::from_millis(20)));
                }
            }
        }
    }
}
