//! Failures in the middle of a pull, each followed by a run that succeeds.

use super::MB;
use super::lab::{Lab, Link};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

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
