//! The engine's answer to any request except a pull.
//!
//! **Invariant:** any received body is an answer; one that is not JSON is read as null.

use crate::docker::value;
use crate::pull::failure::Failure;
use serde_json::Value;

/// An answer that was received completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        value::parse(&self.body).unwrap_or_default()
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
