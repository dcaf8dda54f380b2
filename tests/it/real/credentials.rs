//! Private images, and that no password is in any output.

use super::lab::{Lab, Link, base64};
use super::{MB, write_private};
use std::fs;
use std::path::Path;

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
