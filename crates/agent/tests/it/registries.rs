//! Registries of every kind that engines are configured for, on loopback.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::agent::{Call, Scratch};
use crate::fake::{DOCKER, OCI, Request, Server, answer, digest, image, index, registry, simple, simple_layers};
use crate::pki::{Authority, self_signed};

fn plain() -> Server {
    Server::start(None, |request| registry(&simple(), request))
}

#[test]
fn an_insecure_registry_by_its_address() {
    let server = plain();
    let answer = Call::sizes(&format!("{}/a/b:app", server.address)).ask();
    assert_eq!(answer.layers(), simple_layers());
    let asked = format!("http://{}", server.address);
    answer.has("digest", &digest("d0")).has("asked", &asked);
    assert_eq!(answer.json["total"], 1234);
    assert_eq!(answer.json["platform"], json!(null));
    assert_eq!(server.lines(), ["GET /v2/a/b/manifests/app"]);
    assert_eq!(server.authorizations(), [""; 0]);

    // Of `name:tag@digest` the digest counts.
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
    // The engine's own entry stands above the networks.
    let index = json!({ host.clone(): {"Name": host, "Secure": true} });
    let call = Call::sizes(&format!("{host}/a:app"));
    call.with("/info/RegistryConfig/IndexConfigs", index).ask().is_kind("tls");
    assert_eq!(server.lines().len(), 1);
    // By the network that its name leads to.
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
            // The digest of what the tag names, and a layer that is there twice once.
            answer.has("digest", &digest("d0"));
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
    let server = Server::start(None, move |request| registry(&manifests, request));
    let call = || Call::sizes(&format!("{}/a:app", server.address));
    call().ask().is_kind("unsupported");
    call().with("/platform", json!("linux/amd64")).ask().has("platform", "linux/amd64");
    call().with("/version", json!("20.10.24")).ask().has("platform", "linux/amd64");
    call().with("/platform", json!("linux/amd64/v3")).ask().has("platform", "linux/amd64/v3");
}

fn tls_registry(authority: &Authority, clients: Option<&Authority>) -> Server {
    let identity = authority.identity(&["127.0.0.1", "localhost"]);
    Server::start(Some(identity.server(clients)), |request| registry(&simple(), request))
}

/// A directory for the host's certificates.
fn certs_d(scratch: &Scratch, server: &Server, files: &[(&str, &str)]) {
    for (name, text) in files {
        scratch.write(&format!("{}/{name}", server.address), text);
    }
}

#[test]
fn a_private_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = tls_registry(&authority, None);
    let call = |certs: &Scratch| Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);

    let certs = Scratch::new("private");
    call(&certs).ask().is_kind("tls");
    certs_d(&certs, &server, &[("other.crt", &other.pem)]);
    call(&certs).ask().is_kind("tls");
    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    let answer = call(&certs).ask();
    assert_eq!(answer.layers(), simple_layers());
    answer.has("asked", &format!("https://{}", server.address));
    assert_eq!(server.lines().len(), 1, "asked before it was verified");

    // By the system's roots as well.
    let empty = Scratch::new("private-empty");
    let mut call = call(&empty);
    call.roots = Some(empty.write("roots.pem", &authority.pem));
    assert_eq!(call.ask().layers(), simple_layers());
    call.roots = Some(empty.0.join("missing.pem"));
    call.ask().is_kind("tls");
    // An insecure one is not verified.
    assert_eq!(Call::sizes(&format!("{}/a:app", server.address)).ask().layers(), simple_layers());
}

#[test]
fn a_certificate_for_another_name() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.identity(&["other.test"]).server(None)), |r| registry(&simple(), r));
    let certs = Scratch::new("name");
    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0).ask().is_kind("tls");
}

