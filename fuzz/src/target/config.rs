//! docker's config.json (and a token file, and an address): the result is that of a simple reader, and no message
//! contains a secret.
//!
//! The input: a registry, a line end, and config.json; or the text of `DOCKER_AUTH_CONFIG`, a NUL, and config.json.

use super::directory;
use crate::docker::environment::Environment;
use crate::docker::{Config, Endpoint, Found, Search, find_endpoint};
use ::base64::Engine as _;
use ::base64::alphabet;
use ::base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

/// A secret. The name of a helper is not secret, and cannot contain `~`.
const SECRET: &str = "s3cr3t~";

/// The name under which docker keeps the credentials of Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

/// What an entry of `auths` may hold.
const FIELDS: [&str; 5] = ["username", "password", "identitytoken", "registrytoken", "auth"];

/// As Go decodes it: unused bits at the end do not matter.
const STANDARD: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(registry) = std::str::from_utf8(&data[..end]) else { return };
    let rest = &data[end + 1..];
    let (variable, file) = match rest.iter().position(|&byte| byte == 0) {
        Some(at) => (Some(String::from_utf8_lossy(&rest[..at]).into_owned()), &rest[at + 1..]),
        None => (None, rest),
    };
    let path = directory().join("config.json");
    fs::write(&path, file).expect("a file");

    let has_variable = variable.is_some();
    let environment = Environment {
        docker_config: Some(directory().clone()),
        docker_auth_config: variable,
        home: None,
        path: "/nowhere".into(),
        helper_limit: Duration::ZERO,
        terminal: false,
        docker_host: None,
        docker_context: None,
        content_trust: false,
    };
    let config = Config::read(&environment);
    let search =
        |token_file| Search { registry, token_file, token_user: None, environment: &environment, config: &config };
    let server = if matches!(registry, "docker.io" | "index.docker.io") { HUB } else { registry };
    let found =
        search(None).run(&mut || ControlFlow::Continue(())).expect("without a token file there is always an answer");
    let sent = sent(&found, server);
    if !has_variable && let Some(expected) = naive(file, server) {
        match expected {
            Ok(expected) => assert_eq!((sent, found.warnings.len()), (expected, 0)),
            Err(()) => assert!(sent.is_empty() && found.warnings.len() == 1, "{sent:?}, {:?}", found.warnings),
        }
    }

    if let Ok(found) = search(Some(path.as_path())).run(&mut || ControlFlow::Continue(())) {
        let token = String::from_utf8(file.to_vec()).expect("a token is text");
        assert_eq!(self::sent(&found, server)["password"], token.trim_end_matches(['\r', '\n', ' ', '\t']));
    }
    address(registry, &environment, &config);
    current_context(file, &environment, &config);
}

/// What is sent to the engine: an object of strings, or empty; and the secret is nowhere else.
fn sent(found: &Found, server: &str) -> Map<String, Value> {
    for message in found.warnings.iter().chain([&found.origin]) {
        assert!(!message.contains(SECRET), "a secret: {message}");
    }
    let header = URL_SAFE.decode(&found.header).expect("base64 with its padding");
    let mut sent: Map<String, Value> = serde_json::from_slice(&header).expect("an object");
    assert!(sent.values().all(|value| value.as_str().is_some_and(|text| !text.is_empty() || server.is_empty())));
    assert_eq!(sent.is_empty(), found.user.is_none());
    if !sent.is_empty() {
        assert_eq!(sent.remove("serveraddress"), Some(server.into()));
    }
    sent
}

/// The entry of config.json for a registry, or that it is wrong; `None` if helpers or unusual spellings are involved.
fn naive(file: &[u8], server: &str) -> Option<Result<Map<String, Value>, ()>> {
    if file.trim_ascii().is_empty() {
        return Some(Ok(Map::new()));
    }
    let Ok(root) = Value::deserialize(&mut serde_json::Deserializer::from_slice(file)) else { return Some(Err(())) };
    if root.is_null() {
        return Some(Ok(Map::new()));
    }
    let Value::Object(root) = root else { return Some(Err(())) };
    if root.keys().any(|key| key != "auths" && ["auths", "credhelpers", "credsstore"].contains(&&*key.to_lowercase())) {
        return None;
    }
    let auths = match root.get("auths") {
        None | Some(Value::Null) => return Some(Ok(Map::new())),
        Some(Value::Object(auths)) => auths,
        Some(_) => return Some(Err(())),
    };
    let bare = |key: &str| {
        let rest = key.find("://").map_or(key, |at| &key[at + 3..]);
        rest.find('/').map_or(rest, |at| &rest[..at]).to_owned()
    };
    let entry = auths.get(server).or_else(|| auths.iter().find(|(key, _)| bare(key) == server).map(|(_, entry)| entry));
    let entry = match entry {
        None | Some(Value::Null) => return Some(Ok(Map::new())),
        Some(Value::Object(entry)) => entry,
        Some(_) => return Some(Err(())),
    };
    if entry.keys().any(|key| FIELDS.iter().any(|field| key != field && key.eq_ignore_ascii_case(field))) {
        return None;
    }
    let mut credentials = Map::new();
    for field in FIELDS {
        match entry.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value @ Value::String(_)) => drop(credentials.insert(field.to_owned(), value.clone())),
            Some(_) => return Some(Err(())),
        }
    }
    if let Some(Value::String(auth)) = credentials.remove("auth") {
        let Ok(bytes) = STANDARD.decode(auth.replace(['\r', '\n'], "")) else { return Some(Err(())) };
        let pair = String::from_utf8_lossy(&bytes);
        let Some((user, password)) = pair.split_once(':').filter(|(user, _)| !user.is_empty()) else {
            return Some(Err(()));
        };
        credentials.insert("username".to_owned(), user.into());
        credentials.insert("password".to_owned(), password.trim_matches('\0').into());
        credentials.retain(|_, value| value != "");
    }
    Some(Ok(credentials))
}

/// Checks which engine the file names.
fn current_context(file: &[u8], environment: &Environment, config: &Config) {
    let host = find_endpoint(None, environment, config);
    let root = serde_json::Deserializer::from_slice(file).into_iter::<Value>().next();
    let Some(Ok(Value::Object(root))) = root else {
        return assert_eq!(host, Endpoint::Unix("/var/run/docker.sock".into()));
    };
    // Like Go, in any case of letters. If several keys differ only in case, only docker knows which one it uses.
    let spellings: Vec<_> = root.iter().filter(|(key, _)| key.eq_ignore_ascii_case("currentContext")).collect();
    let named = match spellings[..] {
        [] => None,
        [(_, name)] => name.as_str().map(str::to_owned),
        _ => return,
    };
    match named.as_deref() {
        None | Some("" | "default") => assert_eq!(host, Endpoint::Unix("/var/run/docker.sock".into())),
        Some(name) => {
            assert!(matches!(&host, Endpoint::Other { address, .. } if address == name), "{name:?}: {host:?}");
        }
    }
}

/// Checks that a password in an address is not shown.
fn address(rest: &str, environment: &Environment, config: &Config) {
    let address = format!("ssh://me:{SECRET}@{rest}");
    match find_endpoint(Some(&address), environment, config) {
        Endpoint::Other { reason, .. } => assert!(rest.contains(SECRET) || !reason.contains(SECRET), "{reason}"),
        Endpoint::Unix(path) => panic!("{address} became {}", path.display()),
    }
    let _ = find_endpoint(Some(rest), environment, config);
}
