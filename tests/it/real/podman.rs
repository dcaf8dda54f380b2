//! Podman's socket, which is compatible with docker's but sends less.

use super::lab::Lab;
use super::write_private;

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
