//! The transport to the broker: reads certificate and password from their files, opens a socket, and does TLS.
//!
//! **Invariant:** nothing is sent to a broker unless a trusted authority issued its certificate, for the host name in
//! `--broker`. No error contains a password.

use super::certificate;
use super::options::{Certificate, Login, Options};
use super::service::Identity;
use alm_state::Time;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each of a broker's addresses may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the TLS handshake may take after that.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// The longest that a read or a write of the socket blocks: how often the states are read, and how soon a signal is noticed.
const TICK: Duration = Duration::from_millis(500);
/// How long sending may take: on a dead connection it blocks once the socket's buffer is full.
const WRITE: Duration = Duration::from_secs(20);
/// Bytes. The file with all authorities of a system is about a quarter of this.
const MAX_FILE: u64 = 1024 * 1024;

/// What was read from the files that the options name.
pub(super) struct Files {
    config: Arc<ClientConfig>,
    pub(super) opened: Identity,
}

impl Files {
    pub(super) fn read(options: &Options) -> Result<Self, String> {
        let roots = match &options.ca {
            Some(file) => authorities(file)?,
            None => crate::tls::system_roots().map_err(|failure| failure.error)?,
        };
        if roots.is_empty() {
            return Err("there is no authority to trust: name one with --ca".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
        let (config, facts) = match &options.certificate {
            None => (builder.with_no_client_auth(), None),
            Some(Certificate { file, key }) => {
                let chain = certificates(file)?;
                let facts = certificate::facts(&chain[0]);
                let secret = PrivateKeyDer::from_pem_slice(&contents(key)?);
                let secret =
                    secret.map_err(|_| format!("{} has no key that can be read: PEM, not encrypted", key.display()))?;
                let config = builder.with_client_auth_cert(chain, secret);
                let config = config.map_err(|error| format!("{} and {}: {error}", file.display(), key.display()))?;
                (config, facts)
            }
        };
        let (name, end) = facts.map_or((None, None), |facts| (facts.name, Some(facts.end)));
        let device = match options.device.clone().or(name) {
            Some(name) => name,
            None => host_name(),
        };
        let device =
            super::options::topic_level(&device).map_err(|why| format!("the device's name {device:?}: {why}"))?;
        let login = match &options.login {
            Some(Login { user, password_file }) => Some((user.clone(), password(password_file)?)),
            None => None,
        };
        Ok(Self { config: Arc::new(config), opened: Identity { device, login, end } })
    }
}

fn contents(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let read = read.map_err(|error| format!("{}: {error}", file.display()))?;
    if read as u64 > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", file.display()));
    }
    Ok(bytes)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents(file)?).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| format!("{} has no certificate in PEM", file.display()))
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(file)?);
    Ok(roots)
}

fn password(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(contents(file)?).unwrap_or_default();
    // Editors of Windows put a byte order mark before the text, and a carriage return behind it.
    let line = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // MQTT's limit is a length of 16 bits.
    if line.is_empty() || line.len() > usize::from(u16::MAX) || line.contains('\n') {
        return Err(format!("{} has no password: it has to be its only line, in UTF-8", file.display()));
    }
    Ok(line.to_owned())
}

/// The files with secrets that every user of this device may read: those of systemd's credentials never are, those that an
/// administrator wrote may be.
pub(super) fn open_secrets(options: &Options) -> Vec<&Path> {
    let password = options.login.as_ref().map(|login| login.password_file.as_path());
    let key = options.certificate.as_ref().map(|certificate| certificate.key.as_path());
    let is_open = |file: &&Path| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o007 != 0)
    };
    [password, key].into_iter().flatten().filter(is_open).collect()
}

