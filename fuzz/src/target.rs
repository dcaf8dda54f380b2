//! The harnesses. Each accepts any bytes, and panics if the program behaves wrongly.

pub(crate) mod challenge;
pub(crate) mod config;
pub(crate) mod event;
pub(crate) mod http;
pub(crate) mod manifest;
pub(crate) mod pipeline;
pub(crate) mod platform;
pub(crate) mod recording;
pub(crate) mod reference;
pub(crate) mod sizes;

use std::path::PathBuf;
use std::sync::OnceLock;

/// How a stream is delivered, from the first bytes of the input: a byte of flags, whose low bits are the number of
/// piece sizes that follow. The sizes are used in turn, again and again; without sizes the stream comes in one piece.
pub(crate) struct Delivery<'a> {
    pub(crate) flags: u8,
    sizes: &'a [u8],
    stream: &'a [u8],
}

impl<'a> Delivery<'a> {
    const SIZES: u8 = 0x07;

    pub(crate) fn of(data: &'a [u8]) -> Self {
        let (&flags, rest) = data.split_first().unwrap_or((&0, &[]));
        let (sizes, stream) = rest.split_at(rest.len().min(usize::from(flags & Self::SIZES)));
        Self { flags, sizes, stream }
    }

    /// The pieces, each with the byte that determined its size; `size` converts a byte to a size.
    pub(crate) fn pieces(&self, size: impl Fn(u8) -> usize) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.stream;
        let mut sizes = self.sizes.iter().copied().cycle();
        std::iter::from_fn(move || {
            let byte = sizes.next().unwrap_or(u8::MAX);
            let max = if self.sizes.is_empty() { rest.len() } else { size(byte) };
            let (piece, left) = rest.split_at(rest.len().min(max.max(1)));
            rest = left;
            (!piece.is_empty()).then_some((byte, piece))
        })
    }
}

/// A directory of this process for the program's files. Whoever starts the process sets TMPDIR and removes it.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        path
    })
}
