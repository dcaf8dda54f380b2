//! HTTP requests with all limits set, and redirects that carry no secrets.
//!
//! Separate from `registry`, which knows what is requested and with which credentials.
//!
//! **Invariant:** `Authorization` is sent to exactly the requested URL, and never to the target of a redirect. No
//! redirect leads from https to http. Every request ends at the deadline.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::Path;

use ureq::http::{Method, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, Resolver as _};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, NextTimeout, TcpConnector, time};
use ureq::{Agent, Body, Error, Proxy};

use crate::endpoint::{Endpoint, Info};
use crate::failure::{Deadline, Failure, Kind, Result};
use crate::proxy::proxy_for;
use crate::tls::{self, TlsConnector};

/// Bytes. Registries send about a kilobyte of headers.
const HEADERS_MAX: usize = 32 << 10;
/// A registry redirects to its storage of blobs, rarely through a second host.
const REDIRECTS_MAX: usize = 3;

pub(crate) struct Web<'a> {
    agent: Agent,
    info: &'a Info,
    deadline: Deadline,
    has_answered: Cell<bool>,
}

/// The headers that a request has besides those of every request.
#[derive(Clone, Copy, Default)]
pub(crate) struct RequestHeaders<'a> {
    pub(crate) accept: &'a str,
    pub(crate) authorization: Option<&'a str>,
}

impl<'a> Web<'a> {
    /// For requests to one endpoint: with its certificates, and one connection that is kept open.
    pub(crate) fn new(endpoint: &Endpoint, certs_d: &Path, info: &'a Info, deadline: Deadline) -> Result<Self> {
        let directory = endpoint.certs.as_ref().map(|name| certs_d.join(name));
        let tls = TlsConnector(tls::config(directory.as_deref(), endpoint.verify)?);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(HEADERS_MAX)
            .input_buffer_size(HEADERS_MAX)
            // The environment's proxy is that of this process, and not the engine's.
            .proxy(None)
            .user_agent(concat!("alm-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, info, deadline, has_answered: Cell::new(false) })
    }

    /// Whether any server has answered with HTTP, whatever it said.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    /// Sends a GET or HEAD, and follows redirects. What another server wants as authentication, to which the registry has
    /// redirected, is not in the answer: it must not decide who gets the registry's credentials.
    pub(crate) fn get(&self, method: &Method, url: &str, headers: RequestHeaders) -> Result<Response<Body>> {
        let (mut url, mut headers) = (url.to_owned(), headers);
        for redirects in 0..=REDIRECTS_MAX {
            let request = if *method == Method::HEAD { self.agent.head(&url) } else { self.agent.get(&url) };
            let mut request = request.header("accept", headers.accept);
            if let Some(value) = headers.authorization {
                request = request.header("authorization", value);
            }
            let (limit, proxy) = (self.deadline.left()?, self.proxy(&url)?);
            let mut answer =
                request.config().timeout_global(Some(limit)).proxy(proxy).build().call().map_err(|e| failed(&e))?;
            self.has_answered.set(true);
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                if redirects > 0 {
                    answer.headers_mut().remove("www-authenticate");
                }
                return Ok(answer);
            }
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            url = redirect(&url, location)?;
            headers.authorization = None;
        }
        Err(Failure::new(Kind::Network, format!("the registry redirects more than {REDIRECTS_MAX} times")))
    }

    /// Posts a form with a secret in it; redirects are not followed.
    pub(crate) fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Response<Body>> {
        let (limit, proxy) = (self.deadline.left()?, self.proxy(url)?);
        let request = self.agent.post(url).config().timeout_global(Some(limit)).proxy(proxy).build();
        request.send_form(form.iter().copied()).map_err(|error| failed(&error))
    }

    fn proxy(&self, url: &str) -> Result<Option<Proxy>> {
        let uri: Uri = url.parse().map_err(|_| bad_address())?;
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) if !authority.as_str().contains('@') => {
                proxy_for(self.info, scheme, authority.as_str())
            }
            _ => Err(bad_address()),
        }
    }
}

fn bad_address() -> Failure {
    Failure::new(Kind::Format, "the registry names an invalid address")
}

