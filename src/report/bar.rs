//! Bars, percentages and byte counts.
//!
//! Separate, because these must be right whatever an engine reports: more bytes than the total, a total of zero, 2^63.
//!
//! **Invariant:** a bar always has its width in characters; a percentage is rounded down, and at most 100.

use crate::pull::share;
use std::fmt::{self, Display, Write as _};

/// The escape sequences for a coloured bar, and for the default colour after it.
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const DEFAULT: &str = "\x1b[0m";

/// Width of a layer's bar in characters.
pub(crate) const LAYER: usize = 40;

/// Width of the overall bar in characters.
pub(crate) const OVERALL: usize = 50;

/// `████░░░░` in brackets, with `width` characters between them.
pub(crate) fn bar(part: u64, whole: u64, width: usize) -> impl Display {
    fmt::from_fn(move |f| {
        f.write_str("[")?;
        cells(part, whole, width).try_for_each(|cell| f.write_char(cell))?;
        f.write_str("]")
    })
}

/// The characters of a bar without its brackets.
pub(crate) fn cells(part: u64, whole: u64, width: usize) -> impl Iterator<Item = char> {
    let filled = share(part, whole, width as u64) as usize;
    (0..width).map(move |cell| if cell < filled { '█' } else { '░' })
}

/// `part` as a percentage of `whole`, 0 to 100.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    share(part, whole, 100)
}

const KB: u64 = 1_000;
const MB: u64 = 1_000_000;
const GB: u64 = 1_000_000_000;

/// A byte count as the log shows it: in decimal units, rounded down, with one decimal from GB on (`512B`, `37MB`,
/// `1.4GB`).
pub(crate) fn bytes(count: u64) -> impl Display {
    fmt::from_fn(move |f| match count {
        GB.. => tenths(f, count, GB, "GB"),
        MB.. => write!(f, "{}MB", count / MB),
        KB.. => write!(f, "{}KB", count / KB),
        _ => write!(f, "{count}B"),
    })
}

/// `count` reduced to what [`bytes`] shows: equal for counts that are displayed equally.
pub(crate) fn shown(count: u64) -> u64 {
    let step = match count {
        GB.. => GB / 10,
        MB.. => MB,
        KB.. => KB,
        _ => 1,
    };
    count - count % step
}

/// Bytes a second, from bytes and milliseconds, with one decimal from MB/s on (`4.6MB/s`). `None` if no time has
/// passed.
pub(crate) fn speed(count: u64, milliseconds: u64) -> Option<impl Display> {
    if milliseconds == 0 {
        return None;
    }
    let rate = u128::from(count) * 1000 / u128::from(milliseconds);
    let rate = u64::try_from(rate).unwrap_or(u64::MAX);
    Some(fmt::from_fn(move |f| match rate {
        GB.. => tenths(f, rate, GB, "GB/s"),
        MB.. => tenths(f, rate, MB, "MB/s"),
        KB.. => write!(f, "{}KB/s", rate / KB),
        _ => write!(f, "{rate}B/s"),
    }))
}

/// The estimated time left (`4s left`, `2m05s left`, `1h30m left`).
pub(crate) fn left(seconds: u64) -> impl Display {
    fmt::from_fn(move |f| match seconds {
        ..60 => write!(f, "{seconds}s left"),
        60..3600 => write!(f, "{}m{:02}s left", seconds / 60, seconds % 60),
        3600.. => write!(f, "{}h{:02}m left", seconds / 3600, seconds / 60 % 60),
    })
}

fn tenths(f: &mut fmt::Formatter<'_>, count: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}.{}{name}", count / unit, count % unit / (unit / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_keep_their_width() {
        let check = |part, whole, width, expected: &str| assert_eq!(bar(part, whole, width).to_string(), expected);
        check(0, 100, 10, "[░░░░░░░░░░]");
        check(9, 100, 10, "[░░░░░░░░░░]");
        check(10, 100, 10, "[█░░░░░░░░░]");
        check(99, 100, 10, "[█████████░]");
        check(100, 100, 10, "[██████████]");
        check(101, 100, 10, "[██████████]");
        check(5, 0, 10, "[░░░░░░░░░░]");
        check(u64::MAX, u64::MAX, 4, "[████]");
        check(1 << 62, 1 << 63, 4, "[██░░]");
        check(1, 2, 0, "[]");
        check(5_000_000, 50_000_000, LAYER, "[████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]");
        for part in 0..200 {
            assert_eq!(bar(part, 128, OVERALL).to_string().chars().count(), OVERALL + 2);
        }
    }

    #[test]
    fn percentages_are_floored() {
        let check = |part, whole, expected| assert_eq!(percent(part, whole), expected, "{part}/{whole}");
        check(0, 0, 0);
        check(1, 0, 0);
        check(999, 1000, 99);
        check(1000, 1000, 100);
        check(2000, 1000, 100);
        check(u64::MAX - 1, u64::MAX, 99);
    }

    #[test]
    fn byte_counts_are_decimal_and_floored() {
        let check = |count, expected| assert_eq!(bytes(count).to_string(), expected);
        check(0, "0B");
        check(512, "512B");
        check(999, "999B");
        check(1000, "1KB");
        check(12_999, "12KB");
        check(999_999, "999KB");
        check(37_999_999, "37MB");
        check(999_999_999, "999MB");
        check(1_000_000_000, "1.0GB");
        check(1_499_999_999, "1.4GB");
        check(u64::MAX, "18446744073.7GB");
    }

    #[test]
    fn counts_with_the_same_digits_are_shown_alike() {
        let counts = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) / 1000 * 999, (1 << bit) + 77_777]);
        for pair in counts.flat_map(|count| (0..7).map(move |more| (count, count + 10_u64.pow(more)))) {
            let alike = bytes(pair.0).to_string() == bytes(pair.1).to_string();
            assert_eq!(shown(pair.0) == shown(pair.1), alike, "{pair:?}");
        }
    }

    #[test]
    fn time_left_has_two_units() {
        let check = |seconds, expected| assert_eq!(left(seconds).to_string(), expected);
        check(4, "4s left");
        check(59, "59s left");
        check(60, "1m00s left");
        check(3599, "59m59s left");
        check(3600, "1h00m left");
        check(u64::MAX, "5124095576030431h00m left");
    }

    #[test]
    fn speeds_have_a_decimal_from_megabytes_on() {
        let check = |count, ms, expected: &str| assert_eq!(speed(count, ms).unwrap().to_string(), expected);
        check(70_000_000, 15_000, "4.6MB/s");
        check(500, 1000, "500B/s");
        check(512_999, 1000, "512KB/s");
        check(999_999, 1000, "999KB/s");
        check(1_500_000_000, 1000, "1.5GB/s");
        check(u64::MAX, 1, "18446744073.7GB/s");
        assert!(speed(1, 0).is_none());
    }
}
