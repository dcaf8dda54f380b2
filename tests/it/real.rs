//! Pulls from a real engine and real registries.
//!
//! Few tests of many steps, for each has a laboratory of its own to start. They need root, and what `tests/run.sh`
//! installs; where that is missing they fail.

mod lab;

use lab::{Lab, Link};
use rustix::process::Signal;
use std::time::Duration;

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
    // Nothing listens there: port 1 is below what the kernel gives.
    let refused = lab.pull("127.0.0.1:1/three", &["--retries", "0"]);
    refused.ended_with(1).says(&["❌ PULL FAILED:", "💡 check that this device reaches the registry 127.0.0.1:1:"]);
    refused.says(&["connection refused"]);
    for bad in ["", "Upper", "-rf", "a b"] {
        let status = lab.command(lab::PROGRAM).arg("--no-log").arg("--").arg(bad).status();
        assert_eq!(status.expect("the program runs").code(), Some(2), "{bad:?}");
    }
    let quiet =
        lab.command(lab::PROGRAM).args(["-q", "--no-log", "--host"]).arg(lab.socket()).arg(image("tiny")).output();
    let quiet = quiet.expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&quiet.stdout), format!("{registry}/tiny:latest\n"), "{quiet:?}");

    slow_pull(&lab);
    fallback(&lab);
    interrupted(&lab);
}

/// Over a link that lets one see the progress.
fn slow_pull(lab: &Lab) {
    let link = Link::to(&lab.registry, 3 * MB);
    lab.forget_images();
    let slow = lab.pull(&format!("{}/three", link.address), &[]);
    slow.pulled(3, 0);
    assert!((3..8).contains(&slow.took.as_secs()), "{slow}");
    let bars: Vec<_> = slow.lines().filter(|line| line.starts_with("⬇️  Layer")).collect();
    // 10 MB take over three seconds: a bar at once for each layer, another after two, and the last one's end.
    assert!((5..=9).contains(&bars.len()), "{} bars in {slow}", bars.len());
    assert!(bars.iter().any(|bar| (20..90).contains(&percent(bar))), "{slow}");
    assert!(slow.between("Downloaded: ", " (").starts_with("10MB in "), "{slow}");
}

fn percent(bar: &str) -> u32 {
    let digits = bar.split_once("] ").and_then(|(_, rest)| rest.split('%').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no percent in {bar}"))
}

/// Where there is no Unix socket docker's CLI pulls, and tells of layers as well.
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

/// Stopped in the middle it cancels the pull in the engine, and the next one is whole.
fn interrupted(lab: &Lab) {
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/eight", link.address);
    lab.forget_images();
    for (signal, exit, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let mut pull = lab.begin_pull(&image, &[]);
        pull.await_text("⬇️");
        pull.signal(signal);
        let began = std::time::Instant::now();
        let stopped = pull.finish();
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}: {stopped}", began.elapsed());
        stopped.ended_with(exit).says(&["⬇️", &format!("🛑 PULL INTERRUPTED ({name})")]);
        stopped.never_says(&["PULL SUCCESSFUL", "PULL FAILED"]);
        std::thread::sleep(Duration::from_millis(500));
        let carried = link.carried();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(link.carried(), carried, "the engine goes on pulling after {stopped}");
        assert!(!lab.has(&image), "{stopped}");
    }
    link.set_rate(50 * MB);
    lab.pull(&image, &[]).pulled(8, 0);
}
