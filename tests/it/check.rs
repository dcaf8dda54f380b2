//! `--check` and `--running` against a fake engine: every possible answer, and no answer.

mod running;

use crate::support::{Engine, Request, Step, Temp, answer, eventually, program, run};
use std::time::{Duration, Instant};

const NEW: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OLD: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// An engine with these answers by path; on any other path it answers with an error.
fn engine(temp: &Temp, answers: &[(&'static str, u16, String)]) -> Engine {
    engine_with(temp, "1.41", "Docker/20.10.24", answers)
}

/// The same, with this API version.
fn engine_with(
    temp: &Temp,
    api: &'static str,
    server: &'static str,
    answers: &[(&'static str, u16, String)],
) -> Engine {
    let answers = answers.to_vec();
    Engine::serve(std::path::Path::new(&temp.at("docker.sock")), move |request: &Request| {
        if request.line.contains("/_ping") {
            let head = format!("Api-Version: {api}\r\nServer: {server} (linux)\r\nContent-Length: 2");
            return vec![Step::Write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nOK").into())];
        }
        assert!(
            request.line.starts_with(&format!("GET /v{api}/")),
            "a check asks and changes nothing: {}",
            request.line
        );
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
        let ended =
            run(program(&temp).args(["--host", &engine.host(), "--state", &temp.at("state"), "--check"]).args(args));
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
    // The image has two names, from two registries.
    check(app, here(&[&format!("x/y@{OLD}"), &format!("h:5000/app@{NEW}")]), there(NEW), 0, "yes:");
    check(app, here(&[]), there(NEW), 3, "docker image rm h:5000/app:latest");
    check(app, (200, image("sha256:1d", &[]).replace("[]", "null")), there(NEW), 3, "cannot tell:");
    check(app, missing(), there(NEW), 1, "is not here; the registry has sha256:aaaa");
    check(app, missing(), (404, message("manifest unknown")), 3, "cannot tell:");
    check(app, here(&[]), (404, message("manifest unknown")), 3, "manifest unknown");
    check(app, here(&[]), (500, message("dial tcp: connection refused")), 3, "connection refused");
    check(app, missing(), (500, message("dial tcp: connection refused")), 1, "is not here");
    check(app, here(&[]), (401, message("unauthorized")), 3, "no credentials were found; looked in:");
    check(app, here(&[]), (200, "{}".into()), 3, "no digest");
    check(app, here(&[]), (200, "not JSON".into()), 3, "no digest");
    check(app, (500, message("broken")), there(NEW), 3, "HTTP status 500: broken");
    // The image of a digest never changes, so the registry is not asked.
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

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A platform such as `linux/arm/v7` in JSON.
fn platform(text: &str) -> String {
    let mut parts = text.split('/').chain([""; 3]);
    let mut next = || parts.next().unwrap_or_default();
    format!(r#""os":"{}","architecture":"{}","variant":"{}""#, next(), next(), next())
}

fn distribution(media_type: &str, platforms: &[&str]) -> String {
    let platforms: Vec<String> = platforms.iter().map(|text| format!("{{{}}}", platform(text))).collect();
    let descriptor = format!(r#"{{"mediaType":"{media_type}","digest":"{NEW}","size":1}}"#);
    format!(r#"{{"Descriptor":{descriptor},"Platforms":[{}]}}"#, platforms.join(","))
}

/// An image in the graphdriver store, for this platform.
fn classic(text: &str) -> String {
    let shown = platform(text).replace("\"os", "\"Os").replace("\"arch", "\"Arch").replace("\"variant", "\"Variant");
    format!(r#"{{"Id":"sha256:1d","RepoDigests":["h:5000/app@{NEW}"],{shown}}}"#)
}

/// An image in the containerd store that reports the platform `shown`. In `entries`, a `+` marks the platforms that are here.
fn containerd(shown: &str, entries: &[&str]) -> String {
    let entry = |text: &&str| {
        let (is_there, shown) = (text.starts_with('+'), platform(text.trim_start_matches('+')));
        let digest = format!("sha256:{}", text.len());
        format!(
            r#"{{"ID":"{digest}","Descriptor":{{"digest":"{digest}"}},"Available":{is_there},"Kind":"image","ImageData":{{"Platform":{{{shown}}}}}}}"#
        )
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    let image = classic(shown).replace("sha256:1d", NEW);
    let descriptor = format!(r#""Descriptor":{{"mediaType":"{INDEX}","digest":"{NEW}"}}"#);
    image.replacen('{', &format!("{{{descriptor},\"Manifests\":[{}],", entries.join(",")), 1)
}

#[test]
fn a_check_is_for_the_platform_that_a_pull_would_fetch() {
    let check = |api, server, args: &[&str], local: &str, remote: &str, code, says: &str| {
        let temp = Temp::new();
        let version = r#"{"Os":"linux","Arch":"amd64"}"#.to_owned();
        let answers = [
            ("/images/", 200, local.to_owned()),
            ("/distribution/", if remote.is_empty() { 500 } else { 200 }, remote.to_owned()),
            ("/version", 200, version),
        ];
        let engine = engine_with(&temp, api, server, &answers);
        let mut command = program(&temp);
        let (variable, args) = match args {
            ["env", platform, rest @ ..] => (Some(*platform), rest),
            _ => (None, args),
        };
        command.envs(variable.map(|platform| ("DOCKER_DEFAULT_PLATFORM", platform)));
        let ended = run(command.args(["--host", &engine.host(), "--state", &temp.at("state"), "--check"]).args(args));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{args:?} {local} {}", ended.stdout);
        assert!(ended.stdout.contains(says) && ended.stdout.lines().count() == 1, "{args:?} {}", ended.stdout);
        let manifests = engine.requests().iter().any(|request| request.line.ends_with("?manifests=1"));
        assert_eq!(manifests, api == "1.51", "{:?}", engine.requests());
    };
    let both = &["linux/amd64", "linux/arm64"];
    let index = distribution(INDEX, both);
    let app = "h:5000/app";
    for (api, server) in [("1.41", "Docker/20.10.24"), ("1.45", "Docker/26.1.5"), ("1.51", "Docker/28.5.2")] {
        let check = |args: &[&str], local: &str, remote: &str, code, says| {
            check(api, server, args, local, remote, code, says);
        };
        check(
            &["--platform", "linux/amd64", app],
            &classic("linux/arm64"),
            &index,
            1,
            "another platform than linux/amd64",
        );
        check(&["--platform", "linux/arm64", app], &classic("linux/arm64"), &index, 0, "yes:");
        check(&["env", "linux/arm64", app], &classic("linux/arm64"), &index, 0, "yes:");
        check(&["env", "linux/amd64", app], &classic("linux/arm64"), &index, 1, "another platform than linux/amd64");
        check(&["env", "linux/amd64", "--platform", "arm64", app], &classic("linux/arm64"), &index, 0, "yes:");
        // A pull would download the image for the engine's own platform.
        check(&[app], &classic("linux/arm64"), &index, 1, "another platform than linux/amd64 (linux/arm64)");
        check(&[app], &classic("linux/amd64"), &index, 0, "yes:");
        let v6 = distribution(INDEX, &["linux/arm/v6"]);
        check(&["--platform", "linux/arm/v7", app], &classic("linux/arm/v6"), &v6, 0, "yes:");
        let one = distribution(MANIFEST, &["linux/amd64"]);
        check(&["--platform", "linux/arm64", app], &classic("linux/amd64"), &one, 0, "yes:");
        // The same with a digest.
        let pinned = format!("{app}@{NEW}");
        check(&["--platform", "linux/amd64", &pinned], &classic("linux/arm64"), &index, 1, "another platform");
        check(&["--platform", "linux/arm64", &pinned], &classic("linux/arm64"), "", 0, "is here");
        check(&["--platform", "linux/arm64", &pinned], &classic("linux/amd64"), &one, 0, "yes:");
        check(&[&pinned], &classic("linux/amd64"), "", 0, "is here");
        // The image is not here for the requested platform.
        check(&[app], &classic("//"), &index, 1, "is not here for linux/amd64");
        check(&[&pinned], &classic("//"), "", 1, "is not here for linux/amd64");
        check(&["--platform", "x/y/z/w", app], &classic("linux/amd64"), &index, 3, "no platform");
    }
    let new = |args: &[&str], local: &str, code, says| check("1.51", "Docker/30.0.0", args, local, &index, code, says);
    let arm = containerd("//", &["linux/amd64", "+linux/arm64"]);
    new(&["--platform", "linux/amd64", app], &arm, 1, "another platform than linux/amd64 (linux/arm64)");
    new(&["--platform", "linux/arm64", app], &arm, 0, "yes:");
    new(&[app], &arm, 1, "another platform than linux/amd64");
    new(&["--platform", "linux/arm64", app], &containerd("linux/amd64", &["+linux/amd64", "+linux/arm64"]), 0, "yes:");
    new(
        &["--platform", "linux/arm64", app],
        &containerd("linux/amd64", &["+linux/amd64", "linux/arm64"]),
        1,
        "another",
    );
    // The engine reports only one of several platforms that it may have.
    let shown = classic("linux/amd64").replace("sha256:1d", NEW);
    check(
        "1.45",
        "Docker/26.1.5",
        &["--platform", "linux/arm64", app],
        &shown,
        &index,
        3,
        "does not say which platforms",
    );
    check("1.45", "Docker/26.1.5", &["--platform", "linux/amd64", app], &shown, &index, 0, "yes:");
    // Docker before 23 chooses the first ARM entry of the list if its own variant is missing.
    let arms = distribution(INDEX, &["linux/arm/v5", "linux/arm/v6"]);
    let v7 = &["--platform", "linux/arm/v7", app];
    check("1.41", "Docker/20.10.24", v7, &classic("linux/arm/v5"), &arms, 0, "yes:");
    check("1.41", "Docker/20.10.24", v7, &classic("linux/arm/v6"), &arms, 1, "another platform");
    check("1.45", "Docker/26.1.5", v7, &classic("linux/arm/v6"), &arms, 0, "yes:");
}

/// Docker Hub counts the engine's request for a check as a pull, but not the agent's request.
#[test]
fn the_hub_is_asked_by_the_agent() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let (new, old) = (digest("a"), digest("b"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let info = format!(r#"{{"Name":"{}","RegistryConfig":{{}},"HttpProxy":"p"}}"#, host.trim());
    let check =
        |name: &str, agent: &str, info: &str, local: (u16, String), (code, says): (i32, &str), engine_asked: bool| {
            let temp = Temp::new();
            let own = temp.join("own");
            std::fs::create_dir(&own).expect("a directory");
            let program = own.join("pull");
            std::fs::copy(crate::support::PROGRAM, &program).expect("a copy");
            if !agent.is_empty() {
                temp.script(
                    "alm-agent",
                    &format!("PATH=/usr/bin:/bin; cd {}; echo $1 >asked; cat >question; {agent}", temp.display()),
                );
            }
            let version = r#"{"Version":"20.10.24","Os":"linux","Arch":"arm64"}"#.to_owned();
            let engine = engine(
                &temp,
                &[
                    ("/info", 200, info.to_owned()),
                    ("/version", 200, version),
                    ("/images/", local.0, local.1),
                    ("/distribution/", 200, registry_has(&digest("e"))),
                ],
            );
            let mut command = crate::support::clean(std::process::Command::new(&program), &temp);
            let ended = run(command.args(["--host", &engine.host(), "--state", &temp.at("state"), "--check", name]));
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{name} {agent}: {}", ended.stdout);
            assert!(ended.stdout.contains(says), "{name} {agent}: {}", ended.stdout);
            let asked = engine.requests().iter().any(|request| request.line.contains("/distribution/"));
            assert_eq!(asked, engine_asked, "{name} {agent}");
            std::fs::read_to_string(temp.at("question")).ok()
        };
    let answers = format!("echo '{{\"digest\":\"{new}\"}}'");
    let here = |digest: &str| (200, image("sha256:1", &[&format!("alpine@{digest}")]));
    let gone = || (404, "{\"message\":\"No such image\"}".to_owned());
    let request =
        check("alpine", &answers, &info, here(&new), (0, "yes: alpine:latest is what the registry has"), false);
    let request = request.expect("a question");
    for part in [
        r#""do":"digest""#,
        r#""image":"docker.io/library/alpine:latest""#,
        r#""HttpProxy":"p""#,
        r#""engine":"linux/arm64""#,
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    check("alpine", &answers, &info, here(&old), (1, "no: alpine:latest is newer in the registry: sha256:aaa"), false);
    check("alpine", &answers, &info, gone(), (1, "no: alpine:latest is not here; the registry has sha256:aaa"), false);
    // The digest is the same, but the local platform may be another: the engine reports the platforms.
    let newer = (1, "no: alpine:latest is newer in the registry: sha256:eee");
    let of = |other: &str| (200, here(&new).1.replace("arm64", other));
    check("alpine", &answers, &info, of("arm"), newer, true);
    check("alpine", &answers, &info, of("amd64"), (1, "is here for another platform than linux/arm64"), true);
    // The agent does not answer, or there is no agent.
    for agent in [
        "",
        "exit 1",
        "echo no",
        "kill -9 $$",
        "head -c 100000 /dev/zero",
        "echo '{\"kind\":\"auth\",\"error\":\"x\"}'; exit 1",
    ] {
        check("alpine", agent, &info, here(&new), newer, true);
    }
    check("alpine", &format!("{answers}; exit 1"), &info, here(&new), newer, true);
    // For registries that do not count requests, and with an engine on another host, the agent is not asked.
    let elsewhere = info.replace(host.trim(), "elsewhere");
    assert!(check("alpine", &answers, &elsewhere, here(&new), newer, true).is_none());
    let newer = (1, "newer in the registry: sha256:eee");
    assert!(check("r.test/alpine", &answers, &info, here(&new), newer, true).is_none());
}
