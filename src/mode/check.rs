//! `--check` and `--running`: the state checks that Puppet runs before it changes anything.
//!
//! Apart from the live pull because they change nothing, download nothing and log nothing, and because they answer
//! within a limit whatever the engine does.
//!
//! **Invariant:** an exit code of 0 or 1 is something that was found out; all else is 3, with the reason.

use crate::args::Pull as Options;
use crate::docker::auth;
use crate::docker::endpoint::{self, Endpoint, Variables};
use crate::docker::engine::{Engine, Error};
use crate::docker::environment::Environment;
use crate::docker::reference::{Reference, percent_encode};
use crate::os::charset::Charset;
use crate::os::output::Output;
use crate::os::signals::{self, Signals};
use crate::pull::failure::Kind;
use crate::report::sanitize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long the answers may take in all; Puppet waits for them.
const CHECK: Duration = Duration::from_mins(1);
const RUNNING: Duration = Duration::from_secs(10);

/// Kept back of a limit for the answer itself.
const MARGIN: Duration = Duration::from_secs(1);

/// How long the reader of the answer may take.
const READER: Duration = Duration::from_millis(500);

/// What was found out, for a reader.
enum Answer {
    /// Exit code 0.
    Yes(String),
    /// Exit code 1.
    No(String),
    /// Exit code 3.
    CannotTell(String),
    /// A signal came.
    Interrupted(i32),
}

/// Whether the local image is what the registry has.
pub(crate) fn check(reference: &Reference, options: &Options) -> u8 {
    answer(options, CHECK, |asking| asking.check(reference, options))
}

/// Whether container `name` runs, and runs the local image.
pub(crate) fn running(name: &str, reference: &Reference, options: &Options) -> u8 {
    answer(options, RUNNING, |asking| asking.running(name, reference))
}

/// An engine that is asked, and how long.
struct Asking {
    engine: Engine,
    environment: Environment,
    signals: Signals,
    until: Instant,
}

fn answer(options: &Options, limit: Duration, ask: impl FnOnce(&Asking) -> Result<Answer, Answer>) -> u8 {
    let signals = Signals::catch(false);
    let until = Instant::now() + limit.saturating_sub(MARGIN);
    let environment = Environment::from_process();
    let config = environment.config_directory();
    let answer = match endpoint::find(options.host.as_deref(), &Variables::from_process(), config.as_deref()) {
        Endpoint::Other { reason, .. } => Answer::CannotTell(reason),
        Endpoint::Unix(socket) => match Engine::ping(&socket, &mut || signals.came().is_none()) {
            Ok(engine) => {
                let asking = Asking { engine, environment, signals: signals.clone(), until };
                ask(&asking).unwrap_or_else(|early| early)
            }
            Err(error) => unanswered(&error, &signals),
        },
    };
    let (word, text, exit) = match &answer {
        Answer::Yes(text) => ("yes", text.as_str(), 0),
        Answer::No(text) => ("no", text.as_str(), 1),
        Answer::CannotTell(text) => ("cannot tell", text.as_str(), 3),
        Answer::Interrupted(signal) => return signals::exit_code(*signal),
    };
    let mut line = String::new();
    Charset::from_environment(options.ascii).push(&format!("{word}: {}\n", sanitize::safe(text)), &mut line);
    // Where nobody reads, the exit code is the answer.
    let _ = Output::stdout().and_then(|mut stdout| stdout.offer(line.as_bytes(), READER));
    exit
}

fn unanswered(error: &Error, signals: &Signals) -> Answer {
    match signals.came() {
        Some(signal) => Answer::Interrupted(signal),
        None => Answer::CannotTell(error.to_string()),
    }
}

impl Asking {
    fn check(&self, reference: &Reference, options: &Options) -> Result<Answer, Answer> {
        let local = self.image(reference)?;
        if let Some(image) = &local {
            // A digest names one image for ever: there is nothing that the registry could have instead.
            if reference.digest.is_some() {
                return Ok(Answer::Yes(format!("{reference} is here")));
            }
            if let Some(wanted) = &options.platform
                && !is_platform(image, wanted)
            {
                return Ok(Answer::No(format!("{reference} is here for another platform than {wanted}")));
            }
        }
        let newest = match (self.registry_digest(reference, options), &local) {
            (Ok(newest), _) => newest,
            (Err(Unread::Other(_)), None) => return Ok(Answer::No(format!("{reference} is not here"))),
            (Err(Unread::Other(answer) | Unread::Unknown(answer)), _) => return Err(answer),
        };
        let Some(image) = local else {
            return Ok(Answer::No(format!("{reference} is not here; the registry has {newest}")));
        };
        let here = digests(&image);
        Ok(if here.contains(&newest.as_str()) {
            Answer::Yes(format!("{reference} is what the registry has ({newest})"))
        } else if here.is_empty() {
            Answer::No(format!("{reference} here never came from a registry; the registry has {newest}"))
        } else {
            Answer::No(format!("{reference} is newer in the registry: {newest} there, {} here", here.join(", ")))
        })
    }

