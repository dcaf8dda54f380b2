//! The signals that end this program, as a number to be looked at on every tick.
//!
//! **Invariant:** a handler stores a number and does nothing else. A hang-up (SIGHUP) is caught and forgotten: a dropped
//! SSH session must not stop a pull, which goes on into the log.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which signal came, if any.
#[derive(Clone)]
pub(crate) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Catches SIGINT and SIGTERM, and SIGHUP where `survive_hang_up`.
    pub(crate) fn catch(survive_hang_up: bool) -> Self {
        let came = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            // Refused only for signals that cannot be caught at all.
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&came), signal.unsigned_abs() as usize);
        }
        if survive_hang_up {
            let _ = signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false)));
        }
        Self(came)
    }

    /// The number of the signal that came last.
    pub(crate) fn came(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&signal| signal != 0).and_then(|signal| i32::try_from(signal).ok())
    }
}

/// The exit code of a program that a signal ended.
pub(crate) fn exit_code(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}
