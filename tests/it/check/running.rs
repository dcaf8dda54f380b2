//! `--running`, and engines that do not answer.

use super::*;

#[test]
fn a_container_is_compared_by_its_platforms_manifest() {
    let check = |api, container: &str, image: &str, code, says: &str| {
        let temp = Temp::new();
        let answers = [("/containers/web/json", 200, container.to_owned()), ("/images/", 200, image.to_owned())];
        let engine = engine_with(&temp, api, "Docker/28.5.2", &answers);
        let ended = run(program(&temp).args(["--host", &engine.host(), "--running", "web", "app:v1"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{}", ended.stdout);
        assert!(ended.stdout.contains(says), "{}", ended.stdout);
        engine.requests()
    };
    let container = |image: &str, manifest: &str| {
        format!(
            r#"{{"Image":"{image}","State":{{"Running":true}},"ImageManifestDescriptor":{{"digest":"{manifest}","platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}}}"#
        )
    };
    let image = |id: &str, kind: &str, digest: &str| {
        format!(r#"{{"Id":"{id}","Descriptor":{{"mediaType":"{kind}","digest":"{digest}"}}}}"#)
    };
    // Only the entry of another platform is new in the index.
    let requests = check("1.51", &container(OLD, "sha256:m"), &image(NEW, MANIFEST, "sha256:m"), 0, "yes:");
    let asked = &requests.last().expect("a request").line;
    let platform = "%7B%22architecture%22%3A%22arm%22%2C%22os%22%3A%22linux%22%2C%22variant%22%3A%22v7%22%7D";
    assert_eq!(*asked, format!("GET /v1.51/images/app%3Av1/json?platform={platform}"));
    check(
        "1.51",
        &container(OLD, "sha256:m"),
        &image(NEW, MANIFEST, "sha256:n"),
        1,
        "runs sha256:m, and app:v1 is sha256:n",
    );
    // If the engine does not report the manifest, the ids are compared.
    check("1.48", &container(OLD, "sha256:m"), &image(OLD, INDEX, OLD), 0, "yes:");
    check("1.48", &container(OLD, "sha256:m"), &image(NEW, INDEX, NEW), 1, "no:");
    check("1.51", r#"{"Image":"sha256:1d","State":{"Running":true}}"#, r#"{"Id":"sha256:1d"}"#, 0, "yes:");
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
    let here = (200, "{\"Id\":\"sha256:1d\"}");
    for (state, says) in [
        ("\"Restarting\":true", "no: container web is restarting again and again (0 times so far)"),
        ("\"Paused\":true", "no: container web is paused"),
        ("\"Health\":{\"Status\":\"unhealthy\"}", "no: container web is unhealthy"),
        ("\"Dead\":true", "no: container web is dead"),
    ] {
        check((200, &running.replace("\"Running\":true", &format!("\"Running\":true,{state}"))), here, 1, says);
    }
    check((200, running), (200, "{\"Id\":\"sha256:1d\"}"), 0, "yes: container web runs app:v1");
    // The form of podman.
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

/// A container in the network of another one works only while that one runs, and only if that one was not restarted since.
#[test]
fn a_container_in_a_dead_namespace_does_not_run() {
    let check = |owner: (u16, &str), code, says: &str| {
        let temp = Temp::new();
        let web = "{\"Image\":\"sha256:1d\",\"HostConfig\":{\"NetworkMode\":\"container:0123456789abcdef\"},\
                   \"State\":{\"Running\":true,\"StartedAt\":\"2026-11-25T12:00:00.5Z\"}}";
        let answers = [
            ("/containers/web/json", 200, web.to_owned()),
            ("/containers/0123456789abcdef/json", owner.0, owner.1.to_owned()),
            ("/images/", 200, "{\"Id\":\"sha256:1d\"}".to_owned()),
        ];
        let engine = engine(&temp, &answers);
        let ended = run(program(&temp).args(["--host", &engine.host(), "--running", "web", "app:v1"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{}", ended.stdout);
        assert!(ended.stdout.contains(says) && ended.stdout.lines().count() == 1, "{}", ended.stdout);
    };
    let since = |time: &str| format!("{{\"State\":{{\"Running\":true,\"StartedAt\":\"{time}\"}}}}");
    check((200, &since("2026-11-25T11:59:59Z")), 0, "yes: container web runs app:v1");
    check((200, &since("2026-11-25T12:00:00Z")), 0, "yes:");
    check(
        (200, &since("2026-11-25T12:00:01Z")),
        1,
        "no: container web is in the network namespace of container 0123456789ab",
    );
    check((200, "{\"State\":{\"Running\":false}}"), 1, "which does not run");
    check((404, "{\"message\":\"no such container\"}"), 1, "which is gone");
    check((500, "{\"message\":\"broken\"}"), 3, "cannot tell: ");
}

#[test]
fn without_an_engine_there_is_no_answer() {
    let temp = Temp::new();
    let state = temp.at("state");
    for mode in [&["--check", "--state", &state][..], &["--running", "web"]] {
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

    // A signal ends the wait at once.
    let mut asking = crate::support::Running::start(program(&temp).args([
        "--host",
        &engine.host(),
        "--state",
        &temp.at("state"),
        "--check",
        "app",
    ]));
    assert!(eventually(crate::support::LIMIT, || engine
        .requests()
        .iter()
        .any(|request| request.line.contains("/images/app"))));
    asking.signal(rustix::process::Signal::TERM);
    assert_eq!(asking.wait().0, Some(143));
}
