//! Parses a reason: `failed to do request: Head "https://…": dial tcp: no such host` is a chain of clauses, the
//! outermost first and the cause last, mixed with names of images, registries and files.
//!
//! Separate, because a name can contain any word (`denied/x509:timeout`), and must never be taken for a cause.
//!
//! **Invariant:** pure; names that are a word of their own (quoted, or with a slash) are removed from the clauses.

use crate::pull::failure::precise;

/// Words with a slash that are not names. Those of Go's packages include their colon.
const WORDS_WITH_SLASH: [&str; 8] =
    ["i/o", "input/output", "fork/exec", "archive/tar:", "net/http:", "username/password", "http/1.x", "text/html"];

/// Bytes at each end of a reason that are searched: its beginning says who was asked, its end is the cause.
const END: usize = 2048;

/// The replacement for a name.
const NAME: &str = "_";

/// After these clauses only a name follows.
const LAST: [&str; 4] = ["no such image", "unable to find image", "unauthorized to access repository", "name unknown"];

/// After this and a status comes what a registry or a gateway wrote, which can be anything.
const UNREAD: &str = "error parsing http";

#[derive(Debug)]
pub(crate) struct Reason {
    /// In lower case; clauses are joined by `: `.
    text: String,
    /// The byte position of each clause.
    starts: Vec<usize>,
    /// Whether a request to a registry was about a blob.
    pub(crate) is_about_blob: bool,
    /// Whether the request was docker's to its engine.
    pub(crate) is_to_engine: bool,
}

impl Reason {
    pub(crate) fn new(text: &str) -> Self {
        let mut reason = Self {
            text: String::with_capacity(text.len().min(2 * END)),
            starts: Vec::new(),
            is_about_blob: false,
            is_to_engine: false,
        };
        let (head, tail) = ends(text);
        for line in head.lines().chain(tail.lines()) {
            let (mut is_start, mut last) = (true, "");
            for word in line.split_whitespace() {
                let (word, ends_clause) = match word.strip_suffix(':') {
                    Some(word) => (word, true),
                    // `rpc error: code = Unknown desc = …`
                    None => (word, word == "=" && last == "desc"),
                };
                last = word;
                reason.push(word, ends_clause, is_start);
                is_start = ends_clause;
            }
        }
        reason.cut_last_names();
        reason
    }

    fn push(&mut self, word: &str, ends_clause: bool, is_start: bool) {
        let lower = word.to_ascii_lowercase();
        let is_url = lower.contains("://");
        self.is_about_blob |= is_url && lower.contains("/blobs/sha256:");
        self.is_to_engine |= is_url && lower.contains("/images/create?");
        if is_start {
            // Not if there is text: the first clause can be empty.
            if !self.starts.is_empty() {
                self.text.push_str(": ");
            }
            self.starts.push(self.text.len());
        } else {
            self.text.push(' ');
        }
        if is_name(&lower, ends_clause) {
            self.text.push_str(NAME);
        } else {
            // A text in quotes or brackets has them only at its ends.
            let bare = lower.trim_start_matches(['"', '\\', '\'', '[', '{', '*', '`']);
            self.text.push_str(bare.trim_end_matches(['"', '\\', '\'', ']', '}', ',', ';', '.', '`', '!']));
        }
    }

    /// Removes what follows the clauses after which only a name or the body of an answer can follow.
    fn cut_last_names(&mut self) {
        let last = self.clauses().position(|clause| LAST.contains(&clause) || clause.starts_with(UNREAD));
        if let Some(at) = last
            && let Some(&next) = self.starts.get(at + 1)
            && !precise::BODIES.iter().any(|words| self.has_any(words))
        {
            self.text.truncate(next - 2);
            self.starts.truncate(at + 1);
        }
    }

    /// The clauses, the outermost first.
    pub(crate) fn clauses(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        (0..self.starts.len()).map(|at| {
            let end = self.starts.get(at + 1).map_or(self.text.len(), |next| next - 2);
            &self.text[self.starts[at]..end]
        })
    }

    /// The text from each clause on, the innermost first.
    pub(crate) fn tails(&self) -> impl Iterator<Item = &str> {
        self.starts.iter().rev().map(|&start| &self.text[start..])
    }

    /// Whether some clause, with what follows it, matches `pattern`.
    fn has(&self, pattern: &str) -> bool {
        self.tails().any(|tail| matches(tail, pattern))
    }

    /// The same for some of these patterns, one a line.
    pub(crate) fn has_any(&self, patterns: &str) -> bool {
        patterns.lines().any(|pattern| self.has(pattern))
    }

    /// The HTTP statuses in the clauses, the innermost first; `None` for a clause without one.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = Option<u16>> {
        let clauses: Vec<&str> = self.clauses().collect();
        let all: Vec<_> = (0..clauses.len())
            .rev()
            .map(|at| status(clauses[at], at.checked_sub(1).map_or("", |before| clauses[before])))
            .collect();
        all.into_iter()
    }
}

/// A text, or the two ends of a long one: no real reason is that long, and a hostile one must not take time.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= 2 * END {
        return (text, "");
    }
    let tail = &text[text.ceil_char_boundary(text.len() - END)..];
    // The end begins with a whole clause.
    (&text[..text.floor_char_boundary(END)], tail.split_once(": ").map_or("", |(_, tail)| tail))
}

