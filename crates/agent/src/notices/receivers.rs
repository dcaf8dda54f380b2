//! The receivers of notices: a file with one address per line.
//!
//! **Invariant:** an address is a secret. Only its line number, kind and host are shown.

use super::texts::Text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use ureq::http::Uri;

const MAX_FILE: u64 = 64 * 1024;
const MAX_RECEIVERS: usize = 16;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    Slack,
    Ntfy,
    /// The JSON of Apprise's `json://`, which many services accept.
    Apprise,
    Mail,
}

/// Has no `Debug`, because that would show the address.
pub(super) struct Receiver {
    pub(super) kind: Kind,
    /// The address without the login; for mail the recipients.
    pub(super) url: String,
    /// The header `Authorization`, made from the login in the address.
    pub(super) authorization: Option<String>,
    /// The name of this receiver in messages to people.
    pub(super) shown: String,
    /// The name of this receiver in file names: 16 hexadecimal digits.
    pub(super) id: String,
}

/// Reads all receivers in `file`.
pub(super) fn read(file: &Path) -> Result<Vec<Receiver>, String> {
    let name = file.display();
    let mut text = String::new();
    let mut opened = File::open(file).map_err(|error| format!("{name}: {error}"))?;
    let metadata = opened.metadata().map_err(|error| format!("{name}: {error}"))?;
    if metadata.is_file() && metadata.mode() & 0o007 != 0 {
        return Err(format!("{name} can be read by everybody, and its addresses are secrets: chmod 600 {name}"));
    }
    let read = opened.by_ref().take(MAX_FILE + 1).read_to_string(&mut text);
    if read.map_err(|_| format!("{name} cannot be read as text"))? as u64 > MAX_FILE {
        return Err(format!("{name} is larger than {MAX_FILE} bytes"));
    }
    // Editors of Windows put a byte order mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut receivers: Vec<Receiver> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let receiver = parse(line, at + 1).map_err(|why| format!("{name}, line {}: {why}", at + 1))?;
        if !receivers.iter().any(|other| other.id == receiver.id) {
            receivers.push(receiver);
        }
    }
    if receivers.is_empty() || receivers.len() > MAX_RECEIVERS {
        return Err(format!("{name} has {} addresses: 1 to {MAX_RECEIVERS}, one a line", receivers.len()));
    }
    Ok(receivers)
}

fn parse(line: &str, number: usize) -> Result<Receiver, String> {
    // The same in all versions of this program: files of an earlier version must keep their receivers.
    let id = format!("{:016x}", alm_state::fnv1a(line));
    let wrong = "this is no address: https://..., ntfys://HOST/TOPIC, or mailto:NAME@HOST";
    let (scheme, rest) = line.split_once(':').ok_or(wrong)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "mailto" {
        let url = decoded(rest.split('?').next().unwrap_or_default()).ok_or(wrong)?;
        let is_address = |one: &str| {
            let (name, host) = one.rsplit_once('@').unwrap_or_default();
            !name.is_empty() && !host.is_empty() && !one.starts_with('-') && one.is_ascii()
        };
        if url.contains(|c: char| c.is_control() || c.is_whitespace() || "<>\"();:\\".contains(c))
            || !url.split(',').all(is_address)
        {
            return Err("mailto: needs an address as NAME@HOST; several are separated by commas".into());
        }
        let host = url.rsplit('@').next().unwrap_or_default();
        let shown = format!("line {number}, mail to {host}");
        return Ok(Receiver { kind: Kind::Mail, shown, id, authorization: None, url });
    }
    let (is_ntfy, web) = match scheme.as_str() {
        "http" | "https" => (false, scheme.as_str()),
        "ntfy" => (true, "http"),
        "ntfys" => (true, "https"),
        _ => return Err(wrong.into()),
    };
    let rest = rest.strip_prefix("//").ok_or(wrong)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let authorization = match login {
        None => None,
        Some(login) => Some(format!("Basic {}", STANDARD.encode(decoded(login).ok_or(wrong)?))),
    };
    let url = format!("{web}://{host}{path}");
    let uri: Uri = url.parse().map_err(|_| wrong)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(wrong)?.to_ascii_lowercase();
    let kind = if is_ntfy || host == "ntfy.sh" || host.starts_with("ntfy.") {
        if topic(&url).is_none() {
            return Err("ntfy needs a topic: ntfys://HOST/TOPIC".into());
        }
        Kind::Ntfy
    } else if host == "hooks.slack.com" || host == "hooks.slack-gov.com" || uri.path().ends_with("/slack") {
        // Discord accepts Slack's JSON at addresses with this ending.
        Kind::Slack
    } else {
        Kind::Apprise
    };
    let shown = format!("line {number}, {kind:?} at {web}://{host}");
    Ok(Receiver { kind, url, authorization, shown, id })
}