#[test]
fn a_server_that_is_its_own_authority() {
    // As docker's manual has it made, and one that says of itself that it is none.
    for (name, is_authority) in [("self-ca", true), ("self", false)] {
        let identity = self_signed(&["127.0.0.1"], is_authority);
        let server = Server::start(Some(identity.server(None)), |request| registry(&simple(), request));
        let certs = Scratch::new(name);
        let call = || Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);
        call().ask().is_kind("tls");
        certs_d(&certs, &server, &[("ca.crt", &identity.pem)]);
        assert_eq!(call().ask().layers(), simple_layers(), "{name}");

        // Not for another's name, nor another certificate.
        let identity = self_signed(&["other.test"], is_authority);
        let server = Server::start(Some(identity.server(None)), |request| registry(&simple(), request));
        certs_d(&certs, &server, &[("ca.crt", &identity.pem)]);
        Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0).ask().is_kind("tls");
    }
}

#[test]
fn a_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = tls_registry(&authority, Some(&clients));
    let (client, stranger) = (clients.identity(&["pi"]), Authority::new().identity(&["pi"]));
    let certs = Scratch::new("client");
    let call = || Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);

    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    call().ask().is_kind("tls");
    certs_d(&certs, &server, &[("client.cert", &client.pem), ("client.key", &client.key.serialize_pem())]);
    assert_eq!(call().ask().layers(), simple_layers());

    // A key that does not fit, one that cannot be read, one that is missing.
    for key in [stranger.key.serialize_pem(), "-----BEGIN".to_owned()] {
        certs_d(&certs, &server, &[("client.key", &key)]);
        call().ask().is_kind("tls");
    }
    fs::remove_file(certs.0.join(&server.address).join("client.key")).expect("it was there");
    let answer = call().ask();
    assert!(answer.is_kind("tls").line.contains("client.key cannot be read as a key"), "{answer:?}");
    assert_eq!(server.lines().len(), 1);
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
}

/// Basic, of `user` with `secret`.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn wants_basic(request: &Request) -> Vec<u8> {
    if request.header("authorization") == Some(BASIC) {
        return registry(&simple(), request);
    }
    answer("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], "{}")
}

#[test]
fn redirects_take_no_secret_along() {
    let target = Server::start(None, |request| registry(&simple(), request));
    let address = target.address.clone();
    let server = Server::start(None, move |request| {
        if request.header("authorization") != Some(BASIC) {
            return wants_basic(request);
        }
        let status = if request.path.contains("seventh") { "307 Temporary Redirect" } else { "302 Found" };
        answer(status, &[("location", &format!("http://{address}{}?sig=1", request.path))], "")
    });
    for image in ["seventh/a:app", "a:app"] {
        let answer = Call::sizes(&format!("{}/{image}", server.address)).login("user", "secret").ask();
        assert_eq!(answer.layers(), simple_layers());
    }
    assert_eq!(server.authorizations().len(), 2);
    assert_eq!(target.authorizations(), [""; 0]);
    assert_eq!(target.lines()[1], "GET /v2/a/manifests/app?sig=1");
}

#[test]
fn redirects_within_a_host_and_without_end() {
    let server = Server::start(None, |request| match request.path.as_str() {
        "/v2/a/manifests/app" => answer("308 Permanent Redirect", &[("location", "/v2/b/manifests/app")], ""),
        "/v2/round/manifests/app" => answer("301 Moved", &[("location", "/v2/round/manifests/app")], ""),
        "/v2/near/manifests/app" => answer("307 Temporary Redirect", &[("location", "../../a/./manifests/app")], ""),
        "/v2/odd/manifests/app" => answer("301 Moved", &[("location", "ftp://127.0.0.1:1/")], ""),
        "/v2/none/manifests/app" => answer("301 Moved", &[], ""),
        "/v2/user/manifests/app" => answer("301 Moved", &[("location", "http://u:p@127.0.0.1:1/")], ""),
        _ => registry(&simple(), request),
    });
    let ask = |name: &str| Call::sizes(&format!("{}/{name}:app", server.address)).ask();
    assert_eq!(ask("a").layers(), simple_layers());
    assert_eq!(ask("near").layers(), simple_layers());
    ask("round").is_kind("network");
    assert_eq!(server.lines().iter().filter(|line| line.contains("round")).count(), 4);
    for name in ["odd", "none", "user"] {
        ask(name).is_kind("format");
    }
}

