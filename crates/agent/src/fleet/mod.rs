//! How this device stands, told to a broker by MQTT: `alm-agent --broker mqtts://HOST:PORT …`.
//!
//! | room | what it does |
//! |---|---|
//! | options | the command line |
//! | service | connects, tells, comes back; a world of files, sockets and clocks is its argument |
//! | device | that world, as it is |
//! | link, certificate | TLS to the broker; whose certificate this is, and until when |
//! | session | one connection as MQTT sees it: bytes in, bytes out |
//! | planner | what is to be said now |
//! | payload | in which words, and on which topics |
//! | backoff, journal | when to try again; what of it the journal is told |
//!
//! **Invariant:** it only reads the states, and a pull knows nothing of it.

mod backoff;
mod certificate;
mod device;
mod journal;
mod link;
mod options;
mod payload;
mod planner;
mod service;
mod session;

pub(crate) use options::Options;

use std::io::{self, Write as _};

/// Runs until it is told to end; the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    match device::Device::new(options) {
        Ok(mut device) => service::run(options, &mut device),
        Err(error) => {
            // Where nobody reads, the exit code says it too.
            let _ = writeln!(io::stderr(), "alm-agent: {error}");
            1
        }
    }
}
