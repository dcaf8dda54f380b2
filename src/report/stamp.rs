//! The wall clock in text: in front of lines, and in recordings.
//!
//! **Invariant:** nothing here reads a clock, and any time can be written.

use std::fmt::Write as _;
use time::{Duration, OffsetDateTime};

/// The wall clock of a pull: `started` plus `at`, in the offset of `started`. A clock that steps during the pull (a Pi
/// has none without network) cannot disorder the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(pub(crate) OffsetDateTime);

impl Stamp {
    /// Appends `[2025-11-19 10:30:15] `.
    pub(crate) fn push(self, at: u64, out: &mut String) {
        let now = self.time(at);
        let (year, month, day) = now.to_calendar_date();
        let _ = write!(out, "[{year:04}-");
        let (hour, minute, second) = now.to_hms();
        pairs([(u8::from(month), '-'), (day, ' '), (hour, ':'), (minute, ':'), (second, ']')], out);
        out.push(' ');
    }

    /// Appends `[10:30:15] `.
    pub(crate) fn push_time(self, at: u64, out: &mut String) {
        let now = self.time(at);
        let (hour, minute, second) = now.to_hms();
        out.push('[');
        pairs([(hour, ':'), (minute, ':'), (second, ']')], out);
        out.push(' ');
    }

    pub(crate) fn time(self, at: u64) -> OffsetDateTime {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        // After the end of the calendar every line has the time of the start.
        self.0.checked_add(Duration::milliseconds(at)).unwrap_or(self.0)
    }
}

/// Appends numbers of two digits, each with the character that follows it. By hand, because every line has them, and
/// std's formatting takes ten times as long.
fn pairs<const N: usize>(numbers: [(u8, char); N], out: &mut String) {
    for (number, then) in numbers {
        out.extend([char::from(b'0' + number / 10), char::from(b'0' + number % 10), then]);
    }
}

/// `2025-11-19T10:30:15.250+05:30`
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    let (date, offset) = (time.date(), time.offset());
    let (hours, minutes, _) = offset.as_hms();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{}{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond(),
        if offset.is_negative() { '-' } else { '+' },
        hours.unsigned_abs(),
        minutes.unsigned_abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn stamps_are_the_start_and_what_has_passed() {
        let check = |started: &str, at, expected: &str| {
            let started = OffsetDateTime::parse(started, &Rfc3339).expect("a time");
            let mut text = String::new();
            Stamp(started).push(at, &mut text);
            assert_eq!(text, format!("[{expected}] "));
            text.clear();
            Stamp(started).push_time(at, &mut text);
            assert_eq!(text, format!("[{}] ", &expected[11..]));
        };
        let started = "2025-11-19T10:30:15.250+05:30";
        check(started, 0, "2025-11-19 10:30:15");
        check(started, 749, "2025-11-19 10:30:15");
        check(started, 750, "2025-11-19 10:30:16");
        check(started, 86_400_000, "2025-11-20 10:30:15");
        check("2024-02-28T23:59:59.999-11:00", 1, "2024-02-29 00:00:00");
        check("9999-12-31T23:59:59Z", u64::MAX, "9999-12-31 23:59:59");
    }
}
