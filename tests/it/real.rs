//! Pulls from a real engine and real registries.
//!
//! Few tests with many steps, because each test starts an engine and registries of its own. They need root, and the programs
//! that `tests/run.sh` installs; without these they fail.

mod hub;
mod lab;
mod sizes;
mod state;

use lab::{Lab, Link, PROGRAM, base64, succeed};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const MB: u64 = 1_000_000;

#[test]
fn pulls() {
    let lab = Lab::start("pulls");
    let registry = &lab.registry;
    let image = |name: &str| format!("{registry}/{name}");

    for (name, count) in [("tiny", 1), ("three", 3), ("eight", 8)] {
        let pulled = lab.pull(&image(name), &[]);
        pulled.pulled(count, 0).says(&[
            "==========",
            "📦 PULLING IMAGE (enhanced mode)",
            &format!("Image: {registry}/{name}:latest"),
            "Method: Docker Socket API (detailed progress)",
            "==========",
            &format!("🔄 Pulling from {name}"),
        ]);
        assert_eq!(pulled.err, "", "{pulled}");
        assert!(pulled.log.contains("{\"status\":\"Pull complete\""), "raw lines: {}", pulled.log);
        assert!(lab.has(&image(name)), "{pulled}");
    }

    let again = lab.pull(&image("three:latest"), &[]);
    again.ended_with(0).says(&["📊 Status: Image is up to date for", "✅ PULL SUCCESSFUL", "█] 100%", "=========="]);
    again.never_says(&["📋", "Layers:", "Downloaded:"]);

    lab.pull(&image("three:v2"), &[]).pulled(3, 2).says(&["(1/3)", "(2/3)", "(3/3)"]);
    let digest = again.between("🔐 Image digest: ", " ").to_owned();
    lab.forget_images();
    lab.pull(&image(&format!("three:nonsense@{digest}")), &[]).pulled(3, 0);

    let missing = lab.pull(&image("three:missing"), &[]);
    missing.ended_with(1).says(&["❌ PULL FAILED: manifest for", "💡 check the image's name and tag", "] 0%"]);
    missing.never_says(&["PULL SUCCESSFUL", "🔁"]);
    lab.pull(&image("nothing/here"), &[]).ended_with(1).says(&["❌ PULL FAILED:", "💡 check the image's name and tag"]);
    // Nothing listens on port 1: the kernel never assigns a port that low.
    let refused = lab.pull("127.0.0.1:1/three", &["--retries", "0"]);
    refused.ended_with(1).says(&["❌ PULL FAILED:", "💡 check that this device reaches the registry 127.0.0.1:1:"]);
    refused.says(&["connection refused"]);
    for bad in ["", "Upper", "-rf", "a b"] {
        let refused = lab.command(PROGRAM).arg("--no-log").arg("--").arg(bad).output().expect("the program runs");
        assert_eq!(refused.status.code(), Some(2), "{bad:?}: {refused:?}");
        assert!(refused.stdout.is_empty() && refused.stderr.starts_with(b"docker-pull-with-progress: "), "{refused:?}");
    }
    let quiet = lab.command(PROGRAM).args(["-q", "--no-log", "--host"]).arg(lab.socket()).arg(image("tiny")).output();
    let quiet = quiet.expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&quiet.stdout), format!("{registry}/tiny:latest\n"), "{quiet:?}");

    cached(&lab);
    platforms(&lab);
    slow_pull(&lab);
    long_pull(&lab);
    fallback(&lab);
    interrupted(&lab);
    two_at_once(&lab);
}