/// Whether a word is the name of an image, a registry or a page: in quotes, or with a slash. Paths and sockets are not.
fn is_name(word: &str, ends_clause: bool) -> bool {
    let core = word.trim_start_matches(['(', '[']).trim_end_matches([',', '.', ')', ']', ';']).replace('\\', "");
    let is_quoted = |mark| core.len() > 1 && core.starts_with(mark) && core.ends_with(mark);
    // Go's characters: `'<'`, `'\x00'`.
    if is_quoted('\'') && (core.len() == 3 || core == "'x00'") {
        return false;
    }
    if is_quoted('"') || is_quoted('\'') || is_quoted('`') {
        return true;
    }
    let with_colon = if ends_clause { format!("{core}:") } else { core.clone() };
    let is_known = WORDS_WITH_SLASH.contains(&core.as_str()) || WORDS_WITH_SLASH.contains(&with_colon.as_str());
    core.contains('/') && !core.starts_with('/') && !core.starts_with("unix://") && !is_known
}

/// The HTTP status in a clause: `503 service unavailable` after a clause about a status, or `… status code 503`.
fn status(clause: &str, before: &str) -> Option<u16> {
    const LEADS: [&str; 7] = ["status", "http", "code", "statuscode", "response", "responded", "error"];
    let number = |word: &str| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        digits.parse::<u16>().ok().filter(|number| digits.len() == 3 && (300..600).contains(number))
    };
    let mut words = clause.split(' ');
    let first = words.next().unwrap_or_default();
    if let Some(status) = number(first)
        && (words.clone().next().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
            || before.split(' ').any(|word| LEADS.contains(&word)))
    {
        return Some(status);
    }
    let (mut led, mut last) = (LEADS.contains(&first), first);
    words.find_map(|word| {
        // After this word it is a tag: `unexpected status code [manifests 503]`.
        let found = number(word).filter(|_| led && !last.starts_with("manifest"));
        led |= LEADS.contains(&word);
        last = word;
        found
    })
}

/// Whether a text begins with `pattern`, up to the end of a word. `*` matches anything within a clause (at the
/// pattern's end also the rest of a word), and `$` at the pattern's end the end of a clause.
pub(crate) fn matches(text: &str, pattern: &str) -> bool {
    let (pattern, is_whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part).filter(|at| !rest[..*at].contains(": ")) else { return false };
        rest = &rest[at + part.len()..];
    }
    if pattern.ends_with('*') {
        return true;
    }
    if is_whole {
        return rest.is_empty() || rest.starts_with(": ");
    }
    !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let reason = Reason::new(text);
        assert_eq!(reason.clauses().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn clauses_can_be_empty() {
        let check = |text: &str, clauses: &[&str]| assert_eq!(Reason::new(text).clauses().collect::<Vec<_>>(), clauses);
        check(": authentication required", &["", "authentication required"]);
        check("': denied", &["", "denied"]);
        check(": : x:", &["", "", "x"]);
        check(":", &[""]);
        check("", &[]);
    }

    #[test]
    fn a_reason_is_a_chain_of_clauses_without_names() {
        check(
            r#"failed to do request: Head "https://denied:5000/v2/x509/manifests/eof": dial tcp: lookup denied: no such host"#,
            &["failed to do request", "head _", "dial tcp", "lookup denied", "no such host"],
        );
        check("Get https://reg/v2/: net/http: TLS handshake timeout", &["get _", "net/http", "tls handshake timeout"]);
        check("[::1]:5000/denied:eof: not found", &["_", "not found"]);
        check(
            "writing blob: (Mirrors also failed: [m/x: EOF])",
            &["writing blob", "(mirrors also failed", "_", "eof])"],
        );
        check("no such image: denied", &["no such image"]);
        check(
            "manifest for a:b not found: manifest unknown\nEOF",
            &["manifest for a:b not found", "manifest unknown", "eof"],
        );
        check("the repository with name 'denied' is", &["the repository with name _ is"]);
        check(
            r#"desc = "transport: dial unix /run/c.sock: x""#,
            &["desc =", "transport", "dial unix /run/c.sock", "x"],
        );
        check("", &[]);
    }

    #[test]
    fn of_a_long_reason_both_ends_count() {
        let long = format!("failed to register layer: {}: unexpected EOF", "ü: ".repeat(1 << 19));
        let reason = Reason::new(&long);
        assert!(reason.text.len() < 3 * END && reason.has("failed to register layer"));
        assert_eq!(reason.tails().next(), Some("unexpected eof"));
    }

    #[test]
    fn statuses_are_written_in_many_forms() {
        let check = |text: &str, expected| {
            assert_eq!(Reason::new(text).statuses().flatten().next(), expected, "{text}");
        };
        check("received unexpected HTTP status: 503 Service Unavailable", Some(503));
        check("unexpected status from HEAD request to https://r/v2/: 502 Bad Gateway", Some(502));
        check("unexpected status code 504", Some(504));
        check("unexpected status code [manifests 503]: 401 Unauthorized", Some(401));
        check("invalid status code from registry 429 (Too Many Requests)", Some(429));
        check("error parsing HTTP 408 response body: invalid character '<'", Some(408));
        check("unexpected status: 500", Some(500));
        check("StatusCode: 404, \"404 page not found\"", Some(404));
        check("Error 403 (Forbidden)!!1", Some(403));
        check("manifest for x:503 not found", None);
        check("unexpected status code [manifests 503]: EOF", None);
        check("Error reading manifest 503 in x", None);
        check("dial tcp 10.0.0.1:443", None);
        check("received unexpected HTTP status: 200 OK", None);
    }

    #[test]
    fn patterns() {
        assert!(matches("denied: denied", "denied$") && matches("denied", "denied$"));
        assert!(!matches("denied-app", "denied") && !matches("denied by", "denied$"));
        assert!(matches("manifest for x:y not found: a", "manifest for * not found$"));
        assert!(!matches("manifest for x: is not found", "manifest for * not found"));
        assert!(matches("a b c", "*b") && matches("open /a/b", "open /a*") && !matches("open /a/b", "open /a"));
    }
}
