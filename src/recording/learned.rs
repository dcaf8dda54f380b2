//! What was learned beside the engine's stream, as the data of `s`: how large the layers are, or what room there is for them.
//!
//! Apart from the rows, for it is a form of its own.
//!
//! **Invariant:** what was written is read back as the same; of what is neither nothing is made.

use super::{Entry, Recorder};
use crate::pull::room::Room;
use crate::pull::sizes::Sizes;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};

#[derive(Debug)]
pub(crate) enum Learned {
    Sizes(Sizes),
    Room(Room),
}

#[derive(Serialize, Deserialize, Default)]
struct Data {
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

impl Recorder {
    /// Writes what the registry has said of the layers' sizes.
    pub(crate) fn sizes(&mut self, at: u64, sizes: &Sizes) -> io::Result<()> {
        self.learned(at, &self::sizes(sizes))
    }

    /// Writes what room there is where the engine keeps its images.
    pub(crate) fn room(&mut self, at: u64, room: &Room) -> io::Result<()> {
        self.learned(at, &self::room(room))
    }

    fn learned(&mut self, at: u64, data: &str) -> io::Result<()> {
        self.entry(at, "s");
        write!(self.line, "{data}]")?;
        self.flush()
    }
}

fn sizes(sizes: &Sizes) -> String {
    let total = sizes.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    to_json(&Data { layers: Some(sizes.clone()), total: Some(total), room: None })
}

fn room(room: &Room) -> String {
    let Room { is_containerd, is_twice, free, available } = *room;
    let room = RoomData { containerd: is_containerd, twice: is_twice, bfree: free, bavail: available };
    to_json(&Data { room: Some(room), ..Data::default() })
}

fn to_json(data: &Data) -> String {
    // Plain values cannot fail to become JSON.
    serde_json::to_string(data).unwrap_or_default()
}

pub(super) fn entry(data: &str) -> serde_json::Result<Entry<'static>> {
    let data: Data = serde_json::from_str(data)?;
    Ok(match (data.layers, data.room) {
        (Some(layers), _) => Entry::Learned(Learned::Sizes(layers)),
        (None, Some(RoomData { containerd, twice, bfree, bavail })) => {
            let room = Room { is_containerd: containerd, is_twice: twice, free: bfree, available: bavail };
            Entry::Learned(Learned::Room(room))
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
        assert!(matches!(entry(&text), Ok(Entry::Learned(Learned::Sizes(read))) if read == layers));
        let here = Room { is_containerd: false, is_twice: true, free: 12_000_000_000, available: 11_000_000_000 };
        let text = room(&here);
        assert_eq!(text, r#"{"room":{"containerd":false,"twice":true,"bfree":12000000000,"bavail":11000000000}}"#);
        assert!(matches!(entry(&text), Ok(Entry::Learned(Learned::Room(read))) if read == here));
    }

    #[test]
    fn the_format_can_grow() {
        for other in ["{}", r#"{"something":[1]}"#, r#"{"layers":null}"#] {
            assert!(matches!(entry(other), Ok(Entry::Other)), "{other}");
        }
        assert!(matches!(entry(r#"{"layers":[["a",1]],"more":1}"#), Ok(Entry::Learned(Learned::Sizes(_)))));
        assert!(entry(r#"{"layers":[["a",-1]]}"#).is_err());
    }
}