/// All layers are here, but no image has them.
fn cached(lab: &Lab) {
    let image = |tag: &str| format!("{}/three:{tag}", lab.registry);
    lab.pull(&image("latest"), &[]).ended_with(0);
    lab.docker(&["tag", &image("latest"), "kept"]);
    lab.docker(&["rmi", &image("latest")]);
    let named = lab.pull(&image("latest"), &[]);
    named.ended_with(0).says(&["📊 Status: Downloaded newer image for", "✅ PULL SUCCESSFUL", "█] 100%", "=========="]);
    named.never_says(&["📋", "Layers:", "Downloaded:"]);
    assert!(lab.has(&image("latest")), "{named}");

    // Another image with the same layers.
    let dir = lab.dir.join("labelled");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("Dockerfile"), format!("FROM {}\nLABEL another=image\n", image("latest"))).expect("a file");
    let mut build = lab.command("docker");
    build.env("DOCKER_BUILDKIT", "0").arg("-H").arg(format!("unix://{}", lab.socket().display()));
    succeed(build.args(["build", "-q", "-t", &image("labelled")]).arg(&dir));
    lab.docker(&["push", "-q", &image("labelled")]);
    lab.docker(&["rmi", &image("labelled")]);
    lab.pull(&image("labelled"), &[]).pulled(3, 3);
    assert!(lab.has(&image("labelled")));
}

/// An image for several platforms, with and without this one.
fn platforms(lab: &Lab) {
    lab.forget_images();
    let digest = lab.push_index("both", &["amd64", "arm64", "arm"]);
    let image = format!("{}/tiny:both", lab.registry);
    lab.pull(&image, &[]).pulled(1, 0).says(&[&digest]);
    assert!(lab.has(&image));
    lab.push_index("foreign", &["s390x", "ppc64le"]);
    let image = format!("{}/tiny:foreign", lab.registry);
    let foreign = lab.pull(&image, &[]);
    foreign
        .ended_with(1)
        .says(&["❌ PULL FAILED: no matching manifest", "💡 this image is not built for this machine"]);
    foreign.never_says(&["PULL SUCCESSFUL", "🔁"]);
    assert!(!lab.has(&image), "{foreign}");

    // A single manifest for another platform: every engine accepts it, and the program warns.
    let image = format!("{}/elsewhere", lab.registry);
    lab.push_foreign(&image);
    lab.forget_images();
    let elsewhere = lab.pull(&image, &[]);
    elsewhere.pulled(1, 0).says(&["⚠️  the image is for linux/riscv64, and this engine runs linux/"]);
    let asked_for = lab.pull(&image, &["--platform", "linux/riscv64"]);
    asked_for.ended_with(0).never_says(&["⚠️  the image is for"]);
    lab.state(&["--check", &image], 0, "yes: ");
    lab.state(&["--check", &image, "--platform", "linux/arm64"], 0, "yes: ");
    // The environment requests a platform, or verification of signatures.
    let with = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        lab.begin_with(&image, move |command| {
            command.arg("--host").arg(lab.socket()).env(name, value);
        })
    };
    with("DOCKER_DEFAULT_PLATFORM", "linux/riscv64").finish().ended_with(0).never_says(&["⚠️  the image is for"]);
    with("DOCKER_CONTENT_TRUST", "1").finish().ended_with(1).says(&["❌ PULL FAILED: DOCKER_CONTENT_TRUST is set"]);
    with("DOCKER_CONTENT_TRUST", "0").finish().ended_with(0);
}

/// A pull that is slow enough to show progress.
fn slow_pull(lab: &Lab) {
    let link = Link::to(&lab.registry, 3 * MB);
    lab.forget_images();
    let slow = lab.pull(&format!("{}/three", link.address), &[]);
    slow.pulled(3, 0);
    assert!((3..8).contains(&slow.took.as_secs()), "{slow}");
    let bars: Vec<_> = slow.lines().filter(|line| line.starts_with("⬇️  Layer")).collect();
    // 10 MB take over three seconds: a bar at once for each layer, another one after two seconds, and the last one at 100 %.
    assert!((5..=9).contains(&bars.len()), "{} bars in {slow}", bars.len());
    assert!(bars.iter().any(|bar| (20..90).contains(&percent(bar))), "{slow}");
    assert!(slow.between("Downloaded: ", " (").starts_with("10MB in "), "{slow}");
}

