//! Causes that need advice of their own, because the advice of their kind would send a reader the wrong way.
//!
//! No kind is added for them: kinds are part of recordings and state files, and most of these causes are rare. Where a
//! login cannot help, the kind is [`Kind::Other`] although the registry says `denied`.
//!
//! **Invariant:** only data, in lower case; [`causes`](super::causes) says how words are read. Three digits are an HTTP
//! status. These rows are looked at before those of the kinds.

use crate::pull::failure::Kind;

/// A kind, the words or statuses that determine it, and what to do.
pub(crate) type Row = (Kind, &'static str, &'static str);

const WEB_PAGE: &str = "a web page came instead of the registry's answer: check whether this network wants a login of its own (a captive portal), \
     then the web filter or proxy on the way, and the registry's address";

/// What answers is no registry. Of a blob it is the registry's storage.
pub(crate) const NO_REGISTRY: &str = "what answers there is not an image registry, or a gateway before it forbids the call: check the registry's address and port \
     in the image's name, and registry-mirrors and insecure-registries in /etc/docker/daemon.json";

/// A storage server that answers 400 to the address that the registry signed for it. The next pull gets a new address.
pub(crate) const SIGNED: &str = "the registry's storage refused the registry's signed address: pull again; if it stays so, check both clocks (date) and \
     the proxy";

/// A kernel without overlay, as after its update without a reboot. It is no disk that is missing.
pub(crate) const NO_OVERLAY: &str =
    words!["failed to mount overlay: no such device", "error creating overlay mount to *: no such device"];

/// A registry that was asked without TLS at its port for TLS, or without the client certificate that it wants.
const TLS_PORT: &str = words![
    "*client sent an http request",
    "*plain http request was sent",
    "*required ssl certificate",
    "*the ssl certificate error",
];

/// Storage that nobody pays for.
const UNPAID: &str = words!["* billing account", "* requester pays", "* account is disabled"];

/// What is looked at in a body that engines quote because it is not JSON: a body can say anything.
pub(crate) const BODIES: [&str; 2] = [TLS_PORT, UNPAID];

const CLOSED: &str =
    "the registry has closed this account or repository (billing, quota, blackout): ask those who run it";

