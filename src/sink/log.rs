//! The log file.
//!
//! The log is all that customers see of a pull. Several processes write it at once, and logrotate renames it while they
//! write. A log that fails is dropped with a warning, and never stops a pull.
//!
//! **Invariant:** it is a regular file, opened without following a symbolic link; one `write(2)` has whole lines, so that
//! lines of several processes never mix.

use crate::os::charset::Charset;
use crate::os::file::{self, Identity, Links};
use crate::report::line::{About, Line, Part, Topic};
use crate::report::stamp::Stamp;
use crate::sink::{HELD_SPACE, MAX_HELD, Sink, push};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The default path of the log.
pub(crate) const PATH: &str = "/var/log/alm/docker-pull.log";

/// Everybody may read the log and list its directory, independent of the umask of the process that creates them.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// The log as a sink.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// The identity of `file`: another one under the path means that the log was rotated.
    identity: Identity,
    /// The file ends within a line, so the next line begins with a line end.
    is_torn: bool,
    stamp: Stamp,
    options: Options,
    /// Lines that are not written yet.
    held: String,
}

/// What is written to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The engine's own lines, too.
    pub(crate) raw: bool,
    /// Colour codes, too.
    pub(crate) color: bool,
    /// Only opening, closing and this program's own messages: another process is writing the same pull.
    pub(crate) brief: bool,
}

impl Log {
    pub(crate) fn open(path: &Path, stamp: Stamp, options: Options) -> io::Result<Self> {
        let (file, identity) = open(path)?;
        let is_torn = is_torn(path);
        Ok(Self {
            path: path.to_owned(),
            file,
            identity,
            is_torn,
            stamp,
            options,
            held: String::with_capacity(HELD_SPACE),
        })
    }

    fn reopen_if_rotated(&mut self) -> io::Result<()> {
        let is_same = std::fs::symlink_metadata(&self.path).is_ok_and(|now| Identity::of(&now) == self.identity);
        if !is_same {
            (self.file, self.identity) = open(&self.path)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

impl Sink for Log {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let is_progress = line.part == Part::Body && !matches!(line.about, About::Image(Topic::Notice, _));
        if self.options.brief && is_progress {
            return Ok(());
        }
        let raw = line.raw.filter(|_| self.options.raw);
        if raw.is_none() && line.text.is_none() {
            return Ok(());
        }
        if let Some(raw) = raw {
            self.stamp.push_time(line.at, &mut self.held);
            self.held.push_str(raw);
            self.held.push('\n');
        }
        if let Some(text) = line.text {
            self.stamp.push(line.at, &mut self.held);
            push(text, line.bar.as_ref(), self.options.color, Charset::All, &mut self.held);
            self.held.push('\n');
        }
        if self.held.len() < MAX_HELD { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.reopen_if_rotated()?;
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        let written = self.file.write(self.held.as_bytes())?;
        self.is_torn = self.held.as_bytes()[..written].last() != Some(&b'\n');
        self.held.clear();
        Ok(())
    }
}

/// Opens the log for appending, and creates it and its directory if they are missing.
fn open(path: &Path) -> io::Result<(File, Identity)> {
    let mut options = OpenOptions::new();
    options.append(true).mode(FILE_MODE);
    let opened = match file::open(path, &mut options, Links::Refuse) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(path)?;
            match file::open(path, options.create_new(true), Links::Refuse) {
                Ok((file, metadata)) => {
                    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
                    Ok((file, metadata))
                }
                // Another process created it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    file::open(path, options.create_new(false), Links::Refuse)
                }
                Err(error) => Err(error),
            }
        }
        opened => opened,
    };
    opened.map(|(file, metadata)| (file, Identity::of(&metadata)))
}

/// Whether the last line has no end: its writer was killed, or the device lost power.
fn is_torn(path: &Path) -> bool {
    // Opened separately, because a process that may write a log may not always read it.
    let Ok((file, _)) = file::open(path, OpenOptions::new().read(true), Links::Refuse) else { return false };
    torn_length(&file).is_some_and(|length| is_abandoned(&file, length))
}

/// Whether no process is writing the line that begins before `length`: a write grows the file page by page.
fn is_abandoned(file: &File, length: u64) -> bool {
    // Searching for a hole waits for the lock that a write holds, on ext4, f2fs, xfs, btrfs, tmpfs and overlayfs.
    let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0));
    // Elsewhere there is only the time.
    std::thread::sleep(Duration::from_millis(2));
    torn_length(file) == Some(length)
}

/// The length of a file whose last byte is not a line end.
fn torn_length(file: &File) -> Option<u64> {
    let (length, mut last) = (file.metadata().ok()?.len(), [b'\n']);
    file.read_at(&mut last, length.saturating_sub(1)).ok()?;
    (last != [b'\n']).then_some(length)
}

