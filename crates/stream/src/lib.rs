//! The engine's stream: bytes to lines ([`LineBuffer`]), lines to [events](event::Event).
//!
//! Apart, because this alone is done for each of the thousands of lines of a pull: a package has its own `opt-level`
//! (Cargo.toml of the workspace), so that it is built for speed and everything else for size.
//!
//! | module | holds |
//! |---|---|
//! | `line_buffer` | lines of bytes that come in pieces, and objects that follow each other without a line end |
//! | `event` | what a line says |
//! | `wire` | a line as the engine writes it, read leniently |
//!
//! **Invariant:** pure: nothing here knows where the bytes come from or what time it is.

pub mod event;
mod line_buffer;
mod wire;

pub use line_buffer::{LineBuffer, MAX_LINE, split_object};
