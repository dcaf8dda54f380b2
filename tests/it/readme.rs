//! What the README and the man page of the formats say is true: commands run, output is real, options and emoji are those of the
//! program.

use crate::support::{Engine, FIXTURES, PROGRAM, Request, Step, Temp, answer, clean, program, run, stream};
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");
const FORMATS: &str = include_str!("../../deploy/debian/docker-pull-with-progress.5");
const CI: &str = include_str!("../../.ci/run");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The lines of the README's code blocks with commands.
fn commands() -> impl Iterator<Item = &'static str> {
    README.split("```sh\n").skip(1).flat_map(|block| block.split("```").next().unwrap_or_default().lines())
}

/// An engine that has every image, whose images are all current, and that runs every container.
fn engine(temp: &Temp) -> Engine {
    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    Engine::serve(Path::new(&temp.at("docker.sock")), |request: &Request| {
        let has = |part: &str| request.line.contains(part);
        vec![Step::Write(if has("/_ping") {
            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec()
        } else if has("/images/create") {
            stream([r#"{"status":"Status: Image is up to date for it"}"#])
        } else if has("/distribution/") {
            answer(200, &format!("{{\"Descriptor\":{{\"digest\":\"{DIGEST}\"}}}}"))
        } else if has("/containers/") {
            answer(200, r#"{"Image":"sha256:1d","State":{"Running":true}}"#)
        } else {
            answer(200, &format!("{{\"Id\":\"sha256:1d\",\"RepoDigests\":[\"a@{DIGEST}\"]}}"))
        })]
    })
}

#[test]
fn every_command_runs() {
    let temp = Temp::new();
    let engine = engine(&temp);
    let log = temp.write("log", "[2025-11-19 10:30:15] one line\n");
    let token = temp.write("token", "not-a-secret");
    // Commands by the names that an installation gives them. They log to the test's own file; those that only ask have no log.
    let script = format!(
        "case $1 in --check | --running) exec {PROGRAM} \"$@\" ;; *) exec {PROGRAM} \"$@\" --log {log} ;; esac"
    );
    temp.script("docker-pull-with-progress", &script);
    temp.script("alm-pull", &format!("exec {PROGRAM} --view --log {log} \"$@\""));
    temp.script("alm", "shift; exec alm-pull \"$@\"");
    temp.script("sudo", "exec \"$@\"");
    let mut count = 0;
    for line in commands() {
        count += 1;
        // CI runs these scripts; this test is part of the second one.
        if let Some(script) = line.strip_prefix("bash ") {
            let file = script.split(' ').next().unwrap_or_default();
            assert!(CI.contains(script) && Path::new(ROOT).join(file).is_file(), "CI does not run {script}");
            continue;
        }
        let line = line
            .replace("cargo run --release --locked --", "docker-pull-with-progress")
            .replace("/opt/alm/config/gcp-registry-token", &token);
        // With -f the viewer runs until it is ended.
        let (line, code) = if line.split(' ').any(|word| word == "-f") {
            (format!("timeout --preserve-status -s INT 2 {line}"), 130)
        } else {
            (line, 0)
        };
        let mut shell = clean(Command::new("sh"), &temp);
        shell.args(["-ec", &line]).current_dir(ROOT).env("DOCKER_HOST", engine.host());
        shell.env("PATH", format!("{}:/usr/bin:/bin", temp.at("")));
        let ended = run(&mut shell);
        assert_eq!(ended.code, Some(code), "{line}\n{}{}", ended.stdout, ended.stderr);
    }
    assert!(count >= 8, "the README has {count} commands");
}

#[test]
fn the_installation_on_a_node_is_run_by_ci() {
    // tests/proofs/puppet.sh runs this block, line by line, unchanged.
    let blocks: Vec<&str> = README.split("```bash\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [block] = blocks[..] else { panic!("{} blocks for tests/proofs/puppet.sh", blocks.len()) };
    assert!(block.lines().count() <= 10 && block.contains("build-rpi.sh") && block.contains("puppet apply"), "{block}");
    assert!(CI.contains("tests/proofs/puppet.sh"), "CI does not run it");
}

#[test]
fn its_output_is_real() {
    let temp = Temp::new();
    let file = format!("{FIXTURES}/dockerd-20.10.24/fresh-three.jsonl");
    let played = run(program(&temp).args(["--replay", &file])).stdout;
    let block = README.split("```\n").nth(1).expect("the README begins with output");
    let mut real = played.lines();
    for line in block.lines().filter(|line| *line != "…") {
        assert!(real.any(|real| real == line), "not in the output, or not in this order: {line}");
    }
}

#[test]
fn its_options_are_those_of_the_program() {
    let temp = Temp::new();
    let help = run(program(&temp).arg("--help")).stdout;
    let options = |text: &str| {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let mut options: Vec<String> =
            words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_owned).collect();
        options.sort();
        options.dedup();
        options
    };
    let table =
        README.split("| option | meaning |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    for option in options(&help) {
        let is_mode = ["--check", "--running", "--replay", "--view", "--status", "--help", "--version"]
            .contains(&option.as_str());
        assert!(is_mode || options(table).contains(&option), "the README's table lacks {option}");
    }
    for option in options(table) {
        assert!(options(&help).contains(&option), "--help lacks {option}");
    }
}

#[test]
fn it_is_read_in_a_few_minutes() {
    assert!(README.len() <= 16_000, "{} bytes: what is long belongs into deploy/README.md or a man page", README.len());
    // In the order of a reader's questions.
    let headings: Vec<&str> = README.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let order = ["Install", "Five commands", "alm pull", "Fleets in short", "Exit codes", "When it fails", "Security"];
    assert_eq!(headings, order);
}

#[test]
fn the_signs_of_the_man_page_are_those_of_the_program() {
    let temp = Temp::new();
    // The rows of WORDS whose replacement is a word: the others are bars and punctuation.
    let source = std::fs::read_to_string(Path::new(ROOT).join("src/os/charset.rs")).expect("a source file");
    let signs: Vec<String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("    (\"")?.strip_suffix(" \"),")?.split_once("\", \""))
        .map(|(sign, word)| format!("{}\t{word}\t", sign.trim_end()))
        .collect();
    for sign in &signs {
        assert!(FORMATS.lines().any(|line| line.starts_with(sign)), "docker-pull-with-progress.5 lacks «{sign}»");
    }
    let rows = FORMATS.lines().filter_map(|line| {
        let mut cells = line.split('\t');
        Some((cells.next()?, cells.next()?)).filter(|(sign, _)| !sign.is_ascii())
    });
    let mut count = 0;
    for (sign, word) in rows {
        // In ASCII, an emoji within a status is replaced by its word.
        let capture = temp.write("capture", format!("{{\"status\":\"Status: {sign}  x\"}}\n"));
        let shown = run(program(&temp).args(["--ascii", "--replay", &capture])).stdout.replace("  ", " ");
        assert!(shown.contains(&format!("Status: {word} x")), "{sign} is not {word}: {shown}");
        count += 1;
    }
    assert!(count > 0 && count == signs.len(), "{count} signs in the man page, {signs:?} in src/os/charset.rs");
}
