//! Registries that are hostile, or are not registries: the agent ends within its time limit and 8 MB of memory, and one line
//! says what was wrong.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::Call;
use crate::fake::{Both, OCI, Server, digest, image};

const LIMIT: Duration = Duration::from_secs(1);

/// In KiB: 8 MB, and the additional memory of a build with debugging information.
const MEMORY_MAX: u64 = if cfg!(debug_assertions) { 12_000 } else { 7_812 };

/// The agent's answer, if the registry's answer is written by `handler`.
struct Case {
    name: &'static str,
    kind: &'static str,
    server: Server,
}

fn case(name: &'static str, kind: &'static str, handler: impl Fn(&mut dyn Both) + Send + Sync + 'static) -> Case {
    Case {
        name,
        kind,
        server: Server::listen("127.0.0.1:0", None, move |_, stream| {
            handler(stream);
            false
        }),
    }
}

/// Sends `start`, and then `more` again and again, with pauses, until the connection ends.
fn endless(name: &'static str, kind: &'static str, start: &'static str, more: &'static [u8], rest: Duration) -> Case {
    case(name, kind, move |stream| {
        let mut is_taken = stream.write_all(start.as_bytes()).is_ok();
        while is_taken {
            is_taken = stream.write_all(more).and_then(|()| stream.flush()).is_ok();
            thread::sleep(rest);
        }
    })
}

/// Sends these bytes and closes the connection.
fn bytes(name: &'static str, kind: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    let bytes = bytes.into();
    case(name, kind, move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

/// A correct answer with this body.
fn body(name: &'static str, kind: &'static str, text: &str) -> Case {
    bytes(name, kind, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
}

fn layers(count: usize) -> String {
    let layer = format!(r#"{{"digest":"{}","size":9223372036854775808}}"#, digest("aa"));
    format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, vec![layer; count].join(","))
}

fn cases() -> Vec<Case> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\n";
    let (slow, fast) = (Duration::from_millis(20), Duration::ZERO);
    let megabyte = "x".repeat(1_000_000);
    vec![
        endless("a body by the byte", "limit", "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b" ", slow),
        endless("headers by the line", "limit", HEAD, b"x: y\r\n", slow),
        endless("headers without end", "network", HEAD, b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", fast),
        endless(
            "chunks without end",
            "limit",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"4\r\n    \r\n",
            fast,
        ),
        endless("50 MB", "limit", "HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n", &[b' '; 4096], fast),
        case("silence", "limit", |_| thread::sleep(2 * LIMIT)),
        body("20,000 layers", "limit", &layers(20_000)),
        body("8,000 layers", "format", &layers(8_000)),
        body("half a million brackets", "format", &"[".repeat(500_000)),
        body("a megabyte of text", "format", &format!(r#"{{"a":"{megabyte}","layers":3}}"#)),
        body("schema 1", "format", r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:aa"}]}"#),
        body("HTML", "format", "<html>log in</html>"),
        body("nothing", "format", ""),
        bytes(
            "a length too short",
            "format",
            format!("{HEAD}content-length: 20\r\n\r\n{}", image(OCI[1], &[("aa", 1)])),
        ),
        bytes("a cut body", "network", format!("{HEAD}content-length: 1000\r\n\r\n{{")),
        bytes("a negative length", "network", format!("{HEAD}content-length: -1\r\n\r\n{{}}")),
        bytes("two lengths", "network", format!("{HEAD}content-length: 2\r\ncontent-length: 4\r\n\r\n{{}}{{}}")),
        bytes("a wrong chunk", "network", format!("{HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n")),
        bytes("no HTTP", "network", [0, 255].repeat(100)),
    ]
}

/// The answer, and the peak memory in KiB.
fn measured(call: &Call) -> (String, u64) {
    let child = call.start();
    let status = format!("/proc/{}/status", child.id());
    let watcher = thread::spawn(move || {
        let mut peak = 0;
        while let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(value) = line.and_then(|line| line.trim().strip_suffix(" kB")) else { break };
            peak = value.parse().unwrap_or(u64::MAX);
            thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    let output = child.wait_with_output().expect("the agent ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]), "{output:?}");
    (String::from_utf8(output.stdout).expect("UTF-8"), watcher.join().expect("a peak"))
}

#[test]
fn each_ends_within_its_limit_and_8_mb() {
    for Case { name, kind, server } in cases() {
        let limit = u64::try_from(LIMIT.as_millis()).expect("a second");
        let call = Call::sizes(&format!("{}/a:app", server.address)).with("/limit_ms", json!(limit));
        let begun = Instant::now();
        let (line, peak) = measured(&call);
        let took = begun.elapsed();
        assert!(line.contains(&format!(r#""kind":"{kind}""#)), "{name}: {line}");
        assert!(took < LIMIT + Duration::from_millis(500), "{name}: {took:?}");
        assert!(peak < MEMORY_MAX, "{name}: {peak} KiB");
    }
}
