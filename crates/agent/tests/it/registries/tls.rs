//! Registries with TLS: which CAs are trusted, and which client certificate is sent.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{certs_d, plain};
use crate::agent::{Call, Scratch, another_user};
use crate::fake::{Server, answer, registry, simple, simple_layers};
use crate::pki::{Authority, self_signed};

fn tls_registry(authority: &Authority, clients: Option<&Authority>) -> Server {
    let identity = authority.identity(&["127.0.0.1", "localhost"]);
    Server::start(Some(identity.server(clients)), |request| registry(&simple(), request))
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

    // The system's root certificates are trusted, too.
    let empty = Scratch::new("private-empty");
    let mut call = call(&empty);
    call.roots = Some(empty.write("roots.pem", &authority.pem));
    assert_eq!(call.ask().layers(), simple_layers());
    call.roots = Some(empty.0.join("missing.pem"));
    call.ask().is_kind("tls");
    // The certificate of an insecure registry is not verified.
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
    // A self-signed certificate as docker's manual creates it, and one that declares that it is not a CA.
    for (name, is_authority) in [("self-ca", true), ("self", false)] {
        let identity = self_signed(&["127.0.0.1"], is_authority);
        let server = Server::start(Some(identity.server(None)), |request| registry(&simple(), request));
        let certs = Scratch::new(name);
        let call = || Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);
        call().ask().is_kind("tls");
        certs_d(&certs, &server, &[("ca.crt", &identity.pem)]);
        assert_eq!(call().ask().layers(), simple_layers(), "{name}");

        // It is trusted neither for another name, nor in place of another certificate.
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

    // A key of another certificate, one that cannot be read, one that is missing.
    for key in [stranger.key.serialize_pem(), "-----BEGIN".to_owned()] {
        certs_d(&certs, &server, &[("client.key", &key)]);
        call().ask().is_kind("tls");
    }
    fs::remove_file(certs.0.join(&server.address).join("client.key")).expect("it was there");
    let answer = call().ask();
    assert!(answer.is_kind("tls").line.contains("client.key cannot be read as a key"), "{answer:?}");
    assert_eq!(server.lines().len(), 1);
}

/// The same key in another format, converted by `openssl`.
fn converted(scratch: &Scratch, key: &str, words: &[&str]) -> String {
    let file = scratch.write("key", key);
    let output = Command::new("openssl").args(words).arg("-in").arg(file).output().expect("openssl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("PEM")
}

#[test]
fn files_of_certs_d_in_every_state() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = tls_registry(&authority, Some(&clients));
    let (client, scratch) = (clients.identity(&["pi"]), Scratch::new("states"));
    let key = client.key.serialize_pem();
    let certs = Scratch::new("states-certs");
    let call = || Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);
    let write = |files: &[(&str, &str)]| certs_d(&certs, &server, files);
    write(&[("ca.crt", &authority.pem), ("client.cert", &client.pem), ("client.key", &key)]);
    assert_eq!(call().ask().layers(), simple_layers());

    // A key as older tools write it, with openssl's text before it; and one with a password.
    let old = converted(&scratch, &key, &["ec"]);
    assert!(old.contains("BEGIN EC PRIVATE KEY"), "{old}");
    write(&[(
        "client.key",
        &format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{old}"),
    )]);
    assert_eq!(call().ask().layers(), simple_layers());
    let locked = converted(&scratch, &key, &["pkcs8", "-topk8", "-passout", "pass:x"]);
    assert!(locked.contains("ENCRYPTED"), "{locked}");
    write(&[("client.key", &locked)]);
    assert!(call().ask().is_kind("tls").line.contains("client.key cannot be read as a key"));
    write(&[("client.key", &key)]);

    // Invalid CAs beside a valid one; unrelated files; a chain after the client's certificate.
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let text = format!("a comment\r\n{}{}", client.pem, clients.pem);
    write(&[("a.crt", broken), ("b.crt", ""), ("c.crt", "no PEM"), ("README", "x"), ("client.cert", &text)]);
    assert_eq!(call().ask().layers(), simple_layers());
    fs::create_dir(certs.0.join(&server.address).join("z.crt")).expect("a directory");
    call().ask().is_kind("tls");
    fs::remove_dir(certs.0.join(&server.address).join("z.crt")).expect("it was there");

    // Files that are not certificates.
    for text in [broken, "", "no PEM"] {
        write(&[("client.cert", text)]);
        call().ask().is_kind("tls");
    }
    write(&[("client.cert", &client.pem), ("ca.crt", broken)]);
    call().ask().is_kind("tls");
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn files_of_certs_d_that_another_user_may_not_read() {
    let authority = Authority::new();
    let server = tls_registry(&authority, None);
    let certs = Scratch::new("closed");
    certs_d(&certs, &server, &[("ca.crt", &authority.pem)]);
    let directory = certs.0.join(&server.address);
    let another = another_user(&certs);
    let call = |version: &str| {
        let mut call = Call::sizes(&format!("{}/a:app", server.address)).verified().certs(&certs.0);
        call.user.clone_from(&another);
        call.with("/version", json!(version))
    };
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    assert_eq!(call("28.5.2").ask().layers(), simple_layers());
    set(&directory.join("ca.crt"), 0o000);
    let answer = call("28.5.2").ask();
    assert!(answer.is_kind("tls").line.contains("ca.crt cannot be read as certificates"), "{answer:?}");
    // It cannot be known which files are there, or whether a hosts.toml names other hosts.
    set(&directory, 0o000);
    let answer = call("28.5.2").ask();
    assert!(answer.is_kind("unsupported").line.contains("hosts.toml cannot be seen"), "{answer:?}");
    call("20.10.24").ask().is_kind("tls");
    set(&directory, 0o755);
    assert_eq!(server.lines().len(), 1);
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
