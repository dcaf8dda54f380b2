//! Speaks to the network for `docker-pull-with-progress`, which itself speaks to the Docker Engine's socket alone.
//!
//! Apart from it, for TLS would triple the memory of a pull, and so that no fault in here can reach one. Between the two
//! are pipes: the puller starts `alm-agent sizes` as docker starts a credential helper. And there are files: as a service it
//! publishes to a broker how the images of this device stand, by what the puller wrote.
//!
//! | file | what it does |
//! |---|---|
//! | args | the command line |
//! | request | what is asked on standard input, and the line that answers it |
//! | sizes | an image's name → its layers and their sizes, or its digest |
//! | registry | one registry asked: manifests, and what it wants as proof |
//! | endpoint, proxy | which hosts the engine would ask, and through which proxy |
//! | platform | which entry of an index the engine would take |
//! | reference, manifest, challenge | what names an image; what a registry says of it; what it wants to see |
//! | web, tls | requests with limits and without surprises; whom to believe |
//! | fleet | the service: how the device stands, published to a broker; a map of its own |
//! | notices | messages to people when something breaks; a map of its own |
//! | failure | why there is no answer; the moment when all must be done |
//!
//! Exit codes: 0 answered, or published and ended; 1 no answer, the line says why; 2 wrong usage.
//!
//! **Invariant:** secrets come in on standard input or from the files of the service's options, and leave for the host that the
//! engine would show them to, by nothing else: no argument, environment, file, error or core file has them. No request
//! outlives its `limit_ms`.

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

/// The exit code of wrong usage: nobody was asked.
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

/// A process that has passwords in its memory leaves no core file, and no other process of its user may read that memory.
fn keep_memory_private() {
    // Linux refuses this to nobody.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
