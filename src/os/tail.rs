//! Reads the log for the viewer: the last lines, searched from the end, and the lines that follow, across rotations.
//!
//! Separate from `sink::log`, because a reader needs the files that were the log before. A log is a row of generations
//! (`docker-pull.log.1`, `docker-pull.log`; with logrotate's `dateext` `docker-pull.log-20251119`). They are identified
//! by device and inode and kept open, so that none is lost when it is renamed, deleted or rotated twice between two
//! polls.
//!
//! **Invariant:** every line is read once, in the order of writing. Sizes are taken from the newest generation to the
//! oldest, lines are read from the oldest to the newest and never beyond those sizes. A line that may still grow is not
//! shown.

use crate::os::file::{self, Identity, Links};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes kept of a line: the longest line of a log, which is a raw line of 64 KiB with its stamp.
const MAX_LINE: usize = (64 << 10) + 32;

/// Bytes read at once; larger blocks are not faster.
const BLOCK: usize = 32 << 10;

/// The beginning of a line, and below of a raw line; a 0 stands for any digit.
pub(crate) const LONG_STAMP: &str = "[0000-00-00 00:00:00] ";
pub(crate) const SHORT_STAMP: &str = "[00:00:00] ";

/// If a rotated generation has not grown for this long, the partial line at its end will not be completed.
const SETTLED: Duration = Duration::from_millis(200);

/// How long a writer may take from checking the log's name until it writes, even if the file is deleted in between.
const LATE: Duration = Duration::from_secs(2);

/// How many generations are kept open to be recognized. One would do for a log that is rotated and never deleted.
const KEPT: usize = 4;

/// A line without its line end.
pub(crate) struct Line<'a> {
    /// The line, or its beginning if it is too long.
    pub(crate) bytes: &'a [u8],
    /// The length of the line in the log, in bytes.
    pub(crate) length: u64,
}

/// The log, read from a certain line on.
pub(crate) struct Tail {
    path: PathBuf,
    raw: bool,
    follow: bool,
    /// From the oldest to the newest. Never empty again once there was a log.
    held: Vec<Generation>,
    buffer: Vec<u8>,
}

/// A file that is or was the log.
struct Generation {
    file: File,
    identity: Identity,
    /// The offset of the next byte to read, and of the first byte that is not to be read yet.
    offset: u64,
    end: u64,
    /// When it was seen growing last.
    grown: Option<Instant>,
    is_linked: bool,
    /// The beginning of the line that reaches beyond the last block, and the line's length so far.
    half: Vec<u8>,
    length: u64,
}

impl Tail {
    /// Opens the log at its last `lines` lines: as it is now or, with `follow`, as it grows. Without `raw` the engine's
    /// own lines are neither counted nor returned. A missing log has no lines.
    pub(crate) fn open(path: &Path, lines: usize, raw: bool, follow: bool) -> io::Result<Self> {
        let mut tail = Self { path: path.to_owned(), raw, follow, held: Vec::new(), buffer: Vec::new() };
        // Older generations may be compressed.
        tail.find(1)?;
        let mut missing = lines;
        for (age, generation) in tail.held.iter_mut().rev().enumerate() {
            generation.measure()?;
            generation.grown = None;
            let is_over = !follow || age > 0;
            let (start, found) = generation.last(missing, raw, is_over)?;
            generation.offset = start;
            missing -= found;
        }
        tail.buffer = vec![0; BLOCK];
        Ok(tail)
    }

    /// Whether there is a log, and whether anything was ever written to it.
    pub(crate) fn is_there(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.iter().all(|generation| generation.end == 0)
    }

