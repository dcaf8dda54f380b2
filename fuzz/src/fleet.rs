//! What a broker sends to the service of `alm-agent`: any bytes, on as many connections as the service opens.
//!
//! TLS and the device's files are not here: rustls is fuzzed by its own project, and what it delivers is what comes in here.

#[path = "../../crates/agent/src/fleet/backoff.rs"]
pub(crate) mod backoff;
#[path = "../../crates/agent/src/fleet/journal.rs"]
pub(crate) mod journal;
#[path = "../../crates/agent/src/fleet/options.rs"]
pub(crate) mod options;
#[path = "../../crates/agent/src/fleet/payload.rs"]
pub(crate) mod payload;
#[path = "../../crates/agent/src/fleet/planner.rs"]
pub(crate) mod planner;
#[path = "../../crates/agent/src/fleet/service.rs"]
pub(crate) mod service;
#[path = "../../crates/agent/src/fleet/session.rs"]
pub(crate) mod session;

use crate::target::Delivery;
use alm_state::{Image, Status, Time};
use options::{Address, Options};
use payload::{Seen, View};
use service::{Identity, World};
use session::Version;
use std::time::Duration;

/// Bits of the input's first byte; the lowest three say how many sizes of pieces follow.
const OLD_VERSION: u8 = 0x08;
const ONCE: u8 = 0x10;
const PULLING: u8 = 0x20;
/// A size that ends the connection after its piece.
const CLOSE: u8 = 0xff;
const PASSWORD: &str = "not-to-be-repeated";
/// How long the service goes on after the last byte: longer than each of its limits.
const SILENCE: Duration = Duration::from_secs(400);
/// Bytes. What mosquitto accepts as the package configures it, and a topic.
const MAX_PACKET: usize = 65_536 + 1_024;

/// A broker, and the device before it.
struct Feed<'a> {
    pieces: Box<dyn Iterator<Item = (u8, &'a [u8])> + 'a>,
    at: Duration,
    end: Option<Duration>,
    is_pulling: bool,
    is_closing: bool,
    /// Whether a packet of the kind CONNACK can have come on this connection.
    may_publish: bool,
    /// Packets that were sent on this connection.
    sent: usize,
    opened: usize,
    logged: usize,
}

impl World for Feed<'_> {
    fn at(&self) -> Duration {
        self.at
    }

    fn now(&self) -> Time {
        Time(1_795_000_000 + self.at.as_secs().cast_signed())
    }

    fn wait(&mut self, time: Duration) -> bool {
        assert!(time <= Duration::from_mins(5), "tried again at least every five minutes");
        self.at += time;
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.end.is_some_and(|end| end <= self.at)
    }

    fn random(&mut self) -> u64 {
        (self.at.as_nanos() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn log(&mut self, line: &str) {
        assert!(!line.contains(PASSWORD), "{line}");
        assert!(line.len() < 500 && !line.contains(char::is_control), "one line: {line:?}");
        self.logged += 1;
    }

    fn view(&mut self) -> View {
        let (status, text) = if self.is_pulling { (Status::Working, "Downloading") } else { (Status::Done, "Pulled") };
        let time = Time(1_795_000_000);
        let mut image =
            Image { v: 1, id: "app:1".into(), status, text: text.into(), time, since: time, ..Image::default() };
        image.current = self.is_pulling.then_some(self.at.as_secs());
        View { images: vec![Seen { image, lost: false }], containers: vec![], now: self.now() }
    }

    fn open(&mut self) -> Result<Identity, String> {
        (self.sent, self.may_publish, self.is_closing) = (0, false, false);
        self.opened += 1;
        Ok(Identity { device: "pi-1".into(), login: Some(("pi-1".into(), PASSWORD.into())), end: None })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (kind, packet, left) = first_packet(rest);
            assert!(packet.len() <= MAX_PACKET, "{} bytes", packet.len());
            let has_password = packet.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
            assert_eq!(kind == 1, has_password, "the password is in CONNECT alone");
            assert_eq!(kind == 1, self.sent == 0, "CONNECT comes first, and once");
            self.sent += 1;
            match kind {
                // DISCONNECT may be the answer to anything.
                1 | 14 => {}
                // PUBLISH, PINGREQ
                3 | 12 => assert!(self.may_publish, "nothing before the broker has accepted"),
                kind => panic!("a packet of kind {kind} is sent"),
            }
            rest = left;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        if std::mem::take(&mut self.is_closing) {
            return Ok(None);
        }
        let Some((size, piece)) = self.pieces.next() else {
            self.end.get_or_insert(self.at + SILENCE);
            self.at += Duration::from_secs(5);
            return Ok(Some(0));
        };
        self.at += Duration::from_millis(500);
        self.is_closing = size == CLOSE;
        // The reserved bits of its first byte are not looked at.
        self.may_publish |= piece.iter().any(|byte| byte >> 4 == 2);
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(Some(piece.len()))
    }

    fn close(&mut self) {}
}

/// The kind of a stream's first packet, the packet, and what is behind it.
fn first_packet(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (mut length, mut at) = (0, 1);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << (7 * (at - 1));
        at += 1;
        if bytes[at - 1] < 0x80 {
            break;
        }
    }
    let (packet, left) = bytes.split_at(at + length);
    (bytes[0] >> 4, packet, left)
}

pub fn run(data: &[u8]) {
    let delivery = Delivery::of(data);
    let has = |flag: u8| delivery.flags & flag != 0;
    let options = Options {
        broker: Some(Address { host: "b.example".into(), port: 8883 }),
        site: None,
        topic: "fleet".into(),
        ca: None,
        certificate: None,
        login: None,
        device: None,
        version: if has(OLD_VERSION) { Version::ThreeOneOne } else { Version::Five },
        once: has(ONCE),
        state: None,
        notify_file: None,
        test_notice: false,
    };
    // As much as the service reads at once, and less.
    let pieces = delivery.pieces(|byte| usize::from(byte) * 4 % 1_024);
    let mut feed = Feed {
        pieces: Box::new(pieces.flat_map(|(byte, piece)| piece.chunks(1_024).map(move |part| (byte, part)))),
        at: Duration::ZERO,
        end: None,
        is_pulling: has(PULLING),
        is_closing: false,
        may_publish: false,
        sent: 0,
        opened: 0,
        logged: 0,
    };
    let code = service::run(&options, &mut feed);
    if options.once {
        assert!(code <= 1 && feed.opened == 1, "once: {code} after {} connections", feed.opened);
        assert!(code == 0 || feed.logged > 0, "why is said");
    } else {
        assert_eq!(code, 0);
        // What is lost and what is connected again, and the two topics that can be refused.
        assert!(feed.logged <= 4 * feed.opened, "{} lines of {} connections", feed.logged, feed.opened);
    }
}
