//! What the project's documents say about its files: that they exist, their figures, the licence.

use std::fs;
use std::path::{Path, PathBuf};

const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const LICENSE: &str = include_str!("../../LICENSE");
const COPYRIGHT: &str = include_str!("../../deploy/debian/copyright");
const PROOFS: &str = include_str!("../proofs/README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The documents, with their paths.
fn documents() -> Vec<(PathBuf, String)> {
    let directories = ["", "deploy", "deploy/puppet", "deploy/fleet", "tests/proofs"]
        .map(|directory| Path::new(ROOT).join(directory));
    let found: Vec<_> = directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).expect("a directory").flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("a document")))
        .collect();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// The files of the project that a text names in backticks: paths that begin with one of its folders, or files at the top.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: [&str; 7] = ["src/", "tests/", "deploy/", "fixtures/", "fuzz/", "crates/", ".ci/"];
    const TOP: [&str; 8] = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
        "Cargo.toml",
        "Cargo.lock",
        "build-rpi.sh",
    ];
    let in_fences = text.split("```").skip(1).step_by(2);
    let inline = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
    in_fences.chain(inline).flat_map(str::split_whitespace).filter_map(|word| {
        let word = word.strip_prefix("./").unwrap_or(word).trim_end_matches([',', ';', ':', '.', ')']);
        let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder)) || TOP.contains(&word);
        // A pattern, or a name that the reader has to choose.
        let is_open = word.contains(['*', '{', '$']) || word.contains("NAME") || word.contains("FILE");
        (is_path && !is_open).then_some(word)
    })
}

#[test]
fn every_file_that_they_name_exists() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        missing.extend(
            paths(&text)
                .filter(|path| !Path::new(ROOT).join(path).exists())
                .map(|path| format!("{}: {path}", document.display())),
        );
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let directory = document.parent().expect("a directory");
            if !file.contains("://") && !directory.join(file).exists() {
                missing.push(format!("{}: {file}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn contributing_says_which_file_to_change() {
    let table = CONTRIBUTING.split("| change | file |\n|---|---|\n").nth(1).expect("a table of changes");
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    for row in &rows {
        let file = paths(row).next().unwrap_or_else(|| panic!("no file: {row}"));
        assert!(Path::new(ROOT).join(file).is_file(), "{row}");
    }
    assert!(rows.len() >= 10, "{} rows", rows.len());
}

/// The text that a proof has written between its marks.
fn proof(name: &str) -> &'static str {
    let section = PROOFS.split(&format!("<!-- begin {name} -->")).nth(1);
    section.and_then(|rest| rest.split("<!-- end").next()).unwrap_or_else(|| panic!("no figures of {name}")).trim()
}

#[test]
fn the_readme_has_the_figures_of_the_proofs() {
    const README: &str = include_str!("../../README.md");
    let readme = README.split_whitespace().collect::<Vec<_>>().join(" ");
    let faults = proof("faults").split(' ').next().unwrap_or_default();
    let engines: Vec<&str> = proof("engines").lines().filter(|line| line.starts_with("| ")).collect();
    // The first row has an empty cell, the names of the engines, and the heading of the column about sizes.
    let columns = engines[0].trim_matches('|').split('|').count() - 2;
    assert_eq!(columns, 8, "README.md says eight");
    for figure in [
        format!("{faults} injected faults"),
        format!("{} kinds of pull and check with each of eight engines", engines.len() - 1),
    ] {
        assert!(readme.contains(&figure), "README.md does not say «{figure}»");
    }
    let words = "`docker pull`, which takes more than ten times the CPU and sixty times the memory";
    assert!(readme.contains(words), "README.md does not say «{words}»");
    for (table, times) in [("CPU (ms)", 10.0), ("Peak memory (KB)", 60.0)] {
        let lowest = times_of_docker_pull(table);
        assert!(lowest > times, "{table}: README.md says more than {times} times, and the race {lowest}");
    }
}

/// The lowest of what `docker pull` takes in a table of the race, as a multiple of what this program takes.
fn times_of_docker_pull(table: &str) -> f64 {
    let mut lines = proof("race").lines().skip_while(|line| !line.starts_with(&format!("| {table} |")));
    let heading = lines.next().unwrap_or_else(|| panic!("no table {table}"));
    let column = heading.split('|').position(|cell| cell.trim() == "docker pull").expect("a column");
    let times = |row: &'static str| {
        let cell = row.split('|').nth(column)?;
        cell.split_once('(')?.1.split_once('×')?.0.parse::<f64>().ok()
    };
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| times(row).unwrap_or_else(|| panic!("{row}"))).reduce(f64::min).expect("rows")
}

