//! The operating system: processes, signals, files, locks, facts about the host, and outputs that never block.
//!
//! **Invariant:** nothing here knows of Docker or of a pull.

pub(crate) mod charset;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod file;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod output;
// libFuzzer installs its own signal handlers.
#[cfg_attr(fuzzing, path = "../../fuzz/src/signals.rs")]
pub(crate) mod signals;
pub(crate) mod tail;
pub(crate) mod user;
pub(crate) mod wait;
