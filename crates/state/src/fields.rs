//! Reads the fields of a JSON object from an untrusted file.
//!
//! One reader for the states of images and of containers, because code that serde derives for each of their fields would be a
//! fiftieth of the executable.
//!
//! **Invariant:** an absent field and `null` both mean unknown; a single value of a wrong type makes the whole object invalid.

use crate::Time;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The maximum of fields in an object: more than any version of a state will have.
const MAX_FIELDS: usize = 256;

/// The fields of an object that have not been taken yet, and whether the values taken so far had the right types.
pub(crate) struct Fields {
    fields: Vec<(String, Value)>,
    is_sound: bool,
}

impl Fields {
    /// Reads the object in `bytes`. `None` if they are not an object, or if it has a field twice or more than 256 fields.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// Whether every field taken so far had the right type.
    pub(crate) fn are_sound(&self) -> bool {
        self.is_sound
    }

    fn take(&mut self, name: &str) -> Value {
        let at = self.fields.iter().position(|(field, _)| field == name);
        at.map_or(Value::Null, |at| self.fields.swap_remove(at).1)
    }

    /// Notes that a value has a wrong type.
    fn unsound<T>(&mut self) -> Option<T> {
        self.is_sound = false;
        None
    }

    /// Takes a text. An empty text counts as absent: Puppet's script writes `"details":""` for a container that runs.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Null => None,
            _ => self.unsound(),
        }
    }

    pub(crate) fn needed_text(&mut self, name: &str) -> String {
        self.text(name).or_else(|| self.unsound()).unwrap_or_default()
    }

    /// Takes a text that must be present and that `read` must accept.
    pub(crate) fn needed<T: Default>(&mut self, name: &str, read: fn(&str) -> Option<T>) -> T {
        let text = self.needed_text(name);
        read(&text).or_else(|| self.unsound()).unwrap_or_default()
    }

    pub(crate) fn time(&mut self, name: &str) -> Option<Time> {
        let text = self.text(name)?;
        Time::parse(&text).or_else(|| self.unsound())
    }

    /// Takes a whole number that fits into `T`.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let number = self.whole(name)?;
        T::try_from(number).ok().or_else(|| self.unsound())
    }

    fn whole(&mut self, name: &str) -> Option<u64> {
        match self.take(name) {
            Value::Null => None,
            value => value.as_u64().or_else(|| self.unsound()),
        }
    }

    pub(crate) fn seconds(&mut self, name: &str) -> Option<f64> {
        match self.take(name) {
            Value::Null => None,
            value => value.as_f64().or_else(|| self.unsound()),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.take(name) {
            Value::Null => false,
            value => value.as_bool().or_else(|| self.unsound()).unwrap_or_default(),
        }
    }

    /// Takes a list of objects, each of which is read by `read`.
    pub(crate) fn objects<T>(&mut self, name: &str, read: fn(&mut Self) -> T) -> Vec<T> {
        let list = match self.take(name) {
            Value::Null => Vec::new(),
            Value::Array(list) => list,
            _ => self.unsound().unwrap_or_default(),
        };
        let mut objects = Vec::with_capacity(list.len());
        for object in list {
            let Value::Object(fields) = object else {
                self.is_sound = false;
                break;
            };
            let mut fields = Self { fields: fields.into_iter().collect(), is_sound: true };
            objects.push(read(&mut fields));
            self.is_sound &= fields.is_sound;
        }
        objects
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    if fields.len() == MAX_FIELDS || fields.iter().any(|(other, _)| *other == name) {
                        return Err(serde::de::Error::custom("too many fields, or one twice"));
                    }
                    fields.push((name, value));
                }
                Ok(Fields { fields, is_sound: true })
            }
        }
        deserializer.deserialize_map(Object)
    }
}
