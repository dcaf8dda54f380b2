//! The rooms of the program, as they are, and a harness for each that reads what others have written.
//!
//! The program is a binary without a library, so its rooms are declared here once more. Those that
//! speak with an engine of their own accord or look at a log are left out, and `signals` has a stand-in: libFuzzer has handlers
//! of its own, and a replay would register anew a million times.

// A harness uses a part of a room.
#![allow(dead_code)]

#[path = "../../src/args.rs"]
mod args;
#[path = "../../src/auth.rs"]
mod auth;
#[path = "../../src/bar.rs"]
mod bar;
#[path = "../../src/base64.rs"]
mod base64;
#[path = "../../src/child.rs"]
mod child;
#[path = "../../src/context.rs"]
mod context;
#[path = "../../src/engine.rs"]
mod engine;
#[path = "../../src/environment.rs"]
mod environment;
#[path = "../../src/event.rs"]
mod event;
#[path = "../../src/failure.rs"]
mod failure;
#[path = "../../src/frame.rs"]
mod frame;
#[path = "../../src/http.rs"]
mod http;
#[path = "../../src/json.rs"]
mod json;
#[path = "../../src/layer.rs"]
mod layer;
#[path = "../../src/line.rs"]
mod line;
#[path = "../../src/lines.rs"]
mod lines;
#[path = "../../src/log.rs"]
mod log;
#[path = "../../src/output.rs"]
mod output;
#[path = "../../src/pace.rs"]
mod pace;
#[path = "../../src/plain.rs"]
mod plain;
#[path = "../../src/pull.rs"]
mod pull;
#[path = "../../src/recording.rs"]
mod recording;
#[path = "../../src/reference.rs"]
mod reference;
#[path = "../../src/replay.rs"]
mod replay;
#[path = "../../src/report.rs"]
mod report;
#[path = "../../src/screen.rs"]
mod screen;
mod signals;
#[path = "../../src/sink.rs"]
mod sink;
#[path = "../../src/stamp.rs"]
mod stamp;
#[path = "../../src/story.rs"]
mod story;
mod target;
#[path = "../../src/text.rs"]
mod text;

pub use target::config::run as config;
pub use target::event::run as event;
pub use target::http::run as http;
pub use target::pipeline::run as pipeline;
pub use target::recording::run as recording;
pub use target::reference::run as reference;
