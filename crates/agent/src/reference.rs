//! Parses an image's name as docker does.
//!
//! Shorter than the puller's parser, which explains what is wrong with a name: the engine has already accepted a name
//! that arrives here.
//!
//! **Invariant:** no part can end the path of a URL, leave it with `..`, or begin a query or a user.

use crate::failure::{Failure, Kind, Result};

/// Docker Hub's name in images.
pub(crate) const HUB: &str = "docker.io";

/// Docker's limit in bytes for a repository's name; tags and digests are shorter.
const PART_MAX: usize = 255;

#[derive(Debug, PartialEq)]
pub(crate) struct Reference {
    /// With its port, if there is one.
    pub(crate) host: String,
    pub(crate) repository: String,
    /// The digest, if there is one, else the tag.
    pub(crate) version: String,
}

impl Reference {
    pub(crate) fn parse(image: &str) -> Result<Self> {
        let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let is_host = |text: &str| {
            text == "localhost" || text.contains(|c: char| matches!(c, '.' | ':') || c.is_ascii_uppercase())
        };
        let (host, rest) = match name.split_once('/') {
            Some(("index.docker.io", rest)) => (HUB, rest),
            Some((host, rest)) if is_host(host) => (host, rest),
            _ => (HUB, name),
        };
        let (path, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
        let version = digest.unwrap_or(tag);
        let is_plain = |text: &str, more: &[u8]| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            (1..=PART_MAX).contains(&text.len()) && text.bytes().all(allowed)
        };
        let is_path = is_plain(path, b"._-/") && path.split('/').all(|part| part.contains(|c: char| c != '.'));
        if !(is_path
            && is_plain(version, b"._-:")
            && version != "."
            && version != ".."
            && is_plain(host, b".-:[]")
            && !host.starts_with(['.', '-', ':', ']']))
        {
            return Err(Failure::new(Kind::Reference, "this is not a name of an image; write HOST/REPOSITORY:TAG"));
        }
        let library = if host == HUB && !path.contains('/') { "library/" } else { "" };
        Ok(Self { host: host.to_owned(), repository: format!("{library}{path}"), version: version.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_docker_reads_them() {
        for (image, expected) in [
            ("alpine", "docker.io library/alpine latest"),
            ("docker.io/alpine:3", "docker.io library/alpine 3"),
            ("index.docker.io/a/b", "docker.io a/b latest"),
            ("user/app:x", "docker.io user/app x"),
            ("localhost/app", "localhost app latest"),
            ("HOST/app", "HOST app latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000 a/b c"),
            ("[::1]:5000/a@sha256:00", "[::1]:5000 a sha256:00"),
            ("r.example/a:t@sha256:00", "r.example a sha256:00"),
        ] {
            let Reference { host, repository, version } = Reference::parse(image).unwrap();
            assert_eq!(format!("{host} {repository} {version}"), expected, "{image}");
        }
    }

    #[test]
    fn what_could_leave_its_place_in_a_url() {
        for image in [
            "",
            "/",
            "a//b",
            "a/..",
            "../a",
            "a/./b",
            "a:..",
            "a?b",
            "a#b",
            "a%2f",
            "a b",
            "a\r\nb",
            "h.x/",
            "h:1/a:",
            "a@",
            "u@h.x/a",
            "h.x/a@b@c",
            "\u{e9}",
            "h.x:1/u:p@h.y/b",
        ] {
            assert_eq!(Reference::parse(image).map_err(|failure| failure.kind), Err(Kind::Reference), "{image:?}");
        }
        assert!(Reference::parse(&"a".repeat(256)).is_err());
    }
}
