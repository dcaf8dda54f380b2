//! `--check` and `--running` against a fake engine: every answer there is, and none.

use crate::support::{Engine, Request, Step, Temp, answer, eventually, program, run};
use std::time::{Duration, Instant};

const NEW: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OLD: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// An engine that gives each path its answer, and to any other path none that could be used.
fn engine(temp: &Temp, answers: &[(&'static str, u16, String)]) -> Engine {
    let answers = answers.to_vec();
    Engine::serve(std::path::Path::new(&temp.at("docker.sock")), move |request: &Request| {
        if request.line.contains("/_ping") {
            return vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec())];
        }
        assert!(request.line.starts_with("GET /v1.41/"), "a check asks and changes nothing: {}", request.line);
        let known = answers.iter().find(|(path, ..)| request.line.contains(path));
        vec![Step::Write(
            known.map_or_else(
                || answer(500, "{\"message\":\"no such path\"}"),
                |(_, status, body)| answer(*status, body),
            ),
        )]
    })
}

fn image(id: &str, digests: &[&str]) -> String {
    format!("{{\"Id\":\"{id}\",\"RepoDigests\":{digests:?},\"Os\":\"linux\",\"Architecture\":\"arm64\"}}")
}

fn registry_has(digest: &str) -> String {
    format!("{{\"Descriptor\":{{\"digest\":\"{digest}\"}}}}")
}

#[test]
fn checks() {
    let check = |args: &[&str], local: (u16, String), remote: (u16, String), code, says: &str| {
        let temp = Temp::new();
        let engine = engine(&temp, &[("/images/", local.0, local.1), ("/distribution/", remote.0, remote.1)]);
        let ended = run(program(&temp).args(["--host", &engine.host(), "--check"]).args(args));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{args:?} {}", ended.stdout);
        assert!(ended.stdout.contains(says) && ended.stdout.lines().count() == 1, "{args:?} {}", ended.stdout);
    };
    let message = |text: &str| format!("{{\"message\":\"{text}\"}}");
    let missing = || (404, message("No such image"));
    let here = |digests: &[&str]| (200, image("sha256:1d", digests));
    let there = |digest| (200, registry_has(digest));
    let app = &["h:5000/app"][..];
    check(app, here(&[&format!("h:5000/app@{NEW}")]), there(NEW), 0, "yes: h:5000/app:latest is what the registry has");
    check(app, here(&[&format!("h:5000/app@{OLD}")]), there(NEW), 1, "no: h:5000/app:latest is newer in the registry");
    // Under two names, from two registries.
    check(app, here(&[&format!("x/y@{OLD}"), &format!("h:5000/app@{NEW}")]), there(NEW), 0, "yes:");
    check(app, here(&[]), there(NEW), 1, "never came from a registry");
    check(app, (200, image("sha256:1d", &[]).replace("[]", "null")), there(NEW), 1, "never came from a registry");
    check(app, missing(), there(NEW), 1, "is not here; the registry has sha256:aaaa");
    check(app, missing(), (404, message("manifest unknown")), 3, "cannot tell:");
    check(app, here(&[]), (404, message("manifest unknown")), 3, "manifest unknown");
    check(app, here(&[]), (500, message("dial tcp: connection refused")), 3, "connection refused");
    check(app, missing(), (500, message("dial tcp: connection refused")), 1, "is not here");
    check(app, here(&[]), (401, message("unauthorized")), 3, "no credentials were found; looked in:");
    check(app, here(&[]), (200, "{}".into()), 3, "no digest");
    check(app, here(&[]), (200, "not JSON".into()), 3, "no digest");
    check(app, (500, message("broken")), there(NEW), 3, "HTTP status 500: broken");
    // What a digest names cannot become newer: the registry is not asked.
    let pinned = format!("h:5000/app:v1@{NEW}");
    check(&[&pinned], here(&[&format!("h:5000/app@{NEW}")]), (500, message("unreachable")), 0, "is here");
    check(&[&pinned], missing(), there(NEW), 1, "is not here");
    check(
        &["--platform", "linux/amd64", "h:5000/app"],
        here(&[NEW]),
        there(NEW),
        1,
        "for another platform than linux/amd64",
    );
    check(&["--platform", "linux/arm64", "h:5000/app"], here(&[&format!("a@{NEW}")]), there(NEW), 0, "yes:");
}