    /// Checks whether the log grew or was rotated. An error says why it cannot be read at present; open generations
    /// still can.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        let found = self.find(usize::MAX);
        for generation in self.held.iter_mut().rev() {
            generation.measure()?;
        }
        let mut age = self.held.len();
        self.held.retain(|generation| {
            age -= 1;
            age == 0 || !generation.is_done() || (generation.is_linked && age < KEPT)
        });
        found
    }

    /// Reads one block, and passes on the lines that end in it. Returns false when there is nothing more for now.
    pub(crate) fn read(&mut self, out: &mut dyn FnMut(&Line<'_>)) -> io::Result<bool> {
        let raw = self.raw;
        let out = &mut |line: &Line<'_>| {
            if raw || !is_raw(line.bytes) {
                out(line);
            }
        };
        let mut age = self.held.len();
        for generation in &mut self.held {
            age -= 1;
            if generation.offset < generation.end {
                generation.read(&mut self.buffer, out)?;
                return Ok(true);
            }
            if generation.length > 0 && (age > 0 || !self.follow) {
                // The line may still be being written, and it has to come before everything newer.
                if self.follow && generation.grown.is_some_and(|grown| grown.elapsed() < SETTLED) {
                    return Ok(false);
                }
                generation.end_line(&[], out);
            }
        }
        Ok(false)
    }

    /// Opens the generations that are not open yet, from the log itself back to the first that is open, or to number
    /// `max`.
    fn find(&mut self, max: usize) -> io::Result<()> {
        let mut newer: Vec<Generation> = Vec::new();
        let (mut found, mut holes, mut dated) = (Ok(()), 0, None);
        for number in 0..=max {
            let opened = match number {
                0 => self.unless_held(&self.path),
                _ => match dated.get_or_insert_with(|| self.dated()).get(number - 1) {
                    Some(path) => self.unless_held(path),
                    None => self.unless_held(&self.numbered(number)),
                },
            };
            match opened {
                Ok(None) => break,
                // The log was rotated during the search.
                Ok(Some(generation)) if newer.iter().any(|other| other.identity == generation.identity) => {}
                Ok(Some(generation)) => newer.push(generation),
                Err(error) if number == 0 => {
                    if error.kind() != io::ErrorKind::NotFound {
                        found = Err(error);
                    }
                }
                // In the middle of a rotation one can be missing.
                Err(_) => {
                    holes += 1;
                    if holes == 2 {
                        break;
                    }
                }
            }
        }
        self.held.extend(newer.into_iter().rev());
        found
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    /// The generations that were rotated away with a date, newest first; empty if the newest one has a number, as on a
    /// site that used dates in the past. Sorted by their times, because each site chooses the format of the date.
    fn dated(&self) -> Vec<PathBuf> {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Vec::new() };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let mut dated = Vec::new();
        for entry in entries.flatten().filter(|entry| is_dated(entry.file_name().as_bytes(), name.as_bytes())) {
            if let Some(time) = changed(&entry.path()) {
                let generation = (time, entry.path());
                dated.insert(dated.partition_point(|newer| *newer > generation), generation);
            }
        }
        let numbered = changed(&self.numbered(1));
        if dated.first().is_none_or(|newest| numbered.is_some_and(|numbered| numbered > newest.0)) {
            return Vec::new();
        }
        dated.into_iter().map(|(_, path)| path).collect()
    }

    /// Opens `path`, unless it is open already.
    fn unless_held(&self, path: &Path) -> io::Result<Option<Generation>> {
        let is_held = |file: &Metadata| self.held.iter().any(|held| held.identity == Identity::of(file));
        // Checked before it is opened: opening a device or a FIFO can have effects.
        let before = std::fs::metadata(path)?;
        if is_held(&before) {
            return Ok(None);
        }
        file::regular(&before)?;
        let (file, now) = file::open(path, OpenOptions::new().read(true), Links::Follow)?;
        let identity = Identity::of(&now);
        Ok((!is_held(&now)).then_some(Generation {
            file,
            identity,
            offset: 0,
            end: 0,
            grown: None,
            is_linked: true,
            half: Vec::new(),
            length: 0,
        }))
    }
}

impl Generation {
    fn measure(&mut self) -> io::Result<()> {
        let now = self.file.metadata()?;
        self.is_linked = now.nlink() > 0;
        if now.len() < self.offset {
            // It was truncated: its present content is new.
            (self.offset, self.length) = (0, 0);
            self.half.clear();
        }
        if now.len() != self.end {
            (self.end, self.grown) = (now.len(), Some(Instant::now()));
        }
        Ok(())
    }

