//! Settings that docker's own client takes from its environment and configuration.

mod attempts;

use super::*;
use crate::support::eventually;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The registry broke off after some bytes, in the words of a graphdriver store.
const RESET: &str =
    r#"{"errorDetail":{"message":"read tcp: connection reset by peer"},"error":"read tcp: connection reset by peer"}"#;

/// The requests that an engine got.
fn lines(engine: &Engine) -> Vec<String> {
    engine.requests().into_iter().map(|request| request.line).collect()
}

/// An engine that answers successive pulls with `pulls` (and all further ones with the last of them), and other requests with
/// `others`. Returns also the times of the pulls.
fn engine(temp: &Temp, pulls: Vec<Vec<Step>>, others: &[(&'static str, String)]) -> (Engine, Arc<Mutex<Vec<Instant>>>) {
    let (count, moments) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
    let (others, noted) = (others.to_vec(), Arc::clone(&moments));
    let engine = Engine::serve(&temp.join("docker.sock"), move |request: &Request| {
        if request.line.ends_with("/_ping") {
            let version = "Api-Version: 1.41\r\nServer: Docker/20.10.24 (linux)";
            return vec![Step::Write(format!("HTTP/1.1 200 OK\r\n{version}\r\nContent-Length: 2\r\n\r\nOK").into())];
        }
        if request.line.starts_with("POST ") {
            noted.lock().expect("nobody panics with it").push(Instant::now());
            let at = count.fetch_add(1, Ordering::Relaxed).min(pulls.len() - 1);
            return pulls[at].clone();
        }
        let known = others.iter().find(|(path, _)| request.line.contains(path));
        vec![Step::Write(known.map_or_else(|| answer(404, "{}"), |(_, body)| answer(200, body)))]
    });
    (engine, moments)
}

fn retrying(temp: &Temp, engine: &Engine, retries: &str) -> Command {
    let mut command = program(temp);
    command.args(["--log", &temp.at("log"), "--record", &temp.at("r.jsonl"), "--retries", retries]);
    command.args(["--host", &engine.host(), &temp.image()]);
    command
}

#[test]
fn credentials_and_the_api_are_searched_for_again() {
    let temp = Temp::new();
    let token = temp.write("token", "first");
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file of ours");
    let api = Arc::new(Mutex::new("1.41"));
    let (now, count) = (Arc::clone(&api), AtomicUsize::new(0));
    let engine = Engine::serve(&temp.join("docker.sock"), move |request: &Request| {
        if request.line.ends_with("/_ping") {
            let version = *now.lock().expect("nobody panics with it");
            let head = format!("HTTP/1.1 200 OK\r\nApi-Version: {version}\r\nContent-Length: 2\r\n\r\nOK");
            return vec![Step::Write(head.into())];
        }
        match request.line.starts_with("POST ") {
            // It breaks off in the middle.
            true if count.fetch_add(1, Ordering::Relaxed) == 0 => vec![begun(&GOOD[..2])],
            true => whole(GOOD),
            false => vec![Step::Write(answer(404, "{}"))],
        }
    });
    let running = Running::start(retrying(&temp, &engine, "1").args(["--token-file", &token]));
    assert!(eventually(LIMIT, || temp.read("log").contains("🔁 Retry 1/1 in 5s: the engine broke off")));
    temp.write("token", "second");
    *api.lock().expect("nobody panics with it") = "1.44";
    std::fs::create_dir(temp.join(".docker")).expect("a directory");
    temp.write(".docker/config.json", r#"{"HttpHeaders":{"X-New":"yes"}}"#);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let pulls: Vec<_> = engine.requests().into_iter().filter(|request| request.line.starts_with("POST ")).collect();
    assert!(pulls[0].line.starts_with("POST /v1.41/") && pulls[1].line.starts_with("POST /v1.44/"), "{pulls:?}");
    let auth = |at: usize| pulls[at].header("x-registry-auth").map(str::to_owned);
    assert!(auth(0).is_some() && auth(0) != auth(1), "{pulls:?}");
    assert_eq!((pulls[0].header("x-new"), pulls[1].header("x-new")), (None, Some("yes")));
}

#[test]
fn headers_of_the_configuration_go_with_every_request() {
    let temp = Temp::new();
    std::fs::create_dir(temp.join(".docker")).expect("a directory");
    let config = r#"{"HttpHeaders":{"X-Meta-Site":"berlin","Host":"evil","host":"evil","Content-Length":"7",
        "transfer-encoding":"chunked","CONNECTION":"keep-alive","x-registry-AUTH":"evil","X-Split":"a\r\nX-Evil: b",
        "X-Evil\r\nX-B":"c","Ok":"d"}}"#;
    temp.write(".docker/config.json", config);
    let engine = Engine::new(&temp, whole(GOOD));
    let ended = run(&mut pull(&temp, &engine));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    run(program(&temp).args(["--host", &engine.host(), "--check", &temp.image()]));
    run(program(&temp).args(["--host", &engine.host(), "--running", "web", &temp.image()]));
    let requests = engine.requests();
    assert!(requests.len() >= 6, "{requests:?}");
    for request in &requests {
        assert_eq!(request.header("x-meta-site"), Some("berlin"), "{}", request.head);
        assert_eq!(request.header("ok"), Some("d"));
        assert_eq!(request.header("host"), Some("localhost"));
        assert_eq!(request.header("connection"), Some("close"));
        assert!(!request.head.to_lowercase().contains("evil"), "{}", request.head);
        assert!(!request.head.to_lowercase().contains("chunked"), "{}", request.head);
    }
    // Each header that is left out is named, without its value.
    let warnings: Vec<_> = texts(&ended.stdout).into_iter().filter(|text| text.starts_with("⚠️")).collect();
    assert_eq!(warnings.len(), 8, "{warnings:?}");
    assert!(warnings.iter().all(|text| text.contains("is not sent") && !text.contains("evil")), "{warnings:?}");
}

#[test]
fn a_large_configuration_is_not_read() {
    let temp = Temp::new();
    std::fs::create_dir(temp.join(".docker")).expect("a directory");
    temp.write(".docker/config.json", format!("{{\"currentContext\":\"{}\"}}", "x".repeat(20_000_000)));
    let engine = Engine::new(&temp, vec![begun(&GOOD), Step::Stall]);
    let running = Running::start(&mut pull(&temp, &engine));
    assert!(eventually(LIMIT, || temp.read("log").contains("Complete (1/1)")));
    assert!(temp.read("log").contains("is larger than 1024 KiB"), "{}", temp.read("log"));
    assert!(running.peak_memory() < 12_000, "{} KB", running.peak_memory());
}

#[test]
fn the_platform_of_the_environment_counts_where_none_is_given() {
    let query = |variable: &str, args: &[&str]| {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(pull(&temp, &engine).args(args).env("DOCKER_DEFAULT_PLATFORM", variable));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let line = engine.pull_request().line;
        line.split_once("&platform=").map(|(_, platform)| platform.to_owned())
    };
    assert_eq!(query("linux/arm/v7", &[]).as_deref(), Some("linux%2Farm%2Fv7"));
    assert_eq!(query("linux/arm/v7", &["--platform", "linux/arm64"]).as_deref(), Some("linux%2Farm64"));
    assert_eq!(query("", &[]), None);
    // The option counts, and the variable is then ignored.
    assert_eq!(query("a b", &["--platform", "linux/arm64"]).as_deref(), Some("linux%2Farm64"));
    for wrong in ["a b", "linux/", "/", "x", "linux/arm/v7/x", "linux,arm", "\u{1b}[31m"] {
        for mode in ["--no-log", "--check"] {
            let temp = Temp::new();
            let engine = Engine::new(&temp, whole(GOOD));
            let mut command = program(&temp);
            command.args([mode, "--host", &engine.host(), &temp.image()]);
            let ended = run(command.env("DOCKER_DEFAULT_PLATFORM", wrong));
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{wrong:?}: {ended:?}");
            assert!(ended.stderr.contains("DOCKER_DEFAULT_PLATFORM"), "{ended:?}");
            assert!(!ended.stderr.contains('\u{1b}') && ended.stderr.lines().count() == 1, "{ended:?}");
            assert!(engine.requests().is_empty());
        }
    }
    // Nothing else depends on it.
    let temp = Temp::new();
    let replay = run(program(&temp)
        .args(["--replay", &format!("{FIXTURES}/dockerd-20.10.24/fresh-three.jsonl")])
        .env("DOCKER_DEFAULT_PLATFORM", "a b"));
    assert_eq!(replay.code, Some(0), "{replay:?}");
    // Docker gets it too.
    temp.script("docker", "echo \"$DOCKER_DEFAULT_PLATFORM $*\" > args");
    let fallback = run(program(&temp)
        .args(["--no-log", "--host", "tcp://127.0.0.1:1", &temp.image()])
        .env("DOCKER_DEFAULT_PLATFORM", "linux/arm64"));
    assert_eq!(fallback.code, Some(0), "{fallback:?}");
    assert!(temp.read("args").starts_with("linux/arm64 ") && temp.read("args").contains("--platform linux/arm64"));
}

#[test]
fn signatures_that_cannot_be_checked_are_a_reason_not_to_pull() {
    for value in ["1", "t", "T", "true", "TRUE", "True", "yes", "garbage", " 0"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended =
            run(pull(&temp, &engine).args(["--record", &temp.at("r.jsonl")]).env("DOCKER_CONTENT_TRUST", value));
        assert_eq!(ended.code, Some(1), "{value:?}: {ended:?}");
        let reason = text_after(&ended.stdout, "❌ PULL FAILED: ");
        assert!(["DOCKER_CONTENT_TRUST=0", "docker pull"].iter().all(|says| reason.contains(says)), "{reason}");
        assert_eq!(lines(&engine), ["GET /_ping"], "nothing is pulled");
        replays_like(&temp, &ended, value);
    }
    for value in ["", "0", "f", "F", "false", "FALSE", "False"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(pull(&temp, &engine).env("DOCKER_CONTENT_TRUST", value));
        assert_eq!(ended.code, Some(0), "{value:?}: {ended:?}");
    }
    // A digest needs no signature, for docker too.
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let image = format!("{}@sha256:{}", temp.image(), "ab".repeat(32));
    let mut command = program(&temp);
    command.args(["--no-log", "--host", &engine.host(), &image]);
    assert_eq!(run(command.env("DOCKER_CONTENT_TRUST", "1")).code, Some(0));
    // Docker's own client can check them.
    temp.script("docker", "echo \"$DOCKER_CONTENT_TRUST\" > trust");
    let mut command = program(&temp);
    command.args(["--no-log", "--host", "tcp://127.0.0.1:1", &temp.image()]);
    assert_eq!(run(command.env("DOCKER_CONTENT_TRUST", "1")).code, Some(0));
    assert_eq!(temp.read("trust"), "1\n");
    // Nothing is pulled by a check.
    let mut command = program(&temp);
    command.args(["--host", &engine.host(), "--check", &temp.image()]);
    assert_eq!(
        run(command.env("DOCKER_CONTENT_TRUST", "1")).code,
        Some(3),
        "as without it: the registry is unknown here"
    );
}

#[test]
fn an_image_that_cannot_run_here_is_a_warning() {
    let check = |image: &str, engine_is: &str, args: &[&str], warning: Option<&str>| {
        let temp = Temp::new();
        let others = [("/images/", image.to_owned()), ("/version", engine_is.to_owned())];
        let (engine, _) = engine(&temp, vec![whole(GOOD)], &others);
        let live = run(retrying(&temp, &engine, "0").args(args));
        assert_eq!((live.code, live.stderr.as_str()), (Some(0), ""), "{live:?}");
        let shown: Vec<_> = texts(&live.stdout).into_iter().filter_map(|text| text.strip_prefix("⚠️  ")).collect();
        assert_eq!(shown.len(), usize::from(warning.is_some()), "{image} {engine_is}: {shown:?}");
        assert!(shown.iter().all(|shown| shown.contains(warning.unwrap_or_default())), "{shown:?}");
        replays_like(&temp, &live, image);
        assert_eq!(temp.read("r.jsonl").contains(",\"w\",\"the image is for"), warning.is_some());
    };
    let image = |os: &str, arch: &str, variant: &str| {
        format!(r#"{{"Id":"sha256:1","RepoDigests":[],"Os":"{os}","Architecture":"{arch}","Variant":"{variant}"}}"#)
    };
    let engine_is = |arch: &str| format!(r#"{{"Os":"linux","Arch":"{arch}","Components":[{{"Name":"Engine"}}]}}"#);
    let foreign = Some("the image is for linux/amd64, and this engine runs linux/arm64");
    check(&image("linux", "amd64", ""), &engine_is("arm64"), &[], foreign);
    check(&image("linux", "amd64", ""), &engine_is("arm64"), &["--platform", "linux/amd64"], None);
    for variant in ["v5", "v6", "v7", "v8", ""] {
        check(&image("linux", "arm", variant), &engine_is("arm64"), &[], None);
    }
    check(&image("linux", "386", ""), &engine_is("amd64"), &[], None);
    check(&image("linux", "amd64", "v3"), &engine_is("amd64"), &[], None);
    check(&image("linux", "amd64", ""), &engine_is("386"), &[], Some("linux/386"));
    check(&image("windows", "amd64", ""), &engine_is("amd64"), &[], Some("windows/amd64"));
    // If a platform is not known, there is no warning.
    check(&image("", "", ""), &engine_is("amd64"), &[], None);
    check(&image("linux", "arm64", ""), "{}", &[], None);
    check("not JSON", &engine_is("amd64"), &[], None);
    check("{}", "[]", &[], None);
}

#[test]
fn docker_gets_the_path_that_it_was_found_on() {
    let temp = Temp::new();
    temp.script("docker", "echo \"$PATH\" > path");
    let mut command = program(&temp);
    let ended = run(command.args(["--no-log", "--host", "tcp://127.0.0.1:1", &temp.image()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(temp.read("path").trim(), temp.to_str().expect("UTF-8"));
}

#[test]
fn docker_gets_a_configuration_with_all_but_other_credentials() {
    let temp = Temp::new();
    std::fs::create_dir_all(temp.join(".docker/contexts/meta")).expect("a directory");
    temp.write(".docker/config.json", r#"{"auths":{"other":{"auth":"eDp5"}},"HttpHeaders":{"X-A":"b"}}"#);
    temp.write(".docker/ca.pem", "a certificate");
    let token = temp.write("token", "secret");
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file of ours");
    temp.script(
        "docker",
        "cat \"$2/config.json\" > config; cat \"$2/ca.pem\" > ca; ls \"$2\" > files; echo \"$2\" > where",
    );
    let mut command = program(&temp);
    command.args(["--no-log", "--host", "tcp://127.0.0.1:1", "--token-file", &token, &temp.image()]);
    let ended = run(command.env("PATH", format!("{}:/usr/bin:/bin", temp.display())));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let config: serde_json::Value = serde_json::from_str(&temp.read("config")).expect("JSON");
    assert_eq!(config["HttpHeaders"], serde_json::json!({"X-A": "b"}));
    assert!(config["auths"]["other"].is_null() && config["auths"].as_object().expect("an object").len() == 1);
    assert_eq!(
        (temp.read("ca").as_str(), temp.read("files").as_str()),
        ("a certificate", "ca.pem\nconfig.json\ncontexts\n")
    );
    assert!(!std::path::Path::new(temp.read("where").trim()).exists(), "it goes with docker");
    assert!(
        temp.join(".docker/ca.pem").exists() && temp.join(".docker/contexts/meta").exists(),
        "and nothing else does"
    );
}
