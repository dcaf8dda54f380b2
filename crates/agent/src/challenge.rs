//! Parses `WWW-Authenticate`: how a registry wants clients to authenticate (RFC 9110, 11.6.1).
//!
//! Separate, because it is a small language of its own, and its text comes from outside.
//!
//! **Invariant:** any text can be parsed, in one pass.

#[derive(Debug, PartialEq)]
pub(crate) struct Challenge {
    /// In lower case.
    pub(crate) scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

const BLANKS: [char; 2] = [' ', '\t'];
const SEPARATORS: [char; 3] = [' ', '\t', ','];

/// All challenges in the value of a header. Parsing ends at the first text that is not a challenge.
pub(crate) fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start_matches(SEPARATORS);
    loop {
        let (word, after) = rest.split_at(rest.bytes().position(|b| !is_token(b)).unwrap_or(rest.len()));
        if word.is_empty() {
            return found;
        }
        let word = word.to_ascii_lowercase();
        let value = after.trim_start_matches(BLANKS).strip_prefix('=');
        rest = if let (Some(value), Some(challenge)) = (value, found.last_mut()) {
            // A parameter belongs to the scheme before it. No registry sends the other form, `scheme token68=`.
            let (value, rest) = parameter(value.trim_start_matches(BLANKS));
            challenge.parameters.push((word, value));
            rest
        } else {
            found.push(Challenge { scheme: word, parameters: Vec::new() });
            after
        }
        .trim_start_matches(SEPARATORS);
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of a parameter, and the text after it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(SEPARATORS).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is each challenge in brackets, with its parameters separated by blanks.
    fn check(text: &str, expected: &str) {
        let mut shown = String::new();
        for challenge in parse(text) {
            shown.extend(["[", &challenge.scheme]);
            for (name, value) in &challenge.parameters {
                shown.extend([" ", name, "=", value]);
            }
            shown.push(']');
        }
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn as_registries_send_them() {
        // Docker Hub, Artifact Registry, docker-registry with htpasswd, GitHub.
        check(
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:library/alpine:pull,push""#,
            "[bearer realm=https://auth.example/token service=registry.example scope=repository:library/alpine:pull,push]",
        );
        check(
            r#"Bearer realm="https://ar.example/v2/token",service="ar.example",scope="repository:p/r/i:pull",error="invalid_token""#,
            "[bearer realm=https://ar.example/v2/token service=ar.example scope=repository:p/r/i:pull error=invalid_token]",
        );
        check(r#"Basic realm="Registry Realm""#, "[basic realm=Registry Realm]");
        check("Basic", "[basic]");
    }

    #[test]
    fn several_in_one() {
        check(
            r#"Basic realm="a \"b\", c", BEARER realm = https://x.example/t , Service=y"#,
            r#"[basic realm=a "b", c][bearer realm=https://x.example/t service=y]"#,
        );
        check("Negotiate, Basic realm=\"r\"", "[negotiate][basic realm=r]");
    }

    #[test]
    fn anything_at_all() {
        for (text, expected) in [
            ("", ""),
            ("=", ""),
            (",,, ", ""),
            ("a=b", "[a]"),
            ("Bearer realm=", "[bearer realm=]"),
            ("Bearer realm=\"", "[bearer realm=]"),
            ("Bearer realm=\"\\", "[bearer realm=]"),
            ("Bearer realm=\"a", "[bearer realm=a]"),
            ("Bearer realm=\"\u{e9}\"", "[bearer realm=\u{e9}]"),
            ("\u{dc}n\u{ef}", ""),
            ("Bearer realm=\"a\"x=\"b\"", "[bearer realm=a x=b]"),
        ] {
            check(text, expected);
        }
    }
}
