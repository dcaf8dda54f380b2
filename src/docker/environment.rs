//! What docker's clients take from their process: the places of engine and configuration, and what is needed to use
//! them.
//!
//! **Invariant:** read once, at the start. `docker_auth_config` can contain a secret: the type is not `Debug`.

use crate::docker::platform::Platform;
use crate::os::user;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// A helper may have to request a token from a cloud over a slow link; docker would wait for ever.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// Where docker and its helpers are searched for if PATH is unset (as it can be under cron and Puppet), and the PATH
/// that they get then.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The environment as plain data, so that a test can use its own.
pub(crate) struct Environment {
    pub(crate) docker_config: Option<PathBuf>,
    pub(crate) docker_auth_config: Option<String>,
    pub(crate) docker_host: Option<String>,
    pub(crate) docker_context: Option<String>,
    /// `DOCKER_CONTENT_TRUST`: only signed images are accepted.
    pub(crate) content_trust: bool,
    pub(crate) home: Option<PathBuf>,
    /// The PATH on which docker and its helpers are found, and that they get themselves.
    pub(crate) path: OsString,
    pub(crate) helper_limit: Duration,
    /// Whether there is a terminal, so that somebody can answer a helper that asks for a passphrase.
    pub(crate) terminal: bool,
}

impl Environment {
    pub(crate) fn from_process() -> Self {
        let text = |name| variable(name).map(|text| text.to_string_lossy().into_owned());
        Self {
            docker_config: variable("DOCKER_CONFIG").map(PathBuf::from),
            docker_auth_config: text("DOCKER_AUTH_CONFIG"),
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            content_trust: is_trust_wanted(variable("DOCKER_CONTENT_TRUST").as_deref()),
            home: home(),
            path: variable("PATH").unwrap_or(DEFAULT_PATH.into()),
            helper_limit: HELPER_LIMIT,
            // Not std's stdin, which comes with a buffer.
            terminal: rustix::termios::isatty(rustix::stdio::stdin()),
        }
    }

    /// Docker's configuration directory, whether it exists or not.
    pub(crate) fn config_directory(&self) -> Option<PathBuf> {
        self.docker_config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }
}

/// The variable `name` of this process; `None` if it is empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// `DOCKER_DEFAULT_PLATFORM`, used if there is no `--platform`. An error names the variable.
pub(crate) fn default_platform() -> Result<Option<String>, String> {
    let Some(value) = variable("DOCKER_DEFAULT_PLATFORM") else { return Ok(None) };
    let text = value.to_string_lossy();
    match Platform::parse(&text) {
        Ok(_) => Ok(Some(text.into_owned())),
        Err(error) => Err(format!(
            "DOCKER_DEFAULT_PLATFORM is {text:?}, which is no platform: {error}; set it to OS/ARCH[/VARIANT], as linux/arm/v7, or unset it"
        )),
    }
}

/// As docker reads it: any value that Go does not parse as false.
fn is_trust_wanted(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !["", "0", "f", "F", "false", "False", "FALSE"].iter().any(|no| value == *no))
}

/// Under Puppet HOME is unset. `std::env::home_dir` would then bring the C library's databases, network protocol included.
fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).or_else(user::home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_wanted_unless_it_is_denied() {
        for no in ["", "0", "f", "F", "false", "False", "FALSE"] {
            assert!(!is_trust_wanted(Some(no.as_ref())), "{no:?}");
        }
        for yes in ["1", "t", "T", "true", "True", "TRUE", "yes", "no", "off", "2", " 0", "fAlse", "00"] {
            assert!(is_trust_wanted(Some(yes.as_ref())), "{yes:?}");
        }
        assert!(!is_trust_wanted(None));
    }

    #[test]
    fn where_the_configuration_is() {
        let directory = |docker_config: Option<&str>, home: Option<&str>| {
            let (docker_config, home) = (docker_config.map(PathBuf::from), home.map(PathBuf::from));
            Environment { docker_config, home, ..Environment::from_process() }.config_directory()
        };
        assert_eq!(directory(Some("/c"), Some("/h")), Some("/c".into()));
        assert_eq!(directory(None, Some("/h")), Some("/h/.docker".into()));
        assert_eq!(directory(None, None), None);
        assert!(Environment::from_process().config_directory().is_some());
    }
}
