//! A test: how many bytes a device sends and receives in a day, with the real TLS, a clock that a test moves, and a broker that
//! confirms everything.
//!
//! Bytes are counted where they would go through the socket. `tests/proofs/agents.py` compares them with those of a real agent
//! and mosquitto, by the kernel's own count.
//!
//! **Invariant:** an idle day costs at most [`BUDGET`], with all headers of TCP and IP.

use super::options::{Address, Options};
use super::payload::{Seen, View};
use super::service::{self, Identity, World};
use super::session::Version;
use alm_state::{Image, Status, Time};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

const NOON: i64 = 1_795_000_000;
const DAY: u64 = 24 * 3_600;
/// Bytes. The budget of a day, idle.
const BUDGET: usize = 200_000;
/// Bytes. The headers of IPv4 and of TCP with its time stamps, which each segment and each acknowledgement has.
const HEADERS: usize = 52;

/// Both ends of a TLS connection with client certificates, and the broker behind it.
struct Wire {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    connection: Option<(ClientConnection, ServerConnection)>,
    at: Cell<Duration>,
    /// When a pull begins; it takes five minutes.
    pull: Option<u64>,
    /// Answers of the broker that were not read yet.
    answers: Vec<u8>,
    sent: usize,
    received: usize,
    /// How often one end has written: each becomes a segment, and is acknowledged.
    writes: usize,
    journal: Vec<String>,
}

impl Wire {
    fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key();
        let authority = params.self_signed(&authority_key).expect("an authority");
        let issuer = Issuer::from_params(&params, &authority_key);
        let issue = |name: &str| {
            let key = key();
            let certificate = CertificateParams::new([name.to_owned()]).expect("a name").signed_by(&key, &issuer);
            let chain: Vec<CertificateDer<'static>> = vec![certificate.expect("a certificate").der().clone()];
            (chain, PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8"))
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a root");
        let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let (chain, key) = issue("b.example");
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let server = server.expect("versions").with_client_cert_verifier(verifier.expect("a verifier"));
        let (own_chain, own_key) = issue("pi-1");
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.expect("versions").with_root_certificates(roots);
        Self {
            client: Arc::new(client.with_client_auth_cert(own_chain, own_key).expect("a client")),
            server: Arc::new(server.with_single_cert(chain, key).expect("a server")),
            connection: None,
            at: Cell::new(Duration::ZERO),
            pull: None,
            answers: Vec::new(),
            sent: 0,
            received: 0,
            writes: 0,
            journal: Vec::new(),
        }
    }

    fn second(&self) -> u64 {
        self.at.get().as_secs()
    }

    fn is_pulling(&self) -> bool {
        self.pull.is_some_and(|begin| (begin..begin + 300).contains(&self.second()))
    }

    /// Carries what both ends have to say, until they are silent.
    fn carry(&mut self) {
        let (client, server) = self.connection.as_mut().expect("a connection");
        loop {
            let mut up = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut up).expect("memory");
            }
            let mut down = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut down).expect("memory");
            }
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.writes += usize::from(!up.is_empty()) + usize::from(!down.is_empty());
            self.sent += up.len();
            self.received += down.len();
            let (mut up, mut down) = (up.as_slice(), down.as_slice());
            while !up.is_empty() {
                server.read_tls(&mut up).expect("memory");
                server.process_new_packets().expect("TLS of the client");
            }
            while !down.is_empty() {
                client.read_tls(&mut down).expect("memory");
                client.process_new_packets().expect("TLS of the server");
            }
        }
    }

    /// With the headers of TCP and IP, those of acknowledgements included.
    fn total(&self) -> usize {
        self.sent + self.received + 2 * HEADERS * self.writes
    }
}

impl World for Wire {
    fn at(&self) -> Duration {
        self.at.get()
    }

    fn now(&self) -> Time {
        Time(NOON + self.second().cast_signed())
    }

    fn wait(&mut self, _: Duration) -> bool {
        panic!("the connection was lost: {:?}", self.journal)
    }