    /// Whether everything was read, and nothing more will come because it is not the log any more.
    fn is_done(&self) -> bool {
        self.offset == self.end && self.length == 0 && self.grown.is_none_or(|grown| grown.elapsed() > LATE)
    }

    /// Searches backwards for the start of the last `count` lines, and returns it and how many there are. A partial
    /// line at the end counts only if `is_over`, that is, if it will not be completed.
    fn last(&self, count: usize, raw: bool, is_over: bool) -> io::Result<(u64, usize)> {
        let (end, mut found) = (self.end, 0);
        if end == 0 || (count == 0 && is_over) {
            return Ok((end, 0));
        }
        let mut buffer = vec![0; BLOCK + SHORT_STAMP.len()];
        let mut is_ended = false;
        let mut top = end;
        loop {
            let bottom = top.saturating_sub(BLOCK as u64);
            // A line may begin before its block.
            let wanted = buffer.len().min(usize::try_from(end - bottom).unwrap_or(usize::MAX));
            let filled = read_full(&self.file, &mut buffer[..wanted], bottom)?;
            let block = &buffer[..filled.min(usize::try_from(top - bottom).unwrap_or(usize::MAX))];
            is_ended |= top == end && block.ends_with(b"\n");
            // `contains` is much faster than a search from the end, and a log may have a line of 100 MB.
            let mut rest = if block.contains(&b'\n') { block.len() } else { 0 };
            loop {
                let newline = block[..rest].iter().rposition(|&byte| byte == b'\n');
                if newline.is_none() && bottom > 0 {
                    break;
                }
                let at = newline.map_or(0, |newline| newline + 1);
                let start = bottom + at as u64;
                if start < end {
                    let is_whole = is_ended || is_over;
                    found += usize::from(count > 0 && is_whole && (raw || !is_raw(&buffer[at..filled])));
                    // Every line before this one ends with the newline just found.
                    is_ended = true;
                }
                if found == count || newline.is_none() {
                    return Ok((start, found));
                }
                rest = at - 1;
            }
            top = bottom;
        }
    }

    fn read(&mut self, buffer: &mut [u8], out: &mut dyn FnMut(&Line<'_>)) -> io::Result<()> {
        let wanted = buffer.len().min(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        let count = match self.file.read_at(&mut buffer[..wanted], self.offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            count => count?,
        };
        if count == 0 {
            // It was truncated after it was measured.
            self.end = self.offset;
        }
        self.offset += count as u64;
        let mut rest = &buffer[..count];
        while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
            self.end_line(&rest[..newline], out);
            rest = &rest[newline + 1..];
        }
        self.keep(rest);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.half.extend_from_slice(&bytes[..bytes.len().min(MAX_LINE - self.half.len())]);
    }

    fn end_line(&mut self, bytes: &[u8], out: &mut dyn FnMut(&Line<'_>)) {
        if self.length == 0 {
            out(&Line { bytes, length: bytes.len() as u64 });
        } else {
            self.keep(bytes);
            out(&Line { bytes: &self.half, length: self.length });
            self.half.clear();
            self.length = 0;
        }
    }
}

/// Whether `name` is the log's name with a date, such as `-20251119`, `-20251119-1763546400` or `.2025-11-19`, and not
/// compressed. A date differs from the number of a generation by its length.
fn is_dated(name: &[u8], log: &[u8]) -> bool {
    let Some([b'-' | b'.', date @ ..]) = name.strip_prefix(log) else { return false };
    date.len() >= 6
        && date[0].is_ascii_digit()
        && date.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'T'))
}

/// Whether the line is one of an engine: anything may follow its stamp.
fn is_raw(line: &[u8]) -> bool {
    is_like(line, SHORT_STAMP)
}