#[test]
fn runs() {
    let check = |container: (u16, &str), image: (u16, &str), code, says: &str| {
        let temp = Temp::new();
        let answers =
            [("/containers/web/json", container.0, container.1.to_owned()), ("/images/", image.0, image.1.to_owned())];
        let engine = engine(&temp, &answers);
        let ended = run(program(&temp).args(["--host", &engine.host(), "--running", "web", "app:v1"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{}", ended.stdout);
        assert!(ended.stdout.contains(says) && ended.stdout.lines().count() == 1, "{}", ended.stdout);
    };
    let running = "{\"Image\":\"sha256:1d\",\"State\":{\"Running\":true}}";
    let stopped = "{\"Image\":\"sha256:1d\",\"State\":{\"Running\":false}}";
    let gone = (404, "{\"message\":\"no such\"}");
    check((200, running), (200, "{\"Id\":\"sha256:1d\"}"), 0, "yes: container web runs app:v1");
    // As podman writes it.
    check((200, running), (200, "{\"Id\":\"1d\"}"), 0, "yes:");
    check(
        (200, running),
        (200, "{\"Id\":\"sha256:2d\"}"),
        1,
        "no: container web runs sha256:1d, and app:v1 is sha256:2d",
    );
    check((200, stopped), (200, "{\"Id\":\"sha256:1d\"}"), 1, "does not run");
    check(gone, (200, "{\"Id\":\"sha256:1d\"}"), 1, "there is no container web");
    check((200, running), gone, 1, "app:v1 is not here");
    check((500, "plain trouble"), gone, 3, "HTTP status 500: plain trouble");
    check((200, "{\"Image\":7}"), (200, "{\"Id\":\"sha256:1d\"}"), 3, "cannot tell:");
}

#[test]
fn without_an_engine_nothing_can_be_told() {
    let temp = Temp::new();
    for mode in [&["--check"][..], &["--running", "web"]] {
        for (host, says) in
            [("unix:///nonexistent/docker.sock", "no Docker socket"), ("tcp://127.0.0.1:1", "not a Unix socket")]
        {
            let ended = run(program(&temp).args(mode).args(["--host", host, "app"]));
            assert_eq!(ended.code, Some(3), "{mode:?} {host}");
            assert!(ended.stdout.starts_with("cannot tell: ") && ended.stdout.contains(says), "{}", ended.stdout);
        }
        assert_eq!(run(program(&temp).args(mode).arg("Upper")).code, Some(2));
    }
}

#[test]
fn an_engine_that_never_answers_is_not_waited_for() {
    let temp = Temp::new();
    let socket = temp.at("docker.sock");
    let engine = Engine::serve(std::path::Path::new(&socket), |request: &Request| {
        let is_ping = request.line.contains("/_ping");
        let pong = Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec());
        if is_ping { vec![pong] } else { vec![Step::Stall] }
    });
    let began = Instant::now();
    let ended = run(program(&temp).args(["--host", &engine.host(), "--running", "web", "app"]));
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(ended.stdout.contains("no answer in time"), "{}", ended.stdout);

    // A signal ends the waiting at once.
    let mut asking = crate::support::Running::start(program(&temp).args(["--host", &engine.host(), "--check", "app"]));
    assert!(eventually(crate::support::LIMIT, || engine
        .requests()
        .iter()
        .any(|request| request.line.contains("/images/app"))));
    asking.signal(rustix::process::Signal::TERM);
    assert_eq!(asking.wait().0, Some(143));
}
