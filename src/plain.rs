//! The story on standard output, line by line: for pipes, Puppet, and terminals that are none.
//!
//! Apart from the log because an output has an alphabet: emoji for a modern terminal, bars without emoji for the
//! console of a Pi, pure ASCII where the locale is not UTF-8 (Puppet fails a resource for a single other byte).
//!
//! **Invariant:** the raw lines of the engine never come here.

use crate::output::Output;
use crate::report::{Line, Part, Sink, Stamp};
use crate::text;
use std::io;
use std::time::Duration;

/// How long a reader that is slow is waited for when a signal is to end us, which must take less than 100 ms.
const STOPPING: Duration = Duration::from_millis(30);

/// Which characters an output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glyphs {
    All,
    /// The console of Linux: its font has blocks and no emoji.
    Console,
    Ascii,
}

impl Glyphs {
    /// What the locale and the terminal allow; `ascii` asks for no more than that.
    pub(crate) fn from_environment(ascii: bool) -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale =
            set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_lowercase();
        if ascii || !(locale.contains("utf-8") || locale.contains("utf8")) {
            Self::Ascii
        } else if set("TERM").as_deref() == Some("linux") {
            Self::Console
        } else {
            Self::All
        }
    }

    /// Appends `text` to `out` in these characters.
    pub(crate) fn push(self, text: &str, out: &mut String) {
        match self {
            Self::All => out.push_str(text),
            Self::Console => text::without_emoji(text, out),
            Self::Ascii => text::ascii(text, out),
        }
    }
}

/// What to do when nobody reads.
pub(crate) enum Patience {
    /// Leave lines out: a live pull goes on. The closing lines are waited for so long, in all; but for a moment only
    /// once this says that we were told to stop.
    Live(Duration, Box<dyn Fn() -> bool>),
    /// Wait, as long as this says so each time a tick has passed.
    Endless(Box<dyn FnMut() -> bool>),
}

/// Standard output as a sink.
pub(crate) struct Plain {
    pub(crate) output: Output,
    pub(crate) stamp: Stamp,
    pub(crate) glyphs: Glyphs,
    pub(crate) color: bool,
    pub(crate) patience: Patience,
    pub(crate) buffer: String,
    pub(crate) colored: String,
}

impl Sink for Plain {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(text) = line.text else { return Ok(()) };
        self.buffer.clear();
        self.stamp.push(line.at, &mut self.buffer);
        if self.color {
            self.colored.clear();
            text::push_green(text, &mut self.colored);
            self.glyphs.push(&self.colored, &mut self.buffer);
        } else {
            self.glyphs.push(text, &mut self.buffer);
        }
        self.buffer.push('\n');
        match &mut self.patience {
            Patience::Live(..) if line.part != Part::Closing => {
                self.output.offer(self.buffer.as_bytes(), Duration::ZERO)
            }
            Patience::Live(left, is_told_to_stop) => {
                if is_told_to_stop() {
                    *left = (*left).min(STOPPING);
                }
                let before = std::time::Instant::now();
                let written = self.output.offer(self.buffer.as_bytes(), *left);
                *left = left.saturating_sub(before.elapsed());
                written
            }
            Patience::Endless(go_on) => self.output.write(self.buffer.as_bytes(), crate::child::TICK, go_on),
        }
    }
}
