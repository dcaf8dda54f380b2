//! `--check` and `--running`: the state checks that Puppet runs before it changes anything.
//!
//! Apart from the live pull because they change nothing, download nothing and log nothing, and because they answer
//! within a limit whatever the engine does.
//!
//! **Invariant:** exit codes 0 and 1 state what was found out; if nothing was, the exit code is 3 and the reason is
//! printed.

use crate::args::PullOptions;
use crate::docker::agent::{self, RegistryQuery};
use crate::docker::backend::Backend;
use crate::docker::client::{Client, ClientOptions};
use crate::docker::container;
use crate::docker::engine::Error;
use crate::docker::environment::Environment;
use crate::docker::image::{Distribution, Here, Image, Wanted, without_algorithm};
use crate::docker::inspect::Inspector;
use crate::docker::platform::Platform;
use crate::docker::reference::Reference;
use crate::os::charset::Charset;
use crate::os::output::Output;
use crate::os::signals::Signals;
use crate::pull::failure::{Failure, Kind};
use crate::pull::signal_exit_code;
use crate::report::sanitize;
use crate::sink::checked::PreviousState;
use crate::sink::complaint::complain;
use crate::sink::open::state_target;
use crate::sink::state::state_failure;
use alm_state::Checked;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The limit for all answers together; Puppet waits for them.
const CHECK_LIMIT: Duration = Duration::from_mins(1);
const RUNNING_LIMIT: Duration = Duration::from_secs(10);

/// The part of the limit that is reserved for printing the answer.
const MARGIN: Duration = Duration::from_secs(1);

/// How long printing the answer may block.
const PRINT_LIMIT: Duration = Duration::from_millis(500);

/// The answer, as it is printed.
enum Answer {
    /// Exit code 0.
    Yes(String),
    /// Exit code 1.
    No(String),
    /// Exit code 3.
    Unanswered(Failure),
    /// A signal was caught.
    Interrupted(i32),
}

/// Whether the local image is what the registry has.
pub(crate) fn check(reference: &Reference, options: &PullOptions) -> u8 {
    let previous =
        PreviousState::read(state_target(reference.to_string(), reference.full(), reference.registry(), options));
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime, and this of any")]
    let (answer, known) = connect_and_ask(reference, options, CHECK_LIMIT, |checker| checker.check());
    let checked = match &answer {
        Answer::Yes(_) => known.latest.or(known.here).map(|digest| Checked::Current { digest }),
        Answer::No(_) => Some(Checked::Newer { digest: known.here, latest: known.latest }),
        Answer::Unanswered(why) => Some(Checked::Unanswered(state_failure(why, reference.registry()))),
        Answer::Interrupted(_) => None,
    };
    if let Some(Err(error)) = checked.map(|checked| previous.keep(checked)) {
        complain(&error.to_string(), Charset::from_environment(options.ascii));
    }
    print(options, &answer)
}

/// Whether container `name` runs, and runs the local image.
pub(crate) fn running(name: &str, reference: &Reference, options: &PullOptions) -> u8 {
    print(options, &connect_and_ask(reference, options, RUNNING_LIMIT, |checker| checker.running(name)).0)
}

/// The digests that a check found, for the state file.
#[derive(Default)]
struct Known {
    here: Option<String>,
    latest: Option<String>,
}

/// What is being checked, and the engine that is asked.
struct Checker<'a> {
    client: Client<'a>,
    signals: &'a Signals,
    until: Instant,
    reference: &'a Reference,
    options: &'a PullOptions,
    known: Known,
}

