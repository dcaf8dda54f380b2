//! The speed of a pull, and its time left.
//!
//! **Invariant:** pure. Samples are taken at regular times, whenever the caller calls: so a replay, which has no ticks,
//! shows the speeds of the live pull.

use super::Pull;
use super::layer::Phase;

/// Milliseconds that the speed covers, and below between two samples. Speed and time left change with each sample and
/// not with each frame, so that they can be read.
const WINDOW: u64 = 10_000;
const SAMPLE: u64 = 500;

/// The samples of a window, including both of its ends.
const SAMPLES: usize = (WINDOW / SAMPLE) as usize + 1;

/// Milliseconds after which a speed is shown.
const MIN_SPAN: u64 = 1_000;

/// Seconds. A longer time left would be a guess, and is not shown.
pub(crate) const MAX_LEFT: u64 = 100 * 3600;

/// Computes speed and time left from what was observed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// When the next sample is due.
    due: u64,
    /// Bytes downloaded, the latest sample last; `taken` of them are valid. The first is from before the first byte.
    samples: [u64; SAMPLES],
    taken: usize,
    /// Bytes a second.
    pub(crate) speed: Option<u64>,
    /// Seconds left.
    pub(crate) left: Option<u64>,
    /// When the last sample was taken, and below the bytes that were extracted by then.
    sampled_at: u64,
    extracted: u64,
    /// Bytes that were extracted, and in how many milliseconds of extracting.
    unpacked: u64,
    unpacking: u64,
    is_unpacking: bool,
}

impl Meter {
    /// Takes the samples that are due by `at`. To be called before each event, with the pull as it was until then.
    pub(crate) fn advance(&mut self, pull: &Pull, at: u64) {
        // Most calls end here.
        if self.due <= at {
            self.catch_up(pull, at);
        }
    }

    fn catch_up(&mut self, pull: &Pull, at: u64) {
        let mut unchanged = 0;
        while self.due <= at {
            self.sample(pull);
            self.due += SAMPLE;
            unchanged += 1;
            if unchanged == SAMPLES && self.due <= at {
                // Nothing happened for a whole window, so all samples before the last one are equal.
                self.due = at - at % SAMPLE;
            }
        }
    }

    fn sample(&mut self, pull: &Pull) {
        let bytes = pull.seen();
        if self.taken == 1 && self.samples[0] == bytes {
            // Before the first byte nothing is measured: the wait for it does not count.
            self.taken = 0;
        }
        if self.taken == SAMPLES {
            self.samples.copy_within(1.., 0);
            self.taken -= 1;
        }
        self.samples[self.taken] = bytes;
        self.taken += 1;
        let span = (self.taken as u64 - 1) * SAMPLE;
        self.speed = (span >= MIN_SPAN).then(|| rate(bytes.saturating_sub(self.samples[0]), span));
        self.unpack(pull);
        self.left = self.time_left(pull);
        self.sampled_at = self.due;
    }

    fn unpack(&mut self, pull: &Pull) {
        let parts = pull.layers.iter().filter_map(|layer| layer.extracted);
        let extracted = parts.fold(0_u64, |sum, (done, _)| sum.saturating_add(done));
        if self.is_unpacking {
            self.unpacked = self.unpacked.saturating_add(extracted.saturating_sub(self.extracted));
            self.unpacking += self.due - self.sampled_at;
        }
        self.extracted = extracted;
        self.is_unpacking =
            pull.layers.iter().any(|layer| layer.phase == Phase::Extracting && layer.extracted.is_some());
    }

    /// The longer of the times left for downloading and for extracting, which go on side by side.
    fn time_left(&self, pull: &Pull) -> Option<u64> {
        let (mut download, mut extraction) = (0_u64, 0_u64);
        for layer in pull.layers.iter().filter(|layer| !layer.is_finished) {
            let size = layer.size.or((layer.phase == Phase::Downloaded).then_some(layer.done))?;
            download = download.saturating_add(size.saturating_sub(layer.done));
            let (done, whole) = layer.extracted.unwrap_or((0, size));
            extraction = extraction.saturating_add(whole.saturating_sub(done));
        }
        let download = match self.speed? {
            _ if download == 0 => 0,
            0 => return None,
            speed => download.div_ceil(speed),
        };
        let extraction = match rate(self.unpacked, self.unpacking) {
            0 => 0,
            speed if self.unpacking >= MIN_SPAN => extraction.div_ceil(speed),
            _ => 0,
        };
        Some(download.max(extraction)).filter(|left| (1..MAX_LEFT).contains(left))
    }
}

