//! The table of causes: which words of a reason determine its kind.
//!
//! Words are searched for at the beginning of clauses ([`matches()`]), so that those within a name, a path or a
//! server's explanation do not count. In this order decide: who was spoken to at all ([`STAGES`]); the innermost known
//! clause ([`CAUSES`], or an HTTP status); and then words that mean little alone ([`WEAK`]). A cause that arose while a
//! layer was being stored is one of the engine's store, whatever its words are.
//!
//! **Invariant:** all words are in lower case; the first matching row decides.

use crate::pull::failure::reason::{Reason, matches};
use crate::pull::failure::{Kind, device, precise, registry};

/// Kinds, with the words that determine them, a line each ([`words!`]).
pub(crate) type Rows = &'static [(Kind, &'static str)];

/// Who was spoken to, which decides whatever the cause was.
const STAGES: Rows = &[
    (
        Kind::SocketDenied,
        words![
            "*permission denied while trying to connect to the docker",
            "dial unix *docker.sock: connect: permission denied",
            "dial unix *podman.sock: connect: permission denied",
        ],
    ),
    (
        Kind::SocketForbidden,
        words![
            "authorization denied by plugin",
            // Docker's CLI, of a page in the place of the engine's answer.
            "request returned *forbidden for api route",
            "request returned *unauthorized for api route",
        ],
    ),
    (
        Kind::EngineDown,
        words![
            "cannot connect to the docker daemon",
            "is the docker daemon running",
            "error during connect",
            "failed to connect to the docker api",
            "cannot connect to podman",
            "unable to connect to podman",
        ],
    ),
    (
        Kind::EngineGone,
        words![
            "dial unix",
            "ttrpc",
            "containerd is not running",
            "transport is closing",
            "error reading from server",
            "code = unavailable",
            "connection error: desc",
            "failed to dial",
            "server is shutting down",
            "grpc",
            "failed to set up container networking",
            "driver failed programming external connectivity",
            "failed to create endpoint",
        ],
    ),
    (
        Kind::Proxy,
        words![
            "proxyconnect",
            "socks connect",
            "proxy authentication required",
            "proxy authorization required",
            "*407 proxy authentication required",
            "invalid proxy",
        ],
    ),
    // The server's words for a client certificate that it does not accept.
    (Kind::Certificate, words!["remote error: tls: access denied"]),
    (Kind::Store, precise::NO_OVERLAY),
    // The registry's code, and its own disk or database: of the engine's, `unknown` comes last.
    (Kind::ServerError, words!["unknown: no space left on device", "unknown: database is locked"]),
    (Kind::Version, words!["client version"]),
    // The registry API's own code; a gateway has none.
    (Kind::RateLimit, words!["toomanyrequests$"]),
];

/// What Go says of a proxy that refuses CONNECT: the text of its status, and no more. A registry's answer has more.
const REFUSALS: &str = words![
    "forbidden",
    "method not allowed",
    "access denied",
    "blocked",
    "url blocked",
    "bad request",
    "not found",
    "policy denied",
    "authenticationrequired",
];

/// A layer was being extracted or registered: its checksum was right by then.
const STORING: &str = words![
    "failed to register layer",
    "error registering layer",
    "failed to extract",
    "failed to unpack",
    "failed to prepare extraction snapshot",
    "failed to commit snapshot",
    "failed to apply",
    "failed to convert whiteout file",
    "unable to initialize unpacker",
    "apply layer",
    "applylayer",
    "error processing tar file",
    "processing tar file",
    "unpacking failed",
    "adding layer with blob",
    "committing the finished image",
    "mount callback failed",
    "error creating * mount",
    "untar re-exec error",
];

/// What podman was doing when a layer could not be fetched.
const BLOB: &str = words!["reading blob", "fetching blob", "error fetching blob"];

/// What Docker and containerd were doing, of a layer or of the image's configuration.
const DOWNLOAD: &str = words![
    "error pulling image configuration",
    "download failed after*",
    "failed open",
    "unexpected status resolving reader",
];

/// Kinds that stay the same while a layer is stored.
const KEPT: [Kind; 6] = [Kind::DiskFull, Kind::DiskBroken, Kind::Memory, Kind::Version, Kind::Platform, Kind::Damaged];

const CAUSES: [Rows; 2] = [device::CAUSES, registry::CAUSES];

/// Words with which many reasons end, and that mean little alone.
const WEAK: Rows = &[
    // An engine that is being stopped cancels its pulls.
    (Kind::EngineGone, words!["context canceled$"]),
    (
        Kind::Unreachable,
        words![
            "http2",
            "http$",
            "net/http$",
            "eof$",
            "eof (",
            "dial tcp",
            "dial udp",
            "lookup",
            "read tcp",
            "write tcp",
            "read udp",
        ],
    ),
    (Kind::Certificate, words!["tls$"]),
    (
        Kind::Store,
        words![
            "no such file or directory$",
            "permission denied$",
            "operation not permitted$",
            "not a directory$",
            "is a directory$",
            "already exists$",
            "invalid cross-device link$",
            "failed precondition$",
            // A file of the store that lost its content with the power.
            "invalid character x00",
        ],
    ),
    // A page or a text where JSON should be.
    (
        Kind::ServerError,
        words![
            "invalid character",
            "unavailable$",
            "* is unreachable$",
            "unknown: internal error",
            "unexpected end of json input",
            "failed to fetch$"
        ],
    ),
    // The registry's login service was reached, and said something else than that it is not well.
    (Kind::Login, words!["failed to authorize", "requesting bearer token"]),
    (Kind::NotFound, words!["*not found$", "*does not exist$"]),
];

