//! When a line is due: often enough to watch, seldom enough for a log.
//!
//! **Invariant:** pure. Every time is `at`, whole milliseconds since the pull began; what is due is due at a time that
//! does not depend on when it is looked at.

use std::time::Duration;

/// How long lines of a layer's progress are apart, and from when on they are further apart, in milliseconds.
const INTERVAL: u64 = 2_000;
const LONG_INTERVAL: u64 = 10_000;
pub(crate) const LONG_PULL: u64 = 5 * 60_000;

/// How long `queued` lines wait for more layers to be announced, so that they can tell how many there are.
const HOLD: u64 = 250;

/// After how long without movement a line says so; then each time after twice as long.
const FIRST_NOTICE: u64 = 60_000;

/// The longest time for which the engine's next words are left unread: nearly all that a pull costs is to wake up for
/// each of them. Bars in place still move nearly five times a second, and the end of the pull ends a rest.
pub(crate) const REST: Duration = Duration::from_millis(200);
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// More lines than this in one rest are many: the kernel keeps some 270 writes of the engine, which then waits for us.
const MANY_LINES: usize = 100;

/// What was shown of a layer.
#[derive(Default, Clone)]
struct Shown {
    /// Whether its `queued` line is out.
    announced: bool,
    /// When the last line of this phase that counts for the interval was shown.
    at: Option<u64>,
    /// What the last bar of this phase said: percent, bytes as shown, size.
    numbers: Option<(u64, u64, u64)>,
    /// How many bars of this phase were shown.
    bars: usize,
}

/// When which line of a pull was shown, and the next may be. A layer is told by its index.
#[derive(Default)]
pub(crate) struct Pace {
    shown: Vec<Shown>,
    /// Since when `queued` lines are held back.
    held_since: Option<u64>,
    /// When anything moved last.
    moved_at: u64,
    /// How many notices of no progress there were since.
    notices: u32,
}

impl Pace {
    /// Something has moved.
    pub(crate) fn moved(&mut self, at: u64) {
        (self.moved_at, self.notices) = (at, 0);
    }

    /// The next notice of no progress that is due: when it was, and after how many seconds.
    pub(crate) fn still(&mut self, at: u64) -> Option<(u64, u64)> {
        let notice = FIRST_NOTICE << self.notices.min(32);
        let is_due = at.saturating_sub(self.moved_at) >= notice;
        is_due.then(|| {
            self.notices += 1;
            (self.moved_at + notice, notice / 1000)
        })
    }

    /// A `queued` line is held back.
    pub(crate) fn hold(&mut self, at: u64) {
        self.held_since.get_or_insert(at);
    }

    /// Until when `queued` lines are held back, if any are.
    pub(crate) fn held_until(&self) -> Option<u64> {
        Some(self.held_since? + HOLD)
    }

    pub(crate) fn release(&mut self) {
        self.held_since = None;
    }

    /// The `queued` line of a layer is to be shown; whether for the first time.
    pub(crate) fn announce(&mut self, layer: usize) -> bool {
        !std::mem::replace(&mut self.shown(layer).announced, true)
    }

    pub(crate) fn is_announced(&self, layer: usize) -> bool {
        self.shown.get(layer).is_some_and(|shown| shown.announced)
    }

    /// Another phase of a layer begins; with the time of a line that counts for the interval.
    pub(crate) fn begin_phase(&mut self, layer: usize, shown_at: Option<u64>) {
        let shown = self.shown(layer);
        (shown.at, shown.bars) = (shown_at, 0);
        shown.numbers = None;
    }

    /// How many bars of its phase a layer has shown.
    pub(crate) fn bars(&self, layer: usize) -> usize {
        self.shown.get(layer).map_or(0, |shown| shown.bars)
    }

    /// Whether it is time for another bar of a layer.
    pub(crate) fn is_due(&self, layer: usize, at: u64) -> bool {
        let interval = if at >= LONG_PULL { LONG_INTERVAL } else { INTERVAL };
        let last = self.shown.get(layer).and_then(|shown| shown.at);
        last.is_none_or(|last| at.saturating_sub(last) >= interval)
    }

    /// Whether a bar, which is then shown, says anything that the layer's last one did not. Asked before the line is made:
    /// on a slow link most events move a bar by less than can be seen.
    pub(crate) fn is_news(&mut self, layer: usize, at: u64, numbers: (u64, u64, u64)) -> bool {
        let shown = self.shown(layer);
        let is_news = shown.numbers != Some(numbers);
        if is_news {
            (shown.numbers, shown.at) = (Some(numbers), Some(at));
            shown.bars += 1;
        }
        is_news
    }

    fn shown(&mut self, layer: usize) -> &mut Shown {
        if self.shown.len() <= layer {
            self.shown.resize(layer + 1, Shown::default());
        }
        &mut self.shown[layer]
    }
}

/// How long to rest where the last rest was so long and so many lines came since it began.
pub(crate) fn rest(last: Duration, lines: usize) -> Duration {
    if lines > MANY_LINES { (last / 2).max(SHORTEST_REST) } else { (last * 2).min(REST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_the_shorter_the_more_is_said() {
        let rests = |first, lines: &[usize]| {
            let next = |last: &mut Duration, lines: &usize| {
                *last = rest(*last, *lines);
                Some(last.as_micros())
            };
            lines.iter().scan(first, next).collect::<Vec<_>>()
        };
        assert_eq!(
            rests(REST, &[0, 100, 101, 101, 100, 0, 0]),
            [200_000, 200_000, 100_000, 50_000, 100_000, 200_000, 200_000]
        );
        assert_eq!(rests(SHORTEST_REST, &[usize::MAX, 0, 0]), [1_000, 2_000, 4_000]);
    }
}
