//! The monitor: the states of all images on a console, full screen, for people who stand before the device.
//!
//! **Invariant:** it only reads, and no error of the console ends it. What other programs write on the console is
//! painted over within five seconds.

use crate::args::MonitorOptions;
use crate::docker::reference::is_same;
use crate::os::charset::Charset;
use crate::os::clock::now;
use crate::os::console::{Console, Painted};
use crate::os::host;
use crate::os::signals::Signals;
use crate::os::wait::any_ready;
use crate::report::moment::Moment;
use crate::report::page::{Device, Row, Tone};
use crate::report::pages;
use crate::sink::complaint::complain;
use alm_state::{Store, Time};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the states are read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How often everything is painted again, and the facts about the device are read.
const REPAINT: Duration = Duration::from_secs(5);

/// Prepares the console: UTF-8, default colour, no scrolling region, no insert mode, no cursor, no blanking.
const BEGIN: &str = "\x1b%G\x1b[0m\x1b[r\x1b[4l\x1b[?25l\x1b[9;0]";

/// Docker's default directory for images; if it does not exist, the root file system is measured.
const DISKS: [&str; 2] = ["/var/lib/docker", "/"];

/// The sockets of engines.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/// The file that a run of Puppet leaves: Puppet's own packages, Debian's.
const PUPPET: [&str; 3] = [
    "/opt/puppetlabs/puppet/public/last_run_summary.yaml",
    "/var/lib/puppet/public/last_run_summary.yaml",
    "/var/cache/puppet/public/last_run_summary.yaml",
];

/// The facts about the device that are shown beside its images.
struct Surroundings {
    host: String,
    address: Option<String>,
    disk: Option<(u64, u64)>,
    docker: bool,
    puppet: Option<Time>,
}

impl Surroundings {
    fn read() -> Self {
        let written = |path: &&str| Some(Time::from(std::fs::metadata(path).ok()?.modified().ok()?));
        Self {
            host: host::name().unwrap_or_default(),
            address: host::address(),
            disk: DISKS.iter().find_map(|path| host::disk_usage(path)),
            docker: SOCKETS.iter().any(|path| Path::new(path).exists()),
            puppet: PUPPET.iter().filter_map(written).max(),
        }
    }
}

/// Keeps the states on the console until a signal comes; returns the exit code.
pub(crate) fn monitor(options: &MonitorOptions) -> u8 {
    let signals = Signals::catch(true);
    let mut console = match Console::open(&options.console) {
        Ok(console) => console,
        Err(error) => {
            complain(&format!("monitor {}: {error}", options.console.display()), Charset::from_environment(false));
            return 1;
        }
    };
    let store = options.state.as_deref().map_or_else(Store::of_device, Store::at);
    let mut surroundings = Surroundings::read();
    let (mut drawn, mut size, mut painted) = (Vec::new(), None, Instant::now());
    while signals.pending().is_none() {
        let now_size = console.size();
        if let Some((columns, rows)) = now_size {
            let is_full = painted.elapsed() >= REPAINT || now_size != size || drawn.is_empty();
            if is_full {
                surroundings = Surroundings::read();
            }
            let page = draw(&store, &surroundings, options.site.as_deref(), columns, rows);
            let frame = frame(&page, if is_full { &[] } else { &drawn });
            let is_whole = console.paint(frame.as_bytes()) == Painted::Whole;
            if is_full && is_whole {
                painted = Instant::now();
            }
            // Only after a whole frame is it known what the console shows.
            drawn = if is_whole { page } else { Vec::new() };
        } else {
            drawn.clear();
        }
        size = now_size;
        // Returns early when a signal comes.
        let _ = any_ready(&mut [], POLL_INTERVAL);
    }
    0
}

fn draw(store: &Store, surroundings: &Surroundings, site: Option<&str>, columns: usize, rows: usize) -> Vec<Row> {
    let Surroundings { host, address, disk, docker, puppet } = surroundings;
    let device = Device {
        host,
        site,
        address: address.as_deref(),
        moment: Moment { now: now() },
        disk: *disk,
        docker: *docker,
        puppet: *puppet,
    };
    pages::page(&store.read(), &device, &is_same, columns, rows)
}

/// The escape sequences that turn the `drawn` rows into `page`; with nothing drawn they paint everything.
fn frame(page: &[Row], drawn: &[Row]) -> String {
    let mut frame = String::new();
    if drawn.is_empty() {
        frame.push_str(BEGIN);
    }
    for (at, row) in page.iter().enumerate().filter(|(at, row)| drawn.get(*at) != Some(row)) {
        // Bold, which consoles show as bright: dark red and brown are hard to read from a distance.
        let color = match row.tone {
            Tone::Plain => "37",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Mark => "1;33",
        };
        // Erased first: after a line as wide as the screen the cursor is still on the last cell, and erasing would
        // remove it.
        let _ = write!(frame, "\x1b[{};1H\x1b[0;{color}m\x1b[K{}", at + 1, row.text.trim_end());
    }
    if !frame.is_empty() {
        frame.push_str("\x1b[0m");
    }
    frame
}
