//! Sends one message to one receiver: by HTTP, or through this device's sendmail.
//!
//! Sending blocks, for as long as the limits below allow. Therefore the service starts a separate process for it: so the
//! connection to the broker never waits for a receiver, memory is freed afterwards, and the process can be killed at any time.
//! The order is on its standard input and the answer on its standard output, as fields that end with a NUL each (JSON for
//! these types would cost 20 KB of code).
//!
//! **Invariant:** redirects are not followed, certificates are always verified, and the answer contains no secret.

use super::receivers::{Kind, Receiver};
use super::texts::Text;
use crate::tls::{self, TlsConnector};
use alm_state::{BUILT, Time};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, ConnectionDetails, Connector, TcpConnector, Transport};
use ureq::{Agent, Error, Proxy};

/// The limit for connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// The limit for the whole exchange by HTTP.
const WHOLE: Duration = Duration::from_secs(20);
/// The limit for sendmail. One without a queue delivers the mail to a server before it ends.
const MAIL: Duration = Duration::from_secs(40);
/// When the caller ends the process that delivers; above the limits that this process has for itself.
pub(super) const LIMIT: Duration = Duration::from_secs(50);
/// The longest accepted `Retry-After`, in seconds: a larger value is taken as a mistake of the server.
const MAX_RETRY: u64 = 24 * 3600;

const SENDMAIL: &str = "/usr/sbin/sendmail";

/// The request to the process that delivers.
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) url: String,
    pub(super) authorization: Option<String>,
    pub(super) text: Text,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Delivered,
    /// Not accepted, and repeating it is of no use.
    Refused,
    /// Not accepted, but it may be later.
    Later,
    /// It is not known whether the message was accepted.
    Unclear,
}

#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) end: End,
    /// The receiver's reply, or the error, in one line without secrets.
    pub(super) details: String,
    /// After how many seconds the receiver wants the next request.
    pub(super) retry: Option<u64>,
}

impl Answer {
    pub(super) fn new(end: End, details: impl Into<String>) -> Self {
        Self { end, details: details.into(), retry: None }
    }
}

/// Splits fields that end with a NUL, a byte that no text here contains. `None` if the bytes are malformed.
fn fields(bytes: &[u8]) -> Option<impl Iterator<Item = &str>> {
    Some(str::from_utf8(bytes).ok()?.strip_suffix('\0')?.split('\0'))
}

impl Answer {
    pub(super) fn to_bytes(&self) -> String {
        let end = match self.end {
            End::Delivered => "delivered",
            End::Refused => "refused",
            End::Later => "later",
            End::Unclear => "unclear",
        };
        let retry = self.retry.map_or(String::new(), |retry| retry.to_string());
        format!("{end}\0{retry}\0{}\0", self.details.replace('\0', ""))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = fields(bytes)?;
        let end = match fields.next()? {
            "delivered" => End::Delivered,
            "refused" => End::Refused,
            "later" => End::Later,
            "unclear" => End::Unclear,
            _ => return None,
        };
        let retry = fields.next()?.parse().ok();
        Some(Self { end, retry, details: fields.next()?.to_owned() })
    }
}

impl Order {
    pub(super) fn to_bytes(&self) -> String {
        let Self { kind, url, authorization, text: Text { title, body, is_bad } } = self;
        let kind = match kind {
            Kind::Slack => "slack",
            Kind::Ntfy => "ntfy",
            Kind::Apprise => "apprise",
            Kind::Mail => "mail",
        };
        let (authorization, is_bad) = (authorization.as_deref().unwrap_or_default(), if *is_bad { "bad" } else { "" });
        [kind, url, authorization, is_bad, title, body].map(|field| format!("{}\0", field.replace('\0', ""))).concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = fields(bytes)?;
        let kind = match fields.next()? {
            "slack" => Kind::Slack,
            "ntfy" => Kind::Ntfy,
            "apprise" => Kind::Apprise,
            "mail" => Kind::Mail,
            _ => return None,
        };
        let url = fields.next()?.to_owned();
        let authorization = fields.next().filter(|value| !value.is_empty()).map(str::to_owned);
        let is_bad = fields.next()? == "bad";
        let text = Text { is_bad, title: fields.next()?.to_owned(), body: fields.next()?.to_owned() };
        Some(Self { kind, url, authorization, text })
    }