/// The reasons of earlier versions of this program, whose recordings have no kind.
const OUR_OWN: Rows = &[
    (Kind::SocketDenied, words!["permission denied on the engine's socket"]),
    (Kind::NoDocker, words!["no docker command was found"]),
    (Kind::EngineDown, words!["there is no docker socket at", "nothing listens on the docker socket"]),
    (Kind::EngineGone, words!["the engine broke off", "the engine's socket", "the engine at"]),
    (Kind::Stalled, words!["nothing has moved for"]),
    (Kind::Other, words!["docker pull ended with", "the engine ended the pull", "after its final status"]),
];

/// The kind of a reason.
pub(crate) fn kind(reason: &Reason) -> Kind {
    for (kind, patterns) in STAGES {
        if reason.has_any(patterns) {
            return *kind;
        }
    }
    if is_refused_by_proxy(reason) {
        return Kind::Proxy;
    }
    if reason.is_to_engine {
        return Kind::EngineDown;
    }
    let cause = cause(reason);
    if !KEPT.contains(&cause) && reason.has_any(STORING) {
        return Kind::Store;
    }
    match cause {
        // A manifest that names a blob that the registry does not have.
        Kind::NotFound if reason.is_about_blob || reason.has_any(BLOB) => Kind::Damaged,
        Kind::Other if is_signed(reason) => Kind::ServerError,
        cause => cause,
    }
}

/// Whether nothing but the text of a status follows a request.
fn is_refused_by_proxy(reason: &Reason) -> bool {
    let mut clauses = reason.clauses().rev();
    let is_one =
        |words: &str, clause: Option<&str>| clause.is_some_and(|clause| words.lines().any(|word| word == clause));
    is_one(REFUSALS, clauses.next()) && is_one(words!["get _", "head _", "post _"], clauses.next())
}

/// Whether the registry's storage answered 400 without a known reason.
pub(crate) fn is_signed(reason: &Reason) -> bool {
    answered(reason, |status| status == 400)
        && (reason.is_about_blob || reason.has_any(BLOB) || reason.has_any(DOWNLOAD))
        && precise(reason).is_none()
}

/// Whether a registry was asked and answered with a status that no registry answers with.
pub(crate) fn is_no_registry(reason: &Reason) -> bool {
    // A text that begins with the status comes from the engine's address.
    reason
        .clauses()
        .next()
        .is_some_and(|first| !first.starts_with(|c: char| c.is_ascii_digit()) && !first.starts_with("the engine"))
        && answered(reason, |status| Kind::of_status(status) == Kind::Other)
}

/// Whether the reason names such an HTTP status.
fn answered(reason: &Reason, is_it: fn(u16) -> bool) -> bool {
    reason.statuses().flatten().any(is_it)
}

/// The kind of the innermost known clause.
pub(crate) fn cause(reason: &Reason) -> Kind {
    let of = |rows: Rows, tail: &str| {
        rows.iter().find(|(_, patterns)| patterns.lines().any(|pattern| matches(tail, pattern))).map(|(kind, _)| *kind)
    };
    let strong = reason.tails().zip(reason.statuses()).find_map(|(tail, status)| {
        if let Some((kind, ..)) = precise_at(tail, status) {
            return Some(*kind);
        }
        // 400 has as many causes as a request has parts.
        let by_status = || status.filter(|status| *status != 400).map(Kind::of_status);
        CAUSES.iter().find_map(|rows| of(rows, tail)).or_else(by_status)
    });
    strong.or_else(|| reason.tails().find_map(|tail| of(WEAK, tail))).unwrap_or(Kind::Other)
}

/// The innermost cause that has advice of its own.
pub(crate) fn precise(reason: &Reason) -> Option<&'static precise::Row> {
    reason.tails().zip(reason.statuses()).find_map(|(tail, status)| precise_at(tail, status))
}

fn precise_at(tail: &str, status: Option<u16>) -> Option<&'static precise::Row> {
    let is = |word: &str| word.parse().map_or_else(|_| matches(tail, word), |number: u16| status == Some(number));
    precise::ROWS.iter().find(|(_, words, _)| words.lines().any(is))
}

/// Whether a reason is only the text of an HTTP status.
pub(crate) fn is_bare_status(reason: &Reason) -> bool {
    const TEXTS: [&str; 10] = [
        "forbidden$",
        "unauthorized$",
        "not found$",
        "bad gateway$",
        "service unavailable$",
        "gateway timeout$",
        "internal server error$",
        "too many requests$",
        "method not allowed$",
        "request forbidden by administrative rules$",
    ];
    reason.clauses().len() == 1 && {
        let text = reason.tails().next().unwrap_or_default();
        let text = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        text.is_empty() || TEXTS.iter().any(|pattern| matches(text, pattern))
    }
}

/// The kind of a reason of this program, in the words of versions that recorded no kind.
pub(crate) fn of_our_own(text: &str) -> Option<Kind> {
    let text = text.to_ascii_lowercase();
    OUR_OWN.iter().find(|(_, starts)| starts.lines().any(|start| text.starts_with(start))).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_are_in_lower_case_and_stand_once() {
        let rows = [STAGES, CAUSES[0], CAUSES[1], WEAK, OUR_OWN].concat();
        let all: Vec<&str> = rows.iter().flat_map(|(_, patterns)| patterns.lines()).collect();
        let all = [all, precise::ROWS.iter().flat_map(|(_, words, _)| words.lines()).collect()].concat();
        for (at, pattern) in all.iter().enumerate() {
            assert_eq!(*pattern, pattern.to_lowercase());
            let is_twice = all[at + 1..].contains(pattern) && !precise::NO_OVERLAY.contains(pattern);
            assert!(!is_twice, "twice: {pattern}");
        }
    }
}
