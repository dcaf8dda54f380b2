//! Notices as people get them: `alm-agent --notify-file`, states in files, and receivers on loopback.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{PROGRAM, Scratch};
use crate::fake::{Server, answer};
use crate::hub::Proxy;
use crate::pki::Authority;

const SECRET: &str = "hunter2OfTheTest";

/// A device with its states, its outbox and the file of its receivers.
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

    /// One of which the agent has seen that it has no image.
    fn seen(receivers: &[String]) -> Self {
        let device = Self::new(receivers);
        device.once(0);
        device
    }

    fn receivers(&self, receivers: &[String]) {
        let file = self.scratch.write("notify", format!("# people\n\n{}\n", receivers.join("\n")));
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// Writes the state of the image `name` with these keys besides those that each has.
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

    /// A run that ends with `code`; its journal, which never has the secret.
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

    /// What waits in the outbox, by file.
    fn waiting(&self) -> HashMap<PathBuf, Value> {
        let files = fs::read_dir(self.outbox()).into_iter().flatten().flatten().map(|entry| entry.path());
        let files =
            files.filter(|file| file.extension().is_some_and(|end| end == "json") && !file.ends_with("noticed.json"));
        let read = |file: &Path| serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
        files.map(|file| (file.clone(), read(&file))).collect()
    }

    /// Lets the time pass for which a receiver is left alone.
    fn pass_time(&self) {
        for (file, mut waiting) in self.waiting() {
            waiting.as_object_mut().expect("an object").remove("after");
            fs::write(file, waiting.to_string()).expect("written");
        }
    }
}

/// The texts of what a server of Apprise's JSON was sent.
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

#[test]
fn each_receiver_hears_of_each_change_once_in_its_own_words() {
    let (slack, ntfy, json) = (ok(), ok(), ok());
    let device = Device::seen(&[
        format!("http://{}/api/{SECRET}/slack", slack.address),
        format!("ntfy://:{SECRET}@{}/topic", ntfy.address),
        apprise(&json),
    ]);
    device.fail("app:1", "disk-full");
    let journal = device.once(0);
    assert_eq!(journal.matches("was delivered").count(), 3, "{journal}");
    let body = |server: &Server| serde_json::from_str::<Value>(&server.requests()[0].body).expect("JSON");
    let title = "pi-1 (Köln): app:1 cannot be pulled: no space <left> & more";
    let rest = "What to do: make room\nFailing since 2026-11-24 23:31 UTC, 6 runs.";
    let escaped = format!("{title}\n{rest}").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(body(&slack), json!({"text": escaped, "mrkdwn": false}));
    assert_eq!(slack.lines(), [format!("POST /api/{SECRET}/slack")]);
    let expected = json!({"topic": "topic", "title": title, "message": rest, "priority": 4, "tags": ["warning"]});
    assert_eq!((body(&ntfy), ntfy.lines()), (expected, vec!["POST /".to_owned()]));
    assert_eq!(ntfy.authorizations().len(), 1);
    let expected = json!({"version": "1.0", "title": title, "message": rest, "attachments": [], "type": "failure"});
    assert_eq!(body(&json), expected);
    // The same again, and what is up to date, are no news; a recovery is, and a new image, and a rollback.
    device.once(0);
    device.state("other:1", "Done", "Up to date", json!({}));
    device.once(0);
    assert_eq!(json.requests().len(), 1);
    device.state("app:1", "Done", "Up to date", json!({}));
    device.once(0);
    device.pull("app:1", "sha256:12");
    device.once(0);
    device.once(0);
    device.scratch.write(
        "state/container/web.json",
        r#"{"v":1,"name":"web","image":"app:1","digest":"sha256:1","status":"Rolled back","since":"2026-11-25T02:18:33Z","details":"unhealthy"}"#,
    );
    device.once(0);
    device.once(0);
    let expected = [
        title,
        "pi-1 (Köln): app:1 works again",
        "pi-1 (Köln): app:1 has a new image",
        "pi-1 (Köln): container web was rolled back from the new app:1: unhealthy",
    ];
    assert_eq!(titles(&json), expected);
    assert_eq!((slack.requests().len(), ntfy.requests().len()), (4, 4));
    assert!(device.waiting().is_empty());
}

#[test]
fn more_than_three_are_one_message() {
    let server = ok();
    let device = Device::seen(&[apprise(&server)]);
    for at in 0..5 {
        device.fail(&format!("app:{at}"), "network");
    }
    device.once(0);
    assert_eq!(titles(&server), ["pi-1 (Köln): 5 notices, 5 of failures"]);
    for at in 0..3 {
        device.state(&format!("app:{at}"), "Done", "Up to date", json!({}));
    }
    device.once(0);
    assert_eq!(titles(&server).len(), 4);
}

