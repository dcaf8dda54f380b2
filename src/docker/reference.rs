//! An image reference as the user types it, parsed by the rules of Docker's own parser
//! (github.com/distribution/reference), and percent-encoding. The pull request, the credentials and the log each need
//! another part of a reference; and a wrong reference is wrong usage, which has to be reported before an engine is
//! asked.
//!
//! **Invariant:** a parsed reference is ASCII without blanks and control characters, and always names one image: an
//! engine that gets no tag pulls every tag of the repository.

use std::borrow::Cow;
use std::fmt;

/// Docker Hub, as docker's CLI and the engines call it.
const HUB: &str = "docker.io";
/// The older name of Docker Hub, which Docker's parser still turns into `docker.io`.
const HUB_LEGACY: &str = "index.docker.io";
/// Docker's limit in bytes for the path within the registry (with `library/`).
const REPOSITORY_LIMIT: usize = 255;
/// Docker's limit in bytes for a tag.
const TAG_LIMIT: usize = 128;
/// How many characters of a refused text an error repeats, so that the reason still fits on the same line.
const SHOWN: usize = 100;

#[derive(Debug, PartialEq)]
pub(crate) struct Reference {
    /// As the user wrote it, without tag and digest.
    pub(crate) name: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

/// Why a text is not a reference: one line that says what to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Error {
    text: String,
    wrong: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image `{}`: {}", self.text, self.wrong)
    }
}

impl std::error::Error for Error {}

impl Reference {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Self::split(text).map_err(|wrong| Error { text: shown(text), wrong })
    }

    /// The value of the API's `tag` parameter, never empty; of a tag and a digest the digest is used.
    pub(crate) fn tag_or_digest(&self) -> &str {
        let given = self.digest.as_deref().or(self.tag.as_deref());
        given.unwrap_or("latest")
    }

    /// The name by which an engine knows the local image; of a tag and a digest the digest is used.
    pub(crate) fn local(&self) -> String {
        let mark = if self.digest.is_some() { '@' } else { ':' };
        format!("{}{mark}{}", self.name, self.tag_or_digest())
    }

    /// The whole name with its registry, as `docker pull --quiet` prints it.
    pub(crate) fn full(&self) -> String {
        format!("{}/{}{}", self.registry(), self.repository(), &self.to_string()[self.name.len()..])
    }

    /// The registry's `host[:port]`: docker's key for credentials, except for Docker Hub.
    pub(crate) fn registry(&self) -> &str {
        split_registry(&self.name).0
    }

    pub(crate) fn is_on_hub(&self) -> bool {
        self.registry() == HUB
    }

    /// The path within the registry, such as `library/alpine`.
    pub(crate) fn repository(&self) -> Cow<'_, str> {
        match split_registry(&self.name) {
            (HUB, path) if !path.contains('/') => Cow::Owned(format!("library/{path}")),
            (_, path) => Cow::Borrowed(path),
        }
    }

    fn split(text: &str) -> Result<Self, &'static str> {
        check_characters(text)?;
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[path_start..].split_once(':') {
            Some((last, tag)) => (&rest[..path_start + last.len()], Some(tag)),
            None => (rest, None),
        };
        check_name(name)?;
        tag.map_or(Ok(()), check_tag)?;
        digest.map_or(Ok(()), check_digest)?;
        let reference = Self { name: name.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) };
        if reference.repository().len() > REPOSITORY_LIMIT {
            return Err("the repository name is longer than 255 characters; use a shorter one");
        }
        Ok(reference)
    }
}

/// Whether two names refer to the same image.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (Reference::parse(one), Reference::parse(other)) {
        (Ok(one), Ok(other)) => one.full() == other.full(),
        _ => one == other,
    }
}

/// The familiar form, always with a tag or a digest.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (_, None) => write!(f, ":{}", self.tag_or_digest()),
        }
    }
}

/// Docker's rule for which part of a name is a host: `user/app` is a path on Docker Hub. `localhost/app`,
/// `host:5000/app`, `host.domain/app` and (because no path has upper case) `HOST/app` begin with a host.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((HUB | HUB_LEGACY, path)) => (HUB, path),
        Some((host, path))
            if host == "localhost" || host.contains(|c: char| matches!(c, '.' | ':') || c.is_ascii_uppercase()) =>
        {
            (host, path)
        }
        _ => (HUB, name),
    }
}

