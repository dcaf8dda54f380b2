//! `--stall-timeout`: a pull in which nothing moves ends after this time, and not before.

use super::*;
use rustix::process::Signal;

#[test]
fn a_pull_in_which_nothing_moves_is_given_up() {
    let temp = Temp::new();
    // The same bar repeated is no movement.
    let same = chunk(BAR).repeat(3);
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Write(same), Step::Stall]);
    let ended = run(pull(&temp, &engine).args(["--stall-timeout", "1", "--record", &temp.at("r.jsonl")]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "nothing has moved for 1s");
    assert!(engine.was_left());
    replays_like(&temp, &ended, "stalled");
}

#[test]
fn what_is_allowed_without_movement_is_not_exceeded() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, vec![begun(&GOOD[..3]), Step::Stall]);
    let begun = Instant::now();
    let ended = run(pull(&temp, &engine).args(["--stall-timeout", "4"]));
    assert_eq!(text_after(&ended.stdout, "❌ PULL FAILED: "), "nothing has moved for 4s");
    let took = begun.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_stopped_process_has_not_stalled() {
    let temp = Temp::new();
    let engine = Engine::new(
        &temp,
        vec![begun(&GOOD[..3]), Step::Wait, Step::Write([chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat())],
    );
    let running = Running::start(pull(&temp, &engine).args(["--stall-timeout", "2"]));
    assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")));
    running.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(2500));
    running.signal(Signal::CONT);
    engine.go();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
