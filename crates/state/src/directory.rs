//! One directory of states: whole files in, whole files out.
//!
//! Everything is done within the directory once it is open, so that no name leads elsewhere. What else lies there (links,
//! pipes, files of others, ten thousand of them) is passed over.
//!
//! **Invariant:** nothing here waits, and a file is never seen in half: it is written beside its name and renamed.

use crate::{MAX_BYTES, name};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How many entries are read, and how many names of states are kept of them: the first ones.
const MAX_ENTRIES: usize = 100_000;
const MAX_NAMES: usize = 1_024;

/// A directory that is open.
pub(crate) struct Directory {
    fd: OwnedFd,
}

/// Whose a directory may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It was named by the user.
    Anyone,
    /// It is read without the user naming it, so it has to be root's or our own.
    Trusted,
}

impl Directory {
    pub(crate) fn open(path: &Path, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let user = rustix::fs::fstat(&fd)?.st_uid;
        if owner == Owner::Trusted && user != 0 && user != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the directory belongs to another user"));
        }
        Ok(Self { fd })
    }

    /// What changes with each file that is put here, renamed or removed.
    pub(crate) fn stamp(&self) -> Option<(u64, i64, u64)> {
        let stat = rustix::fs::fstat(&self.fd).ok()?;
        #[allow(clippy::useless_conversion, reason = "nanoseconds are shorter on 32-bit ARM")]
        Some((stat.st_ino, stat.st_mtime, u64::from(stat.st_mtime_nsec)))
    }

    /// Opens it, and makes it first where it is missing: for all to read, whatever the umask.
    pub(crate) fn create(path: &Path, owner: Owner) -> io::Result<Self> {
        match Self::open(path, owner) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let missing: Vec<&Path> =
            path.ancestors().take_while(|path| !path.exists() && !path.as_os_str().is_empty()).collect();
        for directory in missing.into_iter().rev() {
            let mode = Mode::from_raw_mode(0o755);
            match rustix::fs::mkdir(directory, mode) {
                Ok(()) => rustix::fs::chmod(directory, mode)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::open(path, owner)
    }

    /// The names in it that `ours` knows, with its part of them, in order.
    pub(crate) fn names(&self, ours: fn(&str) -> Option<&str>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        self.each(&mut |file| {
            if let Some(name) = ours(file)
                && let Err(at) = names.binary_search_by(|other| other.as_str().cmp(name))
            {
                names.insert(at, name.to_owned());
                names.truncate(MAX_NAMES);
            }
        });
        names
    }

    /// Hands out the names of its files.
    pub(crate) fn each(&self, found: &mut dyn FnMut(&str)) {
        let Ok(entries) = Dir::read_from(&self.fd) else { return };
        for entry in entries.take(MAX_ENTRIES).flatten() {
            if let Ok(name) = entry.file_name().to_str() {
                found(name);
            }
        }
    }

    /// What is in a file, where that is a regular one of a fitting size, and when it was written.
    pub(crate) fn read(&self, file: &str) -> Option<(Vec<u8>, i64)> {
        // A pipe would block without NONBLOCK, before it is known to be one.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, file, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        let size = usize::try_from(stat.st_size).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > MAX_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(size + 1);
        File::from(fd).take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= MAX_BYTES).then_some((bytes, stat.st_mtime))
    }

    /// When a file was written, where it is a regular one.
    pub(crate) fn written(&self, file: &str) -> Option<i64> {
        let stat = rustix::fs::statat(&self.fd, file, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat.st_mtime)
    }

    /// Puts `bytes` in the place of `NAME.json`; with `sync` they outlive a power cut from then on.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let temporary = format!(".{name}.{}.tmp", std::process::id());
        let written = self.write_new(&temporary, bytes, sync).and_then(|()| {
            rustix::fs::renameat(&self.fd, &temporary, &self.fd, format!("{name}.json"))?;
            if sync {
                rustix::fs::fsync(&self.fd)?;
            }
            Ok(())
        });
        if written.is_err() {
            let _ = self.remove(&temporary);
        }
        written
    }

    fn write_new(&self, file: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        // One that is there was left by a process that had our number.
        let _ = self.remove(file);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let fd = rustix::fs::openat(&self.fd, file, flags, mode)?;
        // Whatever the umask.
        rustix::fs::fchmod(&fd, mode)?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        if sync { file.sync_all() } else { Ok(()) }
    }

    pub(crate) fn remove(&self, file: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, file, AtFlags::empty())?)
    }

    /// Removes temporary files whose writers are gone: a power cut leaves them.
    pub(crate) fn remove_temporary(&self) {
        let mut left = Vec::new();
        self.each(&mut |file| {
            let is_left = name::of_temporary(file).is_some_and(|pid| crate::born(pid).is_none());
            if is_left && left.len() < MAX_NAMES {
                left.push(file.to_owned());
            }
        });
        for file in left {
            let _ = self.remove(&file);
        }
    }
}
