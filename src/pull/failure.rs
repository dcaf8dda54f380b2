//! Why a pull failed: the reason in words, its kind, and whether it may pass by itself.
//!
//! Engines have no error codes: the HTTP status of a missing login is 401, 404 or 500, depending on the version, and
//! half of all errors follow HTTP 200. So an engine's reason is parsed as text (`reason`) and its cause is searched for
//! (`causes`); an HTML page is reduced to its title first (`page`). This program's own errors know their kind.
//!
//! **Invariant:** pure; a reason without a matching row is [`Kind::Other`], and gets no advice rather than a wrong one.

/// A list of words as one text, a line each: a list of texts would take two more words of memory for each.
macro_rules! words {
    ($first:literal $(, $word:literal)* $(,)?) => { concat!($first $(, "\n", $word)*) };
}

mod advice;
mod causes;
mod device;
mod page;
mod precise;
mod reason;
mod registry;

use crate::pull::failure::reason::Reason;
use std::fmt;

/// The request that pulls, for a reader who has to allow it in a proxy.
pub(crate) const PULL_CALL: &str = "POST /images/create";

/// The end of a fallback's reason if the engine can only be reached over a network.
pub(crate) const NOT_A_SOCKET: &str = "is not a Unix socket";

/// Bytes of an HTML page that are kept, to find its title.
const MAX_PAGE: usize = 4096;

/// What is wrong, as far as a reader can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SocketDenied,
    SocketForbidden,
    NoDocker,
    EngineDown,
    EngineGone,
    Version,
    Stalled,
    DiskFull,
    DiskBroken,
    Memory,
    Store,
    RateLimit,
    Platform,
    Damaged,
    Proxy,
    PlainHttp,
    Certificate,
    BadReference,
    Login,
    NotFound,
    Unreachable,
    ServerError,
    Other,
}

