//! From an image's name to its layers and their sizes, or to its digest, as the engine would find them.
//!
//! Apart from `registry`, which is one host: here is decided which are asked, and what their answers mean.
//!
//! **Invariant:** where the engine's choice cannot be known there is no answer, and nobody else is asked instead.

use std::fs;

use serde::Serialize;

use crate::endpoint::has_hosts_file;
use crate::failure::{Deadline, Failure, Kind, Result};
use crate::manifest::Manifest;
use crate::platform::{Platform, Wanted};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::request::Request;
use crate::web::{self, Web};

#[derive(Serialize)]
pub(crate) struct Sizes {
    /// The digest of what the tag names, as the engine reports it at the end; none where the registry does not say.
    digest: Option<String>,
    /// Of the entry that was taken; none where the image is no index.
    platform: Option<String>,
    /// As the engine shows them, and bytes to transfer; a layer that is in the image twice is here once.
    layers: Vec<(String, u64)>,
    total: u64,
    asked: String,
}

pub(crate) fn sizes(request: &Request, deadline: Deadline) -> Result<Sizes> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let engine = request.engine.as_deref().unwrap_or("linux/amd64");
    let wanted = Wanted::new(request.platform.as_deref(), engine, &request.version, &cpuinfo)?;
    ask(request, deadline, |registry, version| sizes_from(registry, version, &wanted))
}

pub(crate) fn digest(request: &Request, deadline: Deadline) -> Result<String> {
    ask(request, deadline, digest_from)
}

/// Asks the hosts that the engine would ask, in its order, until one answers.
fn ask<T>(request: &Request, deadline: Deadline, ask: impl Fn(&mut Registry<'_>, &str) -> Result<T>) -> Result<T> {
    let reference = Reference::parse(&request.image)?;
    let certs_d = request.certs_d();
    if has_hosts_file(&reference.host, &certs_d) {
        let error = format!("a hosts.toml in {} can send the engine to any host", certs_d.display());
        return Err(Failure::new(Kind::Unsupported, error));
    }
    let mut resolve = |host: &str| web::resolve(host, deadline);
    let mut last = Failure::new(Kind::Network, "the registry has no address");
    for endpoint in request.info.endpoints(&reference.host, &mut resolve)? {
        let web = Web::new(&endpoint, &certs_d, &request.info, deadline)?;
        let repository = &reference.repository;
        let mut registry = Registry { web, endpoint: &endpoint, repository, auth: &request.auth, authorization: None };
        last = match ask(&mut registry, &reference.version) {
            // With credentials, which a mirror does not get from here, the engine may have been let in.
            Err(failure) if endpoint.mirror && failure.kind == Kind::Auth && !request.auth.is_empty() => {
                return Err(failure);
            }
            // The engine goes on to its next endpoint.
            Err(failure) if endpoint.mirror || matches!(failure.kind, Kind::Network | Kind::Tls) => failure,
            answer => return answer,
        };
        deadline.left()?;
    }
    Err(last)
}

fn digest_from(registry: &mut Registry, version: &str) -> Result<String> {
    registry.digest(version)
}

fn sizes_from(registry: &mut Registry, version: &str, wanted: &Wanted) -> Result<Sizes> {
    let (mut digest, mut manifest) = registry.manifest(version)?;
    if version.contains(':') {
        digest = Some(version.to_owned());
    }
    let mut platform = None;
    if let Manifest::Index(list) = &manifest {
        let entry = &list[wanted.choose(list.iter().map(|entry| entry.platform.as_ref()))?];
        platform = entry.platform.as_ref().map(Platform::name);
        manifest = registry.manifest(&entry.digest.clone())?.1;
    }
    let Manifest::Image(list) = manifest else {
        return Err(Failure::new(Kind::Format, "the registry's index has another index in it"));
    };
    let mut layers: Vec<(String, u64)> = Vec::with_capacity(list.len());
    for layer in &list {
        if !layers.iter().any(|(id, _)| id == layer.id()) {
            layers.push((layer.id().to_owned(), layer.size));
        }
    }
    let total = layers.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    Ok(Sizes { digest, platform, layers, total, asked: registry.endpoint.base.clone() })
}
