//! When a line is due: often enough to watch, rarely enough for a log.
//!
//! **Invariant:** pure. Every point of time is `at`, whole milliseconds since the pull began; what is due is due at a time that
//! does not depend on when it is asked.

/// How long lines of a layer's progress are apart, and from when on they are further apart, in milliseconds.
const INTERVAL: u64 = 2_000;
const LONG_INTERVAL: u64 = 10_000;
pub(crate) const LONG_PULL: u64 = 5 * 60_000;

/// How far the lines of the whole are apart, in milliseconds.
const OVERALL: u64 = 10_000;
const LONG_OVERALL: u64 = 60_000;

/// How long `queued` lines wait for more layers to be announced, so that they can say how many there are.
const HOLD: u64 = 250;

/// After how long without movement a line says so; then each time after twice as long.
const FIRST_NOTICE: u64 = 60_000;

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
    /// When the engine began to download it.
    began: Option<u64>,
}

/// When the lines of the whole are due: at the times of a grid, where anything has moved since the last one.
pub(crate) struct Grid {
    /// The first time of the grid that has not passed.
    due: u64,
    has_moved: bool,
}

impl Default for Grid {
    fn default() -> Self {
        Self { due: following(0), has_moved: false }
    }
}

impl Grid {
    /// Something has moved.
    pub(crate) fn moved(&mut self) {
        self.has_moved = true;
    }

    /// The time at which the next line was due, if it is `at` by now.
    pub(crate) fn next(&mut self, at: u64) -> Option<u64> {
        if at < self.due {
            return None;
        }
        let (due, has_moved) = (self.due, std::mem::take(&mut self.has_moved));
        // Nothing moves until `at`: no other line is due before.
        self.due = following(if has_moved { due } else { at });
        has_moved.then_some(due)
    }
}

/// The first time of the grid after `at`.
fn following(at: u64) -> u64 {
    let step = if at >= LONG_PULL { LONG_OVERALL } else { OVERALL };
    at - at % step + step
}

/// When which line of a pull was shown, and the next may be. A layer is identified by its index.
#[derive(Default)]
pub(crate) struct Throttle {
    shown: Vec<Shown>,
    /// Since when `queued` lines are held back.
    held_since: Option<u64>,
    /// When anything moved last.
    moved_at: u64,
    /// How many notices of no progress there were since.
    notices: u32,
}

impl Throttle {
    /// Something has moved.
    pub(crate) fn moved(&mut self, at: u64) {
        (self.moved_at, self.notices) = (at, 0);
    }

    /// The next notice of no progress that is due: when it was, and after how many seconds.
    pub(crate) fn still(&mut self, at: u64) -> Option<(u64, u64)> {
        let notice = self.notice();
        self.is_still(at).then(|| {
            self.notices += 1;
            (self.moved_at + notice, notice / 1000)
        })
    }

    /// After how long without movement the next notice of it is due.
    fn notice(&self) -> u64 {
        FIRST_NOTICE << self.notices.min(32)
    }

    fn is_still(&self, at: u64) -> bool {
        at.saturating_sub(self.moved_at) >= self.notice()
    }

    /// Whether anything is due about layers by `at` that time alone brings.
    pub(crate) fn has_notices(&self, at: u64) -> bool {
        self.held_until().is_some_and(|due| at >= due) || self.is_still(at)
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

    /// The download of a layer goes on, or begins.
    pub(crate) fn downloading(&mut self, layer: usize, at: u64) {
        self.shown(layer).began.get_or_insert(at);
    }

    /// When the download of a layer began, if it was seen to.
    pub(crate) fn began(&self, layer: usize) -> Option<u64> {
        self.shown.get(layer).and_then(|shown| shown.began)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_whole_are_due_on_a_grid() {
        let mut grid = Grid::default();
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
