//! Where an engine keeps its images, according to its `GET /info`, and how much space is free there.
//!
//! Separate from the requests: the directory depends on the image store, and on which containerd it uses.
//!
//! **Invariant:** if the directory is uncertain, there is none. Only the file system of the directory itself is
//! measured; its content belongs to root and is not read.

use crate::docker::connection::Connection;
use crate::docker::engine::Engine;
use crate::docker::value::RawFields;
use crate::os::file;
use crate::pull::Pull;
use crate::pull::disk::DiskSpace;
use rustix::fs::{statfs, statvfs};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The directory of the system's containerd, unless its configuration names another.
const CONTAINERD: &str = "/var/lib/containerd";
const CONFIGURATION: &str = "/etc/containerd/config.toml";

/// Bytes; far more than any real configuration of containerd has.
const CONFIGURATION_MAX: usize = 1 << 20;

/// File systems that do not compress: the magic numbers of ext2/3/4 and XFS in statfs.
const PLAIN: [i64; 2] = [0xEF53, 0x5846_5342];

#[derive(Debug, PartialEq)]
pub(crate) struct Store {
    pub(crate) directory: PathBuf,
    is_containerd: bool,
}

/// The part of `GET /info` that names the snapshotter, with the containerd store.
const DRIVER_STATUS: &str = "DriverStatus";

/// Whether images are in the containerd store.
pub(crate) fn is_containerd(info: &Value) -> bool {
    serde_json::to_string(&info[DRIVER_STATUS]).is_ok_and(|status| is_snapshotter(&status))
}

/// The same from the JSON of `DriverStatus`.
fn is_snapshotter(driver_status: &str) -> bool {
    driver_status.contains("io.containerd.snapshotter")
}

/// After how many milliseconds of fetching the engine is asked for its store: a short pull is finished by then, and one
/// that breaks off earlier has lost little.
const ASKED_AFTER: u64 = 5_000;

/// Asks an engine for its store while it fetches. After a broken pull there is no time for it on a slow device: the
/// containerd store deletes the bytes of a broken pull a tenth of a second later.
#[derive(Default)]
pub(crate) struct StoreQuery {
    /// When the engine began to fetch, in milliseconds of the pull.
    began: Option<u64>,
    is_asked: bool,
    pending: Option<(Connection, Vec<u8>)>,
    /// Whether the engine has the containerd store; `None` until it has answered.
    pub(crate) is_containerd: Option<bool>,
}

impl StoreQuery {
    /// Continues the request as far as possible without waiting.
    pub(crate) fn step(&mut self, engine: &Engine, pull: &Pull, at: u64) {
        if let Some((connection, body)) = &mut self.pending {
            let answer = match connection.poll_answer(body) {
                Ok(None) => return,
                Ok(Some(answer)) => Some(answer),
                Err(_) => None,
            };
            let answer = answer.filter(|answer| answer.status == 200);
            self.is_containerd =
                answer.and_then(|answer| RawFields::parse(&answer.body)?.raw(DRIVER_STATUS).map(is_snapshotter));
            self.pending = None;
        }
        if self.is_asked || pull.is_containerd || !pull.is_fetching() {
            return;
        }
        let began = *self.began.get_or_insert(at);
        if at >= began.saturating_add(ASKED_AFTER) {
            self.is_asked = true;
            self.pending = engine.begin("/info").ok().map(|connection| (connection, Vec::new()));
        }
    }
}

impl Store {
    pub(crate) fn of(info: &Value) -> Option<Self> {
        let root = Path::new(info["DockerRootDir"].as_str()?);
        if !is_containerd(info) {
            return Self::at(root.to_owned(), false);
        }
        let address = info["Containerd"]["Address"].as_str().unwrap_or_default();
        let directory = match address.strip_prefix("/var").unwrap_or(address) {
            "/run/containerd/containerd.sock" => containerd_root(Path::new(CONFIGURATION))?,
            // The containerd that the engine starts itself.
            own if own.ends_with("/docker/containerd/containerd.sock") => root.to_owned(),
            // It is one of these two directories, and they may be on one file system.
            _ => {
                let device = |path: &Path| Some(fs::metadata(path).ok()?.dev());
                if device(root)? != device(Path::new(CONTAINERD))? {
                    return None;
                }
                root.to_owned()
            }
        };
        Self::at(directory, true)
    }

    fn at(directory: PathBuf, is_containerd: bool) -> Option<Self> {
        (directory.is_absolute() && directory.is_dir()).then_some(Self { directory, is_containerd })
    }

