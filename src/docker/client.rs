//! A client of an engine, as docker's CLI is one: the reference, the engine or the fallback, and the credentials.
//!
//! Separate from the pull, which decides when engine and credentials are searched for again: a token may expire, and
//! the engine may be another one after a restart.
//!
//! **Invariant:** config.json is read once for each search. If a later search finds no credentials, the earlier ones
//! are kept.

use crate::docker::auth::{Found, Search};
use crate::docker::backend::{self, Backend, Source};
use crate::docker::config::Config;
use crate::docker::engine::{Engine, Error};
use crate::docker::environment::Environment;
use crate::docker::reference::Reference;
use crate::os::wait::{OnTick, TICK};
use crate::pull::failure::Sent;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an engine that broke off may take to restart.
const RESTART: Duration = Duration::from_mins(1);

/// The options that concern the client.
#[derive(Clone, Copy)]
pub(crate) struct ClientOptions<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) platform: Option<&'a str>,
    /// The value of `--host`.
    pub(crate) host: Option<&'a str>,
    pub(crate) token_file: Option<&'a Path>,
    pub(crate) token_user: Option<&'a str>,
}

pub(crate) struct Client<'a> {
    options: ClientOptions<'a>,
    environment: Environment,
    pub(crate) backend: Backend,
    pub(crate) credentials: Found,
    /// The configuration, until the first search for credentials: it can be large, and contain secrets.
    config: Option<Config>,
    /// Warnings about configuration and credentials that were not reported yet.
    warnings: Vec<String>,
    /// The warnings that were reported.
    reported: Vec<String>,
}

impl<'a> Client<'a> {
    /// Finds the engine, or docker's CLI as the fallback.
    pub(crate) fn connect(
        options: ClientOptions<'a>,
        environment: Environment,
        on_tick: OnTick<'_>,
    ) -> Result<Self, Error> {
        let config = Config::read(&environment);
        let (headers, warnings) = config.headers();
        let request = Self::request(options);
        let backend = Backend::find(request, &environment, &config, headers, on_tick)?;
        // docker's CLI reports these itself.
        let warnings = if matches!(backend, Backend::Api(_)) { warnings } else { Vec::new() };
        let (credentials, reported) = (Found::default(), Vec::new());
        Ok(Self { options, environment, backend, credentials, config: Some(config), warnings, reported })
    }

    fn request(options: ClientOptions<'a>) -> backend::Request<'a> {
        backend::Request { reference: options.reference, platform: options.platform, host: options.host }
    }

    /// Searches for the registry's credentials. docker's CLI finds its own, unless there is a token file.
    pub(crate) fn log_in(&mut self, on_tick: OnTick<'_>) -> Result<(), String> {
        if self.options.token_file.is_none() && matches!(self.backend, Backend::Cli { .. }) {
            return Ok(());
        }
        let config = self.config.take().unwrap_or_else(|| Config::read(&self.environment));
        let search = Search {
            registry: self.options.reference.registry(),
            token_file: self.options.token_file,
            token_user: self.options.token_user,
            environment: &self.environment,
            config: &config,
        };
        let mut found = search.run(on_tick)?;
        self.warnings.append(&mut found.warnings);
        // A helper that asks a cloud service can fail together with the network.
        if found.user.is_some() || self.credentials.user.is_none() {
            self.credentials = found;
        }
        Ok(())
    }

    /// Searches for engine and credentials again, and waits for an engine that restarts.
    pub(crate) fn renew(&mut self, on_tick: OnTick<'_>) -> Result<(), Error> {
        let config = Config::read(&self.environment);
        if let Backend::Api(engine) = &mut self.backend {
            let (headers, mut warnings) = config.headers();
            self.warnings.append(&mut warnings);
            let until = Instant::now() + RESTART;
            *engine = loop {
                match Engine::ping(&engine.socket, headers.clone(), on_tick) {
                    Err(error) if on_tick().is_break() || Instant::now() >= until => return Err(error),
                    Err(_) => std::thread::sleep(TICK),
                    Ok(engine) => break engine,
                }
            };
        }
        self.config = Some(config);
        if let Err(error) = self.log_in(on_tick) {
            self.warnings.push(format!("{error}; going on with what was there before"));
        }
        Ok(())
    }

    /// Starts the pull.
    pub(crate) fn begin(&self, on_tick: OnTick<'_>) -> Result<Source, Error> {
        self.backend.begin(Self::request(self.options), &self.credentials, &self.environment, on_tick)
    }

    /// Which credentials the engine is sent.
    pub(crate) fn sent(&self) -> Sent {
        match self.credentials.user {
            None => Sent::None,
            Some(_) if self.options.token_file.is_some() => Sent::TokenFile,
            Some(_) => Sent::Docker,
        }
    }

    /// The warnings about configuration and credentials; each is returned once.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        let mut new = std::mem::take(&mut self.warnings);
        new.retain(|warning| !self.reported.contains(warning));
        self.reported.extend(new.iter().cloned());
        new
    }
}
