//! The mode that the arguments choose, and the options that it accepts.
//!
//! Separate from reading the arguments, because an option may stand before the mode: options and mode can be compared only
//! after all arguments are read.
//!
//! **Invariant:** every option that is accepted has an effect.

use std::path::PathBuf;

/// The chosen mode. The viewer and the status are missing here, because they have their own options.
#[derive(PartialEq)]
pub(super) enum Kind {
    Pull,
    Check,
    Running(String),
    Replay(PathBuf),
}

impl Kind {
    /// Chooses a mode. Fails if another one was chosen before.
    pub(super) fn choose(&mut self, new: Self) -> Result<(), lexopt::Error> {
        if *self != Self::Pull {
            return Err("--check, --running, --replay and --view exclude each other".into());
        }
        *self = new;
        Ok(())
    }

    /// The option that chooses this mode; `None` for a pull.
    pub(super) fn option(&self) -> Option<&'static str> {
        match self {
            Self::Pull => None,
            Self::Check => Some("--check"),
            Self::Running(_) => Some("--running"),
            Self::Replay(_) => Some("--replay"),
        }
    }
}

/// The options that some mode refuses, and the modes besides a pull that accept them.
const MODES: [(&str, &[&str]); 17] = [
    ("--progress", &["--replay"]),
    ("-q", &["--replay"]),
    ("--quiet", &["--replay"]),
    ("--log", &["--replay", "--view"]),
    ("--no-log", &["--replay"]),
    ("--no-raw", &["--replay"]),
    ("--color", &["--replay", "--view"]),
    ("--platform", &["--check"]),
    ("--record", &[]),
    ("--token-file", &["--check"]),
    ("--token-user", &["--check"]),
    ("--retries", &[]),
    ("--stall-timeout", &[]),
    ("--state", &["--replay", "--check"]),
    ("--metrics", &["--replay", "--check"]),
    ("--sizes", &[]),
    ("--host", &["--check", "--running"]),
];

/// Refuses options that have no effect in this mode: whoever passes an option expects an effect.
pub(super) fn refuse(given: &[String], mode: Option<&str>) -> Result<(), lexopt::Error> {
    let Some(mode) = mode else { return Ok(()) };
    let cannot = |option: &&String| MODES.iter().any(|(name, modes)| name == option && !modes.contains(&mode));
    given.iter().find(cannot).map_or(Ok(()), |option| Err(format!("{mode} cannot honour {option}").into()))
}

#[cfg(test)]
mod tests {
    use super::MODES;
    use crate::args::parse;
    use crate::args::usage::USAGE;
    use std::ffi::OsString;

    #[test]
    fn what_a_mode_cannot_honour_is_refused_by_name() {
        let values = [
            ("--progress", " json"),
            ("-q", ""),
            ("--quiet", ""),
            ("--log", " l"),
            ("--no-log", ""),
            ("--no-raw", ""),
            ("--color", " never"),
            ("--platform", " linux/arm"),
            ("--record", " r"),
            ("--token-file", " t"),
            ("--token-user", " u --token-file t"),
            ("--retries", " 3"),
            ("--stall-timeout", " 600"),
            ("--state", " d"),
            ("--metrics", " m --state d"),
            ("--sizes", " never"),
            ("--host", " unix:///s"),
            ("--ascii", ""),
        ];
        assert!(MODES.iter().all(|(name, _)| values.iter().any(|(value, _)| value == name)));
        // Every option of a pull is tried here. The others are answered before any mode, or belong to a replay alone.
        let apart = ["-h", "--help", "-V", "--version", "--speed"];
        let (_, options) = USAGE.split_once("Options:\n").expect("a list of options");
        let lines = options.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  -"));
        let words = lines.flat_map(|line| line[2..].split("  ").next().unwrap_or_default().split([' ', ',']));
        for option in words.filter(|word| word.starts_with('-') && !apart.contains(word)) {
            assert!(values.iter().any(|(value, _)| *value == option), "{option} is in no test of the modes");
        }
        for (mode, rest, honoured) in [
            ("--replay", " f", "--progress -q --quiet --log --no-log --no-raw --color --state --metrics --ascii"),
            ("--check", " a", "--platform --token-file --token-user --state --metrics --host --ascii"),
            ("--running", " web a", "--host --ascii"),
            ("--view", "", "--log --color --ascii"),
        ] {
            for (option, value) in values {
                for line in [format!("p {option}{value} {mode}{rest}"), format!("p {mode}{rest} {option}{value}")] {
                    match parse(line.split(' ').map(OsString::from)).map_err(|mistake| mistake.reason) {
                        Ok(_) => assert!(honoured.split(' ').any(|name| name == option), "{line} is taken"),
                        Err(error) if mode == "--view" && line.starts_with("p --view") => {
                            assert!(error.contains(option), "{line}: {error}");
                        }
                        Err(error) => {
                            assert_eq!(error, format!("{mode} cannot honour {option}"), "{line}");
                            assert!(!honoured.split(' ').any(|name| name == option), "{line}");
                        }
                    }
                }
            }
        }
    }
}
