//! Registries with each kind of engine configuration, on loopback: which address, scheme and manifest the agent requests.

mod login;
mod manifests;
mod tls;

use std::path::Path;

use serde_json::json;

use crate::agent::{Call, Scratch};
use crate::fake::{
    DOCKER, OCI, Server, answer, digest, digest_of, image, index, registry, sealed, simple, simple_digest,
    simple_layers,
};
use crate::pki::Authority;

fn plain() -> Server {
    Server::start(None, |request| registry(&simple(), request))
}

/// Writes the certificates where the engine searches for them: in a directory named after the registry's address.
fn certs_d(scratch: &Scratch, server: &Server, files: &[(&str, &str)]) {
    for (name, text) in files {
        scratch.write(&format!("{}/{name}", server.address), text);
    }
}

#[test]
fn an_insecure_registry_by_its_address() {
    let server = plain();
    let answer = Call::sizes(&format!("{}/a/b:app", server.address)).ask();
    assert_eq!(answer.layers(), simple_layers());
    let asked = format!("http://{}", server.address);
    answer.has("digest", &simple_digest()).has("asked", &asked);
    assert_eq!(answer.json["total"], 1234);
    assert_eq!(answer.json["platform"], json!(null));
    assert_eq!(server.lines(), ["GET /v2/a/b/manifests/app"]);
    assert_eq!(server.authorizations(), [""; 0]);

    // In `name:tag@digest` only the digest counts.
    let answer = Call::sizes(&format!("{}/a/b:x@{}", server.address, digest("ab"))).ask();
    answer.is_kind("not-found");
    assert_eq!(server.lines()[1], format!("GET /v2/a/b/manifests/{}", digest("ab")));
}

#[test]
fn an_insecure_registry_by_its_name() {
    let server = plain();
    let host = format!("localhost:{}", server.port());
    let call = || Call::sizes(&format!("{host}/a:app")).verified();
    call().ask().is_kind("tls");
    assert_eq!(server.lines(), [""; 0], "asked without TLS though not insecure");
    let index = json!({ host.clone(): {"Name": host, "Secure": false} });
    let answer = call().with("/info/RegistryConfig/IndexConfigs", index).ask();
    assert_eq!(answer.layers(), simple_layers());
    // The engine's entry for a registry overrides its entries for networks.
    let index = json!({ host.clone(): {"Name": host, "Secure": true} });
    let call = Call::sizes(&format!("{host}/a:app"));
    call.with("/info/RegistryConfig/IndexConfigs", index).ask().is_kind("tls");
    assert_eq!(server.lines().len(), 1);
    // The network of the address to which the name resolves.
    let answer = Call::sizes(&format!("{host}/a:app")).ask();
    assert_eq!(answer.layers(), simple_layers());
}

#[test]
fn ipv6() {
    let server =
        Server::listen("[::1]:0", None, |request, stream| stream.write_all(&registry(&simple(), request)).is_ok());
    let answer = Call::sizes(&format!("{}/a:app", server.address)).ask();
    assert_eq!(answer.layers(), simple_layers());
    Call::sizes(&format!("{}/a:app", server.address)).verified().ask().is_kind("tls");

    let authority = Authority::new();
    let identity = authority.identity(&["::1"]);
    let server = Server::listen("[::1]:0", Some(identity.server(None)), |request, stream| {
        stream.write_all(&registry(&simple(), request)).is_ok()
    });
    let certs = Scratch::new("ipv6");
    certs.write(&format!("{}/ca.crt", server.address), &authority.pem);
    let answer = Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0).ask();
    assert_eq!(answer.layers(), simple_layers());
}