fn check_characters(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty; name an image, such as alpine:3.20");
    }
    if text.contains(char::is_control) {
        return Err("it has a control character in it, perhaps a line end; take it out");
    }
    if text.contains(char::is_whitespace) {
        return Err("it has a blank in it; take it out, and give one image only");
    }
    if !text.is_ascii() {
        return Err("it has a character that no image name has; type it anew, without accents");
    }
    if text.starts_with('-') {
        return Err("no image name begins with `-`; see --help for the options");
    }
    if text.contains("://") {
        return Err("an image is not a URL; leave out everything up to `://`");
    }
    if text.len() == 64 && is_lower_hex(text) {
        return Err("cannot specify 64-byte hexadecimal strings; to pull by digest, write NAME@sha256:...");
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is missing; write NAME:TAG or NAME@DIGEST");
    }
    let (registry, path) = split_registry(name);
    check_registry(registry)?;
    if path.split('/').any(str::is_empty) {
        return Err("a part of the name is empty; write REGISTRY/REPOSITORY with single slashes");
    }
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("repository names are lower case; write it in lower case");
    }
    if path.split('/').all(is_component) {
        return Ok(());
    }
    Err(
        "each part of the name has to begin and end with a letter or digit, with only `.`, `_`, `__` or `-` between them",
    )
}

/// Runs of letters and digits, with one separator between each two.
fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && part.split(alphanumeric).all(separator)
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err("the registry's port is not a number; write HOST:PORT/REPOSITORY:TAG");
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if in_brackets.map_or_else(|| host.split('.').all(label), address) {
        return Ok(());
    }
    Err("the registry is not a host name; write HOST, HOST:PORT or [IPV6]:PORT before the first slash")
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    if tag.is_empty() {
        return Err("the tag after `:` is missing; write one, or leave out the colon");
    }
    if tag.len() > TAG_LIMIT {
        return Err("the tag is longer than 128 characters; use a shorter one");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if tag.starts_with(['.', '-']) || !tag.bytes().all(allowed) {
        return Err("the tag may only have letters, digits, `_`, `.` and `-`, and not begin with `.` or `-`");
    }
    Ok(())
}

/// As strict as the engines: only these three algorithms, and only lower case.
fn check_digest(digest: &str) -> Result<(), &'static str> {
    let (algorithm, hex) = digest.split_once(':').unwrap_or((digest, ""));
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err("the digest after `@` has to be sha256: and 64 hexadecimal digits"),
    };
    if hex.len() == digits && is_lower_hex(hex) {
        return Ok(());
    }
    Err("the digest is not whole; write sha256: and all 64 hexadecimal digits, in lower case")
}

pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Shortened, and printable ASCII: the text may contain anything, and Puppet fails on output that is not ASCII.
fn shown(text: &str) -> String {
    let end = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
    let start = text.chars().take(SHOWN).flat_map(char::escape_default);
    start.chain(end.chars()).collect()
}

