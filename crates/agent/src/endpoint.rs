//! The hosts that the engine would ask for an image, according to its `GET /info`: its mirrors, the registry, https
//! before http.
//!
//! Separate from `web`, which only requests the URLs that it gets.
//!
//! **Invariant:** the list has no host that the engine would not ask, and no host without verification that the engine
//! would verify.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::failure::{Failure, Kind, Result};
use crate::reference::HUB;

/// The part of `GET /info` that is used, under the engine's names.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    pub(crate) registry_config: Option<RegistryConfig>,
    pub(crate) http_proxy: String,
    pub(crate) https_proxy: String,
    pub(crate) no_proxy: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RegistryConfig {
    #[serde(rename = "InsecureRegistryCIDRs")]
    insecure: Option<Vec<String>>,
    index_configs: Option<HashMap<String, Index>>,
    mirrors: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    secure: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    /// `https://host:port`, with the path of a mirror; no slash at the end.
    pub(crate) base: String,
    /// With the port, if the URL has one: the name of the host's directory in certs.d.
    pub(crate) host: String,
    /// Whether its certificate is verified.
    pub(crate) verify: bool,
    /// Whether it is a mirror, which belongs to somebody else and must not get the registry's credentials.
    pub(crate) mirror: bool,
}

impl Info {
    /// The hosts for an image on `host`, in the order in which the engine asks them. `resolve` returns the addresses of
    /// a name, and an empty list if there are none.
    pub(crate) fn endpoints(
        &self,
        host: &str,
        resolve: &mut dyn FnMut(&str) -> Result<Vec<IpAddr>>,
    ) -> Result<Vec<Endpoint>> {
        let config = self
            .registry_config
            .as_ref()
            .ok_or_else(|| Failure::new(Kind::Unsupported, "the engine does not say which registries are insecure"))?;
        let mut list = Vec::new();
        if host == HUB {
            for mirror in config.mirrors.iter().flatten() {
                let (base, host) = mirror_of(mirror)?;
                let verify = config.is_secure(&host, resolve)?;
                list.push(Endpoint { base, host, verify, mirror: true });
            }
            let host = "registry-1.docker.io".to_owned();
            list.push(Endpoint { base: format!("https://{host}"), host, verify: true, mirror: false });
            return Ok(list);
        }
        let verify = config.is_secure(host, resolve)?;
        for scheme in if verify { &["https"][..] } else { &["https", "http"] } {
            let (base, host) = (format!("{scheme}://{host}"), host.to_owned());
            list.push(Endpoint { base, host, verify, mirror: false });
        }
        Ok(list)
    }
}

impl RegistryConfig {
    /// The engine's rule: by its entry for the host, else by the host's addresses.
    fn is_secure(&self, host: &str, resolve: &mut dyn FnMut(&str) -> Result<Vec<IpAddr>>) -> Result<bool> {
        if let Some(index) = self.index_configs.as_ref().and_then(|indexes| indexes.get(host)) {
            return Ok(index.secure);
        }
        let networks: Vec<_> = self.insecure.iter().flatten().filter_map(|text| network(text)).collect();
        if networks.is_empty() {
            return Ok(true);
        }
        let name = host_name(host);
        let addresses = match name.parse() {
            Ok(address) => vec![address],
            Err(_) => resolve(name)?,
        };
        Ok(!addresses.iter().any(|address| networks.iter().any(|network| is_within(*address, *network))))
    }
}

/// Base URL and host of a mirror in the engine's list, where it ends with a slash.
fn mirror_of(text: &str) -> Result<(String, String)> {
    let base = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let base = base.trim_end_matches('/').to_owned();
    let host = base.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default().to_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]/_~".contains(c);
    let is_url = base.starts_with("https://") || base.starts_with("http://");
    if is_url && !host.is_empty() && base.chars().all(allowed) {
        return Ok((base, host));
    }
    Err(Failure::new(Kind::Unsupported, "the engine has a mirror whose address is not understood here"))
}

/// A host without its port; an IPv6 address without its brackets.
pub(crate) fn host_name(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

pub(crate) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    Some((address.parse().ok()?, bits.parse().ok()?))
}

