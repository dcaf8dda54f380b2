//! One request, one process, one answer.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, process};

use serde_json::{Value, json};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_alm-agent");

/// A directory that is removed at the end of its test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("alm-agent-{}-{name}", process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// For tests of what other users than root cannot do: another user, and a copy of the program that this user can start.
/// `None` if the test itself does not run as root.
pub(crate) fn another_user(scratch: &Scratch) -> Option<(PathBuf, u32)> {
    let program = scratch.0.join("alm-agent");
    // Another process copies it: if a parallel test forks while this process has the file open for writing, it is busy
    // and cannot be executed.
    let copied = Command::new("cp").args([Path::new(PROGRAM), &program]).status().expect("cp runs");
    assert!(copied.success());
    is_root().then_some((program, 65534))
}

pub(crate) struct Call {
    pub(crate) command: &'static str,
    pub(crate) body: Value,
    /// Root certificates instead of the system's.
    pub(crate) roots: Option<PathBuf>,
    /// The program's file and the user that it runs as, if not the test's own.
    pub(crate) user: Option<(PathBuf, u32)>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) line: String,
    pub(crate) json: Value,
    pub(crate) code: Option<i32>,
}

impl Call {
    /// A request for an engine 28 on amd64. Its /info only has the insecure networks that every engine reports.
    pub(crate) fn sizes(image: &str) -> Self {
        let info = json!({"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"], "IndexConfigs": {}, "Mirrors": []}});
        let body = json!({"do": "sizes", "image": image, "engine": "linux/amd64", "version": "28.5.2", "info": info, "auth": {}, "limit_ms": 4000});
        Self { command: "sizes", body, roots: None, user: None }
    }

    pub(crate) fn digest(image: &str) -> Self {
        let mut call = Self::sizes(image);
        call.command = "digest";
        call.with("/do", json!("digest"))
    }

    /// Sets the value at the JSON pointer.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        self.body.pointer_mut(parent).expect("a parent")[name] = value;
        self
    }

    /// No registry is insecure, so certificates of registries on loopback are verified too.
    pub(crate) fn verified(self) -> Self {
        self.with("/info/RegistryConfig/InsecureRegistryCIDRs", json!([]))
    }

    pub(crate) fn certs(self, certs_d: &Path) -> Self {
        self.with("/certs_d", json!(certs_d))
    }

    pub(crate) fn login(self, user: &str, password: &str) -> Self {
        self.with("/auth", json!({"username": user, "password": password, "serveraddress": "x"}))
    }

    pub(crate) fn start(&self) -> Child {
        let mut command = match &self.user {
            Some((program, user)) => {
                let mut command = Command::new(program);
                command.uid(*user).gid(*user);
                command
            }
            None => Command::new(PROGRAM),
        };
        command.arg(self.command).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.roots.iter().map(|path| ("SSL_CERT_FILE", path)));
        let mut child = command.spawn().expect("the agent starts");
        let mut stdin = child.stdin.take().expect("its standard input");
        stdin.write_all(self.body.to_string().as_bytes()).expect("the request is written");
        child
    }

    pub(crate) fn ask(&self) -> Answer {
        let output = self.start().wait_with_output().expect("the agent ends");
        let line = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert!(line.ends_with('\n') && line.lines().count() == 1 && line.len() < 65536, "{line:?}");
        let json = serde_json::from_str(&line).expect("JSON");
        Answer { line, json, code: output.status.code() }
    }
}

impl Answer {
    /// The layers in order, as `id size`.
    pub(crate) fn layers(&self) -> Vec<(String, u64)> {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_value(self.json["layers"].clone()).expect("layers")
    }

    #[track_caller]
    pub(crate) fn is_kind(&self, kind: &str) -> &Self {
        assert_eq!((self.json["kind"].as_str(), self.code), (Some(kind), Some(1)), "{self:?}");
        assert!(self.json["error"].as_str().is_some_and(|error| !error.is_empty()), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn has(&self, key: &str, value: &str) -> &Self {
        assert_eq!((self.json[key].as_str(), self.code), (Some(value), Some(0)), "{self:?}");
        self
    }
}
