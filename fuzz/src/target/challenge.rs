//! A registry's `WWW-Authenticate`: any text can be parsed, and what is written as one challenge is parsed as that.

use crate::challenge;
use std::fmt::Write as _;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = challenge::parse(text);
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b))
    };
    assert!(
        found
            .iter()
            .all(|challenge| is_token(&challenge.scheme) && challenge.scheme.to_ascii_lowercase() == challenge.scheme)
    );
    // Nothing is invented: a scheme occurs in the text.
    let lower = text.to_ascii_lowercase();
    assert!(found.iter().all(|challenge| lower.contains(&challenge.scheme)));

    // The text as a realm, properly quoted.
    let mut quoted = String::from("Negotiate, Bearer service=lab , realm=\"");
    for c in text.chars() {
        let _ = if matches!(c, '"' | '\\') { write!(quoted, "\\{c}") } else { write!(quoted, "{c}") };
    }
    quoted.push_str("\", scope=\"a:b,c\", Basic realm=x");
    let found = challenge::parse(&quoted);
    let schemes: Vec<&str> = found.iter().map(|challenge| &*challenge.scheme).collect();
    assert_eq!(schemes, ["negotiate", "bearer", "basic"], "{quoted}");
    assert_eq!(found[1].get("realm"), Some(text));
    assert_eq!((found[1].get("service"), found[1].get("scope")), (Some("lab"), Some("a:b,c")));
    assert_eq!((found[0].get("realm"), found[2].get("realm")), (None, Some("x")));
}
