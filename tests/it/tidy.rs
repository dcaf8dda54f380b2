//! Rules about the code itself.
//!
//! What is tested of a file in `src` is what stands before its `#[cfg(test)]`.

mod words;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// All that the small executable is made of, and what its macros are made with.
const LINKED: &[&str] = &[
    "alm-state",
    "alm-stream",
    "bitflags",
    "deranged",
    "docker-pull-with-progress",
    "errno",
    "itoa",
    "lexopt",
    "libc",
    "linux-raw-sys",
    "memchr",
    "num-conv",
    "num_threads",
    "powerfmt",
    "proc-macro2",
    "quote",
    "rustix",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "signal-hook",
    "signal-hook-registry",
    "syn",
    "time",
    "time-core",
    "unicode-ident",
    "zmij",
];

/// More lines of code than this and a file has two ideas.
const MAX_LINES: usize = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `directory`, but what npm put there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if path.ends_with("node_modules") => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// The path below `directory` and the text before the tests of every source file there.
fn code_in(directory: &Path) -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(directory).expect("below it").display().to_string();
    let code = |path: &Path| {
        let text = fs::read_to_string(path).expect("a source file");
        text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
    };
    files(directory).iter().map(|path| (name(path), code(path))).collect()
}

/// What `src` holds.
fn sources() -> Vec<(String, String)> {
    code_in(&root().join("src"))
}

/// What all packages hold.
fn all_sources() -> Vec<(String, String)> {
    let crates = code_in(&root().join("crates")).into_iter().filter(|(path, _)| path.contains("/src/"));
    sources().into_iter().chain(crates).collect()
}

/// The lines of code: what is neither empty nor a comment.
fn code_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
}

/// What each part of `src` may use: the compiler keeps what is private to a folder, this which folder lies below which.
const BELOW: [(&str, &[&str]); 8] = [
    ("os", &[]),
    ("pull", &[]),
    ("report", &["os", "pull"]),
    ("docker", &["os", "pull"]),
    ("sink", &["os", "pull", "report", "args"]),
    ("recording", &["os", "pull", "report", "docker"]),
    ("session", &["os", "pull", "report", "docker", "sink", "recording"]),
    ("mode", &["os", "pull", "report", "docker", "sink", "recording", "session", "args"]),
];