/// Splits an address of ntfy into the part before the topic, the topic, and the query.
fn topic(url: &str) -> Option<(&str, &str, &str)> {
    let (path, query) = url.find('?').map_or((url, ""), |at| url.split_at(at));
    let (base, topic) = path.trim_end_matches('/').rsplit_once('/')?;
    (!topic.is_empty() && base.len() > "https:/".len()).then_some((base, topic, query))
}

/// `text` without mentions: servers that accept Slack's JSON (Mattermost, Discord) treat `@channel` in a plain text as a mention
/// that notifies everybody. A digest (`app@sha256:…`) mentions nobody, and is left unchanged so that it can be copied.
fn without_mentions(text: &str) -> String {
    let mut parts = text.split('@');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('@');
        if !part.starts_with("sha256:") {
            out.push('\u{200b}');
        }
        out.push_str(part);
    }
    out
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

impl Receiver {
    /// The URL and the body of the POST request with this text.
    pub(super) fn request(&self, text: &Text) -> (String, Vec<u8>) {
        let Text { title, body, is_bad } = text;
        let (url, json) = match self.kind {
            Kind::Slack => {
                let text = if body.is_empty() { title.clone() } else { format!("{title}\n{body}") };
                let text = without_mentions(&text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                // Without formatting: characters in the name of an image would make parts of the text bold.
                (self.url.clone(), serde_json::json!({"text": text, "mrkdwn": false}))
            }
            Kind::Ntfy => {
                let (base, topic, query) = topic(&self.url).unwrap_or_default();
                // Without a message ntfy writes "triggered".
                let (title, message) = if body.is_empty() { ("", title) } else { (title.as_str(), body) };
                let (priority, tag) = if *is_bad { (4, "warning") } else { (3, "white_check_mark") };
                let json = serde_json::json!({"topic": topic, "title": title, "message": message, "priority": priority, "tags": [tag]});
                (format!("{base}/{query}"), json)
            }
            Kind::Apprise | Kind::Mail => {
                // Apprise's API, which takes `message` as its `body`, refuses a message without one (400).
                let body = if body.is_empty() { title } else { body };
                let json = serde_json::json!({"version": "1.0", "title": title, "message": body, "attachments": [],
                    "type": if *is_bad { "failure" } else { "success" }});
                (self.url.clone(), json)
            }
        };
        (url, json.to_string().into_bytes())
    }

    /// The mail with its recipients, which sendmail reads from it: as arguments they would be visible in the list of processes.
    pub(super) fn mail(&self, text: &Text) -> String {
        let subject = &text.title;
        let mut words: Vec<String> = Vec::new();
        // A text that looks like an encoded word would be decoded into another text.
        if subject.is_ascii() && subject.len() < 900 && !subject.contains("=?") {
            words.push(subject.clone());
        } else {
            // RFC 2047: encoded words of at most 75 characters, without splitting a character.
            let mut word = String::new();
            for c in subject.chars() {
                if word.len() + c.len_utf8() > 45 {
                    words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&word)));
                    word.clear();
                }
                word.push(c);
            }
            words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&word)));
        }
        let encoded = STANDARD.encode(format!("{}\n\n{}\n", text.title, text.body));
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap_or_default()).collect();
        format!(
            "To: {}\nSubject: {}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{}\n",
            self.url.replace(',', ", "),
            words.join("\n "),
            lines.join("\n")
        )
    }

    /// Whether `text` contains a part of the address that may be secret.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let is_part = |c: char| c.is_ascii_alphanumeric();
        let secret = match self.url.split_once("://") {
            Some((_, rest)) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
            None => self.url.as_str(),
        };
        let login = self.authorization.as_deref().unwrap_or_default();
        let parts = secret.split(|c| !is_part(c)).chain(login.split(|c| !is_part(c)));
        parts.filter(|part| part.len() >= 4).any(|part| text.contains(&part.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Text {
        Text { title: "pi (Köln): a_b <c> & d fails".into(), body: "What to do: x\nsince y".into(), is_bad: true }
    }

    fn parsed(line: &str) -> Receiver {
        parse(line, 7).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    #[test]
    fn kinds_by_their_addresses() {
        for (line, kind, url, shown) in [
            ("https://hooks.slack.com/services/T0/B0/SECRET", Kind::Slack, "=", "Slack at https://hooks.slack.com"),
            ("https://discord.com/api/webhooks/1/SECRET/slack", Kind::Slack, "=", "Slack at https://discord.com"),
            ("https://ntfy.sh/SECRET", Kind::Ntfy, "=", "Ntfy at https://ntfy.sh"),
            ("https://ntfy.example.com/x/SECRET", Kind::Ntfy, "=", "Ntfy at https://ntfy.example.com"),
            (
                "ntfys://push.example.com/SECRET",
                Kind::Ntfy,
                "https://push.example.com/SECRET",
                "Ntfy at https://push.example.com",
            ),
            ("ntfy://10.0.0.1:80/SECRET", Kind::Ntfy, "http://10.0.0.1:80/SECRET", "Ntfy at http://10.0.0.1"),
            ("https://Apprise.example.com/notify/SECRET", Kind::Apprise, "=", "Apprise at https://apprise.example.com"),
            (
                "https://apprise.example.com/notify/SECRET?:message=body",
                Kind::Apprise,
                "=",
                "Apprise at https://apprise.example.com",
            ),
            ("https://u:SECRET@a.test?k=SECRET", Kind::Apprise, "https://a.test?k=SECRET", "Apprise at https://a.test"),
            ("mailto:SECRET@example.com", Kind::Mail, "SECRET@example.com", "mail to example.com"),
            ("MAILTO:a@b.test,c%40d@e.test?subject=x", Kind::Mail, "a@b.test,c@d@e.test", "mail to e.test"),
        ] {
            let got = parsed(line);
            assert_eq!((got.kind, got.url.as_str()), (kind, if url == "=" { line } else { url }), "{line}");
            assert_eq!(got.shown, format!("line 7, {shown}"));
            assert!(!got.shown.contains("SECRET") && !got.id.contains("SECRET"));
        }
        let login = parsed("https://u:p%40ss@a.test/x");
        assert_eq!(login.authorization.as_deref(), Some("Basic dTpwQHNz"));
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for line in [
            "SECRET",
            "ftp://SECRET",
            "https:SECRET",
            "https://",
            "https:///SECRET",
            "https://a b/SECRET",
            "ntfys://ntfy.SECRET",
            "https://ntfy.sh/",
            "mailto:SECRET",
            "mailto:@SECRET",
            "mailto:-SECRET@a",
            "mailto:SECRET@a%0ABcc: x@y",
            "mailto:SECRET@a,",
            "https://u:%SECRET@a.test",
            "mailto:\"SECRET\"@a",
        ] {
            let why = parse(line, 1).map(|receiver| receiver.shown).expect_err(line);
            assert!(!why.contains("SECRET") && why.contains(' '), "{line}: {why}");
        }
    }

    #[test]
    fn bodies_as_each_receiver_wants_them() {
        let body = |line: &str| {
            let (url, body) = parsed(line).request(&text());
            (url, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"))
        };
        let (url, slack) = body("https://hooks.slack.com/services/T0/B0/X");
        assert_eq!(url, "https://hooks.slack.com/services/T0/B0/X");
        assert_eq!(slack["text"], "pi (Köln): a_b &lt;c&gt; &amp; d fails\nWhat to do: x\nsince y");
        assert_eq!(slack["mrkdwn"], false);
        let (url, ntfy) = body("https://ntfy.example.com/a/topic?auth=x");
        assert_eq!(url, "https://ntfy.example.com/a/?auth=x");
        let expected = serde_json::json!({"topic": "topic", "title": "pi (Köln): a_b <c> & d fails",
            "message": "What to do: x\nsince y", "priority": 4, "tags": ["warning"]});
        assert_eq!(ntfy, expected);
        let (url, apprise) = body("https://a.test/notify/k");
        assert_eq!(url, "https://a.test/notify/k");
        let expected = serde_json::json!({"version": "1.0", "title": "pi (Köln): a_b <c> & d fails",
            "message": "What to do: x\nsince y", "attachments": [], "type": "failure"});
        assert_eq!(apprise, expected);
        let empty = Text { body: String::new(), is_bad: false, ..text() };
        let (_, ntfy) = parsed("https://ntfy.sh/t").request(&empty);
        assert!(String::from_utf8_lossy(&ntfy).contains(r#""message":"pi (Köln): a_b <c> & d fails""#));
        let (_, apprise) = parsed("https://a.test/notify/k").request(&empty);
        assert!(String::from_utf8_lossy(&apprise).contains(r#""message":"pi (Köln): a_b <c> & d fails""#));
    }

    #[test]
    fn nobody_is_called_by_what_a_registry_says() {
        let hostile = "<!channel> <@U1> @channel @everyone a@sha256:12 https://x.test|y";
        let evil = Text { title: hostile.into(), body: "b\r\nBcc: x@y".into(), is_bad: true };
        let (_, slack) = parsed("https://discord.com/api/webhooks/1/X/slack").request(&evil);
        let slack: serde_json::Value = serde_json::from_slice(&slack).expect("JSON");
        assert_eq!(
            slack["text"],
            "&lt;!channel&gt; &lt;@\u{200b}U1&gt; @\u{200b}channel @\u{200b}everyone a@sha256:12 https://x.test|y\nb\r\nBcc: x@\u{200b}y"
        );
        // A header ends where this program ends it, and no text can look like an encoded one.
        let mail = parsed("mailto:a@b.test").mail(&Text { title: "=?UTF-8?B?Zm9v?=".into(), ..evil });
        let (head, body) = mail.split_once("\n\n").expect("head and body");
        assert!(!head.contains("Bcc") && !body.contains("Bcc") && !head.contains("Zm9v"), "{mail}");
    }

    #[test]
    fn a_mail_that_every_server_takes() {
        let mail = parsed("mailto:a@b.test,c@d.test").mail(&text());
        let (head, body) = mail.split_once("\n\n").expect("head and body");
        assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 90), "{mail}");
        assert!(head.starts_with("To: a@b.test, c@d.test\nSubject: =?UTF-8?B?"), "{head}");
        let body = STANDARD.decode(body.replace('\n', "")).expect("base64");
        assert_eq!(String::from_utf8(body).expect("UTF-8"), format!("{}\n\n{}\n", text().title, text().body));
        let long = Text { title: "ü".repeat(300), ..text() };
        let mail = parsed("mailto:a@b.test").mail(&long);
        let words: String = mail
            .lines()
            .skip(1)
            .take_while(|line| line.contains("=?UTF-8?B?"))
            .map(|line| {
                let word = line.split("?B?").nth(1).expect("a word").trim_end_matches("?=");
                String::from_utf8(STANDARD.decode(word).expect("base64")).expect("whole characters")
            })
            .collect();
        assert_eq!(words, long.title);
        let plain = Text { title: "plain".into(), ..text() };
        assert!(parsed("mailto:a@b.test").mail(&plain).contains("\nSubject: plain\n"));
    }

    #[test]
    fn an_echo_of_the_address_is_recognised() {
        let slack = parsed("https://u:password@x.test/services/T0AB/B0/SecretPart?k=hush");
        for text in ["no secretpart here", "cannot POST /services/", "HUSH", "T0AB"] {
            assert!(slack.is_in(text), "{text}");
        }
        assert!(!slack.is_in("invalid_token"));
        assert!(parsed("mailto:someone@x.test").is_in("no user Someone"));
    }
}