/// Encodes all but the unreserved characters of RFC 3986: engines read a bare `+` as a blank.
pub(crate) fn percent_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)]));
            encoded.extend(['%', digits[0], digits[1]]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c";

    /// `#` in the texts stands for the 64 digits of a digest.
    fn full(text: &str) -> String {
        text.replace('#', HEX)
    }

    /// `expected` is `registry repository tag-or-digest display`.
    fn check(text: &str, expected: &str) {
        let reference = Reference::parse(&full(text)).unwrap();
        let actual =
            format!("{} {} {} {reference}", reference.registry(), reference.repository(), reference.tag_or_digest());
        assert_eq!(actual, full(expected), "{text}");
        let again = Reference::parse(&reference.to_string()).unwrap();
        assert_eq!(again.to_string(), reference.to_string());
    }

    #[test]
    fn what_quiet_prints() {
        let full = |text: &str| Reference::parse(text).unwrap().full();
        assert_eq!(full("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("index.docker.io/u/a:b"), "docker.io/u/a:b");
        let both = format!("host:5000/a:b@sha256:{HEX}");
        assert_eq!(full(&both), both);
    }

    fn check_error(text: &str, expected: &str) {
        let error = Reference::parse(&full(text)).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        assert!(error.bytes().all(|b| matches!(b, b' '..=b'~')), "{error:?}");
        assert!(error.len() < 1300, "{error}");
    }

    #[test]
    fn docker_hub() {
        check("alpine", "docker.io library/alpine latest alpine:latest");
        check("alpine:3", "docker.io library/alpine 3 alpine:3");
        check("user/app", "docker.io user/app latest user/app:latest");
        check("user/app/x", "docker.io user/app/x latest user/app/x:latest");
        check("docker.io/a", "docker.io library/a latest docker.io/a:latest");
        check("index.docker.io/a:b", "docker.io library/a b index.docker.io/a:b");
        check("index.docker.io/u/a", "docker.io u/a latest index.docker.io/u/a:latest");
        check("docker.io/library/a", "docker.io library/a latest docker.io/library/a:latest");
        check("docker.io", "docker.io library/docker.io latest docker.io:latest");
        check("localhost", "docker.io library/localhost latest localhost:latest");
        check("localhost:5000", "docker.io library/localhost 5000 localhost:5000");
        check("192.168.0.1:80", "docker.io library/192.168.0.1 80 192.168.0.1:80");
        check("test_com/foo", "docker.io test_com/foo latest test_com/foo:latest");
        check("docker.io/#", "docker.io library/# latest docker.io/#:latest");
        check("#:tag", "docker.io library/# tag #:tag");
        check("sha256:#", "docker.io library/sha256 # sha256:#");
    }

    #[test]
    fn other_registries() {
        check("host:5000/a/b:tag", "host:5000 a/b tag host:5000/a/b:tag");
        check("[::1]:5000/a:tag", "[::1]:5000 a tag [::1]:5000/a:tag");
        check("[fc00::1]/a/b", "[fc00::1] a/b latest [fc00::1]/a/b:latest");
        check("localhost/x", "localhost x latest localhost/x:latest");
        check("LOCALHOST/x", "LOCALHOST x latest LOCALHOST/x:latest");
        check("Foo/bar", "Foo bar latest Foo/bar:latest");
        check("127.0.0.1:5005/three", "127.0.0.1:5005 three latest 127.0.0.1:5005/three:latest");
        check("h:000000000000000099999/a", "h:000000000000000099999 a latest h:000000000000000099999/a:latest");
        check("xn--n3h.com:18080/foo", "xn--n3h.com:18080 foo latest xn--n3h.com:18080/foo:latest");
        check(
            "europe-west1-docker.pkg.dev/p/alm-init/alm-init:V1.0_x-",
            "europe-west1-docker.pkg.dev p/alm-init/alm-init V1.0_x- europe-west1-docker.pkg.dev/p/alm-init/alm-init:V1.0_x-",
        );
        check("quay.io/docker.io/a", "quay.io docker.io/a latest quay.io/docker.io/a:latest");
    }

    #[test]
    fn digests() {
        check("name@sha256:#", "docker.io library/name sha256:# name@sha256:#");
        check("name:tag@sha256:#", "docker.io library/name sha256:# name:tag@sha256:#");
        check("h:1/a/b:c@sha256:#", "h:1 a/b sha256:# h:1/a/b:c@sha256:#");
        check("n@sha512:##", "docker.io library/n sha512:## n@sha512:##");
        let sha384 = "0".repeat(96);
        assert!(Reference::parse(&format!("n@sha384:{sha384}")).is_ok());
        for text in [
            "a@",
            "a@sha256",
            "a@sha256:",
            "a@sha256:12",
            "a@sha256:#0",
            "a@sha512:#",
            "a@sha256:#@sha256:#",
            "a@sha256:#/b",
            "a@sha256:#:tag",
            "a@#",
            "a@md5:#",
            "a@SHA256:#",
        ] {
            check_error(text, ": the digest ");
        }
        check_error(&format!("a@sha256:{}", HEX.to_uppercase()), "in lower case");
    }

    #[test]
    fn names() {
        for name in ["a", "0", "a__b", "a_b", "a.b", "a-b", "a---b", "a_b-c.d__e", "a/b/c/d", "1/2"] {
            assert_eq!(Reference::parse(name).unwrap().name, name);
        }
        for name in [
            "a___b",
            "a..b",
            "a._b",
            "a_.b",
            "a-.b",
            "a_-b",
            "a-",
            "a_",
            "_a",
            ".a",
            "a/-b",
            "____/____",
            "docker-/a",
            "a+b",
            "a,b",
            "a\\b",
            "a%20b",
            "a=b",
            "$image",
            "a/b:c/d",
            "[fc00::1]/",
        ] {
            check_error(name, "part of the name");
        }
        for name in ["/", "/a", "a/", "a//b", "docker.io/", "docker.io//a", "host:5000/", "a/:tag"] {
            check_error(name, "a part of the name is empty");
        }
        for name in ["A", "alpinE:3", "docker/Docker", "host.io/a/B", "localhost/X"] {
            check_error(name, "repository names are lower case");
        }
        for name in [":tag", "@sha256:#", ":"] {
            check_error(name, "the name is missing");
        }
        for name in ["host:port/a", "host:/a", "a:tag/b", "host:5000x/a", "a:-1/b", "[::1]:x/a"] {
            check_error(name, "port is not a number");
        }
        for name in [
            "a_b.c/x",
            "my_host:5000/x",
            ".a/b",
            "a..b/c",
            "./a",
            "../a",
            "a-.b/c",
            ":5000/a",
            "fc00::1:5000/a",
            "[]:1/a",
            "[fe80::1%eth0]:5000/a",
            "[::192.0.2.33]:5000/a",
            "[::1/a",
            "[::1]x:5/a",
            "FOO_BAR/x",
        ] {
            check_error(name, "the registry");
        }
    }

    #[test]
    fn tags() {
        let longest = format!("a:{}", "t".repeat(128));
        assert_eq!(Reference::parse(&longest).unwrap().to_string(), longest);
        for tag in ["_", "0", "A", "a.b-c_D", "v1..2"] {
            assert_eq!(Reference::parse(&format!("a:{tag}")).unwrap().tag_or_digest(), tag);
        }
        check_error("a:", "the tag after `:` is missing");
        check_error("a:@sha256:#", "the tag after `:` is missing");
        check_error(&format!("{longest}t"), "the tag is longer than 128");
        for text in ["a:b:c", "a:.b", "a:-b", "a:b+c", "a::b", "a:b,c", "a:b=c"] {
            check_error(text, "the tag may only have");
        }
    }

    #[test]
    fn odd_texts() {
        check_error("", "image ``: it is empty");
        check_error("-a", "image `-a`: no image name begins with `-`");
        check_error("--", "no image name begins with `-`");
        for text in [" a", "a ", "a b", " ", "a\u{a0}b", "a\u{3000}"] {
            check_error(text, "it has a blank in it");
        }
        for text in ["a\n", "a\tb", "\0", "a\u{1b}[31m", "a\u{9b}b"] {
            check_error(text, "it has a control character in it");
        }
        for text in ["\u{e9}", "\u{430}lpine", "a\u{202e}b", "a:\u{1f433}", "\u{feff}a"] {
            check_error(text, "it has a character that no image name has");
        }
        check_error("a\n\u{1b}\u{e9}\"\\", r#"image `a\n\u{1b}\u{e9}\"\\`: "#);
        for text in ["https://ghcr.io/a/b", "docker://a", "oci://", "HTTP://A"] {
            check_error(text, "an image is not a URL");
        }
        check_error("#", "cannot specify 64-byte hexadecimal strings");
    }

    #[test]
    fn lengths() {
        let path = "a/".repeat(127);
        assert!(Reference::parse(&format!("{path}a")).is_ok());
        assert!(Reference::parse(&format!("registry.example:5000/{path}a:tag")).is_ok());
        check_error(&format!("{path}aa"), "longer than 255");
        check_error(&"a".repeat(256), "longer than 255");
        // `library/` counts for the limit, as in Docker.
        assert!(Reference::parse(&"a".repeat(247)).is_ok());
        check_error(&"a".repeat(248), "longer than 255");
        let error = Reference::parse(&"\u{1f433}".repeat(300)).unwrap_err();
        assert_eq!(error.text, format!("{}...", "\\u{1f433}".repeat(100)));
        let error = Reference::parse(&"a".repeat(300)).unwrap_err();
        assert_eq!(error.text, format!("{}...", "a".repeat(100)));
        assert_eq!(shown(&"a".repeat(100)), "a".repeat(100));
    }

    #[test]
    fn percent_encoding() {
        assert_eq!(percent_encode(""), "");
        assert_eq!(percent_encode("AZaz09-._~"), "AZaz09-._~");
        assert_eq!(percent_encode("host:5000/a/b"), "host%3A5000%2Fa%2Fb");
        assert_eq!(percent_encode("sha256:0f@[::1]"), "sha256%3A0f%40%5B%3A%3A1%5D");
        assert_eq!(percent_encode("a+b c&d=e?#%"), "a%2Bb%20c%26d%3De%3F%23%25");
        assert_eq!(percent_encode("\r\n\u{e9}\u{7f}"), "%0D%0A%C3%A9%7F");
        assert_eq!(percent_encode("{\"a\":[\"b\"]}"), "%7B%22a%22%3A%5B%22b%22%5D%7D");
    }
}
