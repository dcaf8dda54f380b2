//! Which characters an output may contain, depending on locale, terminal and options.

use super::*;
use std::process::Stdio;

/// Pulls with exactly this environment. Returns how the program ended, and the log.
fn pull_in(environment: &[(&str, &str)], options: &[&str], steps: Vec<Step>) -> (Ended, String) {
    let temp = Temp::new();
    let engine = Engine::new(&temp, steps);
    let mut command = pull(&temp, &engine);
    let ended = run(command.env_clear().envs(environment.iter().copied()).args(options));
    let log = temp.read("log");
    (ended, log)
}

#[test]
fn the_locale_decides_and_the_log_stays_as_it_is() {
    let check = |environment: &[(&str, &str)], options: &[&str], is_utf8: bool| {
        let (ended, log) =
            pull_in(environment, options, whole([&GOOD[..], &[r#"{"status":"WARNING: café … ≥"}"#]].concat()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{environment:?}");
        assert!(log.contains("✅ PULL SUCCESSFUL") && log.contains("░") && log.contains("café … ≥"), "{log}");
        if is_utf8 {
            assert_eq!(ended.stdout, human_lines(&log), "{environment:?} {options:?}");
        } else {
            assert!(ended.stdout.is_ascii(), "{environment:?} {options:?}: {}", ended.stdout);
            assert!(ended.stdout.contains("] OK PULL SUCCESSFUL\n"), "{}", ended.stdout);
            assert!(
                ended.stdout.contains("[#########...............................] 24% (12MB / 50MB)"),
                "{}",
                ended.stdout
            );
            assert!(ended.stdout.contains("WARNING caf\\u{e9} ... >="), "{}", ended.stdout);
        }
    };
    check(&[("LANG", "C.UTF-8")], &[], true);
    check(&[("LANG", "en_GB.utf8")], &[], true);
    check(&[("LANG", "de_DE.UTF-8@euro")], &[], true);
    check(&[("LC_ALL", "C.UTF-8"), ("LANG", "C")], &[], true);
    check(&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], &[], true);
    check(&[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", "C.UTF-8")], &[], true);
    check(&[], &[], false);
    check(&[("LANG", "")], &[], false);
    check(&[("LANG", "C")], &[], false);
    check(&[("LANG", "POSIX")], &[], false);
    check(&[("LANG", "de_DE")], &[], false);
    check(&[("LANG", "de_DE.ISO-8859-1")], &[], false);
    check(&[("LC_ALL", "C"), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C.UTF-8")], &[], false);
    check(&[("LC_CTYPE", "C"), ("LANG", "C.UTF-8")], &[], false);
    check(&[("LANG", "C.UTF-8")], &["--ascii"], false);
}

#[test]
fn errors_are_ascii_where_the_output_is() {
    let error = r#"{"errorDetail":{"message":"käse – “x”"},"error":"x"}"#;
    for (environment, options) in [(&[("LANG", "C")][..], &[][..]), (&[("LANG", "C.UTF-8")], &["--ascii"])] {
        let (ended, log) = pull_in(environment, options, whole([FROM, error]));
        assert!(ended.stdout.is_ascii() && ended.stdout.contains("ERROR PULL FAILED: k\\u{e4}se"), "{}", ended.stdout);
        assert!(log.contains("❌ PULL FAILED: käse – “x”"), "{log}");
        let options = [options, &["-q", "--log", "/proc/nön/log"]].concat();
        let (ended, _) = pull_in(environment, &options, whole([FROM, error]));
        assert!(ended.stderr.is_ascii() && ended.stderr.lines().count() == 2, "{}", ended.stderr);
        assert_eq!(ended.code, Some(1));
    }
    // The same for messages about wrong usage and about a log that cannot be opened.
    let temp = Temp::new();
    for args in [&["é"][..], &["--replay", "nön"], &["--progress", "ü", "a"], &["--ü"]] {
        let ended = run(program(&temp).env("LANG", "C").args(args));
        assert!(ended.stderr.is_ascii() && ended.stdout.is_empty(), "{args:?}: {}", ended.stderr);
        let ended = run(program(&temp).arg("--ascii").args(args));
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_console_of_a_pi_gets_bars_and_no_emoji() {
    let (ended, log) = pull_in(&[("LANG", "C.UTF-8"), ("TERM", "linux")], &[], whole(GOOD));
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("] DOWN Layer abc123: [█████████░"), "{}", ended.stdout);
    assert!(ended.stdout.chars().all(|c| c.is_ascii() || matches!(c, '█' | '░')), "{}", ended.stdout);
    assert!(log.contains("⬇️  Layer abc123"));
    let (ended, _) = pull_in(&[("TERM", "linux")], &[], whole(GOOD));
    assert!(ended.stdout.is_ascii());
}

#[test]
fn an_empty_environment_is_enough() {
    let (ended, log) = pull_in(&[], &[], whole(GOOD));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{log}");
}

#[test]
fn as_puppet_runs_it() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = pull(&temp, &engine);
    command.env_clear().env("LANG", "C").env("PATH", "/usr/bin:/bin").arg("--ascii");
    command.stdin(Stdio::null()).stderr(writer.try_clone().expect("a pipe")).stdout(writer);
    let mut running = Running::start_as_is(&mut command);
    drop(command);
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut { reader }, &mut printed).expect("text");
    assert_eq!(running.wait().0, Some(0));
    assert!(printed.is_ascii() && printed.contains("OK PULL SUCCESSFUL"), "{printed}");
}

#[test]
fn colour_only_when_it_is_asked_for() {
    let (ended, log) = pull_in(&[("LANG", "C.UTF-8")], &["--color", "always"], whole(GOOD));
    let green = "\u{1b}[32m[█████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]\u{1b}[0m 24% (12MB / 50MB)";
    assert!(ended.stdout.contains(green) && log.contains(green), "{log}");
    assert_eq!(ended.stdout.matches('\u{1b}').count(), 4, "a layer's bar and the overall one");
    let (ended, _) = pull_in(&[("LANG", "C")], &["--color", "always"], whole(GOOD));
    assert!(ended.stdout.contains("\u{1b}[32m[#########..............................."), "{}", ended.stdout);
    for (environment, options) in [
        (&[("LANG", "C.UTF-8")][..], &[][..]),
        (&[("LANG", "C.UTF-8")], &["--color", "never"]),
        (&[("LANG", "C.UTF-8"), ("CLICOLOR_FORCE", "1")], &["--color=auto"]),
    ] {
        let (ended, log) = pull_in(environment, options, whole(GOOD));
        assert!(!ended.stdout.contains('\u{1b}') && !log.contains('\u{1b}'));
    }
}
