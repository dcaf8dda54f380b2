//! Times as they are written in a state file: RFC 3339 in UTC, whole seconds.
//!
//! A type of its own beside that of the `time` crate, because states only compare and write seconds. RFC 3339 is read by hand,
//! because the reader of the `time` crate would be a hundredth of the executable.
//!
//! **Invariant:** a written time is read back as the same time; nothing here fails if the clock is far off.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use time::{Date, Month, OffsetDateTime, UtcOffset};

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
        Some(Self(parse_rfc3339(text)?.unix_timestamp()))
    }
}

/// Reads a time in RFC 3339, such as `2026-11-25T02:18:33.250+01:00`; of a fraction nine digits are used (nanoseconds). `None` if
/// it is not such a time, or a leap second, which the clocks of devices do not show.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    let (seconds, rest) = text.split_at_checked("YYYY-MM-DDThh:mm:ss".len())?;
    // RFC 3339 §5.6 allows a small letter or a space, too.
    let [b'-', b'-', b'T' | b't' | b' ', b':', b':'] = [4, 7, 10, 13, 16].map(|at| seconds.as_bytes()[at]) else {
        return None;
    };
    let year = i32::from(pair(seconds, 0)?) * 100 + i32::from(pair(seconds, 2)?);
    let date = Date::from_calendar_date(year, Month::try_from(pair(seconds, 5)?).ok()?, pair(seconds, 8)?).ok()?;
    let [hour, minute, second] = [11, 14, 17].map(|at| pair(seconds, at));
    let (nanoseconds, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let (fraction, offset) =
                rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).filter(|length| *length > 0)?);
            let digits = fraction.bytes().chain(*b"000000000").take(9);
            (digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')), offset)
        }
    };
    let offset = match offset.as_bytes() {
        b"Z" | b"z" => UtcOffset::UTC,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let sign = if *sign == b'-' { -1 } else { 1 };
            let [hours, minutes] = [1, 4].map(|at| pair(offset, at).map(|number| number.cast_signed() * sign));
            UtcOffset::from_hms(hours.filter(|hours| hours.abs() < 24)?, minutes?, 0).ok()?
        }
        _ => return None,
    };
    Some(date.with_hms_nano(hour?, minute?, second?, nanoseconds).ok()?.assume_offset(offset))
}

/// The number that two digits from `at` on are.
fn pair(text: &str, at: usize) -> Option<u8> {
    let digits = text.get(at..at + 2)?;
    // `parse` would accept a sign, too.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
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

    /// The same text with one character replaced or left out, or cut, is read as the `time` crate reads it.
    #[test]
    fn rfc_3339_is_read_as_by_the_time_crate() {
        let check = |text: &str| {
            let expected = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok();
            // That crate accepts any separator, and another second for a leap second.
            let is_strict = text.as_bytes().get(10).is_none_or(|byte| b"Tt ".contains(byte)) && !text.contains(":60");
            let expected = expected.filter(|_| is_strict);
            assert_eq!(parse_rfc3339(text), expected, "{text}");
            assert_eq!(parse_rfc3339(text).map(OffsetDateTime::offset), expected.map(OffsetDateTime::offset), "{text}");
        };
        let texts = [
            "2026-11-25T02:18:33Z",
            "2024-02-29t23:59:59z",
            "2023-02-29T00:00:00Z",
            "0000-01-01T00:00:00+00:00",
            "9999-12-31T23:59:59-23:59",
            "2026-11-25T02:18:33.250+05:30",
            "2026-11-25T02:18:33.000000001Z",
            "2026-11-25T02:18:33.1234567899-00:30",
            "2026-11-25T02:18:33,5Z",
        ];
        for text in texts {
            check(text);
            for at in 0..text.len() {
                check(&text[..at]);
                check(&format!("{}{}", &text[..at], &text[at + 1..]));
                for other in "0123456789+-.:TtZz ä".chars() {
                    check(&format!("{}{other}{}", &text[..at], &text[at + 1..]));
                    check(&format!("{}{other}{}", &text[..at], &text[at..]));
                }
            }
        }
    }

    #[test]
    fn a_clock_that_went_back_leaves_no_age() {
        assert_eq!(Time(10).since(Time(4)), 6);
        assert_eq!(Time(4).since(Time(10)), 0);
        assert_eq!(Time(i64::MIN).since(Time(i64::MAX)), 0);
    }
}