/// Long enough for lines with the overall progress. [`lab::Running::finish`] checks that a replay has the same lines.
fn long_pull(lab: &Lab) {
    let link = Link::to(&lab.registry, MB);
    lab.forget_images();
    let long = lab.pull(&format!("{}/eight", link.address), &[]);
    long.pulled(8, 0);
    assert!(long.took.as_secs() > 11, "{long}");
    let overall_lines = |text: &str| text.lines().filter(|line| line.contains("Overall Progress: ")).count();
    let whole: Vec<_> = long.lines().filter(|line| line.starts_with("Overall Progress: ")).collect();
    assert!(whole.len() >= 2, "{long}");
    for line in &whole[..whole.len() - 1] {
        assert!((1..100).contains(&percent(line)), "{long}");
        assert!(line.contains("MB / ") && line.contains("B/s") && line.ends_with(')'), "{long}");
    }
    // Each line once, in the log too, with the times of the pull.
    assert_eq!((overall_lines(&long.out), overall_lines(&long.log)), (whole.len(), whole.len()), "{long}");
}

fn percent(bar: &str) -> u32 {
    let digits = bar.split_once("] ").and_then(|(_, rest)| rest.split('%').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no percent in {bar}"))
}

/// Without a Unix socket the docker CLI pulls, and layers are reported too.
fn fallback(lab: &Lab) {
    let (engine, link) = (Link::to_socket(&lab.socket()), Link::to(&lab.registry, 5 * MB));
    let host = format!("tcp://{}", engine.address);
    let pull = |image: &str| {
        lab.begin_with(image, |command| {
            command.args(["--host", &host]);
        })
        .finish()
    };
    lab.forget_images();
    let slow = pull(&format!("{}/three", link.address));
    slow.ended_with(0).says(&[
        &format!("{host} is not a Unix socket"),
        "📦 PULLING IMAGE (docker CLI)",
        "Method: docker pull CLI",
        "🔄 Pulling from three",
        "queued (total: 3 layers)",
        "Complete (1/3)",
        "Complete (2/3)",
        "Complete (3/3)",
        "🔐 Image digest: sha256:",
        "📊 Status: Downloaded newer image for",
        "✅ PULL SUCCESSFUL",
        "Layers: 3/3 completed",
    ]);
    pull(&format!("{}/three", link.address)).ended_with(0).says(&["Image is up to date", "✅ PULL SUCCESSFUL"]);
    let missing = pull(&format!("{}/three:missing", lab.registry));
    missing.ended_with(1).says(&["❌ PULL FAILED:", "💡 check the image's name and tag"]);
    missing.never_says(&["PULL SUCCESSFUL"]);

    let none = lab.begin_with("alpine", |command| {
        command.args(["--host", "unix:///nonexistent/docker.sock"]);
    });
    let none = none.finish();
    none.ended_with(1).says(&[
        "there is no Docker socket at /nonexistent/docker.sock",
        "📦 PULLING IMAGE (docker CLI)",
        "❌ PULL FAILED: ",
        "💡 start Docker",
    ]);
    let none = lab.begin_with("alpine", |command| {
        command.args(["--host", "unix:///nonexistent/docker.sock"]).env("PATH", "/nonexistent");
    });
    none.finish().ended_with(1).says(&["❌ PULL FAILED: no docker command was found", "💡 install Docker"]);
}

/// A signal during a pull cancels it in the engine, and the next pull succeeds.
fn interrupted(lab: &Lab) {
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/eight", link.address);
    lab.forget_images();
    for (signal, exit, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let mut pull = lab.begin_pull(&image, &[]);
        pull.await_text("⬇️");
        pull.signal(signal);
        let began = Instant::now();
        let stopped = pull.finish();
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}: {stopped}", began.elapsed());
        stopped.ended_with(exit).says(&["⬇️", &format!("🛑 PULL INTERRUPTED ({name})")]);
        stopped.never_says(&["PULL SUCCESSFUL", "PULL FAILED"]);
        thread::sleep(Duration::from_millis(500));
        let carried = link.carried();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(link.carried(), carried, "the engine goes on pulling after {stopped}");
        assert!(!lab.has(&image), "{stopped}");
    }
    link.set_rate(50 * MB);
    lab.pull(&image, &[]).pulled(8, 0);
}

