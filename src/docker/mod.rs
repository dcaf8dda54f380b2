//! Docker as a client sees it: the Engine on its socket, docker's command line, docker's configuration, image names.
//!
//! **Invariant:** nothing here knows what is shown, or where.

pub(crate) mod auth;
mod base64;
pub(crate) mod cli;
pub(crate) mod endpoint;
pub(crate) mod engine;
pub(crate) mod environment;
mod http;
pub(crate) mod inspect;
pub(crate) mod reference;

#[cfg(fuzzing)]
pub(crate) use http::Error as HttpError;
#[cfg(any(test, fuzzing))]
pub(crate) use http::Response;