/// Connects to the engine, and calls `ask` with a limit for all of its requests. Returns its answer, or why there is none.
fn connect_and_ask(
    reference: &Reference,
    options: &PullOptions,
    limit: Duration,
    ask: impl FnOnce(&mut Checker<'_>) -> Result<Answer, Answer>,
) -> (Answer, Known) {
    let signals = Signals::catch(false);
    let until = Instant::now() + limit.saturating_sub(MARGIN);
    // Nothing is pulled, so no signature has to be verified.
    let environment = Environment { content_trust: false, ..Environment::from_process() };
    let client_options = ClientOptions {
        reference,
        platform: None,
        host: options.host.as_deref(),
        token_file: options.token_file.as_deref(),
        token_user: options.token_user.as_deref(),
    };
    // Unlike a pull, a check does not report problems of the configuration: it prints one line, the answer.
    match Client::connect(client_options, environment, &mut || signals.go_on()) {
        Ok(client) => {
            let known = Known::default();
            let mut checker = Checker { client, signals: &signals, until, reference, options, known };
            (ask(&mut checker).unwrap_or_else(|early| early), checker.known)
        }
        Err(error) => (failed(error, &signals), Known::default()),
    }
}

/// Prints the answer; returns the exit code.
fn print(options: &PullOptions, answer: &Answer) -> u8 {
    let (word, text, exit) = match answer {
        Answer::Yes(text) => ("yes", text.as_str(), 0),
        Answer::No(text) => ("no", text.as_str(), 1),
        Answer::Unanswered(why) => ("cannot tell", why.text.as_str(), 3),
        Answer::Interrupted(signal) => return signal_exit_code(*signal),
    };
    let mut line = String::new();
    Charset::from_environment(options.ascii).push(&format!("{word}: {}\n", sanitize::safe(text)), &mut line);
    // If stdout is closed, the exit code is the answer.
    let _ = Output::stdout().and_then(|mut stdout| stdout.offer(line.as_bytes(), PRINT_LIMIT));
    exit
}

/// An answer that is the fault of neither the engine nor the registry.
fn unknown(reason: impl Into<String>) -> Answer {
    Answer::Unanswered(Failure::own(Kind::Other, reason))
}

fn failed(error: Error, signals: &Signals) -> Answer {
    match signals.pending() {
        Some(signal) => Answer::Interrupted(signal),
        None => Answer::Unanswered(error.failure()),
    }
}

impl Checker<'_> {
    fn check(&mut self) -> Result<Answer, Answer> {
        let reference = self.reference;
        let local = self.answered(self.inspector()?.image(reference))?;
        let wanted = self.wanted()?;
        if let Some(image) = &local {
            let here = image.digests().first().map(|digest| (*digest).to_owned());
            self.known.here = reference.digest.clone().or(here);
        }
        // A digest always names the same image, so the registry cannot have a newer one.
        if let Some(image) = &local
            && reference.digest.is_some()
            && image.has(wanted.as_ref(), None) == Here::Yes
        {
            return Ok(Answer::Yes(format!("{reference} is here")));
        }
        let newest = match (self.registry(local.as_ref(), wanted.as_ref()), &local) {
            (Ok(newest), _) => newest,
            (Err(Unread::Other(answer)), None) => {
                // A caught signal is not an answer of the registry.
                return Err(if let Answer::Interrupted(_) = answer { answer } else { self.missing(None) });
            }
            (Err(Unread::Unknown(answer)), None) => return Err(answer),
            (Err(Unread::Other(answer) | Unread::Unknown(answer)), Some(image)) => {
                return match image.has(wanted.as_ref(), None) {
                    Here::No(platforms) => Ok(self.is_for_another(&platforms, wanted.as_ref())),
                    Here::Yes | Here::Unknown(_) => Err(answer),
                };
            }
        };
        self.known.latest = Some(newest.digest.clone());
        let Some(image) = local else { return Ok(self.missing(Some(&newest.digest))) };
        let here = image.digests();
        let is_newest = reference.digest.is_some() || here.contains(&newest.digest.as_str());
        Ok(match image.has(wanted.as_ref(), Some(&newest)) {
            Here::No(platforms) => self.is_for_another(&platforms, wanted.as_ref()),
            Here::Yes if is_newest => Answer::Yes(format!("{reference} is what the registry has ({})", newest.digest)),
            Here::Unknown(reason) if is_newest => unknown(format!("{reference}: {reason}")),
            // The image was built here, or a second platform was pulled under the same name. In the second case the
            // digest stays with the first image, which has no other name left, and no pull moves it.
            _ if here.is_empty() => unknown(format!(
                "the engine does not know from which registry {reference} came; to be able to tell, remove it \
                 (docker image rm {reference} {}@{}) and pull it again",
                reference.name, newest.digest
            )),
            _ => {
                let here = here.join(", ");
                Answer::No(format!("{reference} is newer in the registry: {} there, {here} here", newest.digest))
            }
        })
    }

    fn missing(&self, newest: Option<&str>) -> Answer {
        let there = newest.map(|newest| format!("; the registry has {newest}")).unwrap_or_default();
        Answer::No(format!("{} is not here{there}", self.reference))
    }

    fn is_for_another(&self, platforms: &str, wanted: Option<&Wanted>) -> Answer {
        let reference = self.reference;
        Answer::No(match wanted.map(|wanted| &wanted.platform) {
            Some(wanted) if platforms.is_empty() => format!("{reference} is not here for {wanted}"),
            Some(wanted) => format!("{reference} is here for another platform than {wanted} ({platforms})"),
            None => format!("{reference} is not here for this platform"),
        })
    }

    /// The platform that a pull would fetch; `None` if none was requested and the engine does not report its own.
    fn wanted(&self) -> Result<Option<Wanted>, Answer> {
        let given = self.options.platform.as_deref().map(Platform::parse).transpose();
        let given = given.map_err(|error| unknown(format!("what --platform names is no platform: {error}")))?;
        let is_whole = given.as_ref().is_some_and(|given| !given.os.is_empty() && !given.architecture.is_empty());
        let own = if is_whole { None } else { self.inspector()?.platform() };
        let rule = self.inspector()?.engine.rule;
        Ok(match (given, own) {
            (Some(given), own) => {
                let platform = own.map_or(given.clone(), |own| given.or(&own));
                Some(Wanted { platform, is_given: true, rule })
            }
            (None, own) => own.map(|platform| Wanted { platform, is_given: false, rule }),
        })
    }

    fn running(&self, name: &str) -> Result<Answer, Answer> {
        let reference = self.reference;
        let Some(container) = self.answered(self.inspector()?.container(name))? else {
            return Ok(Answer::No(format!("there is no container {name}")));
        };
        let Some(image) = self.image_of(&container)? else {
            return Ok(Answer::No(format!("{reference} is not here")));
        };
        let (Some(is), Some(wanted)) = (container::image_id(&container), image.reported_id()) else {
            return Err(unknown("the engine's answer has no State.Running, Image or Id"));
        };
        if let Some(why) = self.problem(&container)? {
            return Ok(Answer::No(format!("container {name} {why}")));
        }
        // In the containerd store an image's id is that of its index, which changes with the entries of other
        // platforms.
        let (is, wanted, is_same) = match (container::manifest(&container), image.manifest()) {
            (Some(is), Some(wanted)) => (is, wanted, is == wanted),
            // podman writes `sha256:` before one of the two only.
            _ => (is, wanted, Some(without_algorithm(is)) == image.id()),
        };
        Ok(if is_same {
            Answer::Yes(format!("container {name} runs {reference} ({wanted})"))
        } else {
            Answer::No(format!("container {name} runs {is}, and {reference} is {wanted}"))
        })
    }

    /// Why a container does not run, or cannot be reached.
    fn problem(&self, container: &Value) -> Result<Option<String>, Answer> {
        if let Some(why) = container::problem(container) {
            return Ok(Some(why));
        }
        for shared in container::shared_namespaces(container) {
            let owner = self.answered(self.inspector()?.container(shared.owner))?;
            if let Some(why) = shared.problem(container, owner.as_ref()) {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// The local image; where the container's is one manifest of an index, for the same platform.
    fn image_of(&self, container: &Value) -> Result<Option<Image>, Answer> {
        if let Some(platform) = container::platform(container) {
            let image = self.answered(self.inspector()?.image_for(self.reference, &platform))?;
            // There may still be an image of that name for another platform, which is a different one.
            if let Some(image) = image.filter(|image| image.manifest().is_some()) {
                return Ok(Some(image));
            }
        }
        self.answered(self.inspector()?.image(self.reference))
    }

    /// The digest that the registry has for the reference. The engine is asked; or, if its request would count as a
    /// pull, the agent.
    fn registry(&mut self, local: Option<&Image>, wanted: Option<&Wanted>) -> Result<Distribution, Unread> {
        let (reference, signals, until) = (self.reference, self.signals, self.until);
        let other = |error: String| Unread::Other(unknown(error));
        self.client
            .log_in(&mut || if Instant::now() < until { signals.go_on() } else { ControlFlow::Break(()) })
            .map_err(other)?;
        let credentials = &self.client.credentials;
        if reference.is_on_hub() && reference.digest.is_none() {
            let platform = self.options.platform.as_deref();
            let query = RegistryQuery { reference, platform, credentials: &credentials.header };
            let inspector = self.inspector().map_err(Unread::Other)?;
            if let Some(digest) = agent::digest(&inspector, &query)
                // Only the engine can say which platforms that image is for.
                && local.is_none_or(|image| !image.digests().contains(&&*digest) || image.has_for_certain(wanted))
            {
                return Ok(digest.into());
            }
        }
        let answer = self.inspector().map_err(Unread::Other)?.distribution(reference, &credentials.header);
        let answer = self.answered(answer).map_err(Unread::Other)?;
        let body = answer.json();
        if answer.status == 200 {
            return Distribution::new(&body).ok_or_else(|| other("the engine's answer has no digest".into()));
        }
        let call = format!("GET /distribution/{}/json", reference.local());
        let Failure { kind, text: reason, .. } = answer.failure(&body, &call);
        let reason = match (kind, &credentials.user) {
            (Kind::Login, Some(user)) => format!("{reason} (asked as user {user}, from {})", credentials.origin),
            (Kind::Login, None) => format!("{reason} (no credentials were found; looked in: {})", credentials.origin),
            _ => reason,
        };
        let unread =
            Answer::Unanswered(Failure::own(kind, format!("the registry was asked for {reference}: {reason}")));
        Err(if answer.status == 404 || kind == Kind::NotFound {
            Unread::Unknown(unread)
        } else {
            Unread::Other(unread)
        })
    }

    /// The engine's socket; the fallback to the docker CLI cannot answer a check.
    fn inspector(&self) -> Result<Inspector<'_>, Answer> {
        match &self.client.backend {
            Backend::Api(engine) => Ok(Inspector { engine, signals: self.signals, until: self.until }),
            Backend::Cli { reason, .. } => Err(unknown(reason.clone())),
        }
    }

    /// Turns an error of the engine into an answer.
    fn answered<T>(&self, answer: Result<T, Error>) -> Result<T, Answer> {
        answer.map_err(|error| failed(error, self.signals))
    }
}

/// Why the registry's digest is not known.
enum Unread {
    /// The registry does not know the image.
    Unknown(Answer),
    Other(Answer),
}