/// A second pull of the same image watches the transfer of the first one. SIGHUP stops neither.
fn two_at_once(lab: &Lab) {
    let link = Link::to(&lab.registry, 3 * MB);
    let image = format!("{}/three", link.address);
    lab.forget_images();
    let mut first = lab.begin_pull(&image, &[]);
    first.await_text("⬇️");
    let mut second = lab.command(PROGRAM);
    second.args(["--no-log", "--host"]).arg(lab.socket()).arg(&image).stdout(Stdio::piped());
    let second = second.spawn().expect("the program runs");
    first.signal(Signal::HUP);
    let first_pid = first.pid();
    // The engine decides which of the two pulls gets «Downloaded newer image» and which «Image is up to date».
    first.finish().ended_with(0).says(&["Complete (3/3)", "✅ PULL SUCCESSFUL", "Layers: 3/3 completed"]);
    let second = second.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&second.stdout);
    let shown = format!("⚠️  process {first_pid} is pulling this image already");
    for expected in [&shown, "Complete (3/3)", "✅ PULL SUCCESSFUL", "Layers: 3/3 completed"] {
        assert!(second.status.success() && text.contains(expected), "no {expected:?} in {text}");
    }
    // The layers were transferred only once.
    assert!(link.carried() < 14 * MB, "{} bytes came", link.carried());
}

/// Private images: no login, a wrong one, docker's own, a credential helper, a token file; and no secret in any output.
#[test]
fn credentials() {
    let lab = Lab::start("credentials");
    let (private, password) = (&lab.private, &lab.password);
    let image = format!("{private}/three:latest");
    let config = lab.dir.join("config");
    let with_config = |image: &str, options: &[&str]| {
        let options = options.to_owned();
        let pull = lab.begin_with(image, |command| {
            command.args(["--host", lab.socket().to_str().expect("plain")]).args(options).env("DOCKER_CONFIG", &config);
        });
        pull.finish()
    };

    let none = lab.pull(&image, &[]);
    none.ended_with(1).says(&[
        &format!("⚠️  no credentials for {private} were found (looked in: "),
        "❌ PULL FAILED: ",
        &format!("💡 log in as the user that runs this: docker login {private}"),
    ]);
    none.never_says(&["🔁", "PULL SUCCESSFUL"]);

    // A login that the registry no longer accepts.
    fs::create_dir(&config).expect("a directory");
    let old = base64(b"fleet:old-password");
    let auths = format!("{{\"auths\":{{\"{private}\":{{\"auth\":\"{old}\"}}}}}}");
    fs::write(config.join("config.json"), auths).expect("config.json");
    let wrong = with_config(&image, &[]);
    wrong.ended_with(1).says(&[
        &format!("⚠️  {private} was asked as user fleet (from {}", config.join("config.json").display()),
        "❌ PULL FAILED: ",
        "💡 log in",
    ]);
    wrong.never_says(&["🔁", "old-password", &old]);

    fs::write(config.join("config.json"), "{\"auths\": [").expect("config.json");
    let broken = with_config(&format!("{}/tiny", lab.registry), &[]);
    broken.pulled(1, 0).says(&["⚠️", "config.json"]);
    with_config(&image, &[]).ended_with(1).says(&["config.json", "❌ PULL FAILED: "]);

    // The login of `docker login`, from DOCKER_CONFIG and from the home directory.
    fs::remove_file(config.join("config.json")).expect("config.json");
    let log_in = |variable: &str, value: &Path| {
        let mut login = lab.command("docker");
        login.arg("-H").arg(format!("unix://{}", lab.socket().display()));
        login.args(["login", "--username", "fleet", "--password-stdin", private]).env(variable, value);
        login.stdin(fs::File::open(lab.dir.join("lab/password")).expect("the password"));
        let login = login.output().expect("docker runs");
        assert!(login.status.success(), "docker login: {login:?}");
    };
    log_in("DOCKER_CONFIG", &config);
    with_config(&image, &[]).pulled(3, 0);
    lab.pull(&image, &[]).ended_with(1).says(&["no credentials"]);
    log_in("HOME", &lab.dir.join("home"));
    lab.pull(&image, &[]).ended_with(0).says(&["Image is up to date"]);
    fs::remove_dir_all(lab.dir.join("home/.docker")).expect("docker's directory");

    // A credential helper is a program on PATH.
    let helpers = lab.dir.join("helpers");
    fs::create_dir(&helpers).expect("a directory");
    let script = format!(
        "#!/bin/sh\nread -r server\necho \"$1 $server\" >>'{}'\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"fleet\",\"Secret\":\"%s\"}}' \"$server\" \"$(cat '{}')\"\n",
        helpers.join("asked").display(),
        lab.dir.join("lab/password").display(),
    );
    write_private(&helpers.join("docker-credential-lab"), &script, 0o755);
    fs::write(config.join("config.json"), format!("{{\"credHelpers\":{{\"{private}\":\"lab\"}}}}"))
        .expect("config.json");
    let path = format!("{}:{}", helpers.display(), std::env::var("PATH").expect("a PATH"));
    lab.forget_images();
    let helped = lab.begin_with(&image, |command| {
        command.args(["--host", lab.socket().to_str().expect("plain")]).env("DOCKER_CONFIG", &config).env("PATH", path);
    });
    helped.finish().pulled(3, 0);
    assert_eq!(fs::read_to_string(helpers.join("asked")).expect("asked"), format!("get {private}\n"));
    // The helper is not on PATH.
    let helpless = with_config(&image, &["--retries", "0"]);
    helpless.ended_with(1).says(&["⚠️", "docker-credential-lab", "❌ PULL FAILED: "]);

    token_file(&lab, &image);
    lab.keeps_the_secret();
    assert!(!password.is_empty());
}

