//! A laboratory: a private engine with two registries (`tests/lab/lab.sh`), pulls from them, and a link that can be slow.
//!
//! **Invariant:** if a lab cannot start, the test fails with the reason. A lab ends with its test, even if the test is killed:
//! the process that cleans up waits for the end of a pipe that only the test has open.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-pull-with-progress");
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/lab.sh");
const LINK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/link.py");

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

/// A running pull.
pub(super) struct Running {
    name: String,
    stem: PathBuf,
    child: Child,
    began: Instant,
}

impl Running {
    fn read(&self, end: &str) -> String {
        let path = self.stem.with_extension(end);
        String::from_utf8(fs::read(&path).unwrap_or_default())
            .unwrap_or_else(|_| panic!("{} is not UTF-8", path.display()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `text` is on standard output.
    #[track_caller]
    pub(super) fn await_text(&mut self, text: &str) {
        self.await_texts(&[text]);
    }

    /// Waits until all of `texts` are on standard output, in this order.
    #[track_caller]
    pub(super) fn await_texts(&mut self, texts: &[&str]) {
        let until = Instant::now() + LIMIT;
        loop {
            let out = self.read("out");
            if texts.iter().try_fold(out.as_str(), |rest, text| Some(rest.split_once(text)?.1)).is_some() {
                return;
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            let (err, name) = (self.read("err"), &self.name);
            assert!(!ended && Instant::now() < until, "{name} never said {texts:?}:\n{out}{err}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the pull is running");
    }

    /// Waits for the end and compares the outputs: the log without raw lines must equal standard output, and a replay of the
    /// recording must have the same output, log and exit code.
    pub(super) fn finish(mut self) -> Pulled {
        let exit = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status.code().unwrap_or_else(|| panic!("{} died of {:?}", self.name, status.signal()));
            }
            let (out, name) = (self.read("out"), &self.name);
            assert!(self.began.elapsed() < LIMIT, "{name} does not end:\n{out}");
            thread::sleep(Duration::from_millis(5));
        };
        let took = self.began.elapsed();
        let (out, err, log) = (self.read("out"), self.read("err"), self.read("log"));
        let pulled = Pulled { name: self.name.clone(), exit, out, err, log, took };
        println!("{pulled}"); // shown if the test fails later
        pulled.check();
        let again = self.stem.with_extension("again.log");
        let replay = Command::new(PROGRAM)
            .arg("--replay")
            .arg(self.stem.with_extension("rec"))
            .arg("--log")
            .arg(&again)
            .env("LC_ALL", "C.UTF-8")
            .output();
        let replay = replay.expect("the program runs");
        let replayed = String::from_utf8_lossy(&replay.stdout);
        assert_eq!(replayed, pulled.out, "the replay of {pulled}");
        assert_eq!(fs::read_to_string(again).expect("the replay's log"), pulled.log, "the replay's log of {pulled}");
        assert_eq!(replay.status.code(), Some(exit), "the replay's exit code of {pulled}");
        pulled
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pull that has ended.
pub(super) struct Pulled {
    name: String,
    pub(super) exit: i32,
    pub(super) out: String,
    pub(super) err: String,
    pub(super) log: String,
    pub(super) took: Duration,
}

impl std::fmt::Display for Pulled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, exit, out, err, took, .. } = self;
        write!(f, "{name} (exit {exit}, {took:?}):\n{out}{err}")
    }
}

impl Pulled {
    /// Checks the rules that hold for every pull.
    fn check(&self) {
        let is_raw = |line: &&str| line.get(9..10) == Some("]");
        let human: String = self.log.lines().filter(|line| !is_raw(line)).flat_map(|line| [line, "\n"]).collect();
        assert_eq!(human, self.out, "the log without raw lines, of {self}");
        let stamps: Vec<_> = self.out.lines().map(|line| line.get(..21).unwrap_or_default()).collect();
        assert!(stamps.iter().all(|stamp| stamp.ends_with(']')), "a stamp each: {self}");
        assert!(stamps.is_sorted(), "stamps in order: {self}");
        let counts: Vec<(u32, u32)> =
            self.lines().filter(|line| line.contains("Complete (") || line.contains("cached (")).map(counts).collect();
        assert!(counts.iter().all(|(n, of)| n <= of), "n/N: {self}");
        if !self.out.contains("🔁 Retry") {
            assert!(counts.iter().map(|(n, _)| n).is_sorted_by(|a, b| a < b), "n grows: {self}");
        }
        for bar in self.lines().filter_map(|line| Some(line.split_once(": [")?.1.split_once(']')?.0)) {
            let width = if bar.chars().count() == 50 { 50 } else { 40 };
            assert!(bar.chars().count() == width && bar.chars().all(|cell| "█░".contains(cell)), "{bar} of {self}");
        }
    }

    /// The lines without their time stamps.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.out.lines().map(|line| &line[22..])
    }

    /// The text between `start` and `end` in the first line that contains `start`.
    pub(super) fn between(&self, start: &str, end: &str) -> &str {
        let found = self.lines().find_map(|line| line.split_once(start)?.1.split(end).next());
        found.unwrap_or_else(|| panic!("no {start:?} in {self}"))
    }

    #[track_caller]
    pub(super) fn ended_with(&self, exit: i32) -> &Self {
        assert_eq!(self.exit, exit, "the exit code of {self}");
        self
    }

    /// Fails unless the output contains these texts, in this order.
    #[track_caller]
    pub(super) fn says(&self, texts: &[&str]) -> &Self {
        let mut rest = self.out.as_str();
        for text in texts {
            let found = rest.split_once(text);
            rest = found.unwrap_or_else(|| panic!("no {text:?}, or not in this order ({texts:?}), in {self}")).1;
        }
        self
    }

    #[track_caller]
    pub(super) fn never_says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(!self.out.contains(text) && !self.err.contains(text), "{text:?} in {self}");
        }
        self
    }

    /// Fails unless this is a success with `count` layers, `cached` of which were here already: checks the order of each layer's
    /// lines, and the closing block.
    #[track_caller]
    pub(super) fn pulled(&self, count: u32, cached: usize) -> &Self {
        self.ended_with(0);
        let layers: Vec<_> =
            self.lines().filter_map(|line| line.strip_prefix("📋 Layer ")?.split(' ').next()).collect();
        assert_eq!(layers.len(), usize::try_from(count).unwrap_or(0), "a queued line a layer: {self}");
        // The total is the number of layers announced by then: lines wait for more announcements for only a quarter of a second.
        let totals: Vec<u32> = self
            .lines()
            .filter_map(|line| {
                line.strip_prefix("📋 Layer ")?.split_once("(total: ")?.1.split(' ').next()?.parse().ok()
            })
            .collect();
        assert!(totals.is_sorted() && totals.last() == Some(&count), "{totals:?}: {self}");
        let mut found = 0;
        for layer in layers {
            let queued = format!("📋 Layer {layer} queued (total: ");
            if self.out.contains(&format!("💾 Layer {layer}: Already cached")) {
                found += 1;
                self.says(&[&queued, &format!("💾 Layer {layer}: Already cached (")]);
                self.never_says(&[&format!("Layer {layer}: [")]);
            } else {
                self.says(&[&queued, &format!("✅ Layer {layer}: Complete (")]);
            }
            self.never_goes_back(layer);
        }
        assert_eq!(found, cached, "cached layers: {self}");
        self.says(&[
            "📦 PULLING IMAGE",
            "Image: ",
            "Method: ",
            "📋 Layer",
            &format!("({count}/{count})"),
            "🔐 Image digest: sha256:",
            "📊 Status: Downloaded newer image for ",
            "✅ PULL SUCCESSFUL",
            "] 100%",
            &format!("Layers: {count}/{count} completed"),
            "Downloaded: ",
        ]);
        self.never_says(&["PULL FAILED", "INTERRUPTED"])
    }

    /// Fails unless the phases of a layer are in order (the engine may leave some out), and percentages never fall.
    #[track_caller]
    fn never_goes_back(&self, layer: &str) {
        const PHASES: [&str; 6] =
            ["queued", ": [", ": Verifying", ": Download complete", ": Extracting...", ": Extracting ["];
        let phase = |line: &str| {
            let rest = line.split_once("Layer ")?.1.strip_prefix(layer)?.trim_start();
            // A connection may break late in a download.
            let is_known = !rest.starts_with(": retrying");
            is_known.then(|| PHASES.iter().position(|start| rest.starts_with(start)).unwrap_or(PHASES.len()))
        };
        assert!(self.lines().filter_map(phase).is_sorted(), "the phases of {layer}: {self}");
        for phase in ["⬇️  Layer", "📂 Layer"] {
            let start = format!("{phase} {layer}: ");
            let percent =
                |line: &str| line.strip_prefix(&start)?.split_once("] ")?.1.split('%').next()?.parse::<u8>().ok();
            assert!(self.lines().filter_map(percent).is_sorted(), "{layer} goes back: {self}");
        }
    }
}

