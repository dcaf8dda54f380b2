//! Pulls a Docker image and tells, layer by layer, how far it is.
//!
//! A folder a concern; what a folder keeps to itself is private to it. A folder uses only folders below it:
//!
//! | folder | holds |
//! |---|---|
//! | main, `args` | arguments → mode → exit code |
//! | `mode` | pull, replay, check (and `--running`), view (`alm pull`): a file a mode; modes never use each other |
//! | `session`, `recording` | one pull being told to all sinks; its stream kept and read again |
//! | `docker` | engine (the socket, over private http), inspect (what it is asked beside a pull), cli (the fallback), auth, endpoint, environment, reference |
//! | `sink` | what lines go to: log, plain, json, screen (with private frame). Never meets `docker` |
//! | `report` | updates → lines: line, throttle, bar, sanitize, stamp; pure |
//! | `pull` | events → state: `line_buffer`, event, layer, attempt, failure, meter; pure |
//! | `os` | output, charset, child, signals, wait, lock, tail |
//!
//! ```text
//! UnixStream → http::Response → LineBuffer ─┬→ recording
//!              --replay, docker::cli's lines ─┴→ event::parse → Pull::apply → Update → Report → Line → sinks
//!                                     end of stream → Pull::verdict → closing block, exit code
//! ```
//!
//! Time is `at`, milliseconds since the pull began, below `session`: so a replay prints what the live pull printed. Exit codes:
//! 0 pulled; 1 failed; 2 wrong usage; 3 `--check` cannot tell; 128+n ended by signal n; in the fallback docker's own.
//!
//! **Invariant:** no threads, no unsafe code; every wait looks at signals on every tick of 50 ms, or is ended by them.

mod args;
mod docker;
mod mode;
mod os;
mod pull;
mod recording;
mod report;
mod session;
mod sink;

use args::Mode;
use docker::reference::Reference;
use mode::{check, pull as pull_mode, replay, view};
use os::charset::Charset;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit code of wrong usage: nothing was pulled.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    ExitCode::from(match args::parse(std::env::args_os()) {
        Ok(mode) => run(mode),
        Err(error) => {
            session::complain(&format!("{error}; try --help"), Charset::from_environment(false));
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
        Mode::Pull(options) => with_reference(&options, pull_mode::pull),
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
            session::complain(&error.to_string(), Charset::from_environment(options.ascii));
            USAGE
        }
    }
}