pub(crate) const ROWS: &[Row] = &[
    (
        Kind::Other,
        words![
            // Harbor. It refuses the image to everybody; of a HEAD only the status is known.
            "projectpolicyviolation",
            "current image with*",
            "the image is not signed",
            "the severity of vulnerability",
            "412",
            // Artifactory with Xray or Curation, Nexus Firewall, Docker Trusted Registry and Docker Desktop.
            "artifact download request rejected",
            "* is blocked by",
            "* pull blocked by",
            "blocked by docker",
            "requested item is quarantined",
            "image is quarantined",
            "* not allowed by your organization",
            // Podman, with its policy.json.
            "source image rejected",
            "open /etc/containers/policy.json",
            "error loading trust policy",
            "no policy.json file found",
            "unable to load policy",
            "invalid policy in",
            // A verifier of containerd.
            "image verifier blocked",
            // Docker Content Trust.
            "* trust data",
            "could not validate the path to a trusted root",
            "trust data",
            "trust pinning",
            // Other registries and their checks.
            "*signature verification failed",
            "cosign verification failed",
            "failed to verify image signature",
            "no matching signatures",
            "policy violation",
            "* admission policy",
            "* policy blocked",
            "* not allowed by policy",
            "* by your administrator*",
            "* in the allowlist",
            // Podman's registries.conf.
            "* is blocked in",
        ],
        "a policy forbids this image, and no login helps: one of the registry (scanned, signed, quarantined) or of this host \
         (/etc/containers/policy.json, content trust); have the image scanned or signed, or the policy changed",
    ),
    (
        Kind::Other,
        words![
            "client with ip",
            "* allow list",
            "* not whitelisted",
            "public network access",
            "your ip address",
            "access from your ip",
            "access denied by network rules"
        ],
        "the registry's firewall does not admit this device's address: have it allowed there; no login helps",
    ),
    (
        Kind::Other,
        words![
            "402",
            "payment required",
            "* has been disabled",
            "* has been suspended",
            "* is suspended",
            // Artifactory, of a repository that its administrators took out of service.
            "* is blacked out",
            "* billing to be enabled",
            "* billing-related error",
            "quota exceeded$",
            "* over its quota",
            "* exceeded *quota",
            "*quota has been exceeded",
            "* exceed the configured",
        ],
        CLOSED,
    ),
    (Kind::Other, UNPAID, CLOSED),
    (
        Kind::Other,
        words![
            "the operation is unsupported",
            "method not allowed$",
            "unsupported protocol scheme",
            "could not resolve digest",
        ],
        NO_REGISTRY,
    ),
    (
        Kind::Other,
        words!["413", "431", "request entity too large", "payload too large"],
        "a proxy, web filter or gateway on the way to the registry does not pass what is so large: have its limit raised",
    ),
    (
        Kind::Other,
        words!["451", "unavailable for legal reasons"],
        "this image may not be delivered here for legal reasons: ask its publisher, or pull it from another registry",
    ),
    (
        Kind::Unreachable,
        words!["511", "network authentication required"],
        "this network wants a login of its own (a captive portal) before it lets anything through: log in there, then pull again",
    ),
    (
        Kind::ServerError,
        words!["507", "insufficient storage"],
        "the registry's own storage is full, not this device's: tell those who run the registry",
    ),
    (
        Kind::ServerError,
        words![
            "invalid character <",
            "error parsing http 200",
            "statuscode: 200",
            "200 ok",
            "text/html",
            "missing or empty content-*",
            "stopped after 10 redirects",
        ],
        WEB_PAGE,
    ),
    // The page was stored as if it were the manifest.
    (Kind::Damaged, words!["unexpected media type text/html"], WEB_PAGE),
    (
        // A registry refuses in JSON, whose words the engine passes on.
        Kind::Login,
        words![
            "error parsing http 403",
            "status 403 trying to pull",
            "statuscode: 403",
            // Containerd, when the registry's manifest is at hand.
            "failed open: unexpected status from get request to _: 403",
            "failed open: unexpected status code _: 403",
        ],
        "a web page or a storage server refused, not the registry itself: check for a web filter, firewall or regional block on the \
         way, and this device's clock (date); if there is none, check that the login may pull the image (docker login)",
    ),
    (
        Kind::Login,
        words!["error getting credentials"],
        "docker's credential helper failed: check credsStore and credHelpers in ~/.docker/config.json, and that the helper is installed",
    ),
    (
        Kind::Certificate,
        words!["certificate is valid for", "certificate is not valid for any names"],
        "another server answers in the registry's place (a captive portal, a web filter, a wrong address or DNS), or the certificate \
         does not name the registry: look at it (openssl s_client -connect HOST:443)",
    ),
    (
        Kind::Certificate,
        TLS_PORT,
        "this port speaks TLS: take it out of insecure-registries in /etc/docker/daemon.json; it may want a client certificate",
    ),
    (
        Kind::Damaged,
        words![
            "docker image format v1",
            "deprecation notice",
            "media type * is no longer supported",
            "manifest schema v1 unsupported",
            "unsupported schema version",
            "pulling docker images with manifest v2 schema 1",
        ],
        "this image has an outdated format (schema 1): build and push it anew",
    ),
    (Kind::Store, NO_OVERLAY, "the kernel lacks overlay: reboot this device if its kernel was updated"),
    (
        Kind::Store,
        words!["max depth exceeded"],
        "this image has more layers than the engine can stack: build it with fewer",
    ),
    (
        Kind::Store,
        words!["lsetxattr"],
        "this image has file attributes that the engine's file system refuses: build it anew with a newer tool, or update Docker",
    ),
    (
        Kind::Store,
        words![
            "failed to lchown * (try increasing",
            "*potentially insufficient uids",
            "*cannot be mapped to a host id"
        ],
        "the image's files belong to users that this engine, run without root, has no ids for: add more in /etc/subuid and \
         /etc/subgid, then restart the engine (podman: podman system migrate)",
    ),
];
