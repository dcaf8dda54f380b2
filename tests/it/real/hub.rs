//! `--check` of images of Docker Hub, with the real Engine, the real agent, and a registry under the Hub's names.

use super::lab::{PROGRAM, succeed};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/hub.sh");

/// The steps of the test. `asked` prints the requests for manifests that the registry got since its last call.
const STEPS: &str = r#"
docker() { command docker -H "unix://$PWD/docker.sock" "$@"; }
alone() { # WHAT COMMAND...: prints the command's exit code and line
    local output code=0
    output=$("${@:2}" 2>&1) || code=$?
    echo "$1: exit $code: $output"
}
asked() {
    sleep 0.3 # the registry writes its log a little later than its answer
    local now
    now=$(wc -l <registry.log)
    echo "asked:" $(sed -n "$((seen + 1)),$now s|.*\"\([A-Z]*\) /v2/fleet/app/manifests/.*|\1|p" registry.log)
    seen=$now
}
pull() { env -i PATH="$1" HOME="$PWD" SSL_CERT_FILE="$PWD/ca.crt" "$PULL" --host "unix://$PWD/docker.sock" "${@:2}"; }
push() {
    head -c 20000 /dev/urandom >layer
    printf 'FROM scratch\nCOPY layer /\n' >Dockerfile
    tar -c Dockerfile layer | DOCKER_BUILDKIT=0 docker build -q -t fleet/app - >/dev/null 2>&1
    docker push -q fleet/app >/dev/null
}
seen=0 with=$AGENT:$PATH
push
docker image prune -af >/dev/null
asked >/dev/null
alone pulled pull "$with" --no-log fleet/app | tail -n 2 | head -n 1
asked
alone current pull "$with" --check fleet/app
asked
docker tag fleet/app kept
push
docker tag kept fleet/app
asked >/dev/null
alone newer pull "$with" --check fleet/app
asked
alone engine pull "$PATH" --check fleet/app
asked
"#;

#[test]
fn a_check_of_the_hubs_images_costs_no_get_of_a_manifest() {
    super::sizes::build_agent();
    let dir = PathBuf::from(format!("/tmp/pull-hub-{}", std::process::id()));
    // A copy of the program in its own directory, so that PATH decides whether there is an agent.
    let (own, agent) = (dir.join("own"), dir.join("agent"));
    for (directory, from) in [(&own, PROGRAM.into()), (&agent, PathBuf::from(PROGRAM).with_file_name("alm-agent"))] {
        fs::create_dir_all(directory).expect("a directory");
        fs::copy(&from, directory.join(from.file_name().expect("a name"))).expect("a copy");
    }
    let mut command = Command::new(SCRIPT);
    command.arg(dir.join("hub")).args(["bash", "-euo", "pipefail", "-c", STEPS]).stdin(Stdio::null()).env_clear();
    command.env("PATH", env::var_os("PATH").expect("a PATH")).env("AGENT", &agent);
    command.env("PULL", own.join("docker-pull-with-progress")).env("LANG", "C.UTF-8");
    let output = succeed(&mut command);
    fs::remove_dir_all(&dir).expect("it was there");
    println!("{output}");

    let lines: Vec<&str> = output.lines().collect();
    let at = |begin: &str| {
        lines.iter().position(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {output}"))
    };
    let manifests = |begin: &str| lines[at(begin) + 1..].iter().find(|line| line.starts_with("asked:")).expect("asked");
    assert!(lines[0].contains("Downloaded: 20KB in "), "{output}");
    // Only the two requests of the engine: sizes of the Hub's images are not requested.
    assert_eq!(*lines.iter().find(|line| line.starts_with("asked:")).expect("asked"), "asked: HEAD GET", "{output}");
    assert!(lines[at("current")].starts_with("current: exit 0: "), "{output}");
    assert_eq!(*manifests("current"), "asked: HEAD", "{output}");
    assert!(lines[at("newer")].starts_with("newer: exit 1: "), "{output}");
    assert_eq!(*manifests("newer"), "asked: HEAD", "{output}");
    // Without the agent the engine is asked, which sends a GET.
    assert!(lines[at("engine")].starts_with("engine: exit 1: "), "{output}");
    assert!(manifests("engine").contains("GET"), "{output}");
}
