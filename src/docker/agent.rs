//! Starts `alm-agent`, the program that speaks to registries for this one: where it is found, and what it gets on its
//! standard input.
//!
//! Shared by its two users: a pull asks for sizes and continues meanwhile, a check waits for a digest.
//!
//! **Invariant:** it is started only if the engine runs on this host. Secrets go to its standard input, never into an
//! argument or its environment.

use crate::docker::inspect::Inspector;
use crate::docker::reference::{Reference, is_lower_hex};
use crate::docker::{base64, value};
use crate::os::child::{self, Setup};
use crate::os::host;
use serde_json::Value;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The limit for a digest, and the later one after which the agent is killed.
const DIGEST_LIMIT: Duration = Duration::from_secs(10);
const DIGEST_KILL: Duration = Duration::from_millis(10_500);

/// Bytes. An answer is a digest, or the reason why there is none.
const ANSWER_MAX: usize = 4 << 10;

/// What the agent has to know besides the engine's answers.
pub(crate) struct RegistryQuery<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) platform: Option<&'a str>,
    /// The value of `X-Registry-Auth`.
    pub(crate) credentials: &'a str,
}

/// An engine's answers to `/info` and `/version`, and the version from its `/_ping`.
pub(super) struct EngineFacts<'a> {
    pub(super) info: &'a Value,
    pub(super) version: &'a Value,
    pub(super) ping: &'a str,
}

/// The agent in this program's directory, else on PATH.
pub(super) fn find() -> Option<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::as_os_str);
    beside
        .and_then(|directory| child::program("alm-agent", directory))
        .or_else(|| child::program("alm-agent", &search_path()))
}

fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// Its environment has two variables only: a proxy of this process is not one of the engine's.
pub(super) fn command(agent: &Path, what: &str) -> Command {
    let mut command = Command::new(agent);
    command.arg(what).env_clear().env("PATH", search_path());
    command.envs(env::var_os("SSL_CERT_FILE").map(|file| (OsStr::new("SSL_CERT_FILE"), file)));
    command
}

/// Whether `/info` is of an engine on this host that reports its registries. Those of a remote engine belong to another
/// network, and so do its secrets.
pub(super) fn is_own(info: &Value) -> bool {
    host::name().is_some_and(|host| info["Name"].as_str() == Some(&*host)) && info["RegistryConfig"].is_object()
}

/// The JSON object for the agent's standard input; `None` if no registry may be asked.
pub(super) fn request(
    what: &str,
    query: &RegistryQuery<'_>,
    engine: &EngineFacts<'_>,
    limit: Duration,
) -> Option<String> {
    let RegistryQuery { reference, platform, credentials } = query;
    // Podman follows its registries.conf, which can name other hosts; its /info has only a part of that.
    let components = serde_json::to_string(&engine.version["Components"]).ok()?;
    if components.contains("Podman") {
        return None;
    }
    let auth = base64::decode(&credentials.replace('-', "+").replace('_', "/"))?;
    let part = |name: &'static str| (name, engine.info[name].clone());
    let request = value::object([
        ("do", what.into()),
        ("image", reference.full().into()),
        ("platform", (*platform).into()),
        ("engine", platform_of(engine.version).into()),
        ("version", engine.version["Version"].as_str().unwrap_or(engine.ping).into()),
        ("info", value::object(["RegistryConfig", "HttpProxy", "HttpsProxy", "NoProxy"].map(part))),
        ("auth", value::parse(&auth)?),
        ("limit_ms", u64::try_from(limit.as_millis()).ok()?.into()),
    ]);
    serde_json::to_string(&request).ok()
}

/// The digest of an image's tag in its registry, asked with a request that registries do not count as a pull. `None` if
/// there is no agent, or it has no answer: then the engine has to be asked.
pub(crate) fn digest(inspector: &Inspector<'_>, query: &RegistryQuery<'_>) -> Option<String> {
    let agent = find()?;
    let info = inspector.find("/info").ok()??;
    let version = inspector.find("/version").ok()??;
    let engine = EngineFacts { info: &info, version: &version, ping: &inspector.engine.version };
    let left = inspector.until.saturating_duration_since(Instant::now());
    let input = request("digest", query, &engine, DIGEST_LIMIT.min(left)).filter(|_| is_own(&info))?;
    let setup = Setup { input: Some(input.as_bytes()), own_group: true, ..Setup::default() };
    let mut go_on = || inspector.signals.go_on();
    let answer = child::collect(command(&agent, "digest"), setup, DIGEST_KILL.min(left), ANSWER_MAX, &mut go_on);
    let (status, answer) = answer.ok()?;
    parse(&answer).filter(|_| status.success())
}

/// The digest in the agent's answer; `None` if the answer is malformed.
pub(crate) fn parse(answer: &[u8]) -> Option<String> {
    let answer = value::parse(answer)?;
    let digest = answer["digest"].as_str()?;
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && is_lower_hex(hex)).then(|| digest.to_owned())
}

/// `linux/arm`, as the engine was built; the kernel can be another one. An engine that does not report it runs on this
/// platform.
fn platform_of(version: &Value) -> String {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    let part = |name: &str, default| version[name].as_str().unwrap_or(default).to_owned();
    format!("{}/{}", part("Os", "linux"), part("Arch", architecture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_engines_own_platform() {
        assert_eq!(platform_of(&json!({"Os": "linux", "Arch": "arm"})), "linux/arm");
        assert!(platform_of(&Value::Null).starts_with("linux/"));
    }

    #[test]
    fn digests() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(parse(format!("{{\"digest\":\"{digest}\",\"more\":1}}\n").as_bytes()), Some(digest.clone()));
        for wrong in
            ["", "null", "{}", r#"{"digest":null}"#, r#"{"digest":"sha256:1"}"#, r#"{"kind":"auth","error":"x"}"#]
        {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse(format!("{{\"digest\":\"{}\"}}", digest.to_uppercase()).as_bytes()), None);
        assert_eq!(parse(format!("{{\"digest\":\"{}\"}}", digest.replace('0', "\\u001b")).as_bytes()), None);
    }
}
