//! A pull that has ended, and the rules that hold for the lines of every pull.

use std::time::Duration;

pub(crate) struct Pulled {
    pub(super) name: String,
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) log: String,
    pub(crate) took: Duration,
}

impl std::fmt::Display for Pulled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, exit, out, err, took, .. } = self;
        write!(f, "{name} (exit {exit}, {took:?}):\n{out}{err}")
    }
}

impl Pulled {
    /// Checks the rules that hold for every pull.
    pub(super) fn check_rules(&self) {
        let is_raw = |line: &&str| line.get(9..10) == Some("]");
        let human: String = self.log.lines().filter(|line| !is_raw(line)).flat_map(|line| [line, "\n"]).collect();
        assert_eq!(human, self.out, "the log without raw lines, of {self}");
        let stamps: Vec<_> = self.out.lines().map(|line| line.get(..21).unwrap_or_default()).collect();
        assert!(stamps.iter().all(|stamp| stamp.ends_with(']')), "a stamp each: {self}");
        assert!(stamps.is_sorted(), "stamps in order: {self}");
        let counts: Vec<(u32, u32)> =
            self.lines().filter(|line| line.contains("Complete (") || line.contains("cached (")).map(counts).collect();
        assert!(counts.iter().all(|(n, of)| n <= of), "n/N: {self}");
        if !self.out.contains("🔁 Retry") {
            assert!(counts.iter().map(|(n, _)| n).is_sorted_by(|a, b| a < b), "n grows: {self}");
        }
        for bar in self.lines().filter_map(|line| Some(line.split_once(": [")?.1.split_once(']')?.0)) {
            let width = if bar.chars().count() == 50 { 50 } else { 40 };
            assert!(bar.chars().count() == width && bar.chars().all(|cell| "█░".contains(cell)), "{bar} of {self}");
        }
    }

    /// The lines without their time stamps.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.out.lines().map(|line| &line[22..])
    }

    /// The text between `start` and `end` in the first line that contains `start`.
    pub(crate) fn between(&self, start: &str, end: &str) -> &str {
        let found = self.lines().find_map(|line| line.split_once(start)?.1.split(end).next());
        found.unwrap_or_else(|| panic!("no {start:?} in {self}"))
    }

    #[track_caller]
    pub(crate) fn ended_with(&self, exit: i32) -> &Self {
        assert_eq!(self.exit, exit, "the exit code of {self}");
        self
    }

    /// Fails unless the output contains these texts, in this order.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        let mut rest = self.out.as_str();
        for text in texts {
            let found = rest.split_once(text);
            rest = found.unwrap_or_else(|| panic!("no {text:?}, or not in this order ({texts:?}), in {self}")).1;
        }
        self
    }

    #[track_caller]
    pub(crate) fn never_says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(!self.out.contains(text) && !self.err.contains(text), "{text:?} in {self}");
        }
        self
    }

    /// Fails unless this is a success with `count` layers, `cached` of which were here already: checks the order of each layer's
    /// lines, and the closing block.
    #[track_caller]
    pub(crate) fn pulled(&self, count: u32, cached: usize) -> &Self {
        self.ended_with(0);
        let layers: Vec<_> =
            self.lines().filter_map(|line| line.strip_prefix("📋 Layer ")?.split(' ').next()).collect();
        assert_eq!(layers.len(), usize::try_from(count).unwrap_or(0), "a queued line a layer: {self}");
        // The total is the number of layers announced by then: lines wait for more announcements for only a quarter of a second.
        let totals: Vec<u32> = self
            .lines()
            .filter_map(|line| {
                line.strip_prefix("📋 Layer ")?.split_once("(total: ")?.1.split(' ').next()?.parse().ok()
            })
            .collect();
        assert!(totals.is_sorted() && totals.last() == Some(&count), "{totals:?}: {self}");
        let mut found = 0;
        for layer in layers {
            let queued = format!("📋 Layer {layer} queued (total: ");
            if self.out.contains(&format!("💾 Layer {layer}: Already cached")) {
                found += 1;
                self.says(&[&queued, &format!("💾 Layer {layer}: Already cached (")]);
                self.never_says(&[&format!("Layer {layer}: [")]);
            } else {
                self.says(&[&queued, &format!("✅ Layer {layer}: Complete (")]);
            }
            self.never_goes_back(layer);
        }
        assert_eq!(found, cached, "cached layers: {self}");
        self.says(&[
            "📦 PULLING IMAGE",
            "Image: ",
            "Method: ",
            "📋 Layer",
            &format!("({count}/{count})"),
            "🔐 Image digest: sha256:",
            "📊 Status: Downloaded newer image for ",
            "✅ PULL SUCCESSFUL",
            "] 100%",
            &format!("Layers: {count}/{count} completed"),
            "Downloaded: ",
        ]);
        self.never_says(&["PULL FAILED", "INTERRUPTED"])
    }

    /// Fails unless the phases of a layer are in order (the engine may leave some out), and percentages never fall.
    #[track_caller]
    fn never_goes_back(&self, layer: &str) {
        const PHASES: [&str; 6] =
            ["queued", ": [", ": Verifying", ": Download complete", ": Extracting...", ": Extracting ["];
        let phase = |line: &str| {
            let rest = line.split_once("Layer ")?.1.strip_prefix(layer)?.trim_start();
            // A connection may break late in a download.
            let is_known = !rest.starts_with(": retrying");
            is_known.then(|| PHASES.iter().position(|start| rest.starts_with(start)).unwrap_or(PHASES.len()))
        };
        assert!(self.lines().filter_map(phase).is_sorted(), "the phases of {layer}: {self}");
        for phase in ["⬇️  Layer", "📂 Layer"] {
            let start = format!("{phase} {layer}: ");
            let percent =
                |line: &str| line.strip_prefix(&start)?.split_once("] ")?.1.split('%').next()?.parse::<u8>().ok();
            assert!(self.lines().filter_map(percent).is_sorted(), "{layer} goes back: {self}");
        }
    }
}

fn counts(line: &str) -> (u32, u32) {
    // Size and duration may follow.
    let pair = line.split_once(" (").and_then(|(_, rest)| rest.split_once(')')?.0.split_once('/'));
    pair.and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?))).unwrap_or_else(|| panic!("no counts: {line}"))
}
