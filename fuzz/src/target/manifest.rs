//! What a registry sends as a manifest: read as a naive reader reads it, or refused in words that repeat nothing of it.

use crate::manifest::Manifest;
use serde::de::IgnoredAny;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let json: Option<Value> = serde_json::from_slice(data).ok();
    let manifest = match Manifest::parse(data) {
        Ok(manifest) => manifest,
        Err(failure) => {
            // Of what was sent at most a place is named.
            let rest = failure.error.trim_end_matches(|c: char| c.is_ascii_digit() || "(), linecoumn".contains(c));
            assert!(failure.error.is_ascii() && failure.error.len() < 100 && !rest.is_empty(), "{}", failure.error);
            return;
        }
    };
    let Some(json) = json else {
        // What nobody asks for need not be UTF-8, or a number that fits.
        assert!(serde_json::from_slice::<IgnoredAny>(data).is_ok(), "what is read is JSON");
        return;
    };
    let (name, list) = match &manifest {
        Manifest::Index(list) => ("manifests", list),
        Manifest::Image(list) => ("layers", list),
    };
    // serde refuses a name that is there twice; null is as good as none.
    let listed = json[name].as_array().expect("a list");
    assert_eq!(list.len(), listed.len());
    assert!(list.len() <= 512);
    for (entry, listed) in list.iter().zip(listed) {
        // A list of values is as good as names to serde.
        if !listed.is_object() {
            continue;
        }
        assert_eq!(Some(&*entry.digest), listed["digest"].as_str());
        assert_eq!(entry.size, listed["size"].as_u64().unwrap_or_default());
        let id = entry.id();
        assert!(id.len() == 12 && entry.digest.contains(id) && id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(entry.platform.is_some() || listed["platform"].is_null());
    }
}
