//! Docker Hub through a proxy, and its mirrors. The proxy belongs to the test: whatever host is requested, a server of the test
//! answers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::agent::{Call, Scratch};
use crate::fake::{Server, answer, registry, simple, simple_layers};
use crate::pki::Authority;

/// A proxy that connects to one address, whatever host is requested.
pub(crate) struct Proxy {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("its address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, target) = (asked.clone(), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (log, target) = (log.clone(), target.clone());
                thread::spawn(move || connect(client, &target, &log));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

fn connect(mut client: TcpStream, target: &str, log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    log.lock().expect("the log").push(head.lines().next().unwrap_or_default().to_owned());
    let Ok(mut server) = TcpStream::connect(target) else { return };
    let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let (mut from, mut to) = (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
    let up = thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut server, &mut client);
    let _ = up.join();
}

/// Docker Hub: its registry and token server, behind one proxy.
struct Hub {
    server: Server,
    proxy: Proxy,
    scratch: Scratch,
}

impl Hub {
    fn start(name: &str) -> Self {
        let authority = Authority::new();
        let identity = authority.identity(&["registry-1.docker.io", "auth.docker.io"]);
        let server = Server::start(Some(identity.server(None)), |request| {
            match (request.header("host"), request.header("authorization")) {
                (Some("auth.docker.io"), None) => {
                    answer("200 OK", &[], r#"{"token":"anonymous","access_token":"anonymous"}"#)
                }
                (Some("auth.docker.io"), Some("Basic dXNlcjpzZWNyZXQ=")) => {
                    answer("200 OK", &[], r#"{"token":"user"}"#)
                }
                (Some("registry-1.docker.io"), Some("Bearer anonymous" | "Bearer user")) => {
                    registry(&simple(), request)
                }
                (Some("registry-1.docker.io"), None) => {
                    let challenge = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/a:pull\"";
                    answer("401 Unauthorized", &[("www-authenticate", challenge)], "{}")
                }
                _ => answer("400 Bad Request", &[], "{}"),
            }
        });
        let proxy = Proxy::start(&server.address);
        let scratch = Scratch::new(name);
        scratch.write("roots.pem", &authority.pem);
        Self { server, proxy, scratch }
    }

    fn ask(&self, mut call: Call) -> Call {
        call.roots = Some(self.scratch.0.join("roots.pem"));
        call.certs(&self.scratch.0.join("certs.d"))
            .with("/info/HttpsProxy", json!(format!("http://{}", self.proxy.address)))
    }
}

#[test]
fn the_hub_through_a_proxy() {
    let hub = Hub::start("hub");
    let answer = hub.ask(Call::sizes("a:app")).ask();
    assert_eq!(answer.layers(), simple_layers());
    answer.has("asked", "https://registry-1.docker.io");
    assert_eq!(hub.proxy.asked()[0], "CONNECT registry-1.docker.io:443 HTTP/1.1");
    assert_eq!(hub.proxy.asked()[1], "CONNECT auth.docker.io:443 HTTP/1.1");
    let manifest = "GET /v2/library/a/manifests/app";
    let token = "GET /token?scope=repository%3Alibrary%2Fa%3Apull&service=registry.docker.io";
    assert_eq!(hub.server.lines(), [manifest, token, manifest]);

    let answer = hub.ask(Call::sizes("docker.io/library/a:app").login("user", "secret")).ask();
    assert_eq!(answer.layers(), simple_layers());
    assert_eq!(hub.server.authorizations()[1..], ["Basic dXNlcjpzZWNyZXQ=", "Bearer user"]);
}

#[test]
fn the_hubs_digest_costs_no_get_of_a_manifest() {
    let hub = Hub::start("hub-digest");
    let answer = hub.ask(Call::digest("a:app")).ask();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let counted = hub.server.lines().into_iter().filter(|line| line.starts_with("GET") && line.contains("manifests"));
    assert_eq!(counted.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn proxies_that_cannot_be_used_are_not_gone_around() {
    let hub = Hub::start("hub-proxies");
    for (proxy, kind) in [
        (format!("http://xxxxx:xxxxx@{}", hub.proxy.address), "proxy"),
        (format!("socks5://{}", hub.proxy.address), "proxy"),
        (format!("https://{}", hub.proxy.address), "proxy"),
        ("http://127.0.0.1:1".to_owned(), "network"),
    ] {
        let call = hub.ask(Call::sizes("a:app")).with("/info/HttpsProxy", json!(proxy));
        call.ask().is_kind(kind);
    }
    assert_eq!(hub.proxy.asked(), [""; 0]);
    assert_eq!(hub.server.lines(), [""; 0]);

    // Hosts that the engine reaches directly are connected directly, others through the proxy. The agent's own environment
    // does not count.
    let plain = Server::start(None, |request| registry(&simple(), request));
    let other = Proxy::start(&plain.address);
    let through = Call::sizes(&format!("registry.test:{}/a:app", plain.port()))
        .with(
            "/info/RegistryConfig/IndexConfigs",
            json!({format!("registry.test:{}", plain.port()): {"Secure": false}}),
        )
        .with("/info/HttpProxy", json!(other.address));
    assert_eq!(through.ask().layers(), simple_layers());
    assert_eq!(other.asked(), [format!("CONNECT registry.test:{} HTTP/1.1", plain.port())]);
    let straight = Call::sizes(&format!("{}/a:app", plain.address)).with("/info/HttpProxy", json!(other.address));
    assert_eq!(straight.ask().layers(), simple_layers());
    assert_eq!(other.asked().len(), 1);
}

fn mirrors(servers: &[&str]) -> Value {
    json!(servers.iter().map(|address| format!("http://{address}/")).collect::<Vec<_>>())
}

#[test]
fn mirrors_come_first_and_get_no_credential() {
    let hub = Hub::start("hub-mirrors");
    let mirror = Server::start(None, |request| registry(&simple(), request));
    let empty = Server::start(None, |request| registry(&[], request));
    let locked =
        Server::start(None, |_| answer("401 Unauthorized", &[("www-authenticate", "Basic realm=\"m\"")], "{}"));
    let call = |list: &[&str]| hub.ask(Call::sizes("a:app")).with("/info/RegistryConfig/Mirrors", mirrors(list));

    let answer = call(&[&mirror.address]).login("user", "secret").ask();
    assert_eq!(answer.layers(), simple_layers());
    answer.has("asked", &format!("http://{}", mirror.address));
    assert_eq!(mirror.lines(), ["GET /v2/library/a/manifests/app"]);
    assert_eq!(hub.server.lines(), [""; 0]);

    // Mirrors are asked in their order, and the Hub after them.
    call(&[&empty.address, &mirror.address]).ask().has("asked", &format!("http://{}", mirror.address));
    call(&["127.0.0.1:1", &empty.address]).ask().has("asked", "https://registry-1.docker.io");
    call(&[&locked.address]).ask().has("asked", "https://registry-1.docker.io");

    // A mirror that wants a login: an engine with credentials could get its answer there, so no other host is asked.
    let before = hub.server.lines().len();
    call(&[&locked.address]).login("user", "secret").ask().is_kind("auth");
    call(&[&locked.address]).with("/auth", json!({"identitytoken": "secret"})).ask().is_kind("auth");
    assert_eq!(hub.server.lines().len(), before);
    for server in [&mirror, &empty, &locked] {
        assert_eq!(server.authorizations(), [""; 0]);
        assert!(server.requests().iter().all(|request| !format!("{request:?}").contains("secret")));
    }

    // Mirrors are only for the Hub.
    let before = mirror.lines().len();
    let other = Server::start(None, |request| registry(&simple(), request));
    let call = Call::sizes(&format!("{}/a:app", other.address));
    call.with("/info/RegistryConfig/Mirrors", mirrors(&[&mirror.address]))
        .ask()
        .has("asked", &format!("http://{}", other.address));
    assert_eq!(mirror.lines().len(), before);
}

#[test]
fn mirrors_of_every_kind() {
    let hub = Hub::start("hub-mirror-kinds");
    let call = |mirror: String| hub.ask(Call::sizes("a:app")).with("/info/RegistryConfig/Mirrors", json!([mirror]));
    let hub_is_asked = || !hub.server.lines().is_empty();

    // A mirror below a path, and one with its own CA.
    let authority = Authority::new();
    let mirror = Server::start(Some(authority.identity(&["127.0.0.1"]).server(None)), |r| registry(&simple(), r));
    let certs = format!("certs.d/{}/ca.crt", mirror.address);
    hub.scratch.write(&certs, &authority.pem);
    let url = format!("https://{}/cache/hub/", mirror.address);
    let with = call(url.clone()).verified().login("user", "secret").ask();
    assert_eq!(with.layers(), simple_layers());
    with.has("asked", url.trim_end_matches('/'));
    assert_eq!(mirror.lines(), ["GET /cache/hub/v2/library/a/manifests/app"]);
    assert_eq!(mirror.authorizations(), [""; 0]);
    assert!(!hub_is_asked());
    // The Hub has no directory in certs.d: one with its name is ignored.
    hub.scratch.write("certs.d/registry-1.docker.io/x.cert", "no certificate");
    std::fs::remove_file(hub.scratch.0.join(certs)).expect("it was there");
    call(url).verified().ask().has("asked", "https://registry-1.docker.io");

    // A mirror that does not answer uses up the time limit of the whole request.
    let silent = Server::listen("127.0.0.1:0", None, |_, _| {
        thread::sleep(std::time::Duration::from_secs(2));
        false
    });
    let before = hub.server.lines().len();
    call(format!("http://{}/", silent.address)).with("/limit_ms", json!(700)).ask().is_kind("limit");
    assert_eq!(hub.server.lines().len(), before);
    // After any other answer, and without an answer, the engine goes on to the Hub.
    for (status, headers) in [
        ("404 Not Found", &[][..]),
        ("401 Unauthorized", &[("www-authenticate", "Negotiate")][..]),
        ("403 Forbidden", &[]),
        ("429 Too Many Requests", &[]),
        ("500 Internal Server Error", &[]),
        ("200 OK", &[("docker-content-digest", "sha256:x")]),
        ("302 Found", &[("location", "http://127.0.0.1:1/")]),
        ("302 Found", &[("location", "gopher://127.0.0.1:1/")]),
    ] {
        let mirror = Server::start(None, move |_| answer(status, headers, "<html>"));
        call(format!("http://{}/", mirror.address)).ask().has("asked", "https://registry-1.docker.io");
        assert_eq!(mirror.lines().len(), 1, "{status}");
    }
    call("http://127.0.0.1:1/".to_owned()).ask().has("asked", "https://registry-1.docker.io");
}

#[test]
fn other_names_of_the_hub() {
    let hub = Hub::start("hub-names");
    let mirror = Server::start(None, |request| registry(&simple(), request));
    let call =
        |image: &str| hub.ask(Call::sizes(image)).with("/info/RegistryConfig/Mirrors", mirrors(&[&mirror.address]));
    for (count, image) in ["index.docker.io/a:app", "docker.io/a:app", "library/a:app", "a:app"].iter().enumerate() {
        assert_eq!(call(image).ask().layers(), simple_layers(), "{image}");
        assert_eq!(mirror.lines().len(), count + 1, "{image}");
    }
    assert!(mirror.lines().iter().all(|line| line == "GET /v2/library/a/manifests/app"));
    // With the name of its host in the reference it is an ordinary registry: no mirrors, but certs.d.
    let name = "registry-1.docker.io/library/a:app";
    assert_eq!(call(name).ask().layers(), simple_layers());
    assert_eq!((mirror.lines().len(), hub.server.lines().len()), (4, 3));
    hub.scratch.write("certs.d/registry-1.docker.io/x.cert", "no certificate");
    call(name).ask().is_kind("tls");
}

#[test]
fn a_mirrors_tokens_are_asked_for_without_a_name() {
    let mirror = Server::start(None, |request| {
        let host = request.header("host").unwrap_or_default();
        match (request.path.split('?').next(), request.header("authorization")) {
            (Some("/token"), None) => answer("200 OK", &[], r#"{"token":"anonymous"}"#),
            (_, Some("Bearer anonymous")) => registry(&simple(), request),
            _ => {
                let challenge = format!("Bearer realm=\"http://{host}/token\"");
                answer("401 Unauthorized", &[("www-authenticate", &challenge)], "")
            }
        }
    });
    let call = Call::sizes("a:app").with("/info/RegistryConfig/Mirrors", mirrors(&[&mirror.address]));
    for auth in [
        json!({"username": "user", "password": "secret"}),
        json!({"identitytoken": "secret"}),
        json!({"registrytoken": "secret"}),
    ] {
        let call = Call { body: call.body.clone(), command: "sizes", roots: None, user: None }.with("/auth", auth);
        assert_eq!(call.ask().layers(), simple_layers());
    }
    for request in mirror.requests() {
        assert!(!format!("{request:?}").contains("secret") && !request.path.contains("account"), "{request:?}");
    }
}
