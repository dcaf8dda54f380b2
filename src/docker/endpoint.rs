//! Which engine docker would talk to: by `--host`, the environment, docker's contexts, the default socket.
//!
//! Separate from `engine`, which gets only a path. If the address is not a Unix socket, the pull is left to docker's
//! CLI, with the reason; so is a context that cannot be found, because docker explains best what is wrong with it.
//!
//! **Invariant:** nothing is written, and no socket is opened. A reason never contains a password of an address.

use crate::docker::config::{self, Config};
use crate::docker::environment::Environment;
use crate::docker::value;
use crate::pull::failure::NOT_A_SOCKET;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Where docker's engine listens by default.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The engine to talk to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Reached over this socket.
    Unix(PathBuf),
    /// Only docker's CLI can reach it. `address` is the URL or the name of a context as it was written; `reason` is for
    /// messages.
    Other { address: String, reason: String },
}

/// Finds the engine in docker's order.
pub(crate) fn find(host: Option<&str>, environment: &Environment, config: &Config) -> Endpoint {
    let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    // `docker -H ''` means the default socket, even if the environment names another.
    if let Some(address) = host.map(str::to_owned).or_else(|| set(&environment.docker_host)) {
        return parse(&address);
    }
    match set(&environment.docker_context).or_else(|| config.context().map(str::to_owned)) {
        None => parse(""),
        // The one name without a file: it means "no context".
        Some(name) if name == "default" => parse(""),
        Some(name) => match endpoint(&name, config.directory.as_deref()) {
            Ok(address) => parse(&address),
            Err(reason) => Endpoint::Other { reason: format!("docker context {name:?} {reason}"), address: name },
        },
    }
}

/// The address of the context `name`. Docker finds its directory by the SHA-256 of the name; reading all of the few
/// directories needs no SHA-256.
fn endpoint(name: &str, directory: Option<&Path>) -> Result<String, String> {
    let directory = directory.ok_or("cannot be looked up without a home directory")?.join("contexts/meta");
    let missing = || format!("was not found in {}", directory.display());
    let entries = fs::read_dir(&directory).map_err(|_| missing())?;
    let meta = entries
        .filter_map(|entry| {
            let file = config::read(&entry.ok()?.path().join("meta.json"), config::MAX).ok()??;
            value::parse_lenient(&file.bytes).ok()
        })
        .find(|meta| meta["Name"] == name)
        .ok_or_else(missing)?;
    match &meta["Endpoints"]["docker"] {
        Value::Null => Err("has no docker endpoint".to_owned()),
        docker => Ok(docker["Host"].as_str().unwrap_or_default().to_owned()),
    }
}

/// Parses an address as docker's `-H` does: an empty one is the default socket, a bare path is a socket, too.
fn parse(address: &str) -> Endpoint {
    let address = address.trim();
    let path = match address.split_once("://") {
        Some(("unix", path)) => Some(path),
        None if address.is_empty() || address.starts_with('/') || address.starts_with("./") => Some(address),
        _ => None,
    };
    let reason = match path {
        Some("") => return Endpoint::Unix(PathBuf::from(DEFAULT_SOCKET)),
        Some(path) if path.starts_with('@') => format!("{address} is an abstract socket"),
        Some(path) => return Endpoint::Unix(PathBuf::from(path)),
        None => format!("{} {NOT_A_SOCKET}", without_user(address)),
    };
    Endpoint::Other { address: address.to_owned(), reason }
}

