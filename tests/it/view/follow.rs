//! `alm pull -f`: rotation, truncation, slow readers, and the end.

use super::*;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn follows_rotation_truncation_and_what_appears_later() {
    let place = Place::new("follow");
    fs::remove_dir(&place.0).unwrap();
    let follower = place.follow("-n 2");
    sleep(Duration::from_millis(300));
    fs::create_dir(&place.0).unwrap();
    sleep(Duration::from_millis(300));
    // A log that appears later is shown from its beginning: all of it is new.
    place.append(&lines(1..=3));
    follower.shows(&lines(1..=3));
    place.append("[2025-11-19 10:30:17] li");
    sleep(Duration::from_millis(500));
    follower.shows(&lines(1..=3));
    place.append("ne 4\n[10:30:17] raw\n");
    follower.shows(&lines(1..=4));
    // A writer that has not noticed the rotation yet, while the new log already has lines.
    let late = OpenOptions::new().append(true).open(place.log()).unwrap();
    follower.send(Signal::STOP);
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(6..=6));
    (&late).write_all(lines(5..=5).as_bytes()).unwrap();
    follower.send(Signal::CONT);
    follower.shows(&lines(1..=6));
    (&late).write_all(lines(7..=7).as_bytes()).unwrap();
    follower.shows(&lines(1..=7));
    // A generation that appears and is rotated away while the viewer is stopped; the first of three ends with half a line.
    follower.send(Signal::STOP);
    place.append("[2025-11-19 10:30:17] half");
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(8..=9));
    fs::rename(place.log(), place.old()).unwrap();
    place.append(&lines(10..=10));
    follower.send(Signal::CONT);
    let rotated = format!("{}[2025-11-19 10:30:17] half\n{}", lines(1..=7), lines(8..=10));
    follower.shows(&rotated);
    fs::write(place.log(), "").unwrap();
    sleep(Duration::from_millis(500));
    place.append(&lines(11..=11));
    follower.shows(&format!("{rotated}{}", lines(11..=11)));
    // The log is deleted and created again, long after the rotation: the content of .1 is old.
    sleep(Duration::from_millis(2500));
    fs::remove_file(place.log()).unwrap();
    sleep(Duration::from_millis(300));
    place.append(&lines(12..=12));
    follower.shows(&format!("{rotated}{}", lines(11..=12)));
}

#[test]
fn a_log_that_becomes_unreadable_ends_it() {
    let place = Place::with("spoilt", lines(1..=1));
    let mut follower = place.follow("");
    follower.shows(&lines(1..=1));
    fs::remove_file(place.log()).unwrap();
    fs::create_dir(place.log()).unwrap();
    assert_eq!(follower.exit().code(), Some(1));
}

#[test]
fn ends_quietly() {
    let place = Place::with("end", lines(1..=1));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut follower = place.follow("");
        follower.shows(&lines(1..=1));
        assert_eq!(follower.end(signal), (code, String::new()));
    }
    // A reader that ends while there is no output.
    let mut follower = Follower::unread(&mut place.alm("-f"));
    let mut line = [0; 10];
    follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    drop(follower.child.stdout.take());
    assert_eq!(follower.exit().code(), Some(0));
    // A reader that ends in the middle of the output.
    fs::write(place.log(), lines(1..=100_000)).unwrap();
    let mut follower = Follower::unread(&mut place.alm("-n 100000"));
    follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    drop(follower.child.stdout.take());
    assert_eq!(follower.exit().code(), Some(0));
    // A reader that does not read.
    for args in ["-n 100000", "-f -n 100000"] {
        let mut follower = Follower::unread(&mut place.alm(args));
        follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        sleep(Duration::from_millis(200));
        assert_eq!(follower.end(Signal::INT), (130, String::new()));
    }
}