fn make_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().skip(1).take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    for directory in missing.into_iter().rev() {
        file::create_directory(directory, DIRECTORY_MODE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    /// Runs `write` on a log in its own directory, and returns the log's content.
    fn with_log(options: Options, write: impl FnOnce(&mut Log, &Path)) -> String {
        let name = format!("log-test-{}-{:?}", std::process::id(), std::thread::current().id());
        let directory = std::env::temp_dir().join(name);
        let path = directory.join("a/log");
        let mut log = Log::open(&path, Stamp(OffsetDateTime::UNIX_EPOCH), options).unwrap();
        write(&mut log, &path);
        log.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        text
    }

    const OPTIONS: Options = Options { raw: true, color: false, brief: false };

    fn line<'a>(part: Part, raw: Option<&'a str>, text: Option<&'a str>) -> Line<'a> {
        let place = text.and_then(|text| Some(text.find('[')?..text.find(']')? + 1));
        let bar = place.map(|place| crate::report::line::Bar { place, part: 1, whole: 2, cells: 2 });
        Line { at: 1000, part, raw, text, about: About::Text, bar }
    }

    #[test]
    fn what_is_written() {
        let lines = [
            line(Part::Opening, None, Some("opening")),
            line(Part::Body, Some("{}"), Some("[█░] 50%")),
            line(Part::Body, Some("{\"a\":1}"), None),
            line(Part::Closing, None, Some("closing")),
        ];
        let check = |options, expected: &str| {
            let text = with_log(options, |log, _| lines.iter().for_each(|line| log.line(line).unwrap()));
            assert_eq!(text, expected, "{options:?}");
        };
        let stamp = "[1970-01-01 00:00:01] ";
        check(
            OPTIONS,
            &format!("{stamp}opening\n[00:00:01] {{}}\n{stamp}[█░] 50%\n[00:00:01] {{\"a\":1}}\n{stamp}closing\n"),
        );
        check(Options { raw: false, ..OPTIONS }, &format!("{stamp}opening\n{stamp}[█░] 50%\n{stamp}closing\n"));
        check(Options { brief: true, ..OPTIONS }, &format!("{stamp}opening\n{stamp}closing\n"));
        check(
            Options { raw: false, color: true, ..OPTIONS },
            &format!("{stamp}opening\n{stamp}\x1b[32m[█░]\x1b[0m 50%\n{stamp}closing\n"),
        );
    }

    #[test]
    fn after_a_torn_line_the_next_begins_anew() {
        let text = with_log(OPTIONS, |log, _| {
            log.file.write_all(b"torn").unwrap();
            log.is_torn = true;
            log.line(&line(Part::Body, None, Some("next"))).unwrap();
            log.line(&line(Part::Body, None, Some("last"))).unwrap();
        });
        assert_eq!(text, "torn\n[1970-01-01 00:00:01] next\n[1970-01-01 00:00:01] last\n");
    }

    #[test]
    fn a_line_that_another_process_is_writing_is_not_torn() {
        use std::sync::atomic::{AtomicBool, Ordering};
        // More threads than processors, so that writers wait for one within their lines, which cross pages.
        let path = std::env::temp_dir().join(format!("log-test-writers-{}", std::process::id()));
        open(&path).unwrap();
        let ends = AtomicBool::new(false);
        let torn = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (mut file, _) = open(&path).unwrap();
                    let text = ["x".repeat(300), "\n".to_owned()].concat();
                    while !ends.load(Ordering::Relaxed) {
                        file.write_all(text.as_bytes()).unwrap();
                    }
                });
                scope.spawn(|| {
                    while !ends.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let reader = File::open(&path).unwrap();
            // A file system that never shows a part of a write would let the file grow for ever.
            let samples = std::iter::repeat_with(|| torn_length(&reader));
            let within = samples.take_while(|_| reader.metadata().unwrap().len() < 512 << 20).flatten();
            let torn = within.take(25).filter(|&length| is_abandoned(&reader, length)).count();
            ends.store(true, Ordering::Relaxed);
            torn
        });
        std::fs::remove_file(&path).unwrap();
        assert_eq!(torn, 0);
    }

    #[test]
    fn another_file_under_the_path_is_opened() {
        let text = with_log(OPTIONS, |log, path| {
            log.line(&line(Part::Body, None, Some("before"))).unwrap();
            log.flush().unwrap();
            log.is_torn = true;
            std::fs::rename(path, path.with_extension("1")).unwrap();
            log.line(&line(Part::Body, None, Some("after"))).unwrap();
        });
        assert_eq!(text, "[1970-01-01 00:00:01] after\n");
    }

    #[test]
    fn lines_are_held_back_until_there_are_many() {
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let text = with_log(OPTIONS, |log, path| {
            let long = "x".repeat(MAX_HELD / 2);
            log.line(&line(Part::Body, None, Some(&long))).unwrap();
            assert_eq!(text(path), "");
            log.line(&line(Part::Body, None, Some(&long))).unwrap();
            assert_eq!(text(path).lines().count(), 2);
            log.line(&line(Part::Body, None, Some("last"))).unwrap();
            assert_eq!(text(path).lines().count(), 2);
        });
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_path_without_a_name_is_an_error() {
        for path in ["", "/", "."] {
            assert!(open(Path::new(path)).is_err(), "{path}");
        }
    }
}
