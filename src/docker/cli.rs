//! The fallback: runs `docker pull` and passes its lines on.
//!
//! docker's CLI reaches engines that this program cannot (tcp, ssh), and has its own messages for a missing socket.
//!
//! **Invariant:** docker's exit code decides, whatever its lines say.

use crate::docker::Read;
use crate::docker::environment::Environment;
use crate::os::child::{self, Child, Setup, program};
use crate::os::user;
use crate::pull::failure::{Failure, Kind};
use crate::pull::{End, signal_exit_code};
use rustix::process::Signal;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long docker may take to end after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// What docker has to do.
pub(crate) struct Request<'a> {
    pub(crate) image: &'a str,
    pub(crate) platform: Option<&'a str>,
    /// The value of `--host`; if `None`, docker finds its engine itself.
    pub(crate) host: Option<&'a str>,
    /// A configuration in place of the user's.
    pub(crate) config: Option<PrivateConfig>,
}

/// How many directory names are tried in each place.
const NAMES: u32 = 8;

/// A directory with a config.json of its own, which nobody else may read, and which is deleted when this value is
/// dropped.
///
/// It is on a tmpfs, so that a secret is never written to a disk or an SD card.
pub(crate) struct PrivateConfig(PathBuf);

impl PrivateConfig {
    /// `user` is the user's configuration directory. Everything in it except config.json is linked into the new one:
    /// certificates for a remote engine, keys of signed images.
    pub(crate) fn create(config: &str, user: Option<&Path>) -> Result<Self, String> {
        // Where others may create directories, the name must not be predictable. Root always gets root's own runtime
        // directory, even if XDG_RUNTIME_DIR still names that of the user who became root.
        let places = user::runtime_directory().into_iter().chain(["/run", "/dev/shm"].map(PathBuf::from));
        for (place, number) in
            places.filter(|place| is_tmpfs(place)).flat_map(|place| (0..NAMES).map(move |n| (place.clone(), n)))
        {
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
            let path = place.join(format!("docker-pull-with-progress-{}-{clock:x}{number:x}", std::process::id()));
            // Never an existing directory: somebody else may have created it to get the secret.
            if DirBuilder::new().mode(0o700).create(&path).is_ok() {
                let directory = Self(path);
                let mut file = OpenOptions::new();
                file.write(true).create_new(true).mode(0o600);
                let written =
                    file.open(directory.0.join("config.json")).and_then(|mut file| file.write_all(config.as_bytes()));
                if written.is_ok() {
                    directory.link(user);
                    return Ok(directory);
                }
            }
        }
        Err("the token file cannot be handed to docker: no tmpfs for a private configuration directory was found"
            .into())
    }

    fn link(&self, user: Option<&Path>) {
        // A link needs an absolute target.
        let entries = user.and_then(|user| std::fs::read_dir(std::env::current_dir().ok()?.join(user)).ok());
        for entry in entries.into_iter().flatten().flatten().filter(|entry| entry.file_name() != "config.json") {
            // docker itself reports what it misses.
            let _ = std::os::unix::fs::symlink(entry.path(), self.0.join(entry.file_name()));
        }
    }
}

impl Drop for PrivateConfig {
    fn drop(&mut self) {
        // If this fails, the next boot empties the tmpfs.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether files below `path` are kept in memory.
fn is_tmpfs(path: &Path) -> bool {
    // Linux's TMPFS_MAGIC and RAMFS_MAGIC.
    rustix::fs::statfs(path).is_ok_and(|disk| matches!(u64::try_from(disk.f_type), Ok(0x0102_1994 | 0x8584_58F6)))
}

/// A running `docker pull`; it is killed when this value is dropped.
pub(crate) struct Docker {
    child: Child,
    buffer: [u8; 4096],
    /// The signal that was sent to it, and when.
    stopping: Option<(i32, Instant)>,
    /// Deleted with docker, and after it.
    _config: Option<PrivateConfig>,
}

impl Docker {
    /// Starts `docker pull`. docker and its helpers are found on the environment's PATH.
    pub(crate) fn start(request: Request<'_>, environment: &Environment) -> Result<Self, Failure> {
        let path = environment.path.as_os_str();
        let Some(docker) = program("docker", path) else {
            let reason = format!("no docker command was found on PATH ({})", path.display());
            return Err(Failure::own(Kind::NoDocker, reason));
        };
        let mut command = Command::new(docker);
        command.env("PATH", path);
        if let Some(config) = &request.config {
            command.arg("--config").arg(&config.0);
        }
        if let Some(host) = request.host {
            command.args(["--host", host]);
        }
        command.arg("pull");
        if let Some(platform) = request.platform {
            command.args(["--platform", platform]);
        }
        command.arg(request.image);
        // In its own process group: when an SSH session ends, neither this program nor docker is stopped.
        let setup = Setup { input: None, merge_stderr: true, own_group: true };
        let child = Child::spawn(command, setup).map_err(|error| broken(&error))?;
        Ok(Self { child, buffer: [0; 4096], stopping: None, _config: request.config })
    }

    /// Waits at most one tick for docker's output, and passes it to `body`.
    pub(crate) fn read(&mut self, body: &mut dyn FnMut(&[u8])) -> Read {
        match self.child.read(&mut self.buffer) {
            Ok(child::Read::Bytes(count)) => {
                body(&self.buffer[..count]);
                Read::Bytes { more: false }
            }
            Ok(child::Read::Tick) => Read::Tick,
            Ok(child::Read::End(status)) => Read::End(match self.stopping {
                Some((signal, _)) => End::Signal(signal),
                None => End::Exited(match (status.code(), status.signal()) {
                    (Some(code), _) => u8::try_from(code).unwrap_or(1),
                    (None, Some(signal)) => signal_exit_code(signal),
                    (None, None) => 1,
                }),
            }),
            Err(error) => Read::End(End::Cut(Some(broken(&error)))),
        }
    }

    /// Passes a signal on to docker. Breaks with the end once docker had its time.
    pub(crate) fn stop(&mut self, signal: i32) -> ControlFlow<End> {
        match self.stopping {
            None => {
                self.stopping = Some((signal, Instant::now()));
                self.child.signal(if signal == 2 { Signal::INT } else { Signal::TERM });
                ControlFlow::Continue(())
            }
            Some((signal, since)) if since.elapsed() >= GRACE => ControlFlow::Break(End::Signal(signal)),
            Some(_) => ControlFlow::Continue(()),
        }
    }
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::own(Kind::Other, format!("docker pull could not be run: {error}"))
}
