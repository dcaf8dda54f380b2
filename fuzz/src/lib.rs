//! The program's own modules, unchanged, and a harness for each one that reads text from outside.
//!
//! The program is a binary without a library, so its folders are declared here again. Of the modes only the replay is
//! included: the others connect to an engine or read a log by themselves. With `cfg(fuzzing)` signals are replaced:
//! libFuzzer has its own handlers, and a replay would register others a million times.

// A harness uses only a part of a module.
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

// The agent's modules that read text from outside.
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
