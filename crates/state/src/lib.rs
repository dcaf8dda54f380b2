//! The states of a device's images: one JSON file for each image, written by the program that pulls it and read by all that
//! show it.
//!
//! A package of its own, because two executables share it and neither may depend on the other: `docker-pull-with-progress`
//! writes the files; `alm status`, the monitor and `alm-agent` read them. A writer must hold the image's lock. It starts with
//! [`Image::begin`] and uses the methods of [`Image`] from then on, so that values which outlive a run (`failing_since`,
//! `failures`, …) are kept in one place; it writes with [`Store::write`] and [`Store::keep`]. A reader may call
//! [`Store::read`] at any time.
//!
//! | module | holds |
//! |---|---|
//! | `image`, `container` | the content of the files |
//! | `fields` | reads the fields of a file and checks their types |
//! | `history` | how a run changes the previous state |
//! | `store` | the two directories: states of this boot, and states that survive a restart |
//! | `directory` | one directory: reads and replaces whole files |
//! | `sweep` | chooses the files to remove |
//! | `name` | the name of an image's file |
//! | `alive` | whether the writer of a state is still alive |
//! | `clock` | times as they are written |
//!
//! **Invariant:** a reader gets a whole state whose text is safe to show, or none; readers and writers never wait for each other.

mod alive;
mod clock;
mod container;
mod directory;
mod fields;
mod history;
mod image;
mod name;
mod store;
mod sweep;

pub use alive::{boottime, born};
pub use clock::{Time, parse_rfc3339};
pub use container::{Container, Standing};
pub use history::{Checked, Failure, Pulled};
pub use image::{Image, Layer, Status, is_hostile};
pub use name::{file_name, fnv1a};
pub use store::{Found, Memory, Stamp, States, Store};
pub use sweep::BUILT;

/// The version of the format: a reader ignores files of later versions.
pub const VERSION: u32 = 1;

/// The maximum of images: a reader reads no more, and a writer removes those that are too many.
pub const MAX_IMAGES: usize = 64;

/// The maximum of layers that a state lists.
pub const MAX_LAYERS: usize = 256;

/// The longest text in a state, in characters.
pub const MAX_TEXT: usize = 1_000;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
