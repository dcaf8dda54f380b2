//! Why a pull failed, told from the words of the reason, and what to do about it: one table.
//!
//! Engines have no error codes: the HTTP status of a missing login is 401, 404 or 500 by the engine's version, and half
//! of all errors come after HTTP 200. The words are all there is. A replay has no more than these either.
//!
//! **Invariant:** pure; a reason that no row knows is [`Kind::Other`] and gets no advice rather than a wrong one.

/// What is wrong, as far as a reader can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SocketDenied,
    NoDocker,
    EngineDown,
    EngineGone,
    Version,
    Stalled,
    DiskFull,
    DiskBroken,
    Memory,
    RateLimit,
    Platform,
    Damaged,
    PlainHttp,
    Certificate,
    BadReference,
    Login,
    NotFound,
    Unreachable,
    ServerError,
    Other,
}

/// The words by which a kind is known, lower case. The first row that has words found in the reason decides, so what
/// is specific comes first: a missing blob is damage and not an unknown image, though both are «not found».
const WORDS: &[(Kind, &[&str])] = &[
    (
        Kind::SocketDenied,
        &["permission denied on the engine's socket", "permission denied while trying to connect to the docker"],
    ),
    (Kind::NoDocker, &["no docker command was found"]),
    (
        Kind::EngineDown,
        &[
            "cannot connect to the docker daemon",
            "is the docker daemon running",
            "there is no docker socket at",
            "nothing listens on the docker socket",
        ],
    ),
    (Kind::EngineGone, &["the engine broke off", "the engine's socket"]),
    (Kind::Version, &["client version"]),
    (Kind::Stalled, &["nothing has moved for"]),
    (Kind::DiskFull, &["no space left on device", "disk quota exceeded"]),
    (Kind::DiskBroken, &["read-only file system", "input/output error", "structure needs cleaning"]),
    (Kind::Memory, &["cannot allocate memory", "out of memory"]),
    (Kind::RateLimit, &["toomanyrequests", "too many requests", "rate limit"]),
    (
        Kind::Platform,
        &[
            "no matching manifest",
            "does not match the specified platform",
            "does not provide the specified platform",
            "no match for platform",
            "no image found in manifest list",
            "no image found in image index",
        ],
    ),
    (
        Kind::Damaged,
        &[
            "layer verification failed",
            "unknown blob",
            "blob unknown",
            "unexpected commit digest",
            "could not fetch content descriptor",
            "unexpected eof reading",
            "invalid checksum",
            "digest did not match",
            "gzip: invalid header",
            "manifest invalid",
            "error fetching blob",
        ],
    ),
    (
        Kind::PlainHttp,
        &["server gave http response to https client", "first record does not look like a tls handshake"],
    ),
    (Kind::Certificate, &["x509", "certificate"]),
    (Kind::BadReference, &["invalid reference", "repository name must be", "repository name must have"]),
    (
        Kind::Login,
        &[
            "no basic auth credentials",
            "unauthorized",
            "authentication required",
            "access denied",
            "access to the resource is denied",
            "authorization failed",
            "denied:",
            "403 forbidden",
            "incorrect username or password",
            "bearer token",
        ],
    ),
    (Kind::NotFound, &["manifest unknown", "name unknown", "not found", "no such image", "does not exist"]),
    (
        Kind::Unreachable,
        &[
            "connection refused",
            "connection reset",
            "no such host",
            "i/o timeout",
            "tls handshake timeout",
            "network is unreachable",
            "no route to host",
            "client.timeout",
            "context deadline exceeded",
            "deadline exceeded",
            "server misbehaving",
            "name resolution",
            "dial tcp",
            "broken pipe",
            "connection timed out",
            "request canceled",
            "unexpected eof",
            ": eof",
        ],
    ),
    (
        Kind::ServerError,
        &[
            "received unexpected http status: 5",
            "unexpected status code 5",
            "unexpected status: 5",
            "internal server error",
            "bad gateway",
            "service unavailable",
            "gateway timeout",
        ],
    ),
];

