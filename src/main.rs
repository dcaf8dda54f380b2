//! `docker-pull-with-progress`: pulls a Docker image and tells, layer by layer, how far it is.

mod args;
mod auth;
mod bar;
mod base64;
mod check;
mod child;
mod context;
mod docker_cli;
mod engine;
mod event;
mod failure;
mod http;
mod live;
mod lock;
mod log;
mod output;
mod plain;
mod pull;
mod recording;
mod reference;
mod replay;
mod report;
mod signals;
mod story;
mod text;

use args::Mode;
use plain::Glyphs;
use reference::Reference;
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
            print!("{text}");
            0
        }
        Mode::Pull(options) => with_reference(&options, live::pull),
        Mode::Check(options) => with_reference(&options, check::check),
        Mode::Running(name, options) => {
            with_reference(&options, |image, options| check::running(&name, image, options))
        }
        Mode::Replay(file, speed, options) => replay::replay(&file, speed, &options),
        _ => 3,
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
