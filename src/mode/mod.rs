//! What the program can be asked to do, a file a mode.
//!
//! **Invariant:** modes never use each other; each takes its options and returns an exit code.

pub(crate) mod check;
pub(crate) mod monitor;
pub(crate) mod pull;
pub(crate) mod replay;
pub(crate) mod status;
pub(crate) mod view;