#[test]
fn an_idle_log_costs_nothing() {
    let place = Place::with("idle", lines(1..=1));
    let follower = place.follow("");
    follower.shows(&lines(1..=1));
    let ticks = || {
        let stat = follower.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    sleep(Duration::from_secs(4));
    // A tick is 10 ms.
    assert!(ticks() - before <= 3, "{} ticks", ticks() - before);
}

#[test]
fn a_slow_reader_loses_nothing() {
    let place = Place::with("slow", lines(1..=20_000));
    let mut follower = Follower::unread(&mut place.alm("-f -n 20000"));
    for number in 20_001..=20_006 {
        // Only the last generation is kept, so the viewer must open each of them even though its reader does not read.
        wait_until("the generation is held", || follower.holds(&place.log()));
        fs::rename(place.log(), place.old()).unwrap();
        place.append(&lines(number..=number));
    }
    wait_until("the generation is held", || follower.holds(&place.log()));
    follower.read();
    follower.shows(&lines(1..=20_006));
}

/// Writes lines as the log does: checks whether the path still leads to its file, and opens the path again if not.
fn write_like_the_log(path: &Path, name: char, written: &AtomicUsize, is_over: &AtomicBool) {
    let open = || OpenOptions::new().append(true).create(true).open(path).unwrap();
    let mut file = open();
    for number in 1.. {
        let own = file.metadata().unwrap();
        if !fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino())) {
            file = open();
        }
        let line = format!("[10:30:17] {{}}\n[2025-11-19 10:30:17] {name} {number}\n");
        assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
        written.store(number, Ordering::SeqCst);
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        sleep(Duration::from_micros(700));
    }
}

#[test]
fn a_thousand_rotations_lose_nothing() {
    let place = Place::with("thousand", "");
    let follower = place.follow("-n 0");
    wait_until("the log is held", || follower.holds(&place.log()));
    let written = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let is_over = AtomicBool::new(false);
    // The number of lines of each writer that are shown; the end of the test checks that there are no gaps. Only new output is
    // read here: reading all of it each time takes longer and longer, and more would be written meanwhile.
    let (mut checked, mut counts) = (0, [0; 2]);
    let mut seen = || {
        let shown = follower.shown.lock().unwrap();
        let new = &shown[checked..];
        let new = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        checked += new.len();
        for (count, name) in counts.iter_mut().zip([" A ", " B "]) {
            *count += new.matches(name).count();
        }
        counts
    };
    let reach = |counts: [usize; 2], min: [usize; 2]| counts[0] >= min[0] && counts[1] >= min[1];
    thread::scope(|scope| {
        for (name, written) in ['A', 'B'].into_iter().zip(&written) {
            let (path, is_over) = (place.log(), &is_over);
            scope.spawn(move || write_like_the_log(&path, name, written, is_over));
        }
        let now = || [&written[0], &written[1]].map(|written| written.load(Ordering::SeqCst));
        let (mut last, mut before_last) = ([0; 2], [0; 2]);
        for number in 0..1000 {
            // Only `.1` is kept, so the generation that is overwritten must have been seen. The one that becomes `.1` need not
            // have been: the viewer may miss it and read it from `.1`.
            wait_until("the generation in .1 is seen", || reach(seen(), before_last));
            fs::rename(place.log(), place.old()).unwrap();
            // Counted after the rename: a writer's next line may still go to the old file, but the one after it goes to the
            // new file, however long this thread had to wait before the rename.
            (last, before_last) = (now().map(|count| count + 2), last);
            if number % 2 == 0 {
                // As logrotate does with `create`; otherwise the writer creates the file.
                append(&place.log(), "");
            }
            wait_until("the generation has a line of each", || reach(now(), last));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let total = written.map(AtomicUsize::into_inner);
    let count = || follower.shown.lock().unwrap().lines().count();
    wait_until("all is shown", || count() >= total[0] + total[1]);
    sleep(Duration::from_millis(300));
    let shown = follower.shown.lock().unwrap();
    for (name, total) in ["A", "B"].into_iter().zip(total) {
        let numbers = shown.lines().filter_map(|line| line.strip_prefix(&format!("[2025-11-19 10:30:17] {name} ")));
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
    }
    assert_eq!(shown.lines().count(), total[0] + total[1]);
}