#[test]
fn a_folder_uses_only_folders_below_it() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let part = path.split(['/', '.']).next().unwrap_or_default();
        let Some((_, below)) = BELOW.iter().find(|(name, _)| *name == part) else {
            assert!(["main", "args"].contains(&part), "{path}: which part of the program is it?");
            continue;
        };
        let used = code_lines(&code).flat_map(|line| line.split("crate::").skip(1));
        for other in used.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()) {
            if other != part && !below.contains(&other) {
                wrong.push(format!("{path} uses crate::{other}"));
            }
        }
        // Modes stand side by side; what lies in the folder of one belongs to it.
        let is_of_a_mode = path.matches('/').count() > 1;
        let names_a_mode = part == "mode"
            && code_lines(&code).any(|line| line.contains("crate::mode") || line.contains("super::") && !is_of_a_mode);
        if names_a_mode {
            wrong.push(format!("{path} uses another mode"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_makes_the_lines_reads_no_clock() {
    // A replay prints what the pull printed, because time is an argument here.
    let clocks = ["Instant", "SystemTime", "elapsed(", "now_utc(", "now_local(", "os::clock"];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        if ["pull/", "report/"].iter().any(|folder| path.starts_with(folder)) {
            let lines = code_lines(&code).filter(|line| clocks.iter().any(|clock| line.contains(clock)));
            wrong.extend(lines.map(|line| format!("{path} reads a clock: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_maps_name_every_file() {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut missing = Vec::new();
    for (map, depth) in [("src/main.rs", 1), ("crates/agent/src/main.rs", 0), ("crates/state/src/lib.rs", 0)] {
        let text = fs::read_to_string(root().join(map)).expect("a source file");
        let words = |text| str::split(text, |c| !is_word(c)).collect::<BTreeSet<&str>>();
        // The words of the first cell, and those of the row.
        let rows: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("//! |"))
            .map(|row| (words(row.split('|').next().unwrap_or_default()), words(row)))
            .collect();
        let directory = root().join(map).parent().expect("a folder").to_owned();
        // What is in these two is named by their own first lines.
        let is_apart = |path: &str| ["args/", "recording/"].iter().any(|folder| path.starts_with(folder));
        let files = code_in(&directory).into_iter().map(|(path, _)| path);
        for path in files.filter(|path| path.matches('/').count() <= depth && !is_apart(path)) {
            let stem = path.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).unwrap_or_default();
            // Many names are words of other rows, too: a file is named by the row of its folder, or has one of its own.
            let is_named = |(first, all): &(BTreeSet<&str>, BTreeSet<&str>)| match path.split_once('/') {
                Some((folder, _)) => first.contains(folder) && all.contains(stem),
                None => first.contains(stem),
            };
            if !["main", "mod", "lib"].contains(&stem) && !rows.iter().any(is_named) {
                missing.push(format!("{map} does not name {path} in a row of its folder"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_what_holds() {
    for (name, code) in all_sources() {
        let top: Vec<&str> = code.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(!top.is_empty(), "{name} does not open with //!");
        let says = top.iter().any(|line| line.contains("**Invariant:**"));
        assert!(says, "{name} has no sentence **Invariant:**");
    }
}

#[test]
fn files_hold_one_idea() {
    for (name, code) in all_sources() {
        let count = code_lines(&code).count();
        assert!(count <= MAX_LINES, "{name} has {count} lines of code");
    }
}

#[test]
fn what_panics_or_blocks_is_not_used() {
    // In two pieces, so that this file does not find itself.
    let forbidden = [
        ("print", "ln!(", "panics on a closed pipe"),
        ("print", "!(", "panics on a closed pipe"),
        ("to", "do!(", "is not done"),
        ("unimplement", "ed!(", "is not done"),
        ("dbg", "!(", "is for debugging"),
        (".unw", "rap()", "says nothing of why it cannot fail"),
        ("stdout().lo", "ck()", "blocks on a full pipe: see output.rs"),
        ("thread::spa", "wn", "there are no threads"),
    ];
    for (name, code) in all_sources() {
        for line in code_lines(&code) {
            for (start, end, reason) in &forbidden {
                assert!(!line.contains(&format!("{start}{end}")), "{name}: {start}{end} {reason}: {line}");
            }
        }
    }
}
/// The text files of the project that a reader gets.
fn texts() -> Vec<(PathBuf, String)> {
    let top = fs::read_dir(root()).expect("the project").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = top.filter(|path| path.is_file()).collect();
    for directory in
        ["src", "crates", "tests", "fixtures", "deploy", "fuzz/src", "fuzz/fuzz_targets", "fuzz/seeds", ".ci"]
    {
        paths.extend(files(&root().join(directory)));
    }
    let read = |path: PathBuf| Some((path.clone(), fs::read_to_string(&path).ok()?));
    paths.into_iter().filter(|path| !path.ends_with(".git")).filter_map(read).collect()
}

#[test]
fn no_path_is_of_one_machine() {
    let forbidden = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/", "wt"), ("/Use", "rs/")].map(|(a, b)| format!("{a}{b}"));
    for (path, text) in texts() {
        for line in text.lines() {
            for machine in &forbidden {
                assert!(!line.contains(machine.as_str()), "{}: {machine}: {line}", path.display());
            }
            // Raspberry Pi OS has this user.
            let home = line.split("/home/").nth(1);
            assert!(home.is_none_or(|user| user.starts_with("pi") || user.starts_with('"')), "{line}");
        }
    }
}

#[test]
fn tests_talk_to_this_machine_only() {
    let is_ours = |address: &Ipv4Addr| {
        address.is_loopback() || address.is_unspecified() || address.is_private() || address.is_documentation()
    };
    for (path, text) in texts().into_iter().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        let shown = path.display();
        for word in text.split(|c: char| !c.is_ascii_digit() && c != '.') {
            // The agent compares addresses with ranges of addresses: such examples are spoken to by nobody.
            if path.starts_with(root().join("crates/agent/src")) {
                break;
            }
            if let Ok(address) = word.trim_matches('.').parse() {
                assert!(is_ours(&address), "{shown}: {address}");
            }
        }
        if !["tests", "fixtures"].iter().any(|part| path.starts_with(root().join(part))) {
            continue;
        }
        for rest in text.split("://").skip(1) {
            let host = rest.split(|c: char| !c.is_alphanumeric() && !"-._".contains(c)).next().unwrap_or_default();
            // The last is for people: where to get Rust. Tools know their own mirrors.
            let reserved = [".invalid", ".test", ".example", "example.com", "rustup.rs"];
            let is_reserved = reserved.iter().any(|end| host.ends_with(end));
            let is_name = host.trim_matches('.').contains('.') && host.contains(char::is_alphabetic);
            assert!(!is_name || is_reserved, "{shown}: {host}");
        }
    }
}

#[test]
fn no_file_says_what_it_was_written_with() {
    // An editor's mark, a merge, a line end of another system, an invisible character.
    for (path, text) in texts() {
        let is_source =
            path.extension().is_some_and(|extension| ["rs", "toml", "md", "sh", "py"].iter().any(|e| extension == *e));
        if !is_source {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            assert!(!line.ends_with([' ', '\t', '\r']), "{at}: a blank at the end");
            assert!(!["<<<<<<<", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)), "{at}: a merge");
            assert!(!line.contains(['\u{202e}', '\u{200b}', '\u{feff}', '\t']), "{at}: a character that is not seen");
        }
        assert!(text.is_empty() || text.ends_with('\n'), "{}: no line end at its end", path.display());
    }
}

/// TLS in the small executable would triple its memory; more than this list needs a reason in Cargo.toml, and here.
#[test]
fn the_small_executable_links_no_network() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "-p", "docker-pull-with-progress", "-e", "normal", "--target", "x86_64-unknown-linux-musl"])
        .args(["--prefix", "none", "--format", "{p}", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let mut found: Vec<&str> = str::from_utf8(&tree.stdout)
        .expect("UTF-8")
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, LINKED);
}
