//! A registry in memory: it answers as the test defines, and keeps the requests.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The bytes of an answer: usually a head and a body, but a test can send anything.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

pub(crate) trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

/// Answers a request; returns whether the connection stays open.
type Handler = dyn Fn(&Request, &mut dyn Both) -> bool + Send + Sync;

pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Answers each request with the result of `reply`.
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        reply: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0", tls, move |request, stream| {
            let mut bytes = reply(request);
            if request.method == "HEAD" {
                let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
                bytes.truncate(head);
            }
            stream.write_all(&bytes).is_ok()
        })
    }

    /// Passes each request to `handler`, which writes the answer itself.
    pub(crate) fn listen(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request, &mut dyn Both) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port on loopback");
        let address = listener.local_addr().expect("its address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over, handler) = (requests.clone(), is_over.clone(), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (log, tls, handler) = (log.clone(), tls.clone(), handler.clone());
                thread::spawn(move || serve(stream, tls, &log, &*handler));
            }
        });
        Self { address, requests, is_over }
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("a port")
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the requests").clone()
    }

    /// `METHOD PATH` of each request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// The `Authorization` headers of all requests.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.requests().iter().filter_map(|request| request.header("authorization").map(str::to_owned)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, log: &Mutex<Vec<Request>>, handler: &Handler) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let stream: Box<dyn Both> = match tls {
        None => Box::new(stream),
        Some(config) => {
            // Like servers in Go: to plain HTTP on a TLS port they answer 400, and TLS on a plain port fails.
            let mut first = [0];
            match stream.peek(&mut first) {
                Ok(1) if first[0] == 22 => {}
                _ => {
                    let _ = (&stream).write_all(
                        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
                    );
                    return;
                }
            }
            let Ok(connection) = ServerConnection::new(config) else { return };
            Box::new(StreamOwned::new(connection, stream))
        }
    };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        log.lock().expect("the requests").push(request.clone());
        let is_open = handler(&request, reader.get_mut());
        if reader.get_mut().flush().is_err() || !is_open {
            return;
        }
    }
}

fn read(reader: &mut BufReader<Box<dyn Both>>) -> Option<Request> {
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<Box<dyn Both>>| {
        line.clear();
        // A TLS hello at a server without TLS is not text.
        let is_line = reader.read_line(&mut line).is_ok_and(|count| count > 0);
        is_line.then(|| line.trim_end().to_owned())
    };
    let Some(first) = next(reader) else {
        let _ = reader.get_mut().write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        return None;
    };
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = next(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A digest's 64 digits, beginning with `start`.
pub(crate) fn digest(start: &str) -> String {
    format!("sha256:{start:0<64}")
}

pub(crate) const OCI: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"];
pub(crate) const DOCKER: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A manifest whose layers have these sizes, and digests that begin so.
pub(crate) fn image(kind: &str, layers: &[(&str, u64)]) -> String {
    let layers =
        layers.iter().map(|(start, size)| format!(r#"{{"mediaType":"x","digest":"{}","size":{size}}}"#, digest(start)));
    let layers = layers.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"digest":"{}","size":7}},"layers":[{layers}]}}"#,
        digest("c0")
    )
}

/// An index; each entry is the beginning of a digest and `os/architecture[/variant]`.
pub(crate) fn index(kinds: [&str; 2], entries: &[(&str, &str)]) -> String {
    let entries = entries.iter().map(|(start, platform)| {
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let (os, architecture, variant) = (part(), part(), part());
        let variant = if variant.is_empty() { String::new() } else { format!(r#","variant":"{variant}""#) };
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":9,"platform":{{"os":"{os}","architecture":"{architecture}"{variant}}}}}"#,
            kinds[1],
            digest(start)
        )
    });
    let entries = entries.collect::<Vec<_>>().join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entries}]}}"#, kinds[0])
}

/// The digest of these bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Manifests with their real digests: in an index, `digest(name)` stands for the digest of a later manifest in the list.
pub(crate) fn sealed(mut manifests: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    for at in (1..manifests.len()).rev() {
        let (name, text) = &manifests[at];
        let (placeholder, real) = (digest(name), digest_of(text.as_bytes()));
        for (_, text) in &mut manifests[..at] {
            *text = text.replace(&placeholder, &real);
        }
    }
    manifests
}

/// Answers like a registry with these manifests, which are found by the last part of the path.
pub(crate) fn registry(manifests: &[(&str, String)], request: &Request) -> Vec<u8> {
    let path = request.path.split('?').next().unwrap_or_default();
    let version = path.rsplit('/').next().unwrap_or_default();
    match manifests.iter().find(|(name, text)| version == *name || version == digest_of(text.as_bytes())) {
        Some((_, text)) if path.contains("/manifests/") => {
            let named = digest_of(text.as_bytes());
            answer("200 OK", &[("docker-content-digest", &named), ("content-type", DOCKER[1])], text)
        }
        _ => answer("404 Not Found", &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
    }
}

/// An image of two layers under the tag `app`, without an index.
pub(crate) fn simple() -> Vec<(&'static str, String)> {
    vec![("app", image(OCI[1], &[("aa11", 1000), ("bb22", 234)]))]
}

pub(crate) fn simple_digest() -> String {
    digest_of(simple()[0].1.as_bytes())
}

pub(crate) fn simple_layers() -> Vec<(String, u64)> {
    vec![("aa1100000000".to_owned(), 1000), ("bb2200000000".to_owned(), 234)]
}