impl Kind {
    /// The kind of a reason in an engine's, docker's or our own words.
    pub(crate) fn of(reason: &str) -> Self {
        let reason = reason.to_ascii_lowercase();
        let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| reason.contains(word)));
        known.map_or(Self::Other, |&(kind, _)| kind)
    }

    /// What to do, for the line behind 💡; `registry` is the host that the image comes from, where it is known.
    pub(crate) fn advice(self, registry: Option<&str>) -> Option<String> {
        Some(match self {
            Self::SocketDenied => "run this as root, or let this user join the docker group: sudo usermod -aG docker $USER, then log in again".into(),
            Self::NoDocker => "install Docker (on Debian: sudo apt-get install docker.io), or name the engine's socket with --host unix://PATH".into(),
            Self::EngineDown => "start Docker: sudo systemctl start docker, then look at: sudo systemctl status docker".into(),
            Self::EngineGone => "look at Docker: sudo systemctl status docker and sudo journalctl -u docker; then pull again".into(),
            Self::Version => "this engine is of another age: update Docker, or this program".into(),
            Self::Stalled => "look at the network and at the registry, then pull again".into(),
            Self::DiskFull => "make room where Docker keeps its images (df -h /var/lib/docker; docker image prune), then pull again".into(),
            Self::DiskBroken => "look at the disk or SD card that Docker keeps its images on: sudo dmesg | tail".into(),
            Self::Memory => "free memory on this device, then pull again".into(),
            Self::RateLimit => "the registry limits how much may be pulled: wait, or log in for a higher limit (docker login)".into(),
            Self::Platform => "this image is not built for this machine: check the tag, or name another platform with --platform OS/ARCH".into(),
            Self::Damaged => "the registry holds a damaged or incomplete image: push it again".into(),
            Self::PlainHttp => "this registry speaks plain HTTP: list it under insecure-registries in /etc/docker/daemon.json".into(),
            Self::Certificate => "check this device's clock (date) first, then the registry's certificate and the ones trusted here".into(),
            Self::BadReference => "write the image as [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST, its name in lower case".into(),
            Self::Login => match registry {
                Some(registry) => format!("log in as the user that runs this: docker login {registry}; or check that this login may pull the image"),
                None => "log in to the registry as the user that runs this (docker login); or check that this login may pull the image".into(),
            },
            Self::NotFound => "check the image's name and tag, and that it was pushed".into(),
            Self::Unreachable => match registry {
                Some(registry) => format!("check that this device reaches the registry {registry}: network, DNS, firewall, and that it is up"),
                None => "check that this device reaches the registry: network, DNS, firewall, and that it is up".into(),
            },
            Self::ServerError => "the registry has trouble of its own: try again later".into(),
            Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, expected: Kind) {
        assert_eq!(Kind::of(reason), expected, "{reason}");
    }

    #[test]
    fn our_own_words_and_dockers_tell_the_kind() {
        check("permission denied on the engine's socket /var/run/docker.sock", Kind::SocketDenied);
        check("no docker command was found on PATH (/bin)", Kind::NoDocker);
        check(crate::pull::BROKEN_OFF, Kind::EngineGone);
        check("the engine broke off before it answered", Kind::EngineGone);
        check("the engine broke off with a malformed answer: connection refused", Kind::EngineGone);
        check("nothing has moved for 600s", Kind::Stalled);
        check("nothing has moved for too long", Kind::Stalled);
        check("after its final status the engine went on with something that is not understood", Kind::Other);
        check("docker pull ended with exit code 1", Kind::Other);
        check(
            "Got permission denied while trying to connect to the Docker daemon socket at unix:///x",
            Kind::SocketDenied,
        );
        check("permission denied while trying to connect to the docker API at unix:///x", Kind::SocketDenied);
        check(
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?",
            Kind::EngineDown,
        );
        check("", Kind::Other);
        check("something new", Kind::Other);
    }

    /// The graphdriver's, the containerd store's, podman's.
    #[test]
    fn the_words_of_engines_tell_the_kind() {
        check("manifest for 127.0.0.1:5005/three:nope not found: manifest unknown: manifest unknown", Kind::NotFound);
        check(
            r#"failed to resolve reference "127.0.0.1:5007/three:nope": 127.0.0.1:5007/three:nope: not found"#,
            Kind::NotFound,
        );
        check("reading manifest latest in 127.0.0.1:5005/nope: manifest unknown: manifest unknown", Kind::NotFound);
        check(
            r#"Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused"#,
            Kind::Unreachable,
        );
        check(
            r#"Get "https://nosuchhost.invalid/v2/": dial tcp: lookup nosuchhost.invalid on 127.0.0.1:53: no such host"#,
            Kind::Unreachable,
        );
        check(
            r#"failed to do request: Head "http://127.0.0.1:5999/v2/nope/manifests/latest": dial tcp 127.0.0.1:5999: connect: connection refused"#,
            Kind::Unreachable,
        );
        check(
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            Kind::Unreachable,
        );
        check(
            "failed to copy: read tcp 127.0.0.1:33146->127.0.0.1:5006: read: connection reset by peer",
            Kind::Unreachable,
        );
        check("unexpected EOF", Kind::Unreachable);
        check(r#"Get "http://127.0.0.1:5001/v2/": EOF"#, Kind::Unreachable);
        check("net/http: TLS handshake timeout", Kind::Unreachable);
        check(r#"Head "http://127.0.0.1:5001/v2/tiny/manifests/latest": no basic auth credentials"#, Kind::Login);
        check("unauthorized: authentication required", Kind::Login);
        check(
            r#"failed to resolve reference "127.0.0.1:5001/tiny:latest": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"#,
            Kind::Login,
        );
        check(
            "unexpected status from HEAD request to http://127.0.0.1:5001/v2/tiny/manifests/latest: 401 Unauthorized",
            Kind::Login,
        );
        check(
            "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Kind::Login,
        );
        check(
            "initializing source docker://127.0.0.1:5001/tiny:latest: reading manifest latest in 127.0.0.1:5001/tiny: unauthorized: authentication required",
            Kind::Login,
        );
        check("invalid reference format: repository name must be lowercase", Kind::BadReference);
        check("invalid reference format", Kind::BadReference);
        check("no matching manifest for linux/amd64 in the manifest list entries", Kind::Platform);
        check(
            "image with reference 127.0.0.1:5005/tiny was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64",
            Kind::Platform,
        );
        check("failed to resolve reference: no match for platform in manifest: not found", Kind::Platform);
        check(
            "choosing an image from manifest list docker://a: no image found in manifest list for architecture arm64",
            Kind::Platform,
        );
        check(
            "failed to register layer: Error processing tar file(exit status 1): write /c: no space left on device",
            Kind::DiskFull,
        );
        check("failed to register layer: write /a: read-only file system", Kind::DiskBroken);
        check("failed to register layer: open /a: input/output error", Kind::DiskBroken);
        check("fork/exec /usr/bin/unpigz: cannot allocate memory", Kind::Memory);
        check(
            "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
            Kind::RateLimit,
        );
        check("client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade", Kind::Version);
        check("client version 1.99 is too new. Maximum supported API version is 1.41", Kind::Version);
        check(r#"Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client"#, Kind::PlainHttp);
        check(
            r#"Get "https://127.0.0.1/v2/": x509: certificate has expired or is not yet valid: current time 1970-01-01T00:00:10Z is before 2024"#,
            Kind::Certificate,
        );
        check(
            r#"Get "https://127.0.0.1/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
            Kind::Certificate,
        );
        check("received unexpected HTTP status: 503 Service Unavailable", Kind::ServerError);
        check("unexpected status from GET request to http://127.0.0.1/v2/: 502 Bad Gateway", Kind::ServerError);
    }

    /// The containerd store opens both with the same words.
    #[test]
    fn a_damaged_image_is_told_from_a_registry_that_has_gone_between_two_layers() {
        check(
            r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "http://127.0.0.1:5007/v2/eight/blobs/sha256:1e": dial tcp 127.0.0.1:5007: connect: connection refused"#,
            Kind::Unreachable,
        );
        check(
            "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to http://127.0.0.1:5007/v2/eight/blobs/sha256:1e: 503 Service Unavailable",
            Kind::ServerError,
        );
        check("unknown blob", Kind::Damaged);
        check(
            "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:12 (application/x) from remote: not found",
            Kind::Damaged,
        );
        check("filesystem layer verification failed for digest sha256:12414bf0d23c", Kind::Damaged);
        check(
            r#"writing blob: storing blob to file "/var/tmp/storage4159141887/2": happened during read: Digest did not match, expected sha256:62, got sha256:0a"#,
            Kind::Damaged,
        );
        check(
            r#"writing blob: storing blob to file "/var/tmp/container_images_storage1427238508/1": gzip: invalid header"#,
            Kind::Damaged,
        );
    }

    #[test]
    fn every_kind_but_the_last_has_its_advice() {
        for (kind, words) in WORDS {
            let advice = kind.advice(Some("127.0.0.1:5000")).unwrap_or_default();
            assert!(advice.len() > 20 && !advice.ends_with('.'), "{kind:?}: {advice}");
            assert!(advice.is_ascii(), "{advice}");
            assert!(kind.advice(None).is_some(), "{kind:?}");
            assert!(words.iter().all(|word| *word == word.to_lowercase()), "{words:?}");
        }
        assert_eq!(Kind::Other.advice(None), None);
        let named =
            |kind: Kind| kind.advice(Some("127.0.0.1:5000")).is_some_and(|text| text.contains("127.0.0.1:5000"));
        assert!(named(Kind::Login) && named(Kind::Unreachable));
    }
}
