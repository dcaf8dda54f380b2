//! Times as they are written in a state file: RFC 3339 in UTC, whole seconds.
//!
//! A type of its own beside that of the `time` crate, because states only compare and write seconds.
//!
//! **Invariant:** a written time is read back as the same time; nothing here fails if the clock is far off.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub i64);

impl Time {
    /// The current time, by the clock of this device.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The seconds from `earlier` to this time; 0 if the clock was set back between them.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// Converts to the type of the `time` crate; a time outside of its calendar becomes 1970.
    #[must_use]
    pub fn calendar(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Reads RFC 3339 with any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp()))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => seconds(after),
            Err(before) => -seconds(before.duration()),
        })
    }
}

/// `2026-11-25T02:18:33Z`
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.calendar();
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("no time in RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_573_113, "2026-11-25T02:18:33Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time(seconds).to_string(), text);
            assert_eq!(Time::parse(text), Some(Time(seconds)));
            assert_eq!(serde_json::to_string(&Time(seconds)).expect("JSON"), format!("\"{text}\""));
        }
    }

    #[test]
    fn other_offsets_and_fractions_are_read_and_nonsense_is_not() {
        assert_eq!(Time::parse("2026-11-25T03:18:33.999+01:00"), Some(Time(1_795_573_113)));
        for nonsense in ["", "yesterday", "2026-11-25", "2026-13-25T02:18:33Z", "2026-11-25T02:18:33"] {
            assert_eq!(Time::parse(nonsense), None, "{nonsense}");
        }
        for far in [i64::MIN, i64::MAX] {
            assert_eq!(Time(far).to_string(), "1970-01-01T00:00:00Z");
        }
    }

    #[test]
    fn a_clock_that_went_back_leaves_no_age() {
        assert_eq!(Time(10).since(Time(4)), 6);
        assert_eq!(Time(4).since(Time(10)), 0);
        assert_eq!(Time(i64::MIN).since(Time(i64::MAX)), 0);
    }
}