#[test]
fn a_receiver_that_says_when_is_not_asked_before() {
    for retry in ["3600", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        let answers = Arc::new(Mutex::new(vec![
            answer("200 OK", &[], ""),
            answer("429 Too Many Requests", &[("retry-after", retry)], ""),
        ]));
        let server = Server::start(None, move |_| answers.lock().expect("answers").pop().expect("asked too often"));
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let journal = device.once(1);
        assert!(journal.contains("tried again") && journal.contains("429"), "{journal}");
        // Not even after a restart.
        device.once(1);
        assert_eq!(server.requests().len(), 1);
        let waiting = device.waiting();
        let after = waiting.values().next().expect("one waits")["after"].as_str().expect("a time").to_owned();
        assert!(*after > *"2026-11-28T00:00:00Z", "{after}");
        device.pass_time();
        device.once(0);
        assert_eq!(server.requests().len(), 2);
        assert!(device.waiting().is_empty());
    }
}

#[test]
fn what_becomes_of_a_notice_by_what_is_answered() {
    for (status, waits) in [
        ("200 OK", false),
        ("204 No Content", false),
        ("400 Bad Request", false),
        ("404 Not Found", false),
        ("410 Gone", false),
        ("408 Request Timeout", true),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
        ("302 Found", true),
    ] {
        let server = Server::start(None, move |request| {
            // Says back what it was sent, as some do.
            answer(status, &[("location", &format!("http://127.0.0.1:1/{SECRET}"))], &format!("no {}", request.path))
        });
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let journal = device.once(i32::from(waits));
        assert!(journal.contains(&status[..3]), "{status}: {journal}");
        assert_eq!(
            journal.contains("given up"),
            status.starts_with("40") && !waits || status.starts_with("410"),
            "{journal}"
        );
        assert_eq!((device.waiting().len(), server.requests().len()), (usize::from(waits), 1), "{status}");
    }
}

#[test]
fn a_third_attempt_that_ends_unclear_is_the_last() {
    let server = Server::start(None, |_| answer("502 Bad Gateway", &[], ""));
    let device = Device::seen(&[apprise(&server)]);
    device.fail("app:1", "network");
    for count in 1..=2 {
        device.once(1);
        assert_eq!(device.waiting().values().next().expect("it waits")["unclear"], count);
        device.once(1);
        assert_eq!(server.requests().len(), count, "it is left alone for a while");
        device.pass_time();
    }
    let journal = device.once(0);
    assert!(journal.contains("is given up after 3 attempts: 502"), "{journal}");
    assert_eq!((device.waiting().len(), server.requests().len()), (0, 3));
}

#[test]
fn a_receiver_that_was_not_reached_is_waited_for() {
    let authority = Authority::new();
    let tls = authority.identity(&["127.0.0.1"]).server(None);
    let unknown = Server::start(Some(tls), |_| answer("200 OK", &[], ""));
    let closed = ok().address.clone();
    for (url, why) in [
        (format!("https://{}/{SECRET}", unknown.address), "TLS: "),
        (format!("http://{closed}/{SECRET}"), "refused"),
        (format!("https://nobody.invalid/{SECRET}"), "failed to lookup address"),
    ] {
        let mut device = Device::new(std::slice::from_ref(&url));
        let roots = device.scratch.write("roots.pem", Authority::new().pem);
        device.env.push(("SSL_CERT_FILE", roots.display().to_string()));
        device.once(0);
        device.fail("app:1", "network");
        for _ in 0..4 {
            let journal = device.once(1);
            assert!(journal.contains(why) && journal.contains("tried again"), "{url}: {journal}");
        }
        assert_eq!(device.waiting().len(), 1);
        let server = ok();
        device.receivers(&[apprise(&server)]);
        device.once(0);
        assert!(device.waiting().is_empty(), "what waits for a receiver that is gone goes");
    }
    assert!(unknown.requests().is_empty());
}

#[test]
fn slack_by_its_own_name_through_a_proxy() {
    let authority = Authority::new();
    let tls = authority.identity(&["hooks.slack.com"]).server(None);
    let slack = Server::start(Some(tls), |_| answer("200 OK", &[], "ok"));
    let proxy = Proxy::start(&slack.address);
    let mut device = Device::new(&[format!("https://hooks.slack.com/services/T0/B0/{SECRET}")]);
    let roots = device.scratch.write("roots.pem", authority.pem);
    device.env = vec![
        ("SSL_CERT_FILE", roots.display().to_string()),
        ("HTTPS_PROXY", format!("http://user:word@{}", proxy.address)),
    ];
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("pi-1 (Köln): a test\n"), "{text}");
    assert!(text.ends_with("line 3, Slack at https://hooks.slack.com: delivered, 200 OK\n"), "{text}");
    assert_eq!(proxy.asked(), ["CONNECT hooks.slack.com:443 HTTP/1.1"]);
    assert_eq!(slack.lines(), [format!("POST /services/T0/B0/{SECRET}")]);
    device.env[1].1 = "socks5://127.0.0.1:1".into();
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not delivered, the proxy in the environment is not understood"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    // A proxy that is not there.
    device.env[1].1 = "127.0.0.1:1".into();
    assert!(String::from_utf8_lossy(&device.run("--test-notice").stdout).contains("not delivered, "));
}

