//! Pulls a Docker image and tells, layer by layer, how far it is.
//!
//! The rooms, in rows: a room may use rooms of lower rows only, and those of row 3 never use each other. Rows 0 and 1
//! are pure; row 2 knows processes and outputs, row 3 the world.
//!
//! | row | rooms |
//! |---|---|
//! | 6 | main: arguments → mode → exit code |
//! | 5 | live: a pull; replay: a recording; check: `--check`, `--running`; view: `alm pull` |
//! | 4 | story: one pull being told, to all sinks; questions: what the engine is asked beside it |
//! | 3 | args, engine (the socket), auth and context (docker's configuration), `docker_cli` (the fallback), recording, log, plain, screen, json (stdout: lines, live bars, objects), tail (the log, backwards and on), lock, signals |
//! | 2 | child (a process read with a time limit), output (writes that never block), environment (what docker's clients read of their process), report (updates → lines), sink (what lines are told to), frame (live bars as text), retry (whether, when) |
//! | 1 | pull (events → state), line (of the story), reference (image names), failure (reasons → advice) |
//! | 0 | lines (bytes → lines), event (a line → an event), http (a response), layer (of an image), pace (when a line is due, how long to rest), stamp (the clock as text), bar, text (hostile text, ASCII), base64 |
//!
//! ```text
//! UnixStream → http::Response → lines::Lines ─┬→ recording
//!              --replay, docker_cli's lines ──┴→ event::parse → Pull::apply → Update → Report → Line → sinks
//!                                     end of stream → Pull::verdict → closing block, exit code
//! ```
//!
//! Time is `at`, milliseconds since the pull began, below row 4: so a replay prints what the live pull printed. Exit codes:
//! 0 pulled; 1 failed; 2 wrong usage; 3 `--check` cannot tell; 128+n ended by signal n; in the fallback docker's own.
//!
//! **Invariant:** no threads, no unsafe code; every wait looks at signals on every tick of 50 ms, or is ended by them.

mod args;
mod auth;
mod bar;
mod base64;
mod check;
mod child;
mod context;
mod docker_cli;
mod engine;
mod environment;
mod event;
mod failure;
mod frame;
mod http;
mod json;
mod layer;
mod line;
mod lines;
mod live;
mod lock;
mod log;
mod output;
mod pace;
mod plain;
mod pull;
mod questions;
mod recording;
mod reference;
mod replay;
mod report;
mod retry;
mod screen;
mod signals;
mod sink;
mod stamp;
mod story;
mod tail;
mod text;
mod view;

use args::Mode;
use output::Glyphs;
use reference::Reference;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit code of wrong usage: nothing was pulled.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    ExitCode::from(match args::parse(std::env::args_os()) {
        Ok(mode) => run(mode),
        Err(error) => {
            story::complain(&format!("{error}; try --help"), Glyphs::from_environment(false));
            USAGE
        }
    })
}

fn run(mode: Mode) -> u8 {
    match mode {
        Mode::Say(text) => {
            // Not print!, which panics where nobody reads.
            match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
                _ => 0,
            }
        }
        Mode::Pull(options) => with_reference(&options, live::pull),
        Mode::Check(options) => with_reference(&options, check::check),
        Mode::Running(name, options) => {
            with_reference(&options, |image, options| check::running(&name, image, options))
        }
        Mode::Replay(file, speed, options) => replay::replay(&file, speed, &options),
        Mode::View(options) => view::view(&options),
    }
}

/// An image that cannot be pulled is refused before anything else is done.
fn with_reference(options: &args::Pull, run: impl FnOnce(&Reference, &args::Pull) -> u8) -> u8 {
    match Reference::parse(&options.image) {
        Ok(reference) => run(&reference, options),
        Err(error) => {
            story::complain(&error.to_string(), Glyphs::from_environment(options.ascii));
            USAGE
        }
    }
}
