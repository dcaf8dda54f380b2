//! An answer of the engine to anything but a pull.
//!
//! **Invariant:** whatever was received is an answer: what is no JSON is null.

use crate::pull::failure::Failure;
use serde_json::Value;

/// An answer that was received whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The JSON value that `bytes` are. As text throughout the program: serde's reader for bytes is code of its own.
pub(crate) fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        parse(&self.body).unwrap_or_default()
    }

    /// What an answer that is no success says to `call`: `{"message": …}` in `json`, or what stands there instead.
    pub(crate) fn failure(&self, json: &Value, call: &str) -> Failure {
        match json["message"].as_str() {
            Some(message) => Failure::answered(self.status, message, true, call),
            None => Failure::answered(self.status, String::from_utf8_lossy(&self.body).trim(), false, call),
        }
    }
}
