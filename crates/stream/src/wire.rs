//! A line of the engine's JSON stream as it is written, before it is an [`Event`](super::event::Event).
//!
//! Separate from the events, because any JSON value can be in the place of a number or a text. Such a value must not make the
//! line unreadable, and must not be lost if it means something. A visitor and not `RawValue`, with which the values would be
//! scanned twice: one progress event then took 1.0 to 1.4 % more instructions (`tests/proofs/callgrind.sh`).
//!
//! **Invariant:** a value of an unexpected type does not make a line unreadable, except for the keys that a line needs.

use super::event::Numbers;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A line as the engine writes it. Other keys (`progress`, `aux`, …) are ignored.
#[derive(serde::Deserialize)]
pub(super) struct Wire<'a> {
    #[serde(borrow, default)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) message: Cow<'a, str>,
    #[serde(default, rename = "progressDetail")]
    pub(super) detail: Option<Detail>,
    #[serde(default, deserialize_with = "present")]
    pub(super) error: Option<Message>,
    #[serde(default, rename = "errorDetail", deserialize_with = "present")]
    pub(super) error_detail: Option<Message>,
}

#[derive(serde::Deserialize, Default)]
pub(super) struct Detail {
    #[serde(default)]
    current: Count,
    #[serde(default)]
    total: Count,
    #[serde(default)]
    units: Given,
    #[serde(default, rename = "hidecounts")]
    pub(super) hide_counts: bool,
}

impl Detail {
    pub(super) fn numbers(&self) -> Numbers {
        if self.units.0 {
            return Numbers::default();
        }
        let total = self.total.bytes().filter(|total| *total > 0);
        let current = match self.current {
            // Go leaves out a `current` of 0.
            Count::Missing if total.is_some() => Some(0),
            ref count => count.bytes(),
        };
        // Rotated, so that two equal values do not cancel each other out.
        let odd = self.current.odd() ^ self.total.odd().rotate_left(17);
        Numbers { current, total, odd }
    }
}

/// The message of an error, if it can be read. The presence of the key makes the line an error, whatever its value is.
pub(super) enum Message {
    Text(String),
    /// An empty string.
    Empty,
    Other,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Message>, D::Error> {
    deserializer.deserialize_any(Lenient).map(|value| match value {
        Value::Text(text) if text.is_empty() => Some(Message::Empty),
        Value::Text(text) | Value::Message(text) if !text.is_empty() => Some(Message::Text(text)),
        _ => Some(Message::Other),
    })
}

/// The value in the place of a number of bytes.
#[derive(Default)]
enum Count {
    #[default]
    Missing,
    Bytes(u64),
    /// The bits of a number that cannot be a number of bytes; never 0.
    Number(u64),
    Other,
}

impl Count {
    fn bytes(&self) -> Option<u64> {
        if let Self::Bytes(bytes) = self { Some(*bytes) } else { None }
    }

    fn odd(&self) -> u64 {
        if let Self::Number(bits) = self { *bits } else { 0 }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|value| match value {
            Value::Number(number) => Self::Bytes(number),
            Value::Negative(number) => Self::Number(number.cast_unsigned()),
            // In JSON 5, 5.0 and 5e0 are the same. Above this limit a float cannot express every whole number.
            #[expect(clippy::cast_sign_loss, reason = "looked at before")]
            Value::Float(number) if (0.0..=9e15).contains(&number) => Self::Bytes(number as u64),
            Value::Float(number) => Self::Number(number.to_bits()),
            _ => Self::Other,
        })
    }
}

/// Whether a key has a value.
#[derive(Default)]
struct Given(bool);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Any JSON value. Only numbers, texts and the text of the key `message` are kept.
enum Value {
    Number(u64),
    Negative(i64),
    Float(f64),
    Text(String),
    Message(String),
    Other,
}

struct Lenient;

impl<'de> Visitor<'de> for Lenient {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Negative(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut message = Value::Other;
        while let Some(key) = map.next_key::<String>()? {
            if key == "message" {
                message = map.next_value_seed(Shallow)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(message)
    }
}

/// A value in which `message` is not searched for, so that nested input cannot make this visitor recurse.
struct Shallow;

impl<'de> serde::de::DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Message(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
