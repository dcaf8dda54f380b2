//! A fake engine: a real socket that answers each request step by step.

use super::{LIMIT, Temp, eventually};
use rustix::net::{RecvFlags, recv};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A step of the engine's answer. After the last one it closes the connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes these bytes at once.
    Write(Vec<u8>),
    /// Writes them one by one.
    Trickle(Vec<u8>),
    /// Writes these bytes again and again until the client leaves.
    Endless(Vec<u8>),
    /// Waits for [`Engine::go`].
    Wait,
    /// Does nothing more until the client leaves or the engine ends.
    Stall,
    /// Closes the connection so that the client's read fails (ECONNRESET). Only writes may come before it.
    Reset,
}

/// A request that the engine got.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `POST /v1.41/images/create?fromImage=…`
    pub(crate) line: String,
    /// The whole head.
    pub(crate) head: String,
}

impl Request {
    /// The value of a header, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

type Script = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    /// The number of waits that are allowed to end.
    gone: AtomicUsize,
    /// The number of clients that have left while the engine stalled.
    left: AtomicUsize,
    is_over: AtomicBool,
}

/// A fake engine. It stops when it is dropped.
pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
    shared: Arc<Shared>,
}

impl Engine {
    /// An engine like Docker 20.10 that answers a pull with `pull`, and other requests with 404.
    pub(crate) fn new(temp: &Temp, pull: Vec<Step>) -> Self {
        Self::with(temp, "1.41", pull)
    }

    /// The same with another `Api-Version`; with none if `api` is empty.
    pub(crate) fn with(temp: &Temp, api: &str, pull: Vec<Step>) -> Self {
        let ping = ping(api);
        Self::serve(&temp.join("docker.sock"), move |request| match &request.line {
            line if line.ends_with("/_ping") => vec![Step::Write(ping.clone())],
            line if line.starts_with("POST ") => pull.clone(),
            _ => vec![Step::Write(answer(404, r#"{"message":"no such image"}"#))],
        })
    }

    /// An engine that answers each request with the steps that `script` returns.
    pub(crate) fn serve(socket: &Path, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket for the engine");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            gone: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let engine = Self { socket: socket.to_owned(), shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.converse(stream));
            }
        });
        engine
    }

    /// The value for `--host`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Ends one [`Step::Wait`].
    pub(crate) fn go(&self) {
        self.shared.gone.fetch_add(1, Ordering::Relaxed);
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("nobody panics with it").clone()
    }

    /// The request for a pull. Fails if there was not exactly one.
    pub(crate) fn pull_request(&self) -> Request {
        let pulls: Vec<_> = self.requests().into_iter().filter(|request| request.line.starts_with("POST ")).collect();
        let [pull] = pulls.as_slice() else { panic!("not one pull but {pulls:?}") };
        pull.clone()
    }

    /// Waits for a request for a pull.
    pub(crate) fn was_asked_to_pull(&self) -> bool {
        eventually(LIMIT, || self.requests().iter().any(|request| request.line.starts_with("POST ")))
    }

    /// Waits for a client to leave while the engine stalls.
    pub(crate) fn was_left(&self) -> bool {
        eventually(LIMIT, || self.shared.left.load(Ordering::Relaxed) > 0)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.socket);
    }
}

impl Shared {
    fn converse(&self, mut stream: UnixStream) {
        let Some(head) = peek_head(&stream) else { return };
        let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let request = Request { line, head: head.clone() };
        let steps = (self.script)(&request);
        self.requests.lock().expect("nobody panics with it").push(request);
        // Closing a socket with unread bytes resets the connection.
        let unread = usize::from(steps.iter().any(|step| matches!(step, Step::Reset)));
        let mut read = vec![0; head.len() - unread];
        let _ = stream.read_exact(&mut read);
        for step in &steps {
            // A client that has left shows in the next write; that is the test's business.
            let _ = match step {
                Step::Write(bytes) => stream.write_all(bytes),
                Step::Trickle(bytes) => bytes.chunks(1).try_for_each(|byte| stream.write_all(byte)),
                Step::Endless(bytes) => {
                    let mut written = Ok(());
                    while written.is_ok() && !self.is_over.load(Ordering::Relaxed) {
                        written = stream.write_all(bytes);
                    }
                    written
                }
                Step::Wait => {
                    let may_pass = |gone: usize| gone.checked_sub(1);
                    let order = Ordering::Relaxed;
                    eventually(LIMIT * 2, || {
                        self.is_over.load(order) || self.gone.fetch_update(order, order, may_pass).is_ok()
                    });
                    Ok(())
                }
                Step::Stall => {
                    self.stall(&mut stream);
                    return;
                }
                Step::Reset => return,
            };
        }
    }

    fn stall(&self, stream: &mut UnixStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
        while !self.is_over.load(Ordering::Relaxed) {
            if let Ok(0) = stream.read(&mut [0]) {
                self.left.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// The head of a request, which stays to be read.
fn peek_head(stream: &UnixStream) -> Option<String> {
    let mut buffer = vec![0; 64 << 10];
    let mut before = 0;
    loop {
        let (count, _) = recv(stream, buffer.as_mut_slice(), RecvFlags::PEEK).ok()?;
        if let Some(end) = buffer[..count].windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(String::from_utf8_lossy(&buffer[..end + 4]).into_owned());
        }
        if count == 0 || count == buffer.len() {
            return None;
        }
        if count == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        before = count;
    }
}

fn ping(api: &str) -> Vec<u8> {
    let version = if api.is_empty() { String::new() } else { format!("Api-Version: {api}\r\n") };
    format!("HTTP/1.1 200 OK\r\n{version}Server: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK").into_bytes()
}

/// A whole answer with a length.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The head of a stream.
pub(crate) fn head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
}

/// A line as the engine sends it: in its own chunk.
pub(crate) fn chunk(line: impl AsRef<[u8]>) -> Vec<u8> {
    let line = line.as_ref();
    [format!("{:x}\r\n", line.len() + 2).as_bytes(), line, b"\r\n\r\n"].concat()
}

pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A complete answer: the head, these lines, the last chunk.
pub(crate) fn stream<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<u8> {
    let mut stream = head();
    lines.into_iter().for_each(|line| stream.extend(chunk(line)));
    stream.extend_from_slice(LAST_CHUNK);
    stream
}
