//! The data of a row `s`: facts that do not come from the engine's stream, namely the sizes of the layers and the free space.
//!
//! Separate from the rows, because this data has its own format.
//!
//! **Invariant:** what was written is read back unchanged; data with unknown keys is ignored.

use super::Entry;
use crate::pull::disk::DiskSpace;
use crate::pull::sizes::{self, Sizes};
use serde_json::Value;

pub(super) fn sizes(sizes: &Sizes) -> String {
    let total = sizes.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    // Text and numbers cannot fail to become JSON. The keys are written here, because serde_json would sort them.
    let layers = serde_json::to_string(sizes).unwrap_or_default();
    format!(r#"{{"layers":{layers},"total":{total}}}"#)
}

pub(super) fn space(space: &DiskSpace) -> String {
    let DiskSpace { is_containerd, is_uncompressed, free, available } = *space;
    format!(
        r#"{{"room":{{"containerd":{is_containerd},"twice":{is_uncompressed},"bfree":{free},"bavail":{available}}}}}"#
    )
}

/// Reads `data`. The error names the part that is wrong.
pub(super) fn entry(data: &str) -> Result<Entry<'static>, String> {
    let data: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
    let (layers, space) = (&data["layers"], &data["room"]);
    if !layers.is_null() {
        return sizes::from_json(layers).map(Entry::Sizes).ok_or_else(|| "layers: not [[id, bytes], …]".into());
    }
    if space.is_null() {
        return Ok(Entry::Other);
    }
    let parse = || {
        Some(Entry::DiskSpace(DiskSpace {
            is_containerd: space["containerd"].as_bool()?,
            is_uncompressed: space["twice"].as_bool()?,
            free: space["bfree"].as_u64()?,
            available: space["bavail"].as_u64()?,
        }))
    };
    parse().ok_or_else(|| "room: not {containerd, twice, bfree, bavail}".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read_back() {
        let layers: Sizes = vec![("b9bf3f3b8299".into(), 5_001_727), ("3e130bd35226".into(), u64::MAX)];
        let text = sizes(&layers);
        assert_eq!(
            text,
            r#"{"layers":[["b9bf3f3b8299",5001727],["3e130bd35226",18446744073709551615]],"total":18446744073709551615}"#
        );
        assert!(matches!(entry(&text), Ok(Entry::Sizes(read)) if read == layers));
        let here =
            DiskSpace { is_containerd: false, is_uncompressed: true, free: 12_000_000_000, available: 11_000_000_000 };
        let text = space(&here);
        assert_eq!(text, r#"{"room":{"containerd":false,"twice":true,"bfree":12000000000,"bavail":11000000000}}"#);
        assert!(matches!(entry(&text), Ok(Entry::DiskSpace(read)) if read == here));
    }

    #[test]
    fn the_format_can_grow() {
        for other in ["{}", r#"{"something":[1]}"#, r#"{"layers":null}"#] {
            assert!(matches!(entry(other), Ok(Entry::Other)), "{other}");
        }
        assert!(matches!(entry(r#"{"layers":[["a",1]],"more":1}"#), Ok(Entry::Sizes(_))));
        assert!(entry(r#"{"layers":[["a",-1]]}"#).is_err());
    }
}