/// A password in a file, over the socket and with the docker CLI.
fn token_file(lab: &Lab, image: &str) {
    let token = lab.dir.join("token");
    let file = token.to_str().expect("plain");
    write_private(&token, &format!("{}\n", lab.password), 0o600);
    let options = ["--token-file", file, "--token-user", "fleet"];
    lab.forget_images();
    lab.pull(image, &options).pulled(3, 0).never_says(&["⚠️"]);
    lab.state(&["--check", image, options[0], options[1], options[2], options[3]], 0, "yes: ");
    lab.state(&["--check", image], 3, "cannot tell: ");
    write_private(&token, &lab.password, 0o644);
    lab.pull(image, &options).ended_with(0).says(&["⚠️", file, "Image is up to date"]);
    write_private(&token, "wrong", 0o600);
    let wrong = lab.pull(image, &options);
    wrong.ended_with(1).says(&["was asked as user fleet", file, "❌ PULL FAILED: "]);
    let missing = lab.pull(image, &["--token-file", "/nonexistent/token"]);
    missing.ended_with(1).says(&["❌ PULL FAILED: ", "/nonexistent/token"]);

    write_private(&token, &lab.password, 0o600);
    lab.forget_images();
    let (engine, link) = (Link::to_socket(&lab.socket()), Link::to(&lab.private, 5 * MB));
    let mut pull = lab.begin_with(&format!("{}/three", link.address), |command| {
        command.args(["--host", &format!("tcp://{}", engine.address)]).args(options);
    });
    pull.await_text("📋");
    let docker = children(pull.pid());
    assert!(!docker.is_empty(), "docker runs below process {}", pull.pid());
    for process in docker {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains(&lab.password), "the secret is in the {file} of docker: {text}");
        }
    }
    pull.finish().ended_with(0).says(&["(docker CLI)", "✅ PULL SUCCESSFUL", "Layers: 3/3"]);
    let left = fs::read_dir(lab.dir.join("home")).expect("home").count();
    assert_eq!(left, 0, "something was left in the home directory");
}

