//! What was learned beside the engine's stream, as the data of `s`: how large the layers are, or what room there is for them.
//!
//! Apart from the rows, for it is a form of its own.
//!
//! **Invariant:** what was written is read back as the same; of what is neither nothing is made.

use super::Entry;
use crate::pull::room::Room;
use crate::pull::sizes::Sizes;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Default)]
struct Learned {
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Sizes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<RoomData>,
}

#[derive(Serialize, Deserialize)]
struct RoomData {
    containerd: bool,
    twice: bool,
    bfree: u64,
    bavail: u64,
}

pub(super) fn sizes(sizes: &Sizes) -> String {
    let total = sizes.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    to_json(&Learned { layers: Some(sizes.clone()), total: Some(total), room: None })
}

pub(super) fn room(room: &Room) -> String {
    let Room { is_containerd, is_twice, free, available } = *room;
    let room = RoomData { containerd: is_containerd, twice: is_twice, bfree: free, bavail: available };
    to_json(&Learned { room: Some(room), ..Learned::default() })
}

fn to_json(learned: &Learned) -> String {
    // Plain values cannot fail to become JSON.
    serde_json::to_string(learned).unwrap_or_default()
}

pub(super) fn entry(data: &str) -> serde_json::Result<Entry<'static>> {
    let learned: Learned = serde_json::from_str(data)?;
    Ok(match (learned.layers, learned.room) {
        (Some(layers), _) => Entry::Sizes(layers),
        (None, Some(RoomData { containerd, twice, bfree, bavail })) => {
            Entry::Room(Room { is_containerd: containerd, is_twice: twice, free: bfree, available: bavail })
        }
        (None, None) => Entry::Other,
    })
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
        let here = Room { is_containerd: false, is_twice: true, free: 12_000_000_000, available: 11_000_000_000 };
        let text = room(&here);
        assert_eq!(text, r#"{"room":{"containerd":false,"twice":true,"bfree":12000000000,"bavail":11000000000}}"#);
        assert!(matches!(entry(&text), Ok(Entry::Room(read)) if read == here));
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
