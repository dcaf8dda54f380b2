//! A registry's manifest: the result is that of a simple reader, or an error that repeats nothing of the input.

use crate::manifest::Manifest;
use serde::de::IgnoredAny;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let json: Option<Value> = serde_json::from_slice(data).ok();
    let manifest = match Manifest::parse(data) {
        Ok(manifest) => manifest,
        Err(failure) => {
            // At most a position in the input is named.
            let rest = failure.error.trim_end_matches(|c: char| c.is_ascii_digit() || "(), linecoumn".contains(c));
            assert!(failure.error.is_ascii() && failure.error.len() < 100 && !rest.is_empty(), "{}", failure.error);
            return;
        }
    };
    let Some(json) = json else {
        // Values that nobody uses need not be UTF-8, or numbers that fit.
        assert!(serde_json::from_slice::<IgnoredAny>(data).is_ok(), "what is read is JSON");
        return;
    };
    let (name, list) = match &manifest {
        Manifest::Index(list) => ("manifests", list),
        Manifest::Image(list) => ("layers", list),
    };
    // serde refuses a key that is there twice; null counts as missing.
    let listed = json[name].as_array().expect("a list");
    assert_eq!(list.len(), listed.len());
    assert!(list.len() <= 512);
    for (entry, listed) in list.iter().zip(listed) {
        // serde also accepts a list of values in place of an object.
        if !listed.is_object() {
            continue;
        }
        assert_eq!(Some(&*entry.digest), listed["digest"].as_str());
        assert_eq!(entry.size, listed["size"].as_u64());
        assert!(name == "manifests" || entry.size.is_some());
        let id = entry.id();
        assert!(id.len() == 12 && entry.digest.contains(id) && id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(entry.platform.is_some() || listed["platform"].is_null());
    }
}
