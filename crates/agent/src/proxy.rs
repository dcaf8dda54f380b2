//! How the engine would reach a host: directly, or through a proxy, by the rules of Go, in which engines are written.
//!
//! In place of ureq's own rules, which use the environment of this process and not the engine's, and read `NO_PROXY`
//! differently.
//!
//! **Invariant:** a host that the engine reaches through a proxy is never asked directly, nor the other way round.

use std::net::IpAddr;

use crate::endpoint::{Info, host_name, is_within, network};
use crate::failure::{Failure, Kind, Result};

/// The proxy for a URL with this scheme and `host[:port]`; `None` if it is reached directly.
pub(crate) fn proxy_for(info: &Info, scheme: &str, authority: &str) -> Result<Option<ureq::Proxy>> {
    let proxy = if scheme == "https" { &info.https_proxy } else { &info.http_proxy };
    if proxy.is_empty() || is_direct(&info.no_proxy, scheme, authority) {
        return Ok(None);
    }
    // `GET /info` hides user and password: `http://xxxxx:xxxxx@host:port`.
    if proxy.contains('@') {
        return Err(Failure::new(Kind::Proxy, "the engine uses a proxy whose password it does not report"));
    }
    let address = proxy.strip_prefix("http://").unwrap_or(proxy);
    if address.contains("://") {
        return Err(Failure::new(Kind::Proxy, "the engine uses a proxy with another scheme than http://"));
    }
    // Only Go accepts an IPv6 address with a zone.
    let proxy = ureq::Proxy::new(&format!("http://{address}")).ok().filter(|_| !address.contains('%'));
    proxy.map(Some).ok_or_else(|| Failure::new(Kind::Proxy, "the engine uses a proxy whose address is not valid"))
}

/// Whether a host is reached without a proxy, by the rule of `golang.org/x/net/http/httpproxy`. `no_proxy` is the value of
/// `NO_PROXY`.
pub(crate) fn is_direct(no_proxy: &str, scheme: &str, authority: &str) -> bool {
    let host = host_name(authority);
    let default = if scheme == "https" { "443" } else { "80" };
    let port = authority.rsplit_once(':').map_or(default, |(_, port)| if port.contains(']') { default } else { port });
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some(network) = network(&entry) {
            return address.is_some_and(|address| is_within(address, network));
        }
        let (name, entry_port) = split_port(&entry);
        (entry_port.is_empty() || entry_port == port) && matches(name, &host, address)
    })
}

/// Host and port of an entry, as Go's `net.SplitHostPort`: brackets are removed only from an address with a port.
fn split_port(entry: &str) -> (&str, &str) {
    if let Some(address_and_port) = entry.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return address_and_port;
    }
    entry.rsplit_once(':').filter(|(name, _)| !name.contains([':', '['])).unwrap_or((entry, ""))
}

fn matches(name: &str, host: &str, address: Option<IpAddr>) -> bool {
    if let Ok(entry) = name.parse::<IpAddr>() {
        return address.is_some_and(|address| address.to_canonical() == entry.to_canonical());
    }
    // `*.x` and `.x` match names below x; `x` matches x itself, too.
    let below = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match below.strip_prefix('.') {
        Some(_) => host.ends_with(below),
        None => host == below || host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_by_the_rules_of_go() {
        for (no_proxy, url, expected) in [
            ("", "https://r.test", false),
            ("", "https://localhost:5000", true),
            ("", "http://127.0.0.9:5000", true),
            ("", "http://[::1]:5000", true),
            ("*", "https://r.test", true),
            ("r.test", "https://r.test", true),
            ("r.test", "https://R.Test:5000", true),
            ("r.test", "https://a.r.test", true),
            ("r.test", "https://ar.test", false),
            (".r.test", "https://r.test", false),
            (".r.test", "https://a.r.test", true),
            ("*.r.test", "https://a.r.test", true),
            ("*.r.test", "https://r.test", false),
            ("r.test:443", "https://r.test", true),
            ("r.test:80", "https://r.test", false),
            ("r.test:5000", "http://r.test:5000", true),
            ("r.test:5000", "http://r.test:5001", false),
            ("10.0.0.0/8", "https://10.1.2.3:5000", true),
            ("10.0.0.0/8", "https://192.168.2.3", false),
            // Names are not resolved for it.
            ("10.0.0.0/8", "https://r.test", false),
            ("10.1.2.3", "https://10.1.2.3:5000", true),
            ("10.1.2.3:5000", "https://10.1.2.3:5000", true),
            ("10.1.2.3:5001", "https://10.1.2.3:5000", false),
            ("fd00::/8", "https://[fd00::1]:5000", true),
            ("fd00::1", "https://[fd00::1]", true),
            ("[fd00::1]:5000", "https://[fd00::1]:5000", true),
            ("[fd00::1]:5000", "https://[fd00::1]:5001", false),
            (" a.test , r.test ,", "https://r.test", true),
            ("a.test,*", "https://r.test", true),
            ("*r.test", "https://r.test", false),
            (".", "https://r.test", false),
            (":443", "https://r.test", false),
            ("r.test:", "https://r.test:5000", true),
            ("R.TEST", "https://r.test", true),
            // What is only nearly the same is not the same to Go, either.
            ("r.test", "https://r.test.", false),
            ("", "https://LOCALHOST:5000", false),
            ("[fd00::1]", "https://[fd00::1]", false),
            ("fe80::1%eth0", "https://[fe80::1]", false),
            ("10.0.0.0/33", "https://10.1.2.3", false),
            ("::ffff:10.0.0.0/104", "https://10.1.2.3", true),
            ("10.1.2.3", "https://[::ffff:10.1.2.3]", true),
            ("", "https://[::ffff:127.0.0.1]", true),
        ] {
            let (scheme, authority) = url.split_once("://").unwrap();
            assert_eq!(is_direct(no_proxy, scheme, authority), expected, "{no_proxy} {url}");
        }
    }

    #[test]
    fn proxies_as_engines_write_them() {
        for (proxy, expected) in [
            ("", "straight"),
            ("http://p.test:3128", "p.test:3128"),
            ("http://p.test:3128/", "p.test:3128"),
            ("p.test:3128", "p.test:3128"),
            ("http://p.test", "p.test:80"),
            ("http://xxxxx:xxxxx@p.test:3128", "the engine uses a proxy whose password it does not report"),
            ("https://p.test:3128", "the engine uses a proxy with another scheme than http://"),
            ("socks5://p.test", "the engine uses a proxy with another scheme than http://"),
            ("http://xxxxx@p.test:3128", "the engine uses a proxy whose password it does not report"),
            ("http://[fd00::1]:3128", "[fd00::1]:3128"),
            ("http://[fe80::1%25eth0]:3128", "the engine uses a proxy whose address is not valid"),
            ("http://p test", "the engine uses a proxy whose address is not valid"),
        ] {
            let info =
                Info { https_proxy: proxy.to_owned(), http_proxy: "http://other.test".into(), ..Info::default() };
            let got = match proxy_for(&info, "https", "r.test") {
                Ok(None) => "straight".to_owned(),
                Ok(Some(proxy)) => format!("{}:{}", proxy.host(), proxy.port()),
                Err(failure) => failure.error,
            };
            assert_eq!(got, expected, "{proxy}");
        }
    }

    #[test]
    fn each_scheme_has_its_own() {
        let info = Info { http_proxy: "http://p.test:1".into(), ..Info::default() };
        assert!(proxy_for(&info, "https", "r.test").unwrap().is_none());
        assert!(proxy_for(&info, "http", "r.test").unwrap().is_some());
    }
}