#[test]
fn never_from_https_to_http() {
    let target = plain();
    let address = target.address.clone();
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"]);
    let server = Server::start(Some(identity.server(None)), move |request| {
        answer("307 Temporary Redirect", &[("location", &format!("http://{address}{}", request.path))], "")
    });
    let certs = Scratch::new("downgrade");
    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0).ask().is_kind("network");
    assert_eq!(target.lines(), [""; 0]);
}

#[test]
fn what_registries_refuse() {
    let server = Server::start(None, |request| match request.path.split('/').nth(2) {
        Some("busy") => answer("429 Too Many Requests", &[("retry-after", "60")], ""),
        Some("denied") => answer("403 Forbidden", &[], ""),
        Some("broken") => answer("500 Internal Server Error", &[], ""),
        Some("locked") => answer("401 Unauthorized", &[("www-authenticate", "Negotiate")], ""),
        Some("basic") => wants_basic(request),
        _ => answer("404 Not Found", &[], ""),
    });
    for (name, kind) in [
        ("busy", "limit"),
        ("denied", "auth"),
        ("broken", "network"),
        ("locked", "auth"),
        ("basic", "auth"),
        ("other", "not-found"),
    ] {
        Call::sizes(&format!("{}/{name}:app", server.address)).ask().is_kind(kind);
        Call::digest(&format!("{}/{name}:app", server.address)).ask().is_kind(kind);
    }
    // A wrong password is tried once.
    let before = server.lines().len();
    Call::sizes(&format!("{}/basic:app", server.address)).login("user", "wrong").ask().is_kind("auth");
    assert_eq!(server.lines().len() - before, 2);
    let answer = Call::sizes(&format!("{}/basic:app", server.address)).login("user", "secret").ask();
    assert_eq!(answer.layers(), simple_layers());
    // Nothing listens there.
    Call::sizes("127.0.0.1:1/a").ask().is_kind("network");
}

