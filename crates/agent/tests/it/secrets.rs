//! A password is only in memory and at the registry, and nowhere else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::{Call, PROGRAM, Scratch, another_user, is_root};
use crate::fake::{Server, answer};

const SECRET: &str = "hunter2-of-the-test";

#[test]
fn none_is_in_arguments_environment_answers_or_errors() {
    let server = Server::start(None, |request| {
        thread::sleep(Duration::from_millis(300));
        // This registry returns the credentials in every part of its answer.
        let shown = request.header("authorization").unwrap_or_default().to_owned();
        if request.path.starts_with("/token") || request.path.contains("/json/") {
            return answer(
                "200 OK",
                &[("docker-content-digest", &shown)],
                &format!("{{\"layers\":\"{shown}\",\"a\":\"{SECRET}\"}}"),
            );
        }
        match shown.as_str() {
            "" => answer("401 Unauthorized", &[("www-authenticate", "Basic realm=\"x\"")], "{}"),
            _ => answer("302 Found", &[("location", &format!("ftp://{SECRET}@127.0.0.1/{shown}"))], &shown),
        }
    });
    for name in ["moved", "json/a"] {
        for command in ["sizes", "digest"] {
            let image = format!("{}/{name}:app", server.address);
            let call = if command == "sizes" { Call::sizes(&image) } else { Call::digest(&image) };
            let call = call.login("user", SECRET);
            let child = call.start();
            let (mut samples, begun) = (0, Instant::now());
            while begun.elapsed() < Duration::from_millis(250) {
                for file in ["cmdline", "environ", "comm"] {
                    let bytes = fs::read(format!("/proc/{}/{file}", child.id())).unwrap_or_default();
                    assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
                    samples += usize::from(!bytes.is_empty());
                }
                thread::sleep(Duration::from_millis(5));
            }
            assert!(samples > 10, "it was gone before it could be looked at");
            let output = child.wait_with_output().expect("the agent ends");
            for bytes in [&output.stdout, &output.stderr] {
                let text = String::from_utf8_lossy(bytes);
                assert!(!text.contains(SECRET) && !text.contains("dXNlcjpodW50ZXIy"), "{text}");
            }
        }
    }
    // Also if the request is invalid.
    let call = Call::sizes("a").with("/auth", json!(SECRET));
    let answer = call.ask();
    assert!(!answer.is_kind("request").line.contains(SECRET));
}

#[test]
fn no_core_file_is_left_and_nobody_reads_its_memory() {
    let server = Server::start(None, |_| {
        thread::sleep(Duration::from_secs(2));
        Vec::new()
    });
    // Not as root, which could read the memory of any process.
    let scratch = Scratch::new("core");
    let another = another_user(&scratch);
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).expect("permissions");
    let (program, user) = another.unwrap_or_else(|| (PROGRAM.into(), fs::metadata("/proc/self").expect("/proc").uid()));
    let run = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited 2>/dev/null || ulimit -c $(ulimit -Hc); exec \"$@\"", "sh"]);
        command.args(["setpriv", &format!("--reuid={user}"), "--clear-groups"].iter().filter(|_| is_root()));
        command.args(words).current_dir(&scratch.0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("sh")
    };
    let is_readable =
        |pid: u32| run(&["head", "-c", "0", &format!("/proc/{pid}/mem")]).wait().expect("it ends").success();
    let leaves_core = |mut child: Child| {
        let raised = Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().expect("kill runs");
        assert!(raised.success());
        child.wait().expect("it ends").core_dumped()
    };
    let mut child = run(&[program.to_str().expect("UTF-8"), "sizes"]);
    let call = Call::sizes(&format!("{}/a:app", server.address)).login("user", SECRET);
    let mut stdin = child.stdin.take().expect("its standard input");
    stdin.write_all(call.body.to_string().as_bytes()).expect("the request is written");
    drop(stdin);
    let other = run(&["sleep", "20"]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.lines().len(), 1, "it waits for the registry");

    // The same attempt must succeed for another program of that user, or this test would prove nothing.
    assert!(is_readable(other.id()) && !is_readable(child.id()));
    assert!(leaves_core(other), "no program leaves a core file here: ulimit -Hc is 0");
    assert!(!leaves_core(child));
}
