//! Which files are removed: those of images that are no longer used on this device.
//!
//! A renamed or retagged image leaves its state behind, and nothing else removes it. Ages are compared with the times
//! in other files, and not with the clock: a device that was off for a year still uses all of its images.
//!
//! **Invariant:** a time that no clock can have shown causes no removal.

use crate::{Image, MAX_IMAGES, Time};

/// No correct clock shows an earlier time: this program did not exist then.
pub const BUILT: Time = Time(1_767_225_600);

/// Seconds by which a file may be older than the newest other file.
const AGE: u64 = 7 * 24 * 3600;

/// Seconds by which another clock may be ahead of this one.
pub(crate) const AHEAD: i64 = 24 * 3600;

/// A file as it was before this run.
pub(crate) struct Candidate {
    pub(crate) name: String,
    /// When it was written.
    pub(crate) time: Time,
    /// Its state, if it has one.
    pub(crate) image: Option<Image>,
    /// A process that still runs writes it.
    pub(crate) is_in_use: bool,
}

/// The names of the files to remove when a pull of `own` begins.
pub(crate) fn old<'a>(files: &'a [Candidate], own: &str, now: Time) -> Vec<&'a str> {
    let is_time = |time: Time| time >= BUILT && time.0 <= now.0.saturating_add(AHEAD);
    let newest_but =
        |name: &str| files.iter().filter(|file| file.name != name && is_time(file.time)).map(|file| file.time).max();
    let is_old = |file: &Candidate| {
        is_time(file.time) && newest_but(&file.name).is_some_and(|newest| newest.since(file.time) > AGE)
    };
    let mut old: Vec<&str> =
        files.iter().filter(|file| file.name != own && is_old(file)).map(|file| &*file.name).collect();
    // Makes room for the own file: of the others, the oldest that no process is writing are removed.
    let mut stay: Vec<&Candidate> =
        files.iter().filter(|file| file.image.is_some() && file.name != own && !old.contains(&&*file.name)).collect();
    let excess = (stay.len() + 1).saturating_sub(MAX_IMAGES);
    stay.retain(|file| !file.is_in_use);
    for _ in 0..excess {
        let Some(oldest) = (0..stay.len()).min_by_key(|at| stay[*at].time) else { break };
        old.push(&stay.remove(oldest).name);
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn day(day: i64) -> Time {
        Time(BUILT.0 + 100 * DAY + day * DAY)
    }

    fn file(name: &str, time: Time) -> Candidate {
        Candidate { name: name.into(), time, image: Some(Image::default()), is_in_use: false }
    }

    #[track_caller]
    fn check(files: &[(&str, Time)], own: &str, now: Time, expected: &[&str]) {
        let files: Vec<_> = files.iter().map(|(name, time)| file(name, *time)).collect();
        assert_eq!(old(&files, own, now), expected);
    }

    #[test]
    fn old_is_what_is_a_week_older_than_the_newest_other() {
        check(&[("a", day(0)), ("b", day(8))], "b", day(8), &["a"]);
        check(&[("a", day(0)), ("b", day(8))], "c", day(8), &["a"]);
        check(&[("a", day(0)), ("b", day(7))], "b", day(7), &[]);
        // The device was off, or only this image was ever pulled.
        check(&[("a", day(0)), ("b", day(0))], "c", day(365), &[]);
        check(&[("a", day(0))], "b", day(365), &[]);
        // Never our own: it is about to be written.
        check(&[("a", day(0)), ("b", day(8))], "a", day(8), &[]);
        check(&[], "a", day(8), &[]);
    }

    #[test]
    fn times_that_no_clock_can_have_shown_count_for_nothing() {
        check(&[("a", Time(100)), ("b", day(8))], "b", day(8), &[]);
        check(&[("a", day(0)), ("b", day(365))], "c", day(1), &[]);
        check(&[("a", day(0)), ("b", day(365)), ("c", day(8))], "c", day(8), &["a"]);
    }

    #[test]
    fn room_is_made_for_one_more() {
        let mut files: Vec<_> = (0..64).map(|at| file(&format!("f{at:02}"), Time(day(1).0 + at))).collect();
        assert_eq!(old(&files, "new", day(2)), ["f00"]);
        assert_eq!(old(&files, "f63", day(2)), [""; 0]);
        files[0].is_in_use = true;
        assert_eq!(old(&files, "new", day(2)), ["f01"]);
        for file in &mut files {
            file.is_in_use = true;
        }
        assert_eq!(old(&files, "new", day(2)), [""; 0]);
    }
}
