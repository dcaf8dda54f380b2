//! The live view of a pull on a terminal: bars that move in place, and above them the finished lines, as in the log.
//!
//! Separate from [`frame`], which says what is shown, because this handles the terminal: it is resized, stopped, hung
//! up, and shared with other writers.
//!
//! **Invariant:** between two frames and after the last one the cursor is visible, without colour, and below everything
//! drawn, so that even a killed program leaves the terminal in order. A frame is one write. A frame that the terminal
//! does not accept is dropped, and its log lines are written with the next one.

use crate::os::charset::Charset;
use crate::os::output::{Output, Place, WritePolicy};
use crate::os::signals;
use crate::pull::Verdict;
use crate::pull::layer::Phase;
use crate::pull::snapshot::Snapshot;
use crate::report::layout::Layout;
use crate::report::line::{About, Bar, Line, Part};
use crate::report::stamp::Stamp;
use crate::sink::frame;
use crate::sink::{self, Closing, Sink};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The real time between two frames, however fast a recording is played.
const FRAME: Duration = Duration::from_millis(100);

/// Bytes of log lines that wait for a terminal that accepts nothing; further lines are dropped and counted.
const MAX_LOG: usize = 16 << 10;

/// "Synchronized output": the terminal shows the frame once it has all of it. Other terminals ignore the sequence.
const HOLD: &str = "\x1b[?2026h";
const SHOW: &str = "\x1b[?2026l";

/// For a panic within a frame: default colour, and nothing below the message.
const RESTORE: &str = "\x1b[0m\r\x1b[J";

/// A terminal as a sink.
pub(crate) struct Screen {
    output: Output,
    stamp: Stamp,
    /// Wraps lines of the log as `alm pull` does.
    layout: Layout,
    policy: WritePolicy,
    continued: Arc<AtomicBool>,
    /// When the next frame may be drawn.
    next: Option<Instant>,
    /// Log lines that are still to be written above the bars.
    log: String,
    /// How many lines were dropped.
    lost: usize,
    /// Where in `log` the closing block begins.
    closing: Option<usize>,
    /// The lines that are to be drawn, and those that are on the terminal.
    area: String,
    drawn: String,
    /// The terminal's size when they were drawn.
    size: (usize, usize),
    buffer: String,
}

impl Screen {
    pub(crate) fn new(output: Output, stamp: Stamp, charset: Charset, color: bool, policy: WritePolicy) -> Self {
        restore_on_panic(charset);
        let size = output.size();
        Self {
            output,
            stamp,
            layout: Layout::new(color, charset),
            policy,
            continued: signals::continued(),
            next: None,
            log: String::new(),
            lost: 0,
            closing: None,
            area: String::new(),
            drawn: String::new(),
            size,
            buffer: String::new(),
        }
    }

    /// Draws `log` and `area`, if they changed; `is_last` waits for the terminal.
    fn paint(&mut self, size: (usize, usize), is_last: bool) -> io::Result<()> {
        let place = self.output.place(&self.continued);
        if place != Place::Same {
            self.drawn.clear();
        }
        if place == Place::Taken {
            self.area.clear();
        }
        let is_resized = size != self.size && !self.drawn.is_empty();
        if self.log.is_empty() && self.area == self.drawn && !is_resized {
            return Ok(());
        }
        self.buffer.clear();
        self.buffer.push_str(if self.layout.charset == Charset::All { HOLD } else { "" });
        let rows = height(&self.drawn, size.0);
        if rows > 0 {
            let _ = write!(self.buffer, "\r\x1b[{rows}A");
        }
        // The terminal may wrap log lines over the old area, so that is erased first.
        let is_afresh = is_resized || !self.log.is_empty() || self.area.lines().count() < rows;
        if is_afresh && rows > 0 {
            self.buffer.push_str("\x1b[J");
        }
        self.buffer.push_str(&self.log);
        let mut drawn = self.drawn.lines();
        for line in self.area.lines() {
            if drawn.next() != Some(line) || is_afresh {
                push(line, self.layout.color, self.layout.charset, &mut self.buffer);
                self.buffer.push_str(if is_afresh { "" } else { "\x1b[K" });
            }
            self.buffer.push('\n');
        }
        self.buffer.push_str(if self.layout.charset == Charset::All { SHOW } else { "" });
        let bytes = self.buffer.as_bytes();
        let is_taken = if is_last {
            self.policy.write(&mut self.output, bytes, true)?;
            true
        } else {
            self.output.offer(bytes, Duration::ZERO)?
        };
        if is_taken {
            std::mem::swap(&mut self.drawn, &mut self.area);
            self.log.clear();
            self.size = size;
        }
        Ok(())
    }

    /// Adds a line to the log above.
    fn scroll(&mut self, at: u64, text: &str) {
        let mut stamp = String::new();
        self.stamp.push(at, &mut stamp);
        self.layout.columns = Some(self.output.size().0);
        self.layout.line(&stamp, text, &mut self.log);
    }
}

