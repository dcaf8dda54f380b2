//! Signals end the program, whatever it is waiting for.
//!
//! The limit is 100 ms. A machine that runs many tests at once can delay any process for longer, so the best of several tries
//! must meet it; each single try must end earlier than it could if some wait did not check for signals.

use super::*;
use rustix::process::Signal;
use std::process::Stdio;
use std::time::Duration;

const LIMIT_OF_BEST: Duration = Duration::from_millis(100);
const LIMIT_OF_EACH: Duration = Duration::from_secs(2);

/// An engine in the middle of a pull.
fn busy(temp: &Temp) -> Engine {
    Engine::new(temp, vec![begun(&GOOD[..3]), Step::Stall])
}

/// Starts and interrupts the program several times.
fn check(mut start: impl FnMut(&Temp) -> (Running, Option<Engine>), signal: Signal, code: i32) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let temp = Temp::new();
        let (mut running, engine) = start(&temp);
        running.signal(signal);
        let (ended, took) = running.wait();
        assert_eq!(ended, Some(code));
        assert!(took < LIMIT_OF_EACH, "{took:?}");
        assert!(engine.is_none_or(|engine| engine.was_left()), "the connection was not closed");
        best = best.min(took);
    }
    assert!(best < LIMIT_OF_BEST, "{best:?}");
}

#[test]
fn during_a_stream() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let start = |temp: &Temp| {
            let engine = busy(temp);
            let running = Running::start(&mut pull(temp, &engine));
            assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")));
            (running, Some(engine))
        };
        check(start, signal, code);
    }
}

#[test]
fn before_the_engine_answers() {
    let start = |temp: &Temp| {
        let engine = Engine::new(temp, vec![Step::Stall]);
        let running = Running::start(&mut pull(temp, &engine));
        assert!(engine.was_asked_to_pull());
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn during_a_ping() {
    let start = |temp: &Temp| {
        let engine = Engine::serve(&temp.join("docker.sock"), |_| vec![Step::Stall]);
        let running = Running::start(&mut pull(temp, &engine));
        assert!(eventually(LIMIT, || engine.requests().len() == 1));
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

/// After a stream without a final status the engine is asked for the image. No answer does not mean that it has none.
#[test]
fn while_the_engine_is_asked_for_the_image() {
    let start = |temp: &Temp| {
        let lines = [
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}"#,
            r#"{"status":"Download complete","progressDetail":{},"id":"0123456789ab"}"#,
        ];
        let engine = Engine::serve(&temp.join("docker.sock"), move |request| match request.line.as_str() {
            line if line.ends_with("/_ping") => vec![Step::Write(answer(200, "OK"))],
            line if line.starts_with("POST ") => vec![Step::Write(stream(lines))],
            _ => vec![Step::Stall],
        });
        let running = Running::start(&mut pull(temp, &engine));
        assert!(eventually(LIMIT, || engine.requests().iter().any(|request| request.line.ends_with("/json"))));
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn while_it_waits_to_try_again() {
    let start = |temp: &Temp| {
        let engine = Engine::new(temp, vec![begun(&GOOD[..3])]);
        let running = Running::start(pull(temp, &engine).args(["--retries", "3"]));
        assert!(eventually(LIMIT, || temp.read("log").contains("🔁 Retry 1/3 in 5s: ")));
        (running, None)
    };
    check(start, Signal::TERM, 143);
}

/// Both ends of a pipe that is full and that nobody reads.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_setfl};
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a pipe");
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("a pipe");
    (reader, writer)
}

#[test]
fn while_standard_output_is_a_full_pipe() {
    let start = |temp: &Temp| {
        let engine = busy(temp);
        let (reader, writer) = full_pipe();
        // Stays open as long as the tests run, and is never read.
        std::mem::forget(reader);
        let error = writer.try_clone().expect("a pipe");
        let running = Running::start_as_is(pull(temp, &engine).stdout(writer).stderr(error));
        assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")), "a full pipe stops the pull");
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn the_end_waits_a_while_for_a_slow_reader() {
    let temp = Temp::new();
    let engine = Engine::new(&temp, whole(GOOD));
    let (reader, writer) = full_pipe();
    let mut running = Running::start_as_is(pull(&temp, &engine).stdout(writer).stderr(Stdio::null()));
    assert!(eventually(LIMIT, || temp.read("log").contains("PULL SUCCESSFUL")));
    let mut printed = Vec::new();
    let _ = std::io::Read::read_to_end(&mut { reader }, &mut printed);
    assert_eq!(running.wait().0, Some(0));
    // Only whole lines; and if one line of the closing block came in time, the last one did, too.
    let printed = String::from_utf8_lossy(&printed).trim_start_matches('x').to_owned();
    assert!(printed.is_empty() || printed.ends_with('\n'), "{printed}");
}

#[test]
fn while_the_log_is_a_fifo() {
    let start = |temp: &Temp| {
        let engine = busy(temp);
        rustix::fs::mknodat(rustix::fs::CWD, temp.join("log"), rustix::fs::FileType::Fifo, 0o644.into(), 0)
            .expect("a FIFO");
        let running = Running::start(&mut pull(temp, &engine));
        assert!(engine.was_asked_to_pull());
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn while_the_recording_is_a_fifo() {
    let start = |temp: &Temp| {
        let engine = busy(temp);
        rustix::fs::mknodat(rustix::fs::CWD, temp.join("r"), rustix::fs::FileType::Fifo, 0o644.into(), 0)
            .expect("a FIFO");
        let running = Running::start(pull(temp, &engine).args(["--record", &temp.at("r")]));
        assert!(eventually(LIMIT, || temp.read("log").contains("12MB / 50MB")));
        (running, Some(engine))
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn during_a_replay_that_nobody_reads() {
    let temp = Temp::new();
    let (_reader, writer) = full_pipe();
    let path = format!("{FIXTURES}/dockerd-20.10.24/fresh-three.jsonl");
    let mut running = Running::start_as_is(program(&temp).args(["--replay", &path]).stdout(writer));
    // A replay waits for its reader, however long that takes.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!running.has_ended());
    running.signal(Signal::INT);
    let (code, took) = running.wait();
    assert_eq!(code, Some(130));
    assert!(took < LIMIT_OF_EACH, "{took:?}");
}

#[test]
fn during_a_replay_in_its_own_time() {
    let start = |temp: &Temp| {
        let path = format!("{FIXTURES}/dockerd-20.10.24/registry-stall-midpull.jsonl");
        let running = Running::start(program(temp).args(["--replay", &path, "--speed", "1", "--log", &temp.at("log")]));
        assert!(eventually(LIMIT, || temp.read("log").contains("queued")));
        (running, None)
    };
    check(start, Signal::TERM, 143);
}

#[test]
fn a_pull_survives_a_hang_up() {
    let temp = Temp::new();
    let engine = Engine::new(
        &temp,
        vec![begun(&GOOD[..2]), Step::Wait, Step::Write([chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat())],
    );
    let running = Running::start(&mut pull(&temp, &engine));
    assert!(eventually(LIMIT, || temp.read("log").contains("queued")));
    running.signal(rustix::process::Signal::HUP);
    engine.go();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
