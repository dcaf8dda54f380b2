//! Which certificates are trusted: those of the system's roots, and those in docker's `certs.d` directory of a
//! registry.
//!
//! ureq's own TLS connector is not used: it panics if a key does not fit its certificate, and it rejects a certificate
//! that is server and authority at once, which docker's manual describes.
//!
//! **Invariant:** except for hosts that the engine is configured to trust without verification, a certificate is
//! accepted only if it leads to a root, or is itself in `certs.d`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::failure::{Failure, Kind, Result};

/// The files with the roots of Debian, Fedora, SUSE and Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The configuration for one registry; the certificates in its directory are trusted in addition to the system's roots.
pub(crate) fn config(host_directory: Option<&Path>, verify: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut trusted = Vec::new();
    let mut identity = None;
    let entries = host_directory.and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for path in files {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trusted.extend(certificates(&path)?),
            // The first of several. An engine chooses a later one if the server asks for its authority; here the server
            // refuses the first one then, the request fails, and the sizes stay unknown.
            Some("cert") if identity.is_none() => {
                identity = Some((certificates(&path)?, key(&path.with_extension("key"))?));
            }
            _ => {}
        }
    }
    let verifier = Verifier::new(&provider, trusted, verify)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder =
        builder.map_err(|error| wrong(&error))?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))?,
        None => builder.with_no_client_auth(),
    }))
}

fn wrong(error: &Error) -> Failure {
    Failure::new(Kind::Tls, error.to_string())
}

/// The certificates in a file; a damaged one is skipped, as in other programs.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unread = |_| Failure::new(Kind::Tls, format!("{} cannot be read as certificates", path.display()));
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        match certificate {
            Ok(certificate) => found.push(certificate),
            Err(error @ pem::Error::Io(_)) => return Err(unread(error)),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let unread = |_| Failure::new(Kind::Tls, format!("{} cannot be read as a key", path.display()));
    PrivateKeyDer::from_pem_file(path).map_err(unread)
}

pub(crate) fn system_roots() -> Result<RootCertStore> {
    let given = std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut roots = RootCertStore::empty();
    if let Some(path) = given.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists())) {
        roots.add_parsable_certificates(certificates(&path)?);
    }
    Ok(roots)
}

#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate is accepted.
    roots: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates in `certs.d`.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(provider: &Arc<CryptoProvider>, trusted: Vec<CertificateDer<'static>>, verify: bool) -> Result<Self> {
        let roots = if verify {
            let mut roots = system_roots()?;
            roots.add_parsable_certificates(trusted.iter().cloned());
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            Some(built.map_err(|error| Failure::new(Kind::Tls, error.to_string()))?)
        } else {
            None
        };
        Ok(Self { roots, trusted, provider: provider.clone() })
    }
}

impl Verifier {
    /// Checks a signature with `verify` and the known algorithms; not if any certificate is accepted.
    fn verify_signature(
        &self,
        verify: impl FnOnce(&WebPkiSupportedAlgorithms) -> std::result::Result<HandshakeSignatureValid, Error>,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify(&self.provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        match roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // A server that is its own authority, which webpki rejects always (after it has checked the dates).
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.trusted.contains(end_entity) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.verify_signature(|known| rustls::crypto::verify_tls12_signature(message, certificate, signature, known))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.verify_signature(|known| rustls::crypto::verify_tls13_signature(message, certificate, signature, known))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The last connector of ureq's chain: adds TLS to the connection of the connectors before it, if the URL says https.
#[derive(Debug)]
pub(crate) struct TlsConnector(pub(crate) Arc<ClientConfig>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host).map_err(|_| ureq::Error::Tls("the host's name is not valid"))?.to_owned();
        let mut connection = ClientConnection::new(self.0.clone(), name).map_err(std::io::Error::other)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(time_left(details));
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

/// The time left for connecting after the connectors before this one.
fn time_left(details: &ConnectionDetails) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (Duration::Exact(limit), Instant::Exact(begun), Instant::Exact(now)) =
        (timeout.after, details.now, (details.current_time)())
    {
        timeout.after = Duration::Exact(limit.saturating_sub(now.saturating_duration_since(begun)));
    }
    timeout
}

pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> std::result::Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        Ok(std::io::Write::write_all(&mut self.stream, &self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let count = std::io::Read::read(&mut self.stream, self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}