#[test]
fn the_test_reports_each_answer() {
    let (good, bad) = (ok(), Server::start(None, |_| answer("403 Forbidden", &[], "invalid_token\nmore")));
    let echo = Server::start(None, |request| answer("404 Not Found", &[], &format!("Cannot POST {}", request.path)));
    let device = Device::new(&[apprise(&good), apprise(&bad), apprise(&echo)]);
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("line 3, Apprise at http://127.0.0.1: delivered, 200 OK\n"), "{text}");
    assert!(text.contains("line 4, Apprise at http://127.0.0.1: refused, 403 Forbidden: invalid_token\n"), "{text}");
    assert!(text.ends_with("line 5, Apprise at http://127.0.0.1: refused, 404 Not Found\n"), "{text}");
    assert!(!text.contains(SECRET) && output.stderr.is_empty());
    assert!(!device.outbox().exists(), "a test leaves nothing");
}

#[test]
fn a_file_that_is_wrong_is_named_and_not_shown() {
    let device = Device::new(&[format!("gopher://{SECRET}")]);
    let check = |expected: &str| {
        let output = device.run("--once");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected) && text.contains("/notify") && !text.contains(SECRET), "{text}");
    };
    check("line 3: this is no address");
    device.receivers(&[]);
    check("has 0 addresses");
    device.receivers(&["https://a.test/".to_owned()]);
    fs::set_permissions(device.scratch.0.join("notify"), fs::Permissions::from_mode(0o644)).expect("its mode");
    check("can be read by everybody");
    fs::remove_file(device.scratch.0.join("notify")).expect("it was there");
    check("No such file");
}

/// All processes that `parent` started, and it.
fn family(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([parent]).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_address_is_nowhere_to_be_seen_and_a_receiver_that_hangs_keeps_nothing_waiting() {
    // One says nothing, one a byte a second: neither ends by itself.
    let hang = Server::listen("127.0.0.1:0", None, |_, _| {
        thread::sleep(Duration::from_mins(1));
        false
    });
    let trickle = Server::listen("127.0.0.1:0", None, |_, stream| {
        for byte in b"HTTP/1.1 200 OK\r\nx-a: ".iter().chain([b'x'; 100].iter()) {
            if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
                break;
            }
            thread::sleep(Duration::from_secs(1));
        }
        false
    });
    let check = |server: &Server| {
        let device = Device::seen(&[apprise(server)]);
        device.fail("app:1", "network");
        let child = device.start(Some("--once"));
        wait_for("it is asked", || !server.requests().is_empty());
        let family = family(child.id());
        assert_eq!(family.len(), 2, "the service and what delivers");
        for pid in &family {
            for file in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).expect("it lives");
                assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
            }
        }
        for entry in fs::read_dir(device.outbox()).expect("the outbox").flatten() {
            let text = fs::read_to_string(entry.path()).expect("a file");
            assert!(!text.contains(SECRET) && !entry.file_name().to_string_lossy().contains(SECRET));
            assert_eq!(entry.metadata().expect("a file").mode() & 0o777, 0o600);
        }
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("no answer in time; they are tried again") && !text.contains(SECRET), "{text}");
        assert_eq!(device.waiting().values().next().expect("it waits")["unclear"], 1);
    };
    thread::scope(|scope| {
        scope.spawn(|| check(&hang));
        scope.spawn(|| check(&trickle));
    });
}

#[test]
fn no_core_file_is_left_of_the_service_or_of_what_delivers() {
    let hang = Server::listen("127.0.0.1:0", None, |_, _| {
        thread::sleep(Duration::from_mins(1));
        false
    });
    let device = Device::seen(&[apprise(&hang)]);
    device.fail("app:1", "network");
    let cores = device.scratch.0.join("cores");
    fs::create_dir_all(&cores).expect("a directory");
    let allowed = |command: &Command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]).arg(command.get_program());
        shell.args(command.get_args()).current_dir(&cores).stderr(Stdio::null()).spawn().expect("it starts")
    };
    let abort = |pid: u32| {
        assert!(Command::new("kill").args(["-ABRT", &pid.to_string()]).status().expect("kill runs").success());
    };
    let left = || fs::read_dir(&cores).expect("the directory").flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    // Any other process leaves one here: without that, the rest would say nothing.
    let mut other = Command::new("sleep");
    let mut other = allowed(other.arg("60"));
    let comm = format!("/proc/{}/comm", other.id());
    wait_for("it runs", || fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep"));
    abort(other.id());
    assert!(other.wait().expect("it ends").core_dumped(), "this machine lets no process leave a core file");
    for file in left() {
        fs::remove_file(file).expect("it goes");
    }
    let mut command = device.command();
    command.arg("--once");
    let mut child = allowed(&command);
    wait_for("it is asked", || !hang.requests().is_empty());
    let delivers = family(child.id())[0];
    assert_ne!(delivers, child.id());
    abort(delivers);
    // The service takes that for an attempt of which nobody knows the end.
    wait_for("it is noted", || device.waiting().values().all(|waiting| waiting["unclear"] == 1));
    let _ = child.wait();
    let mut service = allowed(&device.command());
    thread::sleep(Duration::from_millis(300));
    abort(service.id());
    assert!(!service.wait().expect("it ends").core_dumped());
    assert!(left().is_empty(), "{:?}", left());
}

