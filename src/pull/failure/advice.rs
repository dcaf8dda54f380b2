//! What to do about a failure: the text after 💡.
//!
//! **Invariant:** advice depends only on the kind, the words of the cause (`precise`), the registry, whether credentials were
//! sent and where the engine is, of which a replay knows as much as the pull; plain ASCII.

use crate::pull::failure::reason::Reason;
use crate::pull::failure::{Failure, Kind, PULL_CALL, Sent, causes, precise};

/// How docker's CLI names an engine that it reaches over a network.
const REMOTE: [&str; 4] = ["daemon at tcp://", "daemon at ssh://", "API at tcp://", "API at ssh://"];

impl Failure {
    /// The advice; `registry` is the host that the image comes from, if it is known.
    pub(crate) fn advice(&self, registry: Option<&str>) -> Option<String> {
        use Kind::{
            BadReference, Damaged, EngineDown, Login, NoDocker, NotFound, Other, Platform, RateLimit, ServerError,
        };
        let is_remote = self.is_remote || REMOTE.iter().any(|address| self.text.contains(address));
        let advice = match self.kind {
            EngineDown if is_remote => {
                return Some(
                    "the engine is on another host: check that Docker runs and listens there, and that this device reaches it \
                     (DOCKER_HOST, docker context, network, firewall)"
                        .into(),
                );
            }
            kind => {
                let reason = Reason::new(&self.text);
                match causes::precise(&reason) {
                    Some((of, _, advice)) if *of == kind => (*advice).into(),
                    _ if kind == ServerError && causes::is_signed(&reason) => precise::SIGNED.into(),
                    _ if kind == Other && causes::is_no_registry(&reason) => precise::NO_REGISTRY.into(),
                    _ => self.advice_here(registry)?,
                }
            }
        };
        // What is to be looked at there; the rest is the image's or the registry's.
        let is_anywhere = matches!(
            self.kind,
            BadReference | Damaged | Login | NoDocker | NotFound | Platform | RateLimit | ServerError
        );
        Some(if is_remote && !is_anywhere { format!("on the engine's host: {advice}") } else { advice })
    }

    /// What to do where the engine is on this device.
    fn advice_here(&self, registry: Option<&str>) -> Option<String> {
        Some(match self.kind {
            Kind::SocketDenied => "run this as root, or let this user join the docker group: sudo usermod -aG docker $USER, then log in again".into(),
            Kind::SocketForbidden => format!(
                "what stands before the engine's socket (a socket proxy or an authorization plugin) forbids the call: \
                 allow {PULL_CALL} there (of docker-socket-proxy: IMAGES=1 and POST=1)"
            ),
            Kind::NoDocker => "install Docker (on Debian: sudo apt-get install docker.io), or name the engine's socket with --host unix://PATH".into(),
            Kind::EngineDown => "start Docker: sudo systemctl start docker, then look at: sudo systemctl status docker".into(),
            Kind::EngineGone => "look at Docker: sudo systemctl status docker and sudo journalctl -u docker; then pull again".into(),
            Kind::Version => "this engine is of another age: update Docker, or this program".into(),
            Kind::Stalled => "look at the network and at the registry, then pull again".into(),
            Kind::DiskFull => "make room where Docker keeps its images (df -h /var/lib/docker; docker image prune), then pull again".into(),
            Kind::DiskBroken => "look at the disk or SD card that Docker keeps its images on: sudo dmesg | tail".into(),
            Kind::Memory => "free memory on this device, then pull again".into(),
            Kind::Store => "the engine could not store the image: look at free space and memory first (df -h /var/lib/docker; free -m), \
                            then remove what is broken (docker image rm IMAGE) and restart Docker: sudo systemctl restart docker; \
                            a card that lost power may be damaged: sudo dmesg | tail"
                .into(),
            Kind::RateLimit => "the registry limits how much may be pulled: wait, or log in for a higher limit (docker login)".into(),
            Kind::Platform => "this image is not built for this machine: check the tag, or name another platform with --platform OS/ARCH".into(),
            Kind::Damaged => "the registry holds a damaged or incomplete image: push it again".into(),
            Kind::Proxy => "check the proxy that the engine itself uses, its address, login and certificate: \
                            systemctl show docker -p Environment, and proxies in /etc/docker/daemon.json; then sudo systemctl restart docker"
                .into(),
            Kind::PlainHttp => "this registry speaks plain HTTP: list it under insecure-registries in /etc/docker/daemon.json".into(),
            Kind::Certificate => "check this device's clock (date) first, then the registry's certificate and the ones trusted here".into(),
            Kind::BadReference => "write the image as [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST, its name in lower case".into(),
            Kind::Login => self.login(registry),
            Kind::NotFound => "check the image's name and tag, and that it was pushed".into(),
            Kind::Unreachable => match registry {
                Some(registry) => format!("check that this device reaches the registry {registry}: network, DNS, firewall, and that it is up"),
                None => "check that this device reaches the registry: network, DNS, firewall, and that it is up".into(),
            },
            Kind::ServerError => "the registry has trouble of its own: try again later".into(),
            Kind::Other => return None,
        })
    }

