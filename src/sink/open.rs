//! Opens the sinks that the options ask for.
//!
//! Separate from the sinks, which know neither options nor the environment.
//!
//! **Invariant:** a sink that cannot be opened is named in one line on stderr, and the pull goes on without it.

use crate::args::{Progress, PullOptions, When};
use crate::os::charset::Charset;
use crate::os::output::{self, Output, WritePolicy};
use crate::report::stamp::Stamp;
use crate::sink::complaint::complain;
use crate::sink::json::Json;
use crate::sink::log::{self, Log};
use crate::sink::plain::Plain;
use crate::sink::screen::Screen;
use crate::sink::state::{IsOurs, State, Target};
use crate::sink::{NamedSink, Sink};
use alm_state::{Store, Time};
use std::path::Path;

/// Whether to colour standard output.
pub(crate) fn is_colored(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => output::stdout_takes_color(),
    }
}

/// The sink for standard output, and its write policy; `None` with `--quiet`, or if standard output is closed.
pub(crate) fn stdout(options: &PullOptions, stamp: Stamp, policy: WritePolicy) -> Option<NamedSink> {
    if options.progress == Progress::Quiet {
        return None;
    }
    let output = Output::stdout().ok()?;
    let charset = Charset::from_environment(options.ascii);
    let color = is_colored(options.color);
    let sink: Box<dyn Sink> = match options.progress {
        Progress::Json => Box::new(Json::new(output, stamp, charset, policy)),
        // Bars that move need a terminal with a cursor, even if they were requested.
        Progress::Auto | Progress::Tty if output::stdout_has_cursor() => {
            Box::new(Screen::new(output, stamp, charset, color, policy))
        }
        _ => Box::new(Plain::new(output, stamp, charset, color, policy)),
    };
    Some(("standard output".to_owned(), sink))
}

/// The log at `path`; with `brief` only the lines that another process, which writes the same pull, does not write.
pub(crate) fn log(path: &Path, options: &PullOptions, stamp: Stamp, brief: bool) -> Option<NamedSink> {
    let name = format!("log {}", path.display());
    let options = log::Options { raw: options.raw, color: options.color == When::Always, brief };
    match Log::open(path, stamp, options) {
        Ok(log) => Some((name, Box::new(log))),
        Err(error) => {
            complain(&format!("{name}: {error}; the pull goes on without it"), Charset::from_environment(true));
            None
        }
    }
}

/// The state of the image; it complains only about its metrics. `is_ours` says whether this process has the image's
/// lock.
pub(crate) fn state(target: Target, is_ours: IsOurs, clock: Box<dyn Fn(u64) -> Time>) -> NamedSink {
    let name = target.metrics.as_ref().map_or_else(|| "state".into(), |path| format!("metrics {}", path.display()));
    (name, Box::new(State::new(target, is_ours, clock)))
}

/// The files for the state of the image `id`; `reference` is docker's full one, `registry` the host.
pub(crate) fn state_target(id: String, reference: String, registry: &str, options: &PullOptions) -> Target {
    Target {
        store: options.state.as_deref().map_or_else(Store::of_device, Store::at),
        id,
        reference,
        registry: registry.to_owned(),
        metrics: options.metrics.clone(),
    }
}