#[test]
fn token_servers() {
    // Artifact Registry's form: the token server is the registry itself, below /v2/.
    let server = Server::start(None, |request| {
        let host = request.header("host").unwrap_or_default().to_owned();
        if request.path.starts_with("/v2/token") {
            return match (request.method.as_str(), request.header("authorization")) {
                ("GET", None | Some(BASIC)) => answer("200 OK", &[], r#"{"token":"good","expires_in":300}"#),
                ("POST", None) if request.body.contains("refresh_token=identity%2Ftoken") => {
                    answer("200 OK", &[], r#"{"access_token":"good"}"#)
                }
                _ => answer("401 Unauthorized", &[], "{}"),
            };
        }
        if matches!(request.header("authorization"), Some("Bearer good" | "Bearer registry-token")) {
            return registry(&simple(), request);
        }
        let challenge =
            format!("Bearer realm=\"http://{host}/v2/token\",service=\"ar.test\",scope=\"repository:p/r/i:pull\"");
        answer("401 Unauthorized", &[("www-authenticate", &challenge)], "{}")
    });
    let call = || Call::sizes(&format!("{}/p/r/i:app", server.address));
    let scope = "scope=repository%3Ap%2Fr%2Fi%3Apull&service=ar.test";
    let image = "GET /v2/p/r/i/manifests/app".to_owned();

    assert_eq!(call().ask().layers(), simple_layers());
    assert_eq!(server.lines(), [image.clone(), format!("GET /v2/token?{scope}"), image.clone()]);

    assert_eq!(call().login("user", "secret").ask().layers(), simple_layers());
    assert_eq!(server.lines()[4], format!("GET /v2/token?account=user&{scope}"));
    call().login("user", "wrong").ask().is_kind("auth");

    let before = server.lines().len();
    let identity = json!({"identitytoken": "identity/token", "serveraddress": "x"});
    assert_eq!(call().with("/auth", identity).ask().layers(), simple_layers());
    let posted = &server.requests()[before + 1];
    assert_eq!(posted.line(), "POST /v2/token");
    assert_eq!(
        posted.body,
        "grant_type=refresh_token&refresh_token=identity%2Ftoken&client_id=docker&scope=repository%3Ap%2Fr%2Fi%3Apull&service=ar.test"
    );
    call().with("/auth", json!({"identitytoken": "old"})).ask().is_kind("auth");

    let before = server.lines().len();
    assert_eq!(call().with("/auth", json!({"registrytoken": "registry-token"})).ask().layers(), simple_layers());
    assert_eq!(server.lines()[before..], [image.clone(), image]);
}

#[test]
fn odd_token_servers() {
    let server = Server::start(None, |request| {
        let host = request.header("host").unwrap_or_default();
        let name = request.path.split('/').nth(2).unwrap_or_default().to_owned();
        let token = |text: &str| answer("200 OK", &[], text);
        match request.path.split('?').next().unwrap_or_default() {
            "/empty" => token("{}"),
            "/html" => token("<html>"),
            "/lines" => token(r#"{"token":"a\r\nx-other: b"}"#),
            "/long" => token(&format!(r#"{{"token":"{}"}}"#, "x".repeat(70_000))),
            "/refused" => answer("403 Forbidden", &[], ""),
            "/moved" => answer("302 Found", &[("location", "/good")], ""),
            "/good" => token(r#"{"token":"good"}"#),
            _ if request.header("authorization") == Some("Bearer good") => registry(&simple(), request),
            _ => {
                let realm = match name.as_str() {
                    "nowhere" => "Bearer service=\"x\"".to_owned(),
                    "ftp" => "Bearer realm=\"ftp://x.test/\"".to_owned(),
                    name => format!("Bearer realm=\"http://{host}/{name}\""),
                };
                answer("401 Unauthorized", &[("www-authenticate", &realm)], "")
            }
        }
    });
    let ask = |name: &str| Call::sizes(&format!("{}/{name}:app", server.address)).login("user", "secret").ask();
    for name in ["empty", "html", "lines", "refused", "nowhere", "ftp"] {
        ask(name).is_kind("auth");
    }
    ask("long").is_kind("limit");
    // The password went to the token server, and not on to where that redirects.
    assert_eq!(ask("moved").layers(), simple_layers());
    let good = server.requests().into_iter().find(|request| request.path == "/good").expect("it was asked");
    assert_eq!(good.header("authorization"), None);
}

#[test]
fn a_token_servers_scheme_in_capitals() {
    let server =
        Server::start(None, |request| match (request.path.starts_with("/token"), request.header("authorization")) {
            (true, _) => answer("200 OK", &[], r#"{"token":"good"}"#),
            (_, Some("Bearer good")) => registry(&simple(), request),
            _ => {
                let host = request.header("host").expect("a host");
                let realm = format!("Bearer realm=\"HTTP://{host}/token\",service=\"s\"");
                answer("401 Unauthorized", &[("www-authenticate", &realm)], "{}")
            }
        });
    assert_eq!(Call::sizes(&format!("{}/a:app", server.address)).ask().layers(), simple_layers());
}

#[test]
fn a_token_server_by_http_gets_no_password_for_a_registry_by_https() {
    let tokens = Server::start(None, |_| answer("200 OK", &[], r#"{"token":"good"}"#));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address);
    let authority = Authority::new();
    let server = Server::start(Some(authority.identity(&["127.0.0.1"]).server(None)), move |_| {
        answer("401 Unauthorized", &[("www-authenticate", &realm)], "{}")
    });
    let certs = Scratch::new("realm");
    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    let call = || Call::sizes(&format!("{}/a:app", server.address)).certs(&certs.0).login("user", "secret");
    call().verified().ask().is_kind("auth");
    call().ask().is_kind("auth");
    assert_eq!(tokens.lines(), [""; 0]);
}

#[test]
fn a_digest_by_head_alone() {
    let server = Server::start(None, |request| match request.path.as_str() {
        "/v2/silent/manifests/app" => answer("200 OK", &[], "{}"),
        "/v2/odd/manifests/app" => answer("200 OK", &[("docker-content-digest", "sha256:xyz")], "{}"),
        _ => registry(&simple(), request),
    });
    let ask = |name: &str| Call::digest(&format!("{}/{name}:app", server.address)).ask();
    let answer = ask("a");
    assert_eq!(answer.line, format!("{{\"digest\":\"{}\"}}\n", digest("d0")));
    ask("silent").is_kind("format");
    ask("odd").is_kind("format");
    assert!(server.lines().iter().all(|line| line.starts_with("HEAD ")), "{:?}", server.lines());
}
