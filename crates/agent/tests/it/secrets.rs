//! Where a password is while it is used: nowhere but in memory and at the registry.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::Call;
use crate::fake::{Server, answer};

const SECRET: &str = "hunter2-of-the-test";

#[test]
fn none_is_in_arguments_environment_answers_or_errors() {
    let server = Server::start(None, |request| {
        thread::sleep(Duration::from_millis(300));
        // Says back what it was shown, in every place that there is.
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
    // In a request that is none, too.
    let call = Call::sizes("a").with("/auth", json!(SECRET));
    let answer = call.ask();
    assert!(!answer.is_kind("request").line.contains(SECRET));
}

#[test]
fn no_core_file_is_left() {
    let server = Server::start(None, |_| {
        thread::sleep(Duration::from_secs(2));
        Vec::new()
    });
    let mut child = Call::sizes(&format!("{}/a:app", server.address)).login("user", SECRET).start();
    thread::sleep(Duration::from_millis(300));
    // What is not dumpable belongs to root and has no memory that its own user may read.
    let status = fs::read_to_string(format!("/proc/{}/coredump_filter", child.id()));
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{}/mem", child.id())).expect("it lives"));
    assert_eq!(owner, 0, "{status:?}");
    let raised =
        std::process::Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().expect("kill runs");
    assert!(raised.success());
    let ended = child.wait().expect("it ends");
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&ended), "{ended:?}");
}
