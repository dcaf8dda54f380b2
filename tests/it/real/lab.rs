//! A laboratory: a private engine with two registries (`tests/lab/lab.sh`), pulls from them, and a link that can be slow.
//!
//! **Invariant:** if a lab cannot start, the test fails with the reason. A lab ends with its test, even if the test is killed:
//! the process that cleans up waits for the end of a pipe that only the test has open.

mod link;
mod pulled;
mod running;

pub(super) use link::Link;
pub(super) use pulled::Pulled;
use running::Running;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-pull-with-progress");
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/lab.sh");

/// The limit for a pull; none of these tests takes that long.
const LIMIT: Duration = Duration::from_secs(100);

pub(super) struct Lab {
    /// A short path, because the paths of sockets below it are limited.
    pub(super) dir: PathBuf,
    pub(super) registry: String,
    pub(super) private: String,
    pub(super) password: String,
    runs: AtomicUsize,
    janitor: Child,
}

impl Lab {
    /// An engine on the machine's disk.
    pub(super) fn start(name: &str) -> Self {
        Self::begin(name, None)
    }

    /// A lab whose engine and registries are on a separate file system of this `size` (`200M`).
    pub(super) fn start_on_disk_of(name: &str, size: &str) -> Self {
        Self::begin(name, Some(size))
    }

