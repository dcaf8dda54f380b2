//! Times in words, for people who ask for the state of a device.
//!
//! **Invariant:** pure; the present time is an argument, and a clock that went back gives no nonsense.

use alm_state::Time;
use std::fmt::{self, Display};
use time::{OffsetDateTime, UtcOffset};

/// The present time of the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: OffsetDateTime,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Moment {
    fn offset(self) -> UtcOffset {
        self.now.offset()
    }

    fn time(self) -> Time {
        Time(self.now.unix_timestamp())
    }

    /// `02:10` for today, `Tue 23:31` within a week, else `24 Nov` or `24 Nov 2025`.
    pub(crate) fn at(self, time: Time) -> impl Display {
        let then = time.calendar().to_offset(self.offset());
        let days = self.now.date().to_julian_day().saturating_sub(then.date().to_julian_day());
        fmt::from_fn(move |f| {
            let (hour, minute, _) = then.to_hms();
            let weekday = DAYS[usize::from(then.weekday().number_days_from_monday()) % 7];
            let month = MONTHS[usize::from(u8::from(then.month())).saturating_sub(1) % 12];
            match days {
                0 => write!(f, "{hour:02}:{minute:02}"),
                1..7 => write!(f, "{weekday} {hour:02}:{minute:02}"),
                _ if then.year() == self.now.year() => write!(f, "{} {month}", then.day()),
                _ => write!(f, "{} {month} {}", then.day(), then.year()),
            }
        })
    }

    /// `just now`, `5 minutes ago`, `3 days ago`; a date if that is long ago or in the future.
    pub(crate) fn ago(self, time: Time) -> impl Display {
        let now = self.time();
        let seconds = now.since(time);
        fmt::from_fn(move |f| match seconds {
            _ if time > now => write!(f, "{}", self.at(time)),
            0..60 => f.write_str("just now"),
            60..3_600 => counted(f, seconds / 60, "minute"),
            3_600..86_400 => counted(f, seconds / 3_600, "hour"),
            86_400..5_184_000 => counted(f, seconds / 86_400, "day"),
            _ => write!(f, "{}", self.at(time)),
        })
    }
}

fn counted(f: &mut fmt::Formatter<'_>, count: u64, unit: &str) -> fmt::Result {
    write!(f, "{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    fn moment() -> Moment {
        Moment { now: OffsetDateTime::parse("2026-11-25T01:30:00+01:00", &Rfc3339).expect("a time") }
    }

    #[test]
    fn times_are_those_of_the_reader() {
        let check = |time: &str, at: &str, ago: &str| {
            let time = Time::parse(time).expect("a time");
            assert_eq!(
                (moment().at(time).to_string(), moment().ago(time).to_string()),
                (at.into(), ago.into()),
                "{time}"
            );
        };
        check("2026-11-25T00:30:00Z", "01:30", "just now");
        check("2026-11-25T00:28:59Z", "01:28", "1 minute ago");
        check("2026-11-24T23:10:00Z", "00:10", "1 hour ago");
        check("2026-11-24T22:31:00Z", "Tue 23:31", "1 hour ago");
        check("2026-11-22T12:00:00Z", "Sun 13:00", "2 days ago");
        check("2026-11-18T22:59:00Z", "18 Nov", "6 days ago");
        check("2025-11-18T22:59:00Z", "18 Nov 2025", "18 Nov 2025");
        check("1970-01-01T00:00:00Z", "1 Jan 1970", "1 Jan 1970");
        // By a clock that was ahead.
        check("2026-11-25T00:31:00Z", "01:31", "01:31");
        check("2027-11-25T00:31:00Z", "25 Nov 2027", "25 Nov 2027");
    }
}
