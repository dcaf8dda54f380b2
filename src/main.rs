//! `docker-pull-with-progress`: pulls a Docker image and tells, layer by layer, how far it is.

mod args;
mod auth;
mod bar;
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
        Mode::Pull(options) => match reference::Reference::parse(&options.image) {
            Ok(reference) => live::pull(&reference, &options),
            Err(error) => {
                story::complain(&error.to_string(), Glyphs::from_environment(options.ascii));
                USAGE
            }
        },
        Mode::Replay(file, speed, options) => replay::replay(&file, speed, &options),
        _ => 3,
    }
}
