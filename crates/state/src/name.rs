//! The name of an image's file, and the hash in it.
//!
//! **Invariant:** every image has a different name, at most 200 bytes long, without a slash, and not hidden.

use std::fmt::Write as _;

/// Bytes; a file system allows 255, and temporary names are longer.
const LONGEST: usize = 200;

/// The length of the hash, including the character before it.
const HASH: usize = 17;

/// The file's name, without `.json`, for docker's full reference (`docker.io/library/alpine:latest`): percent-encoded;
/// a name that is too long is cut, and ends with a hash of the whole.
#[must_use]
pub fn file_name(reference: &str) -> String {
    let mut name = String::with_capacity(reference.len() * 3);
    for (at, byte) in reference.bytes().enumerate() {
        if is_plain(byte) && (at > 0 || byte != b'.') {
            name.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - HASH);
        let _ = write!(name, "-{:016x}", fnv1a(reference));
    }
    name
}

/// The FNV-1a hash of a text, for names of files: it has to stay the same in all versions of these programs.
#[must_use]
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The image's name in the file name `NAME.json`; `None` if it is another file.
pub(crate) fn of_image(file: &str) -> Option<&str> {
    let name = file.strip_suffix(".json").filter(|name| name.len() <= LONGEST && !name.starts_with('.'))?;
    let is_ours = name.bytes().all(|byte| is_plain(byte) || byte == b'%');
    // A full reference contains a slash, unless it was cut before it.
    (is_ours && (name.contains("%2F") || name.len() == LONGEST)).then_some(name)
}

/// The container's name in the file name `NAME.json`.
pub(crate) fn of_container(file: &str) -> Option<&str> {
    let name = file.strip_suffix(".json").filter(|name| name.len() <= LONGEST)?;
    let is_docker = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(is_plain);
    is_docker.then_some(name)
}

/// The process id in the name of a temporary file, `.NAME.PID.tmp`.
pub(crate) fn of_temporary(file: &str) -> Option<u32> {
    file.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_identify_the_image() {
        assert_eq!(file_name("docker.io/library/alpine:latest"), "docker.io%2Flibrary%2Falpine%3Alatest");
        assert_eq!(file_name("h:5000/a_b-c~d@sha256:1"), "h%3A5000%2Fa_b-c~d%40sha256%3A1");
        assert_eq!(file_name("../etc/passwd"), "%2E.%2Fetc%2Fpasswd");
        assert_eq!(
            of_image("docker.io%2Flibrary%2Falpine%3Alatest.json"),
            Some("docker.io%2Flibrary%2Falpine%3Alatest")
        );
    }

    #[test]
    fn long_names_fit_and_differ() {
        let (one, two) = (file_name(&format!("{}/x", "a".repeat(400))), file_name(&format!("{}/y", "a".repeat(400))));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (200, 200));
        assert_eq!(of_image(&format!("{one}.json")), Some(&*one));
        // A name of exactly the maximum length is not cut.
        let name = format!("r/{}", "b".repeat(196));
        assert_eq!(file_name(&name), name.replace('/', "%2F"));
    }

    #[test]
    fn other_files_are_not_ours() {
        for file in ["a.json", ".a%2Fb.json", "a%2Fb.json.bak", "a%2Fb", "a%2Fb .json", "é%2Fb.json", ".json", ""] {
            assert_eq!(of_image(file), None, "{file}");
        }
        assert_eq!(of_container("web-1.json"), Some("web-1"));
        for file in [".web.json", "web", "we b.json", "web%2F.json", "-web.json"] {
            assert_eq!(of_container(file), None, "{file}");
        }
        assert_eq!(of_temporary(".a%2Fb.812.tmp"), Some(812));
        for file in ["a.812.tmp", ".a.x.tmp", ".a.812", ".812.tmp"] {
            assert_eq!(of_temporary(file), None, "{file}");
        }
    }
}
