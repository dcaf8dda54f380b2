//! The sizes of layers from `alm-agent`, and what happens if its answer is missing or wrong.

use super::*;
use std::fs;
use std::path::Path;

const FROM_APP: &str = r#"{"status":"Pulling from a","id":"1"}"#;

fn layer(status: &str, detail: &str, id: &str) -> String {
    format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#)
}

fn announced() -> Vec<String> {
    let mut lines = vec![FROM_APP.to_owned()];
    lines.extend(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"].map(|id| layer("Pulling fs layer", "", id)));
    lines.push(layer("Already exists", "", "cccccccccccc"));
    lines.push(layer("Downloading", r#""current":1000000,"total":10000000"#, "aaaaaaaaaaaa"));
    lines
}

fn finished() -> Vec<String> {
    let mut lines: Vec<String> = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"].map(|id| layer("Pull complete", "", id)).into();
    lines.push(STATUS.to_owned());
    lines
}

/// A correct answer of the agent, with this size of the second layer.
fn good(bytes: u64) -> String {
    format!(
        "cat >question; echo '{{\"digest\":null,\"platform\":null,\"layers\":[[\"aaaaaaaaaaaa\",10000000],\
        [\"bbbbbbbbbbbb\",{bytes}],[\"cccccccccccc\",7]],\"total\":0,\"asked\":\"x\"}}'"
    )
}

struct Pulled {
    temp: Temp,
    ended: Ended,
    requests: Vec<String>,
}

/// Pulls with this script as the agent, or without an agent if it is empty. The engine continues after the agent has had time
/// to answer.
fn pull_with(agent: &str, info: &str, options: &[&str]) -> Pulled {
    pull_from(r#"{"Version":"20.10.24","Os":"linux","Arch":"arm"}"#, agent, info, options)
}

/// The same with an engine of this version.
fn pull_from(version: &'static str, agent: &str, info: &str, options: &[&str]) -> Pulled {
    let temp = Temp::new();
    // A copy of the program in its own directory, so that PATH decides which agent is found.
    let own = temp.join("own");
    fs::create_dir(&own).expect("a directory");
    let program_ = own.join("pull");
    fs::copy(crate::support::PROGRAM, &program_).expect("a copy");
    if !agent.is_empty() {
        temp.script("alm-agent", &format!("PATH=/usr/bin:/bin; cd {}; {agent}", temp.display()));
    }
    let info = info.replace("HOST", fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim());
    let info = info.replace("ROOT", &temp.at(""));
    let engine = Engine::serve(&temp.join("docker.sock"), move |request| {
        let stream = [announced(), finished()]
            .map(|lines| lines.iter().fold(Vec::new(), |all, line| [all, chunk(line)].concat()));
        let [begin, rest] = stream;
        match request.line.split(' ').nth(1).unwrap_or_default() {
            "/_ping" => vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK".to_vec())],
            "/v1.41/info" => vec![Step::Write(answer(200, &info))],
            "/v1.41/version" => vec![Step::Write(answer(200, version))],
            _ => vec![Step::Write([head(), begin].concat()), Step::Wait, Step::Write([rest, LAST_CHUNK.to_vec()].concat())],
        }
    });
    let mut command = crate::support::clean(Command::new(&program_), &temp);
    command.args([
        "--retries",
        "0",
        "--host",
        &engine.host(),
        "--log",
        &temp.at("log"),
        "--record",
        &temp.at("r.jsonl"),
    ]);
    let running = Running::start(command.args(options).arg(temp.image()));
    // Longer than the agent of any test takes.
    std::thread::sleep(Duration::from_millis(1500));
    engine.go();
    let ended = running.end();
    let requests = engine.requests().into_iter().map(|request| request.line).collect();
    Pulled { temp, ended, requests }
}

const INFO: &str = r#"{"Name":"HOST","DockerRootDir":"ROOT","DriverStatus":[["Backing Filesystem","extfs"]],"RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"]},"HttpProxy":"","HttpsProxy":"","NoProxy":"x","Warnings":null}"#;

#[track_caller]
fn check_unknown(pulled: &Pulled) {
    assert_eq!((pulled.ended.code, pulled.ended.stderr.as_str()), (Some(0), ""), "{}", pulled.ended.stdout);
    assert!(!pulled.ended.stdout.contains("📏"), "{}", pulled.ended.stdout);
    assert!(!pulled.temp.read("r.jsonl").contains(",\"s\","));
    assert!(pulled.ended.stdout.contains("Downloaded: ≥10MB in "), "{}", pulled.ended.stdout);
    replays_like(&pulled.temp, &pulled.ended, "unknown");
}

#[test]
fn the_agents_answer_is_shown_and_replayed() {
    let pulled = pull_with(&good(5_000_000), INFO, &[]);
    assert_eq!((pulled.ended.code, pulled.ended.stderr.as_str()), (Some(0), ""), "{}", pulled.ended.stdout);
    let log = pulled.temp.read("log");
    assert!(log.contains("📏 To download: 15MB in 2 layers (1 cached)"), "{log}");
    assert!(log.contains("Downloaded: 15MB in "), "{log}");
    let recorded = pulled.temp.read("r.jsonl");
    assert!(recorded.contains(
        r#""s",{"layers":[["aaaaaaaaaaaa",10000000],["bbbbbbbbbbbb",5000000],["cccccccccccc",7]],"total":15000007}]"#
    ));
    assert!(recorded.contains(r#""s",{"room":{"containerd":false,"twice":"#), "{recorded}");
    replays_like(&pulled.temp, &pulled.ended, "sizes");

    let request = pulled.temp.read("question");
    for part in [
        r#""do":"sizes""#,
        r#""engine":"linux/arm""#,
        r#""version":"20.10.24""#,
        r#""NoProxy":"x""#,
        r#""auth":{}"#,
        r#""limit_ms":4000"#,
        &format!(r#""image":"{}""#, pulled.temp.image()),
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    assert!(!request.contains("DockerRootDir"), "{request}");
}

#[test]
fn an_agent_that_fails_changes_nothing() {
    for agent in [
        "",
        "exit 1",
        "kill -9 $$",
        "cat >/dev/null; echo '{\"kind\":\"auth\",\"error\":\"x\"}'; exit 1",
        "echo not json",
        "sleep 30",
        "yes",
        "head -c 1000000 /dev/zero",
        "exec >&-; sleep 30",
        "trap '' TERM; sleep 30 & wait",
    ] {
        check_unknown(&pull_with(agent, INFO, &[]));
    }
    // An answer for another image, one with an impossible size, and one from an agent that fails after its answer.
    check_unknown(&pull_with(&good(1 << 63), INFO, &[]));
    check_unknown(&pull_with(&format!("{}; exit 1", good(5)), INFO, &[]));
}

#[test]
fn an_answer_of_another_image_is_forgotten() {
    let agent = good(5_000_000).replace("bbbbbbbbbbbb", "dddddddddddd");
    let pulled = pull_with(&agent, INFO, &[]);
    assert_eq!(pulled.ended.code, Some(0));
    assert!(!pulled.ended.stdout.contains("📏") && pulled.ended.stdout.contains("Downloaded: ≥10MB in "));
    replays_like(&pulled.temp, &pulled.ended, "another image");
}

#[test]
fn it_is_asked_only_where_the_engine_is_this_host() {
    for info in [
        INFO.replace("HOST", "elsewhere"),
        INFO.replace("RegistryConfig", "Other"),
        "{}".to_owned(),
        "not json".to_owned(),
    ] {
        let pulled = pull_with(&good(5_000_000), &info, &[]);
        check_unknown(&pulled);
        assert!(!Path::new(&pulled.temp.at("question")).exists(), "{info}");
    }
    let podman =
        r#"{"Version":"4.3.1","Os":"linux","Arch":"arm","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#;
    let pulled = pull_from(podman, &good(5_000_000), INFO, &[]);
    check_unknown(&pulled);
    assert!(!Path::new(&pulled.temp.at("question")).exists());
    let pulled = pull_with(&good(5_000_000), INFO, &["--sizes", "never"]);
    check_unknown(&pulled);
    assert!(pulled.requests.iter().all(|line| !line.contains("/info")), "{:?}", pulled.requests);
    // Without an agent there are no requests for sizes.
    let pulled = pull_with("", INFO, &["--sizes", "always"]);
    assert!(pulled.requests.iter().all(|line| !line.contains("/info")), "{:?}", pulled.requests);
}

#[test]
fn what_cannot_fit_is_ended_before_it_is_paid_for() {
    // Half a terabyte: no /dev/shm is that large.
    let pulled = pull_with(&good(1 << 39), &INFO.replace("ROOT", "/dev/shm"), &[]);
    assert_eq!(pulled.ended.code, Some(1));
    let reason = text_after(&pulled.ended.stdout, "❌ PULL FAILED: ");
    assert!(reason.starts_with("no space left on device for this image: it needs at least 549.7GB more"), "{reason}");
    assert!(reason.ends_with(" are free"), "{reason}");
    assert!(text_after(&pulled.ended.stdout, "💡 ").contains("docker image prune"), "{}", pulled.ended.stdout);
    assert!(pulled.temp.read("r.jsonl").contains(r#""kind":"disk-full""#));
    replays_like(&pulled.temp, &pulled.ended, "no room");
}
