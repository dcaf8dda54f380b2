//! Opens files that others may have created: only regular files, without blocking, identified by device and inode.
//!
//! A log, a configuration, a lock or a secret is named by a path, and the path can lead to a FIFO that blocks the
//! opening, to a device, to a link elsewhere, or to more bytes than there is memory.
//!
//! **Invariant:** only regular files are read or appended to, and a read never returns more than its limit.

use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

/// Only the owner may read the file.
const PRIVATE: u32 = 0o600;

/// What to do with a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}

/// The identity of a file, independent of its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// Opens a regular file with these options.
pub(crate) fn open(path: &Path, options: &mut OpenOptions, links: Links) -> io::Result<(File, Metadata)> {
    // Without NONBLOCK, opening a FIFO waits for the other side before its type can be checked.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let is = |error: &io::Error, errno: rustix::io::Errno| error.raw_os_error() == Some(errno.raw_os_error());
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if links == Links::Refuse && is(&error, rustix::io::Errno::LOOP) => {
            return Err(io::Error::other("is a symbolic link, which is not followed"));
        }
        // A FIFO without a reader, or a socket.
        Err(error) if is(&error, rustix::io::Errno::NXIO) => return Err(not_regular("FIFO or socket")),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    regular(&metadata)?;
    Ok((file, metadata))
}

/// Reads a regular file of at most `max` bytes, and its metadata. A larger file is an error.
pub(crate) fn read(path: &Path, max: usize) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, metadata) = open(path, OpenOptions::new().read(true), Links::Follow)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("is larger than {} KiB", max >> 10)));
    }
    Ok((bytes, metadata))
}

/// Opens `path` to be overwritten, readable for its owner only, even if it was open to others before. It may be a FIFO
/// or a device: only paths that the user named are opened so. A link is followed if it belongs to this user or to root
/// (`/dev/stdout` is one): another user's link could lead to any file of this user. A file of another user is refused,
/// because that user could read everything written there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let is_trusted = |owner: u32| [0, rustix::process::geteuid().as_raw()].contains(&owner);
    let open = |flags: OFlags| {
        // Non-blocking: a FIFO without a reader must not block a pull.
        let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).custom_flags(flags).open(path)
    };
    let link = std::fs::symlink_metadata(path).ok().filter(Metadata::is_symlink);
    let file = match link {
        Some(link) if !is_trusted(link.uid()) => {
            return Err(io::Error::other("is a symbolic link of another user, which is not followed"));
        }
        Some(_) => open(OFlags::empty())?,
        // With O_NOFOLLOW, in case somebody created a link since the check.
        None => {
            let file = open(OFlags::NOFOLLOW)?;
            let metadata = file.metadata()?;
            if metadata.is_file() && !is_trusted(metadata.uid()) {
                return Err(io::Error::other("belongs to another user, who could read it; name a new file"));
            }
            file
        }
    };
    if file.metadata()?.is_file() {
        // Before anything is written. Fails if the file belongs to another user, who lets this one write it.
        let _ = file.set_permissions(Permissions::from_mode(PRIVATE));
        file.set_len(0)?;
    }
    Ok(file)
}

/// Creates a directory with these permissions, independent of the umask. One that exists already stays as it is.
pub(crate) fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// An error unless it is a regular file.
pub(crate) fn regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(not_regular("directory"))
    } else if kind.is_char_device() || kind.is_block_device() {
        Err(not_regular("device"))
    } else if kind.is_symlink() {
        Err(not_regular("link"))
    } else {
        Err(not_regular("FIFO or socket"))
    }
}

fn not_regular(kind: &str) -> io::Error {
    io::Error::other(format!("is a {kind}, not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let directory = std::env::temp_dir().join(format!("file-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name| directory.join(name);
        std::fs::write(path("small"), "small").unwrap();
        std::fs::write(path("large"), [b'x'; 2048]).unwrap();
        symlink(path("small"), path("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let outcome = |name| read(&path(name), 1024).map_err(|error| error.to_string());
        assert_eq!(outcome("small").unwrap().0, b"small");
        assert_eq!(outcome("link").unwrap().0, b"small");
        assert_eq!(outcome("large").unwrap_err(), "is larger than 1 KiB");
        assert_eq!(outcome("fifo").unwrap_err(), "is a FIFO or socket, not a regular file");
        assert_eq!(outcome("").unwrap_err(), "is a directory, not a regular file");
        let device = read(Path::new("/dev/null"), 1).unwrap_err();
        assert_eq!(device.to_string(), "is a device, not a regular file");
        let link = open(&path("link"), OpenOptions::new().read(true), Links::Refuse).unwrap_err();
        assert_eq!(link.to_string(), "is a symbolic link, which is not followed");
        let append = open(&path("fifo"), OpenOptions::new().append(true), Links::Refuse).unwrap_err();
        assert_eq!(append.to_string(), "is a FIFO or socket, not a regular file");
        let (_, same) = open(&path("link"), OpenOptions::new().read(true), Links::Follow).unwrap();
        let metadata = std::fs::metadata(path("small")).unwrap();
        assert_eq!(Identity::of(&same), Identity::of(&metadata));
        assert_ne!(Identity::of(&same), Identity::of(&std::fs::metadata(path("large")).unwrap()));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