/// Bytes a second.
fn rate(bytes: u64, milliseconds: u64) -> u64 {
    let rate = (u128::from(bytes) * 1000).checked_div(u128::from(milliseconds)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::event;

    const MB: u64 = 1_000_000;

    fn say(pull: &mut Pull, id: &str, status: &str, bytes: Option<(u64, u64)>) {
        let detail = bytes.map(|(current, total)| format!("\"current\":{current},\"total\":{total}"));
        let detail = detail.unwrap_or_default();
        let line = format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#);
        pull.apply(event::parse(line.as_bytes()));
    }

    #[test]
    fn speed_covers_ten_seconds_and_time_left_needs_all_sizes() {
        let (mut pull, mut meter) = (Pull::default(), Meter::default());
        say(&mut pull, "a", "Pulling fs layer", None);
        say(&mut pull, "b", "Pulling fs layer", None);
        let mut download = |meter: &mut Meter, at: u64, megabytes: u64| {
            meter.advance(&pull, at - 1);
            say(&mut pull, "a", "Downloading", Some((megabytes * MB, 100 * MB)));
            meter.advance(&pull, at);
            (meter.speed, meter.left)
        };
        // The time before the first byte does not count.
        meter.advance(&Pull::default(), 30_000);
        assert_eq!(download(&mut meter, 30_500, 1), (None, None), "too early to tell");
        assert_eq!(download(&mut meter, 30_900, 2), (None, None), "between two samples");
        assert_eq!(download(&mut meter, 32_000, 4), (Some(2 * MB), None), "a size is unknown");
        assert_eq!(download(&mut meter, 40_000, 20), (Some(2 * MB), None));
        assert_eq!(download(&mut meter, 50_000, 60), (Some(4 * MB), None), "the last ten seconds");
        say(&mut pull, "b", "Downloading", Some((0, 20 * MB)));
        meter.advance(&pull, 50_500);
        assert_eq!((meter.speed, meter.left), (Some(4 * MB), Some(15)));
        meter.advance(&pull, 70_000);
        assert_eq!((meter.speed, meter.left), (Some(0), None), "stalled");
        say(&mut pull, "a", "Download complete", None);
        say(&mut pull, "b", "Download complete", None);
        for second in 0..=2 {
            meter.advance(&pull, 80_000 + second * 1000);
            say(&mut pull, "a", "Extracting", Some((second * 10 * MB, 100 * MB)));
        }
        meter.advance(&pull, 82_500);
        assert_eq!(meter.left, Some(10), "100MB to extract at 10MB/s");
    }

    #[test]
    fn the_meter_does_not_depend_on_how_often_it_is_read() {
        let (mut pull, mut often, mut seldom) = (Pull::default(), Meter::default(), Meter::default());
        say(&mut pull, "a", "Pulling fs layer", None);
        let mut at = 0;
        for (pause, status, current) in [
            (700, "Downloading", 3),
            (499, "Downloading", 9),
            (1, "Downloading", 20),
            (12_345, "Downloading", 40),
            (70_000, "Downloading", 41),
            (500, "Downloading", 60),
            (86_400_000, "Download complete", 0),
            (250, "Extracting", 5),
            (1_000_000, "Extracting", 50),
            (2_000, "Extracting", 60),
            (30_250, "Extracting", 70),
        ] {
            for step in 1..=500 {
                often.advance(&pull, at + pause * step / 500);
            }
            at += pause;
            seldom.advance(&pull, at);
            assert_eq!(format!("{often:?}"), format!("{seldom:?}"), "at {at}");
            say(&mut pull, "a", status, Some((current * MB, 100 * MB)));
        }
        // A time beyond that of any pull, which a recording may contain, takes no longer.
        seldom.advance(&pull, u64::MAX / 2);
        assert_eq!(seldom.speed, Some(0));
    }
}