#[test]
fn the_table_of_the_proofs_says_which_of_them_ci_runs() {
    const CI: &str = include_str!("../../.ci/run");
    let heading = "| command | change | release | what it shows |\n|---|---|---|---|\n";
    let table = PROOFS.split(heading).nth(1).expect("a table of commands");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    for row in &rows {
        let [command, change, release] = [row[1], row[2], row[3]];
        // Followed by arguments or by nothing.
        let is_run = CI.split_whitespace().any(|word| word == command);
        assert_eq!(is_run, !change.is_empty(), "{command}: the column of changes, and .ci/run");
        assert!(is_run || !release.is_empty(), "{command} is never run");
        let text = fs::read_to_string(Path::new(ROOT).join(command)).expect("a script");
        assert!(!text.contains("WRITE=1") || !release.is_empty(), "{command} has figures, and no release renews them");
    }
    for entry in fs::read_dir(Path::new(ROOT).join("tests/proofs")).expect("the proofs").flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().expect("UTF-8"));
        // Those that others use have no first line for a shell.
        let is_proof = fs::read_to_string(&path).is_ok_and(|text| text.starts_with("#!")) && name != "section.py";
        let has_row = rows.iter().any(|row| row[1] == format!("tests/proofs/{name}"));
        assert_eq!(is_proof, has_row, "tests/proofs/{name}: a proof, and a row");
    }
}

#[test]
fn the_package_has_the_licence_of_the_project() {
    let words = |text: &str| text.split_whitespace().filter(|word| *word != ".").collect::<Vec<_>>().join(" ");
    let (holder, terms) = LICENSE
        .split_once("\n\n")
        .and_then(|(_, rest)| rest.trim_start_matches("Copyright (c) ").split_once("\n\n"))
        .expect("a title, a holder, the terms");
    assert!(holder.ends_with("the docker-pull-with-progress authors"), "{holder}");
    assert_eq!(COPYRIGHT.matches(&format!("Copyright: {holder}\n")).count(), 3, "{holder}");
    // A paragraph of its own; others are the licences of crates.
    let expat = COPYRIGHT.split("\n\n").find_map(|paragraph| paragraph.strip_prefix("License: Expat\n"));
    assert_eq!(expat.map(words), Some(words(terms)), "other terms than LICENSE has");
    assert!(include_str!("../../Cargo.toml").contains("license = \"MIT\""));
}

#[test]
fn the_monitor_is_the_same_service_from_the_package_and_from_puppet() {
    let package = include_str!("../../deploy/debian/alm-monitor.service");
    let puppet = include_str!("../../deploy/puppet/templates/alm-monitor.service.epp");
    // A single file has no man page beside it, and can be in any directory.
    let unit = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("Documentation=") && !line.starts_with("<%-"));
        lines
            .map(|line| line.split_once(" --monitor ").map_or(line, |(_, options)| options))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(unit(package), unit(puppet));
}

#[test]
fn the_images_of_hiera_have_the_parameters_of_an_image() {
    // What belongs to a site and not to one of its images: the parameters of the class `alm_pull` are for these.
    const OF_A_SITE: [&str; 3] = ["token_file", "token_user", "logoutput"];
    let define = include_str!("../../deploy/puppet/manifests/image.pp");
    let define = define.split("define alm_pull::image (").nth(1).and_then(|rest| rest.split("\n)").next());
    let name = |line: &'static str| line.split_once('$').and_then(|(_, rest)| rest.split([' ', ',']).next());
    let mut parameters: Vec<&str> = define.expect("parameters").lines().filter_map(name).collect();
    let spec = include_str!("../../deploy/puppet/types/imagespec.pp");
    let key =
        |line: &'static str| Some(line.split_once("=>")?.0.trim().trim_start_matches("Optional[").trim_matches(']'));
    let mut keys: Vec<&str> = spec.lines().filter_map(key).chain(OF_A_SITE).collect();
    parameters.sort_unstable();
    keys.sort_unstable();
    assert!(parameters.len() > OF_A_SITE.len());
    assert_eq!(keys, parameters, "types/imagespec.pp and manifests/image.pp");
}

#[test]
fn the_man_page_and_the_rules_name_the_metrics_that_there_are() {
    let source = fs::read_to_string(Path::new(ROOT).join("src/sink/metrics.rs")).expect("a source file");
    let names: Vec<&str> = source.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let names: Vec<&str> =
        names.into_iter().filter(|name| name.starts_with("alm_")).chain(["alm_build_info"]).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    let page = include_str!("../../deploy/debian/docker-pull-with-progress.5");
    for name in &names {
        assert!(page.contains(&format!(".BR {name} ")), "{name} is not in the man page");
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    let rules = concat!(include_str!("../../deploy/fleet/rules.yml"), include_str!("../../deploy/fleet/test.yml"));
    for word in rules.split(|c| !is_word(c)).filter(|word| word.starts_with("alm_")) {
        assert!(names.contains(&word), "no metric is called {word}");
    }
}