/// Whether `line` begins like `model`, in which a 0 stands for any digit.
pub(crate) fn is_like(line: &[u8], model: &str) -> bool {
    let is_same = |(byte, model): (&u8, u8)| *byte == model || (model == b'0' && byte.is_ascii_digit());
    line.len() >= model.len() && line.iter().zip(model.bytes()).all(is_same)
}

/// Fills `buffer` from `offset` on, and returns how many bytes there were: fewer at the end of the file.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Runs `test` with a log in its own directory.
    fn with_log(name: &str, log: &[u8], test: impl FnOnce(&Path)) {
        let path = std::env::temp_dir().join(format!("tail-{}-{name}", std::process::id()));
        fs::write(&path, log).unwrap();
        test(&path);
        fs::remove_file(&path).unwrap();
    }

    fn read(tail: &mut Tail) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        while tail.read(&mut |line| lines.push(line.bytes.to_vec())).unwrap() {}
        lines
    }

    /// The last lines of a log, computed in a simple way.
    fn model(log: &[u8], count: usize, raw: bool, follow: bool) -> Vec<Vec<u8>> {
        let mut lines: Vec<&[u8]> = log.split(|&byte| byte == b'\n').collect();
        // After the last line end there is a line only if it has content.
        if follow || lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        lines.retain(|line| raw || !is_raw(line));
        lines[lines.len().saturating_sub(count)..].iter().map(|line| line.to_vec()).collect()
    }

    #[test]
    fn the_last_lines_are_the_last_whatever_blocks_they_lie_in() {
        // Lengths near the size of a block, so that each boundary is once before, within and after a stamp.
        for around in 0..30 {
            let mut log = Vec::new();
            for (number, length) in [5, 0, BLOCK - 20 + around, 3, 40, BLOCK - 60, 2 * BLOCK, 7].iter().enumerate() {
                let stamp = if number % 2 == 0 { "[10:30:15] " } else { "" };
                log.extend_from_slice(stamp.as_bytes());
                log.extend(std::iter::repeat_n(b'a', *length));
                log.push(b'\n');
            }
            for half in ["", "half", "[10:30:15] half"] {
                let log = [&log, half.as_bytes()].concat();
                with_log("blocks", &log, |path| {
                    for (count, raw, follow) in [0, 1, 2, 4, 5, 9].into_iter().flat_map(|count| {
                        [(false, false), (false, true), (true, false), (true, true)].map(|(a, b)| (count, a, b))
                    }) {
                        let shown = read(&mut Tail::open(path, count, raw, follow).unwrap());
                        let expected: Vec<_> = model(&log, count, raw, follow);
                        assert!(shown == expected, "{around} {half} {count} {raw} {follow}");
                    }
                });
            }
        }
    }

    #[test]
    fn a_line_is_kept_up_to_its_bound_and_measured_beyond() {
        let mut log = vec![b'x'; 5 * BLOCK];
        log.extend_from_slice(b"\nnext\n");
        with_log("bound", &log, |path| {
            let mut lines = Vec::new();
            let mut tail = Tail::open(path, 9, false, false).unwrap();
            while tail.read(&mut |line| lines.push((line.bytes.len(), line.length))).unwrap() {}
            assert_eq!(lines, [(MAX_LINE, 5 * BLOCK as u64), (4, 4)]);
        });
    }

    #[test]
    fn raw_lines_are_recognized_by_their_stamp() {
        for raw in ["[10:30:15] {}", "[10:30:15] ", "[10:30:15] [2025-11-19 10:30:15] x", "[99:99:99] \0"] {
            assert!(is_raw(raw.as_bytes()), "{raw}");
        }
        for other in ["[2025-11-19 10:30:15] {}", "[10:30:15]", "[10:30:1x] {}", "", "{}", " [10:30:15] {}"] {
            assert!(!is_raw(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn truncation_begins_anew() {
        with_log("truncation", b"one\ntwo\nhalf", |path| {
            let mut tail = Tail::open(path, 1, false, true).unwrap();
            assert_eq!(read(&mut tail), [b"two"]);
            fs::write(path, "3\n").unwrap();
            tail.poll().unwrap();
            assert_eq!(read(&mut tail), [b"3"]);
            assert!(tail.poll().is_ok() && read(&mut tail).is_empty());
        });
    }

    #[test]
    fn a_rotated_line_may_become_whole_before_newer_ones_are_shown() {
        with_log("settled", b"one\nha", |path| {
            let mut tail = Tail::open(path, 9, false, true).unwrap();
            assert_eq!(read(&mut tail), [b"one"]);
            let began = Instant::now();
            let old = path.with_extension("1");
            fs::write(path, "one\nhal").unwrap();
            fs::rename(path, &old).unwrap();
            fs::write(path, "new\n").unwrap();
            tail.poll().unwrap();
            let early = read(&mut tail);
            // On a machine that was suspended in between, this cannot be observed.
            if began.elapsed() < SETTLED {
                assert!(early.is_empty());
                fs::write(&old, "one\nhalf\n").unwrap();
                tail.poll().unwrap();
                assert_eq!(read(&mut tail), [&b"half"[..], b"new"]);
            }
            fs::remove_file(&old).unwrap();
        });
    }

    #[test]
    fn the_generation_before_is_found_under_a_date() {
        let directory = std::env::temp_dir().join(format!("tail-{}-dated", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("docker-pull.log");
        let write = |name: &str, text: &str, age: u64| {
            fs::write(directory.join(name), text).unwrap();
            let then = std::time::SystemTime::now() - Duration::from_secs(age);
            File::options().append(true).open(directory.join(name)).unwrap().set_modified(then).unwrap();
        };
        write("docker-pull.log", "now\n", 0);
        // Compressed files, other logs and older generations are not used.
        write("docker-pull.log-20251123.gz", "no\n", 5);
        write("docker-pull.log-old", "no\n", 5);
        write("docker-pull.log-", "no\n", 5);
        write("another.log-20251123", "no\n", 5);
        write("docker-pull.log-20251109", "no\n", 60);
        for before in ["docker-pull.log-20251116", "docker-pull.log.2025-11-16", "docker-pull.log-20251116-1763546400"]
        {
            write(before, "before\n", 30);
            assert_eq!(read(&mut Tail::open(&path, 9, false, false).unwrap()), [&b"before"[..], b"now"], "{before}");
            // The site has returned to numbers, or used them before.
            write("docker-pull.log.1", "number\n", 10);
            assert_eq!(read(&mut Tail::open(&path, 9, false, false).unwrap()), [&b"number"[..], b"now"], "{before}");
            write("docker-pull.log.1", "number\n", 40);
            assert_eq!(read(&mut Tail::open(&path, 9, false, false).unwrap()), [&b"before"[..], b"now"], "{before}");
            fs::remove_file(directory.join("docker-pull.log.1")).unwrap();
            fs::remove_file(directory.join(before)).unwrap();
        }
        // Following across two rotations between two polls.
        let mut tail = Tail::open(&path, 1, false, true).unwrap();
        assert_eq!(read(&mut tail), [b"now"]);
        fs::rename(&path, directory.join("docker-pull.log-20251201")).unwrap();
        write("docker-pull.log-20251202", "two\n", 0);
        write("docker-pull.log", "three\n", 0);
        tail.poll().unwrap();
        assert_eq!(read(&mut tail), [&b"two"[..], b"three"]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_number_missing_in_mid_rotation_hides_no_generation() {
        with_log("hole", b"one\n", |path| {
            let mut tail = Tail::open(path, 9, false, true).unwrap();
            let [second, third] = [2, 3].map(|number| tail.numbered(number));
            fs::rename(path, &third).unwrap();
            fs::write(&second, "two\n").unwrap();
            fs::write(path, "three\n").unwrap();
            tail.poll().unwrap();
            assert_eq!(read(&mut tail), [&b"one"[..], b"two", b"three"]);
            fs::remove_file(second).unwrap();
            fs::remove_file(third).unwrap();
        });
    }
}
