//! A program whose memory is looked at in the moment when it ends.
//!
//! What `wait4` says of a child begins with the memory of its parent, and what `/proc` says of it is gone with
//! its end. So it is traced, and stopped for as long as it takes to look.

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A program on its way. It does not outlive the thread that started it.
pub(crate) struct Traced {
    child: Child,
    begun: Instant,
}

/// How it ended.
pub(crate) struct TracedEnd {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    /// The most memory it has had, in bytes; `None` where it ended before it could be traced.
    pub(crate) peak: Option<u64>,
    pub(crate) took: Duration,
}

impl Traced {
    pub(crate) fn start(command: &mut Command) -> Self {
        let begun = Instant::now();
        let traced = Self { child: command.spawn().expect("the program starts"), begun };
        // Refused where it has ended already.
        let _ = ptrace::seize(traced.pid(), Options::PTRACE_O_TRACEEXIT | Options::PTRACE_O_EXITKILL);
        traced
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end, or brings it about after `limit`; SIGTERM is sent after so long where that is wanted.
    pub(crate) fn end(self, limit: Duration, mut terminate: Option<Duration>) -> TracedEnd {
        let (pid, begun, mut peak) = (self.pid(), self.begun, None);
        // What has been killed while it stood still needs nobody to send it on.
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
                    // Short against what it takes anyway.
                    std::thread::sleep((took / 8).clamp(Duration::from_micros(100), Duration::from_millis(20)));
                }
            }
        }
    }
}