    pub(crate) fn space(&self) -> Option<DiskSpace> {
        let disk = statvfs(&self.directory).ok()?;
        // The field's type differs between architectures.
        #[expect(clippy::allow_attributes, reason = "which of the lints applies depends on the architecture")]
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless, clippy::cast_possible_wrap)]
        let kind = statfs(&self.directory).ok()?.f_type as i64;
        Some(DiskSpace {
            is_containerd: self.is_containerd,
            is_uncompressed: PLAIN.contains(&kind),
            free: disk.f_bfree.saturating_mul(disk.f_frsize),
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }
}

/// `root` in containerd's configuration, else its default; `None` if the configuration can mean another directory.
fn containerd_root(configuration: &Path) -> Option<PathBuf> {
    let text = match file::read(configuration, CONFIGURATION_MAX) {
        Ok((bytes, _)) => String::from_utf8(bytes).ok()?,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(_) => return None,
    };
    // Only before the first table; `imports` names further files, which may contain another `root`.
    let top = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    for (key, value) in top.filter_map(|line| line.split_once('=')) {
        match key.trim().trim_matches(['"', '\'']) {
            "root" => return quoted(value.trim()).map(PathBuf::from),
            "imports" if value.replace(' ', "") != "[]" => return None,
            _ => {}
        }
    }
    Some(CONTAINERD.into())
}

/// The content of a TOML string without escapes.
fn quoted(value: &str) -> Option<&str> {
    let mark = value.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    let (text, rest) = value[1..].split_once(mark)?;
    let is_comment = rest.trim_start().is_empty() || rest.trim_start().starts_with('#');
    (is_comment && !text.is_empty() && !text.contains('\\')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_images_are() {
        let temporary = std::env::temp_dir();
        let root = temporary.to_str().expect("UTF-8");
        let containerd = json!([["driver-type", "io.containerd.snapshotter.v1"]]);
        let at = |directory: &Path, is_containerd| Some(Store { directory: directory.to_owned(), is_containerd });

        let overlay = json!([["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]);
        let info = json!({"DockerRootDir": root, "DriverStatus": overlay});
        assert_eq!(Store::of(&info), at(&temporary, false));
        assert_eq!(Store::of(&json!({"DockerRootDir": format!("{root}/missing"), "DriverStatus": overlay})), None);
        assert_eq!(Store::of(&json!({"DockerRootDir": "tmp", "DriverStatus": overlay})), None);
        assert_eq!(Store::of(&json!({})), None);

        let info = |address: &str| {
            let address = json!({"Address": address});
            json!({"DockerRootDir": root, "DriverStatus": containerd, "Containerd": address})
        };
        for own in ["/var/run/docker/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"] {
            assert_eq!(Store::of(&info(own)), at(&temporary, true), "{own}");
        }
        // 26 names no address, and there may be another one: then only where it makes no difference.
        let same = |path: &str| fs::metadata(path).is_ok_and(|m| m.dev() == fs::metadata(&temporary).unwrap().dev());
        let expected = if same(CONTAINERD) { at(&temporary, true) } else { None };
        assert_eq!(Store::of(&info("/elsewhere/containerd.sock")), expected);
        assert_eq!(Store::of(&json!({"DockerRootDir": root, "DriverStatus": containerd})), expected);
    }

    #[test]
    fn containerds_configuration() {
        let path = std::env::temp_dir().join(format!("containerd-{}.toml", std::process::id()));
        let root = |text: &str| {
            fs::write(&path, text).unwrap();
            containerd_root(&path)
        };
        let default = Some(PathBuf::from(CONTAINERD));
        assert_eq!(containerd_root(Path::new("/nonexistent/config.toml")), default);
        assert_eq!(root(""), default);
        assert_eq!(root("version = 2\n[plugins]\nroot = \"/other\"\n"), default);
        assert_eq!(root("version = 2\n  root = \"/data/containerd\" # here\n"), Some("/data/containerd".into()));
        assert_eq!(root("root = '/data'"), Some("/data".into()));
        assert_eq!(root("root = \"/a\\u0020b\""), None);
        assert_eq!(root("root = 5"), None);
        assert_eq!(root("imports = []\n"), default);
        assert_eq!(root("imports = [\"/etc/containerd/conf.d/*.toml\"]\n"), None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn free_space_is_measured() {
        let store = Store::at(std::env::temp_dir(), true).expect("a directory");
        let space = store.space().expect("a file system");
        assert!(space.free >= space.available && space.is_containerd);
        assert!(Store { directory: "/nonexistent".into(), is_containerd: false }.space().is_none());
    }
}
