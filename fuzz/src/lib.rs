//! The rooms of the program, as they are, and a harness for each that reads what others have written.
//!
//! The program is a binary without a library, so its folders are declared here once more. Of the modes only the replay is here: the
//! others speak with an engine of their own accord or look at a log. With `cfg(fuzzing)` signals have a stand-in: libFuzzer has
//! handlers of its own, and a replay would register anew a million times.

// A harness uses a part of a room.
#![allow(dead_code, unused_imports)]

#[path = "../../src/args/mod.rs"]
mod args;
#[path = "../../src/docker/mod.rs"]
mod docker;
#[path = "../../src/os/mod.rs"]
mod os;
#[path = "../../src/pull/mod.rs"]
mod pull;
#[path = "../../src/recording/mod.rs"]
mod recording;
#[path = "../../src/mode/replay.rs"]
mod replay;
#[path = "../../src/report/mod.rs"]
mod report;
#[path = "../../src/session.rs"]
mod session;
#[path = "../../src/sink/mod.rs"]
mod sink;
mod target;

// Of the agent, what reads others.
#[path = "../../crates/agent/src/challenge.rs"]
mod challenge;
#[path = "../../crates/agent/src/failure.rs"]
mod failure;
mod fleet;
#[path = "../../crates/agent/src/manifest.rs"]
mod manifest;
#[path = "../../crates/agent/src/platform.rs"]
mod platform;

pub use fleet::run as broker;
pub use target::challenge::run as challenge;
pub use target::config::run as config;
pub use target::event::run as event;
pub use target::http::run as http;
pub use target::manifest::run as manifest;
pub use target::pipeline::run as pipeline;
pub use target::platform::run as platform;
pub use target::recording::run as recording;
pub use target::reference::run as reference;
pub use target::sizes::run as sizes;
