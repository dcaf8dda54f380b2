//! Notices, tested with the whole program: `alm-agent --notify-file`, state files, and receivers on loopback.

mod outbox;
mod process;
mod receivers;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::agent::{PROGRAM, Scratch};
use crate::fake::{Server, answer};

const SECRET: &str = "hunter2OfTheTest";

/// A device with its state files, its outbox, and its file of receivers.
struct Device {
    scratch: Scratch,
    env: Vec<(&'static str, String)>,
}

impl Device {
    fn new(receivers: &[String]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let scratch = Scratch::new(&format!("notices-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let device = Self { scratch, env: Vec::new() };
        device.receivers(receivers);
        device
    }

    /// A device without an image, on which the agent has run once.
    fn seen(receivers: &[String]) -> Self {
        let device = Self::new(receivers);
        device.once(0);
        device
    }

    fn receivers(&self, receivers: &[String]) {
        let file = self.scratch.write("notify", format!("# people\n\n{}\n", receivers.join("\n")));
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// Writes the state of the image `name`; `more` are keys besides those that every state has.
    fn state(&self, name: &str, status: &str, text: &str, more: Value) {
        let mut state = json!({"v": 1, "id": name, "status": status, "text": text,
            "time": "2026-11-25T02:18:33Z", "since": "2026-11-25T02:18:33Z"});
        let Value::Object(more) = more else { panic!("no object") };
        state.as_object_mut().expect("an object").extend(more);
        let file = format!("state/docker.io%2Flibrary%2F{}.json", name.replace(':', "%3A"));
        self.scratch.write(&format!("{file}.new"), state.to_string());
        fs::rename(self.scratch.0.join(format!("{file}.new")), self.scratch.0.join(file)).expect("renamed");
    }

    fn fail(&self, name: &str, kind: &str) {
        let more = json!({"kind": kind, "details": "no space <left> & more", "hint": "make room",
            "failing_since": "2026-11-24T23:31:00Z", "attempts": 6});
        self.state(name, "Error", "Failed", more);
    }

    fn pull(&self, name: &str, digest: &str) {
        let pulled = format!("2026-11-25T03:00:{:02}Z", digest.len());
        self.state(
            name,
            "Done",
            "Pulled",
            json!({"pulled": pulled, "bytes": 7_000_000, "seconds": 2.0, "digest": digest}),
        );
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        let at = |name: &str| self.scratch.0.join(name);
        command.args(["--device", "pi-1", "--site", "Köln"]).arg("--notify-file").arg(at("notify"));
        command.arg("--state").arg(at("state")).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, option: Option<&str>) -> Child {
        self.command().args(option).spawn().expect("the agent starts")
    }

    fn run(&self, option: &str) -> Output {
        self.start(Some(option)).wait_with_output().expect("the agent ends")
    }

    /// Runs it with `--once`; it must end with `code`. Returns its output, which must not contain the secret.
    fn once(&self, code: i32) -> String {
        let output = self.run("--once");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        text
    }

    fn outbox(&self) -> PathBuf {
        self.scratch.0.join("state/outbox")
    }

    /// The messages in the outbox, by file.
    fn waiting(&self) -> HashMap<PathBuf, Value> {
        let files = fs::read_dir(self.outbox()).into_iter().flatten().flatten().map(|entry| entry.path());
        let files =
            files.filter(|file| file.extension().is_some_and(|end| end == "json") && !file.ends_with("noticed.json"));
        let read = |file: &Path| serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
        files.map(|file| (file.clone(), read(&file))).collect()
    }

    /// Ends the pauses between attempts, as if their time had passed.
    fn pass_time(&self) {
        for (file, mut waiting) in self.waiting() {
            waiting.as_object_mut().expect("an object").remove("after");
            fs::write(file, waiting.to_string()).expect("written");
        }
    }
}

/// The titles of the messages that a server of Apprise's JSON received.
fn titles(server: &Server) -> Vec<String> {
    let title =
        |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["title"].as_str().expect("a title").to_owned();
    server.requests().iter().map(|request| title(&request.body)).collect()
}

fn ok() -> Server {
    Server::start(None, |_| answer("200 OK", &[], "ok"))
}

fn apprise(server: &Server) -> String {
    format!("http://{}/notify/{SECRET}", server.address)
}