    fn running(&self, name: &str, reference: &Reference) -> Result<Answer, Answer> {
        let Some(container) = self.get(&format!("/containers/{}/json", percent_encode(name)))? else {
            return Ok(Answer::No(format!("there is no container {name}")));
        };
        let Some(image) = self.image(reference)? else {
            return Ok(Answer::No(format!("{reference} is not here")));
        };
        let (Some(runs), Some(is), Some(wanted)) =
            (container["State"]["Running"].as_bool(), container["Image"].as_str(), image["Id"].as_str())
        else {
            return Err(Answer::CannotTell("the engine's answer has no State.Running, Image or Id".into()));
        };
        // podman writes the algorithm before one of them only.
        let bare = |id: &str| id.trim_start_matches("sha256:").to_owned();
        Ok(if !runs {
            Answer::No(format!("container {name} does not run"))
        } else if bare(is) == bare(wanted) {
            Answer::Yes(format!("container {name} runs {reference} ({wanted})"))
        } else {
            Answer::No(format!("container {name} runs {is}, and {reference} is {wanted}"))
        })
    }

    /// The local image; none where it is missing.
    fn image(&self, reference: &Reference) -> Result<Option<Value>, Answer> {
        self.get(&format!("/images/{}/json", percent_encode(&reference.local())))
    }

    /// What the registry has under the reference, asked by the engine.
    fn registry_digest(&self, reference: &Reference, options: &Options) -> Result<String, Unread> {
        let registry = reference.registry();
        let credentials = match &options.token_file {
            Some(file) => auth::from_token_file(file, options.token_user.as_deref(), registry)
                .map_err(|error| Unread::Other(Answer::CannotTell(error)))?,
            None => auth::find(registry, &self.environment, &mut || {
                self.signals.came().is_some() || Instant::now() >= self.until
            }),
        };
        let path = format!("/distribution/{}/json", percent_encode(&reference.local()));
        let headers = [("X-Registry-Auth", credentials.header.as_str())];
        let answer = self.engine.get(&path, &headers, self.until, &mut || self.signals.came().is_none());
        let answer = answer.map_err(|error| Unread::Other(unanswered(&error, &self.signals)))?;
        let body = answer.json();
        if answer.status == 200 {
            let digest = body["Descriptor"]["digest"].as_str().map(str::to_owned);
            return digest.ok_or_else(|| Unread::Other(Answer::CannotTell("the engine's answer has no digest".into())));
        }
        let reason = answer.message(&body);
        let reason = match (Kind::of(&reason), &credentials.user) {
            (Kind::Login, Some(user)) => format!("{reason} (asked as user {user}, from {})", credentials.origin),
            (Kind::Login, None) => format!("{reason} (no credentials were found; looked in: {})", credentials.origin),
            _ => reason,
        };
        let answer_ = Answer::CannotTell(format!("the registry was asked for {reference}: {reason}"));
        Err(if answer.status == 404 || Kind::of(&reason) == Kind::NotFound {
            Unread::Unknown(answer_)
        } else {
            Unread::Other(answer_)
        })
    }

    /// What the engine has at `path`; none where it has nothing there.
    fn get(&self, path: &str) -> Result<Option<Value>, Answer> {
        let found = self.engine.find(path, self.until, &mut || self.signals.came().is_none());
        found.map_err(|error| unanswered(&error, &self.signals))
    }
}

/// Why the registry's digest is not known.
enum Unread {
    /// The registry does not know the image.
    Unknown(Answer),
    Other(Answer),
}

/// The digests under which registries have had the image. With the containerd store the image's id is one of them, and
/// the graphdriver's id is never the digest of a manifest.
fn digests(image: &Value) -> Vec<&str> {
    let names = image["RepoDigests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut digests: Vec<&str> = names.iter().filter_map(|name| Some(name.as_str()?.split_once('@')?.1)).collect();
    // Under two names, or in two repositories, it is the same manifest.
    digests.dedup();
    digests
}

/// Whether an image is for the platform `OS/ARCH[/VARIANT]`, or `ARCH` alone.
fn is_platform(image: &Value, wanted: &str) -> bool {
    let parts: Vec<&str> = wanted.split('/').collect();
    let (os, arch, variant) = match parts[..] {
        [arch] => ("linux", arch, None),
        [os, arch] => (os, arch, None),
        [os, arch, variant, ..] => (os, arch, Some(variant)),
        [] => return true,
    };
    let is = |key: &str, value: &str| image[key].as_str().is_none_or(|has| has.is_empty() || has == value);
    is("Os", os) && is("Architecture", arch) && variant.is_none_or(|variant| is("Variant", variant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn digests_are_those_of_all_names() {
        let image =
            json!({"Id": "sha256:1", "RepoDigests": ["a/b@sha256:2", "c@sha256:2", "h:5000/d@sha256:3", "odd", 7]});
        assert_eq!(digests(&image), ["sha256:2", "sha256:3"]);
        assert!(digests(&json!({"RepoDigests": null})).is_empty());
    }

    #[test]
    fn platforms_are_compared_as_far_as_they_are_told() {
        let arm = json!({"Os": "linux", "Architecture": "arm", "Variant": "v7"});
        let check = |wanted, expected| assert_eq!(is_platform(&arm, wanted), expected, "{wanted}");
        check("linux/arm", true);
        check("linux/arm/v7", true);
        check("linux/arm/v6", false);
        check("linux/amd64", false);
        check("arm", true);
        assert!(is_platform(&json!({"Os": "linux", "Architecture": "arm64"}), "linux/arm64/v8"));
    }
}
