//! Pulls from a real engine and real registries.
//!
//! Few tests with many steps, because each test starts an engine and registries of its own. They need root, and the programs
//! that `tests/run.sh` installs; without these they fail.

mod credentials;
mod faults;
mod hub;
mod lab;
mod podman;
mod pulls;
mod sizes;
mod state;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const MB: u64 = 1_000_000;

fn write_private(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}