/// Shortens `ssh://me:secret@host` to `ssh://…@host`.
fn without_user(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + 3);
    match address[start..].rsplit_once('@') {
        Some((_, host)) => format!("{}…@{host}", &address[..start]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    /// The endpoint if docker's configuration is in `directory`.
    fn find_with(host: Option<&str>, docker_host: &str, docker_context: &str, directory: Option<&Path>) -> Endpoint {
        let environment = Environment {
            docker_config: directory.map(Path::to_owned),
            docker_host: Some(docker_host.into()),
            docker_context: Some(docker_context.into()),
            home: None,
            ..Environment::from_process()
        };
        find(host, &environment, &Config::read(&environment))
    }

    fn unix(path: &str) -> Endpoint {
        Endpoint::Unix(PathBuf::from(path))
    }

    fn other(address: &str, reason: &str) -> Endpoint {
        Endpoint::Other { address: address.to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("", unix(DEFAULT_SOCKET)),
            ("unix://", unix(DEFAULT_SOCKET)),
            (" unix:///run/user/1000/docker.sock\n", unix("/run/user/1000/docker.sock")),
            ("unix://docker.sock", unix("docker.sock")),
            ("/run/docker.sock", unix("/run/docker.sock")),
            ("unix://@docker", other("unix://@docker", "unix://@docker is an abstract socket")),
            ("tcp://10.0.0.1:2375", other("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375 is not a Unix socket")),
            ("ssh://pi@host", other("ssh://pi@host", "ssh://…@host is not a Unix socket")),
            ("tcp://u:s3cr@t@host", other("tcp://u:s3cr@t@host", "tcp://…@host is not a Unix socket")),
            ("10.0.0.1:2375", other("10.0.0.1:2375", "10.0.0.1:2375 is not a Unix socket")),
            ("npipe:////./pipe/x", other("npipe:////./pipe/x", "npipe:////./pipe/x is not a Unix socket")),
        ] {
            assert_eq!(parse(address), expected, "{address:?}");
        }
    }

    struct Home(PathBuf);

    impl Home {
        fn new(name: &str, config: &str, contexts: &[&str]) -> Self {
            let directory = env::temp_dir().join(format!("dpwp-context-{}-{name}", std::process::id()));
            for (index, text) in contexts.iter().enumerate() {
                let meta = directory.join(format!("contexts/meta/{index}"));
                fs::create_dir_all(&meta).unwrap();
                fs::write(meta.join("meta.json"), text).unwrap();
            }
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("config.json"), config).unwrap();
            Self(directory)
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn order() {
        let config = Home::new(
            "order",
            r#"{"currentContext":"rootless"}"#,
            &[
                "not json",
                r#"{"Name":"rootless","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///run/user/7/docker.sock","SkipTLSVerify":false}}}"#,
                r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://pi@far"}}}"#,
                r#"{"Name":"none","Endpoints":{}}"#,
                r#"{"Name":"plain","Endpoints":{"docker":{}}}"#,
            ],
        );
        let meta = config.0.join("contexts/meta").display().to_string();
        let check = |host: Option<&str>, docker_host: &str, docker_context: &str, expected: Endpoint| {
            let found = find_with(host, docker_host, docker_context, Some(&config.0));
            assert_eq!(found, expected, "{host:?} {docker_host:?} {docker_context:?}");
        };
        check(Some("unix:///a"), "unix:///b", "far", unix("/a"));
        check(Some(""), "unix:///b", "far", unix(DEFAULT_SOCKET));
        check(None, "unix:///b", "far", unix("/b"));
        check(None, "", "far", other("ssh://pi@far", "ssh://…@far is not a Unix socket"));
        check(None, "", "default", unix(DEFAULT_SOCKET));
        check(None, "", "plain", unix(DEFAULT_SOCKET));
        check(None, "", "none", other("none", "docker context \"none\" has no docker endpoint"));
        check(None, "", "lost", other("lost", &format!("docker context \"lost\" was not found in {meta}")));
        check(None, "", "", unix("/run/user/7/docker.sock"));
    }

    #[test]
    fn without_contexts() {
        let find = |directory: Option<&Path>| find_with(None, "", "", directory);
        assert_eq!(find(None), unix(DEFAULT_SOCKET));
        assert_eq!(find(Some(Path::new("/nonexistent"))), unix(DEFAULT_SOCKET));
        for (name, text) in [
            ("empty", ""),
            ("broken", r#"{"currentContext":"x""#),
            ("number", r#"{"currentContext":1}"#),
            ("blank", r#"{"currentContext":""}"#),
            ("default", r#"{"currentContext":"default"} trailing"#),
        ] {
            assert_eq!(find(Some(&Home::new(name, text, &[]).0)), unix(DEFAULT_SOCKET), "{name}");
        }
        let lost = Home::new("lost", r#"{"currentContext":"lost"}"#, &[]);
        assert!(matches!(find(Some(&lost.0)), Endpoint::Other { address, .. } if address == "lost"));
    }
}
