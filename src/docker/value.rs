//! JSON values: how those from an engine, a helper or the agent are parsed, and how objects for them are built.
//!
//! Separate from `answer`, because requests and credentials need it as much as answers do.
//!
//! **Invariant:** it knows no key; what the values mean is known by those that use them.

use serde_json::{Map, Value};

/// The JSON value in `bytes`; `None` if they are not JSON. It is parsed as text, as everywhere in the program: serde's
/// reader for bytes would be additional code.
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
