//! What a live pull writes to: standard output, the log, the state file, a recording.
//!
//! **Invariant:** an output that cannot be opened is named on stderr, and the pull goes on without it.

use crate::args::{Progress, PullOptions};
use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::os::lock::{self, Lock};
use crate::os::output::{CLOSING, WritePolicy, stdout_has_cursor};
use crate::os::signals::Signals;
use crate::os::wait::{UNWATCHED, WATCHED};
use crate::recording::Recorder;
use crate::report::stamp::Stamp;
use crate::session::Session;
use crate::sink::complaint::complain;
use crate::sink::{log, open};
use alm_state::Time;
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// The session of a pull that began at `started`. If another process holds the image's `lock`, the log gets only what
/// that process does not write, and the state is written only after it has ended.
pub(super) fn session(
    reference: &Reference,
    options: &PullOptions,
    started: OffsetDateTime,
    signals: &Signals,
    mut lock: Lock,
) -> Session {
    let stamp = Stamp(started);
    let stop = signals.clone();
    let policy = WritePolicy::Live(CLOSING, Box::new(move || stop.go_on()));
    let mut sinks: Vec<_> = open::stdout(options, stamp, policy).into_iter().collect();
    let is_brief = matches!(lock, Lock::Held(_));
    sinks.extend(options.log.path(log::PATH).and_then(|path| open::log(path, options, stamp, is_brief)));
    let full = reference.full();
    let target = open::state_target(reference.to_string(), full.clone(), reference.registry(), options);
    let is_ours = move || {
        if let Lock::Held(_) = &lock {
            lock = lock::take(&full);
        }
        matches!(lock, Lock::Ours(_))
    };
    // The present time and not that of the log: the clock may have been set since the pull began.
    sinks.push(open::state(target, Box::new(is_ours), Box::new(|_| Time::now())));
    let charset = Charset::from_environment(options.ascii);
    let recorder = options.record.as_deref().and_then(|path| recorder(path, charset));
    Session::new(sinks, recorder, charset)
}

/// The longest pause between two reads. A program that reads JSON shows it to somebody, too.
pub(super) fn max_pause(options: &PullOptions) -> Duration {
    match options.progress {
        Progress::Json => WATCHED,
        Progress::Auto | Progress::Tty if stdout_has_cursor() => WATCHED,
        _ => UNWATCHED,
    }
}

/// The recorder for `path`, and the name for complaints.
fn recorder(path: &Path, stderr: Charset) -> Option<(String, Recorder)> {
    let name = format!("recording {}", path.display());
    match Recorder::create(path) {
        Ok(recorder) => Some((name, recorder)),
        Err(error) => {
            complain(&format!("{name}: {error}; the pull goes on without it"), stderr);
            None
        }
    }
}