    fn is_stopped(&self) -> bool {
        self.second() >= DAY
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn log(&mut self, line: &str) {
        self.journal.push(line.to_owned());
    }

    /// Two images that are checked every half hour, and the pull of one.
    fn view(&mut self) -> View {
        let second = self.second();
        let checked = Time(NOON + (second / 1_800 * 1_800).cast_signed());
        let mut images: Vec<Image> = ["registry.example.com/app:1", "registry.example.com/web:2"]
            .map(|id| Image {
                v: 1,
                id: id.into(),
                status: Status::Done,
                text: "Up to date".into(),
                time: checked,
                since: Time(NOON),
                checked: Some(checked),
                digest: Some(format!("sha256:{:064x}", 1)),
                latest: Some(format!("sha256:{:064x}", 1)),
                pulled: Some(Time(NOON)),
                ..Image::default()
            })
            .into();
        if let Some(begin) = self.pull.filter(|_| self.is_pulling()) {
            (images[0].status, images[0].text) = (Status::Working, "Downloading".into());
            (images[0].since, images[0].current) = (Time(NOON + begin.cast_signed()), Some(second * 1_000_000));
        }
        let images = images.into_iter().map(|image| Seen { image, lost: false }).collect();
        View { images, containers: vec![], now: self.now() }
    }

    fn open(&mut self) -> Result<Identity, String> {
        let name = "b.example".try_into().expect("a name");
        let client = ClientConnection::new(self.client.clone(), name).expect("a client");
        self.connection = Some((client, ServerConnection::new(self.server.clone()).expect("a server")));
        self.carry();
        Ok(Identity { device: "pi-1".into(), login: None, end: None })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (client, _) = self.connection.as_mut().expect("a connection");
        client.writer().write_all(bytes).expect("memory");
        self.carry();
        let (_, server) = self.connection.as_mut().expect("a connection");
        let mut read = vec![0; bytes.len()];
        server.reader().read_exact(&mut read).expect("what was sent");
        assert_eq!(read, bytes);
        let mut rest = bytes;
        while let [first, after @ ..] = rest {
            let digits = after.iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1;
            let length = after[..digits].iter().rev().fold(0, |sum, digit| (sum << 7) | usize::from(digit & 0x7f));
            let (body, left) = after[digits..].split_at(length);
            match first >> 4 {
                1 => self.answers.extend([0x20, 3, 0, 0, 0]),
                3 if first & 6 != 0 => {
                    let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    // With a reason and no properties, as mosquitto where nobody listens: 16.
                    self.answers.extend([0x40, 4, body[id], body[id + 1], 16, 0]);
                }
                12 => self.answers.extend([0xd0, 0]),
                _ => {}
            }
            rest = left;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        let answers = std::mem::take(&mut self.answers);
        // A tick is longer than the real one where that changes nothing, so that a day does not take a minute.
        let tick = if self.is_pulling() { 500 } else { 5_000 };
        self.at.set(self.at.get() + Duration::from_millis(if answers.is_empty() { tick } else { 20 }));
        if answers.is_empty() {
            return Ok(Some(0));
        }
        let (_, server) = self.connection.as_mut().expect("a connection");
        server.writer().write_all(&answers).expect("memory");
        self.carry();
        let (client, _) = self.connection.as_mut().expect("a connection");
        Ok(Some(client.reader().read(buffer).expect("what was answered")))
    }

    fn close(&mut self) {}
}

fn day(pull: Option<u64>) -> Wire {
    let mut wire = Wire { pull, ..Wire::new() };
    let options = Options {
        broker: Some(Address { host: "b.example".into(), port: 8883 }),
        site: Some("Berlin".into()),
        topic: "fleet/eu".into(),
        ca: None,
        certificate: None,
        login: None,
        device: None,
        version: Version::Five,
        once: false,
        state: None,
        notify_file: None,
        test_notice: false,
    };
    assert_eq!(service::run(&options, &mut wire), 0);
    assert_eq!(wire.journal.len(), 1, "{:?}", wire.journal);
    wire
}

#[test]
fn a_day_is_within_its_budget() {
    let idle = day(None);
    assert!(idle.total() <= BUDGET, "{} bytes", idle.total());
    // The pings alone; less would mean that they were not sent.
    assert!(idle.writes >= 2 * 600 && idle.sent > 600 * 24, "{} segments", idle.writes);
    let pull = day(Some(40_000));
    assert!(pull.total() > idle.total() + 300 * 100, "progress is sent every second");
}
