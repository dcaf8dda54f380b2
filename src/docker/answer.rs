//! The engine's answer to any request except a pull.
//!
//! **Invariant:** any received body is an answer; one that is not JSON is read as null.

use crate::pull::failure::Failure;
use serde_json::{Map, Value};

/// An answer that was received completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The JSON value that `bytes` are. As text throughout the program: serde's reader for bytes is code of its own.
pub(crate) fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

/// The JSON object with these fields. For a few fields; `json!` and `FromIterator` bring code for everything else.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        parse(&self.body).unwrap_or_default()
    }

    /// The failure that an unsuccessful answer to `call` reports: `{"message": …}` in `json`, else the text of the
    /// body.
    pub(crate) fn failure(&self, json: &Value, call: &str) -> Failure {
        match json["message"].as_str() {
            Some(message) => Failure::answered(self.status, message, true, call),
            None => Failure::answered(self.status, String::from_utf8_lossy(&self.body).trim(), false, call),
        }
    }
}
