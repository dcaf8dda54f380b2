//! Requests to one registry about one repository: manifests, and authentication.
//!
//! Separate from `sizes`, which decides which registries are asked and what the answers mean.
//!
//! **Invariant:** a mirror gets no credentials; nor does a token server over http, unless the registry itself is
//! reached over http.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, SHA384, SHA512};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{Method, Response};

use crate::challenge::{self, Challenge};
use crate::endpoint::Endpoint;
use crate::failure::{Failure, Kind, Result};
use crate::manifest::{Manifest, is_digest};
use crate::request::Auth;
use crate::web::{self, RequestHeaders, Web};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Bytes. Registries accept manifests up to 4 MiB; that of an image with as many layers as docker allows has 20 KB.
const MANIFEST_MAX: u64 = 1 << 20;
/// Bytes. Tokens have some kilobytes.
const TOKEN_MAX: u64 = 64 << 10;

pub(crate) struct Registry<'a> {
    pub(crate) web: Web<'a>,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) repository: &'a str,
    pub(crate) auth: &'a Auth,
    /// The value of `Authorization` that the registry accepted.
    pub(crate) authorization: Option<String>,
}

impl Registry<'_> {
    /// A manifest by its tag or digest, and its digest. Like the engine, it accepts no other bytes than those that the
    /// digest names.
    pub(crate) fn manifest(&mut self, version: &str) -> Result<(String, Manifest)> {
        let mut answer = self.ask(&Method::GET, version)?;
        let text = web::body(&mut answer, MANIFEST_MAX)?;
        let named = if version.contains(':') { Some(version.to_owned()) } else { digest_of(&answer) };
        let digest = digest_like(named.as_deref(), &text);
        if named.is_some_and(|named| named != digest) {
            return Err(Failure::new(Kind::Format, "the registry's manifest is not the one that its digest names"));
        }
        Ok((digest, Manifest::parse(&text)?))
    }

    /// The digest only, by a request that registries do not count as a pull.
    pub(crate) fn digest(&mut self, version: &str) -> Result<String> {
        let answer = self.ask(&Method::HEAD, version)?;
        digest_of(&answer).ok_or_else(|| Failure::new(Kind::Format, "the registry does not report the image's digest"))
    }

    fn ask(&mut self, method: &Method, version: &str) -> Result<Response<Body>> {
        let url = format!("{}/v2/{}/manifests/{version}", self.endpoint.base, self.repository);
        let mut answer = self.get(method, &url)?;
        if answer.status() == 401 && self.authorization.is_none() {
            let challenges: Vec<Challenge> = answer
                .headers()
                .get_all("www-authenticate")
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(challenge::parse)
                .collect();
            drop(answer);
            self.authorization = Some(self.authorize(&challenges)?);
            answer = self.get(method, &url)?;
        }
        match answer.status().as_u16() {
            200 => Ok(answer),
            401 | 403 => Err(Failure::new(Kind::Auth, "the registry denies access")),
            404 => Err(Failure::new(Kind::NotFound, "the registry does not have the image")),
            429 => Err(Failure::new(Kind::Limit, "the registry's rate limit is reached")),
            code => Err(Failure::new(Kind::Network, format!("the registry answers with status {code}"))),
        }
    }

    fn get(&self, method: &Method, url: &str) -> Result<Response<Body>> {
        self.web.get(method, url, RequestHeaders { accept: ACCEPT, authorization: self.authorization.as_deref() })
    }

    /// The value of `Authorization` that the registry asks for.
    fn authorize(&self, challenges: &[Challenge]) -> Result<String> {
        let nobody = Auth::default();
        let auth = if self.endpoint.mirror { &nobody } else { self.auth };
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            if !auth.registrytoken.is_empty() {
                return Ok(format!("Bearer {}", auth.registrytoken));
            }
            return Ok(format!("Bearer {}", self.token(bearer, auth)?));
        }
        if find("basic").is_some() && !auth.username.is_empty() {
            return Ok(basic(auth));
        }
        Err(Failure::new(Kind::Auth, "the registry wants credentials"))
    }

    /// Requests a token from the server that the registry names.
    fn token(&self, bearer: &Challenge, auth: &Auth) -> Result<String> {
        let wrong = |error: &str| Failure::new(Kind::Auth, error);
        let realm = bearer.get("realm").ok_or_else(|| wrong("the registry names no token server"))?;
        let realm = web::with_lowercase_scheme(realm);
        let may_be_http = realm.starts_with("http://") && self.endpoint.base.starts_with("http://");
        if !may_be_http && !realm.starts_with("https://") {
            return Err(wrong("the registry's token server is not reached by https"));
        }
        let scope = format!("repository:{}:pull", self.repository);
        let service = bearer.get("service").unwrap_or_default();
        let mut answer = if auth.identitytoken.is_empty() {
            let account = Some(auth.username.as_str()).filter(|name| !name.is_empty());
            let query =
                [("account", account), ("scope", Some(&scope)), ("service", Some(service).filter(|s| !s.is_empty()))];
            let authorization = account.map(|_| basic(auth));
            let headers = RequestHeaders { accept: "application/json", authorization: authorization.as_deref() };
            self.web.get(&Method::GET, &with_query(&realm, &query), headers)?
        } else {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", &auth.identitytoken),
                ("client_id", "docker"),
                ("scope", &scope),
                ("service", service),
            ];
            self.web.post(&realm, &form)?
        };
        match answer.status().as_u16() {
            200 => {}
            429 => return Err(Failure::new(Kind::Limit, "the token server's rate limit is reached")),
            code => return Err(wrong(&format!("the token server answers with status {code}"))),
        }
        let answer: Token = serde_json::from_slice(&web::body(&mut answer, TOKEN_MAX)?)
            .map_err(|_| wrong("the token server's answer is no token"))?;
        let token = answer.access_token.filter(|token| !token.is_empty()).or(answer.token).unwrap_or_default();
        // Only characters that the value of a header can contain.
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("the token server's answer is no token"));
        }
        Ok(token)
    }
}

