//! The states of all images as a Prometheus text file, for `node_exporter`'s textfile collector.
//!
//! Separate from the state file, because it is made from all of them, and because `node_exporter` rejects a whole file
//! for one line: no time stamps, the same help text everywhere, one file for all images.
//!
//! **Invariant:** a reader gets a whole file. A pull waits only a moment, for another writer, and never fails because
//! of this file.

use crate::os::file::{self, Links};
use alm_state::{Found, Status, Store};
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

/// How often another writer is waited for, and how long each time: writing takes less than one of these waits.
const TRIES: u32 = 10;
const WAIT: Duration = Duration::from_millis(3);

/// How often at most the file is written again because states changed meanwhile.
const ROUNDS: usize = 8;

/// A metric: name, type, help, and its values for an image, which follow the image's label.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    sample: fn(&Found, &mut Sample<'_>),
}

/// A value of a metric for one image.
struct Sample<'a> {
    name: &'static str,
    image: &'a str,
    out: &'a mut String,
}

impl Sample<'_> {
    fn push(&mut self, value: impl std::fmt::Display) {
        self.push_labelled(None, value);
    }

    /// Adds the value, if it is known for this image.
    fn push_known(&mut self, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.push(value);
        }
    }

    fn push_labelled(&mut self, label: Option<(&str, &str)>, value: impl std::fmt::Display) {
        let _ = write!(self.out, "{}{{image=\"", self.name);
        escape(self.image, self.out);
        if let Some((label, text)) = label {
            let _ = write!(self.out, "\",{label}=\"");
            escape(text, self.out);
        }
        let _ = writeln!(self.out, "\"}} {value}");
    }
}

const METRICS: [Metric; 9] = [
    Metric {
        name: "alm_pull_last_attempt_timestamp_seconds",
        kind: "gauge",
        help: "When this image was last pulled or looked for, well or not.",
        sample: |found, sample| sample.push(found.image.time.0),
    },
    Metric {
        name: "alm_pull_last_success_timestamp_seconds",
        kind: "gauge",
        help: "When this image was last pulled, or found up to date.",
        sample: |found, sample| sample.push_known(found.image.succeeded.map(|time| time.0)),
    },
    Metric {
        name: "alm_pull_last_exit_code",
        kind: "gauge",
        help: "Exit code of the last pull of this image.",
        sample: |found, sample| sample.push_known(found.image.exit),
    },
    Metric {
        name: "alm_pull_failing",
        kind: "gauge",
        help: "1 for the kind of failure for which this image is not up to date; absent where there is none.",
        sample: |found, sample| {
            if found.image.failing_since.is_some()
                && let Some(kind) = &found.image.kind
            {
                sample.push_labelled(Some(("kind", kind)), 1);
            }
        },
    },
    Metric {
        name: "alm_pull_failures_total",
        kind: "counter",
        help: "Pulls of this image that failed since its state file was begun.",
        sample: |found, sample| sample.push(found.image.failures),
    },
    Metric {
        name: "alm_pull_last_duration_seconds",
        kind: "gauge",
        help: "How long the last pull of this image took that fetched anything, or failed.",
        // As the state file has it. std's own formatting of a float would be a hundredth of the executable.
        sample: |found, sample| {
            sample.push_known(found.image.seconds.and_then(|time| serde_json::to_string(&time).ok()));
        },
    },
    Metric {
        name: "alm_pull_received_bytes_total",
        kind: "counter",
        help: "Bytes that pulls of this image fetched since its state file was begun.",
        sample: |found, sample| sample.push(found.image.received),
    },
    Metric {
        name: "alm_pull_in_progress",
        kind: "gauge",
        help: "Whether a pull of this image is under way.",
        sample: |found, sample| {
            sample.push(u8::from(found.image.status == Status::Working && !found.image.is_lost()));
        },
    },
    Metric {
        name: "alm_image_info",
        kind: "gauge",
        help: "The digest that this device has of this image.",
        sample: |found, sample| {
            if let Some(digest) = &found.image.digest {
                sample.push_labelled(Some(("digest", digest)), 1);
            }
        },
    },
];

/// Writes the file at `path` from the states. If that fails, the old file stays. What is there and is no regular file is
/// refused: it would be replaced, be it the device `/dev/null` or the link `/dev/stdout`.
pub(crate) fn write(path: &Path, store: &Store) -> io::Result<()> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        file::regular(&found)?;
    }
    // Held while the states are read, so that the next writer reads newer ones.
    let _lock = lock(path);
    let mut written = String::new();
    for _ in 0..ROUNDS {
        let text = render(&store.read().images);
        if text == written {
            break;
        }
        replace(path, &text)?;
        // If many pulls end at once, one that could not take the lock may have replaced a newer file by an older one.
        // So each compares again after it has written, and the last one leaves the true file.
        written = text;
    }
    Ok(())
}

fn render(images: &[Found]) -> String {
    let mut out = String::new();
    let version = env!("CARGO_PKG_VERSION");
    heading("alm_build_info", "gauge", "Version of docker-pull-with-progress on this device.", &mut out);
    let _ = writeln!(out, "alm_build_info{{version=\"{version}\"}} 1");
    for Metric { name, kind, help, sample } in METRICS {
        let before = out.len();
        heading(name, kind, help, &mut out);
        let empty = out.len();
        for found in images {
            sample(found, &mut Sample { name, image: &found.image.id, out: &mut out });
        }
        if out.len() == empty {
            out.truncate(before);
        }
    }
    out
}

fn heading(name: &str, kind: &str, help: &str, out: &mut String) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Appends the value of a label, escaped.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// The lock beside the file, which only its owner can take; other users rely on the comparison after writing.
fn lock(path: &Path) -> Option<File> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let (file, _) = file::open(&path.with_file_name(name), &mut options, Links::Refuse).ok()?;
    for _ in 0..TRIES {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Some(file);
        }
        std::thread::sleep(WAIT);
    }
    None
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Not ending in `.prom`, so that it is not collected.
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // An existing file was left by a process with the same id.
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    // Independent of the umask.
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())
}
