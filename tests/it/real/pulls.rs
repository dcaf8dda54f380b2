//! Pulls with the docker engine: fresh, cached, for several platforms, slow, interrupted, and with the docker CLI.

use super::MB;
use super::lab::{Lab, Link, PROGRAM, succeed};
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

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

/// Long enough for lines with the overall progress. `Running::finish` of the lab checks that a replay has the same lines.
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
