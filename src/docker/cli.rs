//! The fallback: `docker pull`, whose lines are handed on.
//!
//! Docker's CLI reaches what this program cannot (tcp, ssh), and has its own words for a socket that is missing.
//!
//! **Invariant:** docker's exit code is the answer, whatever its lines say.

use crate::os::child::{Child, Read, Setup, program};
use crate::pull::{LineBuffer, MAX_LINE};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long docker may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(5);

/// Where programs are looked for when PATH is not set, as the C library does it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What docker is to do.
pub(crate) struct Request<'a> {
    pub(crate) image: &'a str,
    pub(crate) platform: Option<&'a str>,
    /// As `--host` gave it; otherwise docker finds its engine itself.
    pub(crate) host: Option<&'a str>,
    /// A directory with a config.json to be used instead of the user's.
    pub(crate) config: Option<&'a Path>,
}

/// A directory with a config.json of our own, which nobody else may read and which goes with this value.
///
/// On a tmpfs, so that a secret never touches a disk or an SD card.
pub(crate) struct PrivateConfig(PathBuf);

impl PrivateConfig {
    pub(crate) fn create(config: &str) -> Result<Self, String> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        let places = runtime.into_iter().chain(["/run", "/dev/shm"].map(PathBuf::from));
        for place in places.filter(|place| is_tmpfs(place)) {
            let path = place.join(format!("docker-pull-with-progress-{}", std::process::id()));
            // Never one that is there already: it might be somebody else's, waiting for the secret.
            if DirBuilder::new().mode(0o700).create(&path).is_ok() {
                let directory = Self(path);
                let mut file = OpenOptions::new();
                file.write(true).create_new(true).mode(0o600);
                let written =
                    file.open(directory.0.join("config.json")).and_then(|mut file| file.write_all(config.as_bytes()));
                if written.is_ok() {
                    return Ok(directory);
                }
            }
        }
        Err("the token file cannot be handed to docker: no tmpfs for a private configuration directory was found"
            .into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateConfig {
    fn drop(&mut self) {
        // Should it fail, there is nobody who could do more than the next boot does.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether what is written below `path` stays in memory.
fn is_tmpfs(path: &Path) -> bool {
    // TMPFS_MAGIC and RAMFS_MAGIC of Linux.
    rustix::fs::statfs(path).is_ok_and(|disk| matches!(u64::try_from(disk.f_type), Ok(0x0102_1994 | 0x8584_58F6)))
}

/// How docker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(u8),
    /// We were told to stop by this signal, and docker has been stopped.
    Signal(i32),
}

/// Runs `docker pull`. Its lines go to `line`; `signal` is asked on every tick which signal came.
pub(crate) fn pull(
    request: &Request<'_>,
    line: &mut dyn FnMut(&[u8]),
    tick: &mut dyn FnMut(),
    signal: &mut dyn FnMut() -> Option<i32>,
) -> Result<Ended, String> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.as_deref().unwrap_or(OsStr::new(DEFAULT_PATH));
    let Some(docker) = program("docker", path) else {
        return Err(format!("no docker command was found on PATH ({})", path.display()));
    };
    let mut command = Command::new(docker);
    if let Some(config) = request.config {
        command.arg("--config").arg(config);
    }
    if let Some(host) = request.host {
        command.args(["--host", host]);
    }
    command.arg("pull");
    if let Some(platform) = request.platform {
        command.args(["--platform", platform]);
    }
    command.arg(request.image);
    // A process group of its own: a dropped SSH session stops neither us nor docker.
    let setup = Setup { input: None, merge_stderr: true, own_group: true };
    let broken = |error: std::io::Error| format!("docker pull could not be run: {error}");
    let mut child = Child::spawn(command, setup).map_err(broken)?;
    let (mut lines, mut buffer, mut told) = (LineBuffer::new(MAX_LINE), [0; 4096], None);
    loop {
        match child.read(&mut buffer).map_err(broken)? {
            Read::Bytes(count) => lines.feed(&buffer[..count], line),
            Read::Tick => tick(),
            Read::End(status) => {
                lines.end(line);
                return Ok(match told {
                    Some((signal, _)) => Ended::Signal(signal),
                    None => Ended::Exit(match (status.code(), status.signal()) {
                        (Some(code), _) => u8::try_from(code).unwrap_or(1),
                        (None, Some(signal)) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
                        (None, None) => 1,
                    }),
                });
            }
        }
        match told {
            None => {
                if let Some(number) = signal() {
                    told = Some((number, Instant::now()));
                    child.signal(if number == 2 { Signal::INT } else { Signal::TERM });
                }
            }
            Some((number, since)) if since.elapsed() >= GRACE => {
                // Dropped, it is killed.
                return Ok(Ended::Signal(number));
            }
            Some(_) => {}
        }
    }
}
