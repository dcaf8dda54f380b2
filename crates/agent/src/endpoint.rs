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

/// The host that engines ask for Docker Hub's images.
const HUB_HOST: &str = "registry-1.docker.io";

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
    /// The name of its directory in certs.d: the host, with the port if the URL has one. Docker Hub has none.
    pub(crate) certs: Option<String>,
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
                list.push(Endpoint { base, certs: Some(host), verify, mirror: true });
            }
            list.push(Endpoint { base: format!("https://{HUB_HOST}"), certs: None, verify: true, mirror: false });
            return Ok(list);
        }
        let verify = config.is_secure(host, resolve)?;
        for scheme in if verify { &["https"][..] } else { &["https", "http"] } {
            list.push(Endpoint {
                base: format!("{scheme}://{host}"),
                certs: Some(host.to_owned()),
                verify,
                mirror: false,
            });
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
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    // A network of IPv4 addresses that is written as IPv6, too.
    Some(match address.to_canonical() {
        short @ IpAddr::V4(_) if address.is_ipv6() && bits >= 96 => (short, bits - 96),
        _ => (address, bits),
    })
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

/// Fails if there is a hosts.toml, with which an engine with the containerd store asks other hosts than `/info` names; or
/// if it cannot be known, because the directory is closed to this user.
pub(crate) fn rule_out_hosts_files(host: &str, certs_d: &Path) -> Result<()> {
    let unsupported = |error: String| Err(Failure::new(Kind::Unsupported, error));
    // containerd's name for the directory of a host with a port.
    let with_port = host.rsplit_once(':').map(|(name, port)| format!("{name}_{port}_"));
    let names = [host, "_default"].into_iter().chain(with_port.as_deref());
    for name in names.chain(Some(HUB_HOST).filter(|_| host == HUB)) {
        let file = certs_d.join(name).join("hosts.toml");
        match file.try_exists() {
            Ok(false) => {}
            Ok(true) => return unsupported(format!("{} can send the engine to any host", file.display())),
            Err(_) => return unsupported(format!("whether there is {} cannot be seen", file.display())),
        }
    }
    Ok(())
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
        let shown = list.iter().map(|Endpoint { base, certs, verify, mirror }| {
            let certs = certs.as_deref().unwrap_or("-");
            format!("{base} {certs}{}{}", if *verify { " verify" } else { "" }, if *mirror { " mirror" } else { "" })
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
            https://registry-1.docker.io - verify";
        assert_eq!(endpoints(INFO, "docker.io"), expected);
        // A registry like any other, if an image names it.
        for host in ["registry-1.docker.io", "mydocker.io"] {
            assert_eq!(endpoints(INFO, host), format!("https://{host} {host} verify"));
        }
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
            ("10.0.0.1", "::ffff:10.0.0.0/104", true),
            ("192.0.2.4", "::ffff:10.0.0.0/104", false),
            ("fe80::1", "fe80::/10", true),
        ] {
            assert_eq!(within(address, net), expected, "{address} {net}");
        }
        assert!(
            ["", "10.0.0.0", "x/8", "10.0.0.0/x", "10.0.0.0/256", "fe80::1%eth0/64"]
                .iter()
                .all(|text| network(text).is_none())
        );
    }

    #[test]
    fn where_hosts_files_are() {
        let directory = std::env::temp_dir().join(format!("alm-agent-{}-hosts-files", std::process::id()));
        let check = |host: &str, name: &str, expected: bool| {
            let place = directory.join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("hosts.toml"), "").unwrap();
            let found = rule_out_hosts_files(host, &directory);
            assert_eq!(found.is_err(), expected, "{host} {name}: {found:?}");
            std::fs::remove_dir_all(&directory).unwrap();
        };
        check("r.test", "r.test", true);
        check("r.test", "_default", true);
        check("r.test", "s.test", false);
        check("r.test:5000", "r.test:5000", true);
        check("r.test:5000", "r.test_5000_", true);
        check("r.test:5000", "r.test", false);
        check("[::1]:5000", "[::1]_5000_", true);
        check("docker.io", "docker.io", true);
        check("docker.io", "registry-1.docker.io", true);
        check("r.test", "registry-1.docker.io", false);
        assert_eq!(rule_out_hosts_files("r.test", &directory), Ok(()));
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
