//! One lock for each image, so that a second pull of the same image notices the first.
//!
//! The engine attaches the second pull to the transfer of the first; without a lock the log would contain everything
//! twice. The locks are in a directory that no other user can enter: whoever can open a file can lock it, and a
//! stranger's lock would keep the progress of a pull out of the log.
//!
//! **Invariant:** if a lock cannot be taken for another reason than being held, the pull goes on; and no lock counts
//! that another user could have taken.

use crate::os::{file, user};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The state of the lock.
pub(crate) enum Lock {
    /// This process has it as long as the file is open; or there is none to take.
    Ours(Option<File>),
    /// Another process is pulling the image; the text is `process 1234`.
    Held(String),
}

/// Takes the lock of `image`: root's locks are in `/run/alm/lock`, those of others in their own runtime directory.
pub(crate) fn take(image: &str) -> Lock {
    user::runtime_directory().map_or(Lock::Ours(None), |runtime| take_in(&runtime, image))
}

fn take_in(runtime: &Path, image: &str) -> Lock {
    let opened = directory(runtime).and_then(|directory| open(&directory, &file_name(image)));
    let Ok(mut file) = opened else { return Lock::Ours(None) };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // Only for the message of the second process, which names no process if this fails. It covers what an earlier
            // process wrote, because truncating is slow on a disk.
            let _ = file.write_all(format!("{:<19}\n", std::process::id()).as_bytes());
            Lock::Ours(Some(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&file).take(20).read_to_string(&mut text);
            let pid: Option<u32> = text.trim().parse().ok();
            Lock::Held(pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))
        }
        Err(_) => Lock::Ours(None),
    }
}

/// The directory of the locks in `runtime`; it is created if missing. A directory to which others have access is
/// refused and not repaired: its files may already be open in, and locked by, another user's process.
fn directory(runtime: &Path) -> io::Result<OwnedFd> {
    let shared = runtime.join("alm");
    let path = shared.join("lock");
    // The upper directory also contains the states of pulls, which all may read.
    for (directory, mode) in [(&shared, 0o755), (&path, 0o700)] {
        file::create_directory(directory, mode)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, &path, flags, Mode::empty())?;
    is_ours_alone(&opened)?;
    Ok(opened)
}

fn open(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    is_ours_alone(&file)?;
    Ok(file.into())
}

fn is_ours_alone(file: &OwnedFd) -> io::Result<()> {
    let stat = fstat(file)?;
    let is_closed = stat.st_mode.trailing_zeros() >= 6;
    if is_closed && stat.st_uid == rustix::process::geteuid().as_raw() {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// A file name in which people recognize the image, and which differs for every image.
fn file_name(image: &str) -> String {
    let readable: String =
        image.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).take(100).collect();
    // The same in all versions of this program, which otherwise would not see each other's locks.
    format!("{readable}-{:016x}", alm_state::fnv1a(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    /// A runtime directory of a test's own.
    struct Runtime(PathBuf);

    impl Runtime {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lock-test-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn take(&self, image: &str) -> Lock {
            take_in(&self.0, image)
        }
    }

    impl Drop for Runtime {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn the_second_learns_of_the_first() {
        let runtime = Runtime::new("second");
        let first = runtime.take("alpine:latest");
        assert!(matches!(&first, Lock::Ours(Some(_))));
        let pid = std::process::id();
        assert!(matches!(runtime.take("alpine:latest"), Lock::Held(who) if who == format!("process {pid}")));
        assert!(matches!(runtime.take("alpine:3"), Lock::Ours(Some(_))));
        drop(first);
        assert!(matches!(runtime.take("alpine:latest"), Lock::Ours(Some(_))));
        let mode = |path: &str| fs::metadata(runtime.0.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("alm"), mode("alm/lock")), (0o755, 0o700));
        assert_eq!(mode(&format!("alm/lock/{}", file_name("alpine:3"))), 0o600);
        assert!(matches!(take_in(Path::new("/nonexistent"), "alpine:latest"), Lock::Ours(None)));
    }

    #[test]
    fn what_others_could_have_locked_is_not_believed() {
        let runtime = Runtime::new("others");
        let path = runtime.0.join("alm/lock");
        let mut held = Vec::new();
        let mut check = |what: &str, image: &str| {
            let lock = runtime.take(image);
            assert!(matches!(lock, Lock::Ours(None)), "{what}");
            held.push(lock);
        };
        fs::create_dir(runtime.0.join("alm")).unwrap();
        fs::create_dir(&path).unwrap();
        for mode in [0o755, 0o777, 0o1777, 0o701] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            check("a directory that others may enter", "a");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "it is left as it is");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let elsewhere = runtime.0.join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        symlink(&elsewhere, path.join(file_name("link"))).unwrap();
        check("a link", "link");
        fs::write(path.join(file_name("open")), "").unwrap();
        fs::set_permissions(path.join(file_name("open")), Permissions::from_mode(0o644)).unwrap();
        check("a file that others may open", "open");
        fs::create_dir(path.join(file_name("directory"))).unwrap();
        check("a directory", "directory");
        fs::rename(&path, runtime.0.join("away")).unwrap();
        symlink(runtime.0.join("away"), &path).unwrap();
        check("a link to a directory", "a");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        check("a file", "a");
        if rustix::process::geteuid().is_root() {
            fs::remove_file(&path).unwrap();
            fs::rename(runtime.0.join("away"), &path).unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            check("the directory of another user", "a");
        }
        assert_eq!(fs::read(&elsewhere).unwrap(), b"");
    }

    #[test]
    fn names_differ_and_fit() {
        assert_ne!(file_name("a/b:c"), file_name("a_b:c"));
        assert!(file_name(&"a/".repeat(1000)).len() < 255);
        assert!(!file_name("h:1/../a").contains('/'));
    }
}
