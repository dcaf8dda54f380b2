//! Parses a registry's answer about an image: an index of manifests, or a manifest with its layers.
//!
//! Separate from `registry`, which fetches it: this text comes from outside, and is parsed with strict limits.
//!
//! **Invariant:** at most `LIST_MAX` entries are kept in memory, and only valid digests.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::failure::{Failure, Kind, Result};
use crate::platform::Platform;

/// Docker allows 127 layers; an index has one or two entries for each platform.
const LIST_MAX: usize = 512;

/// Digits of a layer's digest that an engine shows.
const ID_LENGTH: usize = 12;

pub(crate) enum Manifest {
    /// The manifests of an index, one or more for each platform.
    Index(Vec<Descriptor>),
    Image(Vec<Descriptor>),
}

#[derive(Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    /// Every layer of an image has one.
    pub(crate) size: Option<u64>,
    pub(crate) platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default, deserialize_with = "list")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "list")]
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let wrong = |error: &str| Err(Failure::new(Kind::Format, error));
        // serde would accept an array as the values without their keys.
        if text.trim_ascii_start().starts_with(b"[") {
            return wrong("the registry's answer is no manifest (line 1, column 1)");
        }
        let manifest = match serde_json::from_slice(text) {
            Ok(Text { manifests: Some(list), layers: None }) => Self::Index(list),
            Ok(Text { manifests: None, layers: Some(list) }) if list.iter().all(|layer| layer.size.is_some()) => {
                Self::Image(list)
            }
            Ok(Text { manifests: None, layers: Some(_) }) => {
                return wrong("the registry's manifest has a layer without a size");
            }
            // A manifest of schema 1, which has no sizes, or one that is not of an image.
            Ok(Text { manifests: None, layers: None }) => {
                return wrong("the registry's manifest has no layers with sizes");
            }
            Ok(_) => return wrong("the registry's manifest has both manifests and layers"),
            Err(error) => {
                let at = format!("line {}, column {}", error.line(), error.column());
                return wrong(&format!("the registry's answer is no manifest ({at})"));
            }
        };
        let (Self::Index(list) | Self::Image(list)) = &manifest;
        if list.iter().all(|entry| is_digest(&entry.digest)) {
            return Ok(manifest);
        }
        wrong("the registry's manifest has an invalid digest")
    }
}

impl Descriptor {
    /// The layer's id as engines show it.
    pub(crate) fn id(&self) -> &str {
        let hex = self.digest.split_once(':').map_or("", |(_, hex)| hex);
        hex.get(..ID_LENGTH).unwrap_or(hex)
    }
}

/// Whether it is `sha256:` with 64 digits, or one of the other algorithms that engines accept.
pub(crate) fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Fails at the first entry above the limit, before more are in memory.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Vec<Descriptor>>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Option<Vec<Descriptor>>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "at most {LIST_MAX} descriptors")
        }

        fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> std::result::Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == LIST_MAX {
                    return Err(A::Error::invalid_length(LIST_MAX + 1, &self));
                }
                list.push(entry);
            }
            Ok(Some(list))
        }
    }

    deserializer.deserialize_any(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "9760a0f4d2c5e1b3a7968574635241302f1e0d0c0b0a09080706050403020100";

    /// `#` in the text stands for a digest.
    fn parse(text: &str) -> String {
        match Manifest::parse(text.replace('#', &format!("sha256:{HEX}")).as_bytes()) {
            Ok(Manifest::Index(list)) => {
                let names = list.iter().map(|entry| entry.platform.as_ref().map_or("?".to_owned(), Platform::name));
                format!("index {}", names.collect::<Vec<_>>().join(" "))
            }
            Ok(Manifest::Image(list)) => {
                let sizes = list.iter().map(|entry| format!("{} {}", entry.id(), entry.size.unwrap()));
                format!("image {}", sizes.collect::<Vec<_>>().join(" "))
            }
            Err(failure) => failure.error,
        }
    }

    #[test]
    fn both_kinds_of_both_families() {
        for (manifest, index) in [
            (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.distribution.manifest.list.v2+json",
            ),
            ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"),
        ] {
            let text = format!(
                r##"{{"schemaVersion":2,"mediaType":"{manifest}","config":{{"size":7,"digest":"#"}},"layers":[{{"size":5001727,"digest":"#"}},{{"size":0,"digest":"#"}}]}}"##
            );
            assert_eq!(parse(&text), "image 9760a0f4d2c5 5001727 9760a0f4d2c5 0");
            let text = format!(
                r##"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{{"digest":"#","size":1,"platform":{{"architecture":"arm","os":"linux","variant":"v7","os.features":["x"]}}}},{{"digest":"#"}}]}}"##
            );
            assert_eq!(parse(&text), "index linux/arm/v7 ?");
        }
        assert_eq!(parse(r#"{"layers":[],"manifests":null}"#), "image ");
        assert_eq!(
            parse(r##"{"layers":[{"digest":"#","size":18446744073709551615}]}"##),
            "image 9760a0f4d2c5 18446744073709551615"
        );
    }

    #[test]
    fn what_is_no_manifest() {
        let none = "the registry's manifest has no layers with sizes";
        assert_eq!(parse(r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:aa"}]}"#), none);
        assert_eq!(parse("{}"), none);
        assert_eq!(parse(r#"{"layers":[],"manifests":[]}"#), "the registry's manifest has both manifests and layers");
        for layer in [r##"{"digest":"#"}"##, r##"{"digest":"#","size":null}"##] {
            assert_eq!(
                parse(&format!(r##"{{"layers":[{{"digest":"#","size":1}},{layer}]}}"##)),
                "the registry's manifest has a layer without a size"
            );
        }
        let unread = "the registry's answer is no manifest (line 1, column";
        let at = |place: &str| format!("the registry's answer is no manifest ({place})");
        assert_eq!(parse("<html>login</html>"), at("line 1, column 1"));
        assert_eq!(parse(""), at("line 1, column 0"));
        assert_eq!(parse(" [[]]"), at("line 1, column 1"));
        assert!(parse(r##"{"layers":[{"digest":"#","size":-5}]}"##).starts_with(unread));
        assert!(parse(r##"{"layers":[{"digest":"#","size":1e3}]}"##).starts_with(unread));
        assert!(parse(r##"{"layers":[{"digest":"#","size":18446744073709551616}]}"##).starts_with(unread));
        for digest in ["", "sha256:", "sha256:9760", "md5:9760a0f4d2c5e1b3a796857463524130", "9760a0f4d2c5"] {
            let text = format!(r#"{{"layers":[{{"digest":"{digest}","size":1}}]}}"#);
            assert_eq!(parse(&text), "the registry's manifest has an invalid digest", "{digest}");
        }
    }

    #[test]
    fn too_many_layers() {
        let many =
            |count: usize| format!(r#"{{"layers":[{}]}}"#, vec![r##"{"digest":"#","size":0}"##; count].join(","));
        assert!(parse(&many(LIST_MAX)).starts_with("image 9760a0f4d2c5 0 "));
        assert!(parse(&many(LIST_MAX + 1)).starts_with("the registry's answer is no manifest"));
    }
}