/// What notices call this device: as the broker knows it, as far as that can be read.
pub(super) fn device_name(options: &Options) -> String {
    let named =
        options.certificate.as_ref().and_then(|own| certificate::facts(certificates(&own.file).ok()?.first()?)?.name);
    options.device.clone().or(named).unwrap_or_else(host_name)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A TLS connection to the broker.
///
/// Each call ends at its limit even if the broker sends or accepts a byte now and then. rustls' own `Stream` has no such
/// limit: its calls go on as long as any byte moves.
pub(super) struct Link {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Link {
    pub(super) fn open(options: &Options, files: &Files, now: Time) -> Result<Self, String> {
        let address = options.broker.as_ref().ok_or("there is no broker")?;
        let name =
            ServerName::try_from(address.host.clone()).map_err(|_| format!("{} is no name of a host", address.host))?;
        let socket = connect(&address.host, address.port)?;
        let tls = ClientConnection::new(files.config.clone(), name).map_err(|error| error.to_string())?;
        let mut link = Self { tls, socket };
        let due = Instant::now() + HANDSHAKE;
        while link.tls.is_handshaking() {
            link.flush(due, "no answer to TLS")?;
            if link.tls.is_handshaking() && link.fill(now)? == Some(0) {
                return Err("the broker closed the connection within TLS".into());
            }
            if Instant::now() >= due {
                return Err("no answer to TLS".into());
            }
        }
        // The client's last message of the handshake.
        link.flush(due, "no answer to TLS")?;
        Ok(link)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let due = Instant::now() + WRITE;
        let mut rest = bytes;
        while !rest.is_empty() {
            // Accepts a part where its own buffer is full.
            let count = self.tls.writer().write(rest).map_err(|error| plain(&error))?;
            rest = &rest[count..];
            self.flush(due, "nothing can be sent any more")?;
        }
        Ok(())
    }

    /// The number of bytes received within one tick: `Some(0)` if none came, `None` if the broker closed the connection.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        let due = Instant::now() + TICK;
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // mosquitto closes the socket without TLS's close_notify.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(plain(&error)),
            }
            if Instant::now() >= due {
                return Ok(Some(0));
            }
            match self.fill(Time::now())? {
                None => return Ok(Some(0)),
                // The next read says that this is the end.
                Some(0) => {}
                // An answer of TLS itself may be due.
                Some(_) => self.flush(Instant::now() + WRITE, "nothing can be sent any more")?,
            }
        }
    }

    /// Reads once from the socket. The number of bytes, which is 0 at the end; `None` if none came within a tick.
    fn fill(&mut self, now: Time) -> Result<Option<usize>, String> {
        let count = match self.tls.read_tls(&mut self.socket) {
            Ok(count) => count,
            Err(error) if is_tick(&error) => return Ok(None),
            Err(error) => return Err(plain(&error)),
        };
        if let Err(error) = self.tls.process_new_packets() {
            // The broker's journal gets the reason, too.
            let _ = self.tls.write_tls(&mut self.socket);
            return Err(explain(&error, now));
        }
        Ok(Some(count))
    }

    /// Sends what TLS has to send; `late` is the error if that is not done when it is `due`.
    fn flush(&mut self, due: Instant, late: &str) -> Result<(), String> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_tick(&error) => {}
                Err(error) => return Err(plain(&error)),
            }
            if self.tls.wants_write() && Instant::now() >= due {
                return Err(late.to_owned());
            }
        }
        Ok(())
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|_| format!("the name {host} is not known to DNS"))?;
    let mut last = format!("the name {host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                let set = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(TICK)));
                set.and_then(|()| socket.set_write_timeout(Some(TICK))).map_err(|error| error.to_string())?;
                return Ok(socket);
            }
            Err(error) => last = format!("{address}: {}", plain(&error)),
        }
    }
    Err(last)
}

/// The error's text without the number that std adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// An error of TLS in words for an administrator who reads the journal.
fn explain(error: &rustls::Error, now: Time) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            // A bad signature comes from another authority of the same name: a CA that was set up again.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the broker's certificate was not issued by an authority that is trusted here; see --ca".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the broker's certificate is not valid yet by this device's clock, which shows {now}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the broker's certificate has expired by this device's clock, which shows {now}")
            }
            why => format!("the broker's certificate cannot be trusted: {why}"),
        },
        rustls::Error::AlertReceived(alert) => format!("the broker refuses {}", refused(*alert)),
        rustls::Error::InvalidMessage(_) => "that port does not speak TLS".into(),
        other => format!("TLS: {other}"),
    }
}

fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRevoked => "this device's certificate: it was revoked".into(),
        AlertDescription::CertificateExpired => "this device's certificate: it has expired".into(),
        AlertDescription::UnknownCA => "this device's certificate: another authority issued it".into(),
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => {
            "this device without a certificate, or what its TLS can do; see --cert".into()
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "this device's certificate".into(),
        other => format!("this device ({other:?})"),
    }
}