impl Sink for Screen {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(text) = line.text else { return Ok(()) };
        match line.about {
            // The progress of layers and of the whole is shown below, where it moves.
            About::Layer(_, Phase::Complete | Phase::Cached | Phase::Retrying(_)) => {}
            About::Layer(..) | About::Overall(_) => return Ok(()),
            _ => {}
        }
        let is_closing = line.part == Part::Closing;
        if !is_closing && self.log.len() + text.len() > MAX_LOG {
            if let WritePolicy::Live(..) = self.policy {
                self.lost += 1;
                return Ok(());
            }
            self.area.clone_from(&self.drawn);
            self.paint(self.output.size(), true)?;
        }
        if self.lost > 0 {
            let notice = format!("⚠️  {} lines are missing here: the terminal took nothing", self.lost);
            self.lost = 0;
            self.scroll(line.at, &notice);
        }
        if is_closing {
            self.closing.get_or_insert(self.log.len());
        }
        self.scroll(line.at, text);
        Ok(())
    }

    fn frame(&mut self, snapshot: &Snapshot<'_>) -> io::Result<()> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next = Some(now + FRAME);
        let (columns, rows) = self.output.size();
        self.area.clear();
        frame::draw(snapshot, columns, rows, &mut self.area);
        self.paint((columns, rows), false)
    }

    fn step_aside(&mut self) -> io::Result<()> {
        self.area.clear();
        self.paint(self.output.size(), false)
    }

    /// The closing block replaces the bars; after a failure the last bars stay visible.
    fn close(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        let (columns, rows) = self.output.size();
        self.area.clear();
        if *closing.verdict != Verdict::Success {
            frame::layers(closing.snapshot.pull, columns, rows / 2, &mut self.area);
            let mut left = String::new();
            for line in self.area.lines() {
                push(line, self.layout.color, self.layout.charset, &mut left);
                left.push('\n');
            }
            self.log.insert_str(self.closing.unwrap_or(self.log.len()), &left);
            self.area.clear();
        }
        self.paint((columns, rows), true)
    }
}

impl Drop for Screen {
    /// For a session that ends without `close`: its last lines are still written.
    fn drop(&mut self) {
        self.area.clone_from(&self.drawn);
        // If this fails, there is nothing left to write to.
        let _ = self.paint(self.output.size(), false);
    }
}

/// Appends a line of the area. Its only bracket is that of the bar.
fn push(text: &str, color: bool, charset: Charset, out: &mut String) {
    let place = text.find('[').and_then(|start| Some(start..start + text[start..].find(']')? + 1));
    let bar = place.map(|place| Bar { place, part: 0, whole: 0, cells: 0 });
    sink::push(text, bar.as_ref(), color, charset, out);
}

/// The number of rows that the drawn lines take on a terminal that is `columns` wide now: one that became narrower has
/// wrapped them. (xterm does not, so a few rows of the log above are overwritten there.)
fn height(lines: &str, columns: usize) -> usize {
    lines.lines().map(|line| line.chars().count().div_ceil(columns.max(1)).max(1)).sum()
}

/// Makes the message of a panic appear on lines of its own.
fn restore_on_panic(charset: Charset) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let restore = if charset == Charset::All { [SHOW, RESTORE] } else { ["", RESTORE] };
        if let Ok(mut output) = Output::stdout() {
            let _ = output.offer(restore.concat().as_bytes(), Duration::from_millis(50));
        }
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::Pull;
    use crate::pull::meter::Meter;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::{File, OpenOptions};
    use std::io::Read as _;
    use std::ops::ControlFlow;
    use std::process::{Command, Stdio};
    use time::OffsetDateTime;

    /// Draws a frame and half of another.
    #[test]
    #[ignore = "panics: for the next test, which runs it in a terminal"]
    fn panics() {
        let policy = WritePolicy::Live(Duration::ZERO, Box::new(|| ControlFlow::Continue(())));
        let output = Output::stdout().expect("a terminal");
        let mut screen = Screen::new(output, Stamp(OffsetDateTime::UNIX_EPOCH), Charset::All, true, policy);
        let (pull, meter) = (Pull::default(), Meter::default());
        screen.frame(&Snapshot { pull: &pull, meter: &meter, at: 0 }).expect("a frame");
        let half = screen.output.offer(b"\x1b[?2026h\r\x1b[2A\x1b[32mhalf a fra", Duration::ZERO);
        assert!(!half.expect("a terminal"), "for a test");
    }

    #[test]
    fn a_panic_in_mid_frame_leaves_the_terminal_in_order() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other side");
        let path = ptsname(&master, Vec::new()).expect("its name").into_string().expect("in ASCII");
        let terminal = OpenOptions::new().read(true).write(true).open(path).expect("its other side");
        let mut child = Command::new(std::env::current_exe().expect("this"))
            .args(["--exact", "sink::screen::tests::panics", "--ignored", "--nocapture", "--test-threads=1"])
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(terminal.try_clone().expect("a copy"))
            .stderr(terminal)
            .spawn()
            .expect("this again");
        let mut output = Vec::new();
        let mut buffer = [0; 4096];
        // Ends with EIO once the other side is closed.
        while let Ok(count @ 1..) = File::read(&mut File::from(master.try_clone().expect("a copy")), &mut buffer) {
            output.extend_from_slice(&buffer[..count]);
        }
        assert!(!child.wait().expect("an end").success());
        let output = String::from_utf8(output).expect("UTF-8");
        // Every frame is complete: none is left held back.
        assert!(output.rfind(SHOW) > output.rfind(HOLD), "{output:?}");
        let mut shown = avt::Terminal::with_scrollback(80, 40, None).expect("a terminal");
        shown.feed(output.as_str());
        let mut lines = shown.screen().visible_lines();
        let message = lines.find(|line| line.text().starts_with("thread 'sink::screen::tests::panics'"));
        let message = message.unwrap_or_else(|| panic!("{output:?}"));
        assert!(message.cells()[0].pen().is_default() && shown.cursor().visible);
        assert!(!shown.screen().text().join("\n").contains("half a fra"), "{output:?}");
    }
}
