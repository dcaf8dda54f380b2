//! The two ways to pull an image: over the engine's socket, or by docker's CLI if the socket cannot be used.
//!
//! **Invariant:** once an engine has answered, nothing falls back. A pull that would ignore what docker's own client is
//! configured to do (verify signatures) is refused.

use crate::docker::Read;
use crate::docker::auth::Found;
use crate::docker::cli::{self, Docker, PrivateConfig};
use crate::docker::config::{Config, Headers};
use crate::docker::connection::Connection;
use crate::docker::endpoint::{self, Endpoint};
use crate::docker::engine::{Engine, Error};
use crate::docker::environment::Environment;
use crate::docker::reference::Reference;
use crate::os::wait::OnTick;
use crate::pull::End;
use crate::pull::failure::{Failure, Kind};
use std::ops::ControlFlow;

/// What is to be pulled, and from which engine.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) platform: Option<&'a str>,
    /// The value of `--host`.
    pub(crate) host: Option<&'a str>,
}

pub(crate) enum Backend {
    Api(Engine),
    Cli {
        reason: String,
        /// The engine's address, for a docker that would choose another one itself.
        address: String,
    },
}

impl Backend {
    pub(crate) fn find(
        request: Request<'_>,
        environment: &Environment,
        config: &Config,
        headers: Headers,
        on_tick: OnTick<'_>,
    ) -> Result<Self, Error> {
        let socket = match endpoint::find(request.host, environment, config) {
            Endpoint::Other { reason, address } => return Ok(Self::Cli { reason, address }),
            Endpoint::Unix(socket) => socket,
        };
        match Engine::ping(&socket, headers, on_tick) {
            // A digest verifies itself: docker does not check signatures of such a reference, either.
            Ok(_) if environment.content_trust && request.reference.digest.is_none() => {
                Err(Error::Refused(Failure::own(
                    Kind::Other,
                    "DOCKER_CONTENT_TRUST is set, and this program cannot check signatures; \
                 set DOCKER_CONTENT_TRUST=0, or pull with docker's own client (docker pull)",
                )))
            }
            Ok(engine) => Ok(Self::Api(engine)),
            Err(Error::Connect(reason)) => Ok(Self::Cli { reason, address: format!("unix://{}", socket.display()) }),
            Err(error) => Err(error),
        }
    }

    /// Starts the pull.
    pub(crate) fn begin(
        &self,
        request: Request<'_>,
        credentials: &Found,
        environment: &Environment,
        on_tick: OnTick<'_>,
    ) -> Result<Source, Error> {
        match self {
            Self::Api(engine) => {
                engine.pull(request.reference, request.platform, &credentials.header, on_tick).map(Source::Api)
            }
            Self::Cli { address, .. } => {
                let config = credentials.docker_config.as_deref();
                let directory = environment.config_directory();
                let config = config.map(|config| PrivateConfig::create(config, directory.as_deref())).transpose();
                let config = config.map_err(|reason| Failure::own(Kind::Other, reason));
                let docker = config.and_then(|config| {
                    let request = cli::Request {
                        image: &request.reference.to_string(),
                        platform: request.platform,
                        // With another configuration directory docker would not find the user's current context.
                        host: request.host.or(config.is_some().then_some(address)),
                        config,
                    };
                    Docker::start(request, environment)
                });
                docker.map(|docker| Source::Cli(Box::new(docker))).map_err(Error::Refused)
            }
        }
    }
}

/// A pull that was started.
pub(crate) enum Source {
    Api(Connection),
    Cli(Box<Docker>),
}

impl Source {
    /// Waits at most one tick for bytes, and passes them to `body`.
    pub(crate) fn read(&mut self, body: &mut dyn FnMut(&[u8])) -> Read {
        match self {
            Self::Api(connection) => connection.read(body),
            Self::Cli(docker) => docker.read(body),
        }
    }

    /// To be called on every tick after a signal. Breaks with the end once there is nothing left to wait for.
    pub(crate) fn stop(&mut self, signal: i32) -> ControlFlow<End> {
        match self {
            Self::Api(_) => ControlFlow::Break(End::Signal(signal)),
            Self::Cli(docker) => docker.stop(signal),
        }
    }
}
