//! How often the live view is drawn, and with how many writes.

use super::*;
use rustix::process::Signal;
use std::io::Write as _;
use std::time::Instant;

#[test]
fn no_more_than_ten_frames_a_second_each_one_write() {
    for speed in ["1", "13"] {
        let mut tty = Tty::start(80, 24, &[], &["--replay", &path(RETRIES), "--speed", speed]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            tty.watch(Duration::from_millis(1));
        }
        tty.signal(Signal::STOP);
        assert!(tty.watch(QUIET));
        let raw = tty.raw();
        let frames = raw.matches(HOLD).count();
        assert!((10..=26).contains(&frames), "{frames} frames in 2.5 s");
        // The kernel counts the calls of write(2).
        let io = fs::read_to_string(format!("/proc/{}/io", tty.child.id())).expect("its counts");
        let writes = io.lines().find_map(|line| line.strip_prefix("syscw: ")).expect("the count");
        assert_eq!(writes, frames.to_string());
        assert!(raw.starts_with(HOLD) && raw.ends_with(SHOW) && raw.matches(SHOW).count() == frames, "{raw:?}");
        assert!(!raw.contains("\x1b[2J") && !raw.contains("\x1b[H"), "clears the screen: {raw:?}");
    }
}

#[test]
fn as_fast_as_possible_draws_few_frames() {
    let mut tty = Tty::at(RETRIES, 1.0, 80, 24, &[]);
    let row = |done: u32| {
        let detail = format!(r#""progressDetail":{{"current":{},"total":120036820}}"#, 10_000_000 + done * 100);
        format!("[2.0,\"e\",{{\"status\":\"Downloading\",{detail},\"id\":\"1e8e54156f91\"}}]\n")
    };
    let lines: String = (0..20_000).map(row).collect();
    let mut pipe = tty.recording.take().expect("the pipe");
    let feeder = std::thread::spawn(move || {
        let _ = pipe.write_all(lines.as_bytes());
        pipe
    });
    let begun = Instant::now();
    assert!(tty.watch(QUIET));
    let frames = tty.raw().matches(HOLD).count();
    assert!(frames as u128 <= begun.elapsed().as_millis() / 100 + 3, "{frames} frames");
    drop(feeder.join());
}

#[test]
fn nothing_is_written_when_nothing_moves() {
    let mut tty = Tty::at(RETRIES, 18.0, 80, 24, &[]);
    let reads = tty.reads.len();
    std::thread::sleep(Duration::from_secs(1));
    assert!(tty.watch(QUIET));
    assert_eq!(tty.reads.len(), reads);
}