    fn login(&self, registry: Option<&str>) -> String {
        // Docker Hub's credentials have another key than its host: `docker logout docker.io` does not remove them.
        let name = registry.filter(|registry| *registry != "docker.io").map(|registry| format!(" {registry}"));
        let name = name.unwrap_or_default();
        match (self.credentials, registry) {
            // Docker's own are not asked for then.
            (Sent::TokenFile, _) => format!(
                "log in anew as the user that runs this: docker login{name}, and leave --token-file out; \
                 or put a valid token into that file"
            ),
            // Wrong credentials fail even for an image that needs none.
            (Sent::Docker, Some(_)) => format!(
                "log in anew as the user that runs this: docker login{name}; or, if the image is public, \
                 forget the credentials that were refused: docker logout{name}"
            ),
            (_, Some(registry)) => format!("log in as the user that runs this: docker login {registry}; or check that this login may pull the image"),
            (_, None) => "log in to the registry as the user that runs this (docker login); or check that this login may pull the image".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, expected: &str) {
        let advice = Failure::own(kind, "x").advice(Some("reg.example:5000")).unwrap_or_default();
        assert_eq!(advice, expected, "{kind:?}");
        assert!(advice.is_ascii() && !advice.ends_with('.'), "{advice}");
    }

    #[test]
    fn each_kind_has_its_advice() {
        check(
            Kind::SocketDenied,
            "run this as root, or let this user join the docker group: sudo usermod -aG docker $USER, then log in again",
        );
        check(
            Kind::SocketForbidden,
            "what stands before the engine's socket (a socket proxy or an authorization plugin) forbids the call: allow POST /images/create there (of docker-socket-proxy: IMAGES=1 and POST=1)",
        );
        check(
            Kind::NoDocker,
            "install Docker (on Debian: sudo apt-get install docker.io), or name the engine's socket with --host unix://PATH",
        );
        check(
            Kind::EngineDown,
            "start Docker: sudo systemctl start docker, then look at: sudo systemctl status docker",
        );
        check(
            Kind::EngineGone,
            "look at Docker: sudo systemctl status docker and sudo journalctl -u docker; then pull again",
        );
        check(Kind::Version, "this engine is of another age: update Docker, or this program");
        check(Kind::Stalled, "look at the network and at the registry, then pull again");
        check(
            Kind::DiskFull,
            "make room where Docker keeps its images (df -h /var/lib/docker; docker image prune), then pull again",
        );
        check(Kind::DiskBroken, "look at the disk or SD card that Docker keeps its images on: sudo dmesg | tail");
        check(Kind::Memory, "free memory on this device, then pull again");
        check(
            Kind::Store,
            "the engine could not store the image: look at free space and memory first (df -h /var/lib/docker; free -m), then remove what is broken (docker image rm IMAGE) and restart Docker: sudo systemctl restart docker; a card that lost power may be damaged: sudo dmesg | tail",
        );
        check(
            Kind::RateLimit,
            "the registry limits how much may be pulled: wait, or log in for a higher limit (docker login)",
        );
        check(
            Kind::Platform,
            "this image is not built for this machine: check the tag, or name another platform with --platform OS/ARCH",
        );
        check(Kind::Damaged, "the registry holds a damaged or incomplete image: push it again");
        check(
            Kind::Proxy,
            "check the proxy that the engine itself uses, its address, login and certificate: systemctl show docker -p Environment, and proxies in /etc/docker/daemon.json; then sudo systemctl restart docker",
        );
        check(
            Kind::PlainHttp,
            "this registry speaks plain HTTP: list it under insecure-registries in /etc/docker/daemon.json",
        );
        check(
            Kind::Certificate,
            "check this device's clock (date) first, then the registry's certificate and the ones trusted here",
        );
        check(
            Kind::BadReference,
            "write the image as [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST, its name in lower case",
        );
        check(
            Kind::Login,
            "log in as the user that runs this: docker login reg.example:5000; or check that this login may pull the image",
        );
        check(Kind::NotFound, "check the image's name and tag, and that it was pushed");
        check(
            Kind::Unreachable,
            "check that this device reaches the registry reg.example:5000: network, DNS, firewall, and that it is up",
        );
        check(Kind::ServerError, "the registry has trouble of its own: try again later");
        assert_eq!(Failure::own(Kind::Other, "x").advice(Some("reg.example")), None);
    }

    #[test]
    fn without_a_registry_the_advice_names_none() {
        for (kind, expected) in [
            (
                Kind::Login,
                "log in to the registry as the user that runs this (docker login); or check that this login may pull the image",
            ),
            (
                Kind::Unreachable,
                "check that this device reaches the registry: network, DNS, firewall, and that it is up",
            ),
        ] {
            assert_eq!(Failure::own(kind, "x").advice(None).as_deref(), Some(expected));
        }
    }

    #[test]
    fn advice_about_a_remote_engine_says_so() {
        let check = |kind, expected: &str| {
            let failure = Failure { is_remote: true, ..Failure::own(kind, "x") };
            assert_eq!(failure.advice(Some("reg.example")).as_deref(), Some(expected));
        };
        let down = "the engine is on another host: check that Docker runs and listens there, and that this device reaches it (DOCKER_HOST, docker context, network, firewall)";
        check(Kind::EngineDown, down);
        check(Kind::Memory, "on the engine's host: free memory on this device, then pull again");
        check(Kind::NotFound, "check the image's name and tag, and that it was pushed");
        // In a bare capture docker's words are all there is.
        let reported = Failure::reported(
            "Cannot connect to the Docker daemon at tcp://10.0.0.2:2375. Is the docker daemon running?",
        );
        assert_eq!(reported.advice(None).as_deref(), Some(down));
        let local = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert!(Failure::reported(local).advice(None).is_some_and(|advice| advice.contains("systemctl")));
    }

    #[test]
    fn an_image_of_too_many_layers_is_not_mended_by_removing_it() {
        for text in ["failed to register layer: max depth exceeded", "max depth exceeded"] {
            let advice = Failure::reported(text).advice(None);
            assert_eq!(
                advice.as_deref(),
                Some("this image has more layers than the engine can stack: build it with fewer")
            );
        }
    }

    /// An image that needs none is refused too where wrong credentials are sent.
    #[test]
    fn refused_credentials_have_two_remedies() {
        let mut failure = Failure::own(Kind::Login, "denied: denied");
        failure.credentials = Sent::Docker;
        let check = |registry, expected: &str| assert_eq!(failure.advice(registry).as_deref(), Some(expected));
        check(
            Some("ghcr.io"),
            "log in anew as the user that runs this: docker login ghcr.io; or, if the image is public, forget the credentials that were refused: docker logout ghcr.io",
        );
        check(
            Some("docker.io"),
            "log in anew as the user that runs this: docker login; or, if the image is public, forget the credentials that were refused: docker logout",
        );
        failure.credentials = Sent::TokenFile;
        for (registry, name) in [(Some("ghcr.io"), " ghcr.io"), (Some("docker.io"), ""), (None, "")] {
            let expected = format!(
                "log in anew as the user that runs this: docker login{name}, and leave --token-file out; or put a valid token into that file"
            );
            assert_eq!(failure.advice(registry), Some(expected));
        }
    }
}
