//! `alm-agent` in a real pull from a real registry: the total is known before the download, and nothing is downloaded if the image
//! cannot fit.

use super::MB;
use super::lab::{Lab, Link, Pulled, succeed};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Builds the agent, so that it is beside the program: cargo builds it only for the agent's own tests.
pub(super) fn build_agent() {
    let release = if cfg!(debug_assertions) { None } else { Some("--release") };
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "-q", "-p", "alm-agent"]).args(release);
    // With cargo's variables about the package under test, ring would be built again.
    let of_package = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars().map(|(name, _)| name).filter(of_package) {
        command.env_remove(name);
    }
    succeed(&mut command);
}

/// The sizes of an image's layers, according to the registry.
fn layers(lab: &Lab, name: &str) -> Vec<u64> {
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let url = format!("http://{}/v2/{name}/manifests/latest", lab.registry);
    let manifest = succeed(Command::new("curl").args(["-sf", "-H", &format!("Accept: {kind}"), &url]));
    let layers = manifest.split_once("\"layers\"").expect("layers").1;
    let sizes = layers.split("\"size\":").skip(1);
    sizes.map(|rest| rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{}MB", bytes / MB)
}

#[test]
fn sizes() {
    build_agent();
    let lab = Lab::start("sizes");
    let sizes = layers(&lab, "three");
    let total: u64 = sizes.iter().sum();

    // Without the agent the total is unknown, and there is no line about it.
    let link = Link::to(&lab.registry, 2 * MB);
    let image = format!("{}/three", link.address);
    let without = lab.pull(&image, &["--sizes", "never"]);
    without.pulled(3, 0).never_says(&["📏"]);

    lab.forget_images();
    let before = link.carried();
    let with = lab.pull(&image, &[]);
    with.pulled(3, 0).says(&[
        "📋",
        &format!("📏 To download: {} in 3 layers", megabytes(total)),
        "⬇️",
        "✅ PULL SUCCESSFUL",
        &format!("Downloaded: {} in ", megabytes(total)),
    ]);
    with.never_says(&["≥"]);
    let carried = link.carried() - before;
    assert!(carried >= total && carried < total + total / 20, "{carried} came for {total}: {with}");

    // Layers that are here are not part of the total.
    let pulled = lab.pull(&format!("{}/three:v2", link.address), &[]);
    pulled.pulled(3, 2).says(&["📏 To download: ", " in 1 layer (2 cached)"]);
    // Nothing new: sizes are not requested, and there is no line about them.
    lab.pull(&image, &[]).ended_with(0).never_says(&["📏"]);

    // A registry that requires a login, which this user has.
    private(&lab);
    lab.keeps_the_secret();
}

fn private(lab: &Lab) {
    lab.forget_images();
    let token = lab.dir.join("token");
    fs::write(&token, &lab.password).expect("a file");
    let image = format!("{}/three", lab.private);
    let options = ["--token-file", token.to_str().expect("UTF-8"), "--token-user", "fleet"];
    lab.pull(&image, &options).pulled(3, 0).says(&["📏 To download: ", " in 3 layers"]);
}

/// Leaves this number of free bytes on the lab's file system.
fn leave(lab: &Lab, bytes: u64) {
    let filler = lab.dir.join("lab/filler");
    let _ = fs::remove_file(&filler);
    let free = free(&lab.dir.join("lab"));
    succeed(Command::new("fallocate").args(["-l", &(free - bytes).to_string()]).arg(&filler));
}

fn free(directory: &Path) -> u64 {
    let output = succeed(Command::new("stat").args(["-f", "-c", "%f %S"]).arg(directory));
    output.split_whitespace().map(|number| number.parse::<u64>().expect("a number")).product()
}

const FULL: &str = "no space left on device for this image: it needs at least ";

#[test]
fn room() {
    build_agent();
    let lab = Lab::start_on_disk_of("room", "700M");
    succeed(Command::new(super::lab::SCRIPT).arg("image").arg(lab.dir.join("lab")).args(["ten", "20M", "20M", "20M"]));
    lab.forget_images();
    let need: u64 = layers(&lab, "ten").iter().sum();
    let link = Link::to(&lab.registry, 5 * MB);
    let image = format!("{}/ten", link.address);

    // There is space for a half, or for nearly all of it: the pull ends before anything is downloaded.
    for room in [need / 2, need - 4 * MB] {
        leave(&lab, room);
        let before = link.carried();
        let full = lab.pull(&image, &["--retries", "0"]);
        full.ended_with(1).says(&[&format!("❌ PULL FAILED: {FULL}"), " more where the engine keeps its images, and "]);
        full.says(&["💡 "]).never_says(&["🔁", "PULL SUCCESSFUL"]);
        let carried = link.carried() - before;
        assert!(carried * 20 < need, "{carried} of {need} came: {full}");
    }
    // Without the agent the engine notices it, after it has downloaded as much as fits.
    leave(&lab, need / 2);
    let before = link.carried();
    let without = lab.pull(&image, &["--retries", "0", "--sizes", "never"]);
    without.ended_with(1).says(&["❌ PULL FAILED: ", "no space left on device"]).never_says(&[FULL]);
    assert!(link.carried() - before > need / 3, "{without}");

    // A pull that may fit is never refused, whatever its result; a warning says that space is short.
    leave(&lab, need + 2 * MB);
    tight(&lab.pull(&image, &["--retries", "0"]));
    lab.forget_images();
    leave(&lab, need + need / 2);
    let fits = lab.pull(&image, &["--retries", "0"]);
    tight(fits.ended_with(0));
    // With enough space there is no line about it.
    lab.forget_images();
    leave(&lab, need * 4);
    lab.pull(&image, &[]).pulled(3, 0).never_says(&["⚠️"]);
}

fn tight(pulled: &Pulled) {
    pulled.says(&["⚠️  ", " to download and ", " free where the engine keeps its images"]).never_says(&[FULL]);
}
