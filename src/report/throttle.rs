//! When a line is due: often enough to watch, rarely enough for a log.
//!
//! **Invariant:** pure. Every time is `at`, in whole milliseconds since the pull began; when a line is due does not
//! depend on when it is asked.

use crate::pull::USUAL_LAYERS;

/// Milliseconds between two lines of a layer's progress: `LONG_INTERVAL` applies once the download takes `LONG_PULL`.
const INTERVAL: u64 = 2_000;
const LONG_INTERVAL: u64 = 10_000;
pub(crate) const LONG_PULL: u64 = 5 * 60_000;

/// Milliseconds between two lines of the overall progress.
const OVERALL: u64 = 10_000;
const LONG_OVERALL: u64 = 60_000;

/// Milliseconds for which `queued` lines wait for more layers, so that they can show how many there are.
const HOLD: u64 = 250;

/// Milliseconds without movement after which a line says so; each further one after twice the time.
const FIRST_NOTICE: u64 = 60_000;

/// What was shown of a layer.
#[derive(Default, Clone)]
struct Shown {
    /// Whether its `queued` line was shown.
    announced: bool,
    /// When the last line that counts for the interval was shown in this phase.
    at: Option<u64>,
    /// The last bar of this phase: percent, bytes as displayed, size.
    numbers: Option<(u64, u64, u64)>,
    /// How many bars were shown in this phase.
    bars: usize,
    /// When its download began.
    began: Option<u64>,
}

/// When the lines of the overall progress are due: every [`OVERALL`] milliseconds of the pull, later every
/// [`LONG_OVERALL`], if anything has moved since the last one.
pub(crate) struct Schedule {
    /// The next regular time that has not passed yet.
    due: u64,
    has_moved: bool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { due: following(0), has_moved: false }
    }
}

impl Schedule {
    /// Notes that something has moved.
    pub(crate) fn moved(&mut self) {
        self.has_moved = true;
    }

    /// The time at which the next line was due, if that is not later than `at`.
    pub(crate) fn next(&mut self, at: u64) -> Option<u64> {
        if at < self.due {
            return None;
        }
        let (due, has_moved) = (self.due, std::mem::take(&mut self.has_moved));
        // Until `at` nothing moves, so no other line is due before.
        self.due = following(if has_moved { due } else { at });
        has_moved.then_some(due)
    }
}

/// The first regular time after `at`.
fn following(at: u64) -> u64 {
    let step = if at >= LONG_PULL { LONG_OVERALL } else { OVERALL };
    at - at % step + step
}

/// When which line of a pull was shown, and when the next may be. A layer is identified by its index.
#[derive(Default)]
pub(crate) struct Throttle {
    shown: Vec<Shown>,
    /// When the first of the held `queued` lines was held back.
    held_since: Option<u64>,
    /// When anything moved last.
    moved_at: u64,
    /// How many lines about missing progress were shown since then.
    notices: u32,
}

impl Throttle {
    /// Notes that something has moved.
    pub(crate) fn moved(&mut self, at: u64) {
        (self.moved_at, self.notices) = (at, 0);
    }

    /// The next line about missing progress that is due: when it was due, and after how many seconds without movement.
    pub(crate) fn next_stall_notice(&mut self, at: u64) -> Option<(u64, u64)> {
        let notice = self.notice();
        self.is_stalled(at).then(|| {
            self.notices += 1;
            (self.moved_at + notice, notice / 1000)
        })
    }

    /// Milliseconds without movement after which the next such line is due.
    fn notice(&self) -> u64 {
        FIRST_NOTICE << self.notices.min(32)
    }

    fn is_stalled(&self, at: u64) -> bool {
        at.saturating_sub(self.moved_at) >= self.notice()
    }

    /// Whether any line about layers is due by `at` without an event.
    pub(crate) fn has_notices(&self, at: u64) -> bool {
        self.held_until().is_some_and(|due| at >= due) || self.is_stalled(at)
    }

    /// Notes that a `queued` line is held back.
    pub(crate) fn hold(&mut self, at: u64) {
        self.held_since.get_or_insert(at);
    }

    /// Until when `queued` lines are held back; `None` if there are none.
    pub(crate) fn held_until(&self) -> Option<u64> {
        Some(self.held_since? + HOLD)
    }

    pub(crate) fn release(&mut self) {
        self.held_since = None;
    }

    /// Notes that the `queued` line of a layer is shown. Returns whether for the first time.
    pub(crate) fn announce(&mut self, layer: usize) -> bool {
        !std::mem::replace(&mut self.shown(layer).announced, true)
    }

    pub(crate) fn is_announced(&self, layer: usize) -> bool {
        self.shown.get(layer).is_some_and(|shown| shown.announced)
    }

    /// Notes that a layer is being downloaded.
    pub(crate) fn downloading(&mut self, layer: usize, at: u64) {
        self.shown(layer).began.get_or_insert(at);
    }

    /// When the download of a layer began, if it was noted.
    pub(crate) fn began(&self, layer: usize) -> Option<u64> {
        self.shown.get(layer).and_then(|shown| shown.began)
    }

    /// Starts another phase of a layer; `shown_at` is the time of a line that counts for the interval.
    pub(crate) fn begin_phase(&mut self, layer: usize, shown_at: Option<u64>) {
        let shown = self.shown(layer);
        (shown.at, shown.bars) = (shown_at, 0);
        shown.numbers = None;
    }

    /// How many bars a layer has shown in its phase.
    pub(crate) fn bars(&self, layer: usize) -> usize {
        self.shown.get(layer).map_or(0, |shown| shown.bars)
    }

    /// Whether another bar of a layer is due.
    pub(crate) fn is_due(&self, layer: usize, at: u64) -> bool {
        let interval = if at >= LONG_PULL { LONG_INTERVAL } else { INTERVAL };
        let last = self.shown.get(layer).and_then(|shown| shown.at);
        last.is_none_or(|last| at.saturating_sub(last) >= interval)
    }

    /// Notes that a bar with these numbers is due. Returns whether it differs from the layer's last one; if not, it is not
    /// to be shown. Called before the line is made: on a slow link most events move a bar by less than can be seen.
    pub(crate) fn note_bar(&mut self, layer: usize, at: u64, numbers: (u64, u64, u64)) -> bool {
        let shown = self.shown(layer);
        let is_new = shown.numbers != Some(numbers);
        if is_new {
            (shown.numbers, shown.at) = (Some(numbers), Some(at));
            shown.bars += 1;
        }
        is_new
    }

    fn shown(&mut self, layer: usize) -> &mut Shown {
        if self.shown.is_empty() {
            self.shown.reserve_exact(USUAL_LAYERS);
        }
        if self.shown.len() <= layer {
            self.shown.resize(layer + 1, Shown::default());
        }
        &mut self.shown[layer]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_whole_are_due_on_a_grid() {
        let mut grid = Schedule::default();
        let mut check = |moved, at, expected: &[u64]| {
            if moved {
                grid.moved();
            }
            let due: Vec<_> = std::iter::from_fn(|| grid.next(at)).collect();
            assert_eq!(due, expected, "at {at}");
        };
        check(true, 9_999, &[]);
        check(false, 10_000, &[10_000]);
        check(false, 19_999, &[]);
        check(false, 25_000, &[]);
        // The time that has passed without movement is not made up for.
        check(true, 29_999, &[]);
        check(false, 61_000, &[30_000]);
        check(true, 299_999, &[70_000]);
        check(true, 300_000, &[300_000]);
        check(true, 359_999, &[]);
        check(false, 360_000, &[360_000]);
        check(true, u64::MAX / 2, &[420_000]);
    }
}
