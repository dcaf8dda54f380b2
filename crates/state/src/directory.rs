//! One directory of states: whole files in, whole files out.
//!
//! The directory is opened once, and everything is done relative to it, so that no name leads elsewhere. Other entries
//! (links, pipes, other users' files, ten thousand of them) are skipped.
//!
//! **Invariant:** nothing here blocks, and no reader sees half a file: it is written under a temporary name and
//! renamed.

use crate::{MAX_BYTES, name};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// How many entries are read, and below how many names of states are kept: the first ones.
const MAX_ENTRIES: usize = 100_000;
const MAX_NAMES: usize = 1_024;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
}

/// Who may own a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Anybody: the user named it.
    Anyone,
    /// Root or the current user: it is read without being named.
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

    /// The directory in `last` if it is still the one at `path`, which is cheaper than opening it; else it is opened, or created.
    pub(crate) fn again<'a>(last: &'a mut Option<Self>, path: &Path, owner: Owner) -> io::Result<&'a Self> {
        let is_there = |open: &Self| {
            let (there, here) = (std::fs::symlink_metadata(path).ok()?, rustix::fs::fstat(&open.fd).ok()?);
            Some((there.dev(), there.ino()) == (here.st_dev, here.st_ino))
        };
        if last.as_ref().and_then(is_there) != Some(true) {
            *last = Some(Self::create(path, owner)?);
        }
        last.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A value that changes whenever a file is created, renamed or removed here.
    pub(crate) fn stamp(&self) -> Option<(u64, i64, u64)> {
        let stat = rustix::fs::fstat(&self.fd).ok()?;
        #[allow(clippy::useless_conversion, reason = "nanoseconds are shorter on 32-bit ARM")]
        Some((stat.st_ino, stat.st_mtime, u64::from(stat.st_mtime_nsec)))
    }

    /// Opens the directory; a missing one is created, readable for all, independent of the umask.
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

    /// The names in it for which `ours` returns a part, which are sorted.
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

    /// Calls `found` with the name of each file.
    pub(crate) fn each(&self, found: &mut dyn FnMut(&str)) {
        let Ok(entries) = Dir::read_from(&self.fd) else { return };
        for entry in entries.take(MAX_ENTRIES).flatten() {
            if let Ok(name) = entry.file_name().to_str() {
                found(name);
            }
        }
    }

    /// The content of a regular file within the size limit, and when it was written.
    pub(crate) fn read(&self, file: &str) -> Option<(Vec<u8>, i64)> {
        // Without NONBLOCK, opening a pipe blocks before its type is known.
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

    /// When a regular file was written.
    pub(crate) fn written(&self, file: &str) -> Option<i64> {
        let stat = rustix::fs::statat(&self.fd, file, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat.st_mtime)
    }

    /// Replaces `NAME.json` by `bytes`; with `sync` they survive a power cut from then on.
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
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let create = || rustix::fs::openat(&self.fd, file, flags, mode);
        let fd = match create() {
            // It was left by a process with the same id.
            Err(Errno::EXIST) => {
                self.remove(file)?;
                create()?
            }
            created => created?,
        };
        // Independent of the umask.
        rustix::fs::fchmod(&fd, mode)?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        if sync { file.sync_all() } else { Ok(()) }
    }

    pub(crate) fn remove(&self, file: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, file, AtFlags::empty())?)
    }

    /// Removes temporary files whose writers are gone; a power cut leaves such files.
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
