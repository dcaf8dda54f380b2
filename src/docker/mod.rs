//! Docker as a client sees it: the Engine on its socket, docker's command line, docker's configuration, image names.
//!
//! **Invariant:** nothing here knows how or where anything is shown.

pub(crate) mod agent;
mod answer;
mod auth;
pub(crate) mod backend;
mod base64;
mod cli;
pub(crate) mod client;
mod config;
mod connection;
pub(crate) mod container;
mod endpoint;
pub(crate) mod engine;
pub(crate) mod environment;
mod http;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod platform;
pub(crate) mod reference;
pub(crate) mod sizes;
pub(crate) mod store;
mod value;

#[cfg(fuzzing)]
pub(crate) use auth::{Found, Search};
#[cfg(fuzzing)]
pub(crate) use config::Config;
#[cfg(fuzzing)]
pub(crate) use connection::Connection;
#[cfg(fuzzing)]
pub(crate) use endpoint::{Endpoint, find as find_endpoint};
#[cfg(fuzzing)]
pub(crate) use http::Error as HttpError;
#[cfg(any(test, fuzzing))]
pub(crate) use http::Response;

pub(crate) use value::RawFields;

use crate::pull::End;

/// The result of one read of a pull, from an engine or from docker's CLI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes arrived, and those of the body were passed on. `more`: there may be more already.
    Bytes {
        more: bool,
    },
    /// Nothing arrived in this tick.
    Tick,
    End(End),
}