    fn begin(name: &str, size: Option<&str>) -> Self {
        let dir = PathBuf::from(format!("/tmp/pull-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let janitor = Command::new("sh")
            .args(["-c", "cat; \"$0\" stop \"$1/lab\"; ! mountpoint -q \"$1/lab\" || umount \"$1/lab\"; rm -rf \"$1\""])
            .args([SCRIPT.as_ref(), dir.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Signals from Ctrl-C, or from a runner that ends a slow test, must reach only the test.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let (registry, private, password) = (String::new(), String::new(), String::new());
        let mut lab = Self { dir, registry, private, password, runs: AtomicUsize::new(0), janitor };
        for name in ["lab", "home"] {
            fs::create_dir(lab.dir.join(name)).expect("a directory");
        }
        if let Some(size) = size {
            let size = format!("size={size}");
            succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "lab"]).arg(lab.dir.join("lab")));
        }
        succeed(Command::new(SCRIPT).arg("start").arg(lab.dir.join("lab")));
        let env = fs::read_to_string(lab.dir.join("lab/env")).expect("the lab's env");
        let value = |name| {
            let value = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_else(|| panic!("no {name} in {env}")).to_owned()
        };
        (lab.registry, lab.private) = (value("REGISTRY"), value("PRIVATE_REGISTRY"));
        fs::read_to_string(lab.dir.join("lab/password"))
            .expect("the lab's password")
            .trim()
            .clone_into(&mut lab.password);
        lab
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("lab/docker.sock")
    }

    /// Kills (`kill`) or restarts (`revive`) a part of the lab.
    pub(super) fn order(&self, what: &str, part: &str) {
        succeed(Command::new(SCRIPT).arg(what).arg(self.dir.join("lab")).arg(part));
    }

    /// The output of docker's CLI.
    #[track_caller]
    pub(super) fn docker(&self, args: &[&str]) -> String {
        self.docker_at(&self.socket(), args)
    }

    #[track_caller]
    fn docker_at(&self, socket: &Path, args: &[&str]) -> String {
        succeed(self.command("docker").arg("-H").arg(format!("unix://{}", socket.display())).args(args))
    }

    /// Fails unless `--check` or `--running` ends with `exit` and prints one line that contains `text`.
    #[track_caller]
    pub(super) fn state(&self, args: &[&str], exit: i32, text: &str) {
        let output = self.command(PROGRAM).arg("--host").arg(self.socket()).args(args).output().expect("it runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {output:?}");
        assert!(printed.lines().count() == 1 && printed.contains(text), "{args:?} does not say {text:?}: {output:?}");
        assert!(!printed.contains(&self.password), "{args:?} tells the secret");
    }

    pub(super) fn has(&self, image: &str) -> bool {
        self.has_at(&self.socket(), image)
    }

    pub(super) fn has_at(&self, socket: &Path, image: &str) -> bool {
        self.docker_at(socket, &["image", "ls", "-q", image]).lines().count() > 0
    }

    /// Removes all images, so that the next pull downloads everything.
    pub(super) fn forget_images(&self) {
        self.docker(&["image", "prune", "-af"]);
    }

    /// Pushes `tiny:TAG` as an index with the image `tiny` for these architectures. Returns its digest.
    #[track_caller]
    pub(super) fn push_index(&self, tag: &str, architectures: &[&str]) -> String {
        let url = format!("http://{}/v2/tiny/manifests", self.registry);
        let entries: Vec<_> = architectures.iter().map(|architecture| format!("$(e {architecture})")).collect();
        let entries = entries.join(",");
        let script = format!(
            "m=$(curl -sf -H 'Accept: {MANIFEST}' {url}/latest); d=$(printf %s \"$m\" | sha256sum | cut -d' ' -f1)
             e() {{ printf '{{\"mediaType\":\"{MANIFEST}\",\"size\":%d,\"digest\":\"sha256:%s\",\"platform\":{{\"os\":\"linux\",\"architecture\":\"%s\"}}}}' ${{#m}} $d $1; }}
             curl -sf -o /dev/null -D - -X PUT -H 'Content-Type: {LIST}' {url}/{tag} -d \"{{\\\"schemaVersion\\\":2,\\\"mediaType\\\":\\\"{LIST}\\\",\\\"manifests\\\":[{entries}]}}\" \
             | tr -d '\\r' | sed -n 's/^Docker-Content-Digest: //p'"
        );
        let digest = succeed(self.command("bash").args(["-ec", &script])).trim().to_owned();
        assert!(digest.starts_with("sha256:"), "{digest}");
        digest
    }

    /// Pushes an image for an architecture on which no test runs.
    pub(super) fn push_foreign(&self, image: &str) {
        let tar = self.dir.join("foreign.tar");
        succeed(self.command("tar").args(["-cf", tar.to_str().expect("plain"), "-C", "/etc", "hostname"]));
        self.docker(&["import", tar.to_str().expect("plain"), image]);
        // An old engine cannot import an image for another architecture, so the saved image is edited.
        let saved = self.dir.join("saved.tar");
        self.docker(&["save", "-o", saved.to_str().expect("plain"), image]);
        self.docker(&["rmi", image]);
        let script = "rm -rf foreign && mkdir foreign && tar -xf saved.tar -C foreign && \
            sed -i 's/\"architecture\":\"[a-z0-9]*\"/\"architecture\":\"riscv64\"/' foreign/*.json && \
            tar -cf saved.tar -C foreign .";
        succeed(self.command("sh").args(["-c", script]).current_dir(&self.dir));
        self.docker(&["load", "-q", "-i", saved.to_str().expect("plain")]);
        self.docker(&["push", "-q", image]);
    }

    /// Starts podman's service, with its own image store.
    pub(super) fn podman(&self) -> Podman {
        let dir = self.dir.join("podman");
        let (socket, log) = (dir.join("podman.sock"), dir.join("log"));
        fs::create_dir_all(dir.join("home/.config/containers")).expect("a directory");
        let policy = dir.join("home/.config/containers/policy.json");
        fs::write(policy, "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}").expect("a policy");
        let registries = [&self.registry, &self.private]
            .map(|registry| format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n"));
        fs::write(dir.join("registries.conf"), registries.concat()).expect("the registries");
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "KILL", "podman"]);
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(dir.join(name));
        }
        command.args(["--storage-driver", "vfs", "system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", socket.display()));
        command.env("HOME", dir.join("home")).env("XDG_RUNTIME_DIR", dir.join("xdg"));
        command.env("CONTAINERS_REGISTRIES_CONF", dir.join("registries.conf"));
        let file = File::create(&log).expect("a file");
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        let mut podman = Podman { child: command.spawn().expect("setpriv runs"), socket };
        let until = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(&podman.socket).is_err() {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(podman.child.try_wait().expect("a child").is_none(), "podman does not start:\n{}", log());
            assert!(Instant::now() < until, "podman does not answer:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
        podman
    }

    /// A command with only PATH from the environment of the tests.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").expect("a PATH");
        command.env_clear().env("PATH", path).env("HOME", self.dir.join("home")).env("LANG", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// Starts a pull with the engine of the lab; see [`Self::begin_with`].
    pub(super) fn begin_pull(&self, image: &str, options: &[&str]) -> Running {
        self.begin_with(image, |command| {
            command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(options);
        })
    }

    /// Starts a pull. It always writes log and recording, because [`Running::finish`] compares them.
    pub(super) fn begin_with(&self, image: &str, setup: impl FnOnce(&mut Command)) -> Running {
        let number = self.runs.fetch_add(1, SeqCst);
        let path = |end: &str| self.dir.join(format!("{number}.{end}"));
        let mut command = self.command(PROGRAM);
        command.arg("--log").arg(path("log")).arg("--record").arg(path("rec"));
        setup(&mut command);
        command.arg(image);
        command.stdout(File::create(path("out")).expect("a file")).stderr(File::create(path("err")).expect("a file"));
        let name = format!("pull {number} of {image}");
        let child = command.spawn().expect("the program runs");
        Running { name, stem: self.dir.join(number.to_string()), child, began: Instant::now() }
    }

    pub(super) fn pull(&self, image: &str, options: &[&str]) -> Pulled {
        self.begin_pull(image, options).finish()
    }

    /// Fails if the password is in any file that a pull has written.
    pub(super) fn keeps_the_secret(&self) {
        let pair = base64(format!("fleet:{}", self.password).as_bytes());
        let header = base64(format!("\"password\":\"{}", self.password).as_bytes());
        let mut seen = 0;
        for entry in fs::read_dir(&self.dir).expect("the lab's directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| ["out", "err", "log", "rec"].contains(&end.to_str().unwrap_or(""))) {
                let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
                for secret in [&self.password, &pair, &header] {
                    assert!(!text.contains(secret.trim_end_matches('=')), "{} has the secret:\n{text}", path.display());
                }
                seen += 1;
            }
        }
        assert!(seen >= 4, "{seen} files were looked at");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // It limits its own waits.
        let _ = self.janitor.wait();
    }
}

pub(super) struct Podman {
    child: Child,
    pub(super) socket: PathBuf,
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The output of a command, which must succeed.
#[track_caller]
pub(super) fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
        panic!("{command:?}: {}:\n{text}", output.status);
    }
    text
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let cell = char::from(ALPHABET[bits >> (18 - 6 * index) & 63]);
            text.push(if index <= group.len() { cell } else { '=' });
        }
    }
    text
}