    pub(super) fn carry_out(self) -> Answer {
        let Self { kind, url, authorization, text } = self;
        let receiver = Receiver { kind, url, authorization, shown: String::new(), id: String::new() };
        if kind == Kind::Mail { mail(&receiver, &text, SENDMAIL.as_ref()) } else { post(&receiver, &text) }
    }
}

fn post(receiver: &Receiver, text: &Text) -> Answer {
    let (url, body) = receiver.request(text);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let proxy = match proxy(scheme, authority) {
        Ok(proxy) => proxy,
        Err(why) => return Answer::new(End::Later, why),
    };
    let tls = match tls::config(None, scheme == "https") {
        Ok(config) => TlsConnector(config),
        Err(failure) => return Answer::new(End::Later, failure.error),
    };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .timeout_connect(Some(CONNECT))
        .timeout_resolve(Some(CONNECT))
        .timeout_global(Some(WHOLE))
        .user_agent(concat!("alm-agent/", env!("CARGO_PKG_VERSION")))
        .build();
    let is_connected = Arc::new(AtomicBool::new(false));
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(tls)
            .chain(Noted(is_connected.clone()));
    let agent = Agent::with_parts(config, connector, DefaultResolver::default());
    let mut request = agent.post(&url).header("content-type", "application/json");
    if let Some(value) = &receiver.authorization {
        request = request.header("authorization", value);
    }
    let mut answer = match request.send(&body[..]) {
        Ok(answer) => answer,
        Err(error) => return failed(&error, is_connected.load(Ordering::Relaxed)),
    };
    let retry = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry = retry.and_then(|text| seconds(text, Time::now())).map(|seconds| seconds.min(MAX_RETRY));
    let status = answer.status();
    let end = match status.as_u16() {
        200..=299 => End::Delivered,
        408 | 429 => End::Later,
        400..=499 => End::Refused,
        _ => End::Unclear,
    };
    let mut details =
        format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned();
    if status.is_redirection() {
        details.push_str(", a redirect: write the address that it leads to");
    }
    // The body of an error often has the reason in one word, such as Slack's `no_service`. A body that repeats parts of the
    // request could contain the secret address, so it is checked below.
    let body = if end == End::Delivered {
        Vec::new()
    } else {
        answer.body_mut().with_config().limit(1_024).read_to_vec().unwrap_or_default()
    };
    let first = str::from_utf8(&body).unwrap_or_default().lines().next().unwrap_or_default();
    if !first.is_empty() && first.len() <= 200 && !first.contains(alm_state::is_hostile) && !receiver.is_in(first) {
        details = format!("{details}: {first}");
    }
    Answer { end, details, retry }
}

/// The proxy from the environment, by the rules of Go, which the engine follows too.
fn proxy(scheme: &str, authority: &str) -> Result<Option<Proxy>, &'static str> {
    let read = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.or_else(|| std::env::var(name.to_ascii_uppercase()).ok()).unwrap_or_default()
    };
    let address = read(if scheme == "https" { "https_proxy" } else { "http_proxy" });
    if address.is_empty() || crate::proxy::is_direct(&read("no_proxy"), scheme, authority) {
        return Ok(None);
    }
    let address = address.strip_prefix("http://").unwrap_or(&address);
    let wrong = "the proxy in the environment is not understood: http://HOST:PORT";
    if address.contains("://") {
        return Err(wrong);
    }
    Proxy::new(&format!("http://{address}")).map(Some).map_err(|_| wrong)
}

