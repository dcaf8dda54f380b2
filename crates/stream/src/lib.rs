//! The engine's stream: bytes to lines ([`LineBuffer`]), lines to [events](event::Event).
//!
//! A package of its own, because only this code runs for each of the thousands of lines of a pull: a package can have its own
//! `opt-level` (in the workspace's Cargo.toml), so this one is built for speed and everything else for size.
//!
//! | module | holds |
//! |---|---|
//! | `line_buffer` | splits bytes that arrive in pieces into lines, and JSON objects that have no line end between them |
//! | `event` | the meaning of a line |
//! | `wire` | a line's JSON as the engine writes it, read leniently |
//!
//! **Invariant:** pure: nothing here reads a file, a socket or a clock.

pub mod event;
mod line_buffer;
mod wire;

pub use line_buffer::{LineBuffer, MAX_LINE, split_object};
