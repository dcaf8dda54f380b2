//! An image reference: taken and refused as by the grammar of github.com/distribution/reference, here as the regular
//! expression that it is there, and normalised as there.

use crate::docker::reference::{Reference, percent_encode};
use regex::Regex;
use std::sync::LazyLock;

/// Domain, path, tag and digest. In the original the domain can be missing, so that `a_b.c/d` is a path without a
/// registry; here, as in this program, that is refused.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let component = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let host = format!(r"(?:{component}(?:\.{component})*|\[[a-fA-F0-9:]+\])");
    let part = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
    let tag = r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    Regex::new(&format!(r"\A({host}(?::[0-9]+)?)/({part}(?:/{part})*)(?::({tag}))?(?:@({digest}))?\z"))
        .expect("a regular expression")
});

static IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A[a-f0-9]{64}\z").expect("a regular expression"));

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (ours, theirs) = (Reference::parse(text), normalized(text));
    let reference = match (ours, theirs) {
        (Err(error), None) => {
            let error = error.to_string();
            assert!(error.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not fit to be shown: {error:?}");
            return;
        }
        (Ok(reference), Some((domain, path, tag, digest))) => {
            assert_eq!((reference.registry(), &*reference.repository()), (&*domain, &*path));
            assert_eq!((&reference.tag, &reference.digest), (&tag, &digest));
            reference
        }
        (ours, theirs) => panic!("{text:?}: {ours:?}, but {theirs:?}"),
    };
    // Another reader of what we write out sees the same image.
    let shown = reference.to_string();
    let again = Reference::parse(&shown).expect("what is shown is a reference");
    assert_eq!((again.to_string(), again.tag_or_digest()), (shown, reference.tag_or_digest()));
    let local = Reference::parse(&reference.local()).expect("a local name is a reference");
    assert_eq!((&local.name, local.tag_or_digest()), (&reference.name, reference.tag_or_digest()));
    assert_eq!(decoded(&percent_encode(text)), text);
}

/// `ParseNormalizedNamed`: domain, path, tag, digest.
fn normalized(text: &str) -> Option<(String, String, Option<String>, Option<String>)> {
    if IDENTIFIER.is_match(text) {
        return None;
    }
    let (domain, remainder) = split_domain(text);
    let remote = remainder.split(':').next().unwrap_or_default();
    if remote.to_lowercase() != remote {
        return None;
    }
    let full = format!("{domain}/{remainder}");
    let groups = REFERENCE.captures(&full)?;
    let group = |at| groups.get(at).map(|group: regex::Match<'_>| group.as_str().to_owned());
    let (path, tag, digest) = (group(2)?, group(3), group(4));
    assert_eq!(group(1).as_ref(), Some(&domain));
    if path.len() > 255 || digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    Some((domain, path, tag, digest))
}

/// `splitDockerDomain`
fn split_domain(name: &str) -> (String, String) {
    let hub = || "docker.io".to_owned();
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => (hub(), path),
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) || host.to_lowercase() != host => {
            (host.to_owned(), path)
        }
        _ => (hub(), name),
    };
    let is_familiar = domain == "docker.io" && !path.contains('/');
    (domain, if is_familiar { format!("library/{path}") } else { path.to_owned() })
}

/// `digest.Parse` of the algorithms that an engine has.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = [("sha256", 64), ("sha384", 96), ("sha512", 128)].iter().find(|(name, _)| *name == algorithm);
    length.is_some_and(|&(_, length)| hex.len() == length && !hex.contains(|c: char| c.is_ascii_uppercase()))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (hex, after) = rest.split_at(2);
            rest = after;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).expect("ASCII"), 16).expect("two digits"));
        } else {
            assert!(first.is_ascii_alphanumeric() || b"-._~".contains(&first), "{first} is not encoded");
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).expect("what was encoded")
}