/// Docker Hub sends both, other registries one of them.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic(auth: &Auth) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.username, auth.password)))
}

fn digest_of(answer: &Response<Body>) -> Option<String> {
    let value = answer.headers().get("docker-content-digest")?.to_str().ok()?;
    is_digest(value).then(|| value.to_owned())
}

/// The digest of these bytes, by the algorithm of `named`.
fn digest_like(named: Option<&str>, bytes: &[u8]) -> String {
    let name = named.and_then(|named| named.split_once(':')).map_or("sha256", |(name, _)| name);
    let algorithm = match name {
        "sha384" => &SHA384,
        "sha512" => &SHA512,
        _ => &SHA256,
    };
    let mut text = format!("{name}:");
    for byte in ring::digest::digest(algorithm, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn with_query(url: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut url = url.split('#').next().unwrap_or_default().to_owned();
    for (name, value) in parameters.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(name);
        url.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for named in [None, Some(empty), Some("sha256:0")] {
            assert_eq!(digest_like(named, b""), empty);
        }
        assert!(digest_like(Some("sha384:0"), b"").starts_with("sha384:38b060a751ac96384cd9327eb1b1e36a"));
        assert!(digest_like(Some("sha512:0"), b"").starts_with("sha512:cf83e1357eefb8bdf1542850d66d8007"));
        // Never equal to what it is to be compared with.
        assert_ne!(
            digest_like(Some("md5:d41d8cd98f00b204e9800998ecf8427e"), b""),
            "md5:d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn queries() {
        let query = [("account", None), ("scope", Some("repository:a/b:pull")), ("service", Some("\u{e9} &="))];
        assert_eq!(
            with_query("https://t.test/t", &query),
            "https://t.test/t?scope=repository%3Aa%2Fb%3Apull&service=%C3%A9%20%26%3D"
        );
        assert_eq!(
            with_query("https://t.test/t?x=1#y", &query[..2]),
            "https://t.test/t?x=1&scope=repository%3Aa%2Fb%3Apull"
        );
    }
}
