//! How long to wait before the next try.
//!
//! **Invariant:** ten thousand devices that lose a broker in one moment do not come back in one: each waits a random part
//! of a window ("full jitter"), and the windows grow.

use std::time::Duration;

/// The first window. After a short outage of the broker all devices are back within a minute, including those whose first
/// try came too early and needed a second one. In this time one core can do the TLS handshakes of ten thousand devices, at a
/// millisecond each.
const FIRST: Duration = Duration::from_secs(20);
/// The minimum wait after a failed try. A broker that restarts within this time refuses no device twice. So no device
/// reaches the third window, and all are back after this pause and the second window.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);

/// A connection that has lasted so long counts as a good one. One that is refused each time right after it was accepted
/// (two devices of one name) does not.
pub(super) const GOOD: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait, with a random number of any size.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let window = FIRST.saturating_mul(1 << self.tries.min(8)).min(LONGEST);
        let pause = if self.tries == 0 { Duration::ZERO } else { PAUSE };
        self.tries = self.tries.saturating_add(1);
        let milliseconds = u64::try_from(window.saturating_sub(pause).as_millis()).unwrap_or(u64::MAX);
        pause + Duration::from_millis(random % (milliseconds + 1))
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_to_five_minutes_and_start_anew() {
        let mut backoff = Backoff::default();
        let windows: Vec<u64> = (0..7)
            .map(|_| {
                let mut longest = Duration::ZERO;
                let tries = backoff.tries;
                for random in (0..=300_000).step_by(1_000).chain([20_000, 35_000, 75_000, 155_000, 295_000]) {
                    longest = longest.max(Backoff { tries }.next(random));
                }
                backoff.next(0);
                longest.as_secs()
            })
            .collect();
        assert_eq!(windows, [20, 40, 80, 160, 300, 300, 300]);
        backoff.tries = u32::MAX;
        assert!(backoff.next(u64::MAX) <= LONGEST);
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= FIRST);
    }

    #[test]
    fn all_are_back_within_a_minute_of_a_short_restart() {
        let back = Duration::from_secs(5);
        for device in 0..10_000_u64 {
            let mut backoff = Backoff::default();
            let mut at = Duration::ZERO;
            let mut random = device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            while at < back || backoff.tries == 0 {
                at += backoff.next(random);
                random = random.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            }
            assert!(at <= Duration::from_mins(1), "{at:?} after {} tries", backoff.tries);
        }
    }

    #[test]
    fn all_of_a_window_is_used() {
        let mut tenths = [0_u32; 10];
        for device in 0..10_000_u64 {
            // Numbers that lie anywhere, as the hash in the service gives them.
            let wait = Backoff::default().next(device.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            tenths[usize::try_from(wait.as_millis() / 2_001).expect("a tenth")] += 1;
        }
        assert!(tenths.iter().all(|&count| (900..1_100).contains(&count)), "{tenths:?}");
    }
}