fn counts(line: &str) -> (u32, u32) {
    // Size and duration may follow.
    let pair = line.split_once(" (").and_then(|(_, rest)| rest.split_once(')')?.0.split_once('/'));
    pair.and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?))).unwrap_or_else(|| panic!("no counts: {line}"))
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

/// A link between an engine and another host (`tests/lab/link.py`, which describes its commands).
pub(super) struct Link {
    pub(super) address: String,
    child: Child,
    answers: RefCell<BufReader<ChildStdout>>,
}

impl Link {
    /// A link to a registry with `rate` bytes per second.
    pub(super) fn to(registry: &str, rate: u64) -> Self {
        Self::open(registry.as_ref(), rate)
    }

    /// A link that makes a Unix socket reachable over TCP.
    pub(super) fn to_socket(path: &Path) -> Self {
        Self::open(path.as_os_str(), 0)
    }

    fn open(target: &OsStr, rate: u64) -> Self {
        let mut command = Command::new(LINK);
        // The link ends when its input ends, so it ends with the test even if that is killed.
        command.arg(target).arg(rate.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{LINK}: {error}"));
        let answers = RefCell::new(BufReader::new(child.stdout.take().expect("a pipe")));
        let mut link = Self { address: String::new(), child, answers };
        link.address = link.answer();
        link
    }

    fn answer(&self) -> String {
        let mut line = String::new();
        self.answers.borrow_mut().read_line(&mut line).expect("an answer");
        assert!(line.ends_with('\n'), "{LINK} has ended");
        line.trim_end().to_owned()
    }

    fn order(&self, order: &str) -> String {
        let mut orders = self.child.stdin.as_ref().expect("a pipe");
        orders.write_all(format!("{order}\n").as_bytes()).expect("the link runs");
        self.answer()
    }

    pub(super) fn set_rate(&self, rate: u64) {
        self.order(&format!("rate {rate}"));
    }

    pub(super) fn stall(&self) {
        self.order("stall");
    }

    pub(super) fn reset(&self) {
        self.order("reset");
    }

    /// The number of bytes that came from the target.
    pub(super) fn carried(&self) -> u64 {
        self.order("carried").parse().expect("a number")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
