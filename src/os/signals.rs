//! The signals that end this program, stored as a number that is checked on every tick; and the one that continues it.
//!
//! **Invariant:** a handler stores a number and ends a sleep, and does nothing else. A hang-up (SIGHUP) is caught and
//! ignored: when an SSH session ends, the pull continues and is written to the log.

use crate::os::wait::any_ready;
use rustix::event::{PollFd, PollFlags};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Which signal is pending, if any.
#[derive(Clone)]
pub(crate) struct Signals {
    pending: Arc<AtomicUsize>,
    /// Readable once a signal is pending; `None` if nothing sleeps, or the descriptors for it could not be created.
    wake: Option<Arc<File>>,
}

impl Signals {
    /// Catches SIGINT and SIGTERM, and SIGHUP if `survive_hang_up`.
    pub(crate) fn catch(survive_hang_up: bool) -> Self {
        let pending = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            // Fails only for signals that cannot be caught.
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&pending), signal.unsigned_abs() as usize);
        }
        if survive_hang_up {
            let _ = signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false)));
        }
        Self { pending, wake: None }
    }

    /// The same for a caller of [`sleep`](Self::sleep), which needs descriptors and handlers of its own.
    pub(crate) fn waking(self) -> Self {
        Self { wake: Self::wake().map(Arc::new), ..self }
    }

    fn wake() -> Option<File> {
        let (reader, writer) = UnixStream::pair().ok()?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone().ok()?).ok()?;
        }
        Some(File::from(OwnedFd::from(reader)))
    }

    /// The number of the signal that was caught last.
    pub(crate) fn pending(&self) -> Option<i32> {
        Some(self.pending.load(Ordering::Relaxed))
            .filter(|&signal| signal != 0)
            .and_then(|signal| i32::try_from(signal).ok())
    }

    /// Breaks once a signal is pending: what most callers return on a tick.
    pub(crate) fn go_on(&self) -> ControlFlow<()> {
        if self.pending().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Waits this long, or until a signal comes, `connection` is closed by the other side (whether or not it has unread
    /// data), or `other` becomes readable. Does not wait if no signal could end it.
    pub(crate) fn sleep(&self, wait: Duration, connection: impl AsFd, other: Option<BorrowedFd<'_>>) {
        if let Some(wake) = &self.wake {
            let (connection, wake) = (connection.as_fd(), wake.as_fd());
            let other = other.map_or((connection, PollFlags::RDHUP), |other| (other, PollFlags::IN));
            let mut files = [(wake, PollFlags::IN), (connection, PollFlags::RDHUP), other]
                .map(|(file, flags)| PollFd::from_borrowed_fd(file, flags));
            // The caller checks what ended the wait.
            let _ = any_ready(&mut files, wait);
        }
    }
}

/// Set whenever this program was stopped (Ctrl-Z) and continued (`fg`, `bg`), for [`Output::place`](super::output::Output::place).
pub(crate) fn continued() -> Arc<AtomicBool> {
    let continued = Arc::new(AtomicBool::new(false));
    // Fails only for signals that cannot be caught.
    let _ = signal_hook::flag::register(SIGCONT, Arc::clone(&continued));
    continued
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::time::Instant;

    /// How long a sleep of a minute really took.
    fn sleep(signals: &Signals, connection: &UnixStream) -> Duration {
        let begun = Instant::now();
        signals.sleep(Duration::from_mins(1), connection, None);
        begun.elapsed()
    }

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn a_signal_ends_a_sleep_also_when_it_was_pending_before() {
        let signals = Signals::catch(false).waking();
        let (connection, _engine) = UnixStream::pair().unwrap();
        signals.sleep(Duration::from_millis(1), &connection, None);
        assert_eq!(signals.pending(), None);
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(sleep(&signals, &connection) < SOON);
        assert_eq!(signals.pending(), Some(SIGTERM));
    }

    #[test]
    fn bytes_from_another_end_a_sleep() {
        let signals = Signals::catch(false).waking();
        let (connection, _engine) = UnixStream::pair().unwrap();
        let (other, mut writer) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        signals.sleep(Duration::from_millis(20), &connection, Some(other.as_fd()));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        writer.write_all(b"word").unwrap();
        let begun = Instant::now();
        signals.sleep(Duration::from_mins(1), &connection, Some(other.as_fd()));
        assert!(begun.elapsed() < SOON);
    }

    #[test]
    fn the_end_of_a_connection_ends_a_sleep_and_bytes_do_not() {
        let signals = Signals::catch(false).waking();
        let (mut connection, mut engine) = UnixStream::pair().unwrap();
        engine.write_all(b"word").unwrap();
        let begun = Instant::now();
        signals.sleep(Duration::from_millis(20), &connection, None);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        // Half closed counts as closed, and what was sent before can still be read.
        engine.shutdown(Shutdown::Write).unwrap();
        assert!(sleep(&signals, &connection) < SOON);
        drop(engine);
        assert!(sleep(&signals, &connection) < SOON);
        let mut received = String::new();
        connection.read_to_string(&mut received).unwrap();
        assert_eq!(received, "word");
    }
}
