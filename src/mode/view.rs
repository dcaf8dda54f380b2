//! The viewer: `alm pull`, for people who may read the log and do nothing else.
//!
//! Separate from `os::tail`, which reads lines, and from `report::layout`, which lays them out: this module prints the
//! heading, waits, and explains why there is no log or none that may be read.
//!
//! **Invariant:** stdout gets the log's sanitized lines, and on a terminal a heading; everything else goes to stderr. A
//! slow reader loses nothing, and every wait checks for signals.

use crate::args::ViewOptions;
use crate::os::charset::Charset;
use crate::os::output::Output;
use crate::os::signals::Signals;
use crate::os::tail::Tail;
use crate::os::user;
use crate::os::wait::{TICK, ready};
use crate::pull::signal_exit_code;
use crate::report::layout::Layout;
use crate::report::sanitize;
use crate::sink::complaint::complain_as;
use crate::sink::log;
use crate::sink::open::is_colored;
use rustix::event::PollFlags;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often an idle log is polled: rarely enough to cost nothing, often enough that nobody notices the delay.
const IDLE_POLL: Duration = Duration::from_millis(200);

/// How often a growing log is polled, and how long after its last line it counts as growing.
const ACTIVE_POLL: Duration = Duration::from_millis(20);
const ACTIVE_FOR: Duration = Duration::from_secs(1);

/// How long a log may be unreadable before the viewer gives up: a rotation creates the new file before it makes it readable
/// for all.
const UNREADABLE_LIMIT: Duration = Duration::from_secs(2);

/// Shows the log; returns the exit code.
pub(crate) fn view(options: &ViewOptions) -> u8 {
    let path = options.log.as_deref().unwrap_or(Path::new(log::PATH));
    let charset = Charset::from_environment(options.ascii);
    let layout = Layout::new(is_colored(options.color), charset);
    let tail = Tail::open(path, options.lines, options.raw, options.follow);
    // Caught only now: until here, where a line of gigabytes may be skipped, a signal has to end the process.
    let signals = Signals::catch(false);
    let shown =
        tail.map_err(|error| unreadable(path, &error)).and_then(|tail| show(tail, path, options, layout, &signals));
    match (shown, signals.pending()) {
        (_, Some(signal)) => signal_exit_code(signal),
        (Ok(()), None) => 0,
        (Err(reason), None) => {
            complain_as(options.program, &reason, charset);
            1
        }
    }
}

/// Shows the present lines and, with `--follow`, the new ones, until a signal comes or the reader closes stdout.
fn show(
    mut tail: Tail,
    path: &Path,
    options: &ViewOptions,
    mut layout: Layout,
    signals: &Signals,
) -> Result<(), String> {
    let mut output = Output::stdout().map_err(|error| format!("standard output: {error}"))?;
    let mut buffer = String::new();
    let is_terminal = io::stdout().is_terminal();
    layout.columns = is_terminal.then(|| output.size().0);
    if !tail.is_there() || (options.lines > 0 && tail.is_empty()) {
        explain_no_lines(&tail, path, options, layout.charset);
    } else if is_terminal {
        let following = if options.follow { " (following; Ctrl-C ends)" } else { "" };
        let heading = format!("Log of image pulls: {}{following}", path.display());
        layout.text("", &sanitize::safe(&heading).to_string(), &mut buffer);
    }
    let (mut grew_at, mut unreadable_since) = (None, None);
    while signals.pending().is_none() {
        let polled = if options.follow { tail.poll() } else { Ok(()) };
        // Asked for each line: the terminal may have been resized.
        layout.columns = is_terminal.then(|| output.size().0);
        let read = tail.read(&mut |line| layout.push(line, &mut buffer));
        let is_more = read.map_err(|error| format!("{}: {error}", path.display()))?;
        // A rotation must not be missed while the reader is slow.
        let mut on_tick = || {
            let _ = options.follow.then(|| tail.poll());
            signals.go_on()
        };
        match output.write(buffer.as_bytes(), TICK, &mut on_tick) {
            Ok(()) => {}
            // The reader has closed the pipe (`| head`), or a signal was caught.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) => break,
            Err(error) => return Err(format!("standard output: {error}")),
        }
        buffer.clear();
        if is_more {
            grew_at = Some(Instant::now());
            continue;
        }
        if !options.follow {
            break;
        }
        match polled {
            Ok(()) => unreadable_since = None,
            Err(error) if unreadable_since.get_or_insert_with(Instant::now).elapsed() > UNREADABLE_LIMIT => {
                return Err(unreadable(path, &error));
            }
            Err(_) => {}
        }
        let is_growing = grew_at.is_some_and(|grew_at: Instant| grew_at.elapsed() < ACTIVE_FOR);
        if !wait(if is_growing { ACTIVE_POLL } else { IDLE_POLL }) {
            break;
        }
    }
    Ok(())
}

/// Waits this long, or until a signal comes. Returns whether stdout still has a reader.
fn wait(time: Duration) -> bool {
    let stdout = io::stdout();
    // With no events requested, poll reports only errors and hang-ups.
    !matches!(ready(&stdout, PollFlags::empty(), time), Ok(true))
}

fn explain_no_lines(tail: &Tail, path: &Path, options: &ViewOptions, charset: Charset) {
    let path = sanitize::safe(&path.display().to_string()).to_string();
    let state =
        if tail.is_there() { format!("The log {path} is empty") } else { format!("There is no log {path} yet") };
    let mut text = String::new();
    charset.push(&format!("{state}: its lines come with the next image pull.\n"), &mut text);
    text.push_str("Puppet starts the pulls; what it is doing: journalctl -u puppet\n");
    if options.follow {
        text.push_str("Waiting for the next pull; Ctrl-C ends.\n");
    }
    if let Ok(mut stderr) = Output::stderr() {
        // If this fails, there is nothing left to write to.
        let _ = stderr.offer(text.as_bytes(), TICK);
    }
}

/// The message for a log that cannot be read, with who may read it.
fn unreadable(path: &Path, error: &io::Error) -> String {
    let name = path.display();
    if error.kind() != io::ErrorKind::PermissionDenied {
        return format!("{name}: {error}");
    }
    // If not even this is known of a file, it is in a directory that this user may not enter.
    let seen = path.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    let Some((seen, metadata)) = seen else { return format!("{name}: {error}") };
    let bits = if seen == path { 0o4 } else { 0o1 };
    let mut who = vec!["root".to_owned()];
    if metadata.uid() != 0 && metadata.mode() & (bits << 6) != 0 {
        who.push(format!("user {}", user::user_name(metadata.uid())));
    }
    if metadata.mode() & (bits << 3) != 0 {
        who.push(format!("group {}", user::group_name(metadata.gid())));
    }
    let who = who.join(" and ");
    if seen == path {
        format!("{name}: permission denied; only {who} may read it")
    } else {
        format!("{name}: permission denied; only {who} may enter {}", seen.display())
    }
}
