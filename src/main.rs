//! Pulls a Docker image and shows its progress, layer by layer.
//!
//! One folder for each concern; what only a folder itself needs is private to it. A folder uses only folders below it:
//!
//! | folder | holds |
//! |---|---|
//! | main, `args` | arguments → mode → exit code |
//! | `mode` | a file for each mode: pull, replay, check (and `--running`), view (`alm pull`), status (`alm status`), monitor; modes never use each other |
//! | `session`, `recording` | one pull, whose lines go to all sinks; its stream written to a file and read again |
//! | `docker` | client (engine or fallback, with credentials), backend, engine (the socket), answer, inspect, image, platform, container, environment, reference; store (where images are kept); agent and sizes (what `alm-agent` is asked); private: connection, http, value (JSON), base64, cli, config, auth, endpoint |
//! | `sink` | where lines go: log, plain, json, screen (with private frame), quiet, state, metrics, checked; open (opens them); complaint (stderr). Never meets `docker`; uses the options of `args` |
//! | `report` | updates → lines: image, layer, sizes, line, throttle, bar, sanitize, stamp; lines of a log → terminal: layout, fit; states → text: status, page, pages, digits, moment; pure |
//! | `pull` | events → state: layer, sizes, disk, tally, attempt, failure, meter, snapshot, verdict; pure |
//! | `os` | output, console, charset, child, clock, file, host, lock, signals, tail, user, wait |
//! | `crates/stream` | bytes → lines → events: `line_buffer`, event, wire; pure, and alone optimized for speed |
//! | `crates/state` | the files that say how images stand, which `alm-agent` reads too |
//!
//! ```text
//! UnixStream → http::Response → LineBuffer ─┬→ recording
//!              --replay, docker::cli's lines ─┴→ event::parse → Pull::apply → Update → Report → Line → sinks
//!                                     end of stream → Pull::verdict → closing block, exit code
//! ```
//!
//! Below `session` time is `at`, the milliseconds since the pull began, so that a replay prints what the live pull
//! printed.
//!
//! Exit codes: 0 pulled; 1 failed; 2 wrong usage; 3 no answer to `--check`, nothing known to `--status`; 128+n ended by
//! signal n. In the fallback: those of docker.
//!
//! **Invariant:** no threads, no unsafe code; every wait checks for signals on every tick of 50 ms, or is ended by them.

mod args;
mod docker;
mod mode;
mod os;
mod pull;
mod recording;
mod report;
mod session;
mod sink;

use args::{Mistake, Mode};
use docker::reference::Reference;
use mode::{check, monitor, pull as pull_mode, replay, status, view};
use os::charset::Charset;
use sink::complaint;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(match args::parse(std::env::args_os()) {
        Ok(mode) => run(mode),
        Err(Mistake { program, reason }) => {
            let text = format!("{reason}; try {program} --help");
            complaint::complain_as(program, &text, Charset::from_environment(false));
            args::EXIT_USAGE
        }
    })
}

fn run(mode: Mode) -> u8 {
    match mode {
        Mode::Say(text) => {
            // Not `print!`, which panics on a closed pipe.
            match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
                _ => 0,
            }
        }
        Mode::Pull(options) => with_platform(options, pull_mode::pull),
        Mode::Check(options) => with_platform(options, check::check),
        Mode::Running(name, options) => {
            with_reference(&options, |image, options| check::running(&name, image, options))
        }
        Mode::Replay(file, speed, options) => replay::replay(&file, speed, &options),
        Mode::View(options) => view::view(&options),
        Mode::Status(options) => status::status(&options),
        Mode::Monitor(options) => monitor::monitor(&options),
    }
}

/// Uses the platform that the environment names if the command line names none.
fn with_platform(mut options: args::PullOptions, run: impl FnOnce(&Reference, &args::PullOptions) -> u8) -> u8 {
    if options.platform.is_none() {
        options.platform = match docker::environment::default_platform() {
            Ok(platform) => platform,
            Err(error) => {
                complaint::complain(&error, Charset::from_environment(options.ascii));
                return args::EXIT_USAGE;
            }
        };
    }
    with_reference(&options, run)
}

/// Refuses an image name that cannot be pulled before anything else is done.
fn with_reference(options: &args::PullOptions, run: impl FnOnce(&Reference, &args::PullOptions) -> u8) -> u8 {
    match Reference::parse(&options.image) {
        Ok(reference) => run(&reference, options),
        Err(error) => {
            complaint::complain(&error.to_string(), Charset::from_environment(options.ascii));
            args::EXIT_USAGE
        }
    }
}
