//! The checks that Puppet runs, with a real engine and a real registry.

use super::lab::{Lab, PROGRAM, succeed};
use std::fs;

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
    // The same image under another name: first the registry does not have that name, then it does.
    docker(&["tag", &three, &image("other:name")]);
    ask(3, "cannot tell: ", &["--check", &image("other:name")]);
    docker(&["push", "-q", &image("other:name")]);
    ask(0, "yes:", &["--check", &image("other:name")]);
    ask(0, "yes:", &["--check", &three]);
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
    let digest = lab.push_index("multi", &["amd64", "arm64"]);
    let (multi, pinned) = (image("tiny:multi"), format!("{tiny}:multi@{digest}"));
    ask(1, &digest, &["--check", &multi]);
    ask(1, "is not here", &["--check", &pinned]);
    lab.pull(&multi, &[]).ended_with(0);
    ask(0, &digest, &["--check", &multi]);
    ask(0, "is here", &["--check", &pinned]);

    // With a digest the platform is checked, too; no other platform of the index is here.
    let own = docker(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
    ask(0, "is here", &["--check", "--platform", own.trim(), &pinned]);
    ask(1, "another platform than linux/s390x", &["--check", "--platform", "linux/s390x", &pinned]);

    // An image that was neither pulled nor pushed under its name: the message says what to do.
    lab.push_foreign(&image("built:there"));
    let tar = lab.dir.join("foreign.tar");
    docker(&["import", tar.to_str().expect("plain"), &image("built:there")]);
    let cure = format!("docker image rm {}", image("built:there"));
    ask(3, &cure, &["--check", &image("built:there")]);
    docker(&["image", "rm", &image("built:there")]);
    lab.pull(&image("built:there"), &[]).ended_with(0);
    ask(0, "yes:", &["--check", &image("built:there")]);

    // Containers of images without a program can be created, but not run.
    ask(1, "there is no container web", &["--running", "web", &three]);
    docker(&["create", "--name", "web", &three, "/nothing"]);
    ask(1, "container web does not run", &["--running", "web", &three]);
    ask(1, "is not here", &["--running", "web", &image("eight")]);
    runs(&lab);

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

/// `--running` compares the image of a container with the local image.
fn runs(lab: &Lab) {
    let dir = lab.dir.join("waits");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("waits.c"), "int pause(void); int main(void) { return pause(); }\n").expect("a file");
    succeed(lab.command("cc").current_dir(&dir).args(["-static", "-o", "waits", "waits.c"]));
    succeed(lab.command("tar").current_dir(&dir).args(["-cf", "waits.tar", "waits"]));
    let tar = dir.join("waits.tar");
    let (image, three) = (format!("{}/waits", lab.registry), format!("{}/three", lab.registry));
    lab.docker(&["import", "-c", "ENTRYPOINT [\"/waits\"]", tar.to_str().expect("plain"), &image]);
    lab.docker(&["run", "-d", "--name", "app", "--net", "none", &image]);
    lab.state(&["--running", "app", &image], 0, "yes: ");
    lab.state(&["--running", "nobody", &image], 1, "no: ");
    lab.state(&["--running", "app", &three], 1, "no: ");
    lab.state(&["--running", "app", &format!("{}/nothing", lab.registry)], 1, "no: ");
    // A new image under the same name, as after a pull.
    lab.docker(&["tag", &three, &image]);
    lab.state(&["--running", "app", &image], 1, "no: ");
    lab.docker(&["rm", "-f", "app"]);
    lab.state(&["--running", "app", &three], 1, "no: ");
    lab.state(&["--running", "app", &three, "--host", "unix:///nonexistent/docker.sock"], 3, "cannot tell: ");
}