pub(crate) fn is_within(address: IpAddr, (network, bits): (IpAddr, u8)) -> bool {
    // Go treats an IPv4 address that is written as IPv6 as the same.
    match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether there is a hosts.toml, with which an engine with the containerd store asks other hosts than `/info` names.
pub(crate) fn has_hosts_file(host: &str, certs_d: &Path) -> bool {
    let hosts = [host, "_default", if host == HUB { "registry-1.docker.io" } else { host }];
    hosts.iter().any(|name| certs_d.join(name).join("hosts.toml").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `registry.test` has an address in `10.0.0.0/8`, `v6.test` one in `fd00::/8`, others none.
    fn endpoints(info: &str, host: &str) -> String {
        let info: Info = serde_json::from_str(info).unwrap();
        let mut resolve = |name: &str| {
            Ok(match name {
                "registry.test" => vec!["192.168.0.1".parse().unwrap(), "10.1.2.3".parse().unwrap()],
                "v6.test" => vec!["fd00::1".parse().unwrap()],
                _ => vec![],
            })
        };
        let list = match info.endpoints(host, &mut resolve) {
            Ok(list) => list,
            Err(failure) => return failure.error,
        };
        let shown = list.iter().map(|Endpoint { base, host, verify, mirror }| {
            format!("{base} {host}{}{}", if *verify { " verify" } else { "" }, if *mirror { " mirror" } else { "" })
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    /// The answer of a dockerd that was started with `--insecure-registry r.test:5000 --insecure-registry 10.0.0.0/8
    /// --registry-mirror http://m.test:5001 --registry-mirror https://n.test/cache`.
    const INFO: &str = r#"{"RegistryConfig":{"AllowNondistributableArtifactsCIDRs":[],"InsecureRegistryCIDRs":["10.0.0.0/8","fd00::/8","127.0.0.0/8"],
        "IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":["http://m.test:5001/"],"Secure":true,"Official":true},
        "r.test:5000":{"Name":"r.test:5000","Mirrors":[],"Secure":false,"Official":false}},"Mirrors":["http://m.test:5001/","https://n.test/cache/"]}}"#;

    #[test]
    fn by_name_and_by_address() {
        for (host, expected) in [
            ("r.test:5000", "https://r.test:5000 r.test:5000; http://r.test:5000 r.test:5000"),
            ("r.test", "https://r.test r.test verify"),
            (
                "registry.test:443",
                "https://registry.test:443 registry.test:443; http://registry.test:443 registry.test:443",
            ),
            ("v6.test", "https://v6.test v6.test; http://v6.test v6.test"),
            ("127.0.0.1:5000", "https://127.0.0.1:5000 127.0.0.1:5000; http://127.0.0.1:5000 127.0.0.1:5000"),
            ("[fd00::2]:5000", "https://[fd00::2]:5000 [fd00::2]:5000; http://[fd00::2]:5000 [fd00::2]:5000"),
            ("[::1]:5000", "https://[::1]:5000 [::1]:5000 verify"),
            ("192.0.2.1", "https://192.0.2.1 192.0.2.1 verify"),
            ("unknown.test", "https://unknown.test unknown.test verify"),
        ] {
            assert_eq!(endpoints(INFO, host), expected);
        }
    }

    #[test]
    fn mirrors_are_for_the_hub_alone_and_come_first() {
        let expected = "http://m.test:5001 m.test:5001 verify mirror; https://n.test/cache n.test verify mirror; \
            https://registry-1.docker.io registry-1.docker.io verify";
        assert_eq!(endpoints(INFO, "docker.io"), expected);
        for mirror in ["ftp://m.test/", "https://u:p@m.test/", "https://", "http://m test/"] {
            let info = format!(r#"{{"RegistryConfig":{{"Mirrors":["{mirror}"]}}}}"#);
            assert_eq!(endpoints(&info, "docker.io"), "the engine has a mirror whose address is not understood here");
        }
    }

    #[test]
    fn an_engine_that_says_nothing() {
        let missing = "the engine does not say which registries are insecure";
        assert_eq!(endpoints("{}", "r.test"), missing);
        assert_eq!(endpoints(r#"{"RegistryConfig":null}"#, "r.test"), missing);
        assert_eq!(endpoints(r#"{"RegistryConfig":{}}"#, "127.0.0.1"), "https://127.0.0.1 127.0.0.1 verify");
    }

    #[test]
    fn networks() {
        let within = |address: &str, net: &str| is_within(address.parse().unwrap(), network(net).unwrap());
        for (address, net, expected) in [
            ("10.0.0.1", "10.0.0.0/8", true),
            ("192.168.0.1", "10.0.0.0/8", false),
            ("192.0.2.4", "0.0.0.0/0", true),
            ("192.0.2.4", "192.0.2.4/32", true),
            ("192.0.2.5", "192.0.2.4/32", false),
            ("192.0.2.4", "192.0.2.4/33", false),
            ("::1", "::1/128", true),
            ("::2", "::/0", true),
            ("::ffff:10.0.0.1", "10.0.0.0/8", true),
            ("::1", "127.0.0.0/8", false),
        ] {
            assert_eq!(within(address, net), expected, "{address} {net}");
        }
        assert!(["", "10.0.0.0", "x/8", "10.0.0.0/x", "10.0.0.0/256"].iter().all(|text| network(text).is_none()));
    }

    #[test]
    fn host_names() {
        for (host, expected) in
            [("a:1", "a"), ("a", "a"), ("[::1]:5", "::1"), ("[::1]", "::1"), ("192.0.2.4:5", "192.0.2.4")]
        {
            assert_eq!(host_name(host), expected);
        }
    }
}
