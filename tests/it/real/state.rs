//! The state checks that Puppet runs, against a real engine and a real registry.

use super::lab::{Lab, PROGRAM, succeed};

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn checks() {
    let lab = Lab::start("state");
    let host = format!("unix://{}", lab.socket().display());
    let docker = |args: &[&str]| succeed(lab.command("docker").args(["-H", &host]).args(args));
    let images = || {
        let list = docker(&["image", "ls", "-a", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}"]);
        let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let ask = |code: i32, says: &str, args: &[&str]| {
        let before = images();
        let output = lab.command(PROGRAM).args(["--host", &host]).args(args).output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(says) && text.lines().count() == 1 && output.stderr.is_empty(), "{args:?}: {text}");
        assert_eq!(images(), before, "{args:?} changed something");
    };
    let image = |name: &str| format!("{}/{name}", lab.registry);
    let (three, second, tiny) = (image("three"), image("three:v2"), image("tiny"));

    ask(1, "is not here; the registry has sha256:", &["--check", &three]);
    lab.pull(&three, &[]).ended_with(0);
    ask(0, "is what the registry has", &["--check", &three]);
    ask(3, "unknown", &["--check", &image("never:pushed")]);
    ask(
        3,
        "no credentials were found",
        &["--check", &{
            let private = format!("{}/three", lab.private);
            docker(&["tag", &three, &private]);
            private
        }],
    );
    // The tag moves in the registry.
    lab.pull(&second, &[]).ended_with(0);
    docker(&["tag", &second, &image("moving")]);
    docker(&["push", "-q", &image("moving")]);
    ask(0, "yes:", &["--check", &image("moving")]);
    docker(&["tag", &three, &image("moving")]);
    ask(1, "is newer in the registry", &["--check", &image("moving")]);
    lab.pull(&image("moving"), &[]).ended_with(0);
    ask(0, "yes:", &["--check", &image("moving")]);

    // An index for several platforms, and a digest of it.
    let url = format!("http://{}/v2/tiny/manifests", lab.registry);
    let script = format!(
        "m=$(curl -sf -H 'Accept: {MANIFEST}' {url}/latest); d=$(printf %s \"$m\" | sha256sum | cut -d' ' -f1)
         e() {{ printf '{{\"mediaType\":\"{MANIFEST}\",\"size\":%d,\"digest\":\"sha256:%s\",\"platform\":{{\"os\":\"linux\",\"architecture\":\"%s\"}}}}' ${{#m}} $d $1; }}
         curl -sf -o /dev/null -D - -X PUT -H 'Content-Type: {LIST}' {url}/multi -d \"{{\\\"schemaVersion\\\":2,\\\"mediaType\\\":\\\"{LIST}\\\",\\\"manifests\\\":[$(e amd64),$(e arm64)]}}\" \
         | tr -d '\\r' | sed -n 's/^Docker-Content-Digest: //p'"
    );
    let digest = succeed(lab.command("bash").args(["-ec", &script])).trim().to_owned();
    assert!(digest.starts_with("sha256:"), "{digest}");
    let (multi, pinned) = (image("tiny:multi"), format!("{tiny}:multi@{digest}"));
    ask(1, &digest, &["--check", &multi]);
    ask(1, "is not here", &["--check", &pinned]);
    lab.pull(&multi, &[]).ended_with(0);
    ask(0, &digest, &["--check", &multi]);
    ask(0, "is here", &["--check", &pinned]);

    // Containers of images that have no program in them can be made, if not run.
    ask(1, "there is no container web", &["--running", "web", &three]);
    docker(&["create", "--name", "web", &three, "/nothing"]);
    ask(1, "container web does not run", &["--running", "web", &three]);
    ask(1, "is not here", &["--running", "web", &image("eight")]);

    lab.order("kill", "registry");
    ask(3, "connection refused", &["--check", &three]);
    ask(0, "is here", &["--check", &pinned]);
    lab.order("kill", "engine");
    ask_dead(&lab, &host, &three);
}

fn ask_dead(lab: &Lab, host: &str, image: &str) {
    let output = lab.command(PROGRAM).args(["--host", host, "--check", image]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
}
