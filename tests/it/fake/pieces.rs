//! A stream that arrives in any pieces: how it is cut changes neither the output nor how often the program wakes up.

use super::*;

#[test]
fn a_stream_in_any_pieces_is_the_same_session() {
    let stamps_off = |text: &str| {
        texts(text).into_iter().filter(|text| !text.starts_with("Downloaded")).collect::<Vec<_>>().join("\n")
    };
    let temp = Temp::new();
    let good = stream(GOOD);
    let expected = {
        let engine = Engine::new(&temp, vec![Step::Write(good.clone())]);
        stamps_off(&run(&mut pull(&temp, &engine)).stdout)
    };
    for at in [1, 9, 17, 40, 85, 90, 100, good.len() - 6, good.len() - 5, good.len() - 1] {
        let _ = std::fs::remove_file(temp.join("docker.sock"));
        let (first, second) = good.split_at(at);
        let engine = Engine::new(&temp, vec![Step::Write(first.to_vec()), Step::Wait, Step::Write(second.to_vec())]);
        let running = Running::start(&mut pull(&temp, &engine));
        assert!(engine.was_asked_to_pull());
        engine.go();
        let ended = running.end();
        assert_eq!((ended.code, stamps_off(&ended.stdout)), (Some(0), expected.clone()), "split at {at}");
    }
}

#[test]
fn chunks_need_not_be_lines() {
    let body: String = GOOD.iter().map(|line| (*line).to_owned() + "\r\n").collect();
    for size in [1, 7, 64, 1000, 100_000] {
        let pieces = body
            .as_bytes()
            .chunks(size)
            .map(|piece| [format!("{:x};ext=\"a\"\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        let framed = [head(), pieces.collect::<Vec<_>>().concat(), b"0\r\nTrailer: x\r\n\r\n".to_vec()].concat();
        let (ended, log) = pull_of(vec![Step::Write(framed)]);
        assert_eq!(ended.code, Some(0), "chunks of {size}: {log}");
        assert!(log.contains("Layers: 1/1 completed"), "chunks of {size}: {log}");
    }
}

#[test]
fn an_engine_that_writes_in_small_pieces_is_not_held_up() {
    // The kernel buffers only a few writes that are not read. With a full pause after each few this would take a minute.
    let bars = (0..1000).map(bar);
    let lines = GOOD[..3].iter().map(|line| (*line).to_owned()).chain(bars).chain([DONE.to_owned(), STATUS.to_owned()]);
    let (ended, _) = pull_of(vec![Step::Trickle(stream(lines))]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_pull_does_not_wake_up_for_each_word() {
    const WORDS: u64 = 300;
    let temp = Temp::new();
    let mut steps = vec![begun(&GOOD[..3])];
    steps.extend((0..WORDS).flat_map(|at| [Step::Write(chunk(bar(at))), Step::Wait]));
    steps.push(Step::Write([chunk(DONE), chunk(STATUS), LAST_CHUNK.to_vec()].concat()));
    let engine = Engine::new(&temp, steps);
    let (began, running) = (Instant::now(), Running::start(&mut pull(&temp, &engine)));
    for _ in 1..WORDS {
        std::thread::sleep(Duration::from_millis(5));
        engine.go();
    }
    let (sleeps, took) = (running.sleeps(), began.elapsed());
    // A word takes 5 ms, for each of which there would be a pause and a wait. On a busy machine words arrive more slowly, and
    // then there are more pauses for as many words.
    let max = 20 + 2 * took.as_millis() as u64 / 50;
    assert!((1..=max).contains(&sleeps), "{sleeps} sleeps for {WORDS} words in {took:?}");
    engine.go();
    assert_eq!(running.end().code, Some(0));
}
