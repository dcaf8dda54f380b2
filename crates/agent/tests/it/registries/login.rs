//! Which hosts get a password or a token: registries that require a login, token servers, and redirects between them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::certs_d;
use crate::agent::{Call, Scratch};
use crate::fake::{Request, Server, answer, registry, simple, simple_layers};
use crate::pki::{Authority, self_signed};

/// The Basic header of `user` with the password `secret`.
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
fn who_a_registry_redirects_to_gets_no_login() {
    let tokens = Server::start(None, |_| answer("200 OK", &[], r#"{"token":"good"}"#));
    let realm = format!("Bearer realm=\"http://{}/token\"", tokens.address);
    let target = Server::start(None, move |request| {
        let challenge = if request.path.contains("basic") { "Basic realm=\"r\"" } else { &realm };
        answer("401 Unauthorized", &[("www-authenticate", challenge)], "{}")
    });
    let address = target.address.clone();
    let server = Server::start(None, move |request| {
        answer("307 Temporary Redirect", &[("location", &format!("http://{address}{}", request.path))], "")
    });
    for name in ["basic", "bearer"] {
        Call::sizes(&format!("{}/{name}:app", server.address)).login("user", "secret").ask().is_kind("auth");
        Call::digest(&format!("{}/{name}:app", server.address)).login("user", "secret").ask().is_kind("auth");
    }
    assert_eq!(tokens.lines(), [""; 0]);
    for server in [&server, &target] {
        assert_eq!((server.lines().len(), server.authorizations()), (4, vec![]));
    }
}

#[test]
fn what_has_answered_by_https_is_not_asked_by_http() {
    let server = Server::start(Some(self_signed(&["127.0.0.1"], false).server(None)), |_| {
        answer("500 Internal Server Error", &[], "")
    });
    // It answers plain HTTP with status 400.
    let answer = Call::sizes(&format!("{}/a:app", server.address)).login("user", "secret").ask();
    assert!(answer.is_kind("network").line.contains("500"), "{answer:?}");
    assert_eq!(server.lines(), ["GET /v2/a/manifests/app"]);
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
    // A wrong password is sent only once.
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
    // As at Artifact Registry: the token server is the registry itself, below /v2/.
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
fn challenges_of_every_form() {
    // `HOST` in the challenge is replaced by the server's address; each line of the challenge is one header.
    let server = Server::start(None, |request| {
        let host = request.header("host").unwrap_or_default();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/token" {
            return answer(
                "200 OK",
                &[],
                r#"{"expires_in":60,"issued_at":"2026-01-01T00:00:00Z","access_token":"good"}"#,
            );
        }
        if matches!(request.header("authorization"), Some("Bearer good" | BASIC)) {
            return registry(&simple(), request);
        }
        assert_eq!(query, "");
        let forms: [&[&str]; 9] = [
            &["Basic realm=\"a, b\", Bearer realm=\"http://HOST/token\",service=\"s\""],
            &["Bearer realm=\"http://HOST/token\",service=\"s\", Basic realm=\"a \\\"b\\\"\""],
            &["Basic realm=\"r\"", "Bearer realm=\"http://HOST/token\", service=s"],
            &["Negotiate", "BEARER Realm = \"http://HOST/token\" , SERVICE = \"s\""],
            &["Bearer realm=\"http://HOST/token\",service=\"s\",scope=\"repository:x:pull repository:y:pull,push\""],
            &["Bearer realm=\"http://HOST/token\",service=\"s\",error=\"invalid_token\",error_description=\"a, b=c\""],
            &["Bearer realm=\"http://HOST/token?x=1\",service=\"s\""],
            &["Basic", "Digest realm=\"r\", nonce=\"n\", qop=\"auth,auth-int\""],
            &["Digest realm=\"r\", nonce=\"n\"", "", "basic realm=r"],
        ];
        let form = forms[path.split('/').nth(2).and_then(|name| name.parse::<usize>().ok()).unwrap_or_default()];
        let values: Vec<String> = form.iter().map(|value| value.replace("HOST", host)).collect();
        let headers: Vec<_> = values.iter().map(|value| ("www-authenticate", value.as_str())).collect();
        answer("401 Unauthorized", &headers, "{}")
    });
    for form in 0..9 {
        let before = server.lines().len();
        let call = || Call::sizes(&format!("{}/{form}:app", server.address));
        if form < 7 {
            // Bearer is preferred, and its scope is this one repository, whatever the challenge asks for.
            assert_eq!(call().ask().layers(), simple_layers(), "{form}");
            let more = if form == 6 { "x=1&" } else { "" };
            let token = format!("GET /token?{more}scope=repository%3A{form}%3Apull&service=s");
            assert_eq!(server.lines()[before + 1], token, "{form}");
        } else {
            call().ask().is_kind("auth");
        }
        assert_eq!(call().login("user", "secret").ask().layers(), simple_layers(), "{form}");
    }
}

#[test]
fn logins_of_artifact_registry() {
    let key = r#"{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nMII+/=\n-----END PRIVATE KEY-----\n","client_email":"a@b.test"}"#;
    for (user, password) in
        [("oauth2accesstoken", "ya29.c.b0AX-_x"), ("_json_key", key), ("_json_key_base64", "eyJ0eXBlIg==")]
    {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let expected = basic.clone();
        let server = Server::start(None, move |request| {
            let host = request.header("host").unwrap_or_default();
            match (request.path.split('?').next(), request.header("authorization")) {
                (Some("/v2/token"), Some(shown)) if shown == expected => answer(
                    "200 OK",
                    &[("content-type", "application/json; charset=utf-8")],
                    r#"{"token":"good.e30.x","expires_in":3599}"#,
                ),
                (_, Some("Bearer good.e30.x")) => registry(&simple(), request),
                _ => {
                    let challenge = format!(
                        "Bearer realm=\"http://{host}/v2/token\",service=\"{host}\",scope=\"repository:p/r/i:pull\""
                    );
                    answer("401 Unauthorized", &[("www-authenticate", &challenge)], "{}")
                }
            }
        });
        let call = Call::sizes(&format!("{}/p/r/i:app", server.address)).login(user, password);
        assert_eq!(call.ask().layers(), simple_layers(), "{user}");
        assert_eq!(server.authorizations(), [basic, "Bearer good.e30.x".to_owned()]);
        assert!(server.lines()[1].starts_with(&format!(
            "GET /v2/token?account={user}&scope=repository%3Ap%2Fr%2Fi%3Apull&service=127.0.0.1%3A"
        )));
    }
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
    // The password went to the token server, but not to the host that it redirects to.
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