#[test]
fn killed_at_any_step_it_loses_nothing_and_repeats_only_what_was_answered() {
    let (mut repeated, mut early) = (0, 0);
    for step in 0..60 {
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        let server = Server::start(None, move |_| {
            log.lock().expect("the log").push(Instant::now());
            thread::sleep(Duration::from_millis(8));
            answer("200 OK", &[], "")
        });
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let mut child = device.start(Some("--once"));
        thread::sleep(Duration::from_millis(step));
        child.kill().expect("killed, or it has ended");
        child.wait().expect("it ends");
        let killed = Instant::now();
        thread::sleep(Duration::from_millis(20));
        let before = received.lock().expect("the log").iter().filter(|at| **at <= killed).count();
        let is_left = !device.waiting().is_empty();
        device.once(0);
        let count = received.lock().expect("the log").len();
        assert!(device.waiting().is_empty());
        if before == 0 {
            early += 1;
            assert!((1..=2).contains(&count), "{step}");
        } else {
            // Once more where its file was not removed yet.
            assert_eq!(count, 1 + usize::from(is_left), "{step}");
        }
        repeated += usize::from(count == 2);
        // And never again.
        device.once(0);
        assert_eq!(received.lock().expect("the log").len(), count);
    }
    assert!(early > 0 && early < 60 && repeated < 60, "{early} before it was sent, {repeated} repeated");
}

#[test]
fn a_signal_during_an_attempt_waits_for_the_answer() {
    let server = Server::start(None, |_| {
        thread::sleep(Duration::from_millis(700));
        answer("200 OK", &[], "")
    });
    let device = Device::seen(&[apprise(&server)]);
    device.fail("app:1", "network");
    device.fail("app:2", "network");
    let child = device.start(Some("--once"));
    wait_for("it is asked", || !server.requests().is_empty());
    let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((text.matches("was delivered").count(), device.waiting().len()), (1, 1), "{text}");
    // What waited is sent by the next, and the first is not repeated.
    device.once(0);
    assert_eq!(titles(&server).len(), 2);
}

#[test]
fn a_service_for_notices_alone() {
    let server = ok();
    let device = Device::new(&[apprise(&server)]);
    let mut child = device.start(None);
    wait_for("it has seen the states", || device.outbox().join("noticed.json").exists());
    device.pull("app:1", "sha256:12");
    // A random part of half a minute, and the next judging.
    wait_for("it is delivered", || !server.requests().is_empty());
    assert_eq!(titles(&server), ["pi-1 (Köln): app:1 has a new image"]);
    Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_full_disk_delays_nothing_where_the_spare_was_made_and_loses_nothing_where_not() {
    let server = ok();
    let device = Device::new(&[apprise(&server)]);
    fs::create_dir_all(device.outbox()).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(device.outbox()).status();
    assert!(mounted.expect("mount runs").success(), "needs root");
    let fill = || {
        // To the last byte.
        let _ = fs::write(device.outbox().join("filler"), vec![0; 512 * 1024]);
    };
    let check = || {
        device.once(0);
        fill();
        device.fail("app:1", "disk-full");
        device.once(0);
        assert_eq!(titles(&server).len(), 1);
        // Nothing is left of the space now.
        fill();
        for at in 2..6 {
            device.fail(&format!("app:{at}"), "disk-full");
        }
        let journal = device.once(0);
        assert!(journal.contains("cannot be kept in") || titles(&server).len() == 2, "{journal}");
        fs::remove_file(device.outbox().join("filler")).expect("it was there");
        device.once(0);
        device.once(0);
        assert_eq!(titles(&server).len(), 2, "{:?}", titles(&server));
        assert_eq!(titles(&server)[1], "pi-1 (Köln): 4 notices, 4 of failures");
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    assert!(Command::new("umount").arg(device.outbox()).status().expect("umount runs").success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
