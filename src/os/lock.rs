//! One lock per image, so that a second pull of the same image knows of the first.
//!
//! The engine lets the second attach to the transfer of the first; only the log would be told everything twice.
//!
//! **Invariant:** a lock that cannot be had for whatever other reason never stops a pull.

use crate::os::file::{self, Links};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The state of the lock.
pub(crate) enum Lock {
    /// Ours as long as the file is open, or none to be had.
    Ours(#[cfg_attr(not(test), expect(dead_code, reason = "it is there to be held open"))] Option<File>),
    /// Another process is pulling the image: `process 1234`.
    Held(String),
}

/// Takes the lock of `image` in `/run/lock`, or failing that in `$XDG_RUNTIME_DIR`.
pub(crate) fn take(image: &str) -> Lock {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    take_in([Some(PathBuf::from("/run/lock")), runtime].into_iter().flatten(), image)
}

fn take_in(directories: impl Iterator<Item = PathBuf>, image: &str) -> Lock {
    let name = file_name(image);
    for directory in directories {
        let Some(mut file) = open(&directory.join(&name)) else { continue };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Told to whoever comes second; if it cannot be written he learns a little less.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                return Lock::Ours(Some(file));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&file).take(20).read_to_string(&mut text);
                let pid: Option<u32> = text.trim().parse().ok();
                return Lock::Held(pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")));
            }
            Err(_) => {}
        }
    }
    Lock::Ours(None)
}

/// Opens a lock file; one that belongs to another user can be locked all the same, but not written.
fn open(path: &Path) -> Option<File> {
    let mut written = OpenOptions::new();
    written.read(true).write(true).create(true).truncate(false).mode(0o644);
    let opened = file::open(path, &mut written, Links::Refuse);
    let opened = opened.or_else(|_| file::open(path, OpenOptions::new().read(true), Links::Refuse));
    opened.ok().map(|(file, _)| file)
}

/// A name that tells the image to a reader and differs for every image.
fn file_name(image: &str) -> String {
    let readable: String =
        image.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).take(100).collect();
    // FNV-1a: must stay the same from one version of this program to the next.
    let hash = image
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("docker-pull-{readable}-{hash:016x}.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_of_the_first() {
        let directory = std::env::temp_dir().join(format!("lock-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let take = |image| take_in([PathBuf::from("/nonexistent"), directory.clone()].into_iter(), image);
        let first = take("alpine:latest");
        assert!(matches!(&first, Lock::Ours(Some(_))));
        assert!(matches!(take("alpine:latest"), Lock::Held(who) if who == format!("process {}", std::process::id())));
        assert!(matches!(take("alpine:3"), Lock::Ours(Some(_))));
        drop(first);
        assert!(matches!(take("alpine:latest"), Lock::Ours(Some(_))));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(take("alpine:latest"), Lock::Ours(None)));
    }

    #[test]
    fn names_differ_and_fit() {
        assert_ne!(file_name("a/b:c"), file_name("a_b:c"));
        assert!(file_name(&"a/".repeat(1000)).len() < 255);
        assert!(!file_name("h:1/../a").contains('/'));
    }
}
