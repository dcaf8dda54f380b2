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
            "failed to copy: httpreadseeker",
            "unexpected eof reading",
            "invalid checksum",
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
