//! JSON values of docker's files, an engine, a helper, the agent or a recording: how they are parsed and read, and how
//! objects for them are built.
//!
//! Separate from `answer` and `config`, because requests, credentials and image metadata need it as much as they do.
//!
//! **Invariant:** it knows no key; what the values mean is known by those that use them. No error repeats a value.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// The JSON value in `bytes`; `None` if they are not JSON. It is parsed as text, as everywhere in the program: serde's
/// reader for bytes would be additional code.
pub(crate) fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

/// The fields of a JSON object, with their values not yet parsed. One type for the answers of engines and for recordings, because
/// code that serde derives for each object would be a tenth of the executable.
pub(crate) struct RawFields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> RawFields<'a> {
    /// The fields of the object in `bytes`; `None` if that is no JSON object.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// The JSON of a field.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    /// An object of the fields with these names alone. What an engine says of an image or of itself is long, and a pull needs
    /// little of it.
    pub(super) fn only(&self, names: &[&str]) -> Value {
        let mut object = Map::new();
        for (name, value) in &self.0 {
            if names.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
                object.insert(name.clone(), parse(value.get().as_bytes()).unwrap_or_default());
            }
        }
        Value::Object(object)
    }

    /// A string, a number or `true`, as text; anything else as an empty text. Values are only shown, so they are not
    /// validated.
    pub(crate) fn text(&self, name: &str) -> String {
        let raw = self.raw(name).unwrap_or_default();
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).unwrap_or_default(),
            Some(b'0'..=b'9' | b't') => raw.to_owned(),
            _ => String::new(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawFields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Parses JSON as docker parses its own files: what follows the first value is ignored, and an empty text is null. The
/// error contains only the position: `serde_json`'s own message can quote the text, which may be a secret.
pub(super) fn parse_lenient(bytes: &[u8]) -> Result<Value, String> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    // Bytes after the first value need not be UTF-8, so only the valid beginning is parsed.
    let text = std::str::from_utf8(bytes)
        .unwrap_or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default());
    Value::deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(|error| format!("not valid JSON (line {}, column {})", error.line(), error.column()))
}

/// The object in `value`; `None` if it is null. The error begins with `what`, the name of the value.
pub(super) fn as_object<'a>(value: &'a Value, what: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Object(object) => Ok(Some(object)),
        _ => Err(format!("{what} is not an object")),
    }
}

/// A field of an object; null if it is missing. The case of its name is ignored, as Go does it.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    let mut fields = object.as_object().into_iter().flatten();
    let folded = || Some(fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1);
    object.get(name).or_else(folded).unwrap_or(&Value::Null)
}

/// A field that must be a string; empty if it is missing.
pub(super) fn text(object: &Value, name: &str) -> Result<String, String> {
    match field(object, name) {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(format!("{name:?} is not text")),
    }
}

/// The JSON object with these fields. For a few fields; `json!` and `FromIterator` bring code for everything else.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_an_object_only_the_named_fields_are_kept() {
        let bytes = br#"{"Id":"sha256:1","RootFS":{"Layers":["a",{"Id":"b"}]},"os":null,"Config":[1.5e3,"\u00fc"]} "#;
        let only = |bytes| RawFields::parse(bytes).map(|fields| fields.only(&["Id", "Os", "Variant"]));
        assert_eq!(only(bytes), Some(json!({"Id": "sha256:1", "os": null})));
        assert_eq!(only(b"{}"), Some(json!({})));
        for bad in [
            &b""[..],
            b"null",
            b"[]",
            b"\"Id\"",
            b"{\"Id\":1",
            b"{\"Id\":1}}",
            b"{\"Other\":tru}",
            b"{\"Id\":\"\xff\"}",
        ] {
            assert_eq!(only(bad), None, "{}", bad.escape_ascii());
        }
    }
}
