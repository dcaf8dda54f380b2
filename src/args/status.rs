//! The arguments of `alm status`, and of the monitor.
//!
//! **Invariant:** pure, like all of `args`: the result is plain data, and an error names the option.

use crate::args::usage::STATUS_USAGE;
use crate::args::value::{path, text};
use crate::args::{Mode, NAME, version};
use lexopt::prelude::*;
use std::path::PathBuf;

/// What `alm status` does with the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Show {
    #[default]
    Once,
    Follow,
    Json,
    Forget,
}

/// The options of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusOptions {
    /// The name by which the program was started, for its messages.
    pub(crate) program: &'static str,
    pub(crate) show: Show,
    pub(crate) image: Option<String>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) ascii: bool,
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self { program: NAME, show: Show::default(), image: None, state: None, ascii: false }
    }
}

/// The options of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MonitorOptions {
    pub(crate) console: PathBuf,
    pub(crate) site: Option<String>,
    pub(crate) state: Option<PathBuf>,
}

/// Reads the arguments that follow `alm status`, `alm-status` or `--status`.
pub(super) fn status(mut parser: lexopt::Parser, mut status: StatusOptions) -> Result<Mode, lexopt::Error> {
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
            StatusOptions { image: None, ascii: false, state, .. } => {
                Ok(Mode::Monitor(MonitorOptions { console, site, state }))
            }
            StatusOptions { image: Some(image), .. } => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;
    use std::ffi::OsString;

    fn parse_line(line: &str) -> Result<Mode, String> {
        parse(line.split(' ').map(OsString::from)).map_err(|mistake| mistake.reason)
    }

    #[test]
    fn the_status_and_the_monitor() {
        let check =
            |line: &str, expected: StatusOptions| assert_eq!(parse_line(line), Ok(Mode::Status(expected)), "{line}");
        for (line, program) in [("alm status", "alm status"), ("alm-status", "alm-status"), ("p --status", NAME)] {
            let plain = || StatusOptions { program, ..StatusOptions::default() };
            check(line, plain());
            check(&format!("{line} -f"), StatusOptions { show: Show::Follow, ..plain() });
            check(
                &format!("{line} --json app"),
                StatusOptions { show: Show::Json, image: Some("app".into()), ..plain() },
            );
            check(
                &format!("{line} --forget app"),
                StatusOptions { show: Show::Forget, image: Some("app".into()), ..plain() },
            );
            check(
                &format!("{line} --state /s --ascii"),
                StatusOptions { state: Some("/s".into()), ascii: true, ..plain() },
            );
        }
        let expected = StatusOptions { state: Some("/s".into()), ascii: true, ..StatusOptions::default() };
        check("p --state /s --ascii --status", expected);
        let check = |line: &str, console: &str, site: Option<&str>| {
            let expected = MonitorOptions { console: console.into(), site: site.map(str::to_owned), state: None };
            assert_eq!(parse_line(line), Ok(Mode::Monitor(expected)), "{line}");
        };
        check("alm-status --monitor", "/dev/tty1", None);
        check("alm-status --monitor /dev/tty3 --site Berlin", "/dev/tty3", Some("Berlin"));
        check("p --status --monitor=/dev/tty3", "/dev/tty3", None);
        check("alm-status --monitor --site Berlin", "/dev/tty1", Some("Berlin"));
        let check = |line: &str, says: &str| match parse_line(line) {
            Err(error) => assert!(error.contains(says), "{line}: {error}"),
            mode => panic!("{line}: {mode:?}"),
        };
        check("alm status -f --json", "--follow and --json exclude each other");
        check("alm status --monitor --forget", "--monitor and --forget exclude each other");
        check("alm status --forget", "--forget needs the image");
        check("alm status --monitor tty1", "--monitor shows all images, but there is 'tty1'");
        check("alm status --monitor --ascii", "--ascii does not go with --monitor");
        check("alm status --site x", "--site goes with --monitor only");
        check("alm status a b", "unexpected argument");
        check("p a --status", "--status comes before the image");
        check("p --running web --state /s a", "--running cannot honour --state");
        check("p --replay f --metrics m", "--metrics of a replay needs --state");
    }
}