fn children(pid: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn write_private(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

/// Failures in the middle of a pull, each followed by a run that succeeds.
#[test]
fn faults() {
    // All images and their layers need less than a third of this size.
    let lab = Lab::start_on_disk_of("faults", "500M");
    registry_restarts(&lab);
    engine_restarts(&lab);
    link_stalls(&lab);
    disk_fills(&lab);
}

fn registry_restarts(lab: &Lab) {
    // The registry is not there when the pull begins: this program retries.
    lab.order("kill", "registry");
    let mut pull = lab.begin_pull(&format!("{}/tiny", lab.registry), &[]);
    pull.await_text("🔁 Retry 1/3 in 5s: ");
    lab.order("revive", "registry");
    let pulled = pull.finish();
    pulled.pulled(1, 0).says(&["🔁 Retry 1/3 in 5s: ", "connection refused", "✅ PULL SUCCESSFUL"]);

    // The registry is gone in the middle: the engine retries.
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/three", link.address);
    let mut pull = lab.begin_pull(&image, &[]);
    pull.await_text("⬇️");
    lab.order("kill", "registry");
    link.reset();
    pull.await_text("retrying in ");
    link.set_rate(20 * MB);
    lab.order("revive", "registry");
    let pulled = pull.finish();
    pulled.pulled(3, 0).says(&["⬇️", "🔁 Layer", "✅ PULL SUCCESSFUL"]);
    assert!(lab.has(&image), "{pulled}");
}

fn engine_restarts(lab: &Lab) {
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/eight", link.address);
    let mut pull = lab.begin_pull(&image, &[]);
    pull.await_text("⬇️");
    lab.order("kill", "engine");
    pull.await_text("🔁 Retry 1/3 in 5s: the engine broke off");
    lab.order("revive", "engine");
    link.set_rate(20 * MB);
    let pulled = pull.finish();
    pulled.ended_with(0).says(&["🔁 Retry 1/3 in 5s: ", "(8/8)", "✅ PULL SUCCESSFUL", "Layers: 8/8 completed"]);
    assert!(lab.has(&image), "{pulled}");

    // Only twice: the engine discards what it has downloaded each time, and mobile data are expensive.
    lab.forget_images();
    link.set_rate(2 * MB);
    let mut pull = lab.begin_pull(&image, &[]);
    pull.await_text("⬇️");
    lab.order("kill", "engine");
    lab.order("revive", "engine");
    pull.await_texts(&["🔁 Retry 1/3", "⬇️"]);
    lab.order("kill", "engine");
    pull.finish().ended_with(1).says(&["🔁 Retry 1/3", "⬇️", "❌ PULL FAILED: the engine broke off"]);
    lab.order("revive", "engine");

    // The registry does not come back: the failure is reported, at once if no retry is allowed.
    lab.forget_images();
    for (retries, signal) in [("0", None), ("1", Some(Signal::TERM))] {
        link.set_rate(2 * MB);
        let mut pull = lab.begin_pull(&image, &["--retries", retries]);
        pull.await_text("⬇️");
        lab.order("kill", "engine");
        if let Some(signal) = signal {
            pull.await_text("🔁 Retry 1/1");
            pull.signal(signal);
        }
        let began = Instant::now();
        let ended = pull.finish();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}: {ended}", began.elapsed());
        match signal {
            None => ended.ended_with(1).says(&["⬇️", "❌ PULL FAILED: the engine broke off", "💡 look at Docker"]),
            Some(_) => ended.ended_with(143).says(&["🔁 Retry", "🛑 PULL INTERRUPTED (SIGTERM)"]),
        };
        ended.never_says(&["PULL SUCCESSFUL", "] 100%"]);
        lab.order("revive", "engine");
    }
    link.set_rate(20 * MB);
    lab.pull(&image, &[]).pulled(8, 0);
}

fn link_stalls(lab: &Lab) {
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/eight", link.address);
    lab.forget_images();
    let mut pull = lab.begin_pull(&image, &["--stall-timeout", "3", "--retries", "0"]);
    pull.await_text("⬇️");
    link.stall();
    let stalled = pull.finish();
    stalled.ended_with(1).says(&["⬇️", "❌ PULL FAILED: nothing has moved for 3s", "💡 look at the network"]);
    assert!((3..6).contains(&stalled.took.as_secs()), "{stalled}");

    link.set_rate(2 * MB);
    let mut pull = lab.begin_pull(&image, &["--stall-timeout", "3"]);
    pull.await_text("⬇️");
    link.stall();
    pull.await_text("🔁 Retry 1/3 in 5s: nothing has moved for 3s");
    link.reset();
    link.set_rate(20 * MB);
    pull.finish().ended_with(0).says(&["🔁 Retry 1/3", "(8/8)", "✅ PULL SUCCESSFUL", "Layers: 8/8 completed"]);
}

fn disk_fills(lab: &Lab) {
    let filler = lab.dir.join("lab/filler");
    let image = format!("{}/zeros", lab.registry);
    let room = 40 * MB;
    let disk = rustix::fs::statvfs(lab.dir.join("lab").as_path()).expect("the disk");
    let free = disk.f_bavail * disk.f_frsize;
    fs::write(&filler, vec![1; usize::try_from(free - room).expect("fits")]).expect("a filled disk");
    let full = lab.pull(&image, &[]);
    full.ended_with(1).says(&["⚠️", "❌ PULL FAILED: ", "💡 make room where Docker keeps its images"]);
    full.says(&["no space left on device"]).never_says(&["🔁", "PULL SUCCESSFUL"]);
    let shown = full.between("⚠️  ", " free where the engine keeps its images");
    assert!(
        shown.ends_with("MB") && shown.trim_end_matches("MB").parse::<u64>().is_ok_and(|mb| mb <= 40),
        "{shown}: {full}"
    );
    fs::remove_file(&filler).expect("a file");
    lab.pull(&image, &[]).pulled(2, 0);
}

/// Podman's socket, which is compatible with docker's but sends less.
#[test]
fn podman() {
    let lab = Lab::start("podman");
    let podman = lab.podman();
    let pull = |image: &str, options: &[&str]| {
        let pull = lab.begin_with(image, |command| {
            command.arg("--host").arg(format!("unix://{}", podman.socket.display())).args(options);
        });
        pull.finish()
    };
    for (name, count) in [("tiny", 1), ("three", 3), ("eight", 8)] {
        let image = format!("{}/{name}", lab.registry);
        let fresh = pull(&image, &[]);
        fresh.ended_with(0).says(&[
            "📦 PULLING IMAGE (enhanced mode)",
            "📋 Layer",
            "Download complete",
            &format!("Complete ({count}/{count})"),
            "✅ PULL SUCCESSFUL",
            "] 100%",
            &format!("Layers: {count}/{count} completed"),
        ]);
        assert!(lab.has_at(&podman.socket, &image), "{fresh}");
    }
    let again = pull(&format!("{}/three", lab.registry), &[]);
    again.ended_with(0).says(&["💾 Layer", "✅ PULL SUCCESSFUL", "Layers: 3/3 completed"]);
    let missing = pull(&format!("{}/three:missing", lab.registry), &[]);
    missing.ended_with(1).says(&["❌ PULL FAILED: ", "💡 check the image's name and tag"]);
    missing.never_says(&["PULL SUCCESSFUL", "🔁"]);
    lab.push_index("foreign", &["s390x", "ppc64le"]);
    let foreign = pull(&format!("{}/tiny:foreign", lab.registry), &[]);
    foreign.ended_with(1).says(&["❌ PULL FAILED: ", "💡 this image is not built for this machine"]);

    let private = format!("{}/three:v2", lab.private);
    pull(&private, &[]).ended_with(1).says(&["no credentials for", "❌ PULL FAILED: ", "💡 log in"]);
    let token = lab.dir.join("token");
    let options = ["--token-file", token.to_str().expect("plain"), "--token-user", "fleet"];
    write_private(&token, "wrong", 0o600);
    pull(&private, &options).ended_with(1).says(&["was asked as user fleet", "❌ PULL FAILED: "]);
    write_private(&token, &lab.password, 0o600);
    pull(&private, &options).ended_with(0).says(&["✅ PULL SUCCESSFUL", "Layers: 3/3 completed"]);
    lab.keeps_the_secret();
}
