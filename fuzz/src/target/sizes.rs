//! What the agent answers: read as a naive reader reads it, or not at all.

use crate::docker::{agent, sizes};
use serde::de::IgnoredAny;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let is_json = serde_json::from_slice::<IgnoredAny>(data).is_ok();
    // Values that nobody asks for are not looked into: they may be no UTF-8, or nothing that a `Value` holds.
    let json: Option<Value> = serde_json::from_str(&String::from_utf8_lossy(data)).ok();
    if let Some(digest) = agent::parse(data) {
        assert_eq!(digest.len(), 71);
        assert!(is_json, "what is read is JSON");
        // serde takes a list of values for an object.
        let object = json.as_ref().filter(|json| json.is_object());
        assert!(object.is_none_or(|json| json["digest"] == digest.as_str()));
    }
    let Some(layers) = sizes::parse(data) else { return };
    assert!(is_json, "what is read is JSON");
    assert!(layers.len() <= 512);
    assert!(layers.iter().map(|(_, size)| u128::from(*size)).sum::<u128>() <= 1 << 40);
    if let Some(listed) = json.as_ref().and_then(|json| json["layers"].as_array()) {
        assert_eq!(layers.len(), listed.len());
        for ((id, size), listed) in layers.iter().zip(listed) {
            assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
            assert_eq!((Some(id.as_str()), Some(*size)), (listed[0].as_str(), listed[1].as_u64()));
        }
    }
}
