//! The log is rotated, deleted or replaced during a pull: no line is lost, and no link is followed.

use super::*;

#[test]
fn a_rotated_log_is_opened_anew() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    temp.write("log", "");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr, "");
    assert!(!temp.read("log.1").contains("Complete") && temp.read("log").contains("✅ PULL SUCCESSFUL"));
    assert_eq!(human_lines(&(temp.read("log.1") + &temp.read("log"))), ended.stdout, "no line is lost");
}

#[test]
fn a_log_that_is_taken_away_is_made_again() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    let ended = finish(&engine, running);
    assert_eq!(human_lines(&(temp.read("log.1") + &temp.read("log"))), ended.stdout);
}

#[test]
fn a_log_that_becomes_a_link_is_given_up() {
    let temp = Temp::new();
    let (engine, running) = begin(&temp);
    fs::rename(temp.join("log"), temp.join("log.1")).expect("rotated");
    temp.write("target", "");
    symlink(temp.join("target"), temp.join("log")).expect("a link");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("is a symbolic link"), "{}", ended.stderr);
    assert_eq!(temp.read("target"), "");
}

#[test]
fn a_directory_that_goes_away_is_made_again() {
    let temp = Temp::new();
    let rest = [chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat();
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Wait, Step::Write(rest)]);
    let running = Running::start(pull_without_log(&temp, &engine).args(["--log", &temp.at("d/log")]));
    assert!(eventually(LIMIT, || temp.read("d/log").contains("12MB / 50MB")));
    fs::remove_dir_all(temp.join("d")).expect("removed");
    let ended = finish(&engine, running);
    assert_eq!(ended.stderr, "");
    assert!(temp.read("d/log").contains("✅ PULL SUCCESSFUL"));
}

#[test]
fn a_thousand_rotations_in_mid_pull_lose_no_line() {
    const ROTATIONS: usize = 1000;
    const LINES: usize = 4 * ROTATIONS;
    let temp = Temp::new();
    // A few lines at a time, so that the pull lasts as long as the rotations.
    let warning = |at| chunk(format!(r#"{{"status":"WARNING: number {at}"}}"#));
    let mut steps = vec![Step::Write([head(), chunk(FROM)].concat())];
    for first in (0..LINES).step_by(4) {
        let mut lines: Vec<u8> = (first..first + 4).flat_map(warning).collect();
        // A line without content makes this as long as one read: after a full read the next one follows without a pause.
        let frame = chunk(" ".repeat(4096)).len() - 4096;
        lines.extend(chunk(" ".repeat(8192 - frame - lines.len())));
        steps.extend([Step::Write(lines), Step::Wait]);
    }
    steps.push(Step::Write([chunk(STATUS), LAST_CHUNK.to_vec()].concat()));
    let engine = Engine::new(&temp, steps);
    let running = Running::start(pull(&temp, &engine).arg("--quiet"));
    let mut rotated = 0;
    while rotated < ROTATIONS {
        assert!(eventually(LIMIT, || fs::rename(temp.join("log"), temp.join(format!("log.{rotated}"))).is_ok()));
        rotated += 1;
        engine.go();
    }
    let ended = running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let logs = (0..rotated).map(|at| temp.read(&format!("log.{at}"))).collect::<String>() + &temp.read("log");
    let warnings: Vec<&str> = texts(&logs).into_iter().filter_map(|text| text.strip_prefix("⚠️  number ")).collect();
    let expected: Vec<String> = (0..LINES).map(|at| at.to_string()).collect();
    assert_eq!(warnings, expected, "every line once and in order");
    assert!(logs.contains("✅ PULL SUCCESSFUL"));
}