#[test]
fn both_platform_rules_and_both_families_of_types() {
    for kinds in [OCI, DOCKER] {
        let manifests = vec![
            (
                "app",
                index(
                    kinds,
                    &[
                        ("a0", "unknown/unknown"),
                        ("a5", "linux/arm/v5"),
                        ("a6", "linux/arm/v6"),
                        ("a8", "linux/arm64/v8"),
                        ("a9", "linux/amd64"),
                    ],
                ),
            ),
            ("a5", image(kinds[1], &[("55", 5)])),
            ("a6", image(kinds[1], &[("66", 6), ("66", 6)])),
            ("a8", image(kinds[1], &[("88", 8)])),
            ("a9", image(kinds[1], &[("99", 9)])),
        ];
        let manifests = sealed(manifests);
        let digest = digest_of(manifests[0].1.as_bytes());
        let server = Server::start(None, move |request| registry(&manifests, request));
        for (platform, version, expected) in [
            ("linux/arm/v7", "28.5.2", "linux/arm/v6 666"),
            ("linux/arm/v7", "20.10.24", "linux/arm/v5 555"),
            ("linux/arm64", "28.5.2", "linux/arm64 888"),
            ("arm64", "20.10.24", "linux/arm64 888"),
            ("linux", "28.5.2", "linux/amd64 999"),
        ] {
            let call = Call::sizes(&format!("{}/a:app", server.address));
            let answer = call.with("/platform", json!(platform)).with("/version", json!(version)).ask();
            let layers = answer.layers();
            let id = layers[0].0.replace('0', "");
            assert_eq!(format!("{} {id}{}", answer.json["platform"].as_str().unwrap_or("none"), layers[0].1), expected);
            // The digest of the tag; a layer that is in the image twice is listed once.
            answer.has("digest", &digest);
            assert_eq!(layers.len(), 1);
            assert_eq!(answer.json["total"], layers[0].1);
        }
        let nothing = Call::sizes(&format!("{}/a:app", server.address)).with("/platform", json!("linux/s390x")).ask();
        nothing.is_kind("platform");
        assert!(server.requests().iter().all(|request| {
            let accept = request.header("accept").unwrap_or_default();
            [OCI, DOCKER].iter().flatten().all(|kind| accept.contains(kind))
        }));
    }
}

#[test]
fn an_amd64_engine_chooses_by_its_processor() {
    let manifests = vec![
        ("app", index(OCI, &[("a3", "linux/amd64/v3"), ("a1", "linux/amd64")])),
        ("a1", image(OCI[1], &[("11", 1)])),
        ("a3", image(OCI[1], &[("33", 3)])),
    ];
    let manifests = sealed(manifests);
    let server = Server::start(None, move |request| registry(&manifests, request));
    let call = || Call::sizes(&format!("{}/a:app", server.address));
    call().ask().is_kind("unsupported");
    call().with("/platform", json!("linux/amd64")).ask().has("platform", "linux/amd64");
    call().with("/version", json!("20.10.24")).ask().has("platform", "linux/amd64");
    call().with("/platform", json!("linux/amd64/v3")).ask().has("platform", "linux/amd64/v3");
}

#[test]
fn hosts_files_of_the_containerd_store() {
    let server = plain();
    for name in ["_default", &server.address] {
        let certs = Scratch::new("hosts");
        certs.write(&format!("{name}/hosts.toml"), "server = \"https://other.test\"\n");
        Call::sizes(&format!("{}/a:app", server.address)).certs(&certs.0).ask().is_kind("unsupported");
        assert!(Path::new(&certs.0).exists());
    }
    assert_eq!(server.lines(), [""; 0]);
    // Engines before version 23 do not read such files.
    let certs = Scratch::new("hosts-old");
    certs.write("_default/hosts.toml", "server = \"https://other.test\"\n");
    let call = Call::sizes(&format!("{}/a:app", server.address)).certs(&certs.0);
    assert_eq!(call.with("/version", json!("20.10.24")).ask().layers(), simple_layers());
}

#[test]
fn a_digest_by_head_alone() {
    let server = Server::start(None, |request| match request.path.as_str() {
        "/v2/silent/manifests/app" => answer("200 OK", &[], "{}"),
        "/v2/odd/manifests/app" => answer("200 OK", &[("docker-content-digest", "sha256:xyz")], "{}"),
        "/v2/old/manifests/app" => answer("405 Method Not Allowed", &[("allow", "GET")], "{}"),
        _ => registry(&simple(), request),
    });
    let ask = |name: &str| Call::digest(&format!("{}/{name}:app", server.address)).ask();
    let answer = ask("a");
    assert_eq!(answer.line, format!("{{\"digest\":\"{}\"}}\n", simple_digest()));
    ask("silent").is_kind("format");
    ask("odd").is_kind("format");
    // If the registry does not support HEAD, no other request follows, since it would count as a pull.
    assert!(ask("old").is_kind("network").line.contains("405"));
    assert!(server.lines().iter().all(|line| line.starts_with("HEAD ")), "{:?}", server.lines());
}