impl Kind {
    /// All kinds, with their names in recordings and state files.
    const NAMES: [(Self, &'static str); 23] = [
        (Self::SocketDenied, "socket-denied"),
        (Self::SocketForbidden, "socket-forbidden"),
        (Self::NoDocker, "no-docker"),
        (Self::EngineDown, "engine-down"),
        (Self::EngineGone, "engine-gone"),
        (Self::Version, "version"),
        (Self::Stalled, "stalled"),
        (Self::DiskFull, "disk-full"),
        (Self::DiskBroken, "disk-broken"),
        (Self::Memory, "memory"),
        (Self::Store, "store"),
        (Self::RateLimit, "rate-limit"),
        (Self::Platform, "platform"),
        (Self::Damaged, "damaged"),
        (Self::Proxy, "proxy"),
        (Self::PlainHttp, "plain-http"),
        (Self::Certificate, "certificate"),
        (Self::BadReference, "bad-reference"),
        (Self::Login, "login"),
        (Self::NotFound, "not-found"),
        (Self::Unreachable, "unreachable"),
        (Self::ServerError, "server-error"),
        (Self::Other, "other"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("other", |(_, name)| name)
    }

    /// The kind of that name; `None` if this version does not know it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The kind of an HTTP status if the status alone decides.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Login,
            404 => Self::NotFound,
            407 => Self::Proxy,
            511 => Self::Unreachable,
            // 416: an engine asked to go on after the end of a layer that it has since thrown away.
            408 | 416 | 425 | 429 | 500..=599 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

/// The credentials that were sent to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    None,
    /// Those of `docker login`, or from docker's environment.
    Docker,
    TokenFile,
}

/// Why a pull failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// In the words of the engine, of docker or of this program; not sanitized.
    pub(crate) text: String,
    pub(crate) credentials: Sent,
    /// Whether the engine's proxy did not answer, which may pass; a proxy that refuses does not change its mind.
    is_proxy_away: bool,
    /// The engine is on another host.
    is_remote: bool,
}

impl Failure {
    /// An error of this program, with its kind.
    pub(crate) fn own(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), credentials: Sent::None, is_proxy_away: false, is_remote: false }
    }

    /// The same of an engine on another host, where there is something else to do.
    pub(crate) fn of_remote_engine(self) -> Self {
        Self { is_remote: true, ..self }
    }

    /// An error that an engine or docker reported.
    pub(crate) fn reported(text: &str) -> Self {
        if page::is_page(text) {
            // Nothing precedes the page: it comes from the engine's address.
            let title = page::title(text);
            let by_words = || match causes::cause(&Reason::new(&title)) {
                Kind::ServerError => Kind::ServerError,
                _ => Kind::Other,
            };
            return match page::status(&title).map_or_else(by_words, of_address) {
                Kind::SocketForbidden => {
                    Self::own(Kind::SocketForbidden, format!("{PULL_CALL} was answered with {title}"))
                }
                kind => Self::own(kind, title),
            };
        }
        let text = page::cut_json(&page::cut_pages(text));
        let reason = Reason::new(&text);
        let kind = causes::kind(&reason);
        let is_proxy_away = kind == Kind::Proxy && causes::cause(&reason) == Kind::Unreachable;
        Self { is_proxy_away, ..Self::own(kind, text) }
    }

    /// An answer to `call` with this HTTP status. `body` is the engine's message, or (if not `is_message`) what
    /// somebody in front of the engine wrote.
    pub(crate) fn answered(status: u16, body: &str, is_message: bool, call: &str) -> Self {
        let by_status = of_address(status);
        if body.trim().is_empty() {
            let text = format!("the engine answered HTTP status {status} without a reason");
            // Engines answer 500, too, and may do so without a message.
            let kind = if status == 500 { Kind::Other } else { by_status };
            return Self::own(kind, if kind == Kind::SocketForbidden { format!("{text}: {call}") } else { text });
        }
        let is_page = page::is_page(body);
        let failure = if is_page { Self::own(Kind::Other, page::title(body)) } else { Self::reported(body) };
        let is_bare = is_page || causes::is_bare_status(&Reason::new(&failure.text));
        let kind = match by_status {
            Kind::SocketForbidden if !is_message => by_status,
            // Known words say more than the status: some engines use 401, 404 and 500 for the same error.
            _ if !is_bare && failure.kind != Kind::Other => failure.kind,
            Kind::SocketForbidden if status == 401 => Kind::Login,
            Kind::ServerError if status == 500 && is_message && !is_bare => Kind::Other,
            Kind::Other => failure.kind,
            _ => by_status,
        };
        let is_forbidden = kind == Kind::SocketForbidden;
        let number = status.to_string();
        let text = match failure.text.trim() {
            "" => number,
            title if (is_page || is_forbidden) && !title.contains(&number) => format!("{number} {title}"),
            _ => failure.text,
        };
        if is_forbidden {
            return Self::own(kind, format!("{call} was answered with {}", text.trim()));
        }
        Self { kind, text, ..failure }
    }

    /// The reason in a recording without a kind: one of this program's earlier versions, or an engine's.
    pub(crate) fn recorded(text: &str) -> Self {
        match causes::of_our_own(text) {
            Some(kind) => Self::own(kind, text),
            None => Self::reported(text),
        }
    }

    /// Continues a page with another line; any other text ends with its first line.
    pub(crate) fn continue_page(page: &mut String, line: &str) {
        if page.len() < MAX_PAGE && page::is_page(page) {
            page.push('\n');
            page.push_str(line);
        }
    }

    /// Whether another attempt can help. `was_there`: the engine had answered before.
    pub(crate) fn may_pass(&self, was_there: bool) -> bool {
        match self.kind {
            Kind::Unreachable | Kind::ServerError | Kind::EngineGone | Kind::Stalled => true,
            Kind::EngineDown => was_there,
            Kind::Proxy => self.is_proxy_away,
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kind of an HTTP status that came from the engine's address and not from a registry: an engine never answers 401,
/// 403 or 405 without a message.
fn of_address(status: u16) -> Kind {
    match status {
        401 | 403 | 405 => Kind::SocketForbidden,
        404 | 407 => Kind::Other,
        status => Kind::of_status(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For the tests of all modules.
    impl From<&str> for Failure {
        fn from(text: &str) -> Self {
            Self::reported(text)
        }
    }

    /// A kind, whether it is retried, words of the advice if it is not the kind's own, and a wording of it.
    type Row = (Kind, bool, Option<&'static str>, String);

    fn wordings() -> Vec<Row> {
        let (mut kind, mut rows) = (None, Vec::new());
        for line in include_str!("../../fixtures/failures/wordings.txt").lines() {
            // Not the wording `[DEPRECATION NOTICE] …`.
            if let Some(head) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let (head, advice) = head.split_once(" | ").map_or((head, None), |(head, advice)| (head, Some(advice)));
                let name = head.trim_end_matches(" retried");
                kind = Some((Kind::from_name(name).expect("a kind"), name != head, advice));
            } else if !line.is_empty() && !line.starts_with('#') {
                let (kind, is_retried, advice) = kind.expect("a line [kind] before");
                rows.push((kind, is_retried, advice, line.replace('⏎', "\n")));
            }
        }
        rows
    }

    /// The wrong result for a wording about this image; `None` if the result is right.
    fn mistaken(row: &Row, registry: &str, repository: &str, tag: &str) -> Option<String> {
        let (kind, is_retried, words, wording) = row;
        let text = wording.replace("{R}", registry).replace("{N}", repository).replace("{T}", tag);
        let failure = Failure::reported(&text);
        let advice = failure.advice(None).unwrap_or_default();
        let is_advised = match words {
            Some(words) => advice.contains(words),
            // That of an engine on another host depends on its address.
            None if *kind == Kind::EngineDown => true,
            None => advice == Failure::own(*kind, "").advice(None).unwrap_or_default(),
        };
        let reported = (failure.kind, failure.may_pass(true));
        (reported != (*kind, *is_retried) || !is_advised)
            .then(|| format!("{reported:?} for {kind:?} with {words:?}: {text}\n  {advice}\n"))
    }

    #[test]
    fn each_wording_has_its_kind_and_is_tried_again_where_that_helps() {
        let images = [("reg.example:5000", "team/app"), ("docker.io", "library/app"), ("[::1]:5000", "app")];
        let rows = wordings();
        let wrong: String = rows
            .iter()
            .flat_map(|row| images.map(|(registry, repository)| mistaken(row, registry, repository, "1.2")))
            .flatten()
            .collect();
        assert!(wrong.is_empty(), "{wrong}");
        for (kind, name) in Kind::NAMES {
            let is_there = rows.iter().any(|(reported, ..)| *reported == kind);
            assert!(is_there || [Kind::NoDocker, Kind::Stalled].contains(&kind), "{name} has no wording");
        }
    }

    /// The names of an image, its registry and its tag never change the kind of a failure.
    #[test]
    fn no_name_changes_a_kind() {
        let rows = wordings();
        let split = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.');
        let mut words: Vec<&str> = rows.iter().flat_map(|(.., wording)| wording.split(split)).collect();
        words.extend(["denied-x509", "x509.denied.eof", "no_space_left", "401.403.407", "a-timeout", "tls"]);
        let mut words: Vec<&str> = words.iter().map(|word| word.trim_matches(['_', '-', '.'])).collect();
        words.retain(|word| !word.is_empty());
        words.sort_unstable();
        words.dedup();
        assert!(words.len() > 500, "{}", words.len());
        let mut wrong = String::new();
        for (number, row) in rows.iter().filter(|(.., wording)| wording.contains('{')).enumerate() {
            // Each word at one place in every second wording, and at every place in some, because a debug build is slow.
            for (at, six) in
                words[number % 6..].chunks(6).enumerate().filter(|(at, _)| (at + number / 6).is_multiple_of(2))
            {
                let word = |at: usize| six[at % six.len()].to_ascii_lowercase();
                let [host, domain] = [word(0), word(1)].map(|word| word.replace('_', "-"));
                let (name, tag) = (format!("{}/{}/{}", word(2), word(3), word(4)), six[5 % six.len()]);
                let (registry, repository) = match at % 3 {
                    0 => (format!("{host}.{domain}:5000"), name),
                    1 => (format!("[::1]:5000/{host}"), format!("{name}/{domain}")),
                    _ => (format!("{host}.{domain}"), name),
                };
                wrong.extend(mistaken(row, &registry, &repository, tag).filter(|_| wrong.len() < 4000));
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    /// Nor does a number that is an HTTP status, as a port, a host, a path, a tag or a digest.
    #[test]
    fn no_number_changes_a_kind() {
        let rows = wordings();
        let mut wrong = String::new();
        for row in rows.iter().filter(|(.., wording)| wording.contains('{')) {
            let (kind, is_retried, words, wording) = row;
            let by_digest = (*kind, *is_retried, *words, wording.replace(":{T}", "@{T}"));
            for status in [
                200, 301, 400, 401, 402, 403, 404, 405, 407, 408, 410, 412, 413, 416, 418, 426, 429, 451, 500, 502,
                503, 507, 511,
            ] {
                let digest = format!("sha256:{}", status.to_string().repeat(22).split_at(64).0);
                for (row, registry, repository, tag) in [
                    (row, format!("reg.example:{status}"), "team/app".to_owned(), "1.2".to_owned()),
                    (row, format!("{status}.example:5000"), format!("{status}"), format!("{status}")),
                    (
                        row,
                        format!("10.0.{}.1", status % 256),
                        format!("{status}/{status}"),
                        format!("v{status}-http-{status}"),
                    ),
                    (&by_digest, "reg.example".to_owned(), format!("http-{status}/code-{status}"), digest),
                ] {
                    wrong.extend(mistaken(row, &registry, &repository, &tag).filter(|_| wrong.len() < 4000));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    #[test]
    fn names_of_kinds_lead_back_to_them() {
        let declared = include_str!("failure.rs").split("enum Kind {").nth(1).and_then(|rest| rest.split('}').next());
        let declared = declared.into_iter().flat_map(str::lines).map(|line| line.trim().trim_end_matches(','));
        let declared: Vec<_> = declared.filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
        assert_eq!(declared, Kind::NAMES.map(|(kind, _)| format!("{kind:?}")), "the kinds of Kind and of NAMES");
        for (kind, name) in Kind::NAMES {
            assert_eq!((kind.name(), Kind::from_name(name)), (name, Some(kind)));
        }
        assert_eq!(Kind::from_name("newer"), None);
    }

    #[track_caller]
    fn check_answer(status: u16, body: &str, is_message: bool, kind: Kind, text: &str) {
        let failure = Failure::answered(status, body, is_message, PULL_CALL);
        assert_eq!((failure.kind, failure.text.as_str()), (kind, text), "{status} {body}");
    }

    #[test]
    fn an_answer_without_words_is_classified_by_its_status() {
        let none = |status: u16| format!("the engine answered HTTP status {status} without a reason");
        for status in [408, 429, 502, 503, 504, 524] {
            check_answer(status, "", false, Kind::ServerError, &none(status));
        }
        // What an engine answers itself does not mention a gateway.
        for status in [204, 301, 400, 404, 407, 500] {
            check_answer(status, "\n", false, Kind::Other, &none(status));
        }
        let call = format!("{}: POST /images/create", none(403));
        check_answer(403, "", false, Kind::SocketForbidden, &call);
    }

    #[test]
    fn what_stands_before_the_socket_is_distinguished_from_the_engine() {
        let forbidden = "POST /images/create was answered with 403 Forbidden";
        let page = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
        check_answer(403, page, false, Kind::SocketForbidden, forbidden);
        check_answer(403, "Forbidden\n", false, Kind::SocketForbidden, forbidden);
        check_answer(403, "403 Forbidden", false, Kind::SocketForbidden, forbidden);
        check_answer(403, "Forbidden", true, Kind::SocketForbidden, forbidden);
        // A socket proxy that admits calls by their method.
        let page = "Method Not Allowed\n";
        check_answer(
            405,
            page,
            false,
            Kind::SocketForbidden,
            "POST /images/create was answered with 405 Method Not Allowed",
        );
        let plugin = "authorization denied by plugin opa: no";
        let reported = format!("POST /images/create was answered with 403 {plugin}");
        check_answer(403, plugin, true, Kind::SocketForbidden, &reported);
        let page = "<html><head><title>Login</title></head></html>";
        let reported = "POST /images/create was answered with 401 Login";
        check_answer(401, page, false, Kind::SocketForbidden, reported);
        check_answer(502, "<html><head><title>502 Bad Gateway</title>", false, Kind::ServerError, "502 Bad Gateway");
        check_answer(503, "<html><title>Sorry</title></html>", false, Kind::ServerError, "503 Sorry");
        check_answer(500, "<html></html>", false, Kind::ServerError, "500");
        check_answer(504, "upstream request timeout", false, Kind::ServerError, "upstream request timeout");
        check_answer(418, "<html><title>Tea</title></html>", false, Kind::Other, "418 Tea");
        // An engine's own words say more than the status before them.
        let login = "unauthorized: authentication required";
        for status in [401, 403, 404, 500, 503] {
            check_answer(status, login, true, Kind::Login, login);
        }
        check_answer(403, "denied: denied", true, Kind::Login, "denied: denied");
        check_answer(401, "a secret is wrong", true, Kind::Login, "a secret is wrong");
        check_answer(500, "something new", true, Kind::Other, "something new");
        check_answer(503, "something new", true, Kind::ServerError, "something new");
        check_answer(
            500,
            "write /a: no space left on device",
            false,
            Kind::DiskFull,
            "write /a: no space left on device",
        );
        check_answer(400, "client version 1.11 is too old.", false, Kind::Version, "client version 1.11 is too old.");
    }

    #[test]
    fn our_own_errors_in_old_recordings_are_recognized_by_their_words() {
        let check = |text: &str, kind| assert_eq!(Failure::recorded(text).kind, kind, "{text}");
        check("permission denied on the engine's socket /var/run/docker.sock", Kind::SocketDenied);
        check("no docker command was found on PATH (/bin)", Kind::NoDocker);
        check("there is no Docker socket at /x", Kind::EngineDown);
        check("nothing listens on the Docker socket /x", Kind::EngineDown);
        check(crate::pull::BROKEN_OFF, Kind::EngineGone);
        check("the engine broke off with a malformed answer: connection refused", Kind::EngineGone);
        check("the engine's socket /x cannot be used: permission denied", Kind::EngineGone);
        check("nothing has moved for 600s", Kind::Stalled);
        check("nothing has moved for too long", Kind::Stalled);
        check("docker pull ended with exit code 1", Kind::Other);
        check("unexpected EOF", Kind::Unreachable);
        // Live, the same words are an engine's.
        assert_eq!(Failure::reported("nothing has moved for 600s").kind, Kind::Other);
    }

    #[test]
    fn a_lack_of_processes_a_broken_mount_and_a_portal_have_their_kinds() {
        let check = |text: &str, kind, may_pass| {
            let failure = Failure::reported(text);
            assert_eq!((failure.kind, failure.may_pass(true)), (kind, may_pass), "{text}");
        };
        check("fork/exec /usr/bin/unpigz: resource temporarily unavailable", Kind::Memory, false);
        check("failed to mount overlay: invalid argument", Kind::Store, false);
        check(r#"Get "https://reg.example/v2/": stopped after 10 redirects"#, Kind::ServerError, true);
        check("lookup fork/exec: resource temporarily unavailable", Kind::Unreachable, true);
    }

    #[test]
    fn what_is_shown_of_a_page_is_its_title() {
        let failure = Failure::reported(
            r#"error parsing HTTP 503 response body: invalid character '<' looking for beginning of value: "<html>\n<title>Sorry</title>\n</html>\n""#,
        );
        let shown = "error parsing HTTP 503 response body: invalid character '<' looking for beginning of value: Sorry";
        assert_eq!((failure.kind, failure.text.as_str()), (Kind::ServerError, shown));
    }
}