/// The URL to which a redirect leads, resolved as in RFC 3986 (5.2), as Go's client does.
fn redirect(from: &str, location: &str) -> Result<String> {
    let (scheme, rest) = from.split_once("://").ok_or_else(bad_address)?;
    let (authority, here) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let here = here.split('?').next().unwrap_or_default();
    let location = location.split('#').next().unwrap_or_default();
    let has_scheme = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    let to = if has_scheme {
        with_lowercase_scheme(location)
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.is_empty() {
        return Err(bad_address());
    } else {
        let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
        let folder = here.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match path {
            "" => here.to_owned(),
            absolute if absolute.starts_with('/') => without_dots(absolute),
            relative => without_dots(&format!("{folder}/{relative}")),
        };
        format!("{scheme}://{authority}{path}{query}")
    };
    if !to.starts_with("https://") && !to.starts_with("http://") {
        return Err(bad_address());
    }
    if scheme == "https" && !to.starts_with("https://") {
        return Err(Failure::new(Kind::Network, "the registry redirects from https to http"));
    }
    Ok(to)
}

/// Resolves `.` and `..` in a path; the root is its own parent.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
}

/// The URL with its scheme in lower case.
pub(crate) fn with_lowercase_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => url.to_owned(),
    }
}

/// The whole body; an error if it is longer than `max` bytes.
pub(crate) fn body(answer: &mut Response<Body>, max: u64) -> Result<Vec<u8>> {
    answer.body_mut().with_config().limit(max).read_to_vec().map_err(|error| failed(&error))
}

/// The addresses of a host; an empty list if it has none.
pub(crate) fn resolve(host: &str, deadline: Deadline) -> Result<Vec<IpAddr>> {
    let uri: Uri = format!("http://{host}/").parse().map_err(|_| bad_address())?;
    let timeout = NextTimeout { after: time::Duration::Exact(deadline.left()?), ..NextTimeout::default() };
    match DefaultResolver::default().resolve(&uri, &Agent::config_builder().build(), timeout) {
        Ok(addresses) => Ok(addresses.iter().map(std::net::SocketAddr::ip).collect()),
        Err(Error::Timeout(_)) => Err(Failure::new(Kind::Limit, "the name server does not answer")),
        Err(_) => Ok(Vec::new()),
    }
}

/// In our own words, because ureq's errors can repeat an address with everything in it.
fn failed(error: &Error) -> Failure {
    let (kind, text) = match error {
        Error::Timeout(_) => (Kind::Limit, "the registry does not answer in time".to_owned()),
        Error::BodyExceedsLimit(_) => (Kind::Limit, "the registry's answer is too long".to_owned()),
        Error::LargeResponseHeader(..) => (Kind::Limit, "the registry's headers are too long".to_owned()),
        Error::HostNotFound => (Kind::Network, "the registry's name has no address".to_owned()),
        Error::ConnectProxyFailed(_) => (Kind::Proxy, "the engine's proxy does not connect".to_owned()),
        Error::Tls(text) => (Kind::Tls, (*text).to_owned()),
        Error::Io(error) => match error.get_ref() {
            Some(inner) if inner.is::<rustls::Error>() => (Kind::Tls, inner.to_string()),
            Some(inner) if inner.is::<Error>() => return inner.downcast_ref().map_or_else(bad_address, failed),
            _ => (Kind::Network, error.to_string()),
        },
        _ => (Kind::Network, "the registry's answer is not HTTP".to_owned()),
    };
    Failure::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_redirects_lead() {
        let from = "https://r.test:5000/v2/a/b/manifests/1?x=1";
        for (location, expected) in [
            ("https://s.test/x", "https://s.test/x"),
            ("HTTPS://s.test/X", "https://s.test/X"),
            ("//s.test/x", "https://s.test/x"),
            ("/x/y", "https://r.test:5000/x/y"),
            ("/x/../y?z=..", "https://r.test:5000/y?z=.."),
            ("2", "https://r.test:5000/v2/a/b/manifests/2"),
            ("./2", "https://r.test:5000/v2/a/b/manifests/2"),
            ("../blobs/2", "https://r.test:5000/v2/a/b/blobs/2"),
            ("../../../../../../x", "https://r.test:5000/x"),
            ("..", "https://r.test:5000/v2/a/b/"),
            ("?y=2", "https://r.test:5000/v2/a/b/manifests/1?y=2"),
            ("2#part", "https://r.test:5000/v2/a/b/manifests/2"),
        ] {
            assert_eq!(redirect(from, location).ok().as_deref(), Some(expected), "{location}");
        }
        assert_eq!(redirect("http://r.test", "x").ok().as_deref(), Some("http://r.test/x"));
        assert_eq!(redirect("http://r.test", "HTTPS://r.test/x").ok().as_deref(), Some("https://r.test/x"));
        for wrong in
            ["", "#x", "ftp://s.test/", "mailto:x@s.test", "http://s.test/x", "HTTP://s.test/x", "javascript:0"]
        {
            assert!(redirect(from, wrong).is_err(), "{wrong}");
        }
    }
}
