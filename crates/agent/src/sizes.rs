//! Finds an image's layers and their sizes, or its digest, as the engine would find them.
//!
//! Separate from `registry`, which handles one host: this module decides which hosts are asked, and what their answers
//! mean.
//!
//! **Invariant:** if the engine's choice cannot be known there is no answer, and no other host is asked instead.

use std::fs;

use serde::Serialize;

use crate::endpoint::rule_out_hosts_files;
use crate::failure::{Deadline, Failure, Kind, Result};
use crate::manifest::Manifest;
use crate::platform::{Platform, Wanted, is_before_23};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::request::Request;
use crate::web::{self, Web};

#[derive(Serialize)]
pub(crate) struct Sizes {
    /// The digest of the tag, as the engine reports it at the end.
    digest: String,
    /// The platform of the chosen entry; `None` if the image has no index.
    platform: Option<String>,
    /// Each layer's id as engines show it, and its bytes to download; a layer that occurs twice in the image is listed
    /// once.
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

/// Asks the hosts that the engine would ask, in the same order, until one answers.
fn ask<T>(request: &Request, deadline: Deadline, ask: impl Fn(&mut Registry<'_>, &str) -> Result<T>) -> Result<T> {
    let reference = Reference::parse(&request.image)?;
    let certs_d = request.certs_d();
    // Older engines know no such files.
    if !is_before_23(&request.version) {
        rule_out_hosts_files(&reference.host, &certs_d)?;
    }
    let mut resolve = |host: &str| web::resolve(host, deadline);
    let mut last = Failure::new(Kind::Network, "the registry has no address");
    for endpoint in request.info.endpoints(&reference.host, &mut resolve)? {
        let web = Web::new(&endpoint, &certs_d, &request.info, deadline)?;
        let repository = &reference.repository;
        let mut registry = Registry { web, endpoint: &endpoint, repository, auth: &request.auth, authorization: None };
        last = match ask(&mut registry, &reference.version) {
            // The engine may have access to the mirror with its credentials, which a mirror does not get from here.
            Err(failure) if endpoint.mirror && failure.kind == Kind::Auth && !request.auth.is_empty() => {
                return Err(failure);
            }
            // The engine continues with its next endpoint, too; but not by http where https has answered.
            Err(failure) if endpoint.mirror => failure,
            Err(failure) if matches!(failure.kind, Kind::Network | Kind::Tls) && !registry.web.has_answered() => {
                failure
            }
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
    let (digest, mut manifest) = registry.manifest(version)?;
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
            layers.push((layer.id().to_owned(), layer.size.unwrap_or_default()));
        }
    }
    let total = layers.iter().fold(0, |total: u64, (_, size)| total.saturating_add(*size));
    Ok(Sizes { digest, platform, layers, total, asked: registry.endpoint.base.clone() })
}
