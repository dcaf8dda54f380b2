//! Speaks to the network for `docker-pull-with-progress`, which itself speaks to the Docker Engine's socket alone.
//!
//! Separate from the puller, because TLS would triple the memory of a pull, and so that no fault here can affect one.
//! The two communicate by pipes: the puller starts `alm-agent sizes` as docker starts a credential helper. And by
//! files: as a service the agent publishes the states that the puller wrote to a broker.
//!
//! | file | what it does |
//! |---|---|
//! | args | the command line |
//! | request | the request on standard input, and the line that answers it |
//! | sizes | an image's name → its layers and their sizes, or its digest |
//! | registry | requests to one registry: manifests, and authentication |
//! | endpoint, proxy | which hosts the engine would ask, and through which proxy |
//! | platform | which entry of an index the engine would choose |
//! | reference, manifest, challenge | parsers: an image's name, a registry's answer, what it wants as authentication |
//! | web, tls | HTTP requests with limits; which certificates are trusted |
//! | fleet | the service, which publishes the device's states to a broker; it has a map of its own |
//! | notices | messages to people when something breaks; it has a map of its own |
//! | failure | why there is no answer; the deadline of a request |
//!
//! Exit codes: 0 answered, or published and ended; 1 no answer, the line says why; 2 wrong usage.
//!
//! **Invariant:** secrets are read from standard input or from the files that the service's options name, and are sent
//! only to the host to which the engine would send them. They are in no argument, environment, file, error or core
//! file. No request takes longer than its `limit_ms`.

mod args;
mod challenge;
mod endpoint;
mod failure;
mod fleet;
mod manifest;
mod notices;
mod platform;
mod proxy;
mod reference;
mod registry;
mod request;
mod sizes;
mod tls;
mod web;

use args::Command;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit code of wrong usage: no request was made.
pub(crate) const USAGE: u8 = 2;

fn main() -> ExitCode {
    ExitCode::from(match args::parse(std::env::args_os()) {
        Ok(Command::Print(text)) => say(&text, 0),
        Ok(Command::Answer(what)) => {
            keep_memory_private();
            let (line, code) = request::answer(what, io::stdin());
            say(&line, code)
        }
        Ok(Command::Deliver) => {
            keep_memory_private();
            say(&notices::deliver(), 0)
        }
        Ok(Command::Publish(options)) => {
            keep_memory_private();
            fleet::run(&options)
        }
        Err(error) => {
            // If stderr is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "alm-agent: {error}; try --help");
            USAGE
        }
    })
}

fn say(text: &str, code: u8) -> u8 {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
        _ => code,
    }
}

/// A process with passwords in its memory leaves no core file, and no other process of its user may read that memory.
fn keep_memory_private() {
    // Linux allows this to every process.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
