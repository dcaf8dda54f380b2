//! How the images of a device stand: one JSON file an image, between the program that pulls and all that show it.
//!
//! Apart, because two executables share it and neither may know the other: `docker-pull-with-progress` writes the files,
//! `alm status`, the monitor and `alm-agent` read them. A writer holds the image's lock and goes through [`Image::begin`]
//! and what follows it, so that what outlives a run (`failing_since`, `failures`, …) is carried over in one place; it
//! writes with [`Store::write`] and [`Store::keep`]. A reader calls [`Store::read`] as often as it likes.
//!
//! | module | holds |
//! |---|---|
//! | `image`, `container` | what the files say |
//! | `fields` | what the values in a file have to be |
//! | `history` | what a run makes of the state before it |
//! | `store` | where the files are: those of this boot, and those that outlive it |
//! | `directory` | one directory: whole files in, whole files out |
//! | `sweep` | which files are removed |
//! | `name` | the name of an image's file |
//! | `alive` | whether the writer of a state still lives |
//! | `clock` | times as they are written |
//!
//! **Invariant:** a reader gets whole states whose text is fit to show, or none; neither waits for the other.

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
pub use clock::Time;
pub use container::{Container, Standing};
pub use history::{Checked, Failure, Pulled};
pub use image::{Image, Layer, Status, is_hostile};
pub use name::file_name;
pub use store::{Found, Stamp, States, Store};
pub use sweep::BUILT;

/// The version of the format: a reader passes over what is newer.
pub const VERSION: u32 = 1;

/// A reader takes this many images, and a writer leaves no more.
pub const MAX_IMAGES: usize = 64;

/// The maximum of layers that a state lists.
pub const MAX_LAYERS: usize = 256;

/// The longest text in a state, in characters.
pub const MAX_TEXT: usize = 1_000;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
