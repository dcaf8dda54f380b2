//! Registries that are spoken to by TLS: who signed their certificate, and which certificate they want of a client.

use std::fs;

use super::{certs_d, plain};
use crate::agent::{Call, Scratch};
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
