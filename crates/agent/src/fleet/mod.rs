//! The service `alm-agent --broker mqtts://HOST:PORT …`: publishes the state of this device's images to a broker, over MQTT.
//!
//! | file | what it does |
//! |---|---|
//! | options | the command line |
//! | service | connects, publishes, reconnects; takes files, sockets and clocks as an argument (the trait `World`) |
//! | device | the `World` of a real device |
//! | link, certificate | TLS to the broker; whose certificate this is, and until when |
//! | session | the MQTT protocol of one connection: bytes in, bytes out |
//! | planner | what is due to be published |
//! | payload | the topics, and the JSON published on them |
//! | backoff, journal | how long to wait before reconnecting; which of the failures are logged |
//!
//! **Invariant:** the service only reads the state files. A pull does not know whether it runs.

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

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    match device::Device::new(options) {
        Ok(mut device) => service::run(options, &mut device),
        Err(error) => {
            // If stderr is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "alm-agent: {error}");
            1
        }
    }
}