/// Reads `Retry-After`: seconds, or a date in the format of RFC 9110.
fn seconds(text: &str, now: Time) -> Option<u64> {
    let digits = text.trim();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has: longer than any limit.
        return Some(digits.parse().unwrap_or(u64::MAX));
    }
    if now < BUILT {
        // The clock is not set, so the time until a date is not known.
        return None;
    }
    let [_, day, month, year, clock, "GMT"] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let month =
        "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
    Some(Time::parse(&format!("{year}-{month:02}-{day:0>2}T{clock}Z"))?.since(now))
}

/// The last connector of ureq's chain. It notes that a connection was made: a message whose connection failed before that
/// cannot have arrived.
#[derive(Debug, Default)]
struct Noted(Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Noted {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, Error> {
        self.0.store(chained.is_some(), Ordering::Relaxed);
        Ok(chained)
    }
}

/// The answer for an error of ureq, in own words: ureq's text can contain the whole address, which is secret.
fn failed(error: &Error, is_connected: bool) -> Answer {
    let details = match error {
        Error::Timeout(_) if is_connected => "no answer in time".to_owned(),
        Error::Timeout(_) => "no connection in time".to_owned(),
        Error::HostNotFound => "the host's name has no address".to_owned(),
        Error::ConnectProxyFailed(_) => "the proxy does not connect".to_owned(),
        Error::ConnectionFailed => "no connection".to_owned(),
        Error::Tls(text) => format!("TLS: {text}"),
        Error::Io(error) => match error.get_ref() {
            // With TLS 1.3 a server can refuse a certificate after the connection is made. It has accepted no message then.
            Some(inner) if inner.is::<rustls::Error>() => return Answer::new(End::Later, format!("TLS: {inner}")),
            Some(inner) if inner.is::<Error>() => {
                return inner
                    .downcast_ref()
                    .map_or_else(|| Answer::new(End::Unclear, ""), |inner| failed(inner, is_connected));
            }
            _ => error.to_string(),
        },
        _ => "the answer is not HTTP".to_owned(),
    };
    Answer::new(if is_connected { End::Unclear } else { End::Later }, details)
}

/// The first line of the error output of a sendmail that has ended; empty if it contains the secret address.
fn complaint(child: &mut Child, receiver: &Receiver) -> String {
    let mut bytes = Vec::new();
    let _ = child.stderr.take().map(|stderr| stderr.take(1_024).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let first = text.lines().next().unwrap_or_default();
    let is_fit = !first.is_empty() && !first.contains(alm_state::is_hostile) && !receiver.is_in(first);
    if is_fit { format!(": {first}") } else { String::new() }
}

fn mail(receiver: &Receiver, text: &Text, sendmail: &Path) -> Answer {
    let name = sendmail.display();
    // -i: a line with a single dot does not end the mail. -t: the recipients are read from the mail.
    let started = Command::new(sendmail)
        .args(["-i", "-t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Answer::new(End::Later, format!("{name}: {error}; msmtp-mta brings a small one")),
    };
    let due = Instant::now() + MAIL;
    // Does not block: the mail is smaller than the buffer of a pipe. If sendmail ends without reading, its exit code says why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(receiver.mail(text).as_bytes()));
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                // By sysexits.h: some codes mean that the mail itself is wrong. All others may pass, such as exim's 1 when it
                // cannot write its queue.
                let end = match status.code() {
                    Some(0) => End::Delivered,
                    Some(64 | 65 | 67) => End::Refused,
                    Some(1 | 68 | 71 | 72 | 73 | 74 | 75 | 77 | 78) => End::Later,
                    _ => End::Unclear,
                };
                if end == End::Delivered {
                    return Answer::new(end, format!("{name} has taken it"));
                }
                return Answer::new(end, format!("{name}: {status}{}", complaint(&mut child, receiver)));
            }
            Ok(None) if Instant::now() < due => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Answer::new(End::Unclear, format!("{name} does not end"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn orders_and_answers_as_they_are_handed_over() {
        let text = Text { title: "pi: ü".into(), body: "a\nb".into(), is_bad: true };
        for authorization in [None, Some("Basic x".to_owned())] {
            let order = Order { kind: Kind::Ntfy, url: "https://x.test/t".into(), authorization, text: text.clone() };
            let read = Order::from_bytes(order.to_bytes().as_bytes()).expect("an order");
            assert_eq!(
                (read.kind, &read.url, &read.authorization, &read.text),
                (order.kind, &order.url, &order.authorization, &text)
            );
        }
        for end in [End::Delivered, End::Refused, End::Later, End::Unclear] {
            let answer = Answer { retry: Some(7), ..Answer::new(end, "429: x") };
            assert_eq!(Answer::from_bytes(answer.to_bytes().as_bytes()), Some(answer));
        }
        assert_eq!(Answer::from_bytes(b""), None);
        assert_eq!(Answer::from_bytes(b"delivered\0\0cut"), None);
        assert!(Order::from_bytes(b"ntfy\0https://x\0").is_none());
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let now = Time::parse("2026-11-28T21:00:00Z").expect("a time");
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sat, 28 Nov 2026 21:02:00 GMT", Some(120)),
            ("Sat, 5 Dec 2026 21:00:00 GMT", Some(7 * 86_400)),
            ("Sat, 28 Nov 2026 20:00:00 GMT", Some(0)),
            ("-5", None),
            ("", None),
            ("+5", None),
            ("99999999999999999999999", Some(u64::MAX)),
            ("soon", None),
            ("Sat, 28 nov 2026 20:00:00 GMT", None),
            ("Sat, 28 anF 2026 20:00:00 GMT", None),
            ("Sat, 28 Nov 2026 21:02:00 CET", None),
        ] {
            let got = seconds(text, now);
            assert_eq!(got, expected, "{text}");
        }
        assert_eq!(seconds("Sat, 28 Nov 2026 21:02:00 GMT", Time(100)), None);
    }

    /// Sends a mail through a sendmail that is this `script`. Returns the answer, and the mail that it received.
    fn mailed(name: &str, script: &str) -> (Answer, String) {
        let directory = std::env::temp_dir().join(format!("alm-sendmail-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let program = directory.join("sendmail");
        let got = directory.join("got");
        std::fs::write(&program, format!("#!/bin/sh\nout={}\n{script}\n", got.display())).expect("a program");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
        let receiver = Receiver {
            kind: Kind::Mail,
            url: "someone@x.test".into(),
            authorization: None,
            shown: String::new(),
            id: String::new(),
        };
        let text = Text { title: "pi: a".into(), body: "b".into(), is_bad: true };
        let mut answer = mail(&receiver, &text, &program);
        answer.details = answer.details.replace(&*program.to_string_lossy(), "sendmail");
        let mail = std::fs::read_to_string(&got).unwrap_or_default();
        std::fs::remove_dir_all(&directory).expect("it goes");
        (answer, mail)
    }

    #[test]
    fn sendmail_and_its_exit_codes() {
        let (answer, mail) = mailed("good", "echo \"$@\" >$out; cat >>$out");
        assert_eq!(answer, Answer::new(End::Delivered, "sendmail has taken it"));
        assert!(mail.starts_with("-i -t\nTo: someone@x.test\nSubject: pi: a\n"), "{mail}");
        for (script, end, details) in [
            (
                "cat >/dev/null; echo 'msmtp: no account' >&2; exit 78",
                End::Later,
                "sendmail: exit status: 78: msmtp: no account",
            ),
            ("exit 1", End::Later, "sendmail: exit status: 1"),
            ("exit 75", End::Later, "sendmail: exit status: 75"),
            ("echo 'no user someone' >&2; exit 67", End::Refused, "sendmail: exit status: 67"),
            ("exit 69", End::Unclear, "sendmail: exit status: 69"),
            ("kill -9 $$", End::Unclear, "sendmail: signal: 9 (SIGKILL)"),
        ] {
            assert_eq!(mailed("bad", script).0, Answer::new(end, details), "{script}");
        }
    }
}
