//! The viewer of the log.
