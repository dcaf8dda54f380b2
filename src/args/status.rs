//! The arguments of `alm status`, and of the monitor.
//!
//! **Invariant:** as of all arguments: plain data, and an error that names the option.

use crate::args::usage::STATUS_USAGE;
use crate::args::value::{path, text};
use crate::args::{Mode, version};
use lexopt::prelude::*;
use std::path::PathBuf;

/// What `alm status` is to do with the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Show {
    #[default]
    Once,
    Follow,
    Json,
    Forget,
}

/// The options of the status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Status {
    pub(crate) show: Show,
    pub(crate) image: Option<String>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) ascii: bool,
}

/// The options of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Monitor {
    pub(crate) console: PathBuf,
    pub(crate) site: Option<String>,
    pub(crate) state: Option<PathBuf>,
}

/// Reads what comes after `alm status`.
pub(super) fn status(mut parser: lexopt::Parser, mut status: Status) -> Result<Mode, lexopt::Error> {
    let (mut monitor, mut site, mut chosen) = (None, None, "");
    let mut choose = |option: &'static str| match std::mem::replace(&mut chosen, option) {
        "" => Ok(()),
        other if other == option => Ok(()),
        other => Err(lexopt::Error::from(format!("{other} and {option} exclude each other"))),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Short('f') | Long("follow") => {
                choose("--follow")?;
                status.show = Show::Follow;
            }
            Long("json") => {
                choose("--json")?;
                status.show = Show::Json;
            }
            Long("forget") => {
                choose("--forget")?;
                status.show = Show::Forget;
            }
            Long("monitor") => {
                choose("--monitor")?;
                let given = parser.optional_value();
                let is_path = |next: &std::ffi::OsStr| next.to_string_lossy().starts_with('/');
                let given = given.or_else(|| parser.try_raw_args()?.next_if(is_path));
                monitor = Some(given.map_or_else(|| "/dev/tty1".into(), PathBuf::from));
            }
            Long("site") => site = Some(text(&mut parser, "--site")?),
            Long("state") => status.state = Some(path(&mut parser, "--state")?),
            Long("ascii") => status.ascii = true,
            Long("status") => {}
            Short('h') | Long("help") => return Ok(Mode::Say(STATUS_USAGE.into())),
            Short('V') | Long("version") => return Ok(version()),
            Value(value) if status.image.is_none() && !value.is_empty() => status.image = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if let Some(console) = monitor {
        return match status {
            Status { image: None, ascii: false, state, .. } => Ok(Mode::Monitor(Monitor { console, site, state })),
            Status { image: Some(image), .. } => {
                Err(format!("--monitor shows all images, but there is '{image}'").into())
            }
            _ => Err("--ascii does not go with --monitor: a console has its own characters".into()),
        };
    }
    if site.is_some() {
        return Err("--site goes with --monitor only".into());
    }
    if status.show == Show::Forget && status.image.is_none() {
        return Err("--forget needs the image to forget".into());
    }
    Ok(Mode::Status(status))
}
