//! Docker's config.json, read once for all of its users: credentials, current context, headers.
//!
//! As lenient as docker: names in any case, what follows the first value is ignored, an empty file is an empty object.
//!
//! **Invariant:** at most [`MAX`] bytes of a regular file are read. It can contain secrets: it is not `Debug`, and no
//! error or warning repeats a value.

use crate::docker::environment::Environment;
use crate::docker::value::{as_object, field, parse_lenient};
use crate::os::file;
use serde_json::Value;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes; far more than any real config.json has.
pub(crate) const MAX: usize = 1 << 20;

/// Bytes of all headers together: far more than real ones have, and they fit the socket's buffer, so that one write
/// sends a request.
const MAX_HEADERS: usize = 32 << 10;

/// Headers that this program or HTTP itself sets; they are never taken from the file.
const RESERVED: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "x-registry-auth",
    // Like `connection`: about the connection, not the request.
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    // Would make the engine wait for a body, or send `100 Continue`.
    "expect",
    // docker's CLI replaces this one.
    "user-agent",
];

/// Names and values of headers that are sent with every request to the engine.
pub(crate) type Headers = Vec<(String, String)>;

/// The configuration, or why there is none.
#[derive(Default)]
pub(crate) struct Config {
    /// Its directory, whether it exists or not.
    pub(crate) directory: Option<PathBuf>,
    /// Its path, for messages.
    pub(crate) place: String,
    /// Its object; null if there is none, or it cannot be read.
    pub(crate) root: Value,
    /// Why it cannot be read.
    pub(crate) error: Option<String>,
}

impl Config {
    pub(crate) fn read(environment: &Environment) -> Self {
        let Some(directory) = environment.config_directory() else {
            return Self { place: "config.json (no home directory)".to_owned(), ..Self::default() };
        };
        let path = directory.join("config.json");
        let mut config = Self { place: path.display().to_string(), directory: Some(directory), ..Self::default() };
        let root = read(&path, MAX).and_then(|file| {
            let root = file.map(|file| parse_lenient(&file.bytes)).transpose()?;
            as_object(root.as_ref().unwrap_or(&Value::Null), "the whole").map(drop)?;
            Ok(root)
        });
        match root {
            Ok(Some(root)) => config.root = root,
            Ok(None) => config.place.push_str(" (no such file)"),
            Err(error) => config.error = Some(format!("{}: {error}", config.place)),
        }
        config
    }

    /// The context that docker uses if nothing else names one.
    pub(crate) fn context(&self) -> Option<&str> {
        field(&self.root, "currentContext").as_str().filter(|name| !name.is_empty())
    }

    /// `HttpHeaders`, which docker's CLI sends with every request, and warnings about those that are left out.
    pub(crate) fn headers(&self) -> (Headers, Vec<String>) {
        let (mut headers, mut warnings) = (Headers::new(), Vec::new());
        let mut refuse = |what: &str, why: &str| warnings.push(format!("{}: {what} {why}", self.place));
        let all = match as_object(field(&self.root, "HttpHeaders"), "\"HttpHeaders\"") {
            Ok(all) => all,
            Err(error) => {
                refuse("", &error);
                None
            }
        };
        let mut room = MAX_HEADERS;
        for (name, value) in all.into_iter().flatten() {
            let what = format!("header {name:?} is not sent:");
            let size = name.len() + value.as_str().map_or(0, str::len);
            match value.as_str() {
                _ if !is_token(name) => refuse(&what, "no header has such a name"),
                _ if RESERVED.contains(&name.to_ascii_lowercase().as_str()) => {
                    refuse(&what, "it is not for a configuration to set");
                }
                None => refuse(&what, "its value is not text"),
                // The tab is the only control character that a value may contain.
                Some(value) if value.contains(|c: char| c != '\t' && c.is_ascii_control()) => {
                    refuse(&what, "its value has a control character in it");
                }
                Some(_) if size > room => refuse(&what, "there are too many, or it is too long"),
                Some(value) => {
                    room -= size;
                    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                    headers.push((name.clone(), value.trim().to_owned()));
                }
            }
        }
        (headers, warnings)
    }
}

/// Whether RFC 9110 allows it as the name of a header.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
}

/// Reads a regular file of at most `max` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, max: usize) -> Result<Option<File>, String> {
    match file::read(path, max) {
        Ok((bytes, metadata)) => Ok(Some(File { bytes, mode: metadata.mode() })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(value: &Value) -> (Headers, Vec<String>) {
        Config { root: json!({ "HttpHeaders": value }), place: "c".into(), ..Config::default() }.headers()
    }

    #[test]
    fn headers_are_those_of_the_file() {
        let (sent, warnings) = headers(&json!({"X-Meta-Site": "berlin", "A": " b\tc\u{e9} ", "Empty": ""}));
        let expected = [("A", "b\tc\u{e9}"), ("Empty", ""), ("X-Meta-Site", "berlin")];
        assert_eq!(sent, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(warnings.is_empty(), "{warnings:?}");
        // Names in two cases are one header.
        assert_eq!(headers(&json!({"x-a": "1", "X-A": "2"})).0.len(), 1);
        let none = Config::default().headers();
        assert!(none.0.is_empty() && none.1.is_empty());
        let lower = Config { root: json!({"httpheaders": {"A": "b"}}), ..Config::default() };
        assert_eq!(lower.headers().0.len(), 1);
    }

    #[test]
    fn no_header_can_change_what_a_request_is() {
        let reserved = [
            "Host",
            "HOST",
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "x-registry-AUTH",
            "X-Registry-Auth",
            "Upgrade",
            "TE",
            "Expect",
            "User-Agent",
        ];
        for name in reserved {
            let (sent, warnings) = headers(&json!({ name: "s3cret" }));
            assert!(sent.is_empty() && warnings.len() == 1 && !warnings[0].contains("s3cret"), "{name}: {warnings:?}");
            assert!(warnings[0].starts_with("c: header "), "{warnings:?}");
        }
        for name in ["", " ", "A B", "A:", "Host ", " Host", "A\r\nHost", "A\n", "é", "A\0", "(a)"] {
            let (sent, warnings) = headers(&json!({ name: "v" }));
            assert!(sent.is_empty() && warnings.len() == 1, "{name:?}: {warnings:?}");
        }
        for value in ["a\r\nHost: b", "a\n", "\ra", "a\0", "\u{7f}", "\u{b}"] {
            let (sent, warnings) = headers(&json!({ "A": value }));
            assert!(sent.is_empty() && warnings.len() == 1, "{value:?}: {warnings:?}");
        }
        for value in [json!(1), json!(null), json!(["a"]), json!({})] {
            assert!(headers(&json!({ "A": value })).0.is_empty());
        }
        for all in [json!([]), json!("A: b"), json!(7)] {
            let (sent, warnings) = headers(&all);
            assert!(sent.is_empty() && warnings.len() == 1, "{warnings:?}");
        }
        let (sent, warnings) = headers(&json!({"A": "x".repeat(MAX_HEADERS), "B": "y"}));
        assert!(sent.len() == 1 && sent[0].0 == "B" && warnings.len() == 1, "{warnings:?}");
    }
}
