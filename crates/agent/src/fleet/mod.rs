//! How this device stands, told to a broker by MQTT: `alm-agent --broker mqtts://HOST:PORT …`; and the notices of it.
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

pub(crate) use backoff::Backoff;
pub(crate) use journal::Journal;
pub(crate) use options::Options;

use crate::notices::{self, Queue};
use std::io::{self, Write as _};

/// What waits to be sent outlives a restart.
const OUTBOX: &str = "/var/lib/alm/outbox";

/// Runs until it is told to end; the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    if let (true, Some(file)) = (options.test_notice, &options.notify_file) {
        return notices::test(file, &link::device_name(options), options.site.as_deref());
    }
    let mut device = match device::Device::new(options) {
        Ok(device) => device,
        Err(error) => {
            // Where nobody reads, the exit code says it too.
            let _ = writeln!(io::stderr(), "alm-agent: {error}");
            return 1;
        }
    };
    if let Some(file) = &options.notify_file {
        let outbox = options.state.as_deref().map_or_else(|| OUTBOX.into(), |state| state.join("outbox"));
        match Queue::open(file, &outbox, &link::device_name(options), options.site.as_deref(), options.once) {
            Ok(queue) => device.notices = Some(queue),
            Err(why) => return notices::complain(&why),
        }
    }
    let code = service::run(options, &mut device);
    if device.finish_notices(options.once) { code } else { 1 }
}
