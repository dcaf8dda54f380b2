//! The service `alm-agent --broker mqtts://HOST:PORT …`: publishes the state of this device's images to a broker, over MQTT,
//! and sends notices.
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
//! | traffic | a test: how many bytes a day costs |
//!
//! **Invariant:** the service only reads the state files and writes its own outbox. A pull does not know whether it runs.

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
#[cfg(test)]
mod traffic;

pub(crate) use backoff::Backoff;
pub(crate) use journal::Journal;
pub(crate) use options::Options;

use crate::notices::{self, Queue};
use std::io::{self, Write as _};

/// The notices that wait to be delivered; they outlive a restart of the device.
const OUTBOX: &str = "/var/lib/alm/outbox";

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    if let (true, Some(file)) = (options.test_notice, &options.notify_file) {
        return notices::test(file, &link::device_name(options), options.site.as_deref());
    }
    let mut device = match device::Device::new(options) {
        Ok(device) => device,
        Err(error) => {
            // If stderr is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "alm-agent: {error}");
            return 1;
        }
    };
    for file in link::open_secrets(options) {
        // A warning and no error: the file works, and a device out of reach must not be lost for it.
        let file = file.display();
        let _ = writeln!(io::stderr(), "alm-agent: {file} can be read by everybody on this device: chmod 600 {file}");
    }
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
