//! The waiting notices, and what was noticed so far: files in one directory.
//!
//! There is one file for each pair of notice and receiver. Its name is made from both, so writing it again replaces it. One
//! more file remembers what was noticed; it is written after the notices. If the process is killed between the two, the next
//! one notices the same things again, and writes the same files.
//!
//! **Invariant:** a file is whole and on the disk when its function returns, and no file contains the address of a receiver.

use super::rules::{Known, Notice};
use alm_state::Time;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const KNOWN: &str = "noticed.json";
/// A file that reserves space for the notice about a full disk: it is removed when a write fails, and created again later.
const SPARE: &str = "spare";
const SPARE_BYTES: usize = 64 * 1024;
/// The largest file that is read, in bytes; this program writes only smaller ones.
const MAX_FILE: u64 = 64 * 1024;

pub(super) struct Outbox {
    directory: PathBuf,
}

/// A notice that waits for one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) notice: Notice,
    /// The number of attempts whose result is not known.
    #[serde(default)]
    pub(super) unclear: u32,
    /// The receiver asked to send nothing before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Time>,
}

impl Outbox {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.directory.display()
    }

    /// The names of all waiting notices, the oldest first. Removes half-written files of a killed process.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<(Option<SystemTime>, String)> = Vec::new();
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.strip_suffix(".tmp").is_some_and(|name| name.starts_with('.')) {
                let _ = fs::remove_file(entry.path());
            } else if name.strip_suffix(".json").is_some() && name != KNOWN {
                let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                let entry = (written, name);
                names.insert(names.partition_point(|other| *other <= entry), entry);
            }
        }
        names.into_iter().map(|(_, name)| name).collect()
    }

    pub(super) fn known(&self) -> Known {
        self.read(KNOWN).unwrap_or_default()
    }

    pub(super) fn set_known(&self, known: &Known) -> io::Result<()> {
        self.write(KNOWN, known)
    }

    pub(super) fn get(&self, name: &str) -> Option<Waiting> {
        self.read(name)
    }

    pub(super) fn put(&self, name: &str, waiting: &Waiting) -> io::Result<()> {
        self.write(name, waiting)
    }

    pub(super) fn remove(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.directory)?.sync_all()
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.directory.join(name);
        if fs::metadata(&path).ok()?.len() > MAX_FILE {
            return None;
        }
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let bytes = serde_json::to_vec(value)?;
        let written = self.write_bytes(name, &bytes);
        if written.is_err() && fs::remove_file(self.directory.join(SPARE)).is_ok() {
            return self.write_bytes(name, &bytes);
        }
        written
    }

    /// Creates the file that reserves space, if it is missing and there is space.
    pub(super) fn reserve(&self) {
        let is_there = fs::metadata(self.directory.join(SPARE)).is_ok_and(|spare| spare.len() == SPARE_BYTES as u64);
        if !is_there && self.directory.is_dir() {
            let _ = self.write_bytes(SPARE, &vec![b'\n'; SPARE_BYTES]);
        }
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.directory.join(format!(".{name}.tmp"));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, self.directory.join(name))?;
            File::open(&self.directory)?.sync_all()
        })();
        if written.is_err() {
            // On a full file system the half-written file takes space that is needed.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}
